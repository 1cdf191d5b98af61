//! `GET /v1/requests/{id}/export`, links that hand a package out once, and what they lead to.

use std::ops::Range;

use actix_web::{
    HttpRequest, HttpResponse,
    body::SizedStream,
    http::{
        Method, StatusCode,
        header::{self, HeaderName},
    },
    web::{self, Bytes},
};
use chrono::TimeDelta;
use futures::{StreamExt, stream};
use tokio::sync::mpsc;

use super::shape;
use crate::{
    config::duration,
    domain::audit::timestamp,
    http::{
        api::Api,
        call::{Answer, Call, json},
        problem::{Code, Problem},
    },
    service::packages::{self, LONGEST_LINK, Opened},
};

/// Parts of a package that may wait for a slow reader.
const AHEAD: usize = 1;

/// The package of a completed export, or a range of it (RFC 9110 §14).
#[utoipa::path(
    get, path = "/v1/requests/{id}/export", tag = "Exports", operation_id = "downloadExport",
    params(
        ("id" = uuid::Uuid, Path),
        ("Range" = Option<String>, Header, description = "One range of bytes, such as `bytes=0-1023`"),
        ("If-Range" = Option<String>, Header, description = "The `ETag` that the range belongs to"),
    ),
    responses(
        (status = 200, description = "The package: a zip, or an age file with a zip in it", content(
            (Vec<u8> = "application/zip"), (Vec<u8> = "application/octet-stream"))),
        (status = 206, description = "The range", content(
            (Vec<u8> = "application/zip"), (Vec<u8> = "application/octet-stream"))),
        (status = 404, response = crate::http::openapi::ProblemAnswer),
        (status = 410, response = crate::http::openapi::ProblemAnswer),
        (status = 416, response = crate::http::openapi::ProblemAnswer),
    )
)]
pub async fn download(call: Call) -> Answer {
    call.query(&[])?;
    let (id, reader) = (call.id()?, call.reader());
    let opener = reader.clone();
    let opened = call.run(|service| async move { packages::open(&service, &opener, id).await }).await?;
    let range = range(&call.request, &opened)?;
    if call.request.method() != Method::HEAD {
        let taken = range.clone();
        call.run(|service| async move { packages::downloaded(&service, &reader, id, taken).await }).await?;
    }
    Ok(answer(&call.api, &call.request, opened, range))
}

/// Makes a link that hands the package out once, without a token.
#[utoipa::path(
    post, path = "/v1/requests/{id}/export/link", tag = "Exports", operation_id = "linkExport",
    params(("id" = uuid::Uuid, Path)), request_body = Option<shape::LinkRequest>,
    responses(
        (status = 201, description = "The link", body = shape::LinkBody),
        (status = 404, response = crate::http::openapi::ProblemAnswer),
        (status = 410, response = crate::http::openapi::ProblemAnswer),
    )
)]
pub async fn link(mut call: Call) -> Answer {
    let id = call.id()?;
    let mut fields = call.optional_fields().await?;
    let life = match fields.optional_text("ttl", 20) {
        None => LONGEST_LINK,
        Some(text) => match duration(&text).ok().and_then(|life| TimeDelta::from_std(life).ok()) {
            Some(life) if life > TimeDelta::zero() && life <= LONGEST_LINK => life,
            _ => {
                fields.fault("ttl", "must be a duration of at most 1h, such as 15m");
                LONGEST_LINK
            }
        },
    };
    fields.end()?;
    let reader = call.reader();
    let made = call.run(|service| async move { packages::link(&service, &reader, id, life).await }).await?;
    let body =
        shape::LinkBody { url: format!("/exports/{}", made.secret), expires_at: timestamp(made.expires_at) };
    Ok(json(StatusCode::CREATED, &body))
}

/// The package that a link leads to, whole; the link is used up by it.
#[utoipa::path(
    get, path = "/exports/{secret}", tag = "Exports", operation_id = "downloadByLink", security(()),
    params(("secret" = String, Path)),
    responses(
        (status = 200, description = "The package", content(
            (Vec<u8> = "application/zip"), (Vec<u8> = "application/octet-stream"))),
        (status = 404, response = crate::http::openapi::ProblemAnswer),
        (status = 410, response = crate::http::openapi::ProblemAnswer),
    )
)]
pub async fn by_link(api: web::Data<Api>, request: HttpRequest) -> Answer {
    let secret = request.match_info().get("secret").unwrap_or_default().to_owned();
    let (service, only_looks) = (api.service.clone(), request.method() == Method::HEAD);
    let opening = api.runtime.spawn(async move {
        match only_looks {
            true => packages::peek_link(&service, &secret).await,
            false => packages::by_link(&service, &secret).await,
        }
    });
    let opened = opening.await.map_err(|_| Problem::internal("opening a package ended early"))??;
    Ok(answer(&api, &request, opened, None))
}

fn etag(opened: &Opened) -> String {
    format!("\"{}\"", opened.package.sha256)
}

/// The one range that is asked for; several, what is no range of bytes, and one beside anything but a GET are answered with
/// the whole (RFC 9110 §14.2).
fn range(request: &HttpRequest, opened: &Opened) -> Result<Option<Range<u64>>, Problem> {
    if request.method() == Method::HEAD {
        return Ok(None);
    }
    let text = |name: HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok());
    let size = opened.package.size;
    let is_of_another = text(header::IF_RANGE).is_some_and(|tag| tag != etag(opened));
    let Some(Ok(header::Range::Bytes(specs))) =
        text(header::RANGE).filter(|_| !is_of_another).map(str::parse::<header::Range>)
    else {
        return Ok(None);
    };
    let [spec] = specs.as_slice() else { return Ok(None) };
    match spec.to_satisfiable_range(size) {
        Some((first, last)) => Ok(Some(first..last + 1)),
        None => Err(Problem::new(Code::RangeNotSatisfiable, format!("The package has {size} bytes."))
            .header(header::CONTENT_RANGE, &format!("bytes */{size}"))),
    }
}

fn answer(api: &Api, request: &HttpRequest, opened: Opened, range: Option<Range<u64>>) -> HttpResponse {
    let package = &opened.package;
    let (kind, ending) = match package.encrypted {
        true => ("application/octet-stream", "zip.age"),
        false => ("application/zip", "zip"),
    };
    let mut answer = match &range {
        Some(range) => {
            let place = format!("bytes {}-{}/{}", range.start, range.end - 1, package.size);
            let mut answer = HttpResponse::PartialContent();
            answer.insert_header((header::CONTENT_RANGE, place));
            answer
        }
        None => HttpResponse::Ok(),
    };
    let name = format!("attachment; filename=\"export-{}.{ending}\"", package.request_id);
    answer
        .insert_header((header::CONTENT_TYPE, kind))
        .insert_header((header::CONTENT_DISPOSITION, name))
        .insert_header((header::ACCEPT_RANGES, "bytes"))
        .insert_header((header::ETAG, etag(&opened)));
    let range = range.unwrap_or(0..package.size);
    let length = range.end - range.start;
    if request.method() == Method::HEAD {
        return answer
            .no_chunking(length)
            .body(SizedStream::new(length, stream::empty::<Result<Bytes, Problem>>()));
    }
    answer.body(SizedStream::new(length, Box::pin(bytes(api, &opened, range))))
}

/// Read on the service's runtime, one part ahead of the caller.
fn bytes(
    api: &Api,
    opened: &Opened,
    range: Range<u64>,
) -> impl futures::Stream<Item = Result<Bytes, Problem>> + use<> {
    let (sender, receiver) = mpsc::channel::<Result<Bytes, Problem>>(AHEAD);
    let mut parts = opened.parts(range);
    api.runtime.spawn(async move {
        loop {
            let part = match parts.next().await {
                Ok(None) => return,
                Ok(Some(part)) => Ok(Bytes::from(part)),
                Err(error) => Err(Problem::internal(error)),
            };
            // The reader has hung up, or will, because an error ends the body early.
            let failed = part.is_err();
            if sender.send(part).await.is_err() || failed {
                return;
            }
        }
    });
    stream::unfold(receiver, |mut receiver| async { Some((receiver.recv().await?, receiver)) }).fuse()
}
