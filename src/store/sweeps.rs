//! What of the service's own is to go because its time is over: see [`Sweep`]. It is looked for outside of a write
//! transaction, which most looks have no need of, and goes in batches, each with its event.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, NaiveDateTime, Utc};
use diesel::{
    dsl::{exists, not},
    prelude::*,
};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

mod months;
mod over;

use over::{
    has_old_key, is_key_of_ended, is_key_of_old, is_reduced, is_sealed, may_be_forgotten, may_be_reduced,
};

use super::{
    Store, StoreError, Tx,
    conn::{Conn, each, on, read},
    rows::{from_json, to_json, utc, uuid},
    schema::{
        consent_keys, hold_refs, holds, idempotency_keys, keeps, package_links, request_keys, request_refs,
        request_secrets, requests, runs, sweeps, swept_requests,
    },
};
use crate::domain::{
    audit::ChainHead,
    pseudonym::Month,
    rectification::Corrected,
    sweep::{Sweep, Swept},
};

/// What is left of a sealed part that has gone where the column is NOT NULL.
const GONE: &[u8] = &[];

/// What has gone of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SweptRequest {
    pub identities_destroyed_at: DateTime<Utc>,
    /// Of a rectification: what other requests of the person have to know of it.
    pub corrected: Option<Corrected>,
    /// When everything else went that leads to a person.
    pub reduced_at: Option<DateTime<Utc>>,
}

/// The ids of what was found to be due.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Due {
    requests: Vec<String>,
    holds: Vec<String>,
    consents: Vec<String>,
    runs: Vec<String>,
    months: Vec<Month>,
}

impl Due {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// # Errors
    /// `Internal` when a row's id is none.
    pub fn requests(&self) -> Result<Vec<Uuid>, StoreError> {
        self.requests.iter().map(|id| uuid(id)).collect()
    }
}

/// Ids that still fit, kept from being changed by others until the transaction ends.
macro_rules! locked {
    ($conn:expr, $query:expr) => {
        match $conn {
            // BEGIN IMMEDIATE locked the whole file already.
            Conn::Sqlite(c) => $query.load::<String>(c.get_mut()).await?,
            // One that somebody is at is left for the next time: waiting could end in a deadlock.
            Conn::Postgres(c) => $query.for_update().skip_locked().load::<String>(&mut **c).await?,
        }
    };
}

/// Requests that something is sealed with, and that are over in this sense, the oldest first. Looked for by what is sealed,
/// because there is less of that than of requests.
macro_rules! sealed {
    ($over:expr, $limit:ident) => {{
        let own = requests::table.filter(requests::id.eq(request_secrets::request_id));
        request_secrets::table
            .filter(exists(own.filter($over)))
            .order(request_secrets::request_id)
            .limit($limit)
            .select(request_secrets::request_id)
    }};
}

/// Deletes the rows of one table that belong to these; how many they were.
macro_rules! delete_of {
    ($conn:expr, $table:ident, $owner:ident, $ids:expr) => {{
        let rows = $table::table.filter($table::$owner.eq_any($ids));
        on!($conn, |c| diesel::delete(rows).execute(c).await)?
    }};
}

impl Store {
    /// What has gone of these requests; those that are whole are absent.
    ///
    /// # Errors
    /// As every statement.
    pub async fn swept_requests(&self, ids: &[Uuid]) -> Result<HashMap<Uuid, SweptRequest>, StoreError> {
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let ids: Vec<String> = ids.iter().map(Uuid::to_string).collect();
        let query = swept_requests::table.filter(swept_requests::request_id.eq_any(&ids));
        type Row = (String, NaiveDateTime, Option<String>, Option<NaiveDateTime>);
        let rows: Vec<Row> = read!(self, |c| query.load(c).await);
        let swept = |(id, destroyed_at, corrected, reduced_at): Row| {
            let swept = SweptRequest {
                identities_destroyed_at: destroyed_at.and_utc(),
                corrected: corrected.as_deref().map(from_json).transpose()?,
                reduced_at: utc(reduced_at),
            };
            Ok((uuid(&id)?, swept))
        };
        rows.into_iter().map(swept).collect()
    }

    /// What ended until `before` and has not gone yet, at most `limit` of each kind, the oldest first.
    ///
    /// # Errors
    /// As every statement.
    pub async fn due(&self, sweep: Sweep, before: DateTime<Utc>, limit: i64) -> Result<Due, StoreError> {
        let mut held = self.reader().await?;
        let conn = &mut held.conn;
        let until = before;
        let before = before.naive_utc();
        let ended_holds = holds::table.filter(holds::ended_at.le(before)).order(holds::id).limit(limit);
        let mut due = Due::default();
        match sweep {
            Sweep::Identities => {
                let sealed = sealed!(may_be_forgotten(before), limit);
                let of_holds = ended_holds.filter(holds::identities_destroyed_at.is_null()).select(holds::id);
                due.requests = on!(conn, |c| sealed.load(c).await)?;
                due.holds = on!(conn, |c| of_holds.load(c).await)?;
            }
            Sweep::Requests => {
                let sealed = sealed!(may_be_reduced(before), limit);
                let own = requests::table.filter(requests::id.eq(swept_requests::request_id));
                let left = swept_requests::table
                    .filter(swept_requests::reduced_at.is_null())
                    .filter(exists(own.filter(may_be_reduced(before))))
                    .order(swept_requests::request_id)
                    .limit(limit)
                    .select(swept_requests::request_id);
                let of_holds = ended_holds.filter(holds::reduced_at.is_null()).select(holds::id);
                due.requests = on!(conn, |c| sealed.load(c).await)?;
                due.requests.extend(on!(conn, |c| left.load::<String>(c).await)?);
                due.holds = on!(conn, |c| of_holds.load(c).await)?;
            }
            Sweep::IdempotencyKeys => {
                let of_requests = idempotency_keys::table
                    .filter(is_key_of_ended(before))
                    .order(idempotency_keys::request_id)
                    .limit(limit)
                    .select(idempotency_keys::request_id);
                let of_consents = consent_keys::table
                    .filter(is_key_of_old(before))
                    .order(consent_keys::consent_id)
                    .limit(limit)
                    .select(consent_keys::consent_id);
                let of_runs = runs::table.filter(has_old_key(before)).limit(limit).select(runs::id);
                due.requests = on!(conn, |c| of_requests.load(c).await)?;
                due.consents = on!(conn, |c| of_consents.load(c).await)?;
                due.runs = on!(conn, |c| of_runs.load(c).await)?;
            }
            Sweep::Pseudonyms => due = months::due(conn, until, limit).await?,
        }
        held.give_back();
        Ok(due)
    }
}

impl Tx {
    /// Has go what was found to be due and still is, with one event. `corrected`: what has to be known of rectifications
    /// whose identities go. Nothing is left to do where another process was faster.
    ///
    /// # Errors
    /// As every statement.
    pub async fn sweep(
        &mut self,
        sweep: Sweep,
        due: &Due,
        corrected: &[(Uuid, Corrected)],
        before: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<Swept, StoreError> {
        let mut head = self.own_sweep(sweep).await?;
        let times = (before.naive_utc(), now.naive_utc());
        let mut months = Vec::new();
        let swept = match sweep {
            Sweep::Identities => Swept {
                requests: self.forget_requests(&due.requests, corrected, times).await?,
                holds: self.forget_holds(&due.holds, times).await?,
                ..Swept::default()
            },
            Sweep::Requests => self.reduce(due, times).await?,
            Sweep::IdempotencyKeys => {
                Swept { idempotency_keys: self.forget_keys(due, times.0).await?, ..Swept::default() }
            }
            Sweep::Pseudonyms => {
                let reduced = self.reduce(due, times).await?;
                months = self.destroy_months(&due.months, now).await?;
                Swept { months: months.len(), ..reduced }
            }
        };
        if !swept.is_nothing() {
            self.append_to(&sweep.stream(), &mut head, vec![swept.event(sweep, before, &months)]).await?;
            let chain = diesel::update(sweeps::table.find(sweep.as_str()))
                .set((sweeps::audit_seq.eq(head.seq), sweeps::audit_hash.eq(head.hash)));
            on!(self.conn().await?, |c| chain.execute(c).await)?;
        }
        Ok(swept)
    }

    /// Where the chain of a sweep stands. No other process removes anything until this transaction ends: two kinds of sweep
    /// may be after the same rows, and only lock what they do not change.
    async fn own_sweep(&mut self, sweep: Sweep) -> Result<ChainHead, StoreError> {
        each!(&*self.conn().await?, Sweep::ALL, |sweep| {
            let head = ChainHead::default();
            let first = (
                sweeps::name.eq(sweep.as_str()),
                sweeps::audit_seq.eq(head.seq),
                sweeps::audit_hash.eq(head.hash),
            );
            diesel::insert_into(sweeps::table).values(first).on_conflict_do_nothing()
        });
        let all = sweeps::table.order(sweeps::name);
        let rows: Vec<(String, i64, String)> = match self.conn().await? {
            // BEGIN IMMEDIATE locked the whole file already.
            Conn::Sqlite(c) => all.load(c.get_mut()).await?,
            Conn::Postgres(c) => all.for_update().load(&mut **c).await?,
        };
        let own = rows.into_iter().find(|(name, ..)| name == sweep.as_str());
        let (_, seq, hash) = own.ok_or_else(|| StoreError::internal("a sweep has no row"))?;
        Ok(ChainHead { seq, hash })
    }

    /// Destroys what is sealed with requests.
    async fn forget_requests(
        &mut self,
        due: &[String],
        corrected: &[(Uuid, Corrected)],
        (before, now): (NaiveDateTime, NaiveDateTime),
    ) -> Result<usize, StoreError> {
        let still = requests::table
            .filter(requests::id.eq_any(due))
            .filter(may_be_forgotten(before).and(is_sealed()))
            .select(requests::id);
        let conn = self.conn().await?;
        let ids = locked!(conn, still);
        let waiting = keeps::table.filter(keeps::request_id.eq_any(&ids)).select(keeps::request_id);
        let waiting: HashSet<String> = on!(conn, |c| waiting.load::<String>(c).await)?.into_iter().collect();
        let (waiting, over): (Vec<&String>, Vec<&String>) = ids.iter().partition(|id| waiting.contains(*id));
        delete_of!(conn, request_secrets, request_id, &over);
        delete_of!(conn, request_keys, request_id, &over);
        let asked = request_secrets::table.filter(request_secrets::request_id.eq_any(&waiting));
        let forget = diesel::update(asked).set(request_secrets::confidential.eq(GONE.to_vec()));
        on!(conn, |c| forget.execute(c).await)?;
        let kept: HashMap<String, String> = corrected
            .iter()
            .map(|(id, corrected)| Ok((id.to_string(), to_json(corrected)?)))
            .collect::<Result<_, StoreError>>()?;
        let kept = &kept;
        each!(&*conn, &ids, |id| {
            let row = (
                swept_requests::request_id.eq(id),
                swept_requests::identities_destroyed_at.eq(now),
                swept_requests::corrected.eq(kept.get(id)),
            );
            // Those that kept rows come twice.
            diesel::insert_into(swept_requests::table).values(row).on_conflict_do_nothing()
        });
        Ok(ids.len())
    }

    async fn forget_holds(
        &mut self,
        due: &[String],
        (before, now): (NaiveDateTime, NaiveDateTime),
    ) -> Result<usize, StoreError> {
        let still = holds::table
            .filter(holds::id.eq_any(due).and(holds::ended_at.le(before)))
            .filter(holds::identities_destroyed_at.is_null())
            .select(holds::id);
        let conn = self.conn().await?;
        let ids = locked!(conn, still);
        let forget = diesel::update(holds::table.filter(holds::id.eq_any(&ids))).set((
            holds::wrapped_key.eq(GONE.to_vec()),
            holds::confidential.eq(GONE.to_vec()),
            holds::identities_destroyed_at.eq(Some(now)),
        ));
        Ok(on!(conn, |c| forget.execute(c).await)?)
    }

    /// Takes from requests and holds what else leads to a person.
    async fn reduce(
        &mut self,
        due: &Due,
        times: (NaiveDateTime, NaiveDateTime),
    ) -> Result<Swept, StoreError> {
        let (before, now) = times;
        let conn = self.conn().await?;
        let still = requests::table
            .filter(requests::id.eq_any(&due.requests))
            .filter(may_be_reduced(before).and(not(is_reduced())))
            .select(requests::id);
        let ids = locked!(conn, still);
        delete_of!(conn, request_refs, request_id, &ids);
        delete_of!(conn, package_links, request_id, &ids);
        let idempotency_keys = delete_of!(conn, idempotency_keys, request_id, &ids);
        self.forget_requests(&ids, &[], times).await?;
        let unname = diesel::update(requests::table.filter(requests::id.eq_any(&ids)))
            .set((requests::external_id.eq(None::<String>), requests::subject_ref.eq(None::<String>)));
        on!(self.conn().await?, |c| unname.execute(c).await)?;
        let of_requests = swept_requests::table.filter(swept_requests::request_id.eq_any(&ids));
        let reduce = diesel::update(of_requests)
            .set((swept_requests::corrected.eq(None::<String>), swept_requests::reduced_at.eq(Some(now))));
        on!(self.conn().await?, |c| reduce.execute(c).await)?;
        let conn = self.conn().await?;
        let still = holds::table
            .filter(holds::id.eq_any(&due.holds).and(holds::ended_at.le(before)))
            .filter(holds::reduced_at.is_null())
            .select(holds::id);
        let of_holds = locked!(conn, still);
        delete_of!(conn, hold_refs, hold_id, &of_holds);
        self.forget_holds(&of_holds, times).await?;
        let reduce = diesel::update(holds::table.filter(holds::id.eq_any(&of_holds)))
            .set(holds::reduced_at.eq(Some(now)));
        on!(self.conn().await?, |c| reduce.execute(c).await)?;
        Ok(Swept { requests: ids.len(), holds: of_holds.len(), idempotency_keys, ..Swept::default() })
    }

    async fn forget_keys(&mut self, due: &Due, before: NaiveDateTime) -> Result<usize, StoreError> {
        let conn = self.conn().await?;
        let of_requests = idempotency_keys::table
            .filter(idempotency_keys::request_id.eq_any(&due.requests).and(is_key_of_ended(before)));
        let of_consents = consent_keys::table
            .filter(consent_keys::consent_id.eq_any(&due.consents).and(is_key_of_old(before)));
        let of_runs = diesel::update(runs::table)
            .filter(runs::id.eq_any(&due.runs).and(has_old_key(before)))
            .set(runs::idempotency_key.eq(None::<String>));
        let requests = on!(conn, |c| diesel::delete(of_requests).execute(c).await)?;
        let consents = on!(conn, |c| diesel::delete(of_consents).execute(c).await)?;
        let runs = on!(conn, |c| of_runs.execute(c).await)?;
        Ok(requests + consents + runs)
    }
}
