//! Who is meant: the pseudonyms of a request's person, the locks on them, and whose turn it is.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use futures::try_join;
use uuid::Uuid;

use super::{
    StoreError, Tx,
    claim::NOT_CLAIMABLE,
    conn::{on, shared},
    holds::{exclude_placements, hold_on},
    schema::{request_refs, requests, subject_locks},
    statements::{lock, put_refs, release, unlock},
    tx::sorted,
};
use crate::domain::{
    pseudonym::PeriodKeys,
    request::{NEVER, Request, RunCode},
};

impl Tx {
    /// Records pseudonyms that became known.
    ///
    /// # Errors
    /// As every statement.
    pub async fn add_refs(
        &mut self,
        request: &Request,
        refs: &[(String, String)],
        keys: &PeriodKeys,
    ) -> Result<(), StoreError> {
        put_refs(self.conn().await?, request, refs, keys).await
    }

    /// Forgets what is known of the person, with the locks and the place among the open requests that hang on it.
    ///
    /// # Errors
    /// As every statement.
    pub async fn forget_refs(&mut self, id: Uuid) -> Result<(), StoreError> {
        let id = id.to_string();
        let conn = &*self.conn().await?;
        let known = request_refs::table.filter(request_refs::request_id.eq(&id));
        let forget = async { Ok(shared!(conn, |c| diesel::delete(known).execute(c).await)?) };
        try_join!(forget, release(conn, &id))?;
        Ok(())
    }

    /// Takes the locks of a request's person: whether all of them were free, else the transaction must be rolled back;
    /// and an active hold that covers the request.
    ///
    /// # Errors
    /// As every statement.
    pub async fn take_locks(
        &mut self,
        request: &Request,
        refs: &[(String, String)],
    ) -> Result<(bool, Option<Uuid>), StoreError> {
        let id = request.id.to_string();
        // The same order everywhere: two requests with the same two refs must not wait for each other.
        let ordered = sorted(refs);
        let clock = self.clock;
        let conn = &*self.conn().await?;
        exclude_placements(conn).await?;
        let hold = hold_on(conn, clock, request, &ordered).await?;
        let taken = lock(conn, &id, &ordered).await?;
        Ok((self.has_turn(request, taken, &ordered).await?, hold))
    }

    /// Gives back the person's locks alone: the request waits, and others of this person may run.
    ///
    /// # Errors
    /// As every statement.
    pub async fn give_back_locks(&mut self, id: Uuid) -> Result<(), StoreError> {
        unlock(self.conn().await?, &id.to_string()).await
    }

    /// The requests of a person run in the order in which they were submitted. One that holds the locks already goes
    /// on; one that has just taken all of them does when no older one is due, which may not have looked for its person
    /// yet.
    pub(super) async fn has_turn(
        &mut self,
        request: &Request,
        taken: usize,
        pseudonyms: &[&str],
    ) -> Result<bool, StoreError> {
        let id = request.id.to_string();
        if taken < pseudonyms.len() {
            return self.holds(&id, pseudonyms).await;
        }
        let waits = format!("%\"{}\"%", RunCode::SubjectBusy.as_str());
        let of_person = request_refs::table
            .filter(request_refs::pseudonym.eq_any(pseudonyms).and(request_refs::request_id.lt(&id)))
            .select(request_refs::request_id);
        let due = requests::table
            .filter(requests::id.eq_any(of_person).and(requests::finished_at.is_null()))
            .filter(requests::status.ne_all(NOT_CLAIMABLE).and(requests::run_at.lt(NEVER.naive_utc())))
            // What ends a keep has its time, and may wait for people for long.
            .filter(requests::steps.not_like("%\"reopened\":true%"))
            // One that itself waits for an older one has no turn to give.
            .filter(requests::error.is_null().or(requests::error.not_like(waits)))
            .count();
        let due: i64 = on!(self.conn().await?, |c| due.get_result(c).await)?;
        Ok(due == 0)
    }

    async fn holds(&mut self, id: &str, pseudonyms: &[&str]) -> Result<bool, StoreError> {
        let own = subject_locks::table
            .filter(subject_locks::request_id.eq(id).and(subject_locks::pseudonym.eq_any(pseudonyms)))
            .count();
        let held: i64 = on!(self.conn().await?, |c| own.get_result(c).await)?;
        Ok(usize::try_from(held).is_ok_and(|held| held == pseudonyms.len()))
    }

    /// Gives back the person's locks and the place among the open requests.
    ///
    /// # Errors
    /// As every statement.
    pub async fn release(&mut self, id: Uuid) -> Result<(), StoreError> {
        release(self.conn().await?, &id.to_string()).await
    }
}
