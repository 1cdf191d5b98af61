//! Finding the person, and the one transaction that must be there before anything is touched: the resolved
//! person, every step's count, the sealed keys.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use serde_json::json;

use super::{
    Run, connector, corrected::corrected_by, export::consents, keys, recorder::Recorder, rectify,
    session_limits, trouble::Interrupt, verify,
};
use crate::{
    connectors::Resolution,
    domain::{
        audit::EventName,
        compile::subject::{check_subject, subject_refs},
        compiled::{CompiledPlan, Identity, Root, Step},
        key::{Key, Tuple},
        rectification::{Corrected, Identities, lasting_refs, refs_at_work},
        request::{Confidential, Kind, Outcome, Request, RunCode, StepState},
        vault::DataKey,
    },
    points::{self, Point},
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
    let wanted = Wanted { service, plan, steps, given, known: &confidential.known };
    let (tuple, found) = wanted.undisturbed(recorder).await?;
    if recorder.request.has_met_somebody_new(found) {
        return Err(wanted.ambiguous(
            "no row had these identities when the person was erased, and one has them now: a backup may have brought the \
             person back, or somebody else has the identity; nothing was touched: look, and submit an erasure by hand"
                .to_owned(),
        ));
    }
    recorder.knows(plan, &tuple, found);
    let root = Arc::new(tuple.clone());
    let run = Run {
        service,
        plan: plan.clone(),
        steps: steps.clone(),
        data_key: data_key.clone(),
        root,
        limits: session_limits(service),
        resumed: false,
        effort: Arc::default(),
    };
    discard_leftovers(&run, recorder).await?;
    let sets: Vec<usize> = (0..plan.key_sets.len()).collect();
    keys::collect(&run, recorder, &sets).await?;
    if recorder.request.kind == Kind::Rectification {
        rectify::require_turn(&run, recorder).await?;
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
    given: Vec<(usize, Key)>,
    /// By column, of a person who was erased before.
    known: &'a BTreeMap<String, Key>,
}

impl Wanted<'_> {
    /// The root tuple as no other request of this person changes it: one that corrects an identity may end right after it
    /// was read. A request that comes later waits for this one, so that only those that are there by now matter.
    async fn undisturbed(&self, recorder: &mut Recorder) -> Result<(Tuple, bool), Interrupt> {
        let refs = |tuple: &Tuple| lasting_refs(self.plan, &self.service.vault, self.steps, tuple);
        let mut read = self.read().await;
        let given = self.plan.root.named(&self.given);
        let mut known = refs(read.as_ref().map_or(&given, |(tuple, _)| tuple));
        if !self.service.store.has_other_requests(recorder.request.id, &known).await? {
            return read;
        }
        loop {
            recorder.take_locks(&known).await?;
            self.require_unchanged(recorder, &known).await?;
            let again = self.read().await?;
            let is_same = read.as_ref().is_ok_and(|read| *read == again);
            known = refs(&again.0);
            if is_same {
                return Ok(again);
            }
            read = Ok(again);
        }
    }

    async fn read(&self) -> Result<(Tuple, bool), Interrupt> {
        let root = &self.plan.root;
        let resolution = connector(self.service, &root.connection)?
            .resolve(root, &self.given)
            .await
            .map_err(|error| Interrupt::at(&error, &root.connection, None))?;
        if let Some(tuple) = found(root, resolution)? {
            return Ok((tuple, true));
        }
        self.require_free().await?;
        Ok((self.without_row(), false))
    }

    /// What the person's row held beside the identities must be nobody else's by now: rows are found by it.
    async fn require_free(&self) -> Result<(), Interrupt> {
        if self.known.is_empty() {
            return Ok(());
        }
        let root = &self.plan.root;
        let known = root.columns.iter().enumerate().filter_map(|(column, one)| {
            let key = self.known.get(&one.name)?.clone();
            let is_given = self.given.iter().any(|(position, _)| *position == column);
            (!is_given).then(|| (Identity { name: one.name.clone(), column, ignore_case: false }, key))
        });
        let (identities, mut given): (Vec<_>, Vec<_>) = known
            .map(|(identity, key)| {
                let column = identity.column;
                (identity, (column, key))
            })
            .unzip();
        given.extend(self.given.iter().cloned());
        let by_known = Root { identities, ..root.clone() };
        let resolution = connector(self.service, &root.connection)?
            .resolve(&by_known, &given)
            .await
            .map_err(|error| Interrupt::at(&error, &root.connection, None))?;
        match resolution {
            Resolution::NotFound => Ok(()),
            _ => Err(self.ambiguous(
                "the person's row is gone, and another one holds a value by which their rows are found: those rows cannot be \
                 told apart; nothing was touched: look, and submit an erasure by hand"
                    .to_owned(),
            )),
        }
    }

    /// The root tuple where no row is there.
    fn without_row(&self) -> Tuple {
        let root = &self.plan.root;
        let mut tuple = root.named(&self.given);
        for (slot, column) in tuple.iter_mut().zip(&root.columns).filter(|(slot, _)| slot.is_none()) {
            *slot = self.known.get(&column.name).cloned();
        }
        tuple
    }

    /// A rectification may have changed an identity after this request was submitted under it, or may have ended half-way,
    /// so that some rows hold the old one and some the new one. Whom the request means, or by what all rows are found,
    /// nobody can tell then.
    async fn require_unchanged(
        &self,
        recorder: &Recorder,
        refs: &[(String, String)],
    ) -> Result<(), Interrupt> {
        let own = &recorder.request;
        let mut made_whole: Vec<Corrected> = Vec::new();
        for other in self.service.store.rectifications_of(refs).await? {
            if other.id == own.id {
                continue;
            }
            let Some(corrected) = corrected_by(self.service, &other).await? else { continue };
            let changed = corrected.identities(&self.plan.root);
            if changed.is_empty() {
                continue;
            }
            let is_of_given = self.given.iter().any(|(position, _)| {
                self.plan
                    .root
                    .columns
                    .get(*position)
                    .is_some_and(|column| changed.contains(&column.name.as_str()))
            });
            if is_of_given && was_changed_since(&other, own.created_at) {
                return Err(self.ambiguous(format!(
                    "rectification {} changed an identity that this request was given, after it was submitted; nothing was \
                     touched: submit it again with the identity that the person has now",
                    other.id
                )));
            }
            match other.state.outcome() {
                Some(Outcome::Partial)
                    if own.kind != Kind::Rectification
                        && !made_whole.iter().any(|done| done.is_same_as(&corrected)) =>
                {
                    return Err(self.ambiguous(format!(
                        "rectification {} of this person has ended half-way, so that some rows may hold the old identity \
                         and some the new one; nothing was touched: submit that rectification again, then this request",
                        other.id
                    )));
                }
                Some(Outcome::Done | Outcome::DoneWithExceptions) => made_whole.push(corrected),
                _ => {}
            }
        }
        Ok(())
    }

    fn ambiguous(&self, detail: String) -> Interrupt {
        Interrupt::trouble(RunCode::SubjectAmbiguous, detail, Some(&self.plan.root.connection), None)
    }
}

/// True where a rectification was still at its tables by then.
fn was_changed_since(rectification: &Request, at: DateTime<Utc>) -> bool {
    let ended = rectification.state.finished_at();
    let mut written =
        rectification.steps.iter().filter(|step| step.by_hand.is_none() && step.rows_affected > 0);
    written.any(|step| step.finished_at.or(ended).is_none_or(|finished| finished >= at))
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
    let own = refs.iter().find(|(name, _)| Some(name) == root_identity.as_ref());
    let keys = recorder.keys().await?;
    let subject_ref = own.and_then(|(_, r)| keys.shown(recorder.request.created_at, r));
    let sealed = [keys::seal_root(&run.data_key, &run.root)];
    // Code may still find something of a person whom no table knows.
    let has_code = !run.plan.code(recorder.request.kind).is_empty();
    let no_rows = !found && counts.iter().all(|count| *count == 0) && !has_code;
    // Nor has an export, where no table knows a person who once gave a consent.
    let has_consents = no_rows
        && recorder.request.kind == Kind::Export
        && consents::are_there(run.service, &run.plan, &refs).await?;
    let nothing = no_rows && !has_consents;
    // An export changes nothing, and so has nothing to announce; with code, the tables come later.
    let announce = (recorder.request.kind != Kind::Export && !has_code)
        .then(|| super::group::announcement(&run.steps, &counts, run.service));
    let identities = refs.len();
    let at_work = refs_at_work(&run.plan, &run.service.vault, &run.steps, &run.root);
    let changing = Some(rectify::identities(run)).filter(Identities::are_changed);
    recorder
        .record_person(
            &at_work,
            changing.as_ref(),
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
                        if let Some(kept) = &mut step.kept {
                            kept.measured = true;
                        }
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
    points::reached(Point::PersonResolved);
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
