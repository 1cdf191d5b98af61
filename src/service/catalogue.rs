//! Readings of plans: what is offered now, and every version that ever was.

use chrono::{DateTime, Utc};

use super::{Service, error::ServiceError, registry::Availability};
use crate::domain::compiled::{CompiledPlan, PlanVersion};

/// A plan as it is offered.
#[derive(Debug, Clone)]
pub struct Offered {
    pub name: String,
    /// `None` while no version was ever compiled, because a connection is down.
    pub current: Option<Version>,
}

/// A registered version.
#[derive(Debug, Clone)]
pub struct Version {
    pub compiled: std::sync::Arc<CompiledPlan>,
    pub registered_at: DateTime<Utc>,
    pub source: String,
}

/// The plans of this process after a name, in the order of their names.
#[must_use]
pub fn list(service: &Service, after: Option<&str>, limit: usize) -> Vec<Offered> {
    let names = service.plans.names();
    let later = names.into_iter().filter(|name| after.is_none_or(|after| name.as_str() > after));
    later.take(limit).filter_map(|name| offered(service, name)).collect()
}

/// One plan.
///
/// # Errors
/// `NotFound` when this process has no such plan.
pub fn read(service: &Service, name: &str) -> Result<Offered, ServiceError> {
    offered(service, name.to_owned()).ok_or(ServiceError::NotFound)
}

fn offered(service: &Service, name: String) -> Option<Offered> {
    let current = match service.plans.current(&name)? {
        Availability::Registered(registered) => Some(Version {
            compiled: registered.compiled,
            registered_at: registered.registered_at,
            source: registered.source.to_string(),
        }),
        Availability::NeverCompiled => None,
    };
    Some(Offered { name, current })
}

/// Any version that was ever registered, whether its plan is still offered or not.
///
/// # Errors
/// `NotFound` when there never was one.
pub async fn version(service: &Service, name: &str, version: &PlanVersion) -> Result<Version, ServiceError> {
    let stored = service.store.plan_version(name, version).await?.ok_or(ServiceError::NotFound)?;
    let compiled: CompiledPlan = serde_json::from_str(&stored.compiled)
        .map_err(|_| ServiceError::Internal("a stored plan version cannot be read"))?;
    Ok(Version { compiled: compiled.into(), registered_at: stored.registered_at, source: stored.source })
}
