//! What stands around the service goes away for a while, hangs, is full or loses an answer. No process exits, callers
//! are told, the request's `error` says what happened, and once it is back the work goes on: nothing is lost, and nothing
//! is done or counted twice.

mod commits;
mod disk;
mod locked;
mod pool;
mod restart;
mod silence;
mod store_down;
mod target_down;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    crash::{PLAN, Rows, expect, schema, untouched},
    support::{
        site::{Process, Settings, Site},
        targets::{Session, Target},
    },
};

/// Has a thousand rows, so that an outage finds the erasure in the middle; everybody else's is one transaction.
const LARGE: usize = 2;
/// How long anything may take before a test fails. What it took is printed.
const PATIENCE: Duration = Duration::from_secs(60);
/// Whoever waits for the end of this lease waits for longer than [`PATIENCE`].
const LONG: &str = "  lease: 10m\n";
/// Ten rows at a time, with a rest after them: some seconds for [`LARGE`].
const SLOWLY: &str = "  batch: { min_rows: 10, max_rows: 10, pause: 4 }\n";

/// A service, a target of its own, and what was in it at the start.
struct Scene {
    site: Site,
    target: Target,
    before: BTreeMap<String, Rows>,
    http: reqwest::Client,
}

/// An answer with what a caller goes by.
struct Answer {
    status: u16,
    retry_after: bool,
    is_problem: bool,
    body: Value,
}

impl Scene {
    /// `store` and `url`: where the service finds its store and the target, by way of a proxy or not.
    fn new(store: &str, target: Target, url: &str, worker: &str) -> Self {
        target.execute(&schema());
        let visits: Vec<String> =
            (7..1000).map(|n| format!("({}, 'u{LARGE}@example.com')", LARGE * 1000 + n)).collect();
        target.execute(&format!("INSERT INTO visits VALUES {}", visits.join(", ")));
        let before = untouched(&target);
        let site =
            Site::new(&Settings { store, connections: &[("shop", url)], service: None, plan: PLAN, worker });
        let http = reqwest::Client::builder().timeout(PATIENCE).build().expect("a client");
        Self { site, target, before, http }
    }

    async fn submit(&self, user: usize) -> String {
        let key = format!("key-{user}");
        let request = self.site.submit("customer", json!({ "user_id": user }), Some(&key)).await;
        request.expect("an answer")["id"].as_str().expect("an id").to_owned()
    }

    /// As long as it takes, as a client does: the same key, again and again.
    async fn submit_in_the_end(&self, user: usize) -> String {
        let body = json!({ "kind": "erasure", "plan": "customer", "subject": { "user_id": user } });
        let begun = Instant::now();
        loop {
            let key = format!("key-{user}");
            let (status, body) = self.site.post("/v1/requests", &body, Some(&key)).await.expect("an answer");
            match status {
                200 | 202 => return body["id"].as_str().expect("an id").to_owned(),
                503 => tokio::time::sleep(Duration::from_millis(100)).await,
                _ => panic!("{status}: {body}"),
            }
            assert!(begun.elapsed() < PATIENCE, "never accepted");
        }
    }

    async fn call(&self, method: &str, path: &str, body: &Value) -> Answer {
        let (base, token) = self.site.access();
        let request = self.http.request(method.parse().expect("a method"), format!("{base}{path}"));
        let request = request.bearer_auth(token).header("content-type", "application/json");
        let answer = request.body(body.to_string()).send().await.expect("an answer");
        let header = |name| answer.headers().get(name).and_then(|value| value.to_str().ok());
        Answer {
            status: answer.status().as_u16(),
            retry_after: header("retry-after").is_some_and(|after| after.parse::<u32>().is_ok()),
            is_problem: header("content-type") == Some("application/problem+json"),
            body: serde_json::from_slice(&answer.bytes().await.expect("all of it")).unwrap_or_default(),
        }
    }

    /// That it is told to come again later, as the contract says.
    async fn is_unavailable(&self, method: &str, path: &str, body: &Value) {
        let begun = Instant::now();
        let answer = self.call(method, path, body).await;
        println!("{method} {path}: {} after {:.1?}", answer.status, begun.elapsed());
        assert_eq!((answer.status, answer.body["code"].as_str()), (503, Some("unavailable")), "{path}");
        assert!(answer.retry_after && answer.is_problem, "{path}: {}", answer.body);
    }

    /// What is there to be read, as soon as the store has the room to answer.
    async fn read(&self, path: &str) -> Value {
        let begun = Instant::now();
        loop {
            let answer = self.call("GET", path, &Value::Null).await;
            if answer.status == 200 {
                return answer.body;
            }
            assert!(answer.status == 503 && begun.elapsed() < PATIENCE, "{path}: {}", answer.body);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The request, as soon as `holds` of it; the store has to answer by then, not before.
    async fn until(&self, id: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let request = self.site.get(&format!("/v1/requests/{id}")).await.unwrap_or_default();
            if request["id"] == id && holds(&request) {
                return request;
            }
            assert!(begun.elapsed() < PATIENCE, "in vain: {what}: {request}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// In the middle: some of its rows are gone, and most are there.
    async fn until_under_way(&self, id: &str) {
        let request = self.until(id, "rows are erased", |request| affected(request) > 20).await;
        assert!(affected(&request) < 500, "the outage must find it in the middle: {request}");
    }

    /// Paused, with an `error` that says why, for longer than anybody wants to wait: as after many attempts.
    async fn until_paused(&self, store: &mut Session, id: &str, code: &str, why: &str) {
        let says_why = |request: &Value| {
            let (error, is_paused) = (&request["error"], request["status"] == "paused");
            assert!(error.is_null() || error["code"] == code && error["connection"] == "shop", "{request}");
            is_paused && error["detail"].as_str().is_some_and(|detail| detail.contains(why))
        };
        self.until(id, why, says_why).await;
        let late = |request: &Value| {
            request["next_attempt_at"].as_str().is_some_and(|at| at.starts_with("2199"))
                && request["status"] == "paused"
        };
        let begun = Instant::now();
        loop {
            store.execute(&format!(
                "UPDATE requests SET run_at = '2199-01-01 00:00:00' WHERE id = '{id}' AND status = 'paused'"
            ));
            let request = self.site.get(&format!("/v1/requests/{id}")).await.unwrap_or_default();
            if late(&request) {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "it is at work all the time: {request}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// That the request gets further than it is by now, and how long that took.
    async fn recovers(&self, what: &str, id: &str) {
        let begun = Instant::now();
        let so_far = affected(&self.until(id, "it can be read", |_| true).await);
        let goes_on = |request: &Value| affected(request) > so_far || !request["finished_at"].is_null();
        self.until(id, "it goes on", goes_on).await;
        println!("{what}: goes on {:.1?} after it was back", begun.elapsed());
    }

    /// That it is completed, and has used up none of its attempts on the way: it was known what it had to wait for.
    async fn has_waited(&self, id: &str) {
        let request = self.site.finished(id).await;
        assert_eq!((&request["status"], &request["attempt"]), (&json!("completed"), &json!(1)), "{request}");
    }

    /// Everybody's request is completed, each row counted once, and nobody else's row was touched.
    async fn ends_well(self, mut process: Process, accepted: &[(usize, String)]) {
        for (_, id) in accepted {
            let request = self.site.finished(id).await;
            assert_eq!(request["status"], "completed", "{request}");
            assert!(request["error"].is_null(), "{request}");
            self.is_counted_once(&request).await;
        }
        let audit = self.read("/v1/audit/verify").await;
        assert_eq!(audit["ok"], true, "{audit}");
        let all = self.read("/v1/requests?limit=500").await;
        let mut ids: Vec<&str> = all["items"]
            .as_array()
            .expect("requests")
            .iter()
            .filter_map(|item| item["id"].as_str())
            .collect();
        let mut wanted: Vec<&str> = accepted.iter().map(|(_, id)| id.as_str()).collect();
        ids.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(ids, wanted, "each was accepted once");
        let users: Vec<usize> = accepted.iter().map(|(user, _)| *user).collect();
        expect(&self.before, &untouched(&self.target), &users);
        assert!(process.0.try_wait().expect("its state").is_none(), "the service has ended");
    }

    async fn is_counted_once(&self, request: &Value) {
        let events = self.events(request).await;
        for step in request["steps"].as_array().expect("steps") {
            let count = |name: &str| step[name].as_i64().unwrap_or_default();
            assert_eq!(count("rows_matched"), count("rows_affected") + count("rows_withheld"), "{request}");
            let booked: i64 = events
                .iter()
                .filter(|event| event["event"] == "step.batch" && event["step"] == step["name"])
                .filter_map(|event| event["rows"]["affected"].as_i64())
                .sum();
            assert_eq!(booked, count("rows_affected"), "{step}: {events:?}");
        }
        let ends = events.iter().filter(|event| event["event"] == "request.completed").count();
        assert_eq!(ends, 1, "{events:?}");
    }

    /// By what was there at the start: what is booked twice raises what a step says that it matched. Not for a target that
    /// crashes: PostgreSQL may bring the last batches back, which are then erased, and counted, once more.
    async fn counts_what_was_there(&self, accepted: &[(usize, String)]) {
        let owner = |table: &str, row: &[Option<String>]| {
            let id: usize = row[0].as_ref().expect("an id").parse().expect("a number");
            if table == "users" { id } else { id / 1000 }
        };
        for (user, id) in accepted {
            let request = self.site.finished(id).await;
            for step in request["steps"].as_array().expect("steps") {
                let (_, table) =
                    step["name"].as_str().and_then(|name| name.split_once('.')).expect("a table");
                let there = self.before[table].iter().filter(|row| owner(table, row) == *user).count();
                assert_eq!(step["rows_matched"], there, "{step} of {user}");
            }
        }
    }

    async fn events(&self, request: &Value) -> Vec<Value> {
        let path = format!("{}?limit=500", request["links"]["events"].as_str().expect("a link"));
        let events = self.read(&path).await;
        events["items"].as_array().expect("events").clone()
    }
}

fn affected(request: &Value) -> i64 {
    request["progress"]["rows_affected"].as_i64().unwrap_or_default()
}
