//! What a replay would have to do. Changes nothing.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio::time::timeout;

use crate::{
    connectors::Resolution,
    domain::{compile::check_subject, ledger::Kept},
    service::{
        Service,
        error::ServiceError,
        ledger,
        registry::{Availability, Registered},
    },
    store::LedgerCount,
};

/// All looks at the databases together.
const LIMIT: Duration = Duration::from_secs(10);
/// Persons that are looked for.
const LOOKED_FOR: i64 = 200;

/// What the ledger holds, and a sample of who of them is there again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Preview {
    pub since: Option<DateTime<Utc>>,
    pub entries: i64,
    pub plans: Vec<PlanEntries>,
    /// Of the first persons of the ledger, as many as could be looked for in ten seconds.
    pub found: usize,
    pub absent: usize,
    /// A request would fail: the identities lead to several rows, to one in another case, or to one where none was when
    /// the person was erased.
    pub unclear: usize,
    /// A run would count these as failed: their plan is not registered, has other identities, or they were sealed under
    /// another `pseudonym_key`.
    pub unusable: usize,
}

/// Entries of one plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlanEntries {
    pub plan: String,
    pub registered: bool,
    pub entries: i64,
    pub oldest: Option<DateTime<Utc>>,
    pub newest: Option<DateTime<Utc>>,
}

/// Counts what a run since then would have to do, and looks for some of the persons.
///
/// # Errors
/// When the time lies in the future, or the store does not answer. Databases that do not are left out.
pub async fn preview(service: &Service, since: Option<DateTime<Utc>>) -> Result<Preview, ServiceError> {
    super::require_past(service, since)?;
    let from = since.map(super::with_skew);
    let counts = service.store.ledger_counts(from).await?;
    let mut preview = Preview {
        since,
        entries: counts.iter().map(|count| count.entries).sum(),
        plans: counts.into_iter().map(|count| of_plan(service, count)).collect(),
        found: 0,
        absent: 0,
        unclear: 0,
        unusable: 0,
    };
    let until = Instant::now() + LIMIT;
    let keys = ledger::keys(service).await?;
    for entry in service.store.ledger_entries(from, LOOKED_FOR).await? {
        let Some(kept) = ledger::open(&keys, &entry) else {
            preview.unusable += 1;
            continue;
        };
        let Some(Availability::Registered(plan)) = service.plans.current(&entry.plan) else {
            preview.unusable += 1;
            continue;
        };
        let left = until.saturating_duration_since(Instant::now());
        match timeout(left, look(service, &plan, &kept)).await {
            Ok(Some(Seen::Found)) => preview.found += 1,
            Ok(Some(Seen::Absent)) => preview.absent += 1,
            Ok(Some(Seen::Unclear)) => preview.unclear += 1,
            Ok(Some(Seen::Unusable)) => preview.unusable += 1,
            Ok(None) => {}
            Err(_) => break,
        }
    }
    Ok(preview)
}

fn of_plan(service: &Service, count: LedgerCount) -> PlanEntries {
    PlanEntries {
        registered: service.plans.current(&count.plan).is_some(),
        plan: count.plan,
        entries: count.entries,
        oldest: count.oldest,
        newest: count.newest,
    }
}

enum Seen {
    Found,
    Absent,
    Unclear,
    Unusable,
}

/// `None` where the database does not answer.
async fn look(service: &Service, plan: &Registered, kept: &Kept) -> Option<Seen> {
    let root = &plan.compiled.root;
    if !kept.is_of(root) {
        return Some(Seen::Unusable);
    }
    let Ok(given) = check_subject(&plan.compiled, &kept.identities) else { return Some(Seen::Unusable) };
    match service.connectors.get(&root.connection)?.resolve(root, &given).await.ok()? {
        Resolution::Found { .. } if kept.found => Some(Seen::Found),
        Resolution::NotFound => Some(Seen::Absent),
        _ => Some(Seen::Unclear),
    }
}
