//! A rectification that ended half-way still stands in the way of others once nobody can read any more what it was asked
//! for, and being done again still helps.

use rightful::domain::{
    clock::Clock,
    request::{Outcome, Request, RunCode},
    sweep::Sweep,
};
use serde_json::{Value, json};

use super::{column, count, sweep_until, upkeep};
use crate::{
    engine::pacing,
    support::{
        faulty::Fault,
        harness::Harness,
        stores::stores,
        targets::{Dialect, target},
    },
};

const PLAN: &str = "plan: customer
subject:
  user_id: shop.users.id
  email: shop.users.email
connections:
  shop:
    users:
      erase: delete
      rectify: [email, name]
      cascade: true
  crm:
    contacts:
      match: { email: shop.users.email }
      erase: delete
";

fn jane() -> Value {
    json!({ "user_id": 1 })
}

async fn forget(harness: &Harness, requests: usize) {
    let swept = sweep_until(&harness.service, Sweep::Identities, Clock.now()).await;
    assert_eq!(swept.requests, requests);
}

async fn erased(harness: &Harness) -> Request {
    let id = harness.submit("customer", jane()).await;
    harness.run(id).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_left_half_done_is_known_without_its_values() {
    for store in stores().await {
        let (shop, crm) = (target(Dialect::Sqlite).unwrap(), target(Dialect::Sqlite).unwrap());
        shop.execute(
            "CREATE TABLE users (id INTEGER PRIMARY KEY, email VARCHAR(100) NOT NULL, name VARCHAR(50));
             INSERT INTO users VALUES (1, 'jane@example.com', 'J'), (2, 'joe@example.com', 'K')",
        );
        crm.execute(
            "CREATE TABLE contacts (id INTEGER PRIMARY KEY, email VARCHAR(100));
             INSERT INTO contacts VALUES (1, 'jane@example.com'), (2, 'joe@example.com')",
        );
        let connections = [("shop", shop.url.as_str()), ("crm", crm.url.as_str())];
        let (harness, faults) = Harness::faulty(store.store.clone(), &connections, pacing());
        let harness = harness.keeping(upkeep(Some("90d"), None, None));
        harness.register(PLAN).await.unwrap();
        let changes = json!({ "shop.users": { "email": "jo@example.com" } });
        faults.next(&[&[Fault::None][..], &[Fault::Deadlock; 11]].concat());
        let id = harness.rectify("customer", jane(), changes.clone()).await.unwrap();
        harness.run(id).await;
        let cancelled = harness.cancel(id).await;
        let cancelled = if cancelled.status().is_end() { cancelled } else { harness.run(id).await };
        assert_eq!(cancelled.state.outcome(), Some(Outcome::Partial), "{cancelled:?}");

        forget(&harness, 1).await;
        assert_eq!(count(&store, "request_secrets"), 0);
        let kept = column(&store, "SELECT corrected FROM swept_requests").remove(0);
        assert!(kept.contains("\"email\"") && !kept.contains("jo@example.com"), "{kept}");
        let refused = erased(&harness).await;
        assert_eq!(
            refused.state.error().map(|error| error.code),
            Some(RunCode::SubjectAmbiguous),
            "{refused:?}"
        );
        // Another one of the same person does not mend it.
        let name = json!({ "shop.users": { "name": "Jo" } });
        let named = harness.rectify("customer", jane(), name).await.unwrap();
        assert_eq!(harness.run(named).await.state.outcome(), Some(Outcome::Done));
        forget(&harness, 2).await;
        let refused = erased(&harness).await;
        assert_eq!(
            refused.state.error().map(|error| error.code),
            Some(RunCode::SubjectAmbiguous),
            "{refused:?}"
        );

        let again = harness.rectify("customer", jane(), changes).await.unwrap();
        assert_eq!(harness.run(again).await.state.outcome(), Some(Outcome::Done));
        forget(&harness, 2).await;
        let done = erased(&harness).await;
        assert_eq!(done.state.outcome(), Some(Outcome::Done), "{done:?}");
        assert_eq!(
            (shop.rows("SELECT id FROM users").len(), crm.rows("SELECT id FROM contacts").len()),
            (1, 1)
        );
        let swept = sweep_until(&harness.service, Sweep::Requests, Clock.now()).await;
        assert_eq!(swept.requests, 6);
        assert_eq!(count(&store, "swept_requests WHERE corrected IS NOT NULL"), 0);
    }
}
