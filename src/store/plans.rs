//! Registered plans: the current version of each, and every version that ever was.

use chrono::{DateTime, NaiveDateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde_json::json;

use super::{
    Store, StoreError, Tx,
    conn::{Conn, on, read},
    schema::{plan_versions, plans},
};
use crate::domain::audit::{ChainHead, EventName, NewEvent};

/// A plan to register.
#[derive(Debug, Clone, Copy)]
pub struct NewPlan<'a> {
    pub name: &'a str,
    /// `sha256:…`
    pub version: &'a str,
    /// The plan file's text.
    pub source: &'a str,
    /// The compiled plan as JSON.
    pub compiled: &'a str,
}

/// A registered version, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanVersion {
    pub name: String,
    pub version: String,
    /// When this version was registered first; of a current plan: when it became the current one.
    pub registered_at: DateTime<Utc>,
    pub source: String,
    /// The compiled plan as JSON.
    pub compiled: String,
}

type VersionRow = (String, String, NaiveDateTime, String, String);

fn version((name, version, registered_at, source, compiled): VersionRow) -> PlanVersion {
    PlanVersion { name, version, registered_at: registered_at.and_utc(), source, compiled }
}

impl Store {
    /// Name and current version of every plan that was ever registered.
    ///
    /// # Errors
    /// As every statement.
    pub async fn plans_registered(&self) -> Result<Vec<(String, String)>, StoreError> {
        let all = plans::table.order(plans::name).select((plans::name, plans::version));
        Ok(read!(self, |c| all.load(c).await))
    }

    /// The current version of a plan.
    ///
    /// # Errors
    /// As every statement.
    pub async fn plan_current(&self, name: &str) -> Result<Option<PlanVersion>, StoreError> {
        let query = plans::table
            .inner_join(
                plan_versions::table
                    .on(plan_versions::name.eq(plans::name).and(plan_versions::version.eq(plans::version))),
            )
            .filter(plans::name.eq(name))
            .select((
                plans::name,
                plans::version,
                plans::registered_at,
                plans::source,
                plan_versions::compiled,
            ));
        let row: Option<VersionRow> = read!(self, |c| query.get_result(c).await.optional());
        Ok(row.map(version))
    }

    /// One version of a plan: what a worker runs a pinned request from.
    ///
    /// # Errors
    /// As every statement.
    pub async fn plan_version(&self, name: &str, of: &str) -> Result<Option<PlanVersion>, StoreError> {
        let query = plan_versions::table.find((name, of));
        let row: Option<VersionRow> = read!(self, |c| query.get_result(c).await.optional());
        Ok(row.map(version))
    }
}

impl Tx {
    /// Makes this version the plan's current one, with the event `plan.registered`; false when it is already.
    /// The first registration of a version keeps its source text and compiled plan for good.
    ///
    /// # Errors
    /// As every statement.
    pub async fn register_plan(&mut self, plan: NewPlan<'_>, actor: &str) -> Result<bool, StoreError> {
        let now = self.clock.now().naive_utc();
        let kept = (
            plan_versions::name.eq(plan.name),
            plan_versions::version.eq(plan.version),
            plan_versions::registered_at.eq(now),
            plan_versions::source.eq(plan.source),
            plan_versions::compiled.eq(plan.compiled),
        );
        let keep = diesel::insert_into(plan_versions::table).values(kept).on_conflict_do_nothing();
        on!(self.conn().await?, |c| keep.execute(c).await)?;

        let (current, mut head) = self.own_plan(plan, now).await?;
        if head.seq > 0 && current == plan.version {
            // Comments may have changed: the text shown is the file's.
            let same = diesel::update(plans::table.find(plan.name)).set(plans::source.eq(plan.source));
            on!(self.conn().await?, |c| same.execute(c).await)?;
            return Ok(false);
        }
        let details = json!({ "plan": plan.name, "version": plan.version });
        let event = NewEvent::new(EventName::PlanRegistered, actor, details);
        self.append_to(&format!("plan:{}", plan.name), &mut head, vec![event]).await?;
        let update = diesel::update(plans::table.find(plan.name)).set((
            plans::version.eq(plan.version),
            plans::registered_at.eq(now),
            plans::source.eq(plan.source),
            plans::audit_seq.eq(head.seq),
            plans::audit_hash.eq(&head.hash),
        ));
        on!(self.conn().await?, |c| update.execute(c).await)?;
        Ok(true)
    }

    /// Locks the plan's row, made if it is the first version, and reads its version and head. Several processes
    /// register the same plans at the same start.
    async fn own_plan(
        &mut self,
        plan: NewPlan<'_>,
        now: NaiveDateTime,
    ) -> Result<(String, ChainHead), StoreError> {
        let head = ChainHead::default();
        let first = (
            plans::name.eq(plan.name),
            plans::version.eq(plan.version),
            plans::registered_at.eq(now),
            plans::source.eq(plan.source),
            plans::audit_seq.eq(head.seq),
            plans::audit_hash.eq(head.hash),
        );
        let insert = diesel::insert_into(plans::table).values(first).on_conflict_do_nothing();
        on!(self.conn().await?, |c| insert.execute(c).await)?;
        let row = plans::table.find(plan.name).select((plans::version, plans::audit_seq, plans::audit_hash));
        let (version, seq, hash): (String, i64, String) = match self.conn().await? {
            // BEGIN IMMEDIATE locked the whole file already.
            Conn::Sqlite(c) => row.get_result(c.get_mut()).await?,
            Conn::Postgres(c) => row.for_update().get_result(&mut **c).await?,
        };
        Ok((version, ChainHead { seq, hash }))
    }
}
