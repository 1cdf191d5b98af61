//! Plans that know the same person by different identities.

use rightful::domain::request::{Outcome, RunCode, Status};
use serde_json::json;

use super::{
    PLAN, SCHEMA, code, count, harness,
    holds::{hold, reader},
};
use crate::support::targets::targets;

const BY_ID: &str = "plan: profile
subject: { user_id: shop.users.id }
connections:
  shop:
    users: { erase: { none: another plan does it }, rectify: [email] }
";

/// The address would go to somebody else while an erasure that names it waits.
#[tokio::test(flavor = "multi_thread")]
async fn an_identity_that_only_a_pending_request_knows_is_not_corrected() {
    for target in targets() {
        let (harness, _store) = harness(&target, SCHEMA, PLAN).await;
        let refused = harness.register(BY_ID).await.unwrap_err();
        assert!(refused.contains("plan `customer` knows persons by it"), "{:?}: {refused}", target.dialect);
        let placed = hold(&harness).await;
        let erasure = harness.submit("customer", json!({ "email": "jane@example.com" })).await;
        assert_eq!(harness.run(erasure).await.status(), Status::OnHold, "{:?}", target.dialect);

        harness.withdraw("customer");
        harness.register(BY_ID).await.unwrap();
        let changes = json!({ "shop.users": { "email": "jo@example.com" } });
        let id = harness.rectify("profile", json!({ "user_id": 1 }), changes).await.unwrap();
        let failed = harness.run(id).await;
        assert_eq!(code(&failed), Some(RunCode::InvalidChanges), "{:?}: {failed:?}", target.dialect);
        assert!(failed.state.error().unwrap().detail.contains("plan `customer`"), "{failed:?}");
        let kept = "SELECT email FROM users WHERE id = 1 AND email = 'jane@example.com'";
        assert_eq!(target.rows(kept).len(), 1, "{:?}", target.dialect);

        rightful::service::holds::end(&harness.service, &reader("arno"), placed.hold.id).await.unwrap();
        harness.make_due(erasure).await;
        let erased = harness.run(erasure).await;
        assert_eq!(erased.state.outcome(), Some(Outcome::Done), "{:?}: {erased:?}", target.dialect);
        // Nobody is left who would look for it.
        let changes = json!({ "shop.users": { "email": "jane@example.com" } });
        let id = harness.rectify("profile", json!({ "user_id": 2 }), changes).await.unwrap();
        assert_eq!(harness.run(id).await.state.outcome(), Some(Outcome::Done), "{:?}", target.dialect);
        assert_eq!(count(&target, "users"), 1, "{:?}", target.dialect);
    }
}
