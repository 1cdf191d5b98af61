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
        compiled::{CompiledPlan, Link, Root, Rows, Source, Step, TableName},
        hold::{Hold, HoldConfidential, Scope, table_of},
        key::{Key, Tuple},
        request::RunCode,
        retention::{CompiledPolicy, Kept, Policy},
    },
    service::{
        Service,
        execute::{connector, trouble::Interrupt},
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
    let plans: Vec<Arc<CompiledPlan>> = match hold.scope {
        // Also those whose files are gone: what they call a person's rows is kept rather than lost.
        Scope::AllPlans => service.plans.known(service).await?,
        Scope::Plan | Scope::Table => vec![own.clone()],
    };
    let is_touched = |plan: &CompiledPlan| selections(plan, hold, connection, tables).next().is_some();
    let mut persons: Option<Vec<Tuple>> = None;
    for plan in plans.iter().filter(|plan| is_touched(plan)) {
        if plan.root.connection != own.root.connection || plan.root.table != own.root.table {
            // Its identities are of somebody else's table.
            continue;
        }
        let known = match &persons {
            Some(known) => known,
            None => persons.insert(persons_of(service, &own, confidential).await?),
        };
        for person in known {
            let person = match plan.version == own.version {
                true => person.clone(),
                false => as_known_to(service, &own.root, person, &plan.root).await?,
            };
            add_rows(service, found, plan, hold, &person, connection, tables).await?;
        }
    }
    Ok(())
}

/// The steps of a plan that select rows of these tables, each table entry once.
fn selections<'p>(
    plan: &'p CompiledPlan,
    hold: &'p Hold,
    connection: &'p str,
    tables: &'p [&'p TableName],
) -> impl Iterator<Item = &'p Step> {
    let further = plan.export.iter().filter(|step| !plan.erasure.iter().any(|known| known.name == step.name));
    plan.erasure.iter().chain(further).filter(move |step| {
        step.connection == connection
            && tables.contains(&&step.rows.table)
            && match (hold.scope, &hold.table) {
                (Scope::Table, Some(table)) => table_of(&step.name) == table,
                _ => true,
            }
    })
}

/// Every row that the hold's person may be: by what was given, and by the key that the row had when the hold was placed,
/// since identities change.
async fn persons_of(
    service: &Service,
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
    // One by one: should they lead to several rows, each of these may be meant.
    for (column, key) in given.iter().filter(|one| !scope.contains(one)) {
        let one: Vec<(usize, Key)> = std::iter::once((*column, key.clone())).chain(scope.clone()).collect();
        let resolved = connector(service, &root.connection)?
            .resolve(root, &one)
            .await
            .map_err(|error| Interrupt::at(&error, &root.connection, None))?;
        if let Resolution::Found { tuple, .. } = resolved {
            add(tuple);
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
    Ok(persons)
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

/// A person's row as another plan over the same table reads it.
async fn as_known_to(
    service: &Service,
    own: &Root,
    person: &Tuple,
    other: &Root,
) -> Result<Tuple, Interrupt> {
    let value = |name: &str| {
        let at = own.columns.iter().position(|column| column.name == name)?;
        person.get(at).cloned().flatten()
    };
    let tuple: Tuple = other.columns.iter().map(|column| value(&column.name)).collect();
    Ok(reread(service, other, &tuple).await?.unwrap_or(tuple))
}

async fn add_rows(
    service: &Service,
    found: &mut Found,
    plan: &CompiledPlan,
    hold: &Hold,
    person: &Tuple,
    connection: &str,
    tables: &[&TableName],
) -> Result<(), Interrupt> {
    let steps: Vec<&Step> = selections(plan, hold, connection, tables).collect();
    let needed: BTreeSet<usize> =
        steps.iter().flat_map(|step| sets_of(&step.rows)).flat_map(|set| with_earlier(plan, set)).collect();
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
    for step in steps {
        let rows = step.rows.clone().relinked(&mut |link: Link| {
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
