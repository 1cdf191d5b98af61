//! A request's subject against a compiled plan.

use serde_json::{Value, json};

use super::{
    super::{SubjectCode, check_subject, subject_refs},
    compiled,
};
use crate::domain::{compiled::CompiledPlan, key::Key, request::Subject, vault::Vault};

fn plan() -> CompiledPlan {
    let catalog = "users: id int pk, email text unique, code uuid unique, small smallint unique, tenant int";
    let text = "plan: p\nsubject:\n  user_id: shop.users.id\n  email: { column: shop.users.email, ignore_case: true }\n  code: shop.users.code\n  small: shop.users.small\n  scope: { tenant: shop.users.tenant }\nconnections:\n  shop:\n    users: { erase: delete }\n";
    compiled(text, &[("shop", catalog)])
}

fn subject(value: Value) -> Subject {
    Subject(serde_json::from_value(value).expect("an object"))
}

#[test]
fn values_that_fit() {
    let plan = plan();
    for (given, column, key) in [
        (json!({ "user_id": 42, "tenant": 1 }), "id", "42"),
        (json!({ "user_id": "0042", "tenant": 1 }), "id", "42"),
        (json!({ "user_id": -7, "tenant": 1 }), "id", "-7"),
        (json!({ "email": "Jane@Example.com", "tenant": 1 }), "email", "Jane@Example.com"),
        (json!({ "email": 7, "tenant": 1 }), "email", "7"),
        (
            json!({ "code": "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "tenant": 1 }),
            "code",
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        ),
        (json!({ "small": 32767, "tenant": "1" }), "small", "32767"),
    ] {
        let keys = check_subject(&plan, &subject(given.clone()))
            .unwrap_or_else(|fault| panic!("{given}: {fault:?}"));
        assert_eq!(keys.len(), 2, "{given}");
        assert_eq!(plan.root.columns[keys[0].0].name, column);
        assert!(keys[0].1 == Key::Text(key.to_owned()), "{given}");
    }
}

#[test]
fn values_that_do_not() {
    let plan = plan();
    for (given, pointers) in [
        (json!({ "user_id": "abc", "tenant": 1 }), vec!["/subject/user_id"]),
        (json!({ "user_id": 4.5, "tenant": 1 }), vec!["/subject/user_id"]),
        (json!({ "user_id": 42.0, "tenant": 1 }), vec!["/subject/user_id"]),
        (json!({ "user_id": 2_147_483_648_i64, "tenant": 1 }), vec!["/subject/user_id"]),
        (json!({ "user_id": "", "tenant": 1 }), vec!["/subject/user_id"]),
        (json!({ "user_id": " 1", "tenant": 1 }), vec!["/subject/user_id"]),
        (json!({ "user_id": true, "tenant": 1 }), vec!["/subject/user_id"]),
        (json!({ "email": null, "tenant": 1 }), vec!["/subject/email"]),
        (json!({ "email": ["a"], "tenant": 1 }), vec!["/subject/email"]),
        (json!({ "email": "a\u{0}b", "tenant": 1 }), vec!["/subject/email"]),
        (json!({ "code": "jane", "tenant": 1 }), vec!["/subject/code"]),
        (json!({ "small": 32768, "tenant": "x" }), vec!["/subject/small", "/subject/tenant"]),
        (json!({ "user_id": 1 }), vec!["/subject/tenant"]),
        (json!({ "tenant": 1 }), vec!["/subject"]),
        (json!({}), vec!["/subject/tenant", "/subject"]),
    ] {
        let fault = check_subject(&plan, &subject(given.clone())).expect_err(&given.to_string());
        assert_eq!(fault.code, SubjectCode::InvalidIdentity, "{given}");
        let found: Vec<&str> = fault.errors.iter().map(|error| error.pointer.as_str()).collect();
        assert_eq!(found, pointers, "{given}");
    }
    let fault = check_subject(&plan, &subject(json!({ "e/mail~": "x" }))).unwrap_err();
    assert_eq!(
        (fault.code, fault.errors[0].pointer.as_str()),
        (SubjectCode::UnknownIdentity, "/subject/e~1mail~0")
    );
    assert!(fault.errors[0].detail.contains("did you mean `email`"), "{}", fault.errors[0].detail);
}

#[test]
fn refs_are_over_the_compared_form_and_the_scope() {
    let plan = plan();
    let vault = Vault::new(&[7; 32]);
    let refs = |email: &str, tenant: Option<&str>| {
        let text = |text: &str| Some(Key::Text(text.to_owned()));
        let mut tuple = vec![None; plan.root.columns.len()];
        tuple[plan.root.identities[0].column] = text("42");
        tuple[plan.root.identities[1].column] = text(email);
        tuple[plan.root.scope[0].column] = tenant.and_then(text);
        subject_refs(&plan, &vault, &tuple)
    };
    let one = refs("Jane@x", Some("1"));
    assert_eq!(one.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["user_id", "email"]);
    assert_eq!(one, refs("jane@X", Some("1")));
    assert_ne!(one[0].1, refs("jane@X", Some("2"))[0].1);
    assert_ne!(one[0].1, one[1].1);
    assert_eq!(refs("", Some("1")).len(), 1);
    assert!(refs("a", None).is_empty());
}
