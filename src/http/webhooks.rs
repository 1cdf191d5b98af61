//! `GET /v1/webhooks` and `POST /v1/webhooks/{id}/redeliver`.

use actix_web::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    call::{Answer, Call, Page, json},
    page::Paging,
};
use crate::{domain::audit::timestamp, service::webhooks, store::Delivery};

/// Something to tell a webhook, and how far it got.
#[derive(Serialize, ToSchema)]
pub struct DeliveryBody {
    /// The `webhook-id` of every attempt.
    id: Uuid,
    /// The webhook's name in the configuration.
    webhook: String,
    /// Null for what concerns no request.
    request_id: Option<Uuid>,
    #[schema(example = "request.completed")]
    r#type: String,
    #[schema(format = DateTime)]
    created_at: String,
    attempts: i32,
    /// Null once it was delivered or given up.
    #[schema(format = DateTime)]
    next_attempt_at: Option<String>,
    #[schema(format = DateTime)]
    delivered_at: Option<String>,
    /// Of the last attempt.
    #[schema(example = "status 500")]
    failure: Option<String>,
}

impl From<Delivery> for DeliveryBody {
    fn from(delivery: Delivery) -> Self {
        Self {
            id: delivery.id,
            webhook: delivery.endpoint,
            request_id: delivery.request_id,
            r#type: delivery.event,
            created_at: timestamp(delivery.created_at),
            attempts: delivery.attempts,
            next_attempt_at: delivery.next_at.map(timestamp),
            delivered_at: delivery.delivered_at.map(timestamp),
            failure: delivery.failure,
        }
    }
}

/// What was told to webhooks and what waits, newest first; kept for 30 days.
#[utoipa::path(
    get, path = "/v1/webhooks", tag = "Webhooks", operation_id = "listDeliveries",
    params(
        ("request_id" = Option<Uuid>, Query),
        ("limit" = Option<u16>, Query, minimum = 1, maximum = 500, description = "Default 50"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses(
        (status = 200, description = "A page", body = Page<DeliveryBody>),
        (status = 422, response = super::openapi::ProblemAnswer),
    )
)]
pub async fn list(call: Call) -> Answer {
    let query = call.query(&["request_id", "limit", "cursor"])?;
    let request = query.id("request_id")?;
    let vault = call.api.service.vault.clone();
    let paging = Paging::<Uuid>::read(&query, format!("webhooks {request:?}"), &vault)?;
    let (before, limit) = (paging.after, paging.fetch());
    let mut found =
        call.run(|service| async move { webhooks::list(&service, request, before, limit).await }).await?;
    let next_cursor = paging.cut(&mut found, &vault, |delivery| delivery.id);
    let items = found.into_iter().map(DeliveryBody::from).collect();
    Ok(json(StatusCode::OK, &Page { items, next_cursor }))
}

/// Tells it again, under the same id, whatever became of it.
#[utoipa::path(
    post, path = "/v1/webhooks/{id}/redeliver", tag = "Webhooks", operation_id = "redeliver",
    params(("id" = Uuid, Path)),
    responses(
        (status = 202, description = "Due again", body = DeliveryBody),
        (status = 404, response = super::openapi::ProblemAnswer),
    )
)]
pub async fn redeliver(mut call: Call) -> Answer {
    let id = call.id()?;
    call.optional_fields().await?.end()?;
    let delivery = call.run(|service| async move { webhooks::redeliver(&service, id).await }).await?;
    Ok(json(StatusCode::ACCEPTED, &DeliveryBody::from(delivery)))
}
