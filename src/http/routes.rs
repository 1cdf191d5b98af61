//! The route table: every method and path, what it does as far as rights are concerned, and its handler. It is
//! the table of contents of the API. What is not in it does not exist; what is in it names who may use it.

use std::collections::BTreeSet;

use actix_web::{
    HttpRequest, HttpResponse, ResponseError,
    http::{Method, header},
    web,
};
use futures::future::LocalBoxFuture;

use super::{
    api::Api,
    audit::{self, summary},
    auth::{Operation, Principal},
    backups,
    call::{Answer, Call},
    consents, docs, health, holds, plans,
    problem::{Code, Problem},
    requests::{act, answering, certificate, decide, export, list, read, steps, submit},
    runs::{self, replays, retention, schedules},
    webhooks,
};

/// One line of the table.
pub struct Route {
    pub method: Method,
    pub path: &'static str,
    pub access: Access,
}

/// Who may use a route.
#[derive(Clone, Copy)]
pub enum Access {
    /// Needs a token whose roles allow the operation.
    Token(Operation, fn(Call) -> LocalBoxFuture<'static, Answer>),
    /// Needs none: what is asked for is known to whoever was given the link.
    Link(fn(web::Data<Api>, HttpRequest) -> LocalBoxFuture<'static, Answer>),
    /// Needs none.
    Public(fn(web::Data<Api>) -> LocalBoxFuture<'static, Answer>),
}

macro_rules! table {
    (
        token { $($method:ident $path:literal $operation:ident => $handler:path;)* }
        linked { $($linked_method:ident $linked_path:literal => $linked_handler:path;)* }
        public { $($open_method:ident $open_path:literal => $open_handler:path;)* }
    ) => {
        /// The table.
        #[must_use]
        pub fn table() -> Vec<Route> {
            vec![
                $(Route {
                    method: Method::$method,
                    path: $path,
                    access: Access::Token(Operation::$operation, |call| Box::pin($handler(call))),
                },)*
                $(Route {
                    method: Method::$linked_method,
                    path: $linked_path,
                    access: Access::Link(|api, request| Box::pin($linked_handler(api, request))),
                },)*
                $(Route {
                    method: Method::$open_method,
                    path: $open_path,
                    access: Access::Public(|api| Box::pin($open_handler(api))),
                },)*
            ]
        }
    };
}

table! {
    token {
        POST "/v1/requests" Submit => submit::submit;
        GET "/v1/requests" ReadRequests => list::list;
        GET "/v1/requests/summary" ReadRequests => list::summary;
        POST "/v1/requests/search" ReadRequests => list::search;
        GET "/v1/requests/{id}" ReadRequests => read::read;
        GET "/v1/requests/{id}/events" ReadRequests => read::events;
        POST "/v1/requests/{id}/approve" Decide => decide::approve;
        POST "/v1/requests/{id}/deny" Decide => decide::deny;
        POST "/v1/requests/{id}/cancel" Cancel => act::cancel;
        POST "/v1/requests/{id}/retry" Retry => act::retry;
        POST "/v1/requests/{id}/steps/{name}/complete" CompleteStep => steps::complete;
        POST "/v1/requests/{id}/identity_check" Answer => answering::check_identity;
        POST "/v1/requests/{id}/extend" Answer => answering::extend;
        POST "/v1/requests/{id}/answered" Answer => answering::answered;
        GET "/v1/requests/{id}/answer" DraftAnswer => answering::draft;
        GET "/v1/requests/{id}/certificate" ReadRequests => certificate::read;
        GET "/v1/requests/{id}/export" Download => export::download;
        POST "/v1/requests/{id}/export/link" LinkDownload => export::link;
        GET "/v1/plans" ReadPlans => plans::list;
        GET "/v1/plans/{plan}" ReadPlans => plans::read;
        GET "/v1/plans/{plan}/versions/{version}" ReadPlans => plans::version;
        POST "/v1/plans/{plan}/preview" Preview => plans::preview;
        POST "/v1/holds" PlaceHold => holds::place;
        GET "/v1/holds" ReadHolds => holds::list;
        GET "/v1/holds/{id}" ReadHolds => holds::read;
        DELETE "/v1/holds/{id}" EndHold => holds::end;
        POST "/v1/consents" RecordConsent => consents::record;
        GET "/v1/consents" ReadConsents => consents::list;
        GET "/v1/consents/current" ReadConsents => consents::current;
        POST "/v1/consents/search" ReadConsents => consents::search;
        GET "/v1/retention" ReadRuns => retention::list;
        POST "/v1/retention/{name}/preview" Upkeep => retention::preview;
        POST "/v1/retention/{name}/run" Upkeep => retention::run;
        POST "/v1/backups/{name}/verify" Upkeep => runs::verify_backup;
        POST "/v1/replays" Upkeep => replays::begin;
        POST "/v1/replays/preview" Upkeep => replays::preview;
        GET "/v1/replays/{id}" ReadRuns => replays::items;
        GET "/v1/schedules" ReadRuns => schedules::list;
        POST "/v1/schedules/{name}/run" Upkeep => schedules::run;
        GET "/v1/runs" ReadRuns => runs::list;
        GET "/v1/runs/{id}" ReadRuns => runs::read;
        POST "/v1/runs/{id}/approve" Decide => runs::approve;
        POST "/v1/runs/{id}/deny" Decide => runs::deny;
        POST "/v1/runs/{id}/cancel" Upkeep => runs::cancel;
        POST "/v1/runs/{id}/retry" Upkeep => runs::retry;
        GET "/v1/webhooks" Webhooks => webhooks::list;
        POST "/v1/webhooks/{id}/redeliver" Webhooks => webhooks::redeliver;
        GET "/v1/backups" ReadBackups => backups::list;
        GET "/v1/backups/{name}" ReadBackups => backups::read;
        GET "/v1/audit" Audit => audit::list;
        POST "/v1/audit/search" Audit => audit::search;
        GET "/v1/audit/export" Audit => audit::export;
        GET "/v1/audit/verify" Audit => audit::verify;
        GET "/v1/audit/summary" Summarise => summary::read;
        GET "/v1/audit/checkpoint" ReadCheckpoint => audit::checkpoint;
    }
    linked {
        GET "/exports/{secret}" => export::by_link;
    }
    public {
        GET "/healthz" => health::alive;
        GET "/readyz" => health::ready;
        GET "/metrics" => health::metrics;
        GET "/openapi.yaml" => docs::yaml;
        GET "/docs" => docs::page;
    }
}

/// All paths below `/v1`, for a scope of that name.
pub fn configure_v1(config: &mut web::ServiceConfig) {
    configure(config, "/v1", |access| matches!(access, Access::Token(..)));
}

/// The paths that links lead to.
pub fn configure_links(config: &mut web::ServiceConfig) {
    configure(config, "", |access| matches!(access, Access::Link(_)));
}

/// All paths that need no token and no link.
pub fn configure_public(config: &mut web::ServiceConfig) {
    configure(config, "", |access| matches!(access, Access::Public(_)));
}

fn configure(config: &mut web::ServiceConfig, scope: &'static str, is_meant: fn(&Access) -> bool) {
    let table = table();
    let paths: BTreeSet<&str> =
        table.iter().filter(|route| is_meant(&route.access)).map(|route| route.path).collect();
    for path in paths {
        let mut resource = web::resource(path.strip_prefix(scope).unwrap_or(path));
        let mut allowed = Vec::new();
        for route in table.iter().filter(|route| route.path == path) {
            for method in methods(&route.method) {
                allowed.push(method.as_str().to_owned());
                resource = resource.route(carry_out(web::method(method), route.access));
            }
        }
        let allowed = allowed.join(", ");
        config.service(resource.default_service(web::to(move || {
            let problem = Problem::new(Code::MethodNotAllowed, format!("Allowed here: {allowed}."));
            let answer = problem.header(header::ALLOW, &allowed).error_response();
            async move { answer }
        })));
    }
}

/// GET brings HEAD with it (RFC 9110 §9.1).
fn methods(method: &Method) -> Vec<Method> {
    if method == Method::GET { vec![Method::GET, Method::HEAD] } else { vec![method.clone()] }
}

fn carry_out(route: actix_web::Route, access: Access) -> actix_web::Route {
    match access {
        Access::Public(handler) => route.to(move |api: web::Data<Api>| handler(api)),
        Access::Link(handler) => {
            route.to(move |api: web::Data<Api>, request: HttpRequest| handler(api, request))
        }
        Access::Token(operation, handler) => route.to(
            move |api: web::Data<Api>, principal: web::ReqData<Principal>, request: HttpRequest, payload| {
                let principal = principal.into_inner();
                async move {
                    authorize(&principal, operation)?;
                    handler(Call { api, principal, request, payload }).await
                }
            },
        ),
    }
}

fn authorize(principal: &Principal, operation: Operation) -> Result<(), Problem> {
    if principal.may(operation) {
        return Ok(());
    }
    let needed: Vec<&str> = operation.roles().iter().map(|role| role.as_str()).collect();
    let detail = format!("This needs one of the roles: {}.", needed.join(", "));
    Err(Problem::new(Code::Forbidden, detail)
        .header(header::WWW_AUTHENTICATE, "Bearer realm=\"rightful\", error=\"insufficient_scope\""))
}

/// For every path that is not in the table.
pub async fn not_found() -> HttpResponse {
    Problem::not_found().error_response()
}
