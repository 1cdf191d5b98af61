//! Policies against schemas.

use chrono::{DateTime, Utc};

use super::*;
use crate::domain::{
    compile::tests::catalog::catalog as catalog_of,
    compiled::{Alternative, Source, Step},
    document::Fault,
};

const TABLES: &str = "users: id int pk, email text null, seen timestamp null
    orders: id int pk, user_id int -> users.id, placed timestamp, note text null, gone timestamp null
    items: id int pk, order_id int -> orders.id
    parts: id int pk, item_id int -> items.id";

fn policy(table: &str, timestamp: &str, action: PolicyAction, children: &[&str]) -> Policy {
    let at = |value: &str| At { line: 2, value: value.to_owned() };
    let name = |name: &str| At { line: 3, value: Reference::split(name).unwrap() };
    Policy {
        name: "old".to_owned(),
        file: "rightful.yaml".to_owned(),
        line: 1,
        connection: at("shop"),
        table: name(table),
        timestamp: at(timestamp),
        older_than: "1y".parse().unwrap(),
        nulls: None,
        filter: None,
        action: At { line: 4, value: action },
        children: children.iter().map(|child| name(child)).collect(),
        basis: "books".to_owned(),
        allow_all: false,
    }
}

fn compiled(policy: &Policy) -> Result<CompiledPolicy, Vec<Fault>> {
    let now: DateTime<Utc> = "2026-01-31T00:00:00Z".parse().unwrap();
    compile(policy, &catalog_of(TABLES), Moments { before: now, now })
}

fn refused(policy: &Policy) -> String {
    let faults = compiled(policy).unwrap_err();
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn names(steps: &[Step]) -> Vec<&str> {
    steps.iter().map(|step| step.name.as_str()).collect()
}

#[test]
fn children_go_first_and_only_where_the_policy_says_so() {
    let alone = refused(&policy("orders", "placed", PolicyAction::Delete, &[]));
    assert!(alone.contains("a foreign key of `items` points at `orders`"), "{alone}");
    assert!(alone.contains("add `items` to `children`"), "{alone}");
    let half = refused(&policy("orders", "placed", PolicyAction::Delete, &["items"]));
    assert!(half.contains("a foreign key of `parts` points at `items`"), "{half}");
    let whole = compiled(&policy("orders", "placed", PolicyAction::Delete, &["items", "parts"])).unwrap();
    let steps = whole.steps(&Kept::default());
    assert_eq!(names(&steps), ["shop.parts", "shop.items", "shop.orders"]);
    assert!(matches!(steps[2].rows.any_of[..], [Alternative::Age(_)]), "{:?}", steps[2].rows);
    for step in &steps[..2] {
        let links = step.rows.any_of.iter().flat_map(Alternative::links);
        assert!(
            links.clone().count() > 0 && links.clone().all(|link| matches!(link.source, Source::Live(_)))
        );
    }
    let unrelated = refused(&policy("parts", "id", PolicyAction::Delete, &["users"]));
    assert!(
        unrelated.contains("`id` is of type") && unrelated.contains("no foreign key of `users`"),
        "{unrelated}"
    );
    let kept = refused(&policy("orders", "placed", PolicyAction::SoftDelete("gone".to_owned()), &["items"]));
    assert!(kept.contains("removes no rows"), "{kept}");
}

#[test]
fn a_policy_says_what_null_means_and_names_a_time() {
    let silent = refused(&policy("users", "seen", PolicyAction::SoftDelete("seen".to_owned()), &[]));
    assert!(silent.contains("may be NULL") && silent.contains("nulls: keep"), "{silent}");
    let told = Policy {
        nulls: Some(Nulls::Keep),
        ..policy("users", "seen", PolicyAction::SoftDelete("seen".to_owned()), &[])
    };
    compiled(&told).unwrap();
    for (table, column, problem) in [
        ("orders", "plcaed", "did you mean `placed`?"),
        ("oders", "placed", "did you mean `orders`?"),
        ("orders", "note", "which is no time"),
    ] {
        let text = refused(&policy(table, column, PolicyAction::Delete, &["items", "parts"]));
        assert!(text.contains(problem), "{text}");
    }
    let mark = refused(&policy("orders", "placed", PolicyAction::SoftDelete("note".to_owned()), &[]));
    assert!(mark.contains("cannot say that a row is deleted"), "{mark}");
}

/// What is kept keeps what it points at.
#[test]
fn rows_that_kept_rows_point_at_stay() {
    let policy = compiled(&policy("orders", "placed", PolicyAction::Delete, &["items", "parts"])).unwrap();
    let plain = policy.steps(&Kept::default());
    let mut kept = Kept::default();
    kept.add(plain[0].rows.clone());
    let steps = policy.steps(&kept);
    let excepted: Vec<usize> = steps.iter().map(|step| step.rows.except.len()).collect();
    assert_eq!(excepted, [1, 1, 1], "{steps:#?}");
    let mut own = Kept::default();
    own.add(plain[2].rows.clone());
    let steps = policy.steps(&own);
    let excepted: Vec<usize> = steps.iter().map(|step| step.rows.except.len()).collect();
    assert_eq!(excepted, [0, 0, 1]);
    let Source::Live(parents) = &steps[1].rows.any_of[0].links()[0].source else { panic!("{steps:?}") };
    assert_eq!(parents[0].except.len(), 1, "items of a kept order stay");
}

#[test]
fn the_version_tells_what_would_be_done() {
    let first =
        compiled(&policy("orders", "placed", PolicyAction::SoftDelete("gone".to_owned()), &[])).unwrap();
    let later = {
        let now: DateTime<Utc> = "2027-01-31T00:00:00Z".parse().unwrap();
        let policy = policy("orders", "placed", PolicyAction::SoftDelete("gone".to_owned()), &[]);
        compile(&policy, &catalog_of(TABLES), Moments { before: now, now }).unwrap()
    };
    assert_eq!(first.version, later.version, "the moment is the run's");
    let other = Policy {
        older_than: "2y".parse().unwrap(),
        ..policy("orders", "placed", PolicyAction::SoftDelete("gone".to_owned()), &[])
    };
    assert_ne!(first.version, compiled(&other).unwrap().version);
}

/// The rows that it reads would be gone when it is asked for the second time.
#[test]
fn a_condition_reads_no_table_whose_rows_go_first() {
    let filter =
        Some(At { line: 9, value: "EXISTS (SELECT 1 FROM Items i WHERE i.order_id = orders.id)".to_owned() });
    let policy = Policy { filter, ..policy("orders", "placed", PolicyAction::Delete, &["items", "parts"]) };
    let told = refused(&policy);
    assert!(told.starts_with("rightful.yaml:9: error: `where` reads `items`"), "{told}");
}
