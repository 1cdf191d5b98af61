//! Requests: submit, list, read, wait; decide on, cancel, retry; manual steps; and the month in which the person is answered.

pub mod act;
pub mod answering;
pub mod decide;
pub mod export;
pub mod list;
pub mod read;
pub mod shape;
pub mod steps;
pub mod submit;

use actix_web::{
    HttpResponse,
    http::{StatusCode, header},
};

use super::{
    body::Fields,
    call::{Call, json},
    problem::Problem,
    query::Query,
};
use crate::{
    domain::{
        rectification::Changes,
        request::{Kind, Subject},
    },
    service::{pseudonyms, readings::Reading},
};

/// Of names and ids in bodies, in characters.
pub const MAX_NAME: usize = 200;
/// Of a reason, in characters.
pub const MAX_REASON: usize = 2_000;

/// The kind of request in a body.
pub fn kind(fields: &mut Fields) -> Kind {
    const SHORT: (&str, Kind) = ("rectify", Kind::Rectification);
    let mut words = Kind::ALL.map(|kind| (kind.as_str(), kind)).to_vec();
    words.push(SHORT);
    fields.word("kind", &words, |(word, _)| word).map_or(Kind::Erasure, |(_, kind)| kind)
}

/// A request as the answer to what was done with it; `Retry-After: 1` while it is open.
pub fn answer(call: &Call, status: StatusCode, reading: &Reading) -> HttpResponse {
    let mut answer = json(status, &shape::whole(reading, &call.reader(), call.api.service.clock.now()));
    if !reading.request.status().is_end() {
        answer.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
    }
    answer
}

/// The subject in a body; whether its identities fit is for the plan to say.
pub fn subject(fields: &mut Fields) -> Subject {
    Subject(fields.object("subject"))
}

/// What a rectification changes; whether it fits is for the plan to say.
pub fn changes(fields: &mut Fields) -> Changes {
    Changes(fields.object("changes"))
}

/// The pseudonyms of the person that a body of plan and subject names.
///
/// # Errors
/// For what is no such body, or no person of that plan.
pub async fn person(call: &mut Call) -> Result<Vec<String>, Problem> {
    let mut fields = Fields::of(call.json().await?)?;
    let (plan, subject) = (fields.text("plan", MAX_NAME), subject(&mut fields));
    fields.end()?;
    call.run(|service| async move { pseudonyms::of_person(&service, &plan, &subject).await }).await
}

/// The pseudonyms of the person whom a query names by one; `None` where it does not.
///
/// # Errors
/// When the store does not answer.
pub async fn named(call: &Call, query: &Query) -> Result<Option<Vec<String>>, Problem> {
    let Some(shown) = query.text("subject_ref").filter(|text| !text.is_empty()) else { return Ok(None) };
    let shown = shown.to_owned();
    call.run(|service| async move { pseudonyms::of_ref(&service, &shown).await }).await.map(Some)
}
