//! What people do to an erasure that keeps rows: those who carry out a step of it, those who take it up again, and the
//! person, who may be back.

use rightful::{
    domain::request::{ManualResult, Outcome, Status},
    service::{keeps::reopen, manual::complete},
};
use serde_json::json;

use super::{PLAN, erased, far, harness, ids, reader, worlds};
use crate::support::targets::targets;

/// Nobody was there to be erased; whoever comes while a paper file is looked for is not meant.
#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_is_not_touched_when_the_last_step_is_completed() {
    for (store, target) in worlds().await {
        let harness = harness(&store, &target).await;
        let manual = "manual:\n  - { name: paper_file, do: Shred it }\n";
        harness.register(&format!("{PLAN}{manual}")).await.unwrap();
        let id = harness.submit("customer", json!({ "user_id": 9 })).await;
        let waiting = harness.run(id).await;
        assert!(waiting.is_left_to_people(), "{:?}: {:?}", target.dialect, waiting.state);
        target.execute(
            "INSERT INTO users VALUES (9, 'new@example.com'); INSERT INTO visits VALUES (9, 9);
             INSERT INTO orders VALUES (90, 9, '2001-01-01 00:00:00'); INSERT INTO items VALUES (900, 90)",
        );
        complete(&harness.service, &reader("arno"), id, "paper_file", ManualResult::Done, None)
            .await
            .unwrap();
        let request = harness.run(id).await;
        assert_eq!(request.state.outcome(), Some(Outcome::Done), "{:?}: {:?}", target.dialect, request.state);
        assert_eq!((ids(&target, "users"), ids(&target, "visits")), ("1 2 9".into(), "1 2 9".into()));
        assert!(ids(&target, "orders").ends_with(" 90"), "{:?}", target.dialect);
        assert!(ids(&target, "items").ends_with(" 900"), "{:?}", target.dialect);
        assert_eq!((request.keep_until(), reopen(&harness.service, far()).await), (None, Ok(0)));
    }
}

/// It had been completed: a retry of what its kept rows have come to takes no turn from the person's next erasure.
#[tokio::test(flavor = "multi_thread")]
async fn a_retry_is_in_the_way_of_no_other_erasure_of_the_person() {
    for target in targets() {
        let (harness, id, _store) = erased(&target).await;
        let lost = "UPDATE orders SET placed_at = '2002-02-02 00:00:00', user_id = 2 WHERE id IN (11, 12)";
        target.execute(lost);
        reopen(&harness.service, far()).await.unwrap();
        assert_eq!(harness.run(id).await.status(), Status::Failed, "{:?}", target.dialect);

        // They are asked for once more while it is being retried, and again before it is.
        harness.retry(id).await;
        let during = harness.submit("customer", json!({ "user_id": 1 })).await;
        let failed = harness.run(id).await;
        assert_eq!(failed.status(), Status::Failed, "{:?}: {:?}", target.dialect, failed.state);
        assert_eq!(harness.run(during).await.status(), Status::Completed, "{:?}", target.dialect);
        let before = harness.submit("customer", json!({ "user_id": 1 })).await;
        target.execute("UPDATE orders SET user_id = 1 WHERE id IN (11, 12)");
        harness.retry(id).await;
        for id in [id, before] {
            let request = harness.run(id).await;
            assert_eq!(request.status(), Status::Completed, "{:?}: {:?}", target.dialect, request.state);
        }
        assert_eq!(ids(&target, "orders"), "20", "{:?}", target.dialect);
    }
}
