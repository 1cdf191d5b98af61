//! Legal holds. Placing one and resolving a person exclude each other on PostgreSQL by an advisory lock, on SQLite by
//! there being one writer: either the resolution sees the hold, or the hold finds the resolved request.

use chrono::{DateTime, NaiveDateTime, Utc};
use diesel::prelude::*;
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use uuid::Uuid;

use super::{
    StoreError, Tx,
    conn::{Conn, each, on, shared},
    rows::{from_text, utc, uuid},
    schema::{hold_refs, holds, request_refs, requests},
    submission::NewSecrets,
    tx::sorted,
};
use crate::domain::{
    audit::{ChainHead, NewEvent},
    clock::Clock,
    hold::{Ended, Ground, Hold, Scope},
    pseudonym::PeriodKeys,
    request::{Request, Status},
};

mod reads;

/// Any number that no other program is likely to lock.
const EXCLUDE_RESOLUTIONS: &str = "SELECT pg_advisory_xact_lock(7161743655132)";
const EXCLUDE_PLACEMENTS: &str = "SELECT pg_advisory_xact_lock_shared(7161743655132)";

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = holds, treat_none_as_default_value = false)]
struct HoldRow {
    id: String,
    plan: String,
    scope: String,
    held_table: Option<String>,
    ground: String,
    placed_by: String,
    placed_at: NaiveDateTime,
    expires_at: Option<NaiveDateTime>,
    ended_by: Option<String>,
    ended_at: Option<NaiveDateTime>,
    identities_destroyed_at: Option<NaiveDateTime>,
    reduced_at: Option<NaiveDateTime>,
    audit_seq: i64,
    audit_hash: String,
}

impl HoldRow {
    fn of(hold: &Hold) -> Self {
        Self {
            id: hold.id.to_string(),
            plan: hold.plan.clone(),
            scope: hold.scope.as_str().to_owned(),
            held_table: hold.table.clone(),
            ground: hold.ground.as_str().to_owned(),
            placed_by: hold.placed_by.clone(),
            placed_at: hold.placed_at.naive_utc(),
            expires_at: hold.expires_at.map(|at| at.naive_utc()),
            ended_by: hold.ended.as_ref().map(|ended| ended.by.clone()),
            ended_at: hold.ended.as_ref().map(|ended| ended.at.naive_utc()),
            identities_destroyed_at: hold.identities_destroyed_at.map(|at| at.naive_utc()),
            reduced_at: hold.reduced_at.map(|at| at.naive_utc()),
            audit_seq: hold.head.seq,
            audit_hash: hold.head.hash.clone(),
        }
    }

    fn into_hold(self) -> Result<Hold, StoreError> {
        Ok(Hold {
            id: uuid(&self.id)?,
            plan: self.plan,
            scope: from_text(&Scope::ALL, Scope::as_str, &self.scope, "scope")?,
            table: self.held_table,
            ground: from_text(&Ground::ALL, Ground::as_str, &self.ground, "ground")?,
            placed_by: self.placed_by,
            placed_at: self.placed_at.and_utc(),
            expires_at: utc(self.expires_at),
            ended: self.ended_by.zip(utc(self.ended_at)).map(|(by, at)| Ended { by, at }),
            identities_destroyed_at: utc(self.identities_destroyed_at),
            reduced_at: utc(self.reduced_at),
            head: ChainHead { seq: self.audit_seq, hash: self.audit_hash },
        })
    }
}

/// A wrapped data key, and what is sealed under it.
type Sealed = (Vec<u8>, Vec<u8>);

/// A hold with what belongs to it.
pub struct WholeHold {
    pub hold: Hold,
    /// `None` once they were destroyed.
    pub secrets: Option<NewSecrets>,
    /// Identities and shown pseudonyms, by identity name.
    pub refs: Vec<(String, String)>,
}

impl WholeHold {
    fn of(
        row: HoldRow,
        (wrapped_key, confidential): Sealed,
        refs: Vec<(String, String)>,
    ) -> Result<Self, StoreError> {
        let hold = row.into_hold()?;
        let is_sealed = hold.identities_destroyed_at.is_none();
        let secrets = is_sealed.then_some(NewSecrets { wrapped_key, confidential });
        Ok(Self { hold, secrets, refs })
    }
}

/// Keeps holds from being placed until the transaction ends, so that what it reads of them stays true. Asked for before
/// anything else: who places a hold locks requests afterwards.
pub(super) async fn exclude_placements(conn: &Conn) -> Result<(), StoreError> {
    match conn {
        Conn::Postgres(c) => Ok((&mut &**c).batch_execute(EXCLUDE_PLACEMENTS).await?),
        Conn::Sqlite(_) => Ok(()),
    }
}

/// An active hold that covers this request of the person with these pseudonyms.
pub(super) async fn hold_on(
    conn: &Conn,
    clock: Clock,
    request: &Request,
    pseudonyms: &[&str],
) -> Result<Option<Uuid>, StoreError> {
    let known = hold_refs::table.filter(hold_refs::pseudonym.eq_any(pseudonyms)).select(hold_refs::hold_id);
    let found = holds::table.filter(holds::ended_at.is_null().and(holds::id.eq_any(known))).order(holds::id);
    let rows: Vec<HoldRow> = shared!(conn, |c| found.select(HoldRow::as_select()).load(c).await)?;
    let now = clock.now();
    for row in rows {
        let hold = row.into_hold()?;
        if hold.is_active(now) && hold.covers(request.kind, &request.plan, &request.steps) {
            return Ok(Some(hold.id));
        }
    }
    Ok(None)
}

async fn put_hold_refs(
    conn: &Conn,
    id: &str,
    placed_at: DateTime<Utc>,
    refs: &[(String, String)],
    keys: &PeriodKeys,
) -> Result<(), StoreError> {
    each!(conn, refs, |named| {
        let row = (
            hold_refs::hold_id.eq(id),
            hold_refs::identity.eq(&named.0),
            hold_refs::pseudonym.eq(&named.1),
            hold_refs::shown.eq(keys.shown(placed_at, &named.1)),
        );
        diesel::insert_into(hold_refs::table).values(row).on_conflict_do_nothing()
    });
    Ok(())
}

impl Tx {
    /// True while this hold has not ended; it stays so until this transaction ends.
    ///
    /// # Errors
    /// As every statement.
    pub async fn is_held_by(&mut self, id: Uuid) -> Result<bool, StoreError> {
        exclude_placements(self.conn().await?).await?;
        Ok(self.lock_hold(id).await?.is_some_and(|whole| whole.hold.is_active(self.clock.now())))
    }

    /// Inserts a hold with its event, and has every resolved request heed it that it covers and that has not ended.
    ///
    /// # Errors
    /// As every statement.
    pub async fn place_hold(
        &mut self,
        hold: &mut Hold,
        event: NewEvent,
        secrets: &NewSecrets,
        refs: &[(String, String)],
        keys: &PeriodKeys,
    ) -> Result<(), StoreError> {
        if let conn @ Conn::Postgres(_) = self.conn().await? {
            conn.batch(EXCLUDE_RESOLUTIONS).await?;
        }
        let stream = hold.stream();
        self.append_to(&stream, &mut hold.head, vec![event]).await?;
        let text = hold.id.to_string();
        let id = text.as_str();
        let row = (
            HoldRow::of(hold),
            holds::wrapped_key.eq(&secrets.wrapped_key),
            holds::confidential.eq(&secrets.confidential),
        );
        let conn = self.conn().await?;
        on!(conn, |c| diesel::insert_into(holds::table).values(row).execute(c).await)?;
        put_hold_refs(conn, id, hold.placed_at, refs, keys).await?;
        for mut request in self.resolved_requests_of(refs).await? {
            if !hold.covers(request.kind, &request.plan, &request.steps) {
                continue;
            }
            if request.is_left_to_people() {
                // No worker comes by to heed it.
                let event = request.held(hold.id, &hold.placed_by);
                self.write(&mut request, vec![event]).await?;
            } else {
                let heed = diesel::update(requests::table.find(request.id.to_string()))
                    .set(requests::hold_id.eq(Some(id)));
                on!(self.conn().await?, |c| heed.execute(c).await)?;
            }
        }
        Ok(())
    }

    /// Has every hold that knows the person by one of these pseudonyms know the new ones as well: an identity that
    /// changes must not lead around a hold.
    ///
    /// # Errors
    /// As every statement.
    pub async fn widen_holds(
        &mut self,
        refs: &[(String, String)],
        new: &[(String, String)],
        keys: &PeriodKeys,
    ) -> Result<(), StoreError> {
        let conn = self.conn().await?;
        exclude_placements(conn).await?;
        let known =
            hold_refs::table.filter(hold_refs::pseudonym.eq_any(sorted(refs))).select(hold_refs::hold_id);
        let known = holds::table.filter(holds::id.eq_any(known)).select((holds::id, holds::placed_at));
        let known: Vec<(String, NaiveDateTime)> = shared!(conn, |c| known.load(c).await)?;
        for (id, placed_at) in &known {
            put_hold_refs(conn, id, placed_at.and_utc(), new, keys).await?;
        }
        Ok(())
    }

    /// Has the holds that know a person by pseudonyms which stay forget those that are given up: these may be somebody
    /// else's soon. One that knows nothing else keeps them.
    ///
    /// # Errors
    /// As every statement.
    pub async fn narrow_holds(
        &mut self,
        given_up: &[(String, String)],
        staying: &[(String, String)],
    ) -> Result<(), StoreError> {
        let conn = self.conn().await?;
        let known = hold_refs::table.filter(hold_refs::pseudonym.eq_any(sorted(staying)));
        let ids: Vec<String> = shared!(conn, |c| known.select(hold_refs::hold_id).distinct().load(c).await)?;
        let forgotten = hold_refs::table
            .filter(hold_refs::hold_id.eq_any(ids).and(hold_refs::pseudonym.eq_any(sorted(given_up))));
        shared!(conn, |c| diesel::delete(forgotten).execute(c).await)?;
        Ok(())
    }

    /// A hold, kept from being changed by others until this transaction ends.
    ///
    /// # Errors
    /// As every statement.
    pub async fn lock_hold(&mut self, id: Uuid) -> Result<Option<WholeHold>, StoreError> {
        let text = id.to_string();
        let query = holds::table.find(&text);
        let secrets = (holds::wrapped_key, holds::confidential);
        let found: Option<(HoldRow, Sealed)> = match self.conn().await? {
            Conn::Sqlite(c) => {
                query.select((HoldRow::as_select(), secrets)).get_result(c.get_mut()).await.optional()?
            }
            Conn::Postgres(c) => {
                let query = query.select((HoldRow::as_select(), secrets)).for_update();
                query.get_result(&mut **c).await.optional()?
            }
        };
        let Some((row, sealed)) = found else { return Ok(None) };
        let refs = hold_refs::table
            .filter(hold_refs::hold_id.eq(&text))
            .filter(hold_refs::shown.is_not_null())
            .order((hold_refs::identity, hold_refs::pseudonym))
            .select((hold_refs::identity, hold_refs::shown.assume_not_null()));
        let refs = on!(self.conn().await?, |c| refs.load(c).await)?;
        WholeHold::of(row, sealed, refs).map(Some)
    }

    /// Writes the end of a hold with its event, and lets go what it kept; those requests, as they then are.
    ///
    /// # Errors
    /// As every statement.
    pub async fn end_hold(
        &mut self,
        hold: &mut Hold,
        event: NewEvent,
        actor: &str,
    ) -> Result<Vec<Request>, StoreError> {
        let stream = hold.stream();
        self.append_to(&stream, &mut hold.head, vec![event]).await?;
        let id = hold.id.to_string();
        let row = HoldRow::of(hold);
        let end = diesel::update(holds::table.find(&id)).set((
            holds::ended_by.eq(row.ended_by),
            holds::ended_at.eq(row.ended_at),
            holds::audit_seq.eq(row.audit_seq),
            holds::audit_hash.eq(row.audit_hash),
        ));
        on!(self.conn().await?, |c| end.execute(c).await)?;
        let kept = requests::table.filter(requests::hold_id.eq(&id)).select(requests::id).order(requests::id);
        let kept: Vec<String> = on!(self.conn().await?, |c| kept.load(c).await)?;
        let mut released = Vec::new();
        for request in &kept {
            let Some(mut request) = self.lock_request(uuid(request)?).await? else { continue };
            let forget = diesel::update(requests::table.find(request.id.to_string()))
                .set(requests::hold_id.eq(None::<String>));
            on!(self.conn().await?, |c| forget.execute(c).await)?;
            // One that a worker holds did not stop yet, and will not.
            if let Some(event) = request.released(actor, self.clock.now()) {
                self.write(&mut request, vec![event]).await?;
                released.push(request);
            }
        }
        Ok(released)
    }

    async fn resolved_requests_of(&mut self, refs: &[(String, String)]) -> Result<Vec<Request>, StoreError> {
        let pseudonyms: Vec<&str> = refs.iter().map(|(_, pseudonym)| pseudonym.as_str()).collect();
        let known = request_refs::table
            .filter(request_refs::pseudonym.eq_any(pseudonyms))
            .select(request_refs::request_id);
        let open = requests::table
            .filter(requests::id.eq_any(known))
            .filter(requests::finished_at.is_null().and(requests::resolved.eq(true)))
            .filter(requests::status.ne(Status::OnHold.as_str()))
            .select(requests::id);
        let ids: Vec<String> = on!(self.conn().await?, |c| open.load(c).await)?;
        let mut found = Vec::new();
        for id in &ids {
            found.extend(self.lock_request(uuid(id)?).await?);
        }
        Ok(found)
    }
}
