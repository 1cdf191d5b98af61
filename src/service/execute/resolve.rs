//! Finding the person, and the one transaction that must be there before anything is touched: the resolved
//! person, every step's count, the sealed keys.

use std::{sync::Arc, time::Duration};

use serde_json::json;

use super::{
    Run, connector, follow, keys, recorder::Recorder, rectify, session_limits, trouble::Interrupt, verify,
};
use crate::{
    connectors::Resolution,
    domain::{
        audit::EventName,
        compile::subject::{check_subject, subject_refs},
        compiled::{CompiledPlan, Root, Step},
        key::{Key, Tuple},
        request::{Confidential, Kind, Request, RunCode, StepState},
        vault::DataKey,
    },
    service::Service,
};

/// How long all counts of a request may take (DESIGN.md §5).
pub const COUNT_LIMIT: Duration = Duration::from_secs(600);

/// Resolves the person and records it; `None` when nothing of the person was found and the request is completed.
pub async fn resolve(
    service: &Arc<Service>,
    recorder: &mut Recorder,
    plan: &Arc<CompiledPlan>,
    steps: &Arc<[Step]>,
    data_key: &DataKey,
    confidential: &Confidential,
) -> Result<Option<Tuple>, Interrupt> {
    let given = check_subject(plan, &confidential.subject).map_err(|_| {
        Interrupt::trouble(RunCode::SchemaChanged, "an identity no longer fits its column", None, None)
    })?;
    let given = follow::given(service, &recorder.request, plan, given).await?;
    let (tuple, found) = undisturbed(service, recorder, plan, &given).await?;
    let root = Arc::new(tuple.clone());
    let run = Run {
        service,
        plan: plan.clone(),
        steps: steps.clone(),
        data_key: data_key.clone(),
        root,
        limits: session_limits(service),
        resumed: false,
    };
    discard_leftovers(&run, recorder).await?;
    let sets: Vec<usize> = (0..plan.key_sets.len()).collect();
    keys::collect(&run, recorder, &sets).await?;
    if recorder.request.kind == Kind::Rectification {
        // Before the counts, which compare with the new values.
        rectify::try_all(&run, recorder).await?;
    }
    let counts = verify::first_counts(&run, recorder).await?;
    if recorder.request.kind == Kind::Rectification {
        rectify::require_few(&run, &counts)?;
        rectify::rehearse(&run, recorder).await?;
    }
    record(&run, recorder, confidential, found, counts).await?;
    Ok((!recorder.request.status().is_end()).then_some(tuple))
}

/// The root tuple as no other request of this person changes it: one that corrects an identity may end right after it was
/// read. A request that comes later waits for this one, so that only those that are there by now matter.
async fn undisturbed(
    service: &Service,
    recorder: &mut Recorder,
    plan: &CompiledPlan,
    given: &[(usize, Key)],
) -> Result<(Tuple, bool), Interrupt> {
    let mut read = root_tuple(service, &plan.root, given).await?;
    let mut refs = subject_refs(plan, &service.vault, &read.0);
    if !service.store.has_other_requests(recorder.request.id, &refs).await? {
        return Ok(read);
    }
    loop {
        recorder.take_locks(&refs).await?;
        let again = root_tuple(service, &plan.root, given).await?;
        let is_same = again == read;
        read = again;
        if is_same {
            return Ok(read);
        }
        refs = subject_refs(plan, &service.vault, &read.0);
    }
}

/// The root tuple, and whether a row was found; without one it holds only what was given.
async fn root_tuple(
    service: &Service,
    root: &Root,
    given: &[(usize, Key)],
) -> Result<(Tuple, bool), Interrupt> {
    let ambiguous = |detail: &str| {
        Err(Interrupt::trouble(RunCode::SubjectAmbiguous, detail, Some(&root.connection), None))
    };
    let resolution = connector(service, &root.connection)?
        .resolve(root, given)
        .await
        .map_err(|error| Interrupt::at(&error, &root.connection, None))?;
    match resolution {
        Resolution::Ambiguous => ambiguous(
            "the given identities do not lead to exactly one row, or one is written in another case; \
             nothing was touched: submit again with an identity that is unique",
        ),
        Resolution::NoKey => ambiguous(
            "the person's row has a primary key that is NULL or empty, or that reads like another row's (1 and '1' in \
             a column without a type), so that it cannot be told from others; nothing was touched: give the row a key",
        ),
        Resolution::Found { sharing, .. } if sharing.iter().any(|others| *others > 0) => ambiguous(
            "another person's row has the same value in a column that a `match` of the plan reads, so their rows \
             cannot be told apart; nothing was touched: correct the data, or declare the match `shared: true`",
        ),
        Resolution::Found { tuple, .. } => Ok((tuple, true)),
        Resolution::NotFound => Ok((follow::named(root, given), false)),
    }
}

/// Keys that an attempt sealed before it could record the resolution are read anew.
async fn discard_leftovers(run: &Run<'_>, recorder: &mut Recorder) -> Result<(), Interrupt> {
    if run.plan.key_sets.is_empty() || recorder.request.epoch <= 1 {
        return Ok(());
    }
    let mut tx = run.service.store.begin().await?;
    tx.delete_keys(recorder.request.id, "").await?;
    recorder.record_in(tx, |_, _, _| Vec::new()).await
}

/// DESIGN.md §5 (a).
async fn record(
    run: &Run<'_>,
    recorder: &mut Recorder,
    confidential: &Confidential,
    found: bool,
    counts: Vec<u64>,
) -> Result<(), Interrupt> {
    let refs = subject_refs(&run.plan, &run.service.vault, &run.root);
    let root_identity = run.plan.root.identities.first().map(|identity| identity.name.clone());
    let subject_ref =
        refs.iter().find(|(name, _)| Some(name) == root_identity.as_ref()).map(|(_, r)| r.clone());
    let sealed = [keys::seal_root(&run.data_key, &run.root)];
    // Code may still find something of a person whom no table knows.
    let has_code = !run.plan.code(recorder.request.kind).is_empty();
    let nothing = !found && counts.iter().all(|count| *count == 0) && !has_code;
    // An export changes nothing, and so has nothing to announce; with code, the tables come later.
    let announce = (recorder.request.kind != Kind::Export && !has_code)
        .then(|| super::group::announcement(&run.steps, &counts, run.service));
    let identities = refs.len();
    recorder
        .record_person(
            &refs,
            &sealed,
            &confidential.places(&run.service.vault, &refs),
            move |request, actor, now| {
                resolved(request, subject_ref, &counts);
                let matched: i64 = request.steps.iter().filter_map(|step| step.rows_matched).sum();
                let mut event = request.event(
                    EventName::SubjectResolved,
                    actor,
                    json!({ "found": found, "identities": identities }),
                );
                event.rows = Some(json!({ "matched": matched }));
                let mut events = vec![event];
                events.extend(request.await_people(actor, now));
                if nothing {
                    for step in request.steps.iter_mut().filter(|step| step.by_hand.is_none()) {
                        step.verified(0, now);
                    }
                    if request.steps.iter().all(StepState::is_verified) {
                        events.push(request.complete(false, actor, now));
                    }
                } else if let Some(announce) = announce {
                    events.extend(announce(request, actor, now));
                }
                events
            },
        )
        .await?;
    if recorder.request.status().is_end() {
        run.service.metrics.requests_completed.inc();
    }
    Ok(())
}

fn resolved(request: &mut Request, subject_ref: Option<String>, counts: &[u64]) {
    request.progressed();
    request.resolved = true;
    request.subject_ref = subject_ref;
    for (step, count) in request.steps.iter_mut().zip(counts) {
        step.rows_matched = Some(i64::try_from(*count).unwrap_or(i64::MAX));
    }
}
