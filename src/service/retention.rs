//! Retention policies at work: the steps of a policy, carried out with the batches, the kindness and the legal holds of
//! erasures.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{
    Service,
    error::ServiceError,
    execute::{connector, trouble::Interrupt},
};
use crate::{
    connectors::{Connector, Count, CountOf, Keys},
    domain::{
        compiled::{Rows, Step},
        document::{Fault, Severity},
        request::RunCode,
        retention::{CompiledPolicy, Kept, Matched, Moments, Policy, PolicyAction, SMALL_TABLE, compile},
    },
};

mod archive;
mod held;
mod walk;

use held::Held;
pub(super) use walk::carry_out;

/// How long a preview may count.
const PREVIEW: Duration = Duration::from_secs(10);

/// The policy of that name.
///
/// # Errors
/// `NotFound` when the configuration has none.
pub fn policy<'s>(service: &'s Service, name: &str) -> Result<&'s Policy, ServiceError> {
    service.upkeep.policies.get(name).ok_or(ServiceError::NotFound)
}

/// The version of a policy as it fits the live schema now.
///
/// # Errors
/// When it does not fit, or its connection does not answer.
pub async fn version(
    service: &Service,
    name: &str,
    before: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<String, ServiceError> {
    Ok(fitted(service, policy(service, name)?, Moments { before, now }).await?.version)
}

/// Why a policy cannot be carried out now.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PolicyError {
    #[error("the policy does not fit the live schema: {}", told(.0))]
    Refused(Vec<Fault>),
    #[error("connection `{name}`: {detail}")]
    Unavailable { name: String, detail: String },
    #[error("it would take every one of {rows} rows of `{table}`: write allow_all: true if it may")]
    MatchesEverything { table: String, rows: u64 },
}

fn told(faults: &[Fault]) -> String {
    let problem = |fault: &Fault| format!("{} ({})", fault.problem, fault.remedy);
    faults
        .iter()
        .filter(|fault| fault.severity == Severity::Error)
        .map(problem)
        .collect::<Vec<_>>()
        .join("; ")
}

async fn fitted(service: &Service, policy: &Policy, moments: Moments) -> Result<CompiledPolicy, PolicyError> {
    let name = &policy.connection.value;
    let unavailable = |detail: String| PolicyError::Unavailable { name: name.clone(), detail };
    let Some(connector) = service.connectors.get(name) else {
        let fault = Fault {
            file: policy.file.clone(),
            line: Some(policy.connection.line),
            problem: format!("`{name}` is no database of the configuration"),
            remedy: format!("the configuration has: {}", service.connectors.names().join(", ")),
            severity: Severity::Error,
        };
        return Err(PolicyError::Refused(vec![fault]));
    };
    let catalog = connector.catalog().await.map_err(|error| unavailable(error.to_string()))?;
    compile(policy, &catalog, moments).map_err(PolicyError::Refused)
}

/// What a policy would do now, table by table in the order of execution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Preview {
    pub policy: String,
    pub policy_version: String,
    pub action: &'static str,
    pub before: DateTime<Utc>,
    pub tables: Vec<TablePreview>,
    /// Rows of the policy's table that hold no time that could be read; they stay.
    pub unreadable: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TablePreview {
    pub table: String,
    #[serde(flatten)]
    pub rows: Matched,
}

/// Counts what a policy would do now; nothing is changed.
///
/// # Errors
/// When it does not fit the live schema, or would take every row without being allowed to.
pub async fn preview(service: &Service, name: &str) -> Result<Preview, ServiceError> {
    let policy = policy(service, name)?;
    let now = service.store.now().await?;
    let before = policy.older_than.before(now);
    let before = before.ok_or(ServiceError::Internal("the policy reaches beyond the calendar"))?;
    let compiled = fitted(service, policy, Moments { before, now }).await?;
    let interrupted = |interrupt: Interrupt| match interrupt {
        Interrupt::Store(error) => ServiceError::Store(error),
        Interrupt::Trouble(error) | Interrupt::Later(error, _) => {
            ServiceError::Policy(PolicyError::Unavailable {
                name: error.connection.unwrap_or_else(|| policy.connection.value.clone()),
                detail: error.detail,
            })
        }
        _ => ServiceError::Internal("a preview is not interrupted"),
    };
    let held = Held::of(service, policy, &compiled).await.map_err(interrupted)?;
    let counted = Counted::of(service, policy, &compiled, &held, PREVIEW).await.map_err(interrupted)?;
    counted.require_few(policy)?;
    let tables = counted.steps.iter().zip(compiled.steps(&Kept::default()));
    Ok(Preview {
        policy: policy.name.clone(),
        policy_version: compiled.version.clone(),
        action: policy.action.value.as_str(),
        before,
        tables: tables.map(|(rows, step)| TablePreview { table: step.name, rows: rows.clone() }).collect(),
        unreadable: counted.unreadable,
    })
}

/// What there is to do, and what stays.
struct Counted {
    /// In the order of the steps.
    steps: Vec<Matched>,
    unreadable: u64,
    /// All rows of the policy's own table.
    all: u64,
    table: String,
}

impl Counted {
    async fn of(
        service: &Service,
        policy: &Policy,
        compiled: &CompiledPolicy,
        held: &Held,
        limit: Duration,
    ) -> Result<Self, Interrupt> {
        let name = &policy.connection.value;
        let connector = connector(service, name)?;
        let (steps, without) = (compiled.steps(&held.kept), compiled.steps(&Kept::default()));
        let whole = compiled.whole_table();
        let unreadable = compiled.unreadable();
        let none = Keys::default();
        let remaining = |step: &Step, rows: &Rows| (rows.clone(), step.action.clone());
        let mut wanted: Vec<(Rows, crate::domain::compiled::Action)> =
            steps.iter().map(|step| remaining(step, &step.rows)).collect();
        if !held.kept.is_empty() {
            wanted.extend(without.iter().map(|step| remaining(step, &step.rows)));
        }
        let own = steps.last().map(|step| step.action.clone());
        for rows in whole.iter().chain(&unreadable) {
            wanted.extend(own.clone().map(|action| (rows.clone(), action)));
        }
        let counts: Vec<Count<'_>> = wanted
            .iter()
            .enumerate()
            .map(|(at, (rows, action))| {
                let is_step = at < steps.len() || (!held.kept.is_empty() && at < 2 * steps.len());
                let of = if is_step { CountOf::Remaining } else { CountOf::Matched };
                let keys = if at < steps.len() { &held.keys } else { &none };
                Count { rows, action, keys, of }
            })
            .collect();
        let found =
            connector.count(&counts, limit).await.map_err(|error| Interrupt::at(&error, name, None))?;
        let mut found = found.into_iter();
        let matched: Vec<u64> = found.by_ref().take(steps.len()).collect();
        let all_old: Vec<u64> = match held.kept.is_empty() {
            true => matched.clone(),
            false => found.by_ref().take(steps.len()).collect(),
        };
        let all = found.next().unwrap_or(0);
        Ok(Self {
            steps: matched
                .into_iter()
                .zip(all_old)
                .map(|(matched, old)| Matched { matched, withheld: old.saturating_sub(matched) })
                .collect(),
            all,
            unreadable: if unreadable.is_some() { found.next().unwrap_or(0) } else { 0 },
            table: steps.last().map(|step| step.name.clone()).unwrap_or_default(),
        })
    }

    /// A condition that matches every row of a table is more likely a mistake than a policy.
    fn require_few(&self, policy: &Policy) -> Result<(), PolicyError> {
        let own = self.steps.last().map_or(0, |own| own.matched + own.withheld);
        if policy.allow_all || self.all <= SMALL_TABLE || own < self.all {
            return Ok(());
        }
        Err(PolicyError::MatchesEverything { table: self.table.clone(), rows: self.all })
    }
}

/// Faults and warnings of every policy against the live schemas and, where `counts`, against the rows.
pub async fn check(
    connectors: &super::Connectors,
    policies: &BTreeMap<String, Policy>,
    now: DateTime<Utc>,
) -> (Vec<Fault>, BTreeMap<String, String>) {
    let mut faults = Vec::new();
    let mut down = BTreeMap::new();
    for policy in policies.values() {
        let fault = |line: usize, problem: String, remedy: &str| Fault {
            file: policy.file.clone(),
            line: Some(line),
            problem,
            remedy: remedy.to_owned(),
            severity: Severity::Error,
        };
        let name = &policy.connection.value;
        let Some(connector) = connectors.get(name) else {
            let remedy = format!("the configuration has: {}", connectors.names().join(", "));
            let problem = format!("`{name}` is no database of the configuration");
            faults.push(fault(policy.connection.line, problem, &remedy));
            continue;
        };
        let Some(before) = policy.older_than.before(now) else {
            let problem = format!("`{}` reaches beyond the calendar", policy.older_than);
            faults.push(fault(policy.line, problem, "write a shorter period"));
            continue;
        };
        match looked_at(connector, policy, Moments { before, now }).await {
            Ok(found) => faults.extend(found),
            Err(detail) => {
                down.insert(name.clone(), detail);
            }
        }
    }
    (faults, down)
}

async fn looked_at(
    connector: &Arc<dyn Connector>,
    policy: &Policy,
    moments: Moments,
) -> Result<Vec<Fault>, String> {
    let catalog = connector.catalog().await.map_err(|error| error.to_string())?;
    let compiled = match compile(policy, &catalog, moments) {
        Ok(compiled) => compiled,
        Err(faults) => return Ok(faults),
    };
    let mut faults = compiled.warnings.clone();
    let fault = |line: usize, problem: String, remedy: &str, severity: Severity| Fault {
        file: policy.file.clone(),
        line: Some(line),
        problem,
        remedy: remedy.to_owned(),
        severity,
    };
    let steps = compiled.steps(&Kept::default());
    for step in &steps {
        let trusted = crate::connectors::Trusted::Step(&step.rows, &step.action);
        match connector.prepare(trusted).await {
            Ok(Ok(())) => {}
            Ok(Err(words)) => {
                let line = policy.filter.as_ref().map_or(policy.line, |filter| filter.line);
                let problem =
                    format!("{}: the database refuses its SQL: {}", step.name, words.replace('\n', " "));
                faults.push(fault(
                    line,
                    problem,
                    "mend `where`, `sql` or `done` of this policy",
                    Severity::Error,
                ));
                return Ok(faults);
            }
            Err(error) => return Err(error.to_string()),
        }
    }
    let Some((own, whole)) = steps.last().zip(compiled.whole_table()) else { return Ok(faults) };
    let keys = Keys::default();
    let count = |rows| Count { rows, action: &own.action, keys: &keys, of: CountOf::Matched };
    let unreadable = compiled.unreadable();
    let wanted: Vec<Count<'_>> = [&whole, &own.rows].into_iter().chain(&unreadable).map(count).collect();
    let found = match connector.count(&wanted, PREVIEW).await {
        Ok(found) => found,
        Err(error) => {
            let problem = format!("{}: its rows could not be counted: {error}", own.name);
            let remedy = "an index on the timestamp helps";
            faults.push(fault(policy.line, problem, remedy, Severity::Warning));
            return Ok(faults);
        }
    };
    let at = |position: usize| found.get(position).copied().unwrap_or(0);
    if !policy.allow_all && at(0) > SMALL_TABLE && at(1) == at(0) {
        let problem = format!("retention policy `{}` matches every one of {} rows", policy.name, at(0));
        let remedy = "write allow_all: true if it may take all of them";
        faults.push(fault(policy.line, problem, remedy, Severity::Error));
    }
    if at(2) > 0 {
        let problem = format!("{} rows of {} hold no time that can be read: they stay", at(2), own.name);
        let remedy = "dates are text such as 2026-01-31 10:00:00, or whole seconds since 1970";
        faults.push(fault(policy.timestamp.line, problem, remedy, Severity::Warning));
    }
    Ok(faults)
}

/// A policy that cannot be carried out now, as the end of an attempt.
fn interrupt(error: PolicyError) -> Interrupt {
    match error {
        PolicyError::Unavailable { name, detail } => {
            Interrupt::trouble(RunCode::ConnectionUnavailable, detail, Some(&name), None)
        }
        PolicyError::MatchesEverything { .. } => {
            Interrupt::trouble(RunCode::MatchesEverything, error.to_string(), None, None)
        }
        PolicyError::Refused(_) => Interrupt::trouble(RunCode::SchemaChanged, error.to_string(), None, None),
    }
}

/// True where the rows are written to the object store before they go.
fn is_archive(policy: &Policy) -> bool {
    policy.action.value == PolicyAction::Archive
}
