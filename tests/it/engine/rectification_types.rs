//! Rectification of every type that the catalogs know, with the values that break naive code; what came of it is read
//! by the database's own client.

mod refusals;
mod tables;

use rightful::domain::request::{Outcome, RunCode};
use serde_json::{Value, json};

use self::{
    refusals::{Refused, refused},
    tables::{Case, cases},
};
use super::{code, harness, pacing};
use crate::support::{
    harness::Harness,
    stores::sqlite_store,
    targets::{Dialect, Target, target_like, targets},
};

/// How the client shows a column.
fn shown(dialect: Dialect, column: &str, kind: &str) -> String {
    let kind = kind.to_lowercase();
    match dialect {
        Dialect::MySql if kind.contains("binary") || kind.contains("blob") => format!("HEX({column})"),
        Dialect::MySql if kind.starts_with("bit") => format!("CAST({column} + 0 AS CHAR)"),
        Dialect::MySql if kind.starts_with("point") => format!("ST_AsText({column})"),
        Dialect::MySql => format!("CAST({column} AS CHAR)"),
        Dialect::Sqlite if kind == "blob" => format!("CASE WHEN {column} IS NOT NULL THEN hex({column}) END"),
        Dialect::Sqlite => format!("CAST({column} AS TEXT)"),
        Dialect::Postgres => column.to_owned(),
    }
}

/// The table, with a row of the person and one of somebody else.
fn schema(target: &Target, cases: &[Case]) -> String {
    let types = match target.dialect {
        Dialect::Postgres => {
            "CREATE TYPE mood AS ENUM ('sad', 'very ''''happy');
             CREATE DOMAIN small_text AS varchar(4) CHECK (VALUE <> 'evil');
             CREATE DOMAIN d_bits AS bit(4); CREATE DOMAIN d_texts AS varchar(3)[];
             CREATE DOMAIN d_decimal AS numeric(8,3); CREATE DOMAIN d_instant AS timestamptz(3);
             CREATE DOMAIN d_local AS timestamp; CREATE DOMAIN d_double AS double precision;
             CREATE TYPE pair AS (a int, b numeric(5,2));\n"
        }
        _ => "",
    };
    let columns: Vec<String> =
        cases.iter().enumerate().map(|(at, (kind, ..))| format!("c{at} {kind}")).collect();
    let values: Vec<&str> = cases.iter().map(|(_, value, _)| *value).collect();
    format!(
        "{types}CREATE TABLE users (id INTEGER PRIMARY KEY, {});\nINSERT INTO users VALUES (1, {}), (2, {});",
        columns.join(", "),
        values.join(", "),
        values.join(", "),
    )
}

fn plan(columns: usize) -> String {
    let columns: Vec<String> = (0..columns).map(|at| format!("c{at}")).collect();
    format!(
        "plan: customer
subject:
  user_id: shop.users.id
connections:
  shop:
    users:
      erase: delete
      rectify: [{}]
",
        columns.join(", ")
    )
}

fn cells(target: &Target, cases: &[Case], id: u32) -> Vec<Option<String>> {
    let columns: Vec<String> = cases
        .iter()
        .enumerate()
        .map(|(at, (kind, ..))| shown(target.dialect, &format!("c{at}"), kind))
        .collect();
    let mut rows = target.rows(&format!("SELECT {} FROM users WHERE id = {id}", columns.join(", ")));
    rows.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_takes_what_it_can_hold_and_holds_it_unchanged() {
    for target in targets() {
        let cases = cases(target.dialect);
        let (harness, _store) = harness(&target, &schema(&target, &cases), &plan(cases.len())).await;
        let others = cells(&target, &cases, 2);
        let rounds = cases.iter().map(|(.., values)| values.len()).max().unwrap();
        for round in 0..rounds {
            let mut expected = cells(&target, &cases, 1);
            let mut changes = serde_json::Map::new();
            for (at, (.., values)) in cases.iter().enumerate() {
                if let Some((given, shown)) = values.get(round) {
                    changes.insert(format!("c{at}"), given.clone());
                    expected[at] = shown.map(str::to_owned);
                }
            }
            for rows in [1, 0] {
                let subject = json!({ "user_id": 1 });
                let changes = json!({ "shop.users": changes.clone() });
                let id = harness
                    .rectify("customer", subject, changes)
                    .await
                    .unwrap_or_else(|refused| panic!("{:?}: {refused:?}", target.dialect));
                let request = harness.run(id).await;
                let outcome = request.state.outcome();
                assert_eq!(outcome, Some(Outcome::Done), "{:?} {round}: {request:?}", target.dialect);
                assert_eq!(request.steps[0].rows_affected, rows, "{:?} {round}", target.dialect);
                assert_eq!(request.steps[0].rows_remaining, Some(0));
                for ((found, expected), (kind, ..)) in
                    cells(&target, &cases, 1).into_iter().zip(&expected).zip(&cases)
                {
                    assert_eq!(found, *expected, "{:?} {kind}, round {round}", target.dialect);
                }
            }
        }
        assert_eq!(cells(&target, &cases, 2), others, "{:?}: nobody else's", target.dialect);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_type_cannot_hold_is_refused_at_its_place() {
    for target in targets() {
        let refused = refused(target.dialect);
        let cases: Vec<Case> = refused.iter().map(|(kind, value, _)| (*kind, *value, Vec::new())).collect();
        let (harness, _store) = harness(&target, &schema(&target, &cases), &plan(cases.len())).await;
        let changes: serde_json::Map<String, Value> =
            refused.iter().enumerate().map(|(at, (.., given))| (format!("c{at}"), given.clone())).collect();
        let told =
            harness.rectify("customer", json!({ "user_id": 1 }), json!({ "shop.users": changes })).await;
        let Err(rightful::service::error::ServiceError::Changes(fault)) = told else {
            panic!("{:?}: accepted", target.dialect)
        };
        let told: Vec<&str> = fault.errors.iter().map(|error| error.pointer.as_str()).collect();
        for (at, (kind, _, given)) in refused.iter().enumerate() {
            let pointer = format!("/changes/shop.users/c{at}");
            assert!(told.contains(&pointer.as_str()), "{:?} {kind} took {given}", target.dialect);
        }
    }
}

/// What only the database can judge is tried there before anything is written, and is over at once.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_database_does_not_take_ends_the_request_with_nothing_done() {
    for target in targets() {
        let refused: Refused = match target.dialect {
            Dialect::Postgres => vec![
                ("mood", "'sad'", json!("glad")),
                ("small_text", "'x'", json!("evil")),
                ("inet", "'::1'", json!("10.0.0.256")),
                ("xml", "'<a/>'", json!("<a>")),
                ("character varying(3)[]", "'{}'", json!(["four"])),
                ("integer[]", "'{}'", json!([[1], [2, 3]])),
                ("jsonb", "'1'", json!({ "a": "\0" })),
                ("d_texts", "'{}'", json!(["abcd"])),
                ("pair", "'(1,2)'", json!("(1,1.005)")),
                ("interval year to month", "'1 year'", json!("1 year 3 days")),
                ("interval", "'1 day'", json!("soon")),
            ],
            Dialect::MySql => vec![
                ("varchar(5) CHARACTER SET latin1", "'x'", json!("🦀")),
                ("inet6", "'::1'", json!("10.0.0.256.1")),
                ("point", "POINT(0,0)", json!("POINT(")),
            ],
            Dialect::Sqlite => continue,
        };
        let cases: Vec<Case> = refused.iter().map(|(kind, value, _)| (*kind, *value, Vec::new())).collect();
        let (harness, _store) = harness(&target, &schema(&target, &cases), &plan(cases.len())).await;
        let before = cells(&target, &cases, 1);
        for (at, (kind, _, given)) in refused.iter().enumerate() {
            let changes = json!({ "shop.users": { format!("c{at}"): given } });
            let id = harness.rectify("customer", json!({ "user_id": 1 }), changes).await.unwrap();
            let request = harness.run(id).await;
            assert_eq!(code(&request), Some(RunCode::InvalidChanges), "{kind}: {request:?}");
            assert_eq!(request.state.outcome(), Some(Outcome::NothingDone), "{kind}");
            let detail = &request.state.error().unwrap().detail;
            assert!(detail.contains(&format!("c{at}")), "{kind}: {detail}");
        }
        assert_eq!(cells(&target, &cases, 1), before, "{:?}", target.dialect);
    }
}

/// What one database refuses is known before another has changed, and is not waited for.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_check_refuses_fails_before_anything_is_written() {
    const PLAN: &str = "plan: customer
subject:
  user_id: shop.users.id
connections:
  shop:
    users:
      erase: delete
      rectify: [name]
  crm:
    contacts:
      match: { id: shop.users.id }
      erase: delete
      rectify: [name]
";
    for shop in targets() {
        let crm = target_like(&shop);
        shop.execute("CREATE TABLE users (id INTEGER PRIMARY KEY, name VARCHAR(9));");
        shop.execute("INSERT INTO users VALUES (1, 'Jane');");
        crm.execute(
            "CREATE TABLE contacts (id INTEGER PRIMARY KEY, name VARCHAR(9), CHECK (name <> 'Nobody'));",
        );
        crm.execute("INSERT INTO contacts VALUES (1, 'Jane');");
        if crm.dialect == Dialect::Postgres {
            crm.execute(
                "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                   IF NEW.name = 'Late' THEN RAISE check_violation; END IF; RETURN NULL; END $$;
                 CREATE CONSTRAINT TRIGGER late AFTER UPDATE ON contacts DEFERRABLE INITIALLY DEFERRED
                   FOR EACH ROW EXECUTE FUNCTION refuse();",
            );
        }
        let store = sqlite_store().await;
        let connections = [("shop", shop.url.as_str()), ("crm", crm.url.as_str())];
        let harness = Harness::new(store.store.clone(), &connections, pacing());
        harness.register(PLAN).await.unwrap_or_else(|faults| panic!("{faults}"));
        let rectified = async |ours: &str, theirs: &str| {
            let changes = json!({ "shop.users": { "name": ours }, "crm.contacts": { "name": theirs } });
            let id = harness.rectify("customer", json!({ "user_id": 1 }), changes).await.unwrap();
            harness.run(id).await
        };
        // The second is checked at the commit only.
        let refused: &[&str] =
            if crm.dialect == Dialect::Postgres { &["Nobody", "Late"] } else { &["Nobody"] };
        for name in refused {
            let request = rectified("J", name).await;
            assert_eq!(code(&request), Some(RunCode::InvalidChanges), "{:?}", request.state);
            assert_eq!(request.state.outcome(), Some(Outcome::NothingDone));
            assert_eq!(shop.rows("SELECT name FROM users"), [[Some("Jane".to_owned())]]);
        }
        assert_eq!(rectified("J", "J").await.state.outcome(), Some(Outcome::Done));
        assert_eq!(shop.rows("SELECT name FROM users"), [[Some("J".to_owned())]]);
    }
}
