//! The ledger of completed erasures: its keys, its entries, and the end of those whose time is over.

use chrono::{DateTime, NaiveDateTime, Utc};
use diesel::{
    dsl::{count_star, max, min},
    prelude::*,
};
use diesel_async::RunQueryDsl;
use serde_json::json;
use uuid::Uuid;

use super::{
    Store, StoreError, Tx,
    conn::{Conn, on, read},
    rows::{utc, uuid},
    schema::{erasure_ledger, ledgers},
};
use crate::domain::{
    audit::{ChainHead, EventName, NewEvent},
    ledger::{self, Entry},
};

#[derive(Queryable, Insertable)]
#[diesel(table_name = erasure_ledger)]
struct EntryRow {
    id: String,
    ledger_id: String,
    request_id: String,
    plan: String,
    completed_at: NaiveDateTime,
    sealed: Vec<u8>,
}

impl EntryRow {
    fn of(entry: &Entry) -> Self {
        Self {
            id: entry.id.to_string(),
            ledger_id: entry.ledger.clone(),
            request_id: entry.erasure.to_string(),
            plan: entry.plan.clone(),
            completed_at: entry.completed_at.naive_utc(),
            sealed: entry.sealed.clone(),
        }
    }

    fn into_entry(self) -> Result<Entry, StoreError> {
        Ok(Entry {
            id: uuid(&self.id)?,
            ledger: self.ledger_id,
            erasure: uuid(&self.request_id)?,
            plan: self.plan,
            completed_at: self.completed_at.and_utc(),
            sealed: self.sealed,
        })
    }
}

/// What the ledger holds of one plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerCount {
    pub plan: String,
    pub entries: i64,
    pub oldest: Option<DateTime<Utc>>,
    pub newest: Option<DateTime<Utc>>,
}

/// From when on, where nothing else is said: before every entry.
pub(super) fn from(since: Option<DateTime<Utc>>) -> NaiveDateTime {
    since.unwrap_or(DateTime::UNIX_EPOCH).naive_utc()
}

impl Store {
    /// The keys of all ledgers, wrapped, by the ledger's name.
    ///
    /// # Errors
    /// As every statement.
    pub async fn ledgers(&self) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let all = ledgers::table.order(ledgers::id).select((ledgers::id, ledgers::wrapped_key));
        Ok(read!(self, |c| all.load(c).await))
    }

    /// One entry; `None` once its time is over.
    ///
    /// # Errors
    /// As every statement.
    pub async fn ledger_entry(&self, id: Uuid) -> Result<Option<Entry>, StoreError> {
        let query = erasure_ledger::table.find(id.to_string());
        let row: Option<EntryRow> = read!(self, |c| query.get_result(c).await.optional());
        row.map(EntryRow::into_entry).transpose()
    }

    /// The entry of one erasure.
    ///
    /// # Errors
    /// As every statement.
    pub async fn ledger_entry_of(&self, erasure: Uuid) -> Result<Option<Entry>, StoreError> {
        let query = erasure_ledger::table.filter(erasure_ledger::request_id.eq(erasure.to_string()));
        let row: Option<EntryRow> = read!(self, |c| query.get_result(c).await.optional());
        row.map(EntryRow::into_entry).transpose()
    }

    /// Entries of erasures that were completed from a time on, in the order in which they were made.
    ///
    /// # Errors
    /// As every statement.
    pub async fn ledger_entries(
        &self,
        since: Option<DateTime<Utc>>,
        limit: i64,
    ) -> Result<Vec<Entry>, StoreError> {
        let query = erasure_ledger::table
            .filter(erasure_ledger::completed_at.ge(from(since)))
            .order(erasure_ledger::id)
            .limit(limit);
        let rows: Vec<EntryRow> = read!(self, |c| query.load(c).await);
        rows.into_iter().map(EntryRow::into_entry).collect()
    }

    /// How many there are from a time on, by plan.
    ///
    /// # Errors
    /// As every statement.
    pub async fn ledger_counts(&self, since: Option<DateTime<Utc>>) -> Result<Vec<LedgerCount>, StoreError> {
        type Row = (String, i64, Option<NaiveDateTime>, Option<NaiveDateTime>);
        let query = erasure_ledger::table
            .filter(erasure_ledger::completed_at.ge(from(since)))
            .group_by(erasure_ledger::plan)
            .order(erasure_ledger::plan)
            .select((
                erasure_ledger::plan,
                count_star(),
                min(erasure_ledger::completed_at),
                max(erasure_ledger::completed_at),
            ));
        let mut held = self.reader().await?;
        let rows: Vec<Row> = on!(&mut held.conn, |c| query.load(c).await)?;
        held.give_back();
        let counted = |(plan, entries, oldest, newest): Row| LedgerCount {
            plan,
            entries,
            oldest: utc(oldest),
            newest: utc(newest),
        };
        Ok(rows.into_iter().map(counted).collect())
    }
}

impl Tx {
    /// Begins a ledger; false when there is one of that name, made by another process perhaps.
    ///
    /// # Errors
    /// As every statement.
    pub async fn add_ledger(&mut self, id: &str, wrapped_key: &[u8]) -> Result<bool, StoreError> {
        let head = ChainHead::default();
        let row = (
            ledgers::id.eq(id),
            ledgers::wrapped_key.eq(wrapped_key),
            ledgers::audit_seq.eq(head.seq),
            ledgers::audit_hash.eq(head.hash),
        );
        let insert = diesel::insert_into(ledgers::table).values(row).on_conflict_do_nothing();
        Ok(on!(self.conn().await?, |c| insert.execute(c).await)? == 1)
    }

    /// Enters a completed erasure.
    ///
    /// # Errors
    /// `Internal` when it was entered before, or its ledger is not there.
    pub async fn enter(&mut self, entry: &Entry) -> Result<(), StoreError> {
        let row = EntryRow::of(entry);
        let insert = diesel::insert_into(erasure_ledger::table).values(&row);
        on!(self.conn().await?, |c| insert.execute(c).await)?;
        Ok(())
    }

    /// Has an entry tell of the last time that its person was erased; false where its time was over meanwhile.
    ///
    /// # Errors
    /// As every statement.
    pub async fn renew_entry(&mut self, entry: &Entry) -> Result<bool, StoreError> {
        let renew = diesel::update(erasure_ledger::table.find(entry.id.to_string())).set((
            erasure_ledger::ledger_id.eq(&entry.ledger),
            erasure_ledger::completed_at.eq(entry.completed_at.naive_utc()),
            erasure_ledger::sealed.eq(&entry.sealed),
        ));
        Ok(on!(self.conn().await?, |c| renew.execute(c).await)? == 1)
    }

    /// Destroys entries of a ledger that were completed before a time, the oldest first and at most `limit`, with their
    /// event; how many they were.
    ///
    /// # Errors
    /// As every statement.
    pub async fn expire_entries(
        &mut self,
        ledger: &str,
        before: DateTime<Utc>,
        limit: i64,
    ) -> Result<usize, StoreError> {
        let head = ledgers::table.find(ledger).select((ledgers::audit_seq, ledgers::audit_hash));
        let (seq, hash): (i64, String) = match self.conn().await? {
            // BEGIN IMMEDIATE locked the whole file already.
            Conn::Sqlite(c) => head.get_result(c.get_mut()).await?,
            Conn::Postgres(c) => head.for_update().get_result(&mut **c).await?,
        };
        let over = erasure_ledger::table
            .filter(erasure_ledger::ledger_id.eq(ledger))
            .filter(erasure_ledger::completed_at.lt(before.naive_utc()))
            .order(erasure_ledger::completed_at)
            .limit(limit)
            .select(erasure_ledger::id);
        let over: Vec<String> = on!(self.conn().await?, |c| over.load(c).await)?;
        let destroy = diesel::delete(erasure_ledger::table)
            .filter(erasure_ledger::id.eq_any(&over))
            // A replay may have moved it since it was read.
            .filter(erasure_ledger::completed_at.lt(before.naive_utc()));
        let destroyed = on!(self.conn().await?, |c| destroy.execute(c).await)?;
        if destroyed > 0 {
            let mut head = ChainHead { seq, hash };
            let event = NewEvent::new(EventName::LedgerExpired, "system", json!({ "entries": destroyed }));
            self.append_to(&ledger::stream(ledger), &mut head, vec![event]).await?;
            let save = diesel::update(ledgers::table.find(ledger))
                .set((ledgers::audit_seq.eq(head.seq), ledgers::audit_hash.eq(head.hash)));
            on!(self.conn().await?, |c| save.execute(c).await)?;
        }
        Ok(destroyed)
    }
}
