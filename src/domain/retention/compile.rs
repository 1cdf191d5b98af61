//! Policy + live schema → steps, or every reason why not. What a policy does is what a plan does whose root is the
//! policy's table, so a plan is written for it and compiled: rights, masks, foreign keys and order are looked at in one
//! place.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, digest};
use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

use super::{Kept, Nulls, Policy, PolicyAction};
use crate::domain::{
    audit::hex,
    compile::{self, key_column},
    compiled::{
        Action, Age, Alternative, CompiledPlan, KeyColumn, Link, Piece, Rows, Source, Step, TableName,
        TimeKind, Wanted,
    },
    document::{At, Fault, Reader, suggest},
    plan::{About, Entry, Erase, Export, IdentityDef, MaskStrategy, Match, MatchValue, PlanFile, Reference},
    rectification::{NewValue, Rectification, System},
    schema::{Catalog, Column, Family, ForeignKey, Table},
};

/// The times of one run, which a resume does not move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moments {
    /// The first moment that is not old any more.
    pub before: DateTime<Utc>,
    /// What a soft-deleted row is stamped with.
    pub now: DateTime<Utc>,
}

/// A policy that fits the live schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompiledPolicy {
    /// In the order of execution: what points at others goes first, the policy's own table last.
    steps: Vec<Step>,
    /// SHA-256 over what decides which rows are touched and how.
    pub version: String,
    pub warnings: Vec<Fault>,
}

/// Joins a policy with the live schema of its connection.
///
/// # Errors
/// Every reason why it cannot be carried out, with its remedy.
pub fn compile(policy: &Policy, catalog: &Catalog, moments: Moments) -> Result<CompiledPolicy, Vec<Fault>> {
    let mut faults = Reader::new(&policy.file);
    match run(policy, catalog, moments, &mut faults) {
        Ok(Some(mut compiled)) if !faults.has_errors() => {
            compiled.warnings.extend(faults.into_faults());
            Ok(compiled)
        }
        Ok(_) => Err(faults.into_faults()),
        Err(more) => Err(faults.into_faults().into_iter().chain(more).collect()),
    }
}

fn run(
    policy: &Policy,
    catalog: &Catalog,
    moments: Moments,
    faults: &mut Reader,
) -> Result<Option<CompiledPolicy>, Vec<Fault>> {
    let Some(table) = find(catalog, &policy.table, faults) else { return Ok(None) };
    let age = age(policy, table, moments, faults);
    let children: Vec<(&Table, usize)> = policy
        .children
        .iter()
        .filter_map(|child| Some((find(catalog, child, faults)?, child.line)))
        .collect();
    require_children(policy, catalog, table, &children, faults);
    let (Some(age), false) = (age, faults.has_errors()) else { return Ok(None) };
    let Some(file) = plan(policy, table, &children, faults) else { return Ok(None) };
    let catalogs = BTreeMap::from([(policy.connection.value.clone(), catalog.clone())]);
    let compiled = compile::compile(&file, &catalogs)?;
    if !compiled.plan.key_sets.is_empty() {
        let remedy = "take tables that point at each other in a circle out of the policy";
        faults.error(policy.line, format!("{} would need keys of rows that are gone", shown(policy)), remedy);
        return Ok(None);
    }
    let own = compiled.plan.erasure.iter().find(|step| step.is_root);
    let action = match (&policy.action.value, own) {
        (PolicyAction::SoftDelete(column), _) => {
            let Some(column) = table.column(column) else { return Ok(None) };
            stamp(table, column, moments.now)
        }
        (_, Some(own)) => own.action.clone(),
        (_, None) => return Ok(None),
    };
    let version = version(policy, &compiled.plan, &age);
    let steps = steps(policy, &compiled.plan, &age, &action);
    // What a plan is warned of that hands out or forgets tables is no matter of a policy.
    let warnings = compiled.warnings.into_iter().filter(|fault| fault.problem.contains("triggers")).collect();
    Ok(Some(CompiledPolicy { steps, version, warnings }))
}

fn shown(policy: &Policy) -> String {
    format!("retention policy `{}`", policy.name)
}

fn find<'c>(catalog: &'c Catalog, name: &At<Reference>, faults: &mut Reader) -> Option<&'c Table> {
    let (schema, table) = match name.value.parts.as_slice() {
        [table] => (None, table.as_str()),
        [schema, table] => (Some(schema.as_str()), table.as_str()),
        _ => (None, ""),
    };
    let found = catalog.table(schema, table);
    if found.is_none() {
        let known = catalog.tables.iter().map(|table| table.name.as_str());
        faults.error(name.line, format!("there is no table `{}`", name.value), suggest(table, known));
    }
    found
}

fn age(policy: &Policy, table: &Table, moments: Moments, faults: &mut Reader) -> Option<Age> {
    let At { line, value: name } = &policy.timestamp;
    let Some(column) = table.column(name) else {
        let known = table.columns.iter().map(|column| column.name.as_str());
        faults.error(*line, format!("`{}` has no column `{name}`", policy.table.value), suggest(name, known));
        return None;
    };
    let Some(time) = time_kind(table, column) else {
        let problem = format!("`{name}` is of type {}, which is no time", column.type_name);
        faults.error(*line, problem, "name a column of dates or timestamps");
        return None;
    };
    if column.nullable && policy.nulls.is_none() {
        let problem = format!("`{name}` may be NULL, and the policy does not say what such a row is");
        faults.error(*line, problem, "write nulls: keep, or nulls: old");
        return None;
    }
    let mark = match &policy.action.value {
        PolicyAction::SoftDelete(name) => Some(mark(policy, table, name, faults)?),
        _ => None,
    };
    Some(Age {
        column: key_column(column),
        time,
        before: moments.before,
        nulls_are_old: policy.nulls == Some(Nulls::Old),
        mark,
        wanted: Wanted::Old,
    })
}

/// `None` for a column that tells no date.
fn time_kind(table: &Table, column: &Column) -> Option<TimeKind> {
    let system = System::of(table);
    if system == System::Sqlite {
        let may_be = matches!(
            column.family,
            Family::Time | Family::Text | Family::Integer | Family::Number | Family::Any
        );
        return may_be.then_some(TimeKind::Any);
    }
    let name = column.base_type().to_ascii_lowercase();
    let is_mysql = system == System::MySql;
    match name.as_str() {
        _ if column.family != Family::Time => None,
        name if is_mysql && name.starts_with("timestamp") => Some(TimeKind::Instant),
        name if is_mysql && name.starts_with("datetime") => Some(TimeKind::Local),
        name if name.starts_with("timestamp") && name.ends_with("with time zone") => Some(TimeKind::Instant),
        name if name.starts_with("timestamp") => Some(TimeKind::Local),
        "date" => Some(TimeKind::Date),
        _ => None,
    }
}

fn mark(policy: &Policy, table: &Table, name: &str, faults: &mut Reader) -> Option<KeyColumn> {
    let line = policy.action.line;
    let Some(column) = table.column(name) else {
        let known = table.columns.iter().map(|column| column.name.as_str());
        faults.error(line, format!("`{}` has no column `{name}`", policy.table.value), suggest(name, known));
        return None;
    };
    let takes_time = time_kind(table, column).is_some() && column.nullable;
    if column.generated || !(takes_time || matches!(column.family, Family::Boolean | Family::Integer)) {
        let problem = format!("`{name}` cannot say that a row is deleted");
        faults.error(line, problem, "name a nullable column of times, or a flag");
        return None;
    }
    Some(key_column(column))
}

/// Sets the mark.
fn stamp(table: &Table, column: &Column, now: DateTime<Utc>) -> Action {
    let system = System::of(table);
    let value = match column.family {
        Family::Boolean if system == System::Postgres => NewValue::Text("true".to_owned()),
        // A column of SQLite that is declared as an integer is taken for a flag, not for seconds since 1970.
        Family::Boolean | Family::Integer => NewValue::Number("1".to_owned()),
        _ => NewValue::Text(match time_kind(table, column) {
            Some(TimeKind::Date) => now.format("%Y-%m-%d").to_string(),
            Some(TimeKind::Instant) if system == System::Postgres => {
                now.to_rfc3339_opts(SecondsFormat::Micros, true)
            }
            _ => now.format("%Y-%m-%d %H:%M:%S").to_string(),
        }),
    };
    Action::Rectify(Rectification::of_one(table, column, value))
}

/// Rows that a foreign key protects go first, where the policy says that they may.
fn require_children(
    policy: &Policy,
    catalog: &Catalog,
    table: &Table,
    children: &[(&Table, usize)],
    faults: &mut Reader,
) {
    if !policy.action.value.removes() {
        if let Some((_, line)) = children.first() {
            let problem = format!("`children` of {}, which removes no rows", shown(policy));
            faults.error(*line, problem, "leave it out: it is for delete and archive");
        }
        return;
    }
    let is_known = |child: &Table| same(child, table) || children.iter().any(|(known, _)| same(known, child));
    for parent in std::iter::once(table).chain(children.iter().map(|(child, _)| *child)) {
        for child in catalog.tables.iter().filter(|child| points_at(child, parent)) {
            if same(child, parent) {
                let problem =
                    format!("`{}` points at itself: rows that stay may need a row that is old", child.name);
                faults.error(policy.table.line, problem, "use mask or soft_delete, or drop that foreign key");
            } else if !is_known(child) {
                let problem = format!("a foreign key of `{}` points at `{}`", child.name, parent.name);
                let remedy = format!(
                    "add `{}` to `children` if its rows may go with those of `{}`; otherwise use mask or soft_delete",
                    child.name, parent.name
                );
                faults.error(policy.table.line, problem, remedy);
            }
        }
    }
    for (child, line) in children {
        if !is_known(child) || same(child, table) {
            faults.error(*line, format!("`{}` is the policy's own table", child.name), "leave it out");
        } else if parents(child, table, children).next().is_none() {
            let problem = format!("no foreign key of `{}` points at a table of this policy", child.name);
            faults.error(*line, problem, "leave it out: which of its rows go with the others is not known");
        }
    }
}

fn same(a: &Table, b: &Table) -> bool {
    a.schema == b.schema && a.name == b.name
}

fn points_at(child: &Table, parent: &Table) -> bool {
    child.foreign_keys.iter().any(|key| key.parent_schema == parent.schema && key.parent_table == parent.name)
}

/// The tables of the policy that a child points at, with its keys.
fn parents<'t>(
    child: &'t Table,
    table: &'t Table,
    children: &'t [(&'t Table, usize)],
) -> impl Iterator<Item = (&'t Table, &'t ForeignKey)> {
    let all = std::iter::once(table).chain(children.iter().map(|(child, _)| *child));
    all.filter(|parent| !same(parent, child)).flat_map(|parent| {
        child
            .foreign_keys
            .iter()
            .filter(|key| key.parent_schema == parent.schema && key.parent_table == parent.name)
            .map(move |key| (parent, key))
    })
}

/// The plan that does the same to the rows of one person.
fn plan(
    policy: &Policy,
    table: &Table,
    children: &[(&Table, usize)],
    faults: &mut Reader,
) -> Option<PlanFile> {
    let line = policy.line;
    let at = |value: String| At { line, value };
    let connection = &policy.connection.value;
    let fits = |column: &&Column| {
        !matches!(column.family, Family::Json | Family::Array | Family::Binary | Family::Boolean)
    };
    let Some(column) = table.columns.iter().find(fits) else {
        let problem = format!("`{}` has no column of numbers, text or times", policy.table.value);
        faults.error(policy.table.line, problem, "");
        return None;
    };
    let name_of = |table: &Table| Reference { parts: vec![table.schema.clone(), table.name.clone()] };
    let column_of = |table: &Table, column: &str| Reference {
        parts: vec![connection.clone(), table.schema.clone(), table.name.clone(), column.to_owned()],
    };
    let entry = |table: &Table, line: usize, matches: Vec<At<Match>>, erase: Erase| Entry {
        line,
        connection: connection.clone(),
        table: name_of(table),
        name: None,
        matches,
        shared: true,
        filter: None,
        erase: At { line, value: erase },
        export: At { line, value: Export::None },
        portable: None,
        about: About::default(),
        rectify: Vec::new(),
        rectify_call: None,
        cascade: false,
    };
    let own = match &policy.action.value {
        PolicyAction::Delete | PolicyAction::Archive => Erase::Delete,
        PolicyAction::Mask(columns) => Erase::Mask { columns: columns.clone(), basis: None },
        // Asks for the right to write the column; the value is another.
        PolicyAction::SoftDelete(column) => {
            let value = MaskStrategy::Sql { value: "NULL".to_owned(), done: "1 = 1".to_owned() };
            let columns = vec![(at(column.clone()), At { line, value })];
            Erase::Mask { columns, basis: None }
        }
    };
    let mut entries = vec![entry(table, policy.table.line, Vec::new(), own)];
    entries[0].shared = false;
    for (child, line) in children {
        let matches = parents(child, table, children).map(|(parent, key)| {
            let pairs = key.columns.iter().zip(&key.parent_columns);
            let columns = pairs.map(|(own, theirs)| {
                (at(own.clone()), At { line: *line, value: MatchValue::Column(column_of(parent, theirs)) })
            });
            At { line: *line, value: Match::Columns(columns.collect()) }
        });
        entries.push(entry(child, *line, matches.collect(), Erase::Delete));
    }
    Some(PlanFile {
        file: policy.file.clone(),
        source: String::new(),
        name: at(policy.name.clone()),
        identities: vec![IdentityDef {
            name: column.name.clone(),
            column: At { line: policy.table.line, value: column_of(table, &column.name) },
            ignore_case: false,
        }],
        scope: Vec::new(),
        about: About::default(),
        entries,
        connections: vec![policy.connection.clone()],
        manual: Vec::new(),
        code: Vec::new(),
    })
}

/// The plan's steps, told of the rows by their age instead of by a person.
fn steps(policy: &Policy, plan: &CompiledPlan, age: &Age, action: &Action) -> Vec<Step> {
    let filter = policy.filter.as_ref().map(|filter| filter.value.clone());
    let own =
        |rows: Rows| Rows { any_of: vec![Alternative::Age(age.clone())], filter: filter.clone(), ..rows };
    let Some(root) = plan.erasure.iter().find(|step| step.is_root).map(|step| own(step.rows.clone())) else {
        return Vec::new();
    };
    let through_root = |link: Link| match &link.source {
        Source::Root(_) => Link { source: Source::Live(vec![root.clone()]), ..link },
        _ => link,
    };
    plan.erasure
        .iter()
        .map(|step| {
            let step = step.clone();
            let basis = Some(policy.basis.clone());
            match step.is_root {
                true => Step { rows: root.clone(), action: action.clone(), is_root: false, basis, ..step },
                false => Step { rows: step.rows.relinked(&mut { through_root }), basis, ..step },
            }
        })
        .collect()
}

fn version(policy: &Policy, plan: &CompiledPlan, age: &Age) -> String {
    #[derive(Serialize)]
    struct Decides<'a> {
        plan: &'a str,
        column: &'a KeyColumn,
        older_than: String,
        nulls: Option<Nulls>,
        filter: Option<&'a str>,
        action: &'a str,
        mark: Option<&'a KeyColumn>,
        allow_all: bool,
    }
    let decides = Decides {
        plan: &plan.version,
        column: &age.column,
        older_than: policy.older_than.to_string(),
        nulls: policy.nulls,
        filter: policy.filter.as_ref().map(|filter| filter.value.as_str()),
        action: policy.action.value.as_str(),
        mark: age.mark.as_ref(),
        allow_all: policy.allow_all,
    };
    let text = serde_json::to_vec(&decides).unwrap_or_default();
    format!("sha256:{}", hex(digest(&SHA256, &text).as_ref()))
}

impl CompiledPolicy {
    /// The tables of the policy.
    pub fn tables(&self) -> impl Iterator<Item = &TableName> {
        self.steps.iter().map(|step| &step.rows.table)
    }

    /// The steps in the order of execution, without the rows that are kept, and without those that kept rows point at.
    #[must_use]
    pub fn steps(&self, kept: &Kept) -> Vec<Step> {
        self.steps
            .iter()
            .map(|step| Step { rows: self.without(step.rows.clone(), kept), ..step.clone() })
            .collect()
    }

    fn without(&self, mut rows: Rows, kept: &Kept) -> Rows {
        let except = self.kept(&rows.table, kept);
        for alternative in &mut rows.any_of {
            let Alternative::Match { links, .. } = alternative else { continue };
            for link in links {
                if let Source::Live(live) = &mut link.source {
                    for parent in live {
                        *parent = self.without(parent.clone(), kept);
                    }
                }
            }
        }
        Rows { except, ..rows }
    }

    /// Of one table: what holds keep, and what must stay because something that is kept points at it.
    fn kept(&self, table: &TableName, kept: &Kept) -> Vec<Rows> {
        let mut all = kept.of(table).to_vec();
        for child in self.steps.iter().filter(|child| child.rows.table != *table) {
            let held = self.kept_below(child, table, kept);
            all.extend(held);
        }
        all
    }

    fn kept_below(&self, child: &Step, parent: &TableName, kept: &Kept) -> Vec<Rows> {
        let links = child.rows.any_of.iter().flat_map(Alternative::links);
        let to_parent: Vec<(&Link, &Rows)> = links
            .filter_map(|link| match &link.source {
                Source::Live(live) => Some((link, live.iter().find(|rows| rows.table == *parent)?)),
                _ => None,
            })
            .collect();
        if to_parent.is_empty() {
            return Vec::new();
        }
        let held = self.kept(&child.rows.table, kept);
        if held.is_empty() {
            return Vec::new();
        }
        let back = to_parent.into_iter().map(|(link, rows)| Rows {
            any_of: vec![Alternative::Match {
                links: vec![Link {
                    columns: link.source_columns.clone(),
                    source: Source::Live(held.clone()),
                    source_columns: link.columns.clone(),
                    ignore_case: vec![false; link.columns.len()],
                }],
                constants: Vec::new(),
            }],
            filter: None,
            except: Vec::new(),
            within: Vec::new(),
            ..rows.clone()
        });
        back.collect()
    }

    /// Every row of the policy's own table.
    #[must_use]
    pub fn whole_table(&self) -> Option<Rows> {
        let every = Alternative::Sql { pieces: vec![Piece::Text("1 = 1".to_owned())], links: Vec::new() };
        let own = self.steps.last()?;
        Some(Rows { any_of: vec![every], filter: None, ..own.rows.clone() })
    }

    /// Rows of the policy's own table that hold no time at all.
    #[must_use]
    pub fn unreadable(&self) -> Option<Rows> {
        let own = self.steps.last()?;
        let any_of = own.rows.any_of.iter().filter_map(|alternative| match alternative {
            Alternative::Age(age) if age.time == TimeKind::Any => {
                Some(Alternative::Age(Age { wanted: Wanted::Unreadable, ..age.clone() }))
            }
            _ => None,
        });
        let any_of: Vec<Alternative> = any_of.collect();
        (!any_of.is_empty()).then(|| Rows { any_of, ..own.rows.clone() })
    }
}
