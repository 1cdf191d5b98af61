//! Policy + live schema → steps, or every reason why not. What a policy does is what a plan does whose root is the
//! policy's table, so a plan is written for it and compiled: rights, masks, foreign keys and order are looked at in one
//! place.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, digest};
use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

use super::{
    Nulls, Policy, PolicyAction,
    plan::{plan, require_children},
};
use crate::domain::{
    audit::hex,
    compile::{self, key_column},
    compiled::{
        Action, Age, Alternative, CompiledPlan, KeyColumn, Link, Rows, Source, Step, TimeKind, Wanted,
    },
    document::{At, Fault, Reader, suggest},
    plan::Reference,
    rectification::{NewValue, Rectification, System},
    schema::{Catalog, Column, Family, Table},
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
    pub(super) steps: Vec<Step>,
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
    if policy.action.value == PolicyAction::Archive {
        for step in compiled.plan.erasure.iter().filter(|step| step.rows.key.is_empty()) {
            let problem = format!(
                "`{}` has no primary key, so that its rows cannot be handed over one by one",
                step.name
            );
            faults.error(policy.table.line, problem, "add a primary key, or use delete");
        }
    }
    let version = version(policy, &compiled.plan, &age);
    let steps = steps(policy, &compiled.plan, &age, &action);
    // What a plan is warned of that hands out or forgets tables is no matter of a policy.
    let warnings = compiled.warnings.into_iter().filter(|fault| fault.problem.contains("triggers")).collect();
    Ok(Some(CompiledPolicy { steps, version, warnings }))
}

pub(super) fn shown(policy: &Policy) -> String {
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
    let Some(time) = TimeKind::of(table, column) else {
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

fn mark(policy: &Policy, table: &Table, name: &str, faults: &mut Reader) -> Option<KeyColumn> {
    let line = policy.action.line;
    let Some(column) = table.column(name) else {
        let known = table.columns.iter().map(|column| column.name.as_str());
        faults.error(line, format!("`{}` has no column `{name}`", policy.table.value), suggest(name, known));
        return None;
    };
    let takes_time = TimeKind::of(table, column).is_some() && column.nullable;
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
        _ => NewValue::Text(match TimeKind::of(table, column) {
            Some(TimeKind::Date) => now.format("%Y-%m-%d").to_string(),
            Some(TimeKind::Instant) if system == System::Postgres => {
                now.to_rfc3339_opts(SecondsFormat::Micros, true)
            }
            _ => now.format("%Y-%m-%d %H:%M:%S").to_string(),
        }),
    };
    Action::Rectify(Rectification::of_one(table, column, value))
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
