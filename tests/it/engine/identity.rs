//! Whose row is it? Keys that are shared, given to somebody else, or written in another case.

use rightful::domain::request::{Outcome, RunCode, Status};
use serde_json::json;

use super::{code, count, harness};
use crate::support::targets::{Dialect, targets};

const PLAN: &str = "plan: customer
subject:
  user_id: shop.users.id
  email: shop.users.email
connections:
  shop:
    users:
      erase: delete
    visits:
      match: { email: users.email }
      erase: delete
";

const SCHEMA: &str = "CREATE TABLE users (id INTEGER PRIMARY KEY, email VARCHAR(100) NOT NULL);
    CREATE TABLE visits (id INTEGER PRIMARY KEY, email VARCHAR(100) NOT NULL);
    INSERT INTO users VALUES (1, 'jane@example.com'), (2, 'joe@example.com'), (3, 'joe@example.com');
    INSERT INTO visits VALUES (10, 'jane@example.com'), (11, 'JANE@example.com'), (12, 'jane@example.com '),
      (20, 'joe@example.com');";

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_compared_exactly_whatever_the_collation() {
    for target in targets() {
        let (harness, _store) = harness(&target, SCHEMA, PLAN).await;
        let id = harness.submit("customer", json!({ "user_id": 1 })).await;
        let request = harness.run(id).await;
        assert_eq!(request.state.outcome(), Some(Outcome::Done), "{:?}: {:?}", target.dialect, request.state);
        assert_eq!(count(&target, "visits"), 3, "{:?}: case and trailing blanks count", target.dialect);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_two_people_share_is_ambiguous() {
    for target in targets() {
        let (harness, _store) = harness(&target, SCHEMA, PLAN).await;
        let id = harness.submit("customer", json!({ "user_id": 2 })).await;
        let request = harness.run(id).await;
        assert_eq!(
            code(&request),
            Some(RunCode::SubjectAmbiguous),
            "{:?}: {:?}",
            target.dialect,
            request.state
        );
        assert_eq!(request.state.outcome(), Some(Outcome::NothingDone));
        assert_eq!((count(&target, "users"), count(&target, "visits")), (3, 4));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_in_another_case_is_a_question_not_a_no() {
    for target in targets() {
        let (harness, _store) = harness(&target, SCHEMA, PLAN).await;
        let id = harness.submit("customer", json!({ "email": "Jane@example.com" })).await;
        let request = harness.run(id).await;
        assert_eq!(
            code(&request),
            Some(RunCode::SubjectAmbiguous),
            "{:?}: {:?}",
            target.dialect,
            request.state
        );
        assert_eq!(count(&target, "users"), 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_ignore_case_all_spellings_are_one() {
    for target in targets() {
        let plan =
            PLAN.replace("email: shop.users.email", "email: { column: shop.users.email, ignore_case: true }");
        let (harness, _store) = harness(&target, SCHEMA, &plan).await;
        let id = harness.submit("customer", json!({ "email": "JANE@EXAMPLE.COM" })).await;
        let request = harness.run(id).await;
        assert_eq!(request.state.outcome(), Some(Outcome::Done), "{:?}: {:?}", target.dialect, request.state);
        assert_eq!(count(&target, "visits"), 2, "{:?}: only the trailing blank differs", target.dialect);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn identities_of_two_people_are_ambiguous() {
    for target in targets() {
        let (harness, _store) = harness(&target, SCHEMA, PLAN).await;
        let id = harness.submit("customer", json!({ "user_id": 2, "email": "jane@example.com" })).await;
        let request = harness.run(id).await;
        assert_eq!(code(&request), Some(RunCode::SubjectAmbiguous), "{:?}", target.dialect);
        assert_eq!(count(&target, "users"), 3);
    }
}

/// The root row goes, somebody else gets its key, and the request that was interrupted comes back.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_was_given_to_somebody_else_is_not_touched() {
    for target in targets() {
        let (harness, _store) = harness(&target, SCHEMA, PLAN).await;
        let mut holder = target.session();
        holder.execute(if target.dialect == Dialect::Sqlite { "BEGIN IMMEDIATE" } else { "BEGIN" });
        holder.execute("UPDATE visits SET email = email WHERE id = 10");
        let id = harness.submit("customer", json!({ "user_id": 1 })).await;
        let request = harness.run(id).await;
        assert_eq!(request.status(), Status::Paused, "{:?}: {:?}", target.dialect, request.state);
        holder.execute("ROLLBACK");
        drop(holder);
        target.execute("DELETE FROM users WHERE id = 1; INSERT INTO users VALUES (1, 'new@example.com');");
        harness.make_due(id).await;
        let request = harness.run(id).await;
        assert_eq!(
            code(&request),
            Some(RunCode::SubjectAmbiguous),
            "{:?}: {:?}",
            target.dialect,
            request.state
        );
        assert_eq!(
            target.rows("SELECT email FROM users WHERE id = 1"),
            vec![vec![Some("new@example.com".into())]]
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_whose_own_key_finds_nothing_is_a_question() {
    let plan = "plan: customer
subject:
  email: shop.users.email
connections:
  shop:
    users:
      erase: delete
    visits:
      match: { email: users.email }
      erase: delete
";
    for target in targets() {
        let schema = "CREATE TABLE users (id VARCHAR(20) PRIMARY KEY, email VARCHAR(100) NOT NULL);
            CREATE TABLE visits (id INTEGER PRIMARY KEY, email VARCHAR(100) NOT NULL);
            INSERT INTO users VALUES ('', 'jane@example.com'), ('b', 'joe@example.com');
            INSERT INTO visits VALUES (10, 'jane@example.com'), (20, 'joe@example.com');";
        let (harness, _store) = harness(&target, schema, plan).await;
        if target.dialect == Dialect::Sqlite {
            // Its text keys may be NULL.
            target.execute("UPDATE users SET id = NULL WHERE id = '';");
        }
        let id = harness.submit("customer", json!({ "email": "jane@example.com" })).await;
        let request = harness.run(id).await;
        assert_eq!(code(&request), Some(RunCode::SubjectAmbiguous), "{:?}: {:?}", target.dialect, request);
        assert_eq!((count(&target, "users"), count(&target, "visits")), (2, 2), "nothing was touched");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_people_whose_keys_differ_by_their_type_alone_are_a_question() {
    for target in targets().into_iter().filter(|target| target.dialect == Dialect::Sqlite) {
        let schema = "CREATE TABLE users (id PRIMARY KEY, email VARCHAR(100) NOT NULL);
            CREATE TABLE visits (id INTEGER PRIMARY KEY, email VARCHAR(100) NOT NULL);
            INSERT INTO users VALUES (1, 'jane@example.com'), ('1', 'joe@example.com'), (2, 'ann@example.com');";
        let (harness, _store) = harness(&target, schema, PLAN).await;
        let id = harness.submit("customer", json!({ "email": "jane@example.com" })).await;
        let request = harness.run(id).await;
        assert_eq!(code(&request), Some(RunCode::SubjectAmbiguous), "{:?}", request.state);
        let id = harness.submit("customer", json!({ "email": "ann@example.com" })).await;
        let request = harness.run(id).await;
        assert_eq!(request.state.outcome(), Some(Outcome::Done), "{:?}", request.state);
        assert_eq!(count(&target, "users"), 2);
    }
}

/// Between the last look at the row and its removal, which a trigger on what goes before it stands for here.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_changes_hands_at_the_last_moment_is_not_touched() {
    for target in targets() {
        let hand_over = "UPDATE users SET email = 'new@example.com' WHERE id = 1";
        let trigger = match target.dialect {
            Dialect::Postgres => format!(
                "CREATE FUNCTION hand_over() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN {hand_over}; RETURN OLD; END$$;
                 CREATE TRIGGER hands BEFORE DELETE ON visits FOR EACH ROW EXECUTE FUNCTION hand_over();"
            ),
            Dialect::Sqlite => format!("CREATE TRIGGER hands BEFORE DELETE ON visits BEGIN {hand_over}; END;"),
            Dialect::MySql => {
                format!("CREATE TRIGGER hands BEFORE DELETE ON visits FOR EACH ROW {hand_over};")
            }
        };
        let (harness, _store) = harness(&target, &format!("{SCHEMA} {trigger}"), PLAN).await;
        let id = harness.submit("customer", json!({ "user_id": 1 })).await;
        let request = harness.run(id).await;
        assert_ne!(request.status(), Status::Completed, "{:?}: {:?}", target.dialect, request.state);
        assert_eq!(
            target.rows("SELECT email FROM users WHERE id = 1"),
            vec![vec![Some("new@example.com".into())]],
            "{:?}",
            target.dialect
        );
    }
}
