//! Readings of consents: their history and where it stands.

use std::collections::HashMap;

use chrono::{DateTime, NaiveDateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use super::{ConsentRow, known_by};
use crate::{
    domain::{consent::Consent, pseudonym::Ref},
    store::{
        NewSecrets, Store, StoreError,
        conn::{on, read},
        rows::uuid,
        schema::{consent_keys, consent_refs, consents},
    },
};

/// Which consents; `None` does not restrict.
#[derive(Debug, Clone, Default)]
pub struct ConsentFilter {
    /// Of a person: that one of these pseudonyms is known of.
    pub subject_refs: Option<Vec<String>>,
    pub purpose: Option<String>,
    pub recorded_by: Option<String>,
}

/// A consent with what belongs to it.
pub struct WholeConsent {
    pub consent: Consent,
    /// `None` once the person was erased.
    pub secrets: Option<NewSecrets>,
    /// The pseudonyms that lead to it, by identity name.
    pub refs: Vec<Ref>,
}

impl Store {
    /// A page of consents, the latest act first and of two at the same time the one that was recorded later.
    ///
    /// # Errors
    /// As every statement.
    pub async fn consents(
        &self,
        filter: &ConsentFilter,
        after: Option<(DateTime<Utc>, Uuid)>,
        limit: i64,
    ) -> Result<Vec<WholeConsent>, StoreError> {
        let mut held = self.reader().await?;
        let rows: Vec<ConsentRow> = on!(&mut held.conn, |c, Db| {
            let mut query = consents::table.select(ConsentRow::as_select()).into_boxed::<Db>();
            if let Some(refs) = &filter.subject_refs {
                let refs = refs.iter().map(String::as_str).collect();
                query = query.filter(consents::id.eq_any(known_by(refs)));
            }
            if let Some(purpose) = &filter.purpose {
                query = query.filter(consents::purpose.eq(purpose));
            }
            if let Some(recorded_by) = &filter.recorded_by {
                query = query.filter(consents::recorded_by.eq(recorded_by));
            }
            if let Some((at, id)) = after {
                let (at, id) = (at.naive_utc(), id.to_string());
                query = query.filter(consents::at.le(at)).filter(consents::at.lt(at).or(consents::id.lt(id)));
            }
            query.order((consents::at.desc(), consents::id.desc())).limit(limit).load(c).await
        })?;
        held.give_back();
        self.with_refs(rows).await
    }

    /// The last act of a person for each purpose, by purpose.
    ///
    /// # Errors
    /// As every statement.
    pub async fn current_consents(&self, subject_refs: &[String]) -> Result<Vec<WholeConsent>, StoreError> {
        let refs = subject_refs.iter().map(String::as_str).collect();
        let all = consents::table
            .filter(consents::id.eq_any(known_by(refs)))
            .order((consents::purpose, consents::at.desc(), consents::id.desc()))
            .select((consents::id, consents::purpose, consents::at));
        let mut acts: Vec<(String, String, NaiveDateTime)> = read!(self, |c| all.load(c).await);
        acts.dedup_by(|later, first| later.1 == first.1);
        let ids: Vec<String> = acts.into_iter().map(|(id, ..)| id).collect();
        let last = consents::table.filter(consents::id.eq_any(&ids)).order(consents::purpose);
        let rows: Vec<ConsentRow> = read!(self, |c| last.select(ConsentRow::as_select()).load(c).await);
        self.with_refs(rows).await
    }

    /// One consent.
    ///
    /// # Errors
    /// As every statement.
    pub async fn consent(&self, id: Uuid) -> Result<Option<WholeConsent>, StoreError> {
        let query = consents::table.find(id.to_string());
        let row: Option<ConsentRow> =
            read!(self, |c| query.select(ConsentRow::as_select()).get_result(c).await.optional());
        Ok(self.with_refs(row.into_iter().collect()).await?.pop())
    }

    /// The consent that this principal recorded with this key, and the fingerprint of its body.
    ///
    /// # Errors
    /// As every statement.
    pub async fn find_idempotent_consent(
        &self,
        recorded_by: &str,
        key: &str,
    ) -> Result<Option<(Uuid, String)>, StoreError> {
        let query = consent_keys::table
            .find((recorded_by, key))
            .select((consent_keys::consent_id, consent_keys::fingerprint));
        let row: Option<(String, String)> = read!(self, |c| query.get_result(c).await.optional());
        row.map(|(id, fingerprint)| Ok((uuid(&id)?, fingerprint))).transpose()
    }

    async fn with_refs(&self, rows: Vec<ConsentRow>) -> Result<Vec<WholeConsent>, StoreError> {
        let ids: Vec<&str> = rows.iter().map(|row| row.id.as_str()).collect();
        let known = consent_refs::table
            .filter(consent_refs::consent_id.eq_any(ids))
            .filter(consent_refs::given_up_at.is_null())
            .order((consent_refs::consent_id, consent_refs::identity))
            .select((
                consent_refs::consent_id,
                consent_refs::identity,
                consent_refs::pseudonym,
                consent_refs::shown,
            ));
        let known: Vec<(String, String, String, Option<String>)> = read!(self, |c| known.load(c).await);
        let mut refs: HashMap<String, Vec<Ref>> = HashMap::new();
        for (id, identity, compared, shown) in known {
            refs.entry(id).or_default().push(Ref { identity, compared, shown });
        }
        rows.into_iter()
            .map(|row| {
                let refs = refs.remove(&row.id).unwrap_or_default();
                let (consent, secrets) = row.into_consent()?;
                Ok(WholeConsent { consent, secrets, refs })
            })
            .collect()
    }
}
