//! What a replay run has to do, and what became of it.

use chrono::{DateTime, Utc};
use diesel::{
    dsl::{count_star, exists, not},
    prelude::*,
    sql_types::{Bool, Nullable, Text},
};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use super::{
    Store, StoreError, Tx,
    conn::{on, read},
    ledger::from,
    rows::{from_text, uuid},
    schema::{erasure_ledger, replays, requests},
};
use crate::domain::{
    replay::{Fate, Item, NotSubmitted, Progress},
    request::{Kind, NEVER, Outcome, Status},
    run::Run,
};

/// Columns of `replays`, and status and outcome of its request.
type ItemRow =
    ((String, String, String, String, Option<String>, Option<String>), Option<String>, Option<String>);

fn item(((run, entry, erasure, plan, request, code), status, outcome): ItemRow) -> Result<Item, StoreError> {
    let stands = status.as_deref().map(|status| stands(status, outcome.as_deref())).transpose()?;
    let fate = match (request, code) {
        (Some(request), _) => Fate::Submitted(uuid(&request)?, stands),
        (None, Some(code)) => Fate::NotSubmitted(why(&code)?),
        (None, None) => Fate::Pending,
    };
    Ok(Item { run: uuid(&run)?, entry: uuid(&entry)?, erasure: uuid(&erasure)?, plan, fate })
}

fn stands(status: &str, outcome: Option<&str>) -> Result<(Status, Option<Outcome>), StoreError> {
    let outcome = outcome.map(|text| from_text(&Outcome::ALL, Outcome::as_str, text, "outcome"));
    Ok((from_text(&Status::ALL, Status::as_str, status, "status")?, outcome.transpose()?))
}

fn why(code: &str) -> Result<NotSubmitted, StoreError> {
    from_text(&NotSubmitted::ALL, NotSubmitted::as_str, code, "code")
}

impl Store {
    /// What a run has to do, in the order of the ledger.
    ///
    /// # Errors
    /// As every statement.
    pub async fn replay_items(
        &self,
        run: Uuid,
        after: Option<Uuid>,
        limit: i64,
    ) -> Result<Vec<Item>, StoreError> {
        let query = replays::table
            .left_join(requests::table.on(replays::request_id.eq(requests::id.nullable())))
            .filter(replays::run_id.eq(run.to_string()))
            .filter(replays::entry_id.gt(after.map(|id| id.to_string()).unwrap_or_default()))
            .order(replays::entry_id)
            .limit(limit)
            .select((replays::all_columns, requests::status.nullable(), requests::outcome.nullable()));
        let rows: Vec<ItemRow> = read!(self, |c| query.load(c).await);
        rows.into_iter().map(item).collect()
    }

    /// Entries whose turn comes next.
    ///
    /// # Errors
    /// As every statement.
    pub async fn replay_pending(
        &self,
        run: Uuid,
        after: Option<Uuid>,
        limit: i64,
    ) -> Result<Vec<Item>, StoreError> {
        let query = replays::table
            .filter(replays::run_id.eq(run.to_string()))
            .filter(replays::entry_id.gt(after.map(|id| id.to_string()).unwrap_or_default()))
            .filter(replays::request_id.is_null().and(replays::code.is_null()))
            .order(replays::entry_id)
            .limit(limit);
        let rows: Vec<_> = read!(self, |c| query.load(c).await);
        rows.into_iter().map(|row| item((row, None, None))).collect()
    }

    /// How far a run over the erasures since then is. What it waits for beside its own requests is not told.
    ///
    /// # Errors
    /// As every statement.
    pub async fn replay_progress(
        &self,
        run: &Run,
        since: Option<DateTime<Utc>>,
    ) -> Result<Progress, StoreError> {
        let own = replays::run_id.eq(run.id.to_string());
        let entries = replays::table.filter(own.clone()).count();
        let of_requests =
            || replays::table.inner_join(requests::table.on(replays::request_id.eq(requests::id.nullable())));
        let impossible = replays::table
            .filter(own.clone().and(replays::code.is_not_null()))
            .group_by(replays::code)
            .select((replays::code, count_star()));
        let submitted = replays::table.filter(own.clone().and(replays::request_id.is_not_null())).count();
        let by_state = of_requests()
            .filter(own.clone())
            .group_by((requests::status, requests::outcome))
            .select((requests::status, requests::outcome, count_star()));
        let is_left_to_people = requests::finished_at.is_null().and(requests::run_at.ge(NEVER.naive_utc()));
        let of_people = [Status::Pending, Status::OnHold].map(Status::as_str);
        let is_for_people = requests::status.eq_any(of_people).or(is_left_to_people);
        let for_people = of_requests().filter(own.clone()).filter(is_for_people.clone()).count();
        let made = replays::table
            .filter(own.and(replays::request_id.is_not_null()))
            .select(replays::request_id.assume_not_null());
        // Of the time before the run, by people: those that it made are counted by their fates.
        let earlier = requests::kind
            .eq(Kind::Erasure.as_str())
            .and(requests::created_at.lt(run.created_at.naive_utc()))
            .and(requests::id.ne_all(made));
        // One that is taken up again at the end of a keep has its entry.
        let entered = erasure_ledger::table.filter(erasure_ledger::request_id.eq(requests::id));
        let under_way = requests::table
            .filter(earlier.clone().and(requests::touched).and(requests::finished_at.is_null()))
            .filter(not(exists(entered)));
        let under_way_for_people = under_way.clone().filter(is_for_people).count();
        let under_way = under_way.count();
        let partial = requests::table
            .filter(earlier.and(requests::outcome.eq(Outcome::Partial.as_str())))
            .filter(requests::finished_at.ge(from(since)))
            .count();
        let mut held = self.reader().await?;
        let entries: i64 = on!(&mut held.conn, |c| entries.get_result(c).await)?;
        let impossible: Vec<(Option<String>, i64)> = on!(&mut held.conn, |c| impossible.load(c).await)?;
        let submitted: i64 = on!(&mut held.conn, |c| submitted.get_result(c).await)?;
        let by_state: Vec<(String, Option<String>, i64)> = on!(&mut held.conn, |c| by_state.load(c).await)?;
        let for_people: i64 = on!(&mut held.conn, |c| for_people.get_result(c).await)?;
        let under_way: i64 = on!(&mut held.conn, |c| under_way.get_result(c).await)?;
        let under_way_for_people: i64 = on!(&mut held.conn, |c| under_way_for_people.get_result(c).await)?;
        let partial: i64 = on!(&mut held.conn, |c| partial.get_result(c).await)?;
        held.give_back();
        let mut progress = Progress { entries, under_way, partial, ..Progress::default() };
        for (code, count) in impossible {
            progress.add(Fate::NotSubmitted(why(&code.unwrap_or_default())?), count);
        }
        for (status, outcome, count) in by_state {
            let stands = stands(&status, outcome.as_deref())?;
            progress.add(Fate::Submitted(Uuid::nil(), Some(stands)), count);
        }
        let lost = submitted - progress.submitted;
        progress.add(Fate::Submitted(Uuid::nil(), None), lost);
        progress.waiting_for_people =
            for_people.min(progress.waiting) + under_way_for_people.min(progress.under_way);
        Ok(progress)
    }
}

impl Tx {
    /// Lists what a run has to do: every entry of an erasure that was completed from a time on, but for those that were
    /// asked for after the run; how many are new.
    ///
    /// # Errors
    /// As every statement.
    pub async fn list_replay(
        &mut self,
        run: &Run,
        since: Option<DateTime<Utc>>,
    ) -> Result<usize, StoreError> {
        let later = requests::table
            .filter(requests::id.eq(erasure_ledger::request_id))
            .filter(requests::created_at.ge(run.created_at.naive_utc()));
        let of_then = erasure_ledger::completed_at.ge(from(since)).and(not(exists(later)));
        let entries = erasure_ledger::table.filter(of_then).select((
            run.id.to_string().into_sql::<Text>(),
            erasure_ledger::id,
            erasure_ledger::request_id,
            erasure_ledger::plan,
            None::<String>.into_sql::<Nullable<Text>>(),
            None::<String>.into_sql::<Nullable<Text>>(),
        ));
        let insert = entries.insert_into(replays::table).into_columns((
            replays::run_id,
            replays::entry_id,
            replays::erasure_id,
            replays::plan,
            replays::request_id,
            replays::code,
        ));
        let insert = insert.on_conflict_do_nothing();
        Ok(on!(self.conn().await?, |c| insert.execute(c).await)?)
    }

    /// Records what became of an entry, unless that has changed since it was read: then false.
    ///
    /// # Errors
    /// As every statement.
    pub async fn put_fate(&mut self, item: &Item, fate: Fate) -> Result<bool, StoreError> {
        let columns = |fate: Fate| match fate {
            Fate::Pending => (None, None),
            Fate::NotSubmitted(why) => (None, Some(why.as_str())),
            Fate::Submitted(request, _) => (Some(request.to_string()), None),
        };
        let (known_request, known_code) = columns(item.fate);
        let (request, code) = columns(fate);
        let own = replays::table.find((item.run.to_string(), item.entry.to_string()));
        let (no_request, no_code) =
            (known_request.is_none().into_sql::<Bool>(), known_code.is_none().into_sql::<Bool>());
        let same_request =
            replays::request_id.eq(known_request).or(replays::request_id.is_null().and(no_request));
        let same_code = replays::code.eq(known_code).or(replays::code.is_null().and(no_code));
        let put = diesel::update(own)
            .filter(same_request.and(same_code).assume_not_null())
            .set((replays::request_id.eq(request), replays::code.eq(code)));
        Ok(on!(self.conn().await?, |c| put.execute(c).await)? == 1)
    }
}
