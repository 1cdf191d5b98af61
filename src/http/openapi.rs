//! The API's description (OpenAPI 3.1), generated from the handlers. `openapi.yaml` at the top of the project is
//! its copy; a test fails when it is stale.

use utoipa::{
    Modify, OpenApi, ToResponse,
    openapi::{
        Ref, RefOr,
        path::Operation,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

use super::{
    audit, backups, consents, docs, health, holds, plans, problem::ProblemBody, requests, runs, webhooks,
};

/// Any answer other than the one hoped for.
#[derive(ToResponse)]
#[response(description = "A problem (RFC 9457)", content_type = "application/problem+json")]
#[expect(dead_code, reason = "describes an answer that problem.rs writes")]
pub struct ProblemAnswer(ProblemBody);

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Rightful",
        description = "Carries out data-subject requests: erasure (GDPR Art. 17), export (Art. 15, 20) and \
            rectification (Art. 16) as tracked jobs, proven by fresh counts, with an audit log that can be checked.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    paths(
        requests::submit::submit, requests::list::list, requests::read::read, requests::read::events,
        requests::decide::approve, requests::decide::deny, requests::act::cancel, requests::act::retry,
        requests::answering::check_identity, requests::answering::extend, requests::answering::answered,
        requests::steps::complete,
        requests::answering::draft, requests::list::summary, requests::list::search,
        requests::export::download, requests::export::link, requests::export::by_link,
        requests::certificate::read,
        plans::list, plans::read, plans::version, plans::preview,
        holds::place, holds::list, holds::read, holds::end, consents::record, consents::list, consents::current,
        consents::search, webhooks::list, webhooks::redeliver,
        runs::retention::list, runs::retention::preview, runs::retention::run,
        runs::replays::begin, runs::replays::preview, runs::replays::items,
        runs::schedules::list, runs::schedules::run,
        runs::verify_backup, runs::list, runs::read, runs::approve, runs::deny, runs::cancel, runs::retry,
        backups::list, backups::read,
        audit::list, audit::search, audit::export, audit::verify, audit::summary::read,
        audit::checkpoint,
        health::alive, health::ready, health::metrics, docs::yaml, docs::page,
    ),
    components(schemas(ProblemBody, audit::BrokenBody), responses(ProblemAnswer)),
    security(("bearer" = [])),
    modifiers(&Common),
)]
struct Description;

/// What holds for every path below `/v1`.
struct Common;

impl Modify for Common {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("JWT")
            .description(Some("Signed by the configured issuer; roles: admin, approver, auditor, service."))
            .build();
        api.components
            .get_or_insert_default()
            .security_schemes
            .insert("bearer".to_owned(), RefOr::T(SecurityScheme::Http(scheme)));
        let below_v1 = api.paths.paths.iter_mut().filter(|(path, _)| path.starts_with("/v1/"));
        for (_, item) in below_v1 {
            for operation in [&mut item.get, &mut item.post, &mut item.delete].into_iter().flatten() {
                common_answers(operation);
            }
        }
    }
}

fn common_answers(operation: &mut Operation) {
    let mut statuses = vec!["401", "403", "422", "429", "500", "503"];
    if operation.request_body.is_some() {
        statuses.extend(["413", "415"]);
    }
    for status in statuses {
        let answer = RefOr::Ref(Ref::new("#/components/responses/ProblemAnswer"));
        operation.responses.responses.entry(status.to_owned()).or_insert(answer);
    }
}

/// The description.
#[must_use]
pub fn document() -> utoipa::openapi::OpenApi {
    Description::openapi()
}

/// The description as YAML: what `openapi.yaml` holds.
#[must_use]
pub fn openapi_yaml() -> String {
    document().to_yaml().unwrap_or_default()
}
