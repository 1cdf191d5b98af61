//! Plans: what is registered, every version that ever was, and what a request would touch.

use actix_web::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    body::Fields,
    call::{Answer, Call, Page, json},
    page::Paging,
    requests::{changes, kind, subject},
};
use crate::{
    domain::{
        audit::timestamp,
        compiled::CompiledPlan,
        request::{CODE, Kind, MANUAL},
    },
    service::{
        catalogue::{self, Offered, Version},
        error::ServiceError,
        intake::registered,
        preview::{self as previews, Preview},
    },
};

/// A plan; its version and what follows from it are null while a connection was never reachable to compile it.
#[derive(Serialize, ToSchema)]
pub struct PlanBody {
    name: String,
    #[schema(example = "sha256:…")]
    version: Option<String>,
    #[schema(format = DateTime)]
    registered_at: Option<String>,
    /// The first is the root identity.
    identities: Option<Vec<String>>,
    /// Required in every subject.
    scope: Option<Vec<String>>,
    steps: Option<StepsBody>,
}

/// The compiled steps per kind, in the order of execution.
#[derive(Serialize, ToSchema)]
struct StepsBody {
    erasure: Vec<PlanStep>,
    export: Vec<PlanStep>,
    /// Tables whose columns may be corrected, or that hold copies of such.
    rectification: Vec<PlanStep>,
}

/// One table with one action, or something that a person or the embedding program does.
#[derive(Serialize, ToSchema)]
struct PlanStep {
    #[schema(example = "shop.order_items")]
    name: String,
    /// Null for steps that are no table's.
    connection: Option<String>,
    /// `code` and `manual` for steps that are no table's.
    #[schema(example = "delete")]
    action: &'static str,
    basis: Option<String>,
    /// Of rows that are kept for a time: until when.
    #[schema(example = "orders.placed_at + 10y")]
    until: Option<String>,
    /// Of a manual step: what is to be done. Null for others, as is the next.
    r#do: Option<String>,
    /// Of a manual step: who is to be told (GDPR Art. 17(2), 19).
    recipient: Option<String>,
}

/// A version with its source text.
#[derive(Serialize, ToSchema)]
pub struct VersionBody {
    #[serde(flatten)]
    plan: PlanBody,
    /// The plan file as it was registered first.
    source: String,
}

/// Whose request to look ahead at.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a body that is read field by field, for its faults' places")]
pub struct PreviewRequest {
    #[schema(example = "erasure")]
    kind: String,
    #[schema(example = json!({ "email": "jane@example.com" }))]
    subject: std::collections::BTreeMap<String, serde_json::Value>,
    /// Of a rectification: what it would change. Without it every table is counted whose columns may be corrected.
    #[schema(example = json!({ "shop.users": { "phone": "+49 30 123" } }))]
    changes: Option<std::collections::BTreeMap<String, serde_json::Value>>,
}

/// What a request would touch.
#[derive(Serialize, ToSchema)]
pub struct PreviewBody {
    kind: &'static str,
    plan_version: String,
    steps: Vec<PreviewStepBody>,
    warnings: Vec<String>,
}

/// One step of a preview.
#[derive(Serialize, ToSchema)]
struct PreviewStepBody {
    name: String,
    action: &'static str,
    /// Rows; null when they were not counted, and a warning says why. Manual steps have none.
    matched: Option<u64>,
    basis: Option<String>,
    /// Of a manual step: what is to be done. Null for others, as is the next.
    r#do: Option<String>,
    /// Of a manual step: who is to be told (GDPR Art. 17(2), 19).
    recipient: Option<String>,
}

/// The plans of this process, by name.
#[utoipa::path(
    get, path = "/v1/plans", tag = "Plans", operation_id = "listPlans",
    params(
        ("limit" = Option<u16>, Query, minimum = 1, maximum = 500, description = "Default 50"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses((status = 200, description = "A page", body = Page<PlanBody>))
)]
pub async fn list(call: Call) -> Answer {
    let service = &call.api.service;
    let paging =
        Paging::<String>::read(&call.query(&["limit", "cursor"])?, "plans".to_owned(), &service.vault)?;
    let limit = usize::try_from(paging.fetch()).unwrap_or_default();
    let mut plans = catalogue::list(service, paging.after.as_deref(), limit);
    let next_cursor = paging.cut(&mut plans, &service.vault, |plan| plan.name.clone());
    let items: Vec<PlanBody> = plans.into_iter().map(offered).collect();
    Ok(json(StatusCode::OK, &Page { items, next_cursor }))
}

/// The current version of a plan.
#[utoipa::path(
    get, path = "/v1/plans/{plan}", tag = "Plans", operation_id = "readPlan", params(("plan" = String, Path)),
    responses(
        (status = 200, description = "The plan", body = PlanBody),
        (status = 404, response = super::openapi::ProblemAnswer),
    )
)]
pub async fn read(call: Call) -> Answer {
    call.query(&[])?;
    let plan = catalogue::read(&call.api.service, &call.path("plan")?)?;
    Ok(json(StatusCode::OK, &offered(plan)))
}

/// A version that was registered at any time, with its source text.
#[utoipa::path(
    get, path = "/v1/plans/{plan}/versions/{version}", tag = "Plans", operation_id = "readPlanVersion",
    params(("plan" = String, Path), ("version" = String, Path, description = "`sha256:…`, or its hex digits alone")),
    responses(
        (status = 200, description = "The version", body = VersionBody),
        (status = 404, response = super::openapi::ProblemAnswer),
    )
)]
pub async fn version(call: Call) -> Answer {
    call.query(&[])?;
    let (name, version) = (call.path("plan")?, call.path("version")?);
    let version = if version.starts_with("sha256:") { version } else { format!("sha256:{version}") };
    let found =
        call.run(|service| async move { catalogue::version(&service, &name, &version).await }).await?;
    let source = found.source.clone();
    Ok(json(StatusCode::OK, &VersionBody { plan: registered_body(found), source }))
}

/// What a request would touch: steps in order, rows each. Changes nothing, and takes 10 s at most.
#[utoipa::path(
    post, path = "/v1/plans/{plan}/preview", tag = "Plans", operation_id = "previewRequest",
    params(("plan" = String, Path)), request_body = PreviewRequest,
    responses(
        (status = 200, description = "What it would touch", body = PreviewBody),
        (status = 404, response = super::openapi::ProblemAnswer),
        (status = 422, response = super::openapi::ProblemAnswer),
        (status = 503, response = super::openapi::ProblemAnswer),
    )
)]
pub async fn preview(mut call: Call) -> Answer {
    let mut fields = Fields::of(call.json().await?)?;
    let (kind, subject) = (kind(&mut fields), subject(&mut fields));
    let changes = (kind == Kind::Rectification && fields.has("changes")).then(|| changes(&mut fields));
    fields.end()?;
    let name = call.path("plan")?;
    let preview = call
        .run(|service| async move {
            let registered = registered(&service, &name).map_err(|error| match error {
                ServiceError::UnknownPlan => ServiceError::NotFound,
                other => other,
            })?;
            Ok(previews::preview(&service, &registered, kind, &subject, changes.as_ref()).await?)
        })
        .await?;
    Ok(json(StatusCode::OK, &preview_body(kind.as_str(), preview)))
}

fn preview_body(kind: &'static str, preview: Preview) -> PreviewBody {
    PreviewBody {
        kind,
        plan_version: preview.plan_version,
        steps: preview
            .steps
            .into_iter()
            .map(|step| PreviewStepBody {
                name: step.name,
                action: step.action,
                matched: step.matched,
                basis: step.basis,
                r#do: step.manual.as_ref().map(|manual| manual.r#do.clone()),
                recipient: step.manual.and_then(|manual| manual.recipient),
            })
            .collect(),
        warnings: preview.warnings,
    }
}

fn offered(plan: Offered) -> PlanBody {
    match plan.current {
        Some(version) => registered_body(version),
        None => PlanBody {
            name: plan.name,
            version: None,
            registered_at: None,
            identities: None,
            scope: None,
            steps: None,
        },
    }
}

fn registered_body(version: Version) -> PlanBody {
    let plan: &CompiledPlan = &version.compiled;
    let names = |identities: &[crate::domain::compiled::Identity]| {
        Some(identities.iter().map(|identity| identity.name.clone()).collect())
    };
    PlanBody {
        name: plan.name.clone(),
        version: Some(plan.version.clone()),
        registered_at: Some(timestamp(version.registered_at)),
        identities: names(&plan.root.identities),
        scope: names(&plan.root.scope),
        steps: Some(StepsBody {
            erasure: steps(plan, Kind::Erasure),
            export: steps(plan, Kind::Export),
            rectification: steps(plan, Kind::Rectification),
        }),
    }
}

/// The steps of a kind of request in the order of execution.
fn steps(plan: &CompiledPlan, kind: Kind) -> Vec<PlanStep> {
    let bare = |name: &str, action| PlanStep {
        name: name.to_owned(),
        connection: None,
        action,
        basis: None,
        until: None,
        r#do: None,
        recipient: None,
    };
    let code = plan.code(kind).iter().map(|step| bare(&step.name, CODE));
    let tables = plan.steps(kind).iter().map(|step| PlanStep {
        connection: Some(step.connection.clone()),
        basis: step.basis.clone(),
        until: step.until().map(ToString::to_string),
        ..bare(&step.name, step.action.name())
    });
    let manual = plan.manual(kind).map(|step| PlanStep {
        basis: step.basis.clone(),
        r#do: Some(step.r#do.clone()),
        recipient: step.recipient.clone(),
        ..bare(&step.name, MANUAL)
    });
    code.chain(tables).chain(manual).collect()
}
