//! Corrected fields at a service (GDPR Art. 16): whether they are still to be sent, and the proof that they arrived.

use serde_json::{Map, Value};

use super::{CallError, Session, Target, internal};
use crate::domain::{
    call::{CallTemplate, NewFields},
    package,
};

/// What a resource says of the new values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Correction {
    /// One of the fields holds something else, or is not there.
    Needed,
    Done,
    NothingThere,
}

impl Session<'_> {
    /// Reads a resource and compares. One that is named by a field that changes is looked for under its new name too:
    /// there it is itself only with all the new values, and somebody else's otherwise.
    ///
    /// # Errors
    /// As [`read`](Session::read); and where the answer shows no fields.
    pub async fn correction(
        &mut self,
        lookup: &CallTemplate,
        target: &Target,
        fields: &NewFields,
    ) -> Result<Correction, CallError> {
        if let Some(now) = self.fields(lookup, target).await? {
            return Ok(if holds(&now, fields) { Correction::Done } else { Correction::Needed });
        }
        let Some(renamed) = target.renamed(fields) else { return Ok(Correction::NothingThere) };
        let now = self.fields(lookup, &renamed).await?;
        Ok(if now.is_some_and(|now| holds(&now, fields)) {
            Correction::Done
        } else {
            Correction::NothingThere
        })
    }

    async fn fields(
        &mut self,
        lookup: &CallTemplate,
        target: &Target,
    ) -> Result<Option<Map<String, Value>>, CallError> {
        let Some(content) = self.read(lookup, target).await? else { return Ok(None) };
        match content.body {
            package::Value::Json(text) => serde_json::from_str(&text).ok(),
            _ => None,
        }
        .map(Some)
        .ok_or_else(|| {
            internal("it answered with no JSON object, so that the new values cannot be read back")
        })
    }
}

fn holds(now: &Map<String, Value>, fields: &NewFields) -> bool {
    fields.0.iter().all(|(name, value)| now.get(name) == Some(value))
}
