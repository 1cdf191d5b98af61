//! The service without its process: a store, connectors, plans, and requests that are carried out in the test's own
//! task, one claim after the other. For suites that need thousands of requests.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use chrono::{DateTime, TimeDelta, Utc};

use rightful::{
    connectors::{Connector, sql::SqlConnector, web::WebClient},
    domain::{
        clock::Clock,
        request::{Kind, Request, Subject, WithReason},
        vault::Vault,
    },
    service::{
        Connectors, Pacing, Service,
        actions::{cancel, retry},
        code::CodeSteps,
        execute::execute,
        intake::{Submission, Submitted, submit},
        metrics::Metrics,
        readings::Reader,
        registry::Registry,
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

/// Who submits, cancels and retries.
fn alice() -> Reader {
    Reader { sub: "alice".to_owned(), every_request: true, identities: true, own: false }
}

pub struct Harness {
    pub service: Arc<Service>,
    plans: TempDir,
}

impl Harness {
    /// A service on a store and connections, without a plan yet.
    pub fn new(store: Store, connections: &[(&str, &str)], pacing: Pacing) -> Self {
        Self::with_code(store, connections, pacing, CodeSteps::default())
    }

    /// As [`new`](Self::new), with connections whose commits can be made to go wrong.
    pub fn faulty(store: Store, connections: &[(&str, &str)], pacing: Pacing) -> (Self, Faults) {
        let faults = Faults::default();
        let mut connectors: Connectors = BTreeMap::new();
        for (name, url) in connections {
            let faulty = Faulty { inner: connector(url), faults: faults.clone() };
            connectors.insert((*name).to_owned(), Arc::new(faulty));
        }
        (Self::of(store, connectors, pacing, CodeSteps::default()), faults)
    }

    /// As [`new`](Self::new), with steps in code.
    pub fn with_code(store: Store, connections: &[(&str, &str)], pacing: Pacing, code: CodeSteps) -> Self {
        let connectors = connections.iter().map(|(name, url)| ((*name).to_owned(), connector(url))).collect();
        Self::of(store, connectors, pacing, code)
    }

    fn of(store: Store, connectors: Connectors, pacing: Pacing, code: CodeSteps) -> Self {
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
            code,
        };
        Self { service: Arc::new(service), plans: tempfile::tempdir().expect("a folder") }
    }

    /// Registers one plan beside those of other names.
    pub async fn register(&self, plan: &str) -> Result<(), String> {
        let name = plan.lines().find_map(|line| line.strip_prefix("plan: ")).unwrap_or("plan");
        std::fs::write(self.plans.path().join(format!("{name}.yaml")), plan).expect("the plan");
        let loaded =
            self.service.plans.load(&self.service, self.plans.path()).await.expect("the store answers");
        if loaded.is_refused() || !loaded.down.is_empty() {
            let faults: Vec<String> = loaded.faults.iter().map(ToString::to_string).collect();
            return Err(format!("{}\n{:?}", faults.join("\n"), loaded.down));
        }
        Ok(())
    }

    /// Submits an erasure.
    pub async fn submit(&self, plan: &str, subject: Value) -> uuid::Uuid {
        let Value::Object(subject) = subject else { panic!("an object") };
        let submission = Submission {
            kind: Kind::Erasure,
            plan: plan.to_owned(),
            subject: Subject(subject.into_iter().collect()),
            external_id: None,
            reason: None,
            submitted_at: None,
            identity_check: None,
            export: None,
            idempotency: None,
        };
        match submit(&self.service, &alice(), submission).await.expect("accepted") {
            Submitted::New(reading) | Submitted::Again(reading) => reading.request.id,
        }
    }

    pub async fn cancel(&self, id: uuid::Uuid) -> Request {
        cancel(&self.service, &alice(), id, WithReason::None)
            .await
            .expect("cancelled, or asked to be")
            .request
    }

    pub async fn retry(&self, id: uuid::Uuid) -> Request {
        retry(&self.service, &alice(), id, WithReason::None).await.expect("taken up again").request
    }

    /// Claims and carries out requests until none is claimable; the request as it then is. One that waits for its next
    /// attempt, be it for a few milliseconds, does so until [`make_due`](Self::make_due).
    pub async fn run(&self, id: uuid::Uuid) -> Request {
        let (_keep, stop) = watch::channel(false);
        let pacing = self.service.pacing;
        loop {
            let asked = Instant::now();
            let claimed = self
                .service
                .store
                .claim(1, "worker:test", pacing.lease, pacing.max_attempts)
                .await
                .unwrap()
                .taken;
            let Some(claimed) = claimed.into_iter().next() else { break };
            let carried_out = claimed.request.id;
            execute(&self.service, "worker:test", claimed, asked, stop.clone()).await;
            self.set_run_at(carried_out, self.service.clock.now() + TimeDelta::days(1)).await;
        }
        self.service.store.request(id).await.unwrap().expect("the request is there")
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
