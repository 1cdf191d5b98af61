//! `/v1/retention`: the policies of the configuration, what they would do, and their runs.

use actix_web::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::{RunBody, asked, begun, named};
use crate::{
    domain::{audit::timestamp, retention::Policy, run::Task},
    http::call::{Answer, Call, json},
    service::{retention, runs},
};

/// A policy, and how it fared last.
#[derive(Serialize, ToSchema)]
pub struct PolicyBody {
    name: String,
    #[schema(example = "shop.visits")]
    table: String,
    timestamp: String,
    #[schema(example = "2y")]
    older_than: String,
    r#where: Option<String>,
    /// `delete`, `soft_delete`, `mask` or `archive`.
    action: &'static str,
    children: Vec<String>,
    basis: String,
    last_run: Option<RunBody>,
}

#[derive(Serialize, ToSchema)]
pub struct Policies {
    items: Vec<PolicyBody>,
}

/// What a policy would do now.
#[derive(Serialize, ToSchema)]
pub struct RetentionPreview {
    policy: String,
    /// What a run carries out, or refuses when it has changed.
    policy_version: String,
    action: &'static str,
    /// The first moment that is not old any more.
    #[schema(format = DateTime)]
    before: String,
    /// In the order of execution.
    tables: Vec<TableRows>,
    /// Rows whose time cannot be read; they stay.
    unreadable: u64,
}

#[derive(Serialize, ToSchema)]
pub struct TableRows {
    table: String,
    matched: u64,
    /// Old, and kept by a legal hold.
    withheld: u64,
}

fn shape(policy: &Policy, last_run: Option<RunBody>) -> PolicyBody {
    PolicyBody {
        name: policy.name.clone(),
        table: format!("{}.{}", policy.connection.value, policy.table.value),
        timestamp: policy.timestamp.value.clone(),
        older_than: policy.older_than.to_string(),
        r#where: policy.filter.as_ref().map(|filter| filter.value.clone()),
        action: policy.action.value.as_str(),
        children: policy.children.iter().map(|child| child.value.to_string()).collect(),
        basis: policy.basis.clone(),
        last_run,
    }
}

/// The policies with their last runs.
#[utoipa::path(
    get, path = "/v1/retention", tag = "Retention", operation_id = "listPolicies",
    responses((status = 200, description = "All policies", body = Policies))
)]
pub async fn list(call: Call) -> Answer {
    call.query(&[])?;
    let items = call
        .run(|service| async move {
            let mut items = Vec::new();
            for policy in service.upkeep.policies.values() {
                let last = service.store.last_run(&Task::Retention(policy.name.clone())).await?;
                items.push(shape(policy, last.map(RunBody::from)));
            }
            Ok(items)
        })
        .await?;
    Ok(json(StatusCode::OK, &Policies { items }))
}

/// Counts what a policy would do now; nothing is changed.
#[utoipa::path(
    post, path = "/v1/retention/{name}/preview", tag = "Retention", operation_id = "previewPolicy",
    params(("name" = String, Path)),
    responses(
        (status = 200, description = "The counts", body = RetentionPreview),
        (status = 404, response = crate::http::openapi::ProblemAnswer),
        (status = 409, response = crate::http::openapi::ProblemAnswer),
    )
)]
pub async fn preview(mut call: Call) -> Answer {
    let name = named(&call)?;
    call.query(&[])?;
    call.optional_fields().await?.end()?;
    let found = call.run(|service| async move { retention::preview(&service, &name).await }).await?;
    let tables = found.tables.into_iter().map(|table| TableRows {
        table: table.table,
        matched: table.rows.matched,
        withheld: table.rows.withheld,
    });
    let body = RetentionPreview {
        policy: found.policy,
        policy_version: found.policy_version,
        action: found.action,
        before: timestamp(found.before),
        tables: tables.collect(),
        unreadable: found.unreadable,
    };
    Ok(json(StatusCode::OK, &body))
}

/// Runs a policy; where the configuration wants that, an approver lets it go first.
#[utoipa::path(
    post, path = "/v1/retention/{name}/run", tag = "Retention", operation_id = "runPolicy",
    params(
        ("name" = String, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "The same call again begins no second run"),
    ),
    responses(
        (status = 202, description = "Begun", body = RunBody,
            headers(("Location" = String, description = "Where to poll"))),
        (status = 200, description = "Begun by the same call before", body = RunBody),
        (status = 404, response = crate::http::openapi::ProblemAnswer),
        (status = 409, response = crate::http::openapi::ProblemAnswer),
    )
)]
pub async fn run(mut call: Call) -> Answer {
    let name = named(&call)?;
    call.query(&[])?;
    call.optional_fields().await?.end()?;
    let asked = asked(&call)?;
    let task = Task::Retention(name);
    begun(call.run(|service| async move { runs::begin(&service, task, asked).await }).await?)
}
