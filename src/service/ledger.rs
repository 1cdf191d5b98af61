//! The ledger of completed erasures in this process: its keys, and the end of entries whose time is over.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::sync::{OnceCell, watch};

use super::Service;
use crate::{
    domain::{
        ledger::{Entry, Kept, place},
        vault::DataKey,
    },
    points::{self, Point},
    store::StoreError,
};

/// How often is looked for entries whose time is over.
const LOOK: Duration = Duration::from_secs(3600);
/// Entries that are destroyed in one transaction.
const CHUNK: i64 = 500;

/// A ledger whose key this process has.
#[derive(Debug, Clone)]
pub struct Ledger {
    pub id: String,
    pub key: DataKey,
}

impl Ledger {
    /// What is kept of a person, sealed for an entry.
    pub(super) fn seal(&self, entry: uuid::Uuid, kept: &Kept) -> Vec<u8> {
        self.key.seal(&serde_json::to_vec(kept).unwrap_or_default(), &place(entry))
    }
}

/// The ledger that erasures are entered into. Asked for before an erasure touches anything, so that its end never waits
/// for a key.
#[derive(Debug, Default)]
pub struct Ledgers(OnceCell<Ledger>);

impl Ledgers {
    /// The newest ledger that opens with the configured `pseudonym_key`; begun where there is none.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn current(&self, service: &Service) -> Result<&Ledger, StoreError> {
        self.0.get_or_try_init(|| open_or_begin(service)).await
    }

    /// As [`current`](Self::current), where it has been asked for before.
    #[must_use]
    pub fn opened(&self) -> Option<&Ledger> {
        self.0.get()
    }
}

async fn open_or_begin(service: &Service) -> Result<Ledger, StoreError> {
    loop {
        let all = service.store.ledgers().await?;
        let number = |id: &str| id.parse::<u32>().unwrap_or_default();
        let newest = opened(service, &all).into_iter().max_by_key(|(id, _)| number(id));
        if let Some((id, key)) = newest {
            return Ok(Ledger { id, key });
        }
        if !all.is_empty() {
            tracing::warn!(
                "the ledger of erasures was sealed under another pseudonym_key: a new one begins, and no replay reads the \
                 old one until that key is back"
            );
        }
        let next = all.iter().map(|(id, _)| number(id)).max().unwrap_or_default() + 1;
        let (id, (key, wrapped_key)) = (next.to_string(), service.vault.new_ledger_key());
        let mut tx = service.store.begin().await?;
        let is_own = tx.add_ledger(&id, &wrapped_key).await?;
        tx.commit().await?;
        if is_own {
            points::reached(Point::LedgerBegun);
            return Ok(Ledger { id, key });
        }
        // Another process has begun it.
    }
}

fn opened(service: &Service, wrapped: &[(String, Vec<u8>)]) -> BTreeMap<String, DataKey> {
    let opened = wrapped.iter().map(|(id, key)| (id.clone(), service.vault.unwrap_ledger_key(key)));
    opened.filter_map(|(id, key)| Some((id, key.ok()?))).collect()
}

/// The keys of all ledgers that open with the configured `pseudonym_key`.
///
/// # Errors
/// When the store does not answer.
pub(super) async fn keys(service: &Service) -> Result<BTreeMap<String, DataKey>, StoreError> {
    Ok(opened(service, &service.store.ledgers().await?))
}

/// What an entry holds; `None` when it was sealed under another `pseudonym_key`.
pub(super) fn open(keys: &BTreeMap<String, DataKey>, entry: &Entry) -> Option<Kept> {
    let plain = keys.get(&entry.ledger)?.open(&entry.sealed, &place(entry.id)).ok()?;
    serde_json::from_slice(&plain).ok()
}

/// Destroys entries whose time is over, from now on, until `stop` turns true. Several processes may do so.
pub async fn run(service: Arc<Service>, mut stop: watch::Receiver<bool>) {
    while !*stop.borrow() {
        if let Err(error) = expire(&service).await {
            tracing::warn!(%error, "entries of the ledger whose time is over are still there; tried again");
        }
        let _ = tokio::time::timeout(LOOK, stop.wait_for(|stop| *stop)).await;
    }
}

/// Destroys entries whose time is over, by the store's clock; how many they were.
///
/// # Errors
/// When the store does not answer; those before were destroyed.
pub async fn expire(service: &Service) -> Result<usize, StoreError> {
    let now = service.store.now().await?;
    let Some(before) = service.upkeep.ledger.and_then(|keep| keep.before(now)) else { return Ok(0) };
    let mut expired = 0;
    for (ledger, _) in service.store.ledgers().await? {
        loop {
            let mut tx = service.store.begin().await?;
            let destroyed = tx.expire_entries(&ledger, before, CHUNK).await?;
            tx.commit().await?;
            if destroyed == 0 {
                break;
            }
            expired += destroyed;
        }
    }
    Ok(expired)
}
