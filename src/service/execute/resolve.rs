//! Finding the person, and the one transaction that must be there before anything is touched: the resolved
//! person, every step's count, the sealed keys.

use std::{sync::Arc, time::Duration};

use serde_json::json;

use super::{
    Run, connector, keys, person, person::PERSON_PART, recorder::Recorder, rectify, session_limits,
    trouble::Interrupt, verify,
};
use crate::{
    connectors::Resolution,
    domain::{
        audit::EventName,
        compile::subject::{check_subject, subject_refs},
        compiled::{CompiledPlan, Root, Step},
        key::{Key, Tuple},
        rectification::{Rectification, lasting_refs},
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
    let wanted = Wanted { service, plan, steps, data_key, given };
    let (tuple, found) = wanted.undisturbed(recorder).await?;
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

/// The person that a request names.
struct Wanted<'a> {
    service: &'a Service,
    plan: &'a CompiledPlan,
    steps: &'a [Step],
    data_key: &'a DataKey,
    given: Vec<(usize, Key)>,
}

impl Wanted<'_> {
    /// The root tuple as no other request of this person changes it: one that corrects an identity may end right after it
    /// was read. A request that comes later waits for this one, so that only those that are there by now matter.
    async fn undisturbed(&self, recorder: &mut Recorder) -> Result<(Tuple, bool), Interrupt> {
        let refs = |tuple: &Tuple| lasting_refs(self.plan, &self.service.vault, self.steps, tuple);
        let mut read = self.by_given().await;
        let mut known = refs(&match &read {
            Ok((tuple, _)) => tuple.clone(),
            Err(_) => self.plan.root.named(&self.given),
        });
        if !self.service.store.has_other_requests(recorder.request.id, &known).await? {
            return read;
        }
        if recorder.request.kind != Kind::Rectification {
            self.require_whole(&known).await?;
        }
        loop {
            recorder.take_locks(&known).await?;
            let again = self.by_what_was_left(recorder).await?;
            let is_same = read.as_ref().is_ok_and(|read| *read == again);
            known = refs(&again.0);
            if is_same {
                return Ok(again);
            }
            read = Ok(again);
        }
    }

    /// Refuses a person whose identity was corrected in some databases and not in others: rows would be missed.
    async fn require_whole(&self, refs: &[(String, String)]) -> Result<(), Interrupt> {
        let service = self.service;
        let Some(id) = service.store.half_done_rectification(refs).await? else { return Ok(()) };
        let Some(half) = service.store.request(id).await? else { return Ok(()) };
        let plan = service.plans.pinned(service, &half.plan, &half.plan_version).await?;
        let (_, asked) = keys::confidential(service, id).await?;
        let is_of_identity = |step: &Step| {
            let names = step.rectification().map(Rectification::names).unwrap_or_default();
            step.is_root && plan.root.columns.iter().any(|column| names.contains(&column.name.as_str()))
        };
        if asked.steps(&plan, half.kind).is_ok_and(|steps| !steps.iter().any(is_of_identity)) {
            return Ok(());
        }
        let detail = format!(
            "rectification {id} of this person has ended half-way, so that some rows may hold the old identity and some \
             the new one; nothing was touched: submit that rectification again, then this request"
        );
        Err(Interrupt::trouble(RunCode::SubjectAmbiguous, detail, Some(&self.plan.root.connection), None))
    }

    async fn by_given(&self) -> Result<(Tuple, bool), Interrupt> {
        let root = &self.plan.root;
        let resolution = connector(self.service, &root.connection)?
            .resolve(root, &self.given)
            .await
            .map_err(|error| Interrupt::at(&error, &root.connection, None))?;
        Ok(found(root, resolution)?.map_or_else(|| (root.named(&self.given), false), |tuple| (tuple, true)))
    }

    /// By what a rectification has left with the request, if one has, otherwise as it was given.
    async fn by_what_was_left(&self, recorder: &Recorder) -> Result<(Tuple, bool), Interrupt> {
        let left = person::left(self.service, recorder.request.id, self.data_key).await?;
        let Some(person) = left else { return self.by_given().await };
        let root = &self.plan.root;
        let tuple = found(root, person.find(self.service, self.plan).await?)?;
        let gone = || (person.last_known(root).unwrap_or_else(|| root.named(&self.given)), false);
        Ok(tuple.map_or_else(gone, |tuple| (tuple, true)))
    }
}

/// The root tuple, if a row was found.
fn found(root: &Root, resolution: Resolution) -> Result<Option<Tuple>, Interrupt> {
    let ambiguous = |detail: &str| {
        Err(Interrupt::trouble(RunCode::SubjectAmbiguous, detail, Some(&root.connection), None))
    };
    match resolution {
        Resolution::Ambiguous | Resolution::OtherCase => ambiguous(
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
        Resolution::Found { tuple, .. } => Ok(Some(tuple)),
        Resolution::NotFound => Ok(None),
    }
}

/// Keys that an attempt sealed before it could record the resolution are read anew.
async fn discard_leftovers(run: &Run<'_>, recorder: &mut Recorder) -> Result<(), Interrupt> {
    if run.plan.key_sets.is_empty() || recorder.request.epoch <= 1 {
        return Ok(());
    }
    let mut tx = run.service.store.begin().await?;
    tx.delete_other_keys(recorder.request.id, PERSON_PART).await?;
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
    let lasting = lasting_refs(&run.plan, &run.service.vault, &run.steps, &run.root);
    recorder
        .record_person(
            &lasting,
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
