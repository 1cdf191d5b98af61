//! Backups: who is verifying one, and what the last verifications came to.

use chrono::{NaiveDateTime, TimeDelta};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use super::{
    Store, StoreError, Tx,
    conn::{Conn, on, read},
    rows::{from_json, from_text, to_json, utc},
    schema::{backup_reports, backups},
};
use crate::domain::{
    audit::{ChainHead, EventName},
    backup::{Reason, Report},
};

/// How long a verification that is not renewed keeps others from beginning one.
pub const LEASE: TimeDelta = TimeDelta::seconds(60);
/// Reports of each backup that are kept.
const KEPT: i64 = 30;

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = backup_reports, treat_none_as_default_value = false)]
struct ReportRow {
    name: String,
    seq: i64,
    ok: bool,
    reasons: String,
    message: Option<String>,
    last_success: Option<NaiveDateTime>,
    retention_days: Option<i32>,
    size: Option<i64>,
    checksum: Option<String>,
    tables: String,
    duration_ms: i64,
    verified_at: NaiveDateTime,
}

impl ReportRow {
    fn of(report: &Report, seq: i64) -> Result<Self, StoreError> {
        Ok(Self {
            name: report.name.clone(),
            seq,
            ok: report.ok,
            reasons: report.reason_words().join(","),
            message: report.message.clone(),
            last_success: report.last_success.map(|at| at.naive_utc()),
            retention_days: report.retention_days,
            size: report.size,
            checksum: report.checksum.clone(),
            tables: to_json(&report.tables)?,
            duration_ms: report.duration_ms,
            verified_at: report.verified_at.naive_utc(),
        })
    }

    fn into_report(self) -> Result<Report, StoreError> {
        let words = self.reasons.split(',').filter(|word| !word.is_empty());
        let reasons = words.map(|word| from_text(&Reason::ALL, Reason::as_str, word, "reasons"));
        let report = Report {
            reasons: reasons.collect::<Result<_, _>>()?,
            name: self.name,
            ok: self.ok,
            message: self.message,
            last_success: utc(self.last_success),
            retention_days: self.retention_days,
            age: None,
            size: self.size,
            checksum: self.checksum,
            tables: from_json(&self.tables)?,
            duration_ms: self.duration_ms,
            verified_at: self.verified_at.and_utc(),
        };
        Ok(report.aged())
    }
}

impl Tx {
    /// Takes a backup for a verification; false when another one is under way.
    ///
    /// # Errors
    /// As every statement.
    pub async fn take_backup(&mut self, name: &str, run: Uuid) -> Result<bool, StoreError> {
        let head = ChainHead::default();
        let first = (
            backups::name.eq(name),
            backups::run_id.eq(None::<String>),
            backups::lease_until.eq(None::<NaiveDateTime>),
            backups::audit_seq.eq(head.seq),
            backups::audit_hash.eq(head.hash),
        );
        let insert = diesel::insert_into(backups::table).values(first).on_conflict_do_nothing();
        on!(self.conn().await?, |c| insert.execute(c).await)?;
        let now = self.clock.now();
        // A lease that ends later than any could was taken before the clock was set back.
        let is_free = backups::lease_until
            .is_null()
            .or(backups::lease_until.le(Some(now.naive_utc())))
            .or(backups::lease_until.gt(Some((now + LEASE + LEASE).naive_utc())));
        let take = diesel::update(backups::table.filter(backups::name.eq(name))).filter(is_free).set((
            backups::run_id.eq(Some(run.to_string())),
            backups::lease_until.eq(Some((now + LEASE).naive_utc())),
        ));
        Ok(on!(self.conn().await?, |c| take.execute(c).await)? == 1)
    }

    /// Keeps a backup for its verification; false when another one has taken it.
    ///
    /// # Errors
    /// As every statement.
    pub async fn keep_backup(&mut self, name: &str, run: Uuid) -> Result<bool, StoreError> {
        let until = (self.clock.now() + LEASE).naive_utc();
        let own = backups::table.filter(backups::name.eq(name).and(backups::run_id.eq(run.to_string())));
        let keep = diesel::update(own).set(backups::lease_until.eq(Some(until)));
        Ok(on!(self.conn().await?, |c| keep.execute(c).await)? == 1)
    }

    /// Writes what a verification came to, with its event and what webhooks are to be told, and gives the backup back.
    ///
    /// # Errors
    /// `LeaseLost` when another verification has taken it.
    pub async fn report_backup(&mut self, report: &Report, run: Uuid, actor: &str) -> Result<(), StoreError> {
        let name = report.name.as_str();
        let own = backups::table
            .filter(backups::name.eq(name).and(backups::run_id.eq(run.to_string())))
            .select((backups::audit_seq, backups::audit_hash));
        let head: Option<(i64, String)> = match self.conn().await? {
            // BEGIN IMMEDIATE locked the whole file already.
            Conn::Sqlite(c) => own.get_result(c.get_mut()).await.optional()?,
            Conn::Postgres(c) => own.for_update().get_result(&mut **c).await.optional()?,
        };
        let Some((seq, hash)) = head else { return Err(StoreError::LeaseLost) };
        let mut head = ChainHead { seq, hash };
        self.append_to(&Report::stream(name), &mut head, vec![report.event(actor)]).await?;
        let row = ReportRow::of(report, head.seq)?;
        on!(self.conn().await?, |c| diesel::insert_into(backup_reports::table).values(row).execute(c).await)?;
        let old = backup_reports::table
            .filter(backup_reports::name.eq(name).and(backup_reports::seq.le(head.seq - KEPT)));
        on!(self.conn().await?, |c| diesel::delete(old).execute(c).await)?;
        let give_back = diesel::update(backups::table.find(name)).set((
            backups::run_id.eq(None::<String>),
            backups::lease_until.eq(None::<NaiveDateTime>),
            backups::audit_seq.eq(head.seq),
            backups::audit_hash.eq(head.hash),
        ));
        on!(self.conn().await?, |c| give_back.execute(c).await)?;
        if !report.ok {
            self.announce(EventName::BackupFailed, &report.news()).await?;
        }
        Ok(())
    }
}

impl Store {
    /// The newest report of every backup that was ever verified, by name.
    ///
    /// # Errors
    /// As every statement.
    pub async fn backup_reports(&self) -> Result<Vec<Report>, StoreError> {
        let newest =
            backup_reports::table
                .inner_join(backups::table.on(
                    backups::name.eq(backup_reports::name).and(backups::audit_seq.eq(backup_reports::seq)),
                ))
                .order(backup_reports::name);
        let rows: Vec<ReportRow> = read!(self, |c| newest.select(ReportRow::as_select()).load(c).await);
        rows.into_iter().map(ReportRow::into_report).collect()
    }

    /// The last reports of one backup, newest first.
    ///
    /// # Errors
    /// As every statement.
    pub async fn backup_history(&self, name: &str) -> Result<Vec<Report>, StoreError> {
        let query = backup_reports::table
            .filter(backup_reports::name.eq(name))
            .order(backup_reports::seq.desc())
            .limit(KEPT);
        let rows: Vec<ReportRow> = read!(self, |c| query.select(ReportRow::as_select()).load(c).await);
        rows.into_iter().map(ReportRow::into_report).collect()
    }
}
