//! Packages of completed exports, and the links that hand them out once.

use chrono::{DateTime, NaiveDateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use super::{
    Store, StoreError, Tx,
    conn::{on, read},
    rows::{utc, uuid},
    schema::{package_links, packages, requests},
};

/// A package; its bytes lie elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    pub request_id: Uuid,
    /// The prefix of its parts in the object store.
    pub place: String,
    /// In bytes, as it is handed out.
    pub size: u64,
    /// Hex.
    pub sha256: String,
    /// To a recipient: its bytes are an age file.
    pub encrypted: bool,
    /// `None` once it has expired.
    pub wrapped_key: Option<Vec<u8>>,
    pub created_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
    pub expired_at: Option<DateTime<Utc>>,
}

impl Package {
    /// False as soon as its time is over, whether that was recorded yet or not.
    #[must_use]
    pub fn is_available(&self, now: DateTime<Utc>) -> bool {
        self.expired_at.is_none() && self.expires_at > now
    }
}

/// What became of an attempt to use a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkUse {
    /// It was good, and is used up by now.
    Taken {
        request_id: Uuid,
        created_by: String,
    },
    /// It was used before, or its time is over.
    Gone,
    Unknown,
}

#[derive(Queryable, Insertable)]
#[diesel(table_name = packages, treat_none_as_default_value = false)]
struct PackageRow {
    request_id: String,
    place: String,
    size: i64,
    sha256: String,
    encrypted: bool,
    wrapped_key: Option<Vec<u8>>,
    created_at: NaiveDateTime,
    expires_at: NaiveDateTime,
    expired_at: Option<NaiveDateTime>,
    removed: bool,
}

impl PackageRow {
    fn of(package: &Package) -> Self {
        Self {
            request_id: package.request_id.to_string(),
            place: package.place.clone(),
            size: i64::try_from(package.size).unwrap_or(i64::MAX),
            sha256: package.sha256.clone(),
            encrypted: package.encrypted,
            wrapped_key: package.wrapped_key.clone(),
            created_at: package.created_at.naive_utc(),
            expires_at: package.expires_at.naive_utc(),
            expired_at: package.expired_at.map(|at| at.naive_utc()),
            removed: false,
        }
    }

    fn into_package(self) -> Result<Package, StoreError> {
        Ok(Package {
            request_id: uuid(&self.request_id)?,
            place: self.place,
            size: u64::try_from(self.size).unwrap_or_default(),
            sha256: self.sha256,
            encrypted: self.encrypted,
            wrapped_key: self.wrapped_key,
            created_at: self.created_at.and_utc(),
            expires_at: self.expires_at.and_utc(),
            expired_at: utc(self.expired_at),
        })
    }
}

impl Store {
    /// The package of a request, once it was completed.
    ///
    /// # Errors
    /// As every statement.
    pub async fn package(&self, request: Uuid) -> Result<Option<Package>, StoreError> {
        let query = packages::table.find(request.to_string()).select(packages::all_columns);
        let row: Option<PackageRow> = read!(self, |c| query.get_result::<PackageRow>(c).await.optional());
        row.map(PackageRow::into_package).transpose()
    }

    /// Requests whose packages' time is over, at most `limit`.
    ///
    /// # Errors
    /// As every statement.
    pub async fn packages_to_expire(&self, limit: i64) -> Result<Vec<Uuid>, StoreError> {
        let now = self.clock().now().naive_utc();
        let ended = requests::table.filter(requests::finished_at.is_not_null()).select(requests::id);
        let due = packages::table
            .filter(packages::expired_at.is_null().and(packages::expires_at.le(now)))
            // One that still waits for people is not handed out yet; its time begins with the end.
            .filter(packages::request_id.eq_any(ended))
            .order(packages::expires_at)
            .limit(limit)
            .select(packages::request_id);
        let ids: Vec<String> = read!(self, |c| due.load(c).await);
        ids.iter().map(|id| uuid(id)).collect()
    }

    /// Expired packages whose parts may still lie in the object store, at most `limit`.
    ///
    /// # Errors
    /// As every statement.
    pub async fn packages_to_remove(&self, limit: i64) -> Result<Vec<Package>, StoreError> {
        let left = packages::table
            .filter(packages::expired_at.is_not_null().and(packages::removed.eq(false)))
            .order(packages::expired_at)
            .limit(limit)
            .select(packages::all_columns);
        let rows: Vec<PackageRow> = read!(self, |c| left.load(c).await);
        rows.into_iter().map(PackageRow::into_package).collect()
    }

    /// True for a link that was ever made.
    ///
    /// # Errors
    /// As every statement.
    pub async fn has_link(&self, hash: &str) -> Result<bool, StoreError> {
        let known = package_links::table.find(hash).count();
        let known: i64 = read!(self, |c| known.get_result(c).await);
        Ok(known > 0)
    }

    /// The request whose package a link would hand out now; the link stays good.
    ///
    /// # Errors
    /// As every statement.
    pub async fn link_target(&self, hash: &str) -> Result<Option<Uuid>, StoreError> {
        let now = self.clock().now().naive_utc();
        let good = package_links::table
            .filter(package_links::hash.eq(hash).and(package_links::used_at.is_null()))
            .filter(package_links::expires_at.gt(now))
            .select(package_links::request_id);
        let id: Option<String> = read!(self, |c| good.get_result(c).await.optional());
        id.as_deref().map(uuid).transpose()
    }
}

impl Tx {
    /// Records a package.
    ///
    /// # Errors
    /// `Internal` when the request has one already.
    pub async fn put_package(&mut self, package: &Package) -> Result<(), StoreError> {
        let insert = diesel::insert_into(packages::table).values(PackageRow::of(package));
        on!(self.conn().await?, |c| insert.execute(c).await)?;
        Ok(())
    }

    /// Gives a package that has not expired another time to do so.
    ///
    /// # Errors
    /// As every statement.
    pub async fn renew_package(
        &mut self,
        request: Uuid,
        expires_at: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let live = packages::table
            .filter(packages::request_id.eq(request.to_string()).and(packages::expired_at.is_null()));
        let renew = diesel::update(live).set(packages::expires_at.eq(expires_at.naive_utc()));
        on!(self.conn().await?, |c| renew.execute(c).await)?;
        Ok(())
    }

    /// Destroys the key of a package whose time is over; false when that was done before.
    ///
    /// # Errors
    /// As every statement.
    pub async fn expire_package(&mut self, request: Uuid, now: DateTime<Utc>) -> Result<bool, StoreError> {
        let due = packages::table.filter(
            packages::request_id
                .eq(request.to_string())
                .and(packages::expired_at.is_null())
                .and(packages::expires_at.le(now.naive_utc())),
        );
        let expire = diesel::update(due)
            .set((packages::wrapped_key.eq(None::<Vec<u8>>), packages::expired_at.eq(Some(now.naive_utc()))));
        Ok(on!(self.conn().await?, |c| expire.execute(c).await)? == 1)
    }

    /// The parts of a package are gone.
    ///
    /// # Errors
    /// As every statement.
    pub async fn package_removed(&mut self, request: Uuid) -> Result<(), StoreError> {
        let removed =
            diesel::update(packages::table.find(request.to_string())).set(packages::removed.eq(true));
        on!(self.conn().await?, |c| removed.execute(c).await)?;
        Ok(())
    }

    /// Records a link by the hash of its secret.
    ///
    /// # Errors
    /// As every statement.
    pub async fn put_link(
        &mut self,
        hash: &str,
        request: Uuid,
        created_by: &str,
        expires_at: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let row = (
            package_links::hash.eq(hash),
            package_links::request_id.eq(request.to_string()),
            package_links::created_by.eq(created_by),
            package_links::expires_at.eq(expires_at.naive_utc()),
        );
        let insert = diesel::insert_into(package_links::table).values(row);
        on!(self.conn().await?, |c| insert.execute(c).await)?;
        Ok(())
    }

    /// Uses a link up; of two who try at once one succeeds.
    ///
    /// # Errors
    /// As every statement.
    pub async fn use_link(&mut self, hash: &str, now: DateTime<Utc>) -> Result<LinkUse, StoreError> {
        let now = now.naive_utc();
        let good = package_links::table.filter(
            package_links::hash
                .eq(hash)
                .and(package_links::used_at.is_null())
                .and(package_links::expires_at.gt(now)),
        );
        let take = diesel::update(good)
            .set(package_links::used_at.eq(Some(now)))
            .returning((package_links::request_id, package_links::created_by));
        let taken: Option<(String, String)> =
            on!(self.conn().await?, |c| take.get_result(c).await.optional())?;
        if let Some((request, created_by)) = taken {
            return Ok(LinkUse::Taken { request_id: uuid(&request)?, created_by });
        }
        let known = package_links::table.find(hash).count();
        let known: i64 = on!(self.conn().await?, |c| known.get_result(c).await)?;
        Ok(if known > 0 { LinkUse::Gone } else { LinkUse::Unknown })
    }
}
