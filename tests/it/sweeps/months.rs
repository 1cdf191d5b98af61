//! The log shows a person under another pseudonym in every month, and with a month's key goes what leads to it.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use reqwest::Method;
use rightful::{
    domain::{
        clock::Clock,
        pseudonym::Month,
        sweep::{Sweep, Swept},
    },
    service::{ledger, pseudonyms::Pseudonyms, runs::Upkeep},
};
use serde_json::{Value, json};

use super::{
    apps, audit_verifies, cancelled, column, count, days_ago, events, found, read, set_time, submit, sweep,
    sweep_until, swept, upkeep,
};
use crate::{
    store::support::raw,
    support::{
        app::{CUSTOMER, Setup, TestApp},
        stores::TestStore,
        targets::{Dialect, Session},
    },
};

fn setup() -> Setup {
    let mut upkeep = upkeep(None, None, None);
    upkeep.periods.pseudonyms = Some("3y".parse().unwrap());
    Setup { upkeep: Upkeep { ledger: Some("1y".parse().unwrap()), ..upkeep }, ..Setup::default() }
}

fn at(month: &str) -> DateTime<Utc> {
    format!("{month}-15T12:00:00Z").parse().unwrap()
}

async fn age(app: &TestApp, month: &str) {
    age_store(&app.store, month).await;
    app.service.pseudonyms.reload(&app.service).await.unwrap();
}

/// Has all that there is have been done in an earlier month, which time alone can do without this.
pub async fn age_store(store: &TestStore, month: &str) {
    let now = Month::of(Clock.now());
    let time = at(month).format("%Y-%m-%d %H:%M:%S%.6f");
    let lift = match store.is_sqlite() {
        true => "DROP TRIGGER period_keys_no_return",
        false => "ALTER TABLE period_keys DISABLE TRIGGER period_keys_no_return",
    };
    for change in [
        lift.to_owned(),
        format!("UPDATE period_keys SET period = '{month}' WHERE period = '{now}'"),
        format!("UPDATE requests SET created_at = '{time}'"),
        format!("UPDATE requests SET finished_at = '{time}' WHERE finished_at IS NOT NULL"),
        format!("UPDATE requests SET answered_at = '{time}' WHERE answered_at IS NOT NULL"),
        format!("UPDATE holds SET placed_at = '{time}'"),
        format!("UPDATE holds SET ended_at = '{time}' WHERE ended_at IS NOT NULL"),
    ] {
        raw(store, &change).await.unwrap_or_else(|error| panic!("{change}: {error}"));
    }
}

async fn found_in_log(app: &TestApp, number: u32) -> Vec<Value> {
    let person = json!({ "plan": "customer", "subject": { "email": format!("user{number}@example.com") } });
    let page = app.auditor().post("/v1/audit/search?limit=500", &person).await.ok();
    page["items"].as_array().unwrap().clone()
}

fn of_request(events: &[Value], id: &str) -> usize {
    events.iter().filter(|event| event["request_id"] == id).count()
}

/// The pseudonyms that events of these show.
fn shown(events: &[Value]) -> BTreeSet<&str> {
    events.iter().filter_map(|event| event["subject_ref"].as_str()).collect()
}

fn comes_back(app: &TestApp, number: u32) {
    let url = format!("sqlite:{}", app.folder.path().join("shop.db").display());
    Session::open(Dialect::Sqlite, &url)
        .execute(&format!("INSERT INTO users VALUES ({number}, 'user{number}@example.com')"));
}

/// Every cell of every table but the log's, as text.
fn everything_else(app: &TestApp) -> String {
    let mut session = app.store.session();
    let tables = match app.store.is_sqlite() {
        true => "SELECT name FROM sqlite_master WHERE type = 'table'",
        false => {
            "SELECT CAST(table_name AS text) FROM information_schema.tables WHERE table_schema = current_schema()"
        }
    };
    let mut text = String::new();
    for table in session.rows(tables).into_iter().flatten().flatten() {
        if table == "audit_events" {
            continue;
        }
        let query = match app.store.is_sqlite() {
            true => {
                let columns = format!("SELECT name FROM pragma_table_info('{table}') WHERE type <> 'BLOB'");
                let columns: Vec<String> = session.rows(&columns).into_iter().flatten().flatten().collect();
                let cast = columns.iter().map(|column| format!("CAST(\"{column}\" AS text)"));
                format!("SELECT {} FROM {table}", cast.collect::<Vec<_>>().join(", "))
            }
            false => format!("SELECT CAST(t AS text) FROM {table} t"),
        };
        text.push_str(&format!("{:?}\n", session.rows(&query)));
    }
    text
}

async fn expire_ledger(app: &TestApp) {
    raw(&app.store, "UPDATE erasure_ledger SET completed_at = '2020-02-01 00:00:00'").await.unwrap();
    ledger::expire(&app.service).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_key_of_a_month_goes_what_leads_to_its_events() {
    for mut app in apps(setup).await {
        app.work();
        let act = json!({
            "plan": "customer", "subject": { "user_id": 7 }, "purpose": "ads", "state": "given",
            "text": { "version": "1", "hash": "a".repeat(64) }, "source": "web",
        });
        let consent = app.admin().post("/v1/consents", &act).await.ok();
        let first = submit(&app, 7).await;
        let before = app.admin().until_end(&first).await;
        assert_eq!(before["status"], "completed");
        age(&app, "2020-01").await;
        comes_back(&app, 7);
        let second = app.admin().submit(7).await.ok()["id"].as_str().unwrap().to_owned();
        let after = app.admin().until_end(&second).await;
        assert_eq!(after["status"], "completed");

        let all = found_in_log(&app, 7).await;
        assert!(of_request(&all, &first) > 3 && of_request(&all, &second) > 3, "{all:#?}");
        // That of each month, and that of the consent.
        let names = shown(&all);
        assert_eq!(names.len(), 3, "{names:?}");
        let (old, new) = (before["subject_ref"].as_str().unwrap(), after["subject_ref"].as_str().unwrap());
        assert!(old != new && names.contains(old) && names.contains(new));
        assert!(before["subject_refs"].as_array().unwrap().iter().any(|one| one["ref"] == old), "{before}");
        for given in [old, new] {
            let by_ref = events(&app, &format!("&subject_ref={given}")).await;
            assert_eq!(by_ref, all, "one of them leads to the person");
            let current = app.auditor().get(&format!("/v1/consents/current?subject_ref={given}")).await.ok();
            assert_eq!(current["items"][0]["id"], consent["id"]);
        }
        let log = events(&app, "").await;
        for compared in column(&app.store, "SELECT ref FROM request_refs") {
            assert!(!format!("{log:?}{all:?}{before}{after}{consent}").contains(&compared), "it has left");
        }

        let later = || Clock.now();
        assert_eq!(
            sweep_until(&app.service, Sweep::Pseudonyms, later()).await,
            Swept::default(),
            "the ledger"
        );
        expire_ledger(&app).await;
        let gone = Swept { requests: 1, idempotency_keys: 1, months: 1, ..Swept::default() };
        assert_eq!(sweep(&app.service, Sweep::Pseudonyms).await, gone);
        assert_eq!(sweep(&app.service, Sweep::Pseudonyms).await, Swept::default(), "there is nothing left");

        let left = found_in_log(&app, 7).await;
        assert_eq!((of_request(&left, &first), of_request(&left, &second)), (0, of_request(&all, &second)));
        assert!(!shown(&left).contains(old), "{left:#?}");
        assert_eq!(found(&app, 7).await, 1);
        // The proof of the consent is still found, and does not lead on.
        assert!(left.iter().any(|event| event["event"] == "consent.recorded"), "{left:#?}");
        assert!(!everything_else(&app).contains(old) && everything_else(&app).contains(new));
        let request = read(&app, &first).await;
        assert_eq!((&request["subject_ref"], &request["subject_refs"]), (&Value::Null, &json!([])));
        assert!(request["reduced_at"].is_string() && request["external_id"].is_null(), "{request}");
        // The log is as it was, and proves what it proved.
        let told = events(&app, &format!("&request_id={first}")).await;
        assert!(told.len() > 3 && shown(&told) == BTreeSet::from([old]), "{told:#?}");
        let details: Vec<Value> = swept(&app).await.iter().map(|event| event["details"].clone()).collect();
        assert_eq!((&details[0]["what"], &details[0]["months"]), (&json!("pseudonyms"), &json!(["2020-01"])));
        assert_eq!((&details[1]["requests"], &details[1]["months"]), (&json!(1), &json!([])));
        audit_verifies(&app).await;
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destroyed_key_never_comes_back_and_one_of_two_is_everybodys() {
    for app in apps(setup).await {
        let (one, other) = (Pseudonyms::default(), Pseudonyms::default());
        let old = at("2020-01");
        let (first, second) = tokio::join!(one.of(&app.service, old), other.of(&app.service, old));
        let (first, second) = (first.unwrap().shown(old, "x"), second.unwrap().shown(old, "x"));
        assert!(first.is_some() && first == second, "{first:?} {second:?}");

        let one_month = Swept { months: 1, ..Swept::default() };
        assert_eq!(sweep(&app.service, Sweep::Pseudonyms).await, one_month);
        assert_eq!(
            column(&app.store, "SELECT destroyed_at FROM period_keys WHERE wrapped_key IS NULL").len(),
            1
        );
        for process in [&app.service.pseudonyms, &Pseudonyms::default()] {
            let keys = process.of(&app.service, old).await.unwrap();
            assert_eq!(keys.shown(old, "x"), None);
            assert_eq!(process.all_with(&app.service, old).await.unwrap().shown(old, "x"), None);
        }
        // The one that did not do it hears of it.
        assert_eq!(other.reload(&app.service).await.unwrap().shown(old, "x"), None);
        for change in [
            "UPDATE period_keys SET destroyed_at = NULL, wrapped_key = NULL",
            "UPDATE period_keys SET period = '2020-02'",
            "DELETE FROM period_keys",
            "INSERT INTO period_keys VALUES ('2020-03', NULL, '2020-03-01 00:00:00', NULL)",
        ] {
            assert!(raw(&app.store, change).await.is_err(), "{change}");
        }
        assert_eq!(count(&app.store, "period_keys"), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_month_keeps_its_key_until_everything_of_it_is_over() {
    for app in apps(setup).await {
        cancelled(&app, 1).await;
        let open = submit(&app, 2).await;
        let body = json!({
            "plan": "customer", "subject": { "user_id": 3 }, "ground": "legal_claims", "reason": "a court",
        });
        let hold = app.admin().post("/v1/holds", &body).await.ok();
        let path = format!("/v1/holds/{}", hold["id"].as_str().unwrap());
        age(&app, "2020-01").await;
        let nothing = async || {
            assert_eq!(sweep(&app.service, Sweep::Pseudonyms).await, Swept::default());
            assert_eq!(
                (found(&app, 1).await, count(&app.store, "period_keys WHERE destroyed_at IS NULL")),
                (1, 1)
            );
        };
        nothing().await;
        // Nor is it in time where it was only answered of late.
        app.admin().post(&format!("/v1/requests/{open}/cancel"), &json!({})).await.ok();
        nothing().await;
        set_time(&app.store, &format!("requests {open}"), "finished_at", at("2020-03"));
        nothing().await;
        app.approver().call(Method::DELETE, &path, None, &[]).await.ok();
        nothing().await;
        let row = path.replace("/v1/holds/", "holds ");
        set_time(&app.store, &row, "ended_at", days_ago(3 * 365 - 2));
        nothing().await;
        let ended = events(&app, "&event=hold.ended").await.remove(0);
        let placed = events(&app, "&event=hold.placed").await.remove(0);
        assert!(ended["subject_ref"].is_string() && ended["subject_ref"] == placed["subject_ref"], "{ended}");

        set_time(&app.store, &row, "ended_at", days_ago(3 * 365 + 2));
        let gone = sweep(&app.service, Sweep::Pseudonyms).await;
        assert_eq!(gone, Swept { requests: 2, holds: 1, idempotency_keys: 2, months: 1 });
        assert_eq!((found(&app, 1).await, found_in_log(&app, 3).await.len()), (0, 0));
        for table in ["request_secrets", "request_refs", "hold_refs", "idempotency_keys"] {
            assert_eq!(count(&app.store, table), 0, "{table}");
        }
        audit_verifies(&app).await;
    }
}

/// What dies in the middle has done nothing, and the next one does it.
#[tokio::test(flavor = "multi_thread")]
async fn a_month_goes_in_one_transaction() {
    for app in apps(setup).await {
        cancelled(&app, 1).await;
        age(&app, "2020-01").await;
        let before = days_ago(3 * 365);
        for _ in 0..2 {
            let due = app.service.store.due(Sweep::Pseudonyms, before, 100).await.unwrap();
            let told = found_in_log(&app, 1).await.len();
            let mut tx = app.service.store.begin().await.unwrap();
            let swept = tx.sweep(Sweep::Pseudonyms, &due, &[], before, Clock.now()).await.unwrap();
            assert_eq!(swept.requests + swept.months, 1);
            drop(tx);
            assert_eq!(found_in_log(&app, 1).await.len(), told);
            assert_eq!(count(&app.store, "period_keys WHERE destroyed_at IS NULL"), 1);
            // First what leads to people, then the key.
            sweep_until(&app.service, Sweep::Pseudonyms, before).await;
        }
        assert_eq!(count(&app.store, "period_keys WHERE destroyed_at IS NULL"), 0);
        assert_eq!(found_in_log(&app, 1).await.len(), 0);
        audit_verifies(&app).await;
    }
}

/// What follows a correction is shown under the month of what follows it: else the hold of an old month would keep a name of a
/// new one, and lead to it when that month has lost its key.
#[tokio::test(flavor = "multi_thread")]
async fn a_hold_that_follows_a_correction_is_shown_as_in_its_own_month() {
    for mut app in apps(setup).await {
        app.change_plan(&CUSTOMER.replace(
            "users: { erase: delete }",
            "users: { erase: delete, rectify: [email], cascade: true }",
        ))
        .await;
        let named = json!({ "plan": "customer", "subject": { "user_id": 5 } });
        let mut hold = named.clone();
        hold["ground"] = json!("legal_claims");
        hold["reason"] = json!("a court");
        app.admin().post("/v1/holds", &hold).await.ok();
        let mut act = named.clone();
        for (member, value) in [("purpose", "ads"), ("state", "given"), ("source", "web")] {
            act[member] = json!(value);
        }
        act["text"] = json!({ "version": "1", "hash": "a".repeat(64) });
        app.admin().post("/v1/consents", &act).await.ok();
        age(&app, "2020-01").await;
        let before = count(&app.store, "hold_refs");
        app.work();
        let mut change = named.clone();
        change["kind"] = json!("rectification");
        change["changes"] = json!({ "shop.users": { "email": "five@example.net" } });
        let request = app.admin().post("/v1/requests", &change).await.ok();
        let done = app.admin().until_end(request["id"].as_str().unwrap()).await;
        assert_eq!(done["outcome"], "done", "{done}");

        let (old, now) = (at("2020-01"), Clock.now());
        let keys = app.service.pseudonyms.reload(&app.service).await.unwrap();
        let rows = |table: &str| app.store.session().rows(&format!("SELECT ref, shown FROM {table}"));
        let cell = |row: &[Option<String>], at: usize| row[at].clone().unwrap();
        for (table, month) in [("hold_refs", old), ("request_refs", now)] {
            for row in rows(table) {
                assert_eq!(keys.shown(month, &cell(&row, 0)), Some(cell(&row, 1)), "{table}");
            }
        }
        let gained = rows("consent_refs")
            .into_iter()
            .filter(|row| keys.shown_of_consent(now, &cell(row, 0)) == Some(cell(row, 1)));
        assert!(gained.count() > 0 && count(&app.store, "hold_refs") > 0 && before > 0);
        // By the new address everything is found, whatever its month.
        let person = json!({ "plan": "customer", "subject": { "email": "five@example.net" } });
        let page = app.auditor().post("/v1/audit/search?limit=500", &person).await.ok();
        let names = page["items"].as_array().unwrap();
        assert!(names.iter().any(|event| event["event"] == "consent.recorded"), "{page}");
        app.stop().await;
    }
}
