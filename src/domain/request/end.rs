//! The end of a request, whichever it is and whoever causes it.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Request, State};
use crate::domain::{audit::NewEvent, certificate::Statement};

/// What an export comes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packed {
    /// In bytes.
    pub size: u64,
    /// Hex, over the package as it is handed out.
    pub sha256: String,
    /// To a recipient's key.
    pub encrypted: bool,
}

impl Request {
    /// Ends it: the one way to an end. The event that tells of it binds all that a certificate will state of the request, so
    /// everything else that changes with the end has changed before.
    ///
    /// # Panics
    /// For a state that is no end.
    pub(super) fn end(&mut self, state: State, actor: &str, mut details: Value) -> NewEvent {
        self.lease_until = None;
        self.state = state;
        let end = Statement::of(self).zip(self.status().end_event());
        let (statement, event) = end.expect("only a state that is an end is passed");
        details["outcome"] = json!(statement.outcome);
        details["statement"] = statement.hash().into();
        self.event(event, actor, details)
    }
}
