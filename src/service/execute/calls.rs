//! Steps at an HTTP service: one resource after the other, which is looked at before its call and after it. What was
//! there and is gone was erased, what was otherwise and holds the new values was corrected; it is recorded before the
//! next one. The call itself may be made again at any time, under the same idempotency key.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use super::{Run, group::booked, keys, not_configured, recorder::Recorder, trouble::Interrupt};
use crate::{
    connectors::{
        ConnectorError, ErrorKind,
        http::{Accepted, CallError, Content, Correction, Progress, Sent, Session, Target, targets},
    },
    domain::{
        call::CallTemplate,
        compiled::{Resource, ResourceAct, Step},
    },
    points::{self, Point},
};

/// How long a worker waits for a call that was accepted; after that the request does, and others get their turn.
const WAITED_FOR: Duration = Duration::from_secs(5);
/// Before the first look at what became of it, without a `Retry-After`; doubled each time.
const FIRST_LOOK: Duration = Duration::from_millis(200);
const LONGEST_LOOK: Duration = Duration::from_secs(2);

/// How many of a step's resources are there; of a correction, how many are still to be corrected.
pub async fn count(
    run: &Run<'_>,
    recorder: &Recorder,
    position: usize,
    step: &Step,
) -> Result<u64, Interrupt> {
    let mut visit = Visit::begin(run, step)?;
    let mut there = 0;
    for way in ways(run, recorder, step).await? {
        for target in visit.targets(recorder, &way).await? {
            recorder.check()?;
            there += u64::from(visit.is_left(recorder, position, &target).await?);
        }
    }
    Ok(there)
}

/// As [`count`], when an earlier attempt may have left calls under way: those whose work is done have ended, but for
/// those that are asked for at a place of their own.
pub async fn count_what_is_left(
    run: &Run<'_>,
    recorder: &mut Recorder,
    position: usize,
    step: &Step,
) -> Result<u64, Interrupt> {
    let mut visit = Visit::begin(run, step)?;
    let mut there = 0;
    for way in ways(run, recorder, step).await? {
        for target in visit.targets(recorder, &way).await? {
            // A hold or a cancellation has to wait until it is known what was done.
            recorder.check_running()?;
            let part = visit.part(position, &target);
            let runs_there = visit.under_way(recorder, &part).await?.is_some_and(|at| !at.is_empty());
            if runs_there || visit.is_left(recorder, position, &target).await? {
                there += 1;
            } else {
                visit.book(recorder, position, &part, 0).await?;
            }
        }
    }
    Ok(there)
}

/// Makes the step's call for every resource on which work is left.
pub async fn walk(
    run: &Run<'_>,
    recorder: &mut Recorder,
    position: usize,
    step: &Step,
    resource: &Resource,
) -> Result<(), Interrupt> {
    let (call, body) = match &resource.act {
        ResourceAct::Erase(call) => (call, None),
        ResourceAct::Rectify { call, new, .. } => (call, Some(new.to_json())),
        ResourceAct::Keep | ResourceAct::Export { .. } => return Ok(()),
    };
    recorder.flush().await?;
    let mut visit = Visit::begin(run, step)?;
    for way in ways(run, recorder, step).await? {
        for target in visit.targets(recorder, &way).await? {
            recorder.check()?;
            let begun = Instant::now();
            visit.work(recorder, position, (call, body.as_deref()), &target).await?;
            recorder.rest(begun.elapsed().mul_f64(run.service.pacing.pause)).await;
        }
    }
    Ok(())
}

/// One alternative of a step's selection, by itself, with one binding of its keys.
pub struct Way {
    rows: crate::domain::compiled::Rows,
    pass: keys::Pass,
}

pub async fn ways(run: &Run<'_>, recorder: &Recorder, step: &Step) -> Result<Vec<Way>, Interrupt> {
    let mut ways = Vec::new();
    for alternative in 0..step.rows.any_of.len() {
        let rows = keys::one_alternative(&step.rows, alternative);
        let passes = keys::passes(run, recorder, &rows, 0).await?;
        ways.extend(passes.into_iter().map(|pass| Way { rows: rows.clone(), pass }));
    }
    Ok(ways)
}

/// One round over the resources of a step.
pub struct Visit<'a> {
    run: &'a Run<'a>,
    step: &'a Step,
    session: Session<'a>,
    /// A resource that several alternatives lead to is visited once.
    seen: HashSet<String>,
}

impl<'a> Visit<'a> {
    pub fn begin(run: &'a Run<'_>, step: &'a Step) -> Result<Self, Interrupt> {
        let service = run.service.connectors.service(&step.connection);
        let service = service.ok_or_else(|| not_configured(&step.connection))?;
        Ok(Self { run, step, session: Session::new(service), seen: HashSet::new() })
    }

    pub async fn targets(&mut self, recorder: &Recorder, way: &Way) -> Result<Vec<Target>, Interrupt> {
        let keys = keys::bind(self.run, recorder, &way.rows, 0, &way.pass).await?;
        let mut all = Vec::new();
        for alternative in &way.rows.any_of {
            let found = targets(alternative, &keys);
            all.extend(
                found.map_err(|error| Interrupt::at(&error, &self.step.connection, Some(&self.step.name)))?,
            );
        }
        all.retain(|target| self.seen.insert(self.id(target)));
        Ok(all)
    }

    /// Under which the service knows the call again.
    fn id(&self, target: &Target) -> String {
        self.run.data_key.call_id(&self.step.name, &target.tagged_bytes())
    }

    /// The sealed part that holds where a call under way is asked for.
    fn part(&self, position: usize, target: &Target) -> String {
        format!("call/{position:04}/{}", self.id(target))
    }

    /// The step has, or would have, something to do there. Where nothing is found there is nothing to correct, but for
    /// what was there when this request made its call: then the call has lost it, or changed only a part.
    async fn is_left(
        &mut self,
        recorder: &Recorder,
        position: usize,
        target: &Target,
    ) -> Result<bool, Interrupt> {
        let Some(resource) = self.step.resource() else { return Ok(false) };
        let left = match (&resource.lookup, &resource.act) {
            (None, _) => Ok(true),
            (Some(lookup), ResourceAct::Rectify { new, .. }) => {
                let part = self.part(position, target);
                let sent = self.run.service.store.keys(recorder.request.id, &part).await?.is_some();
                let found = self.session.correction(lookup, target, new).await;
                found.map(|found| match found {
                    Correction::Needed => true,
                    Correction::NothingThere => sent,
                    Correction::Done => false,
                })
            }
            (Some(lookup), _) => self.session.is_there(lookup, target).await,
        };
        left.map_err(|error| self.fault(&error))
    }

    /// What the service holds there; `None` when nothing is there.
    pub async fn read(&mut self, target: &Target) -> Result<Option<Content>, Interrupt> {
        let lookup = self.step.resource().and_then(|resource| resource.lookup.as_ref());
        let Some(lookup) = lookup else { return Ok(None) };
        let content = self.session.read(lookup, target).await;
        content.map_err(|error| self.fault(&error))
    }

    async fn work(
        &mut self,
        recorder: &mut Recorder,
        position: usize,
        call: (&CallTemplate, Option<&str>),
        target: &Target,
    ) -> Result<(), Interrupt> {
        let part = self.part(position, target);
        let under_way = self.under_way(recorder, &part).await?;
        let accepted = match under_way {
            // Also when nothing is seen there any more: the service says itself when it has ended.
            Some(location) if !location.is_empty() => {
                Some(Accepted { location: Some(location), retry_after: None })
            }
            _ if !self.is_left(recorder, position, target).await? => {
                // It was left when this attempt began: the call that was under way has ended since.
                return self.book(recorder, position, &part, u64::from(under_way.is_some())).await;
            }
            _ => self.send(recorder, call, target, &part).await?,
        };
        if let Some(accepted) = accepted {
            self.wait_for(recorder, position, target, accepted, &part).await?;
        }
        let left = self.is_left(recorder, position, target).await?;
        if left && call.1.is_some() {
            // That the correction was sent is still to be known.
            return Ok(());
        }
        self.book(recorder, position, &part, u64::from(!left)).await
    }

    /// Makes the call, with its body if it has one; `Some` when it was only accepted.
    async fn send(
        &self,
        recorder: &mut Recorder,
        (call, body): (&CallTemplate, Option<&str>),
        target: &Target,
        part: &str,
    ) -> Result<Option<Accepted>, Interrupt> {
        recorder.check()?;
        if body.is_some() {
            self.keep(recorder, part, "").await?;
        }
        let failures = self.failures(recorder, part).await?;
        recorder.before_commit()?;
        let timeout = self.run.limits.statement_timeout;
        let key = format!("{}-{failures}", self.id(target));
        points::reached(Point::CallSending);
        let sent = self.session.change(call, target, &key, body.map(str::to_owned), timeout).await;
        points::reached(Point::CallAnswered);
        let accepted = match sent {
            Ok(Sent::Done) => return Ok(None),
            Ok(Sent::Accepted(accepted)) => accepted,
            Err(error) => {
                if error.error.kind == ErrorKind::Internal {
                    self.failed(recorder, part, failures).await?;
                }
                return Err(self.fault(&error));
            }
        };
        self.keep(recorder, part, accepted.location.as_deref().unwrap_or_default()).await?;
        points::reached(Point::CallKept);
        Ok(Some(accepted))
    }

    /// Seals what is known of a call.
    async fn keep(&self, recorder: &mut Recorder, part: &str, location: &str) -> Result<(), Interrupt> {
        let sealed = self.run.data_key.seal(location.as_bytes(), part);
        let mut tx = self.run.service.store.begin().await?;
        tx.put_keys(recorder.request.id, &[(part.to_owned(), sealed)]).await?;
        recorder.record_in(tx, |_, _, _| Vec::new()).await
    }

    /// How often the call is known to have gone wrong at the service. A service may answer the same key the same way
    /// for ever, so that each of these calls is another one.
    async fn failures(&self, recorder: &Recorder, part: &str) -> Result<u64, Interrupt> {
        let part = failures_of(part);
        let Some(sealed) = self.run.service.store.keys(recorder.request.id, &part).await? else {
            return Ok(0);
        };
        let plain = self.run.data_key.open(&sealed, &part)?;
        Ok(String::from_utf8(plain).ok().and_then(|text| text.parse().ok()).unwrap_or(0))
    }

    async fn failed(&self, recorder: &mut Recorder, part: &str, failures: u64) -> Result<(), Interrupt> {
        self.keep(recorder, &failures_of(part), &(failures + 1).to_string()).await
    }

    /// Looks from time to time what became of a call that was accepted, until it has ended.
    async fn wait_for(
        &mut self,
        recorder: &mut Recorder,
        position: usize,
        target: &Target,
        accepted: Accepted,
        part: &str,
    ) -> Result<(), Interrupt> {
        let until = Instant::now() + WAITED_FOR;
        let mut retry_after = accepted.retry_after;
        let mut look = FIRST_LOOK;
        loop {
            let asked_for = retry_after.map(|after| after.wait(self.run.service.clock.now()));
            let rest = asked_for.unwrap_or(look);
            if Instant::now() + rest > until {
                let detail = "it has accepted the call and not finished it yet".to_owned();
                let error = ConnectorError { kind: ErrorKind::Unavailable, detail };
                return Err(self.fault(&CallError { error, retry_after }));
            }
            recorder.rest(rest).await;
            recorder.check()?;
            let progress = match &accepted.location {
                Some(location) => self.session.poll(location).await,
                None if self.is_left(recorder, position, target).await? => Ok(Progress::Running(None)),
                None => Ok(Progress::Ended),
            };
            match progress {
                Ok(Progress::Ended) => return Ok(()),
                Ok(Progress::Running(after)) => retry_after = after,
                Err(error) => {
                    // It went wrong over there: the next attempt makes the call anew.
                    if error.error.kind == ErrorKind::Internal {
                        let failures = self.failures(recorder, part).await?;
                        self.failed(recorder, part, failures).await?;
                        self.book(recorder, position, part, 0).await?;
                    }
                    return Err(self.fault(&error));
                }
            }
            look = (look * 2).min(LONGEST_LOOK);
        }
    }

    /// Where a call that an earlier attempt made is asked for; empty where the service did not say.
    async fn under_way(&self, recorder: &Recorder, part: &str) -> Result<Option<String>, Interrupt> {
        if !self.run.resumed {
            return Ok(None);
        }
        let Some(sealed) = self.run.service.store.keys(recorder.request.id, part).await? else {
            return Ok(None);
        };
        let plain = self.run.data_key.open(&sealed, part)?;
        Ok(String::from_utf8(plain).ok())
    }

    /// Records what a call has done, and that it is under way no more.
    async fn book(
        &self,
        recorder: &mut Recorder,
        position: usize,
        part: &str,
        affected: u64,
    ) -> Result<(), Interrupt> {
        let store = &self.run.service.store;
        let had_part = store.keys(recorder.request.id, part).await?.is_some();
        if affected == 0 && !had_part {
            return Ok(());
        }
        let written = self.step.written_columns();
        let mut tx = store.begin().await?;
        if had_part {
            tx.delete_keys(recorder.request.id, part).await?;
        }
        recorder
            .record_in(tx, move |request, actor, _| {
                request.progressed();
                booked(request, position, affected, actor, written).into_iter().collect()
            })
            .await?;
        points::reached(Point::CallBooked);
        self.run.service.metrics.batches.inc_by(affected);
        self.run.service.metrics.rows_affected.inc_by(affected);
        Ok(())
    }

    fn fault(&self, error: &CallError) -> Interrupt {
        let interrupt = Interrupt::at(&error.error, &self.step.connection, Some(&self.step.name));
        let Some(after) = error.retry_after else { return interrupt };
        interrupt.again_in(after.wait(self.run.service.clock.now()))
    }
}

/// The sealed part that counts a call's failures; it outlives the part of the call itself.
fn failures_of(part: &str) -> String {
    format!("failures/{part}")
}
