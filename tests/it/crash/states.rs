//! The service is killed while people decide, place holds and end them: nobody is erased without an approval or past a
//! hold, every approved request ends once its holds have, and whoever listens was told of every end.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{
    ERASED, PLAN, audit_verifies, expect,
    kills::{Kills, through_kills},
    schema, terminate, untouched,
};
use crate::support::{
    app::eventually,
    receiver::Receiver,
    site::{Settings, Site},
    stores::{TestStore, stores},
    targets::{Target, targets},
};

#[tokio::test(flavor = "multi_thread")]
async fn decisions_and_holds_survive_sigkill() {
    for target in targets().into_iter().take(1) {
        for store in stores().await {
            survive(&crate::support::targets::target_like(&target), &store, &Kills::Random).await;
        }
    }
}

struct People {
    site: Site,
    admin: String,
    approver: String,
}

impl People {
    fn new(store: &str, target: &Target, receiver: &str) -> Self {
        let worker = format!(
            "  lease: 1s\n  max_attempts: 1000\n  batch: {{ min_rows: 10, max_rows: 50, pause: 0 }}\n\
             approval: {{ erasure: required }}\n\
             webhooks: {{ panel: {{ url: \"{receiver}/hook\", secret: whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw }} }}\n"
        );
        let connections = [("shop", target.url.as_str())];
        let site = Site::new(&Settings {
            store,
            connections: &connections,
            service: None,
            plan: PLAN,
            worker: &worker,
        });
        let (admin, approver) = (site.token("admin", "alice"), site.token("approver", "arno"));
        Self { site, admin, approver }
    }

    async fn submit(&self, user: usize) -> Option<Value> {
        let subject = json!({ "user_id": user });
        self.site.submit("customer", subject, Some(&format!("key-{user}"))).await
    }

    /// Approves; a request that is past that already stays as it is.
    async fn approve(&self, request: &Value) -> Option<u16> {
        let path = format!("{}/approve", request["links"]["self"].as_str().unwrap());
        let body = json!({ "plan_version": request["plan"]["version"] });
        self.site.call("POST", &path, &self.approver, &body).await.map(|(status, _)| status)
    }

    async fn hold(&self, user: usize) -> Option<(u16, Value)> {
        let body = json!({
            "plan": "customer", "subject": { "email": format!("u{user}@example.com") },
            "ground": "legal_claims", "reason": "a dispute",
        });
        self.site.call("POST", "/v1/holds", &self.admin, &body).await
    }

    /// Ends every hold that there is; false when the process died over it.
    async fn end_holds(&self) -> bool {
        let Some((_, page)) =
            self.site.call("GET", "/v1/holds?active=true&limit=500", &self.admin, &Value::Null).await
        else {
            return false;
        };
        for hold in page["items"].as_array().into_iter().flatten() {
            let path = format!("/v1/holds/{}", hold["id"].as_str().unwrap());
            if self.site.call("DELETE", &path, &self.approver, &Value::Null).await.is_none() {
                return false;
            }
        }
        true
    }
}

pub async fn survive(target: &Target, store: &TestStore, kills: &Kills) {
    println!("{:?} target, store {}", target.dialect, store.url);
    target.execute(&schema());
    let before = untouched(target);
    let receiver = Receiver::default();
    let people = People::new(&store.url, target, &receiver.listen());
    let site = &people.site;
    let mut asked: BTreeSet<usize> = BTreeSet::new();
    // Somebody whom nobody approves, and who must stay.
    let waiting = ERASED * 2 - 1;
    through_kills(site, kills, async |random| {
        let user = 2 * random.between(1, ERASED);
        match random.below(4) {
            0 | 1 => drop(people.hold(user).await),
            2 => drop(people.end_holds().await),
            _ => {}
        }
        asked.insert(user);
        if let Some(request) = people.submit(user).await {
            people.approve(&request).await;
        }
        people.submit(waiting).await;
    })
    .await;
    // A delivery that was taken belongs to its process for a minute: let that be over.
    store.session().execute("UPDATE webhook_deliveries SET next_at = created_at WHERE next_at IS NOT NULL");
    let process = site.serve().await;
    // Who was not answered asks again.
    let mut accepted: BTreeMap<usize, Value> = BTreeMap::new();
    for user in asked {
        accepted.insert(user, people.submit(user).await.expect("an answer"));
    }
    let pending = people.submit(waiting).await.unwrap();
    let first = *accepted.keys().next().unwrap();
    assert!(people.end_holds().await);
    for request in accepted.values() {
        assert!(matches!(people.approve(request).await, Some(200 | 409)), "approved now, or before");
    }
    for request in accepted.values() {
        let request = site.finished(request["id"].as_str().unwrap()).await;
        assert_eq!(request["status"], "completed", "{request}");
        let events =
            site.get(&format!("{}?limit=500", request["links"]["events"].as_str().unwrap())).await.unwrap();
        in_order(&events);
    }
    let shown = site.get(pending["links"]["self"].as_str().unwrap()).await.unwrap();
    assert_eq!(shown["status"], "pending", "{shown}");
    eventually("whoever listens was told of every end", async || told(&receiver).len() >= accepted.len())
        .await;
    let ids: BTreeSet<String> =
        accepted.values().map(|request| request["id"].as_str().unwrap().to_owned()).collect();
    assert!(told(&receiver).is_superset(&ids), "of {first} too");
    audit_verifies(site).await;
    assert_eq!(terminate(process).1, Some(0));
    let erased: Vec<usize> = accepted.keys().copied().collect();
    expect(&before, &untouched(target), &erased);
}

/// Approved once and before anything was started; every time that it was held it was released.
fn in_order(events: &Value) {
    let names: Vec<&str> =
        events["items"].as_array().unwrap().iter().map(|event| event["event"].as_str().unwrap()).collect();
    let count = |name: &str| names.iter().filter(|found| **found == name).count();
    let at = |name: &str| names.iter().position(|found| *found == name).unwrap();
    assert_eq!((count("request.approved"), count("request.completed")), (1, 1), "{names:?}");
    assert!(at("request.approved") < at("request.started"), "{names:?}");
    assert_eq!(count("request.held"), count("request.released"), "{names:?}");
}

fn told(receiver: &Receiver) -> BTreeSet<String> {
    receiver
        .seen()
        .iter()
        .map(|seen| seen.json())
        .filter(|body| body["type"] == "request.completed")
        .map(|body| body["data"]["id"].as_str().unwrap().to_owned())
        .collect()
}
