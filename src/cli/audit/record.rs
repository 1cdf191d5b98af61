//! Readings of the configured store stand in it.

use super::super::Failure;
use crate::{
    config,
    domain::clock::Clock,
    service::audit_readings::{self, Reading},
    store::{Store, StoreError},
};

/// Where it is told that somebody has read the log.
pub(super) enum Record {
    /// In the configured store, which is read.
    In(Store),
    /// That may only be read.
    Impossible(StoreError),
    /// A copy stays as it is.
    Nowhere,
}

impl Record {
    /// The configured store.
    pub async fn configured(url: &str) -> Result<(Store, Self), Failure> {
        match Store::open_existing(url, Clock).await {
            Ok(store) => Ok((store.clone(), Self::In(store))),
            Err(why) => {
                let store = Store::open_read_only(url, Clock).await.map_err(Failure::new)?;
                Ok((store, Self::Impossible(why)))
            }
        }
    }

    /// A copy, which is only read.
    pub async fn copy(url: &str) -> Result<(Store, Self), Failure> {
        Ok((Store::open_read_only(url, Clock).await.map_err(Failure::new)?, Self::Nowhere))
    }

    /// A log that cannot be written is read all the same: whoever has its file or such a role could do so without this
    /// program. That it is not on record is said.
    pub async fn put(&self, reading: Reading<'_>) {
        let reader = format!("cli:{}", config::host_name());
        let put = match self {
            Self::In(store) => audit_readings::record(store, &reader, reading).await,
            Self::Impossible(why) => Err(why.clone()),
            Self::Nowhere => Ok(()),
        };
        if let Err(error) = put {
            eprintln!("rightful: that the log was read could not be recorded in it: {error}");
        }
    }
}
