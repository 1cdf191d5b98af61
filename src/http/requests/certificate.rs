//! `GET /v1/requests/{id}/certificate`: what became of a request, with the proof, for programs, for people, and for tools
//! that verify proofs of transparency logs.

mod page;
mod shape;

use actix_web::{
    HttpResponse,
    http::{
        StatusCode,
        header::{self, Header},
    },
};

use crate::{
    http::{
        call::{Answer, Call, json},
        html,
    },
    service::certificates,
};

/// The forms of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Html,
    /// The proof by itself.
    TlogProof,
}

impl Form {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "json" => Some(Self::Json),
            "html" => Some(Self::Html),
            "tlog-proof" => Some(Self::TlogProof),
            _ => None,
        }
    }
}

/// What became of a request that has ended, with the proof that the event of its end is in the audit log. It names nobody,
/// and is there as long as the request, also when all that was sealed with it is destroyed.
#[utoipa::path(
    get, path = "/v1/requests/{id}/certificate", tag = "Requests", operation_id = "readCertificate",
    params(
        ("id" = uuid::Uuid, Path),
        ("format" = Option<String>, Query, description = "`json`, `html` or `tlog-proof`; without it `html` where the caller \
            prefers `text/html`, else `json`"),
        ("Accept" = Option<String>, Header),
    ),
    responses(
        (status = 200, description = "The certificate; as `tlog-proof` only its proof (C2SP tlog-proof)", content(
            (shape::CertificateBody = "application/json"), (String = "text/html"), (String = "text/plain"))),
        (status = 404, description = "No such request; or it ended before there were certificates, or no checkpoints are \
            signed", body = crate::http::problem::ProblemBody, content_type = "application/problem+json"),
        (status = 409, response = crate::http::openapi::ProblemAnswer),
        (status = 503, description = "No checkpoint covers its end yet: ask again after `Retry-After`",
            body = crate::http::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn read(call: Call) -> Answer {
    let (id, query) = (call.id()?, call.query(&["format"])?);
    let asked = query.read("format", "json, html or tlog-proof", Form::parse)?;
    let form = asked.unwrap_or(if prefers_html(&call) { Form::Html } else { Form::Json });
    let reader = call.reader();
    let certificate =
        call.run(|service| async move { certificates::of(&service, &reader, id).await }).await?;
    Ok(match form {
        Form::Json => json(StatusCode::OK, &certificate),
        Form::Html => {
            html::page(&page::title(&certificate.statement), page::STYLE, &page::body(&certificate))
        }
        Form::TlogProof => HttpResponse::Ok()
            .insert_header((header::CONTENT_TYPE, "text/plain; charset=utf-8"))
            .insert_header((header::CONTENT_DISPOSITION, format!("attachment; filename=\"{id}.tlog-proof\"")))
            .body(certificate.proof),
    })
}

/// Of what the caller would take, `text/html` comes first, as browsers ask.
fn prefers_html(call: &Call) -> bool {
    let accepted = header::Accept::parse(&call.request).ok();
    accepted.is_some_and(|accepted| accepted.preference().essence_str() == "text/html")
}
