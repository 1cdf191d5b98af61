//! The rows that legal holds keep from a policy. A hold names a person; every plan that knows the person says which rows of
//! the policy's tables are theirs.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures::TryStreamExt;

use crate::{
    connectors::{Keys, Resolution},
    domain::{
        compile::{check_subject, subject::SubjectFault},
        compiled::{CompiledPlan, Link, Root, Rows, Source, TableName},
        hold::{Hold, HoldConfidential, Scope, table_of},
        key::{Key, Tuple},
        request::RunCode,
        retention::{CompiledPolicy, Kept, Policy},
    },
    service::{
        Service,
        execute::{connector, data_key, root_tuple, trouble::Interrupt},
        holds::HoldReading,
    },
};

/// What holds keep of one policy's tables.
pub struct Held {
    pub kept: Kept,
    /// What the kept rows are found by.
    pub keys: Keys,
    /// The holds it was made for; see [`Store::held_now`](crate::store::Store::held_now).
    pub seen: Vec<(String, String)>,
}

impl Held {
    /// As the holds are now.
    ///
    /// # Errors
    /// When a held person cannot be looked for: nothing is erased around a hold.
    pub async fn of(
        service: &Service,
        policy: &Policy,
        compiled: &CompiledPolicy,
    ) -> Result<Self, Interrupt> {
        let seen = service.store.held_now().await?;
        let mut found = Found::default();
        if !seen.is_empty() {
            let tables: Vec<&TableName> = compiled.tables().collect();
            for held in crate::service::holds::active(service).await? {
                keep(service, &mut found, &held, &policy.connection.value, &tables).await?;
            }
        }
        Ok(Self { kept: found.kept, keys: found.keys, seen })
    }
}

#[derive(Default)]
struct Found {
    kept: Kept,
    keys: Keys,
    /// How many key sets there are.
    sets: usize,
}

impl Found {
    /// A further key set.
    fn add(&mut self, tuples: Vec<Tuple>) -> usize {
        let (set, tuples) = (self.sets, Arc::new(tuples));
        self.sets += 1;
        self.keys.chunk.insert(set, tuples.clone());
        self.keys.whole.insert(set, tuples);
        set
    }
}

/// Adds the rows of one hold's person.
async fn keep(
    service: &Service,
    found: &mut Found,
    held: &HoldReading,
    connection: &str,
    tables: &[&TableName],
) -> Result<(), Interrupt> {
    let hold = &held.hold;
    let unknown = |detail: String| Interrupt::trouble(RunCode::SchemaChanged, detail, Some(connection), None);
    let own = service.plans.last(service, &hold.plan).await?.ok_or_else(|| {
        unknown(format!(
            "hold {} names plan `{}`, which is not known any more: end the hold, or register the plan",
            hold.id, hold.plan
        ))
    })?;
    let confidential = held.confidential.as_ref().ok_or_else(|| {
        let detail =
            format!("hold {} was sealed under another key: whose rows it keeps cannot be told", hold.id);
        Interrupt::trouble(RunCode::Internal, detail, None, None)
    })?;
    let mut plans: Vec<Arc<CompiledPlan>> = match hold.scope {
        // Also those whose files are gone: what they call a person's rows is kept rather than lost.
        Scope::AllPlans => service.plans.known(service).await?,
        Scope::Plan | Scope::Table => vec![own.clone()],
    };
    // What the plan called the person's when the hold was placed stays held, whatever the file says by now.
    if let Some(version) = &confidential.plan_version
        && plans.iter().all(|plan| plan.version != *version)
    {
        plans.push(service.plans.pinned(service, &hold.plan, version).await?);
    }
    let mut persons: Option<Vec<Tuple>> = None;
    for plan in &plans {
        let selected = selections(service, plan, hold, connection, tables);
        if selected.is_empty() {
            continue;
        }
        if plan.root.connection != own.root.connection || plan.root.table != own.root.table {
            // Its identities are of somebody else's table.
            continue;
        }
        let known = match &persons {
            Some(known) => known,
            None => persons.insert(persons_of(service, hold.id, &own, confidential).await?),
        };
        for person in known {
            let person = match plan.version == own.version {
                true => person.clone(),
                false => {
                    let placed = confidential.row.as_ref();
                    as_known_to(service, &own.root, person, placed, &plan.root).await?
                }
            };
            add_rows(service, found, plan, &person, &selected).await?;
        }
    }
    Ok(())
}

/// What a plan selects of these tables: rows that are the person's, and rows through which such are found, since without
/// these nobody would find the others.
fn selections(
    service: &Service,
    plan: &CompiledPlan,
    hold: &Hold,
    connection: &str,
    tables: &[&TableName],
) -> Vec<Rows> {
    let further = plan.export.iter().chain(plan.rectification.iter());
    let steps = plan.erasure.iter().chain(further).filter(|step| match (hold.scope, &hold.table) {
        (Scope::Table, Some(table)) => table_of(&step.name) == table,
        _ => true,
    });
    let mut all: Vec<(&str, Rows)> = Vec::new();
    let mut sets = BTreeSet::new();
    for step in steps {
        all.extend(with_nested(&step.rows).into_iter().map(|rows| (step.connection.as_str(), rows)));
        sets.extend(sets_of(&step.rows).into_iter().flat_map(|set| with_earlier(plan, set)));
    }
    for set in sets.into_iter().filter_map(|set| plan.key_sets.get(set)) {
        all.extend(with_nested(&set.rows).into_iter().map(|rows| (set.connection.as_str(), rows)));
    }
    let is_here = |(of, rows): &(&str, Rows)| {
        tables.contains(&&rows.table) && service.connectors.are_one_place(of, connection)
    };
    let mut selected: Vec<Rows> = Vec::new();
    for (_, rows) in all.into_iter().filter(is_here) {
        if !selected.contains(&rows) {
            selected.push(rows);
        }
    }
    selected
}

/// A selection, and those that it is read through.
fn with_nested(rows: &Rows) -> Vec<Rows> {
    let mut all = vec![rows.clone()];
    for link in rows.any_of.iter().flat_map(|alternative| alternative.links()) {
        if let Source::Live(live) = &link.source {
            all.extend(live.iter().flat_map(with_nested));
        }
    }
    all
}

/// Every row that the hold's person may be: by what was given, and by the key that the row had when the hold was placed,
/// since identities change.
async fn persons_of(
    service: &Service,
    hold: uuid::Uuid,
    plan: &CompiledPlan,
    confidential: &HoldConfidential,
) -> Result<Vec<Tuple>, Interrupt> {
    let root = &plan.root;
    let unfit = |_: SubjectFault| {
        Interrupt::trouble(
            RunCode::SchemaChanged,
            "an identity of a hold no longer fits its column",
            None,
            None,
        )
    };
    let given = check_subject(plan, &confidential.subject).map_err(unfit)?;
    let mut persons = Vec::new();
    let mut add = |tuple: Tuple| {
        if !persons.contains(&tuple) {
            persons.push(tuple);
        }
    };
    let scope: Vec<(usize, Key)> = given
        .iter()
        .filter(|(column, _)| root.scope.iter().any(|part| part.column == *column))
        .cloned()
        .collect();
    let resolved = async |given: &[(usize, Key)]| {
        let found = connector(service, &root.connection)?.resolve(root, given).await;
        found.map_err(|error| Interrupt::at(&error, &root.connection, None))
    };
    let is_one = match resolved(&given).await? {
        Resolution::Found { tuple, .. } => {
            add(tuple);
            true
        }
        Resolution::NotFound => true,
        Resolution::Ambiguous | Resolution::OtherCase | Resolution::NoKey => false,
    };
    // One by one: should they lead to several rows, each of these may be meant.
    for (column, key) in given.iter().filter(|one| !scope.contains(one)) {
        let one: Vec<(usize, Key)> = std::iter::once((*column, key.clone())).chain(scope.clone()).collect();
        match resolved(&one).await? {
            Resolution::Found { tuple, .. } => add(tuple),
            Resolution::NotFound => {}
            _ if is_one => {}
            _ => {
                let detail = format!(
                    "an identity of hold {hold} leads to several rows, or is stored in another case: whose rows it keeps \
                     cannot be told, and nothing is removed; end it, and place it by an identity that is unique"
                );
                return Err(Interrupt::trouble(
                    RunCode::SubjectAmbiguous,
                    detail,
                    Some(&root.connection),
                    None,
                ));
            }
        }
    }
    // Rows of other tables may still hold what was given.
    add(root.named(&given));
    if let Some(known) = &confidential.row {
        let mut tuple: Tuple = vec![None; root.columns.len()];
        for (slot, column) in tuple.iter_mut().zip(&root.columns) {
            slot.clone_from(known.get(&column.name).unwrap_or(&None));
        }
        if let Some(current) = reread(service, root, &tuple).await? {
            add(current);
        }
        add(tuple);
    }
    for id in service.store.keyed_requests_of(hold).await? {
        if let Some(tuple) = known_by(service, id, root).await? {
            add(tuple);
        }
    }
    Ok(persons)
}

/// The person as a request knows them: one that erased them and keeps rows of theirs for a time is the only one left that
/// does.
async fn known_by(service: &Service, id: uuid::Uuid, root: &Root) -> Result<Option<Tuple>, Interrupt> {
    let Some(request) = service.store.request(id).await? else { return Ok(None) };
    let plan = service.plans.pinned(service, &request.plan, &request.plan_version).await?;
    let is_same_table = plan.root.table == root.table
        && service.connectors.are_one_place(&plan.root.connection, &root.connection);
    if !request.resolved || !is_same_table {
        return Ok(None);
    }
    let data_key = data_key(service, id).await?;
    let known = root_tuple(service, id, &data_key).await?;
    let value = |name: &str| {
        let at = plan.root.columns.iter().position(|column| column.name == name)?;
        known.get(at).cloned().flatten()
    };
    Ok(Some(root.columns.iter().map(|column| value(&column.name)).collect()))
}

/// The row of that key as it is now.
async fn reread(service: &Service, root: &Root, tuple: &Tuple) -> Result<Option<Tuple>, Interrupt> {
    let has_key = root.key.iter().all(|at| tuple.get(*at).is_some_and(Option::is_some));
    if !has_key {
        return Ok(None);
    }
    let resolved = connector(service, &root.connection)?
        .reread(root, tuple)
        .await
        .map_err(|error| Interrupt::at(&error, &root.connection, None))?;
    Ok(match resolved {
        Resolution::Found { tuple, .. } => Some(tuple),
        _ => None,
    })
}

/// A person's row as another plan over the same table reads it; where it is gone, as it was when the hold was placed.
async fn as_known_to(
    service: &Service,
    own: &Root,
    person: &Tuple,
    placed: Option<&BTreeMap<String, Option<Key>>>,
    other: &Root,
) -> Result<Tuple, Interrupt> {
    let value = |name: &str| {
        let at = own.columns.iter().position(|column| column.name == name);
        let known = at.and_then(|at| person.get(at).cloned().flatten());
        known.or_else(|| placed.and_then(|placed| placed.get(name).cloned().flatten()))
    };
    let tuple: Tuple = other.columns.iter().map(|column| value(&column.name)).collect();
    Ok(reread(service, other, &tuple).await?.unwrap_or(tuple))
}

async fn add_rows(
    service: &Service,
    found: &mut Found,
    plan: &CompiledPlan,
    person: &Tuple,
    selected: &[Rows],
) -> Result<(), Interrupt> {
    let needed: BTreeSet<usize> =
        selected.iter().flat_map(sets_of).flat_map(|set| with_earlier(plan, set)).collect();
    // The plan's sets, in this order: one may be read through an earlier one.
    let mut keys = Keys { root: Arc::new(person.clone()), ..Keys::default() };
    let mut sets = BTreeMap::new();
    for set in needed {
        let Some(wanted) = plan.key_sets.get(set) else { continue };
        let read = async {
            connector(service, &wanted.connection)?
                .keys(wanted, &keys)
                .await
                .map_err(|error| Interrupt::at(&error, &wanted.connection, None))
        };
        let chunks: Vec<Vec<Tuple>> = read
            .await?
            .try_collect()
            .await
            .map_err(|error| Interrupt::at(&error, &wanted.connection, None))?;
        let tuples = Arc::new(chunks.concat());
        keys.chunk.insert(set, tuples.clone());
        keys.whole.insert(set, tuples.clone());
        sets.insert(set, found.add(tuples.to_vec()));
    }
    let mut roots: BTreeMap<Vec<usize>, usize> = BTreeMap::new();
    for rows in selected {
        let rows = rows.clone().relinked(&mut |link: Link| {
            let source = match &link.source {
                Source::Root(positions) => {
                    let set = *roots.entry(positions.clone()).or_insert_with(|| {
                        let values = positions.iter().map(|at| person.get(*at).cloned().flatten());
                        let tuple: Tuple = values.collect();
                        let is_whole =
                            tuple.iter().all(|key| key.as_ref().is_some_and(|key| !key.is_empty()));
                        found.add(if is_whole { vec![tuple] } else { Vec::new() })
                    });
                    Source::Keys(set)
                }
                Source::Keys(set) => Source::Keys(sets.get(set).copied().unwrap_or(usize::MAX)),
                Source::Live(_) | Source::Itself => return link,
            };
            Link { source, ..link }
        });
        // Rows that another entry of the table would take are the person's all the same.
        found.kept.add(Rows { except: Vec::new(), ..rows });
    }
    Ok(())
}

fn sets_of(rows: &Rows) -> Vec<usize> {
    let mut sets = Vec::new();
    let _ = rows.clone().relinked(&mut |link: Link| {
        if let Source::Keys(set) = link.source {
            sets.push(set);
        }
        link
    });
    sets
}

/// A set, and those that it is read through.
fn with_earlier(plan: &CompiledPlan, set: usize) -> Vec<usize> {
    let through = plan.key_sets.get(set).map(|wanted| sets_of(&wanted.rows)).unwrap_or_default();
    let earlier = through.into_iter().filter(|earlier| *earlier < set);
    earlier.flat_map(|earlier| with_earlier(plan, earlier)).chain([set]).collect()
}
