//! Requests with steps that people carry out. The worker does its part and lets go; after the last completed step the
//! request is due again, and whoever takes it up ends it. The tables are not looked at once more: each was counted
//! afresh when its step ended, and since then, perhaps for weeks, the person's key may have become somebody else's, or
//! the person may have come back and given new data that nobody asked to have erased.

use super::{recorder::Recorder, trouble::Interrupt};
use crate::{
    domain::request::Request,
    points::{self, Point},
    service::Service,
};

/// People have done their part, and all else was proven before.
pub fn is_done(request: &Request) -> bool {
    request.resolved
        && !request.has_keeps_to_look_at()
        && request.steps.iter().any(|step| step.by_hand.is_some())
        && request.steps.iter().all(|step| step.is_verified())
}

/// Lets go of a request of which only manual steps are left. Whether it was asked to be cancelled, or a hold was placed,
/// is asked under the lock of its row: afterwards nobody would come by to heed it.
pub async fn let_go(service: &Service, recorder: &mut Recorder) -> Result<(), Interrupt> {
    let mut tx = service.store.begin().await?;
    let row = tx.lock_request(recorder.request.id).await?;
    let asked = row.and_then(|row| match row.cancelled_by() {
        Some(by) => Some(Interrupt::Cancelled(by)),
        None => row.hold.map(Interrupt::Held),
    });
    if let Some(interrupt) = asked {
        tx.rollback().await?;
        return Err(interrupt);
    }
    recorder
        .record_in(tx, |request, _, _| {
            request.leave_to_people();
            Vec::new()
        })
        .await?;
    points::reached(Point::ManualLeft);
    Ok(())
}
