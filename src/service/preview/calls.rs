//! What a step at an HTTP service would touch: its resources are asked for, one after the other.

use std::time::Duration;

use tokio::time::timeout;

use super::super::Connectors;
use crate::{
    connectors::{
        Keys,
        http::{Correction, Session, Target, targets},
    },
    domain::compiled::{Resource, ResourceAct, Step},
};

/// How many are there; `Err` says why that is not known.
pub(super) async fn count(
    connectors: &Connectors,
    step: &Step,
    resource: &Resource,
    keys: &Keys,
    left: Duration,
) -> Result<u64, String> {
    let service = connectors.service(&step.connection).ok_or("its connection is not configured")?;
    let mut found: Vec<Target> = Vec::new();
    for alternative in &step.rows.any_of {
        for target in targets(alternative, keys).map_err(|error| error.to_string())? {
            if !found.contains(&target) {
                found.push(target);
            }
        }
    }
    let Some(lookup) = &resource.lookup else { return Ok(found.len() as u64) };
    let mut session = Session::new(service);
    let asked = async {
        let mut there = 0;
        for target in &found {
            let is_meant = match &resource.act {
                // As the request will count: what is still to be corrected.
                ResourceAct::Rectify { new, .. } if !new.0.is_empty() => {
                    session.correction(lookup, target, new).await.map(|found| found == Correction::Needed)
                }
                _ => session.is_there(lookup, target).await,
            };
            there += u64::from(is_meant.map_err(|error| error.to_string())?);
        }
        Ok(there)
    };
    timeout(left, asked).await.unwrap_or_else(|_| Err("it takes longer than a preview may".to_owned()))
}
