//! What a person does about a manual step: says what became of it.

use uuid::Uuid;

use super::{
    Service,
    actions::{Text, change},
    error::ServiceError,
    readings::{Reader, Reading},
};
use crate::{
    domain::request::{ManualResult, WithReason},
    points::{self, Point},
};

/// Records what became of a manual step. After the last one a worker ends the request.
///
/// # Errors
/// For a step that there is not or that nobody is waited for at, and while a worker or a hold has the request.
pub async fn complete(
    service: &Service,
    reader: &Reader,
    id: Uuid,
    step: &str,
    result: ManualResult,
    note: Option<String>,
) -> Result<Reading, ServiceError> {
    let with_note = if note.is_some() { WithReason::Given } else { WithReason::None };
    let now = service.clock.now();
    let note = note.map(|text| Text::Note { step: step.to_owned(), text });
    let completed = change(service, id, note, |request| {
        Ok(request.complete_step(step, result, &reader.sub, with_note, now)?)
    })
    .await?;
    points::reached(Point::ManualCompleted);
    Ok(completed)
}
