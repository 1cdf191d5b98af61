//! Steps in code: what a program that embeds this crate does itself, because no table holds it. Files of the person,
//! a search index, a service of one's own.
//!
//! A plan names them (`code: [{ name: uploads }]`) and the program registers them in [`CodeSteps`]; an erasure then runs
//! them as durably as its tables, see `execute/code.rs`. [`run_erasure`] runs them without plan, store and worker.

use std::{collections::BTreeMap, fmt, sync::Arc};

use async_trait::async_trait;
use serde_json::json;
use uuid::Uuid;

use crate::domain::{
    audit::{EventName, NewEvent},
    clock::Clock,
    request::{CODE, Disposition},
};

/// How often a step is run until nothing is left: once, and three rounds more, as for rows of tables.
pub(super) const RUNS: usize = 4;

/// One step in code.
///
/// `run` has to be idempotent: after a crash between its effect and the record of it, it runs again, and without
/// [`remaining`](Self::remaining) it runs once more in any case, as the proof that it leaves nothing. Its future may be
/// dropped at every `await`, when the worker stops or loses its lease. It sets its own limits of time.
#[async_trait]
pub trait ErasureStep: Send + Sync {
    /// As plans name it: letters, digits, `_` and `-`.
    fn name(&self) -> &str;

    /// Erases what there is of the person. Returns the rows affected: records, files, whatever is counted here; 0 when
    /// nothing was left. What a run did whose record was lost is counted only if the next one tells of it again.
    ///
    /// # Errors
    /// Each says what it asks for: see [`StepError`].
    async fn run(&self, context: &StepContext) -> Result<u64, StepError>;

    /// A fresh count of what is left, as the proof. `None`: `run` itself is the proof, when it finds nothing.
    ///
    /// # Errors
    /// As of [`run`](Self::run).
    async fn remaining(&self, context: &StepContext) -> Result<Option<u64>, StepError> {
        let _ = context;
        Ok(None)
    }
}

/// The person's identities by the names that the plan gives them. Personal data: no `Debug`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Identities(BTreeMap<String, String>);

impl Identities {
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Identities {
    fn from_iter<T: IntoIterator<Item = (N, V)>>(identities: T) -> Self {
        Self(identities.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

impl fmt::Debug for Identities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identities([redacted])")
    }
}

/// Whose data a step erases, and for which request.
#[derive(Debug, Clone)]
pub struct StepContext {
    /// The request, or the run of [`run_erasure`].
    pub request_id: Uuid,
    /// All that are known of the person: also those that the request did not name, where the person's row was found. Of a
    /// binary column the base64 of its bytes.
    pub identities: Identities,
    /// The same in every attempt of this step of this request, and in no other: for calls that take such a key.
    pub idempotency_key: String,
}

impl StepContext {
    pub(super) fn new(request_id: Uuid, identities: Identities, step: &str) -> Self {
        Self { request_id, identities, idempotency_key: format!("{request_id}/{step}") }
    }
}

/// Why a step did not come to its end, and what that asks for. The text is a constant, so that nothing of the person can
/// slip into a log, an answer of the API or a request's `error`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct StepError {
    pub disposition: Disposition,
    pub detail: &'static str,
}

impl StepError {
    /// Something outside is down: the request pauses and comes back, no attempt is used.
    #[must_use]
    pub fn wait(detail: &'static str) -> Self {
        Self { disposition: Disposition::Wait, detail }
    }

    /// Again with growing pauses, until the attempts are used up.
    #[must_use]
    pub fn retry(detail: &'static str) -> Self {
        Self { disposition: Disposition::Retry, detail }
    }

    /// It needs a person: the request fails.
    #[must_use]
    pub fn fail(detail: &'static str) -> Self {
        Self { disposition: Disposition::Fail, detail }
    }
}

/// The steps that a program has registered, by name.
#[derive(Clone, Default)]
pub struct CodeSteps(BTreeMap<String, Arc<dyn ErasureStep>>);

impl CodeSteps {
    /// Adds a step; it takes the place of an earlier one of its name.
    #[must_use]
    pub fn with(mut self, step: impl ErasureStep + 'static) -> Self {
        self.0.insert(step.name().to_owned(), Arc::new(step));
        self
    }

    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<dyn ErasureStep>> {
        self.0.get(name)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

/// After a run that affected so many rows: is nothing left?
pub(super) async fn is_clean(
    step: &dyn ErasureStep,
    context: &StepContext,
    affected: u64,
) -> Result<bool, StepError> {
    Ok(match step.remaining(context).await? {
        Some(remaining) => remaining == 0,
        None => affected == 0,
    })
}

/// Steps to run one after the other, for a program that needs nothing else of this crate.
#[derive(Clone, Default)]
pub struct ErasurePlan {
    pub steps: Vec<Arc<dyn ErasureStep>>,
}

/// The step at which [`run_erasure`] stopped; those before it are done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("step `{step}`: {error}")]
pub struct Halted {
    pub step: String,
    pub error: StepError,
}

/// Runs the steps of a plan in order, each until it proves that it leaves nothing, and stops at the first that does not
/// come to its end. `on_audit` gets an event when a step begins and when it ends, without personal data; what it is told
/// last is what is known after a crash. All rows that were affected.
///
/// # Errors
/// The step that failed and why. Steps are idempotent: the whole plan can be run again.
pub async fn run_erasure(
    plan: &ErasurePlan,
    identities: Identities,
    mut on_audit: impl FnMut(NewEvent),
) -> Result<u64, Halted> {
    let id = Clock.new_id();
    let mut total = 0;
    for step in &plan.steps {
        let context = StepContext::new(id, identities.clone(), step.name());
        let event = |event, details| NewEvent {
            request_id: Some(id),
            step: Some(step.name().to_owned()),
            action: Some(CODE.to_owned()),
            ..NewEvent::new(event, "system", details)
        };
        on_audit(event(EventName::StepStarted, json!({})));
        match run_step(&**step, &context).await {
            Ok(affected) => {
                total += affected;
                let rows = Some(json!({ "affected": affected, "remaining": 0 }));
                on_audit(NewEvent { rows, ..event(EventName::StepCompleted, json!({})) });
            }
            Err(error) => {
                let details = json!({ "disposition": error.disposition.as_str() });
                on_audit(event(EventName::StepFailed, details));
                return Err(Halted { step: step.name().to_owned(), error });
            }
        }
    }
    Ok(total)
}

async fn run_step(step: &dyn ErasureStep, context: &StepContext) -> Result<u64, StepError> {
    let mut total = 0;
    for _ in 0..RUNS {
        let affected = step.run(context).await?;
        total += affected;
        if is_clean(step, context, affected).await? {
            return Ok(total);
        }
    }
    Err(STILL_THERE)
}

/// Something of the person is left however often the step runs.
pub(super) const STILL_THERE: StepError = StepError {
    disposition: Disposition::Retry,
    detail: "something of this person was still found after three rounds: something keeps writing it, or keeps it from \
             going",
};

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// Takes one away with each run.
    struct Shelf {
        left: AtomicU64,
        counts: bool,
    }

    #[async_trait]
    impl ErasureStep for Shelf {
        fn name(&self) -> &'static str {
            "shelf"
        }

        async fn run(&self, context: &StepContext) -> Result<u64, StepError> {
            assert_eq!(context.identities.get("email"), Some("jane@example.com"));
            let taken =
                self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
            Ok(u64::from(taken.is_ok()))
        }

        async fn remaining(&self, _: &StepContext) -> Result<Option<u64>, StepError> {
            Ok(self.counts.then(|| self.left.load(Ordering::SeqCst)))
        }
    }

    struct Broken;

    #[async_trait]
    impl ErasureStep for Broken {
        fn name(&self) -> &'static str {
            "broken"
        }

        async fn run(&self, _: &StepContext) -> Result<u64, StepError> {
            Err(StepError::fail("it is broken"))
        }
    }

    fn jane() -> Identities {
        [("email", "jane@example.com")].into_iter().collect()
    }

    fn shelf(left: u64, counts: bool) -> Arc<dyn ErasureStep> {
        Arc::new(Shelf { left: left.into(), counts })
    }

    #[tokio::test]
    async fn steps_run_in_order_until_one_fails() {
        let plan = ErasurePlan { steps: vec![shelf(2, false), Arc::new(Broken), shelf(1, true)] };
        let mut told = Vec::new();
        let halted = run_erasure(&plan, jane(), |event| told.push(event)).await.unwrap_err();
        assert_eq!(halted.to_string(), "step `broken`: it is broken");
        let names: Vec<_> = told.iter().map(|event| (event.step.as_deref().unwrap(), event.event)).collect();
        assert_eq!(
            names,
            [
                ("shelf", EventName::StepStarted),
                ("shelf", EventName::StepCompleted),
                ("broken", EventName::StepStarted),
                ("broken", EventName::StepFailed),
            ]
        );
        assert_eq!(told[1].rows, Some(json!({ "affected": 2, "remaining": 0 })));
        assert_eq!(told[3].details, json!({ "disposition": "fail" }));
        assert!(!format!("{told:?}").contains("jane"));
    }

    #[tokio::test]
    async fn a_step_is_done_when_it_proves_it_and_not_before() {
        for (left, counts, done) in
            [(0, false, true), (3, false, true), (4, false, false), (4, true, true), (5, true, false)]
        {
            let plan = ErasurePlan { steps: vec![shelf(left, counts)] };
            let ran = run_erasure(&plan, jane(), |_| {}).await;
            let expected = if done { Ok(left) } else { Err(STILL_THERE) };
            assert_eq!(ran.map_err(|halted| halted.error), expected, "{left} {counts}");
        }
    }

    #[test]
    fn a_context_shows_nobody() {
        let context = StepContext::new(Uuid::nil(), jane(), "shelf");
        assert!(!format!("{context:?}").contains("jane"));
        assert_eq!(context.idempotency_key, format!("{}/shelf", Uuid::nil()));
    }
}
