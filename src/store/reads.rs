//! Readings of requests.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use diesel::{dsl::auto_type, prelude::*};
use diesel_async::RunQueryDsl;
use futures::try_join;
use uuid::Uuid;

use super::{
    Store, StoreError,
    conn::{on, read, shared},
    rows::{RequestRow, uuid},
    schema::{idempotency_keys, request_refs, request_secrets, requests},
    tx::sorted,
};
use crate::domain::{
    pseudonym::Ref,
    request::{Kind, Outcome, Request, Status},
};

/// The answering of a replay's request. In a value of it the quotes would be escaped.
pub(super) const OF_REPLAYS: &str = r#"%"replay":{%"#;

/// Which requests a list holds; empty lists and `None` do not restrict.
#[derive(Debug, Clone, Default)]
pub struct RequestFilter {
    pub status: Vec<Status>,
    pub kind: Vec<Kind>,
    pub outcome: Vec<Outcome>,
    pub plan: Option<String>,
    pub external_id: Option<String>,
    /// What this principal has asked for, without the replays that runs of theirs have made.
    pub created_by: Option<String>,
    /// Not answered and past its due time, or not.
    pub overdue: Option<bool>,
    /// Of a person: that one of these pseudonyms is known of.
    pub subject_refs: Option<Vec<String>>,
    /// Due strictly before.
    pub due_before: Option<DateTime<Utc>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sort {
    /// Newest first.
    #[default]
    Created,
    /// The most urgent first.
    Due,
}

/// One page of a list; the position is that of the last item of the page before.
#[derive(Debug, Clone)]
pub struct Page {
    pub limit: i64,
    pub sort: Sort,
    /// `created_at` or `due_at`, by `sort`, and the id.
    pub after: Option<(DateTime<Utc>, Uuid)>,
}

/// A request and what belongs to it.
pub struct Whole {
    pub request: Request,
    /// The wrapped data key and what is sealed under it.
    pub secrets: Option<(Vec<u8>, Vec<u8>)>,
    /// By identity name.
    pub refs: Vec<Ref>,
}

/// Restricts a boxed query. A macro, because the two boxed types share no trait that one function could name.
macro_rules! filtered {
    ($query:expr, $filter:ident, $now:ident) => {{
        let mut query = $query;
        if !$filter.status.is_empty() {
            query = query.filter(requests::status.eq_any($filter.status.iter().map(|s| s.as_str())));
        }
        if !$filter.kind.is_empty() {
            query = query.filter(requests::kind.eq_any($filter.kind.iter().map(|k| k.as_str())));
        }
        if !$filter.outcome.is_empty() {
            query = query.filter(requests::outcome.eq_any($filter.outcome.iter().map(|o| o.as_str())));
        }
        if let Some(plan) = &$filter.plan {
            query = query.filter(requests::plan.eq(plan));
        }
        if let Some(external_id) = &$filter.external_id {
            query = query.filter(requests::external_id.eq(external_id));
        }
        if let Some(created_by) = &$filter.created_by {
            query = query.filter(requests::created_by.eq(created_by));
            query = query.filter(requests::answering.not_like(OF_REPLAYS));
        }
        if let Some(before) = $filter.due_before {
            query = query.filter(requests::due_at.lt(before.naive_utc()));
        }
        if let Some(refs) = &$filter.subject_refs {
            let known = request_refs::table
                .filter(request_refs::pseudonym.eq_any(refs))
                .select(request_refs::request_id);
            query = query.filter(requests::id.eq_any(known));
        }
        query = match $filter.overdue {
            Some(true) => query.filter(requests::answered_at.is_null().and(requests::due_at.lt($now))),
            Some(false) => query.filter(requests::answered_at.is_not_null().or(requests::due_at.ge($now))),
            None => query,
        };
        query
    }};
}

/// Orders a boxed query and starts it behind the page before.
macro_rules! placed {
    ($query:expr, $page:ident) => {{
        let mut query = $query;
        // The first condition bounds the index range, the second leaves out the part before the position.
        if let Some((at, id)) = $page.after {
            let (at, id) = (at.naive_utc(), id.to_string());
            query = match $page.sort {
                Sort::Created => query
                    .filter(requests::created_at.le(at))
                    .filter(requests::created_at.lt(at).or(requests::id.lt(id))),
                Sort::Due => query
                    .filter(requests::due_at.ge(at))
                    .filter(requests::due_at.gt(at).or(requests::id.gt(id))),
            };
        }
        match $page.sort {
            Sort::Created => query.order((requests::created_at.desc(), requests::id.desc())),
            Sort::Due => query.order((requests::due_at.asc(), requests::id.asc())),
        }
    }};
}

/// Identity, and its pseudonym as it is compared and as it is shown.
type RefRow = (String, String, Option<String>);

fn known((identity, compared, shown): RefRow) -> Ref {
    Ref { identity, compared, shown }
}

/// What is known of the person of one request, by identity name.
#[auto_type(no_type_alias)]
fn refs_of_one(id: &str) -> _ {
    request_refs::table.filter(request_refs::request_id.eq(id)).order(request_refs::identity).select((
        request_refs::identity,
        request_refs::pseudonym,
        request_refs::shown,
    ))
}

/// What is sealed with one request.
#[auto_type(no_type_alias)]
fn secrets_of_one(id: &str) -> _ {
    request_secrets::table.find(id).select((request_secrets::wrapped_key, request_secrets::confidential))
}

/// The requests that are known by one of these pseudonyms.
fn known_by(pseudonyms: Vec<&str>) -> KnownBy<'_> {
    request_refs::table.filter(request_refs::pseudonym.eq_any(pseudonyms)).select(request_refs::request_id)
}

type KnownBy<'a> = diesel::dsl::Select<
    diesel::dsl::Filter<request_refs::table, diesel::dsl::EqAny<request_refs::pseudonym, Vec<&'a str>>>,
    request_refs::request_id,
>;

impl Store {
    /// One request.
    ///
    /// # Errors
    /// As every statement.
    pub async fn request(&self, id: Uuid) -> Result<Option<Request>, StoreError> {
        let query = requests::table.find(id.to_string());
        let row: Option<RequestRow> =
            read!(self, |c| query.select(RequestRow::as_select()).get_result(c).await.optional());
        row.map(RequestRow::into_request).transpose()
    }

    /// True when other requests, of any state, are known to be of this person.
    ///
    /// # Errors
    /// As every statement.
    pub async fn has_other_requests(&self, id: Uuid, refs: &[(String, String)]) -> Result<bool, StoreError> {
        let others = known_by(sorted(refs)).filter(request_refs::request_id.ne(id.to_string())).limit(1);
        let found: Vec<String> = read!(self, |c| others.load(c).await);
        Ok(!found.is_empty())
    }

    /// Rectifications of this person, of any state, the last one first.
    ///
    /// # Errors
    /// As every statement.
    pub async fn rectifications_of(&self, refs: &[(String, String)]) -> Result<Vec<Request>, StoreError> {
        let all = requests::table
            .filter(requests::id.eq_any(known_by(sorted(refs))))
            .filter(requests::kind.eq(Kind::Rectification.as_str()))
            .order(requests::id.desc());
        let rows: Vec<RequestRow> = read!(self, |c| all.select(RequestRow::as_select()).load(c).await);
        rows.into_iter().map(RequestRow::into_request).collect()
    }

    /// The first request of this person that was submitted before that one and may still look for the person. One that
    /// is left to people does not.
    ///
    /// # Errors
    /// As every statement.
    pub async fn open_before(&self, id: Uuid, refs: &[(String, String)]) -> Result<Option<Uuid>, StoreError> {
        let older = requests::table
            .filter(requests::id.eq_any(known_by(sorted(refs))).and(requests::id.lt(id.to_string())))
            .filter(requests::finished_at.is_null())
            .order(requests::id);
        let rows: Vec<RequestRow> = read!(self, |c| older.select(RequestRow::as_select()).load(c).await);
        for row in rows {
            let request = row.into_request()?;
            if !request.is_left_to_people() {
                return Ok(Some(request.id));
            }
        }
        Ok(None)
    }

    /// Name and version of every plan that an open request pins.
    ///
    /// # Errors
    /// As every statement.
    pub async fn plans_at_work(&self) -> Result<Vec<(String, String)>, StoreError> {
        let pinned = requests::table
            .filter(requests::finished_at.is_null())
            .select((requests::plan, requests::plan_version))
            .distinct();
        Ok(read!(self, |c| pinned.load(c).await))
    }

    /// One request with what is sealed with it and its refs, in one round trip.
    ///
    /// # Errors
    /// As every statement.
    pub async fn whole(&self, id: Uuid) -> Result<Option<Whole>, StoreError> {
        let text = id.to_string();
        let request = requests::table.find(&text);
        let (secrets, refs) = (secrets_of_one(&text), refs_of_one(&text));
        let held = self.lookup().await?;
        let conn = &held.conn;
        let request = async {
            let row: Option<RequestRow> =
                shared!(conn, |c| request.select(RequestRow::as_select()).get_result(c).await.optional())?;
            Ok::<_, StoreError>(row)
        };
        let secrets = async { Ok(shared!(conn, |c| secrets.get_result(c).await.optional())?) };
        let refs = async { Ok(shared!(conn, |c| refs.load::<RefRow>(c).await)?) };
        let (request, secrets, refs) = try_join!(request, secrets, refs)?;
        held.give_back();
        let Some(row) = request else { return Ok(None) };
        let refs = refs.into_iter().map(known).collect();
        Ok(Some(Whole { request: row.into_request()?, secrets, refs }))
    }

    /// A page of requests; each costs the same however deep it lies.
    ///
    /// # Errors
    /// As every statement.
    pub async fn list(&self, filter: &RequestFilter, page: &Page) -> Result<Vec<Request>, StoreError> {
        let now = self.clock().now().naive_utc();
        let mut held = self.reader().await?;
        let rows: Vec<RequestRow> = on!(&mut held.conn, |c, Db| {
            let query = requests::table.select(RequestRow::as_select()).into_boxed::<Db>();
            let query = placed!(filtered!(query, filter, now), page);
            query.limit(page.limit).load(c).await
        })?;
        held.give_back();
        rows.into_iter().map(RequestRow::into_request).collect()
    }

    /// What is known of a request's person, by identity name.
    ///
    /// # Errors
    /// As every statement.
    pub async fn refs(&self, id: Uuid) -> Result<Vec<Ref>, StoreError> {
        let id = id.to_string();
        let rows: Vec<RefRow> = read!(self, |c| refs_of_one(&id).load(c).await);
        Ok(rows.into_iter().map(known).collect())
    }

    /// [`Store::refs`] of a page of requests in one query; those without any are absent.
    ///
    /// # Errors
    /// As every statement.
    pub async fn refs_of(&self, ids: &[Uuid]) -> Result<HashMap<Uuid, Vec<Ref>>, StoreError> {
        let ids: Vec<String> = ids.iter().map(Uuid::to_string).collect();
        let query = request_refs::table
            .filter(request_refs::request_id.eq_any(&ids))
            .order((request_refs::request_id, request_refs::identity))
            .select((
                request_refs::request_id,
                (request_refs::identity, request_refs::pseudonym, request_refs::shown),
            ));
        let rows: Vec<(String, RefRow)> = read!(self, |c| query.load(c).await);
        let mut refs: HashMap<Uuid, Vec<Ref>> = HashMap::new();
        for (id, row) in rows {
            refs.entry(uuid(&id)?).or_default().push(known(row));
        }
        Ok(refs)
    }

    /// The wrapped data key and what is sealed under it.
    ///
    /// # Errors
    /// As every statement.
    pub async fn confidential(&self, id: Uuid) -> Result<Option<(Vec<u8>, Vec<u8>)>, StoreError> {
        let id = id.to_string();
        Ok(read!(self, |c| secrets_of_one(&id).get_result(c).await.optional()))
    }

    /// [`Store::confidential`] of a page of requests in one query.
    ///
    /// # Errors
    /// As every statement.
    pub async fn confidential_of(
        &self,
        ids: &[Uuid],
    ) -> Result<HashMap<Uuid, (Vec<u8>, Vec<u8>)>, StoreError> {
        let ids: Vec<String> = ids.iter().map(Uuid::to_string).collect();
        let query = request_secrets::table.filter(request_secrets::request_id.eq_any(&ids));
        let rows: Vec<(String, Vec<u8>, Vec<u8>)> = read!(self, |c| query.load(c).await);
        rows.into_iter().map(|(id, wrapped, sealed)| Ok((uuid(&id)?, (wrapped, sealed)))).collect()
    }

    /// The request that this principal made with this key, and the fingerprint of its body.
    ///
    /// # Errors
    /// As every statement.
    pub async fn find_idempotent(
        &self,
        created_by: &str,
        key: &str,
    ) -> Result<Option<(Uuid, String)>, StoreError> {
        let query = idempotency_keys::table
            .find((created_by, key))
            .select((idempotency_keys::request_id, idempotency_keys::fingerprint));
        let row: Option<(String, String)> = read!(self, |c| query.get_result(c).await.optional());
        row.map(|(id, fingerprint)| Ok((uuid(&id)?, fingerprint))).transpose()
    }
}
