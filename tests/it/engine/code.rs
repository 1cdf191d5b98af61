//! Steps in code: run before the tables, as durably as those.

use std::{
    collections::VecDeque,
    future::pending,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use futures::FutureExt;
use rightful::{
    domain::request::{Outcome, Request, RunCode, Status, StepState, StepStatus},
    service::{
        Pacing,
        code::{CodeSteps, ErasureStep, StepContext, StepError},
        execute::execute,
    },
};
use serde_json::json;
use tokio::sync::watch;
use uuid::Uuid;

use super::{PLAN, SCHEMA, code, count, pacing};
use crate::support::{
    app::eventually,
    harness::Harness,
    stores::{TestStore, stores},
    targets::{Dialect, Target, target},
};

/// What the next run does besides erasing.
#[derive(Clone, Copy)]
enum Act {
    Fail(StepError),
    /// The files are gone, and the worker's task comes down.
    Panic,
    Hang,
}

/// Files of people, named by their e-mail address.
#[derive(Clone)]
struct Files(Arc<Mutex<State>>);

struct State {
    files: Vec<String>,
    next: VecDeque<Act>,
    runs: usize,
    keys: Vec<String>,
    /// As long as it is on, files come back.
    haunted: bool,
    /// How many rows of users there were when it ran.
    users: Option<usize>,
    target: String,
}

impl Files {
    fn new(target: &Target) -> Self {
        let files = ["jane@example.com", "jane@example.com", "joe@example.com", "ghost@example.com"];
        Self(Arc::new(Mutex::new(State {
            files: files.map(str::to_owned).into(),
            next: VecDeque::new(),
            runs: 0,
            keys: Vec::new(),
            haunted: false,
            users: None,
            target: target.url.clone(),
        })))
    }

    fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn next(&self, act: Act) {
        self.with(|state| state.next.push_back(act));
    }

    fn left(&self) -> usize {
        self.with(|state| state.files.len())
    }
}

#[async_trait]
impl ErasureStep for Files {
    fn name(&self) -> &'static str {
        "files"
    }

    async fn run(&self, context: &StepContext) -> Result<u64, StepError> {
        let email = context.identities.get("email").unwrap_or_default().to_owned();
        let users = users_of(&self.with(|state| state.target.clone()));
        let (affected, act) = self.with(|state| {
            state.runs += 1;
            state.users.get_or_insert(users);
            state.keys.push(context.idempotency_key.clone());
            let act = state.next.pop_front();
            if matches!(act, Some(Act::Fail(_))) {
                return (0, act);
            }
            let before = state.files.len();
            state.files.retain(|file| *file != email);
            let affected = before - state.files.len();
            if state.haunted {
                state.files.push(email);
            }
            (affected as u64, act)
        });
        match act {
            None => Ok(affected),
            Some(Act::Fail(error)) => Err(error),
            Some(Act::Panic) => panic!("as the test wants it"),
            Some(Act::Hang) => pending().await,
        }
    }

    async fn remaining(&self, context: &StepContext) -> Result<Option<u64>, StepError> {
        let email = context.identities.get("email").unwrap_or_default().to_owned();
        self.with(|state| Ok(Some(state.files.iter().filter(|file| **file == email).count() as u64)))
    }
}

/// As the step's own look into the database.
fn users_of(url: &str) -> usize {
    use diesel::{Connection, RunQueryDsl, sql_types::BigInt};
    #[derive(diesel::QueryableByName)]
    struct Count {
        #[diesel(sql_type = BigInt)]
        count: i64,
    }
    let file = url.strip_prefix("sqlite:").unwrap();
    let mut conn = diesel::SqliteConnection::establish(file).unwrap();
    let found: Count =
        diesel::sql_query("SELECT count(*) AS count FROM users").get_result(&mut conn).unwrap();
    usize::try_from(found.count).unwrap()
}

fn plan() -> String {
    format!("{PLAN}code: [ {{ name: files }} ]\n")
}

struct World {
    harness: Harness,
    files: Files,
    target: Target,
    _store: TestStore,
}

async fn worlds() -> Vec<World> {
    let mut all = Vec::new();
    for store in stores().await {
        let target = target(Dialect::Sqlite).unwrap();
        target.execute(SCHEMA);
        let files = Files::new(&target);
        let steps = CodeSteps::default().with(files.clone());
        let pacing = Pacing { lease: Duration::from_secs(2), max_attempts: 2, ..pacing() };
        let harness = Harness::with_code(store.store.clone(), &[("shop", &target.url)], pacing, steps);
        harness.register(&plan()).await.unwrap();
        all.push(World { harness, files, target, _store: store });
    }
    all
}

fn step(request: &Request) -> &StepState {
    request.steps.iter().find(|step| step.name == "files").unwrap()
}

async fn events(harness: &Harness, id: Uuid) -> Vec<(String, Option<String>)> {
    let events = harness.service.store.request_events(id, 0, 100).await.unwrap();
    events.into_iter().map(|event| (event.event, event.step)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn code_runs_while_the_tables_are_whole_and_knows_every_identity() {
    for World { harness, files, target, .. } in worlds().await {
        let id = harness.submit("customer", json!({ "user_id": 1 })).await;
        let done = harness.run(id).await;
        assert_eq!(done.state.outcome(), Some(Outcome::Done), "{done:?}");
        let state = step(&done);
        assert_eq!((state.status, state.action.as_str()), (StepStatus::Completed, "code"));
        assert_eq!((state.rows_matched, state.rows_affected, state.rows_remaining), (Some(2), 2, Some(0)));
        assert_eq!((files.left(), count(&target, "users")), (2, 1), "nobody else's");
        assert_eq!(files.with(|state| state.users), Some(2), "the person's row was still there");
        assert_eq!(files.with(|state| state.keys.clone()), [format!("{id}/files")]);

        let events = events(&harness, id).await;
        let of_files: Vec<&str> = events
            .iter()
            .filter(|(_, step)| step.as_deref() == Some("files"))
            .map(|(event, _)| event.as_str())
            .collect();
        assert_eq!(of_files, ["step.started", "step.batch", "step.completed", "step.verified"]);
        let place = |wanted: &str| {
            events
                .iter()
                .position(|(event, step)| event == "step.started" && step.as_deref() == Some(wanted))
                .unwrap()
        };
        assert!(place("files") < place("shop.visits"));
        let order: Vec<&str> = done.steps_in_order().map(|step| step.name.as_str()).collect();
        assert_eq!(order, ["files", "shop.visits", "shop.users"]);
    }
}

/// The files are gone, and nobody recorded it.
#[tokio::test(flavor = "multi_thread")]
async fn code_that_crashed_between_effect_and_record_runs_again() {
    for World { harness, files, target, .. } in worlds().await {
        files.next(Act::Panic);
        let id = harness.submit("customer", json!({ "user_id": 1 })).await;
        assert!(AssertUnwindSafe(harness.run(id)).catch_unwind().await.is_err());
        assert_eq!((files.left(), count(&target, "users")), (2, 2));
        eventually("the lease has run out", || async { harness.run(id).await.status().is_end() }).await;
        let done = harness.run(id).await;
        assert_eq!(done.state.outcome(), Some(Outcome::Done), "{done:?}");
        assert_eq!((files.with(|state| state.runs), files.left(), count(&target, "users")), (2, 2, 1));
        assert_eq!(step(&done).rows_remaining, Some(0));
        let keys = files.with(|state| state.keys.clone());
        assert_eq!(keys[0], keys[1], "whoever is called knows that it is the same");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_code_says_is_what_becomes_of_the_request() {
    for World { harness, files, target, .. } in worlds().await {
        files.next(Act::Fail(StepError::wait("the file server is down")));
        let id = harness.submit("customer", json!({ "user_id": 1 })).await;
        let paused = harness.run(id).await;
        assert_eq!((paused.status(), code(&paused)), (Status::Paused, Some(RunCode::ConnectionUnavailable)));
        let error = paused.state.error().unwrap();
        assert_eq!(
            (error.detail.as_str(), error.step.as_deref()),
            ("the file server is down", Some("files"))
        );
        assert_eq!((paused.attempt, paused.touched), (0, true), "it may have had an effect");

        for _ in 0..2 {
            files.next(Act::Fail(StepError::retry("a bug")));
            harness.make_due(id).await;
            harness.run(id).await;
        }
        let exhausted = harness.run(id).await;
        assert_eq!(code(&exhausted), Some(RunCode::AttemptsExhausted), "{exhausted:?}");
        assert_eq!((step(&exhausted).status, count(&target, "users")), (StepStatus::Failed, 2));

        harness.retry(id).await;
        files.next(Act::Fail(StepError::fail("somebody has to look")));
        let failed = harness.run(id).await;
        assert_eq!((failed.status(), code(&failed)), (Status::Failed, Some(RunCode::StepFailed)));
        assert_eq!(step(&failed).status, StepStatus::Failed);
        harness.retry(id).await;
        let done = harness.run(id).await;
        assert_eq!(done.state.outcome(), Some(Outcome::Done), "{done:?}");
        assert_eq!((files.left(), step(&done).rows_affected), (2, 2));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_coming_back_is_told_and_never_called_done() {
    for World { harness, files, target, .. } in worlds().await {
        files.with(|state| state.haunted = true);
        let id = harness.submit("customer", json!({ "user_id": 1 })).await;
        let request = harness.run(id).await;
        assert_eq!(code(&request), Some(RunCode::RowsRemaining), "{request:?}");
        assert_eq!((files.with(|state| state.runs), count(&target, "users")), (4, 2));
        files.with(|state| state.haunted = false);
        harness.make_due(id).await;
        assert_eq!(harness.run(id).await.status(), Status::Completed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_whom_no_table_knows_may_be_known_to_code() {
    for World { harness, files, .. } in worlds().await {
        for (email, outcome) in
            [("ghost@example.com", Outcome::Done), ("nobody@example.com", Outcome::NoMatch)]
        {
            let id = harness.submit("customer", json!({ "email": email })).await;
            let done = harness.run(id).await;
            assert_eq!(done.state.outcome(), Some(outcome), "{email}: {done:?}");
        }
        assert_eq!(files.left(), 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_stops_does_not_wait_for_code_that_hangs() {
    for World { harness, files, .. } in worlds().await {
        files.next(Act::Hang);
        let id = harness.submit("customer", json!({ "user_id": 1 })).await;
        let service = harness.service.clone();
        let claims = service.store.claim(1, "worker:test", service.pacing.lease, 8).await.unwrap();
        let (stop, stopped) = watch::channel(false);
        let claimed = claims.taken.into_iter().next().unwrap();
        let running = tokio::spawn({
            let service = service.clone();
            async move { execute(&service, "worker:test", claimed, Instant::now(), stopped).await }
        });
        eventually("the code runs", async || files.with(|state| state.runs) == 1).await;
        stop.send_replace(true);
        tokio::time::timeout(Duration::from_secs(5), running).await.unwrap().unwrap();
        let given_back = service.store.request(id).await.unwrap().unwrap();
        assert_eq!((given_back.lease_until, given_back.attempt), (None, 0), "{given_back:?}");
        harness.make_due(id).await;
        assert_eq!(harness.run(id).await.state.outcome(), Some(Outcome::Done));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_with_code_that_nobody_registered_is_refused() {
    for World { harness, target, .. } in worlds().await {
        let id = harness.submit("customer", json!({ "user_id": 1 })).await;
        let store = harness.service.store.clone();
        let other = Harness::new(store, &[("shop", &target.url)], pacing());
        let refused = other.register(&plan()).await.unwrap_err();
        assert!(refused.contains(":12: error: step `files` is code"), "{refused}");
        // A process that was started without it leaves the request to one that has it.
        let paused = other.run(id).await;
        assert_eq!((paused.status(), code(&paused)), (Status::Paused, Some(RunCode::ConnectionUnavailable)));
        harness.make_due(id).await;
        assert_eq!(harness.run(id).await.state.outcome(), Some(Outcome::Done));
    }
}
