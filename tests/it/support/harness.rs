//! The service without its process: a store, connectors, plans, and requests that are carried out in the test's own
//! task, one claim after the other. For suites that need thousands of requests.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};

use rightful::{
    connectors::{Connector, http::HttpService, objects::Objects, sql::SqlConnector, web::WebClient},
    domain::{
        clock::Clock,
        rectification::Changes,
        request::{Kind, Refusal, Request, Status, Subject, WithReason},
        vault::Vault,
    },
    service::{
        Connectors, Pacing, Service,
        actions::{cancel, retry},
        backups::Backups,
        code::CodeSteps,
        error::ServiceError,
        evidence::Evidence,
        execute::execute,
        intake::{Submission, Submitted, submit},
        ledger::Ledgers,
        metrics::Metrics,
        packages::Packages,
        pseudonyms::Pseudonyms,
        readings::Reader,
        registry::Registry,
        runs::Upkeep,
        watchers::Watchers,
        webhooks::Webhooks,
    },
    store::Store,
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::{Notify, watch};

use super::faulty::{Faults, Faulty};

fn connector(url: &str) -> Arc<dyn Connector> {
    Arc::new(SqlConnector::new(url, 3).expect("a URL"))
}

fn faulty(connections: &[(&str, &str)]) -> (Connectors, Faults) {
    let faults = Faults::default();
    let mut connectors = Connectors::default();
    for (name, url) in connections {
        let faulty = Faulty { inner: connector(url), faults: faults.clone() };
        connectors.insert((*name).to_owned(), Arc::new(faulty));
    }
    (connectors, faults)
}

/// Who submits, cancels and retries.
fn alice() -> Reader {
    Reader { sub: "alice".to_owned(), every_request: true, identities: true, own: false }
}

pub struct Harness {
    pub service: Arc<Service>,
    /// The plans and the packages.
    folder: TempDir,
}

impl Harness {
    /// A service on a store and connections, without a plan yet.
    pub fn new(store: Store, connections: &[(&str, &str)], pacing: Pacing) -> Self {
        Self::with_code(store, connections, pacing, CodeSteps::default())
    }

    /// As [`new`](Self::new), with connections whose commits can be made to go wrong.
    pub fn faulty(store: Store, connections: &[(&str, &str)], pacing: Pacing) -> (Self, Faults) {
        let (connectors, faults) = faulty(connections);
        (Self::of(store, connectors, pacing, CodeSteps::default()), faults)
    }

    /// As [`new`](Self::new), with an HTTP service beside the databases.
    pub fn with_service(
        store: Store,
        connections: &[(&str, &str)],
        service: (&str, HttpService),
        pacing: Pacing,
    ) -> Self {
        Self::faulty_with_service(store, connections, service, pacing).0
    }

    /// As [`faulty`](Self::faulty), with an HTTP service beside the databases.
    pub fn faulty_with_service(
        store: Store,
        connections: &[(&str, &str)],
        service: (&str, HttpService),
        pacing: Pacing,
    ) -> (Self, Faults) {
        let (mut connectors, faults) = faulty(connections);
        connectors.insert_service(service.0.to_owned(), Arc::new(service.1));
        (Self::of(store, connectors, pacing, CodeSteps::default()), faults)
    }

    /// As [`new`](Self::new), with steps in code.
    pub fn with_code(store: Store, connections: &[(&str, &str)], pacing: Pacing, code: CodeSteps) -> Self {
        let mut connectors = Connectors::default();
        for (name, url) in connections {
            connectors.insert((*name).to_owned(), connector(url));
        }
        Self::of(store, connectors, pacing, code)
    }

    fn of(store: Store, connectors: Connectors, pacing: Pacing, code: CodeSteps) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("plans")).expect("a folder for plans");
        let service = Service {
            store,
            vault: Arc::new(Vault::new(&[7; 32])),
            clock: Clock,
            connectors: Arc::new(connectors),
            plans: Registry::default(),
            pacing,
            approval: Vec::new(),
            metrics: Arc::new(Metrics::default()),
            wake: Arc::new(Notify::new()),
            watchers: Watchers::default(),
            webhooks: Webhooks { endpoints: BTreeMap::new(), client: WebClient::new([]).unwrap() },
            packages: Packages {
                objects: Objects::folder(&folder.path().join("exports")).expect("a folder"),
                expires_after: Duration::from_secs(600),
            },
            backups: Backups::default(),
            code,
            runs_wake: Arc::new(Notify::new()),
            upkeep: Upkeep::default(),
            ledgers: Ledgers::default(),
            pseudonyms: Pseudonyms::default(),
            evidence: Evidence::default(),
        };
        Self { service: Arc::new(service), folder }
    }

    /// With policies and schedules.
    pub fn keeping(mut self, upkeep: Upkeep) -> Self {
        Arc::get_mut(&mut self.service).expect("nobody else has it yet").upkeep = upkeep;
        self
    }

    /// With secrets that were sealed, or will be, under another `pseudonym_key`.
    pub fn keyed(mut self, key: [u8; 32]) -> Self {
        Arc::get_mut(&mut self.service).expect("nobody else has it yet").vault = Arc::new(Vault::new(&key));
        self
    }

    /// Registers one plan beside those of other names.
    pub async fn register(&self, plan: &str) -> Result<(), String> {
        let name = plan.lines().find_map(|line| line.strip_prefix("plan: ")).unwrap_or("plan");
        let plans = self.folder.path().join("plans");
        std::fs::write(plans.join(format!("{name}.yaml")), plan).expect("the plan");
        let loaded = self.service.plans.load(&self.service, &plans).await.expect("the store answers");
        if loaded.is_refused() || !loaded.down.is_empty() {
            let faults: Vec<String> = loaded.faults.iter().map(ToString::to_string).collect();
            return Err(format!("{}\n{:?}", faults.join("\n"), loaded.down));
        }
        Ok(())
    }

    /// Takes the file of a plan away; the next load knows it no more.
    pub fn withdraw(&self, name: &str) {
        std::fs::remove_file(self.folder.path().join("plans").join(format!("{name}.yaml")))
            .expect("the plan");
    }

    /// Submits an erasure.
    pub async fn submit(&self, plan: &str, subject: Value) -> uuid::Uuid {
        self.submit_as(Kind::Erasure, plan, subject).await
    }

    /// Submits a request of any kind, without further options.
    pub async fn submit_as(&self, kind: Kind, plan: &str, subject: Value) -> uuid::Uuid {
        self.ask(kind, plan, subject, None).await.expect("accepted")
    }

    /// Submits a rectification.
    pub async fn rectify(
        &self,
        plan: &str,
        subject: Value,
        changes: Value,
    ) -> Result<uuid::Uuid, ServiceError> {
        let Value::Object(changes) = changes else { panic!("an object") };
        let changes = Changes(changes.into_iter().collect());
        self.ask(Kind::Rectification, plan, subject, Some(changes)).await
    }

    async fn ask(
        &self,
        kind: Kind,
        plan: &str,
        subject: Value,
        changes: Option<Changes>,
    ) -> Result<uuid::Uuid, ServiceError> {
        let Value::Object(subject) = subject else { panic!("an object") };
        let submission = Submission {
            kind,
            plan: plan.to_owned(),
            subject: Subject(subject.into_iter().collect()),
            external_id: None,
            reason: None,
            submitted_at: None,
            identity_check: None,
            export: None,
            changes,
            idempotency: None,
        };
        submit(&self.service, &alice(), submission).await.map(|submitted| match submitted {
            Submitted::New(reading) | Submitted::Again(reading) => reading.request.id,
        })
    }

    pub async fn cancel(&self, id: uuid::Uuid) -> Request {
        cancel(&self.service, &alice(), id, WithReason::None)
            .await
            .expect("cancelled, or asked to be")
            .request
    }

    /// The status for which a cancellation is refused.
    pub async fn cancel_refused(&self, id: uuid::Uuid) -> Status {
        match cancel(&self.service, &alice(), id, WithReason::None).await {
            Err(ServiceError::Refused(Refusal::State(refused))) => refused.status,
            other => panic!("not refused: {:?}", other.map(|reading| reading.request)),
        }
    }

    /// Where the packages lie.
    pub fn packages(&self) -> std::path::PathBuf {
        self.folder.path().join("exports")
    }

    pub async fn retry(&self, id: uuid::Uuid) -> Request {
        retry(&self.service, &alice(), id, WithReason::None).await.expect("taken up again").request
    }

    /// Claims and carries out requests until none is claimable; the request as it then is. One that waits for its next
    /// attempt, be it for a few milliseconds, does so until [`make_due`](Self::make_due).
    pub async fn run(&self, id: uuid::Uuid) -> Request {
        while let Some(carried_out) = self.claim().await {
            self.set_run_at(carried_out, self.service.clock.now() + TimeDelta::days(1)).await;
        }
        self.service.store.request(id).await.unwrap().expect("the request is there")
    }

    /// Carries out everything that is claimable, once.
    pub async fn work(&self) {
        while self.claim().await.is_some() {}
    }

    /// Claims and carries out one request; the request as it then is, with its next attempt where that was set.
    pub async fn run_once(&self, id: uuid::Uuid) -> Request {
        assert_eq!(self.claim().await, Some(id));
        self.service.store.request(id).await.unwrap().expect("the request is there")
    }

    /// The request that was claimed and carried out, if one was due.
    async fn claim(&self) -> Option<uuid::Uuid> {
        let (_keep, stop) = watch::channel(false);
        let pacing = self.service.pacing;
        let asked = Instant::now();
        let store = &self.service.store;
        let claimed = store.claim(1, "worker:test", pacing.lease, pacing.max_attempts).await.unwrap();
        let claimed = claimed.taken.into_iter().next()?;
        let id = claimed.request.id;
        execute(&self.service, "worker:test", claimed, asked, stop).await;
        Some(id)
    }

    /// Moves a waiting request's next attempt to now.
    pub async fn make_due(&self, id: uuid::Uuid) {
        self.set_run_at(id, self.service.clock.now()).await;
    }

    async fn set_run_at(&self, id: uuid::Uuid, run_at: DateTime<Utc>) {
        let mut tx = self.service.store.begin().await.unwrap();
        let mut request = tx.lock_request(id).await.unwrap().expect("the request is there");
        request.run_at = run_at;
        tx.save(&request).await.unwrap();
        tx.commit().await.unwrap();
    }
}
