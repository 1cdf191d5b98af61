//! Write transactions: requests and their audit events, which commit together or not at all.

use std::{sync::Arc, time::Duration};

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use futures::try_join;
use uuid::Uuid;

use super::{
    SHORT, Store, StoreError, Writers,
    conn::{Conn, shared},
    group_commit::Member,
    holds::{exclude_placements, hold_on},
    keeps,
    outbox::Announcement,
    pool::Held,
    prepared::Prepared,
    rows::{RequestRow, StateRow},
    schema::requests,
    statements::{chain, insert_events, lock, open, put_refs, release, save, unlock},
    tx_keys::{delete_keys, put_keys},
};
use crate::domain::{
    audit::{ChainHead, NewEvent},
    clock::Clock,
    pseudonym::PeriodKeys,
    request::{Places, Request},
};

/// A write transaction. Dropping it, also by cancelling the future that owns it, takes back what it did.
pub struct Tx {
    session: Session,
    pub(super) clock: Clock,
    pub(super) endpoints: Arc<[String]>,
    /// How it will be started, until that is done. PostgreSQL is told with the first statement, and saves a round
    /// trip where that is a reading.
    pub(super) start: Option<&'static str>,
}

enum Session {
    Sqlite(Member),
    /// Closed when dropped; only [`Tx::commit`] and [`Tx::rollback`] hand it back to its pool.
    Postgres(Held),
}

/// What a save found in the row that its caller may not know yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// Somebody asked to cancel while the request was being worked on.
    pub cancelled_by: Option<String>,
    /// A legal hold was placed while the request was being worked on.
    pub hold: Option<Uuid>,
}

/// What came of taking a person's locks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    All,
    /// Another request of this person has one of them.
    Busy,
    /// A legal hold keeps the request from going on.
    Held(Uuid),
}

impl Store {
    /// Starts a write transaction.
    ///
    /// # Errors
    /// `Busy` when another process kept SQLite's write lock for 5 s, `Unavailable` when those before took 10 s.
    pub async fn begin(&self) -> Result<Tx, StoreError> {
        self.begin_within(Some(SHORT)).await
    }

    /// As [`begin`](Self::begin), with as much time for the whole transaction on PostgreSQL.
    ///
    /// # Errors
    /// As that.
    pub(super) async fn begin_within(&self, limit: Option<Duration>) -> Result<Tx, StoreError> {
        let (session, start) = match &self.inner.writers {
            Writers::One(writer) => (Session::Sqlite(writer.begin().await?), None),
            Writers::Many(pool) => {
                (Session::Postgres(pool.get(limit).await?), Some("BEGIN ISOLATION LEVEL READ COMMITTED"))
            }
            Writers::None => return Err(StoreError::internal("the store is open for reading only")),
        };
        Ok(Tx { session, clock: self.clock(), endpoints: self.endpoints.clone(), start })
    }
}

impl Tx {
    /// # Errors
    /// `Unavailable` when the session was lost; the commit may have happened all the same.
    pub async fn commit(self) -> Result<(), StoreError> {
        match self.session {
            Session::Sqlite(member) => member.commit().await,
            Session::Postgres(held) => end(held, self.start, "COMMIT").await,
        }
    }

    /// # Errors
    /// When the session was lost: the database then rolls back by itself.
    pub async fn rollback(self) -> Result<(), StoreError> {
        match self.session {
            Session::Sqlite(member) => member.rollback().await,
            Session::Postgres(held) => end(held, self.start, "ROLLBACK").await,
        }
    }

    /// The connection, and how the transaction is to be started along with the first statements.
    pub(super) fn opening(&mut self) -> (&Conn, Option<&'static str>) {
        let start = self.start.take();
        let conn = match &self.session {
            Session::Sqlite(member) => member.conn(),
            Session::Postgres(held) => &held.conn,
        };
        (conn, start)
    }

    /// The connection, inside the transaction.
    pub(super) async fn conn(&mut self) -> Result<&mut Conn, StoreError> {
        if let Some(start) = self.start {
            self.unstarted().batch(start).await?;
            self.start = None;
        }
        Ok(self.unstarted())
    }

    /// The connection, for a statement that starts the transaction along with it: see [`Conn::opening`].
    pub(super) fn unstarted(&mut self) -> &mut Conn {
        match &mut self.session {
            Session::Sqlite(member) => member.conn_mut(),
            Session::Postgres(held) => &mut held.conn,
        }
    }

    /// What a resolution found out, in one round trip: [`take_locks`](Self::take_locks),
    /// [`add_refs`](Self::add_refs) and [`put_keys`](Self::put_keys). Unless all of it was done, the transaction must be
    /// rolled back.
    ///
    /// # Errors
    /// As every statement.
    pub async fn take_person(
        &mut self,
        request: &Request,
        refs: &[(String, String)],
        keys: &PeriodKeys,
        sealed: &[(String, Vec<u8>)],
        places: &Places,
    ) -> Result<Taken, StoreError> {
        let id = request.id.to_string();
        let pseudonyms = sorted(refs);
        let clock = self.clock;
        let (conn, start) = self.opening();
        let ((), (), taken, (), _, (), hold) = try_join!(
            conn.start(start),
            exclude_placements(conn),
            lock(conn, &id, &pseudonyms),
            put_refs(conn, request, refs, keys),
            // Another open request of the same person, given by another identity, keeps its place: the two run one
            // after the other.
            open(conn, request, &id, places),
            put_keys(conn, &id, sealed),
            hold_on(conn, clock, request, &pseudonyms)
        )?;
        Ok(match hold {
            Some(hold) => Taken::Held(hold),
            None if self.has_turn(request, taken, &pseudonyms).await? => Taken::All,
            None => Taken::Busy,
        })
    }

    /// Reads a request and keeps everybody else from changing it until the transaction ends.
    ///
    /// # Errors
    /// As every statement.
    pub async fn lock_request(&mut self, id: Uuid) -> Result<Option<Request>, StoreError> {
        let query = requests::table.find(id.to_string());
        let start = self.start;
        let row: Option<RequestRow> = match self.unstarted() {
            // BEGIN IMMEDIATE locked the whole file already, and SQLite has no FOR UPDATE.
            Conn::Sqlite(c) => {
                query.select(RequestRow::as_select()).get_result(c.get_mut()).await.optional()?
            }
            Conn::Postgres(c) => {
                let query = query.select(RequestRow::as_select()).for_update();
                Conn::opening(c, start, query.get_result(&mut &**c)).await?.optional()?
            }
        };
        self.start = None;
        row.map(RequestRow::into_request).transpose()
    }

    /// Writes the whole row. `lease_until` is only ever cleared here (renewals set it), and `cancelled_by` stays
    /// as it is in the row unless the state names somebody or is an end.
    ///
    /// # Errors
    /// `LeaseLost` when another claim has raised the epoch since.
    pub async fn save(&mut self, request: &Request) -> Result<Saved, StoreError> {
        save(self.conn().await?, request).await
    }

    /// Writes a claim, or the end of a request that cannot be claimed any more, with its events: the one place that
    /// raises the epoch, over a row that this transaction has locked.
    pub(super) async fn raise_epoch(
        &mut self,
        request: &mut Request,
        events: Vec<NewEvent>,
        cancelled_by: Option<&str>,
    ) -> Result<(), StoreError> {
        let announcement = Announcement::of(&self.endpoints, self.clock, request, &events);
        let events = chain(self.clock, &request.stream(), &mut request.head, events)?;
        let before = request.epoch;
        request.epoch += 1;
        let same_claim = requests::id.eq(request.id.to_string()).and(requests::epoch.eq(before));
        let row = StateRow::of(request)?;
        let update = Prepared(diesel::update(requests::table.filter(same_claim)).set((
            &row,
            requests::epoch.eq(request.epoch),
            requests::lease_until.eq(request.lease_until.map(|at| at.naive_utc())),
            requests::cancelled_by.eq(cancelled_by),
        )));
        let conn = &*self.conn().await?;
        let raise = async { Ok(shared!(conn, |c| update.execute(c).await)?) };
        match try_join!(insert_events(conn, &events), raise, announcement.write(conn))? {
            ((), 0, ()) => Err(StoreError::LeaseLost),
            _ => Ok(()),
        }
    }

    /// Chains events to the request's stream and moves the head in memory; the caller saves it with the request.
    ///
    /// # Errors
    /// `Internal` when the head is not the stream's last event: somebody else has written meanwhile.
    pub async fn append(&mut self, request: &mut Request, events: Vec<NewEvent>) -> Result<(), StoreError> {
        let announcement = Announcement::of(&self.endpoints, self.clock, request, &events);
        let stream = request.stream();
        self.append_to(&stream, &mut request.head, events).await?;
        announcement.write(self.conn().await?).await
    }

    pub(super) async fn append_to(
        &mut self,
        stream: &str,
        head: &mut ChainHead,
        events: Vec<NewEvent>,
    ) -> Result<(), StoreError> {
        let rows = chain(self.clock, stream, head, events)?;
        insert_events(self.conn().await?, &rows).await
    }

    /// What a worker did, in one round trip: [`append`](Self::append), [`save`](Self::save), and where the request has
    /// ended, what [`release`](Self::release) and [`delete_keys`](Self::delete_keys) do. One that is left to people gives
    /// back the person's locks alone: others of the person run meanwhile.
    ///
    /// # Errors
    /// As those.
    pub async fn write(&mut self, request: &mut Request, events: Vec<NewEvent>) -> Result<Saved, StoreError> {
        let announcement = Announcement::of(&self.endpoints, self.clock, request, &events);
        let events = chain(self.clock, &request.stream(), &mut request.head, events)?;
        let (id, status) = (request.id.to_string(), request.status());
        let is_left_to_people = request.is_left_to_people();
        let (conn, start) = self.opening();
        let release = async {
            match status.is_end() {
                true => release(conn, &id).await,
                false if is_left_to_people => unlock(conn, &id).await,
                false => Ok(()),
            }
        };
        let destroy = async {
            match status.destroys_keys() && request.keep_until().is_none() {
                true => delete_keys(conn, &id, "").await,
                false => Ok(()),
            }
        };
        // Saved first: to who lost the lease that is the failure to tell, not the place in the chain that another took.
        let ((), saved, ..) = try_join!(
            conn.start(start),
            save(conn, request),
            insert_events(conn, &events),
            release,
            destroy,
            keeps::put(conn, request),
            announcement.write(conn)
        )?;
        Ok(saved)
    }
}

async fn end(mut held: Held, start: Option<&str>, how: &str) -> Result<(), StoreError> {
    // Not started as far as is known: closing the connection is the end in any case.
    if start.is_none() {
        held.conn.batch(how).await?;
        held.give_back();
    }
    Ok(())
}

/// The pseudonyms, each once, in an order that is the same in every transaction.
pub(super) fn sorted(refs: &[(String, String)]) -> Vec<&str> {
    let mut refs: Vec<&str> = refs.iter().map(|(_, pseudonym)| pseudonym.as_str()).collect();
    refs.sort_unstable();
    refs.dedup();
    refs
}
