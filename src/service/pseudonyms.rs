//! How people are shown: the keys of the months in this process, and the names under which somebody is found.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use chrono::{DateTime, Utc};

use super::{
    Service,
    error::ServiceError,
    intake::{given_refs, registered},
};
use crate::{
    domain::{
        pseudonym::{Month, PeriodKeys},
        request::Subject,
    },
    store::StoreError,
};

/// The keys as the store had them when they were last read. Only what is committed there is known here, so that of several
/// processes that make a month's key all use the one that came first.
#[derive(Default)]
pub struct Pseudonyms(Mutex<Arc<PeriodKeys>>);

impl Pseudonyms {
    /// The keys, among them that of the month of `at`, which is made where there never was one. To be asked for before
    /// the transaction that needs them: they are made in one of their own.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn of(&self, service: &Service, at: DateTime<Utc>) -> Result<Arc<PeriodKeys>, StoreError> {
        let known = self.lock().clone();
        match known.knows(Month::of(at)) {
            true => Ok(known),
            false => self.all_with(service, at).await,
        }
    }

    /// As [`of`](Self::of), with those of all other months as they are now.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn all_with(
        &self,
        service: &Service,
        at: DateTime<Utc>,
    ) -> Result<Arc<PeriodKeys>, StoreError> {
        let month = Month::of(at);
        let known = self.reload(service).await?;
        if known.knows(month) {
            return Ok(known);
        }
        let (_, wrapped) = service.vault.new_period_key();
        let mut tx = service.store.begin().await?;
        tx.add_period(month, &wrapped, service.clock.now()).await?;
        tx.commit().await?;
        self.reload(service).await
    }

    /// Reads the keys anew, and forgets those that were destroyed.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn reload(&self, service: &Service) -> Result<Arc<PeriodKeys>, StoreError> {
        let all = service.store.periods().await?;
        let opened = all.into_iter().map(|(month, wrapped)| {
            let key = wrapped.and_then(|wrapped| match service.vault.unwrap_period_key(&wrapped) {
                Ok(key) => Some(key),
                Err(error) => {
                    tracing::error!(%month, %error, "people are not shown in this month");
                    None
                }
            });
            (month, key)
        });
        let keys = Arc::new(PeriodKeys::new(opened));
        *self.lock() = keys.clone();
        Ok(keys)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Arc<PeriodKeys>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Every pseudonym, compared or shown, by which a person whom a plan knows is found; shown ones of the months whose key is
/// still there, and compared ones because the log showed these once.
///
/// # Errors
/// When the plan or the subject is not known.
pub async fn of_person(
    service: &Service,
    plan: &str,
    subject: &Subject,
) -> Result<Vec<String>, ServiceError> {
    let plan = registered(service, plan)?.compiled;
    let refs = given_refs(service, &plan, subject)?;
    all(service, refs.into_iter().map(|(_, pseudonym)| pseudonym).collect()).await
}

/// The same of a person of whom one pseudonym was shown; that one comes first, and is the only one where it is nobody's.
///
/// # Errors
/// When the store does not answer.
pub async fn of_ref(service: &Service, shown: &str) -> Result<Vec<String>, ServiceError> {
    let mut names = vec![shown.to_owned()];
    let compared = service.store.compared(&names).await?;
    names.extend(all(service, compared).await?.into_iter().filter(|name| name != shown));
    Ok(names)
}

async fn all(service: &Service, compared: BTreeSet<String>) -> Result<Vec<String>, ServiceError> {
    let keys = service.pseudonyms.reload(service).await?;
    let mut names: Vec<String> = compared.iter().flat_map(|one| keys.all_shown(one)).collect();
    names.extend(compared);
    Ok(names)
}
