//! `rectify` and `cascade`: what they compile to, and what is said of them.

use serde_json::json;

use super::{compiled, errors, shop, shown, try_compile};
use crate::domain::{
    compiled::{Action, CompiledPlan, Step},
    document::Severity,
    rectification::{Changes, Correctable, bind},
};

const TABLES: &str = "users: id int pk, email text unique, name text(20)
    orders: id int pk, user_id int -> users.id, note text
    items: id int pk, order_note text, label text";

fn columns(step: &Step) -> Vec<(&str, bool)> {
    match &step.action {
        Action::Rectify(found) => {
            found.columns.iter().map(|column| (column.column.name.as_str(), column.listed)).collect()
        }
        other => panic!("{other:?}"),
    }
}

fn correctable<'p>(plan: &'p CompiledPlan, step: &str, column: &str) -> &'p Correctable {
    let step = plan.rectification.iter().find(|known| known.name == step).expect("the step");
    let Action::Rectify(found) = &step.action else { panic!("{step:?}") };
    found.columns.iter().find(|known| known.column.name == column).expect("the column")
}

fn changes(given: serde_json::Value) -> Changes {
    serde_json::from_value(given).unwrap()
}

#[test]
fn what_is_found_through_others_comes_before_them_and_copies_are_known() {
    let plan = compiled(
        &shop(
            "    users: { erase: { keep: books }, rectify: [email] }
    orders: { match: { user_id: users.id }, erase: { keep: books }, rectify: [note] }
    items: { match: { order_note: orders.note }, erase: { none: stock } }\n",
        ),
        &[("shop", TABLES)],
    );
    let steps: Vec<_> = plan.rectification.iter().map(|step| (step.name.as_str(), columns(step))).collect();
    assert_eq!(
        steps,
        [
            ("shop.items", vec![("order_note", false)]),
            ("shop.orders", vec![("note", true)]),
            ("shop.users", vec![("email", true)]),
        ]
    );
    let copies = &correctable(&plan, "shop.orders", "note").copies;
    assert_eq!((copies[0].step.as_str(), copies[0].column.as_deref()), ("shop.items", Some("order_note")));
    let email = correctable(&plan, "shop.users", "email");
    assert!(email.unique.iter().all(|unique| unique.columns.len() == 1), "{email:?}");
}

/// The copy is found through the very value that changes, so it is written, and counted, first.
#[test]
fn a_copy_is_counted_before_its_path_is_cut() {
    let plan = compiled(
        &shop(
            "    users: { erase: delete }
    orders: { match: { user_id: users.id }, erase: delete, rectify: [note], cascade: true }
    items: { match: { order_note: orders.note }, erase: delete }\n",
        ),
        &[("shop", TABLES)],
    );
    let steps = bind(&plan, &changes(json!({ "shop.orders": { "note": "n" } }))).unwrap();
    let found: Vec<_> = steps.iter().map(|step| (step.name.as_str(), step.cuts.clone())).collect();
    assert_eq!(found, [("shop.items", vec![]), ("shop.orders", vec![0])]);
}

#[test]
fn what_only_sql_matches_cannot_be_carried_along() {
    let plan = compiled(
        &shop(
            "    users: { erase: delete, rectify: [email], cascade: true }
    orders: { match: { user_id: users.id }, erase: delete }
    items: { match: { sql: 'label = upper({users.email})' }, erase: delete }\n",
        ),
        &[("shop", TABLES)],
    );
    let fault = bind(&plan, &changes(json!({ "shop.users": { "email": "n" } }))).unwrap_err();
    assert!(fault.errors[0].detail.contains("shop.items"), "{fault:?}");
}

#[test]
fn columns_that_cannot_change_are_warned_of_and_senseless_ones_refused() {
    let plan = "    users: { erase: delete, rectify: [id, name] }
    orders: { match: { user_id: users.id }, erase: delete }\n";
    let warned = try_compile(&shop(plan), &[("shop", TABLES)]).unwrap().warnings;
    let warned: Vec<_> = warned.iter().filter(|fault| fault.severity == Severity::Warning).collect();
    assert!(warned.iter().any(|fault| fault.problem.contains("`id`")), "{warned:?}");
    for (plan, problem) in [
        ("    users: { erase: delete, cascade: true }\n", "stands beside no `rectify`"),
        (
            "    users: [ { erase: delete }, { name: x, match: { name: users.name }, erase: unlink, rectify: [name] } ]\n",
            "other people's rows",
        ),
    ] {
        let tables = "users: id int pk, email text unique, name text(20) null";
        let faults = shown(&errors(&shop(plan), &[("shop", tables)]));
        assert!(faults.contains(problem), "{faults}");
    }
    let scoped = "plan: p\nsubject:\n  user_id: shop.users.id\n  scope: { tenant: shop.users.name }\nconnections:\n  shop:\n    users: { erase: delete, rectify: [name] }\n";
    let faults = shown(&errors(scoped, &[("shop", "users: id int pk, name text")]));
    assert!(faults.contains("part of the scope"), "{faults}");
}

/// Erasures that are open must not wait for somebody to widen a column that might be corrected.
#[test]
fn only_the_names_of_columns_count_for_the_version() {
    let plan = shop("    users: { erase: delete, rectify: [name] }\n");
    let version = |tables: &str| compiled(&plan, &[("shop", tables)]).version;
    let narrow = version("users: id int pk, email text, name text(20)");
    assert_eq!(narrow, version("users: id int pk, email text, name text(200) null unique"));
    let other = shop("    users: { erase: delete, rectify: [email] }\n");
    assert_ne!(narrow, compiled(&other, &[("shop", "users: id int pk, email text, name text(20)")]).version);
}

/// Entries that are matched through each other are refused, and looked at without end by nobody.
#[test]
fn matches_in_a_circle_are_refused_all_the_same() {
    let plan = shop(
        "    users: { erase: delete }
    orders: { match: { note: items.label }, erase: delete, rectify: [note] }
    items: { match: { label: orders.note }, erase: delete, rectify: [label] }\n",
    );
    assert!(!errors(&plan, &[("shop", TABLES)]).is_empty());
}

/// The partner's address has the name of the person's own, and is another one.
#[test]
fn a_column_of_the_same_name_is_no_copy() {
    let plan = compiled(
        &shop(
            "    users: { erase: delete, rectify: [email], cascade: true }
    partners: { match: { user_id: users.id }, erase: delete }
    letters: { match: { partner_email: partners.email }, erase: delete }\n",
        ),
        &[(
            "shop",
            "users: id int pk, email text
            partners: id int pk, user_id int -> users.id, email text
            letters: id int pk, partner_email text",
        )],
    );
    let steps: Vec<_> = plan.rectification.iter().map(|step| (step.name.as_str(), columns(step))).collect();
    assert_eq!(steps, [("shop.users", vec![("email", true)])]);
}
