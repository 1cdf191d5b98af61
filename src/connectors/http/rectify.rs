//! Changed fields at a service (GDPR Art. 16), and the proof that they arrived.

use std::time::Duration;

use serde_json::{Map, Value};

use super::{CallError, Sent, Session, Target, internal};
use crate::domain::{
    compiled::{Resource, ResourceAct},
    package,
};

/// What a resource says of the new values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rectified {
    /// Read back, and all are there.
    Confirmed,
    /// The plan names no call to read it back with, or what that answers is no JSON object.
    Unseen,
    /// These fields hold something else, or are not there.
    Differs(Vec<String>),
    /// The resource is not there.
    NothingThere,
}

impl Session<'_> {
    /// Sends the changed fields as one JSON object. A call that is accepted is followed as any other.
    ///
    /// # Errors
    /// As [`change`](Session::change); and when the step changes nothing, or not these fields.
    pub async fn rectify(
        &self,
        resource: &Resource,
        target: &Target,
        changes: &Map<String, Value>,
        idempotency_key: &str,
        timeout: Duration,
    ) -> Result<Sent, CallError> {
        let ResourceAct::Rectify { call, fields } = &resource.act else {
            return Err(internal("the plan changes nothing at this service"));
        };
        if changes.keys().any(|field| !fields.contains(field)) {
            return Err(internal("the plan does not list one of the changed fields"));
        }
        let body = Value::Object(changes.clone()).to_string();
        self.change(call, target, idempotency_key, Some(body), timeout).await
    }

    /// Reads the resource again and compares.
    ///
    /// # Errors
    /// As [`read`](Session::read).
    pub async fn read_back(
        &mut self,
        resource: &Resource,
        target: &Target,
        changes: &Map<String, Value>,
    ) -> Result<Rectified, CallError> {
        let Some(lookup) = &resource.lookup else { return Ok(Rectified::Unseen) };
        let Some(content) = self.read(lookup, target).await? else { return Ok(Rectified::NothingThere) };
        let package::Value::Json(text) = content.body else { return Ok(Rectified::Unseen) };
        let Ok(Value::Object(now)) = serde_json::from_str(&text) else { return Ok(Rectified::Unseen) };
        let differing: Vec<String> = changes
            .iter()
            .filter(|(field, value)| now.get(*field) != Some(value))
            .map(|(field, _)| field.clone())
            .collect();
        Ok(if differing.is_empty() { Rectified::Confirmed } else { Rectified::Differs(differing) })
    }
}
