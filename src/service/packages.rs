//! Packages of completed exports: handed out, by a link once, and gone when their time is over.

mod expiry;
mod parts;

use std::{ops::Range, time::Duration};

use aws_lc_rs::{digest, rand};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    Service,
    actions::finish,
    error::ServiceError,
    readings::{Reader, visible},
};
use crate::{
    connectors::objects::Objects,
    domain::{
        audit::{EventName, hex},
        request::Status,
        vault::DataKey,
    },
    points::{self, Point},
    store::{LinkUse, Package, Tx},
};
pub use expiry::{discard, expire, run, sweep, sweep_one, tidy};
pub use parts::{Parts, Upload};

/// The longest life of a link.
pub const LONGEST_LINK: TimeDelta = TimeDelta::hours(1);

/// Where packages lie, and for how long.
pub struct Packages {
    pub objects: Objects,
    pub expires_after: Duration,
}

impl Packages {
    /// When a package that is ready now expires.
    #[must_use]
    pub fn expiry(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        let life = TimeDelta::from_std(self.expires_after).unwrap_or(TimeDelta::MAX);
        now.checked_add_signed(life).unwrap_or(DateTime::<Utc>::MAX_UTC)
    }
}

/// A package that may be read.
pub struct Opened {
    pub package: Package,
    key: DataKey,
    objects: Objects,
}

impl Opened {
    /// The bytes of a range.
    #[must_use]
    pub fn parts(&self, range: Range<u64>) -> Parts {
        Parts::new(self.objects.clone(), self.key.clone(), &self.package.place, range)
    }
}

/// A link that hands a package out once.
pub struct Link {
    pub secret: String,
    pub expires_at: DateTime<Utc>,
}

/// The package of a request that the reader may see.
///
/// # Errors
/// `NotFound` before it is there, `Gone` when its time is over.
pub async fn open(service: &Service, reader: &Reader, id: Uuid) -> Result<Opened, ServiceError> {
    // It may lie there before people have done their part of the request.
    let request = visible(service, reader, id).await?;
    match request.status() {
        Status::Completed => of_request(service, id).await,
        _ => Err(ServiceError::NotFound),
    }
}

async fn of_request(service: &Service, id: Uuid) -> Result<Opened, ServiceError> {
    let package = service.store.package(id).await?.ok_or(ServiceError::NotFound)?;
    let wrapped = package.wrapped_key.as_ref().filter(|_| package.is_available(service.clock.now()));
    let wrapped = wrapped.ok_or(ServiceError::Gone)?;
    let key = service
        .vault
        .unwrap_data_key(wrapped)
        .map_err(|_| ServiceError::Internal("a package was sealed under another pseudonym_key"))?;
    Ok(Opened { package, key, objects: service.packages.objects.clone() })
}

/// Records that the reader takes a package, before its first byte leaves. `range`: of bytes, where it is not whole.
///
/// # Errors
/// When the store does not answer.
pub async fn downloaded(
    service: &Service,
    reader: &Reader,
    id: Uuid,
    range: Option<Range<u64>>,
) -> Result<(), ServiceError> {
    let bytes = range.map(|range| json!({ "from": range.start, "to": range.end }));
    let details = json!({ "by_link": false, "bytes": bytes });
    let mut tx = service.store.begin().await?;
    let told = tell(&mut tx, id, EventName::ExportDownloaded, &reader.sub, details).await;
    finish(tx, told).await?;
    points::reached(Point::PackageDownloaded);
    Ok(())
}

/// Adds an event to the chain of a request that has ended.
async fn tell(
    tx: &mut Tx,
    id: Uuid,
    event: EventName,
    actor: &str,
    details: Value,
) -> Result<(), ServiceError> {
    let mut request = tx.lock_request(id).await?.ok_or(ServiceError::NotFound)?;
    let event = request.event(event, actor, details);
    tx.write(&mut request, vec![event]).await?;
    Ok(())
}

/// Makes a link that needs no token and works once.
///
/// # Errors
/// As [`open`].
pub async fn link(
    service: &Service,
    reader: &Reader,
    id: Uuid,
    life: TimeDelta,
) -> Result<Link, ServiceError> {
    let Opened { package, .. } = open(service, reader, id).await?;
    let mut bytes = [0_u8; 32];
    rand::fill(&mut bytes).map_err(|_| ServiceError::Internal("no random bytes"))?;
    let secret = URL_SAFE_NO_PAD.encode(bytes);
    let expires_at = (service.clock.now() + life.min(LONGEST_LINK)).min(package.expires_at);
    let mut tx = service.store.begin().await?;
    let put = put_link(&mut tx, id, &secret, &reader.sub, expires_at).await;
    finish(tx, put).await?;
    Ok(Link { secret, expires_at })
}

async fn put_link(
    tx: &mut Tx,
    id: Uuid,
    secret: &str,
    by: &str,
    expires_at: DateTime<Utc>,
) -> Result<(), ServiceError> {
    tx.put_link(&hashed(secret), id, by, expires_at).await?;
    let details = json!({ "expires_at": crate::domain::audit::timestamp(expires_at) });
    tell(tx, id, EventName::ExportLinked, by, details).await
}

/// Uses a link up and opens its package; the download is recorded as by whoever made the link.
///
/// # Errors
/// `NotFound` for what was never a link, `Gone` for one that was used or whose time is over.
pub async fn by_link(service: &Service, secret: &str) -> Result<Opened, ServiceError> {
    // Whoever tries texts at random costs no write transaction.
    if !service.store.has_link(&hashed(secret)).await? {
        return Err(ServiceError::NotFound);
    }
    let mut tx = service.store.begin().await?;
    let taken = take_link(service, &mut tx, secret).await;
    finish(tx, taken).await
}

async fn take_link(service: &Service, tx: &mut Tx, secret: &str) -> Result<Opened, ServiceError> {
    match tx.use_link(&hashed(secret), service.clock.now()).await? {
        LinkUse::Taken { request_id, created_by } => {
            let opened = of_request(service, request_id).await?;
            let details = json!({ "by_link": true, "bytes": null });
            tell(tx, request_id, EventName::ExportDownloaded, &created_by, details).await?;
            Ok(opened)
        }
        LinkUse::Gone => Err(ServiceError::Gone),
        LinkUse::Unknown => Err(ServiceError::NotFound),
    }
}

/// What a link would hand out, without using it up.
///
/// # Errors
/// As [`by_link`].
pub async fn peek_link(service: &Service, secret: &str) -> Result<Opened, ServiceError> {
    let hash = hashed(secret);
    match service.store.link_target(&hash).await? {
        Some(request) => of_request(service, request).await,
        None if service.store.has_link(&hash).await? => Err(ServiceError::Gone),
        None => Err(ServiceError::NotFound),
    }
}

fn hashed(secret: &str) -> String {
    hex(digest::digest(&digest::SHA256, secret.as_bytes()).as_ref())
}
