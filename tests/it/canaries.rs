//! No identity is ever found where none belongs: names, addresses and numbers that occur nowhere else are sent through
//! everything that the service does, and then looked for in all that it leaves behind, in every form that a text may take.

mod hostile;
mod needles;
mod traces;

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use self::{
    needles::Needles,
    traces::{column, everything},
};
use crate::{
    support::{
        app::eventually,
        package::unzip,
        receiver::Receiver,
        site::{Process, Settings, Site},
        stores::{TestStore, stores},
        targets::{Dialect, Target, target},
    },
    sweeps::months::age_store,
};

const PLAN: &str = "plan: customer
subject:
  user_id: shop.users.id
  email: { column: shop.users.email, ignore_case: true }
  national_id: shop.users.national_id
connections:
  shop:
    users: { erase: delete, export: all, rectify: [name, phone, address] }
    orders:
      match: { user_id: users.id }
      erase: { mask: { name: { hmac: {} }, address: { string_rewrite: gone }, user_id: null_rewrite } }
    invoices: { match: { user_id: users.id }, erase: { keep: Article 17(3)(b) } }
    visits: { match: { email: users.email }, erase: delete }
";
const BY_HAND: &str = "plan: paper
subject:
  user_id: shop.users.id
  email: { column: shop.users.email, ignore_case: true }
  national_id: shop.users.national_id
connections:
  shop:
    users: { erase: delete }
    orders: { match: { user_id: users.id }, erase: delete }
    invoices: { match: { user_id: users.id }, erase: { keep: Article 17(3)(b) } }
    visits: { match: { email: users.email }, erase: delete }
manual:
  - { name: binder, do: Shred the file }
";
const PEOPLE: usize = 12;

/// What is true of somebody.
struct Person {
    id: usize,
    name: String,
    email: String,
    phone: String,
    national_id: String,
    address: String,
}

impl Person {
    fn new(id: usize) -> Self {
        Self {
            id,
            name: format!("Zdenka Kanarienvogel {id:02}"),
            email: format!("Zdenka.Canary{id:02}@Voliere.Example"),
            phone: format!("+49 1511 765 43{id:02}"),
            national_id: format!("KNR-840517-9Q{id:02}"),
            address: format!("Nachtigallenweg {id:02}b, 99999 Vogelhausen"),
        }
    }

    /// As it becomes when it is corrected.
    fn corrected(&self) -> Self {
        Self::new(self.id + 50)
    }

    fn row(&self) -> String {
        let Self { id, name, email, phone, national_id, address } = self;
        format!(
            "INSERT INTO users VALUES ({id}, '{name}', '{email}', '{phone}', '{national_id}', '{address}');
             INSERT INTO orders VALUES ({id}, {id}, '{name}', '{address}');
             INSERT INTO invoices VALUES ({id}, {id}, '{name}');
             INSERT INTO visits VALUES ({id}, '{email}');\n"
        )
    }

    /// A text as somebody in an office writes it.
    fn story(&self) -> String {
        format!("{} of {} called from {} about {}", self.name, self.address, self.phone, self.national_id)
    }

    fn facts(&self) -> [&str; 5] {
        [&self.name, &self.email, &self.phone, &self.national_id, &self.address]
    }
}

/// The service under watch.
struct Cage {
    store: TestStore,
    site: Site,
    shop: Target,
    receiver: Receiver,
    log: Arc<Mutex<String>>,
    people: Vec<Person>,
    needles: Needles,
    admin: String,
    approver: String,
}

impl Cage {
    fn new(store: TestStore) -> Self {
        let shop = target(if store.is_sqlite() { Dialect::Sqlite } else { Dialect::Postgres }).unwrap();
        shop.execute(
            "CREATE TABLE users (id INTEGER PRIMARY KEY, name VARCHAR(100), email VARCHAR(100) NOT NULL UNIQUE,
                 phone VARCHAR(100), national_id VARCHAR(100) NOT NULL UNIQUE, address VARCHAR(100));
             CREATE TABLE orders (id INTEGER PRIMARY KEY, user_id INTEGER, name VARCHAR(100), address VARCHAR(100));
             CREATE TABLE invoices (id INTEGER PRIMARY KEY, user_id INTEGER, name VARCHAR(100));
             CREATE TABLE visits (id INTEGER PRIMARY KEY, email VARCHAR(100));\n",
        );
        let people: Vec<Person> = (1..=PEOPLE).map(Person::new).collect();
        shop.execute(&people.iter().map(Person::row).collect::<String>());
        let receiver = Receiver::default();
        let panel = receiver.listen();
        let more = format!(
            "  lease: 5s\napproval: {{ export: required, rectification: required }}\nwebhooks:\n  panel: {{ url: {panel}, \
             secret: whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw }}\n"
        );
        let site = Site::new(&Settings {
            store: &store.url,
            connections: &[("shop", &shop.url)],
            service: None,
            plan: PLAN,
            worker: &more,
        });
        std::fs::write(site.folder().join("plans/paper.yaml"), BY_HAND).unwrap();
        let facts = people.iter().flat_map(|person| {
            let new = person.corrected();
            let all = person.facts().into_iter().chain(new.facts()).map(str::to_owned);
            all.collect::<Vec<_>>()
        });
        let needles = Needles::new(facts);
        let (admin, approver) = (site.access().1.to_owned(), site.token("approver", "arno"));
        let log = Arc::default();
        Self { store, site, shop, receiver, log, people, needles, admin, approver }
    }

    async fn serve(&self) -> Process {
        let log = Arc::clone(&self.log);
        let process = self.site.start_with(&[("RUST_LOG", "debug")], move |line| {
            let mut log = log.lock().unwrap();
            log.push_str(&line);
            log.push('\n');
        });
        self.site.ready().await;
        process
    }

    async fn call_as(&self, token: &str, method: &str, path: &str, body: &Value) -> Value {
        let (status, answer) = self.site.call(method, path, token, body).await.unwrap();
        assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
        answer
    }

    async fn post(&self, path: &str, body: &Value) -> Value {
        self.call_as(&self.admin, "POST", path, body).await
    }

    /// Somebody's request; its path.
    async fn submit(&self, kind: &str, person: usize, more: Value) -> String {
        let person = &self.people[person];
        let mut body = json!({
            "kind": kind, "plan": "customer", "subject": { "email": person.email }, "reason": person.story(),
        });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let request = self.post("/v1/requests", &body).await;
        format!("/v1/requests/{}", request["id"].as_str().unwrap())
    }

    async fn approve(&self, request: &str) {
        let version = self.site.get(request).await.unwrap()["plan"]["version"].clone();
        let path = format!("{request}/approve");
        self.call_as(&self.approver, "POST", &path, &json!({ "plan_version": version })).await;
    }

    /// Ends with this status; the request.
    async fn ends(&self, request: &str, status: &str) -> Value {
        let ended = self.site.finished(request.rsplit('/').next().unwrap()).await;
        assert_eq!(ended["status"], status, "{ended}");
        ended
    }

    async fn answer(&self, path: &str) -> Vec<u8> {
        self.site.download(path).await
    }

    /// Looks everywhere.
    async fn is_clean(&self, when: &str) {
        eventually("the panel is told", async || {
            self.receiver.seen().iter().any(|seen| seen.body.contains("request.completed"))
        })
        .await;
        let mut traces = everything(&self.store, self.site.folder());
        traces.push(("log".to_owned(), self.log.lock().unwrap().clone().into_bytes()));
        for path in ["/metrics", "/v1/audit/export", "/v1/audit/export?format=csv", "/v1/runs", "/v1/backups"]
        {
            traces.push((path.to_owned(), self.answer(path).await));
        }
        let told: String = self.receiver.seen().iter().map(|seen| format!("{seen:?}\n")).collect();
        traces.push(("webhooks".to_owned(), told.into_bytes()));
        for (place, bytes) in &traces {
            assert_eq!(self.needles.found_in(bytes), None, "{when}: in {place}");
        }
        assert_eq!(self.site.get("/v1/audit/verify").await.unwrap()["ok"], true);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_identifies_a_person_is_left_anywhere() {
    for store in stores().await {
        println!("store {}", store.url);
        let cage = Cage::new(store);
        let people = format!("{:?}", cage.shop.rows("SELECT name, address FROM orders"));
        assert!(cage.needles.found_in(people.as_bytes()).is_some(), "what is looked for can be found");
        let process = cage.serve().await;
        everything_is_done(&cage).await;
        hostile::calls(&cage).await;
        cage.is_clean("sealed").await;
        let log = cage.log.lock().unwrap().clone();
        assert!(log.contains("DEBUG"), "the log tells more than usual");
        drop(process);
        all_is_destroyed(&cage).await;
    }
}

/// One of each, some of which are under way still.
async fn everything_is_done(cage: &Cage) {
    let erased = cage.submit("erasure", 0, json!({})).await;
    let exported = cage.submit("export", 1, json!({ "format": "csv" })).await;
    let new = cage.people[2].corrected();
    let changes = json!({ "shop.users": { "name": new.name, "phone": new.phone, "address": new.address } });
    let corrected = cage.submit("rectification", 2, json!({ "changes": changes })).await;
    for request in [&exported, &corrected] {
        cage.approve(request).await;
    }
    let person = &cage.people[3];
    let hold = json!({
        "plan": "customer", "subject": { "national_id": person.national_id }, "ground": "legal_claims",
        "reason": person.story(),
    });
    let hold = cage.post("/v1/holds", &hold).await;
    let held = cage.submit("erasure", 3, json!({})).await;
    let consents = consents(cage).await;
    let denied = cage.submit("export", 5, json!({})).await;
    let denial = json!({ "reason": "identity_not_verified", "text": cage.people[5].story() });
    cage.call_as(&cage.approver, "POST", &format!("{denied}/deny"), &denial).await;
    let two = json!({ "email": cage.people[6].email, "user_id": cage.people[7].id });
    let failing = cage.submit("erasure", 6, json!({ "subject": two })).await;
    let person = &cage.people[8];
    let paper = cage.submit("erasure", 8, json!({ "plan": "paper" })).await;
    let later = cage.submit("export", 9, json!({})).await;
    let extension = json!({ "months": 1, "reason": cage.people[9].story() });
    cage.post(&format!("{later}/extend"), &extension).await;

    cage.ends(&erased, "completed").await;
    cage.ends(&corrected, "completed").await;
    cage.ends(&failing, "failed").await;
    cage.ends(&exported, "completed").await;
    let package = unzip(&cage.answer(&format!("{exported}/export")).await);
    assert!(format!("{package:?}").contains(&cage.people[1].national_id), "the person gets it");
    eventually("the hold is met", async || {
        cage.site.get(&held).await.unwrap()["status"] == "on_hold"
            && cage.site.get(&paper).await.unwrap()["steps"].as_array().unwrap().last().unwrap()["status"]
                == "waiting"
    })
    .await;
    cage.is_clean("under way").await;

    let hold = format!("/v1/holds/{}", hold["id"].as_str().unwrap());
    cage.call_as(&cage.approver, "DELETE", &hold, &json!({})).await;
    cage.ends(&held, "completed").await;
    let done = json!({ "result": "impossible", "note": person.story() });
    eventually("the worker has let go", async || {
        let path = format!("{paper}/steps/binder/complete");
        cage.site.post(&path, &done, None).await.unwrap().0 == 200
    })
    .await;
    cage.ends(&paper, "completed").await;
    cage.post(&format!("{later}/cancel"), &json!({ "reason": cage.people[9].story() })).await;
    let now = cage.site.get(&erased).await.unwrap()["finished_at"].clone();
    cage.post(&format!("{erased}/answered"), &json!({ "at": now, "channel": "email" })).await;
    let letter = cage.site.get(&format!("{paper}/answer")).await.unwrap();
    assert!(letter["text"].as_str().unwrap().contains(&person.name), "{letter}");
    readings(cage, &consents).await;
}

/// Given by two, one of whom is erased; that one's request.
async fn consents(cage: &Cage) -> String {
    for person in [&cage.people[4], &cage.people[10]] {
        let act = json!({
            "plan": "customer", "subject": { "email": person.email }, "purpose": "newsletter", "state": "given",
            "text": { "version": "1", "hash": "a".repeat(64) }, "source": "phone", "note": person.story(),
        });
        cage.post("/v1/consents", &act).await;
    }
    let erased = cage.submit("erasure", 4, json!({})).await;
    cage.ends(&erased, "completed").await;
    erased
}

/// What asks for somebody, and changes nothing.
async fn readings(cage: &Cage, erased: &str) {
    for person in &cage.people {
        let subject = json!({ "plan": "customer", "subject": { "email": person.email } });
        for path in ["/v1/audit/search", "/v1/requests/search", "/v1/consents/search"] {
            cage.post(path, &subject).await;
        }
    }
    let ids = json!({ "kind": "erasure", "subject": { "national_id": cage.people[11].national_id } });
    cage.post("/v1/plans/customer/preview", &ids).await;
    cage.post("/v1/replays/preview", &json!({ "all": true })).await;
    let found = found_in_log(cage, 4).await;
    let id = erased.rsplit('/').next().unwrap();
    assert!(found.iter().any(|event| event["request_id"] == id), "the log knows the person: {found:#?}");
}

async fn found_in_log(cage: &Cage, person: usize) -> Vec<Value> {
    let subject = json!({ "plan": "customer", "subject": { "email": cage.people[person].email } });
    cage.post("/v1/audit/search", &subject).await["items"].as_array().unwrap().clone()
}

/// Time passes, and the service forgets what it need not know.
async fn all_is_destroyed(cage: &Cage) {
    age_store(&cage.store, "2020-01").await;
    let mut session = cage.store.session();
    session.execute("UPDATE erasure_ledger SET completed_at = '2020-01-15 00:00:00'");
    session.execute("UPDATE packages SET expires_at = '2020-01-15 00:00:00'");
    let file = cage.site.folder().join("rightful.yaml");
    let config = std::fs::read_to_string(&file).unwrap();
    let periods = "identities: 1s, requests: 1s, idempotency_keys: 1s, pseudonyms: 1s, ledger: 1s";
    std::fs::write(&file, format!("{config}retention: {{ {periods} }}\n")).unwrap();
    // It looks for everything when it starts: first the ledger and the packages go, then what waits for them.
    for left in ["erasure_ledger", "packages WHERE wrapped_key IS NOT NULL"] {
        let process = cage.serve().await;
        eventually(left, async || number(cage, left) == 0).await;
        drop(process);
    }
    let process = cage.serve().await;
    let old_key = "period_keys WHERE wrapped_key IS NOT NULL AND period = '2020-01'";
    eventually("the month has lost its key", async || number(cage, old_key) == 0).await;
    assert_eq!(number(cage, "period_keys WHERE period = '2020-01'"), 1);
    for sealed in [
        "request_secrets",
        "request_keys",
        "request_refs",
        "subject_locks",
        "open_requests",
        "idempotency_keys",
        "hold_refs",
        "holds WHERE length(wrapped_key) > 0 OR length(confidential) > 0",
        "requests WHERE external_id IS NOT NULL OR subject_ref IS NOT NULL",
        // Of who was not erased it stays.
        "consents WHERE wrapped_key IS NOT NULL AND id NOT IN (SELECT max(id) FROM consents)",
    ] {
        assert_eq!(number(cage, sealed), 0, "{sealed}");
    }
    for person in 0..PEOPLE {
        let events = found_in_log(cage, person).await;
        assert!(events.iter().all(|event| event["event"] == "consent.recorded"), "{person}: {events:#?}");
    }
    cage.is_clean("destroyed").await;
    drop(process);
}

fn number(cage: &Cage, what: &str) -> usize {
    column(&cage.store, &format!("SELECT CAST(count(*) AS text) FROM {what}"))[0].parse().unwrap()
}
