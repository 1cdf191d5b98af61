//! Plans over one table, side by side.

use super::{catalog, plan};
use crate::domain::{agreement::disagreements, compile::compile, compiled::CompiledPlan, plan::PlanFile};

const TABLES: &str = "users: id int pk, email text unique, phone text unique, tenant int, name text
    accounts: id int pk, email text unique";

fn plan_of(name: &str, subject: &str, tables: &str) -> (PlanFile, CompiledPlan) {
    let text = format!("plan: {name}\nsubject: {subject}\nconnections:\n  shop:\n{tables}");
    let file = plan::parse(&format!("{name}.yaml"), &text).unwrap();
    let catalogs = [("shop".to_owned(), catalog::catalog(TABLES))].into();
    let compiled = compile(&file, &catalogs).unwrap_or_else(|faults| panic!("{}", super::shown(&faults)));
    (file, compiled.plan)
}

fn told(plans: &[(PlanFile, CompiledPlan)]) -> Vec<String> {
    let plans: Vec<_> = plans.iter().map(|(file, plan)| (file, plan)).collect();
    disagreements(&plans).iter().map(ToString::to_string).collect()
}

const USERS: &str = "    users: { erase: delete, rectify: [name] }\n";
const BOTH: &str = "{ user_id: shop.users.id, email: shop.users.email }";

#[test]
fn plans_that_know_the_same_person_may_differ_otherwise() {
    let plans = [
        plan_of("a", "{ user_id: shop.users.id }", USERS),
        plan_of("b", BOTH, "    users: { erase: delete, rectify: [email] }\n"),
        plan_of("c", "{ email: shop.accounts.email }", "    accounts: { erase: delete }\n"),
    ];
    assert_eq!(told(&plans), Vec::<String>::new());
}

#[test]
fn an_identity_of_another_plan_is_corrected_by_plans_that_know_it_alone() {
    let plans = [
        plan_of(
            "a",
            "{ user_id: shop.users.id }",
            "    users:\n      erase: delete\n      rectify:\n        - email\n",
        ),
        plan_of("b", BOTH, USERS),
    ];
    let told = told(&plans);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("a.yaml:8: error: `shop.users.email`"), "{told:?}");
    assert!(told[0].contains("plan `b`") && told[0].contains("make it an identity"), "{told:?}");
}

/// A copy changes with the value that it is matched to, or not at all.
#[test]
fn a_table_that_is_a_copy_here_and_a_root_there() {
    let by_email = "    users: { erase: delete, rectify: [email], cascade: true }
    accounts: { match: { email: users.email }, erase: delete }\n";
    let by_id = "    users: { erase: delete }
    accounts: { match: { id: users.id }, erase: delete, rectify: [email] }\n";
    let accounts = || plan_of("c", "{ email: shop.accounts.email }", "    accounts: { erase: delete }\n");
    assert_eq!(told(&[plan_of("a", BOTH, by_email), accounts()]), Vec::<String>::new());
    let told = told(&[plan_of("a", BOTH, by_id), accounts()]);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("`shop.accounts.email`") && told[0].contains("plan `c`"), "{told:?}");
}

#[test]
fn persons_of_one_table_have_one_scope_and_an_identity_in_common() {
    let scoped = |name: &str, scope: &str| {
        plan_of(name, &format!("{{ email: shop.users.email, scope: {{ tenant: {scope} }} }}"), USERS)
    };
    assert_eq!(
        told(&[scoped("a", "shop.users.tenant"), scoped("b", "shop.users.tenant")]),
        Vec::<String>::new()
    );
    let told_scopes = told(&[scoped("a", "shop.users.tenant"), plan_of("b", BOTH, USERS)]);
    assert_eq!(told_scopes.len(), 1, "{told_scopes:?}");
    assert!(told_scopes[0].contains("different scopes"), "{told_scopes:?}");
    let strangers = [
        plan_of("a", "{ user_id: shop.users.id }", USERS),
        plan_of("b", "{ email: shop.users.email }", USERS),
    ];
    let told = told(&strangers);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("share no identity of `shop.users`"), "{told:?}");
}
