//! Consents. Whoever records one of a person and whoever erases that person exclude each other: either the erasure sees
//! the consent, or the consent the erasure. On PostgreSQL by advisory locks on the pseudonyms, on SQLite by there being
//! one writer.

mod reads;

use chrono::NaiveDateTime;
use diesel::{
    dsl::max,
    prelude::*,
    sql_types::{Array, Text},
};
use diesel_async::RunQueryDsl;
use futures::try_join;
use uuid::Uuid;

pub use reads::{ConsentFilter, WholeConsent};

use super::{
    StoreError, Tx,
    conn::{Conn, each, shared},
    prepared::Prepared,
    rows::{from_text, uuid},
    schema::{consent_keys, consent_refs, consents, request_refs, requests},
    statements::{chain, insert_events},
    submission::NewSecrets,
    tx::sorted,
};
use crate::domain::{
    audit::ChainHead,
    consent::{Consent, ConsentState, ShownText, Source},
    pseudonym::PeriodKeys,
    rectification::Identities,
    request::{Kind, Status},
};

/// In the order of their keys, so that two transactions never wait for each other. Any number that no other program is
/// likely to lock; two persons with the same key wait for each other in vain, and no harm is done.
const EXCLUDE: &str = "SELECT pg_advisory_xact_lock(716174365, key) FROM \
     (SELECT DISTINCT hashtext(ref) AS key FROM unnest($1) AS given (ref) ORDER BY 1) AS known";
const EXCLUDE_OF_REQUEST: &str = "SELECT pg_advisory_xact_lock(716174365, key) FROM \
     (SELECT DISTINCT hashtext(ref) AS key FROM request_refs WHERE request_id = $1 ORDER BY 1) AS known";

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = consents, treat_none_as_default_value = false)]
struct ConsentRow {
    id: String,
    plan: String,
    purpose: String,
    state: String,
    text_version: String,
    text_hash: String,
    source: String,
    at: NaiveDateTime,
    recorded_by: String,
    recorded_at: NaiveDateTime,
    wrapped_key: Option<Vec<u8>>,
    confidential: Option<Vec<u8>>,
    audit_seq: i64,
    audit_hash: String,
}

impl ConsentRow {
    fn of(consent: &Consent, secrets: Option<&NewSecrets>) -> Self {
        Self {
            id: consent.id.to_string(),
            plan: consent.plan.clone(),
            purpose: consent.purpose.clone(),
            state: consent.state.as_str().to_owned(),
            text_version: consent.text.version.clone(),
            text_hash: consent.text.hash.clone(),
            source: consent.source.as_str().to_owned(),
            at: consent.at.naive_utc(),
            recorded_by: consent.recorded_by.clone(),
            recorded_at: consent.recorded_at.naive_utc(),
            wrapped_key: secrets.map(|secrets| secrets.wrapped_key.clone()),
            confidential: secrets.map(|secrets| secrets.confidential.clone()),
            audit_seq: consent.head.seq,
            audit_hash: consent.head.hash.clone(),
        }
    }

    fn into_consent(self) -> Result<(Consent, Option<NewSecrets>), StoreError> {
        let secrets = self.wrapped_key.zip(self.confidential);
        let consent = Consent {
            id: uuid(&self.id)?,
            plan: self.plan,
            purpose: self.purpose,
            state: from_text(&ConsentState::ALL, ConsentState::as_str, &self.state, "state")?,
            text: ShownText { version: self.text_version, hash: self.text_hash },
            source: from_text(&Source::ALL, Source::as_str, &self.source, "source")?,
            at: self.at.and_utc(),
            recorded_by: self.recorded_by,
            recorded_at: self.recorded_at.and_utc(),
            head: ChainHead { seq: self.audit_seq, hash: self.audit_hash },
        };
        Ok((consent, secrets.map(|(wrapped_key, confidential)| NewSecrets { wrapped_key, confidential })))
    }
}

/// A consent to record, with what belongs to it.
pub struct NewConsent<'a> {
    pub consent: Consent,
    pub secrets: NewSecrets,
    /// Identities and pseudonyms.
    pub refs: &'a [(String, String)],
    /// Under which they are shown.
    pub keys: &'a PeriodKeys,
    /// The key and the body's fingerprint.
    pub idempotency: Option<(&'a str, &'a str)>,
}

/// How [`Tx::record_consent`] went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recorded {
    Whole(Consent),
    /// The person was erased since they did it: nothing was sealed.
    Pseudonymised(Consent),
    /// The key was used by this principal before; the transaction is to be rolled back.
    IdempotencyConflict,
}

/// The consents that are known by one of these pseudonyms.
pub(super) fn known_by(pseudonyms: Vec<&str>) -> KnownBy<'_> {
    consent_refs::table
        .filter(consent_refs::pseudonym.eq_any(pseudonyms))
        .filter(consent_refs::given_up_at.is_null())
        .select(consent_refs::consent_id)
}

pub(super) type KnownBy<'a> = diesel::dsl::Select<
    diesel::dsl::Filter<
        diesel::dsl::Filter<consent_refs::table, diesel::dsl::EqAny<consent_refs::pseudonym, Vec<&'a str>>>,
        diesel::dsl::IsNull<consent_refs::given_up_at>,
    >,
    consent_refs::consent_id,
>;

async fn exclude(conn: &Conn, pseudonyms: &[&str]) -> Result<(), StoreError> {
    if let Conn::Postgres(c) = conn {
        let exclude = Prepared(diesel::sql_query(EXCLUDE).bind::<Array<Text>, _>(pseudonyms));
        exclude.execute(&mut &**c).await?;
    }
    Ok(())
}

async fn exclude_of_request(conn: &Conn, id: &str) -> Result<(), StoreError> {
    if let Conn::Postgres(c) = conn {
        let exclude = Prepared(diesel::sql_query(EXCLUDE_OF_REQUEST).bind::<Text, _>(id));
        exclude.execute(&mut &**c).await?;
    }
    Ok(())
}

/// The greatest id and the latest act among what is recorded of the person.
async fn latest(
    conn: &Conn,
    pseudonyms: Vec<&str>,
) -> Result<(Option<String>, Option<NaiveDateTime>), StoreError> {
    let of_person = consents::table.filter(consents::id.eq_any(known_by(pseudonyms)));
    Ok(shared!(conn, |c| of_person.select((max(consents::id), max(consents::at))).get_result(c).await)?)
}

/// True when an erasure of the person has ended at that time or later.
async fn was_erased_since(conn: &Conn, pseudonyms: &[&str], at: NaiveDateTime) -> Result<bool, StoreError> {
    let of_person = request_refs::table
        .filter(request_refs::pseudonym.eq_any(pseudonyms))
        .select(request_refs::request_id);
    let erasures = requests::table
        .filter(requests::id.eq_any(of_person).and(requests::finished_at.ge(at)))
        .filter(
            requests::kind.eq(Kind::Erasure.as_str()).and(requests::status.eq(Status::Completed.as_str())),
        )
        .count();
    let found: i64 = shared!(conn, |c| erasures.get_result(c).await)?;
    Ok(found > 0)
}

async fn put_consent_refs(
    conn: &Conn,
    id: &str,
    refs: &[(String, String)],
    shown: impl Fn(&str) -> Option<String>,
) -> Result<(), StoreError> {
    let shown = &shown;
    each!(conn, refs, |named| {
        let row = (
            consent_refs::consent_id.eq(id),
            consent_refs::identity.eq(&named.0),
            consent_refs::pseudonym.eq(&named.1),
            consent_refs::shown.eq(shown(&named.1)),
        );
        diesel::insert_into(consent_refs::table)
            .values(row)
            .on_conflict((consent_refs::consent_id, consent_refs::identity, consent_refs::pseudonym))
            .do_update()
            .set(consent_refs::given_up_at.eq(None::<NaiveDateTime>))
    });
    Ok(())
}

/// Takes the principal's key; false when it was used before.
async fn take_key(
    conn: &Conn,
    consent: &Consent,
    idempotency: Option<(&str, &str)>,
) -> Result<bool, StoreError> {
    let Some((key, fingerprint)) = idempotency else { return Ok(true) };
    let row = (
        consent_keys::recorded_by.eq(&consent.recorded_by),
        consent_keys::key.eq(key),
        consent_keys::fingerprint.eq(fingerprint),
        consent_keys::consent_id.eq(consent.id.to_string()),
    );
    let insert = diesel::insert_into(consent_keys::table).values(row).on_conflict_do_nothing();
    Ok(shared!(conn, |c| insert.execute(c).await)? == 1)
}

/// Gives a consent its place behind those that are recorded of the person. Other processes' clocks may be ahead: an act
/// of this moment is later than all before, and so is its id.
fn put_last(consent: &mut Consent, id: Option<String>, at: Option<NaiveDateTime>) -> Result<(), StoreError> {
    if let Some(id) = id {
        let next = Uuid::from_u128(uuid(&id)?.as_u128().saturating_add(1));
        consent.id = consent.id.max(next);
    }
    if let Some(at) = at.filter(|_| consent.at == consent.recorded_at) {
        consent.at = consent.at.max(at.and_utc());
    }
    Ok(())
}

impl Tx {
    /// Records a consent with its event. Its id may change before: see [`Consent::id`].
    ///
    /// # Errors
    /// As every statement.
    pub async fn record_consent(&mut self, new: NewConsent<'_>) -> Result<Recorded, StoreError> {
        let NewConsent { mut consent, secrets, refs, keys, idempotency } = new;
        let pseudonyms = sorted(refs);
        let clock = self.clock;
        let (conn, start) = self.opening();
        let ((), (), (id, at), was_erased) = try_join!(
            conn.start(start),
            exclude(conn, &pseudonyms),
            latest(conn, pseudonyms.clone()),
            was_erased_since(conn, &pseudonyms, consent.at.naive_utc())
        )?;
        put_last(&mut consent, id, at)?;
        let recorded_at = consent.recorded_at;
        let shown = |pseudonym: &str| keys.shown_of_consent(recorded_at, pseudonym);
        let event = consent.recorded(refs.first().and_then(|(_, pseudonym)| shown(pseudonym)));
        let events = chain(clock, &consent.stream(), &mut consent.head, vec![event])?;
        let row = ConsentRow::of(&consent, (!was_erased).then_some(&secrets));
        let text = consent.id.to_string();
        let insert = async {
            shared!(conn, |c| diesel::insert_into(consents::table).values(&row).execute(c).await)?;
            Ok(())
        };
        let (is_first, ..) = try_join!(
            take_key(conn, &consent, idempotency),
            insert,
            put_consent_refs(conn, &text, refs, shown),
            insert_events(conn, &events)
        )?;
        Ok(match (is_first, was_erased) {
            (false, _) => Recorded::IdempotencyConflict,
            (true, true) => Recorded::Pseudonymised(consent),
            (true, false) => Recorded::Whole(consent),
        })
    }

    /// Destroys what is sealed with the consents of a request's person; of how many. It errs towards erasing: an address
    /// that has changed hands counts for both.
    ///
    /// # Errors
    /// As every statement.
    pub async fn pseudonymise_consents(&mut self, request: Uuid) -> Result<usize, StoreError> {
        let id = request.to_string();
        let of_person =
            request_refs::table.filter(request_refs::request_id.eq(&id)).select(request_refs::pseudonym);
        let known = consent_refs::table
            .filter(consent_refs::pseudonym.eq_any(of_person))
            .filter(consent_refs::given_up_at.is_null())
            .select(consent_refs::consent_id);
        let sealed =
            consents::table.filter(consents::id.eq_any(known)).filter(consents::wrapped_key.is_not_null());
        let nothing = (consents::wrapped_key.eq(None::<Vec<u8>>), consents::confidential.eq(None::<Vec<u8>>));
        let destroy = Prepared(diesel::update(sealed).set(nothing));
        let (conn, start) = self.opening();
        let destroy = async { Ok(shared!(conn, |c| destroy.execute(c).await)?) };
        let ((), (), destroyed) = try_join!(conn.start(start), exclude_of_request(conn, &id), destroy)?;
        Ok(destroyed)
    }

    /// Has the consents of a person be found by the identities that a correction has given them, and no more by those that
    /// are given up: these may be somebody else's soon. Once it is done, unlike holds: until then the new ones may be
    /// somebody else's.
    ///
    /// # Errors
    /// As every statement.
    pub async fn move_consents(
        &mut self,
        identities: &Identities,
        keys: &PeriodKeys,
    ) -> Result<(), StoreError> {
        let Identities { before, after, copies_before, copies_after } = identities;
        let now = self.clock.now().naive_utc();
        let conn = &*self.conn().await?;
        for (before, after) in [(before, after), (copies_before, copies_after)] {
            if before == after {
                continue;
            }
            let pseudonyms = sorted(before);
            exclude(conn, &pseudonyms).await?;
            let known = known_by(pseudonyms).distinct();
            let ids: Vec<String> = shared!(conn, |c| known.load(c).await)?;
            // Those alone: what a consent knew of another row stays to tell that an address has changed hands.
            let gained: Vec<_> = after.iter().filter(|new| !before.contains(new)).cloned().collect();
            for id in &ids {
                put_consent_refs(conn, id, &gained, |pseudonym| keys.shown_last(pseudonym)).await?;
            }
            let staying = sorted(after);
            let given_up: Vec<&str> =
                sorted(before).into_iter().filter(|old| !staying.contains(old)).collect();
            let given_up = consent_refs::table
                .filter(consent_refs::consent_id.eq_any(ids))
                .filter(consent_refs::pseudonym.eq_any(given_up));
            let give_up = diesel::update(given_up).set(consent_refs::given_up_at.eq(Some(now)));
            shared!(conn, |c| give_up.execute(c).await)?;
        }
        Ok(())
    }
}
