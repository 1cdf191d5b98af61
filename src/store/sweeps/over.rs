//! What is over, as conditions.

use chrono::NaiveDateTime;
use diesel::{
    dsl::{exists, not},
    prelude::*,
};

use crate::store::schema::{
    consent_keys, consents, idempotency_keys, keeps, packages, request_secrets, requests, runs,
    swept_requests,
};

/// Ended, and answered where that was recorded, until then.
#[diesel::dsl::auto_type]
pub(super) fn is_over(before: NaiveDateTime) -> _ {
    let answered = requests::answered_at.is_null().or(requests::answered_at.le(before));
    requests::finished_at.le(before).and(answered)
}

/// Of one that keeps rows for a time only what was asked for goes at first.
#[diesel::dsl::auto_type]
pub(super) fn may_be_forgotten(before: NaiveDateTime) -> _ {
    let over: is_over = is_over(before);
    let keeps: keeps_rows = keeps_rows();
    let own = swept_requests::table.filter(swept_requests::request_id.eq(requests::id));
    over.and(not(keeps).or(not(exists(own))))
}

/// One whose package can still be fetched waits for the end of that, and one that keeps rows for a time for the end of
/// the last of them.
#[diesel::dsl::auto_type]
pub(super) fn may_be_reduced(before: NaiveDateTime) -> _ {
    let live = packages::table.filter(packages::request_id.eq(requests::id));
    let over: is_over = is_over(before);
    let keeps: keeps_rows = keeps_rows();
    over.and(not(exists(live.filter(packages::expired_at.is_null()))).and(not(keeps)))
}

/// It is to be taken up again, and finds its rows by what is sealed with its data key.
#[diesel::dsl::auto_type]
pub(super) fn keeps_rows() -> _ {
    exists(keeps::table.filter(keeps::request_id.eq(requests::id)))
}

#[diesel::dsl::auto_type]
pub(super) fn is_sealed() -> _ {
    exists(request_secrets::table.filter(request_secrets::request_id.eq(requests::id)))
}

#[diesel::dsl::auto_type]
pub(super) fn is_reduced() -> _ {
    let own = swept_requests::table.filter(swept_requests::request_id.eq(requests::id));
    exists(own.filter(swept_requests::reduced_at.is_not_null()))
}

#[diesel::dsl::auto_type]
pub(super) fn is_key_of_ended(before: NaiveDateTime) -> _ {
    let own = requests::table.filter(requests::id.eq(idempotency_keys::request_id));
    let over: is_over = is_over(before);
    exists(own.filter(over))
}

#[diesel::dsl::auto_type]
pub(super) fn is_key_of_old(before: NaiveDateTime) -> _ {
    let own = consents::table.filter(consents::id.eq(consent_keys::consent_id));
    exists(own.filter(consents::recorded_at.le(before)))
}

/// The runs of a schedule have their moment for a key, which keeps two processes from firing for it twice.
#[diesel::dsl::auto_type]
pub(super) fn has_old_key(before: NaiveDateTime) -> _ {
    let schedules: &'static str = "schedule:%";
    let by_caller = runs::idempotency_key.is_not_null().and(runs::created_by.not_like(schedules));
    runs::finished_at.le(before).and(by_caller)
}
