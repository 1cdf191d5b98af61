//! Legal holds: placed by one person, ended by another or by their time. What an erasure meets it heeds before it
//! touches anything, or between two batches.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use tokio::sync::watch;
use uuid::Uuid;

use super::{
    Service,
    actions::finish,
    error::ServiceError,
    intake::{registered, seal},
    readings::{Reader, open},
};
use crate::{
    connectors::Resolution,
    domain::{
        audit::ChainHead,
        compile::subject::{SubjectCode, SubjectError, SubjectFault, check_subject, refs_of_any_plan},
        compiled::{CompiledPlan, KeyColumn},
        hold::{Ground, Hold, HoldConfidential, Scope, table_of},
        key::{Key, Tuple},
        pseudonym::shown,
        request::{Request, Subject},
    },
    points::{self, Point},
    store::{StoreError, Tx, WholeHold},
};

/// How often is looked for holds whose time is over.
const LOOK: Duration = Duration::from_secs(10);
const CHUNK: i64 = 100;
/// How long placing a hold waits for the database that knows the person.
const RESOLUTION: Duration = Duration::from_secs(5);

/// A hold as it was asked for.
pub struct Placement {
    pub plan: String,
    pub subject: Subject,
    pub scope: Scope,
    pub table: Option<String>,
    pub ground: Ground,
    pub reason: String,
    pub expires_at: Option<DateTime<Utc>>,
}

/// A hold as its reader may see it.
pub struct HoldReading {
    pub hold: Hold,
    /// `None` once it was destroyed, or when it was sealed under another `pseudonym_key`.
    pub confidential: Option<HoldConfidential>,
    /// Identities and shown pseudonyms.
    pub refs: Vec<(String, String)>,
}

/// A hold that was just placed.
pub struct Placed {
    pub reading: HoldReading,
    /// Whether the person's row was there; `None` when its database could not be asked, or did not say which row it is.
    pub subject_found: Option<bool>,
}

/// Places a hold. A request of the person that is at work stops between two batches, others before they touch anything.
///
/// # Errors
/// When plan, subject, table or time is not acceptable.
pub async fn place(service: &Service, reader: &Reader, placement: Placement) -> Result<Placed, ServiceError> {
    let plan = registered(service, &placement.plan)?.compiled;
    let Known { refs, found: subject_found, row } = known(service, &plan, &placement.subject).await?;
    let row = match row {
        Some(row) => Some(as_others_know(service, &plan, row).await),
        None => None,
    };
    let now = service.clock.now();
    if placement.expires_at.is_some_and(|at| at <= now) {
        return Err(ServiceError::ExpiresInPast);
    }
    if let Some(table) = &placement.table
        && !plan.erasure.iter().any(|step| table_of(&step.name) == table)
    {
        return Err(ServiceError::UnknownTable);
    }
    let mut hold = Hold {
        id: service.clock.new_id(),
        plan: placement.plan,
        scope: placement.scope,
        table: placement.table,
        ground: placement.ground,
        placed_by: reader.sub.clone(),
        placed_at: now,
        expires_at: placement.expires_at,
        ended: None,
        identities_destroyed_at: None,
        reduced_at: None,
        head: ChainHead::default(),
    };
    let confidential = HoldConfidential {
        subject: placement.subject,
        reason: placement.reason,
        row,
        plan_version: Some(plan.version.clone()),
    };
    let secrets = seal(service, &confidential)?;
    let keys = service.pseudonyms.of(service, now).await?;
    let shown = shown(keys.refs(now, refs.iter().cloned()));
    let event = hold.placed(subject_ref(&shown), subject_found);
    let mut tx = service.store.begin().await?;
    let placed = tx.place_hold(&mut hold, event, &secrets, &refs, &keys).await;
    finish(tx, placed.map_err(ServiceError::from)).await?;
    points::reached(Point::HoldPlaced);
    let reading = HoldReading { hold, confidential: Some(confidential), refs: shown };
    Ok(Placed { reading, subject_found })
}

/// What is known of a person who is named.
pub(super) struct Known {
    pub(super) refs: Vec<(String, String)>,
    /// Whether there is a row; `None` when its database could not be asked, or did not say which one it is.
    pub(super) found: Option<bool>,
    row: Option<BTreeMap<String, Option<Key>>>,
}

/// The person's pseudonyms, of all identities where the row is found, so that it is held also when one of them changes;
/// and whether it was found. Nobody waits long for a database: where that does not answer, those given have to do.
///
/// # Errors
/// When the subject does not fit the plan, or is stored in another case.
pub(super) async fn known(
    service: &Service,
    plan: &CompiledPlan,
    subject: &Subject,
) -> Result<Known, ServiceError> {
    let given = check_subject(plan, subject)?;
    let mut refs = refs_of_any_plan(plan, &service.vault, &plan.root.named(&given));
    let Some(connector) = service.connectors.get(&plan.root.connection) else {
        return Ok(Known { refs, found: None, row: None });
    };
    let mut row = None;
    let found = match tokio::time::timeout(RESOLUTION, connector.resolve(&plan.root, &given)).await {
        Ok(Ok(Resolution::Found { tuple, .. })) => {
            for found in refs_of_any_plan(plan, &service.vault, &tuple) {
                if !refs.contains(&found) {
                    refs.push(found);
                }
            }
            let names = plan.root.columns.iter().map(|column| column.name.clone());
            row = Some(names.zip(tuple).collect::<BTreeMap<_, _>>());
            Some(true)
        }
        Ok(Ok(Resolution::NoKey)) => Some(true),
        Ok(Ok(Resolution::NotFound)) => Some(false),
        // It keeps whoever is known by one of them.
        Ok(Ok(Resolution::Ambiguous)) => None,
        // It would keep nobody, and whoever placed it would think that it does.
        Ok(Ok(Resolution::OtherCase)) => return Err(other_case().into()),
        Ok(Err(error)) => {
            tracing::warn!(plan = %plan.name, %error, "a person is known by what was given alone");
            None
        }
        Err(_) => {
            tracing::warn!(plan = %plan.name, "a person is known by what was given alone: no answer");
            None
        }
    };
    refs.sort_unstable();
    Ok(Known { refs, found, row })
}

/// The row with what other plans over the same table read of it: once it is gone nobody can ask for that any more.
async fn as_others_know(
    service: &Service,
    plan: &CompiledPlan,
    mut row: BTreeMap<String, Option<Key>>,
) -> BTreeMap<String, Option<Key>> {
    for name in service.plans.names() {
        let Ok(other) = registered(service, &name) else { continue };
        let root = &other.compiled.root;
        if root.connection != plan.root.connection || root.table != plan.root.table {
            continue;
        }
        let known = |column: &KeyColumn| row.get(&column.name).cloned().flatten();
        let tuple: Tuple = root.columns.iter().map(known).collect();
        let Some(connector) = service.connectors.get(&root.connection) else { continue };
        let reread = tokio::time::timeout(RESOLUTION, connector.reread(root, &tuple)).await;
        if let Ok(Ok(Resolution::Found { tuple, .. })) = reread {
            for (column, value) in root.columns.iter().zip(tuple) {
                row.entry(column.name.clone()).or_insert(value);
            }
        }
    }
    row
}

fn other_case() -> SubjectFault {
    let detail = "an identity is stored in another case: give it as it is stored, since the plan does not ignore the case";
    let error = SubjectError { pointer: "/subject".to_owned(), detail: detail.to_owned() };
    SubjectFault { code: SubjectCode::InvalidIdentity, errors: vec![error] }
}

/// Ends a hold; what it kept goes on.
///
/// # Errors
/// For who placed it, and when it has ended.
pub async fn end(service: &Service, reader: &Reader, id: Uuid) -> Result<HoldReading, ServiceError> {
    let mut tx = service.store.begin().await?;
    let outcome = end_in(service, &mut tx, reader, id).await;
    let (whole, released) = finish(tx, outcome).await?;
    points::reached(Point::HoldEnded);
    tell(service, &released);
    Ok(reading(service, whole))
}

async fn end_in(
    service: &Service,
    tx: &mut Tx,
    reader: &Reader,
    id: Uuid,
) -> Result<(WholeHold, Vec<Request>), ServiceError> {
    let mut whole = tx.lock_hold(id).await?.ok_or(ServiceError::NotFound)?;
    let event = whole.hold.end(&reader.sub, subject_ref(&whole.refs), service.clock.now())?;
    let released = tx.end_hold(&mut whole.hold, event, &reader.sub).await?;
    Ok((whole, released))
}

/// Ends holds whose time is over, from now on, until `stop` turns true. Several processes may do so.
pub async fn run(service: Arc<Service>, mut stop: watch::Receiver<bool>) {
    while !*stop.borrow() {
        if let Err(error) = expire(&service).await {
            tracing::warn!(%error, "holds whose time is over could not be ended");
        }
        let _ = tokio::time::timeout(LOOK, stop.wait_for(|stop| *stop)).await;
    }
}

/// Ends the holds whose time is over; how many they were.
///
/// # Errors
/// When the store does not answer; those before were ended.
pub async fn expire(service: &Service) -> Result<usize, StoreError> {
    let mut expired = 0;
    for id in service.store.holds_to_expire(service.clock.now(), CHUNK).await? {
        let mut tx = service.store.begin().await?;
        let now = service.clock.now();
        let whole = tx.lock_hold(id).await?;
        let ending = whole.and_then(|mut whole| {
            let event = whole.hold.expire(subject_ref(&whole.refs), now)?;
            Some((whole.hold, event))
        });
        let Some((mut hold, event)) = ending else {
            tx.rollback().await?;
            continue;
        };
        let released = tx.end_hold(&mut hold, event, "system").await?;
        tx.commit().await?;
        tell(service, &released);
        expired += 1;
    }
    Ok(expired)
}

/// Tells who waits, and the worker, of requests that go on.
fn tell(service: &Service, released: &[Request]) {
    for request in released {
        service.watchers.changed(request);
    }
    service.wake.notify_one();
}

/// One hold.
///
/// # Errors
/// `NotFound` when there is none.
pub async fn read(service: &Service, id: Uuid) -> Result<HoldReading, ServiceError> {
    let whole = service.store.hold(id).await?.ok_or(ServiceError::NotFound)?;
    Ok(reading(service, whole))
}

/// A page of holds, newest first.
///
/// # Errors
/// When the store does not answer.
pub async fn list(
    service: &Service,
    active: Option<bool>,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<HoldReading>, ServiceError> {
    let found = service.store.holds(None, active, before, limit).await?;
    Ok(found.into_iter().map(|whole| reading(service, whole)).collect())
}

/// Every hold that is in force.
///
/// # Errors
/// When the store does not answer.
pub(super) async fn active(service: &Service) -> Result<Vec<HoldReading>, StoreError> {
    let mut all = Vec::new();
    let mut before = None;
    loop {
        let page = service.store.holds(None, Some(true), before, CHUNK).await?;
        before = page.last().map(|whole| whole.hold.id);
        if before.is_none() {
            return Ok(all);
        }
        let now = service.clock.now();
        let in_force = page.into_iter().filter(|whole| whole.hold.is_active(now));
        all.extend(in_force.map(|whole| reading(service, whole)));
    }
}

fn reading(service: &Service, whole: WholeHold) -> HoldReading {
    let WholeHold { hold, secrets, refs } = whole;
    let confidential =
        secrets.and_then(|sealed| open(service, hold.id, &sealed.wrapped_key, &sealed.confidential));
    HoldReading { hold, confidential, refs }
}

/// Under which the audit log tells of the hold: the first identity that was given.
fn subject_ref(refs: &[(String, String)]) -> Option<String> {
    refs.first().map(|(_, pseudonym)| pseudonym.clone())
}
