//! A request, and a step of one, for unit tests to start from.

use uuid::Uuid;

use super::{Answering, Kind, Request, State, StepState};
use crate::domain::{audit::ChainHead, clock::Clock};

impl Request {
    /// One that was just accepted.
    pub fn sample(id: Uuid) -> Self {
        let now = Clock.now();
        Self {
            id,
            kind: Kind::Erasure,
            plan: "customer".to_owned(),
            plan_version: "sha256:0".to_owned(),
            external_id: None,
            created_by: "alice".to_owned(),
            submitted_at: now,
            created_at: now,
            answering: Answering::default(),
            started_at: None,
            state: State::Approved,
            run_at: now,
            attempt: 0,
            strikes: 0,
            failures: 0,
            waits: 0,
            epoch: 0,
            lease_until: None,
            resolved: false,
            touched: false,
            hold: None,
            subject_ref: None,
            steps: Vec::new(),
            head: ChainHead::default(),
        }
    }
}

impl StepState {
    /// One that nobody has begun.
    pub fn sample() -> Self {
        Self::pending("shop.visits", "delete")
    }
}
