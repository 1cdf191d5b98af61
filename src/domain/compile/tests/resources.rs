//! Members of HTTP connections.

use super::*;
use crate::domain::{
    compiled::{Action, Alternative, ResourceAct, Source},
    plan::parse,
};

const SHOP: &str = "users: id int pk, email text unique, tenant int, doc bytes null
    emails: id int pk, user_id int -> users.id, address text";

fn try_with_mailer(plan_text: &str, tables: &str) -> Result<Compiled, Vec<Fault>> {
    let catalogs =
        BTreeMap::from([("shop".to_owned(), catalog(tables)), ("mailer".to_owned(), Catalog::of_service())]);
    compile(&parse("plan.yaml", plan_text)?, &catalogs)
}

fn plan(members: &str) -> String {
    format!(
        "plan: p\nsubject:\n  user_id: shop.users.id\nconnections:\n  shop:\n    users: {{ erase: delete }}\n    \
         emails: {{ match: {{ user_id: users.id }}, erase: delete }}\n  mailer:\n{members}"
    )
}

fn call(rest: &str) -> String {
    format!("{{ call: \"DELETE /c/{rest}\", verify: \"GET /c/{rest}\" }}")
}

#[test]
fn the_example_compiles_to_calls() {
    let text = include_str!("../../../../plans/subscriber.yaml");
    let compiled = try_with_mailer(text, "users: id int pk, email text unique, name text").unwrap();
    let plan = compiled.plan;
    let shown: Vec<_> =
        plan.erasure.iter().map(|step| (step.name.as_str(), step.action.name(), step.is_root)).collect();
    assert_eq!(
        shown,
        [
            ("mailer.contacts", "call", false),
            ("mailer.invoices", "keep", false),
            ("shop.users", "delete", true)
        ]
    );
    let exported: Vec<_> = plan.export.iter().map(|step| step.name.as_str()).collect();
    assert_eq!(exported, ["shop.users", "mailer.contacts", "mailer.invoices"]);
    let [users, rectify] = &*plan.rectification else { panic!("{:?}", plan.rectification) };
    assert_eq!(users.name, "shop.users");
    let ResourceAct::Rectify { call, fields, .. } = &rectify.resource().unwrap().act else { panic!() };
    assert_eq!((call.to_string().as_str(), fields.len()), ("PATCH /contacts/{email}", 2));
    let lookup = rectify.resource().unwrap().lookup.as_ref().unwrap();
    assert_eq!(lookup.to_string(), "GET /contacts/{email}", "it is read back by what finds it");
    assert_eq!(plan.connections, ["shop", "mailer"]);
    let json = serde_json::to_string(&plan).unwrap();
    assert_eq!(
        serde_json::from_str::<CompiledPlan>(&json).unwrap(),
        plan,
        "workers run from the stored plan"
    );
}

#[test]
fn keys_come_from_the_person_or_are_read_beforehand() {
    let members = format!(
        "    contacts: {{ match: [ {{ email: shop.users.email }}, {{ email: shop.emails.address }} ], erase: {}, export: none }}\n",
        call("{email}")
    );
    let plan = try_with_mailer(&plan(&members), SHOP).unwrap().plan;
    let Some(Action::Http(_)) = plan.erasure.first().map(|step| &step.action) else { panic!("{plan:?}") };
    let sources: Vec<&Source> =
        plan.erasure[0].rows.any_of.iter().flat_map(Alternative::links).map(|link| &link.source).collect();
    assert!(matches!(sources[..], [Source::Root(_), Source::Keys(0)]), "{sources:?}");
    assert_eq!(plan.key_sets[0].connection, "shop");
}

#[test]
fn the_version_covers_the_calls() {
    let version = |path: &str| {
        let members = format!(
            "    contacts: {{ match: {{ email: shop.users.email }}, erase: {}, export: none }}\n",
            call(path)
        );
        try_with_mailer(&plan(&members), SHOP).unwrap().plan.version
    };
    assert_eq!(version("{email}"), version("{email}"));
    assert_ne!(version("{email}"), version("x/{email}"));
}

#[test]
fn a_member_that_is_not_exported_is_told() {
    let members =
        format!("    contacts: {{ match: {{ email: shop.users.email }}, erase: {} }}\n", call("{email}"));
    let compiled = try_with_mailer(&plan(&members), SHOP).unwrap();
    assert!(
        shown(&compiled.warnings).contains("`mailer.contacts` has no `export`"),
        "{:?}",
        compiled.warnings
    );
}

/// What stands behind `c:` and what the fault must say.
#[test]
fn what_a_service_cannot_do_is_refused() {
    let erase = call("{email}");
    let matched = "match: { email: shop.users.email }";
    for (member, says) in [
        (format!("{{ {matched}, erase: delete }}"), "is for tables, and this is a resource"),
        (format!("{{ {matched}, erase: {{ mask: {{ email: hmac }} }} }}"), "is for tables"),
        (format!("{{ {matched}, erase: {erase}, where: \"1 = 1\" }}"), "knows no SQL"),
        (
            format!("{{ match: {{ sql: \"{{shop.users.email}} = 1\" }}, erase: {erase} }}"),
            "which an HTTP service does not know",
        ),
        (format!("{{ {matched}, erase: {erase}, export: [email] }}"), "lists columns"),
        (
            format!("{{ {matched}, erase: {erase}, rectify: [email] }}"),
            "`rectify` of `mailer.c` lists columns",
        ),
        (format!("{{ {matched}, erase: {erase}, portable: [email] }}"), "`portable` of `mailer.c`"),
        (format!("{{ {matched}, erase: {erase}, portable: all }}"), "`portable` of `mailer.c`"),
        (format!("{{ {matched}, erase: {} }}", call("{mail}")), "gives no value for {mail}"),
        (format!("{{ {matched}, erase: {} }}", call("all")), "does not say {email}"),
        (
            format!("{{ match: {{ email: shop.users.email, t: shop.users.tenant }}, erase: {erase} }}"),
            "does not say {t}: it could mean somebody else's",
        ),
        (
            format!("{{ {matched}, erase: {erase}, export: \"GET /c\" }}"),
            "`export` of `mailer.c` does not say",
        ),
        (
            format!("{{ {matched}, erase: {erase}, rectify: {{ call: \"PATCH /c\", fields: [a] }} }}"),
            "`rectify` of `mailer.c` does not say",
        ),
        (
            format!(
                "{{ {matched}, erase: {{ none: x }}, rectify: {{ call: \"PATCH /c/{{email}}\", fields: [a] }} }}"
            ),
            "could not be read back",
        ),
        (format!("{{ match: {{ email: shop.users.doc }}, erase: {erase} }}"), "is binary"),
        (format!("{{ erase: {erase} }}"), "has no `match`"),
        (
            format!(
                "{{ match: {{ email: d.email }}, erase: {erase} }}\n    d: {{ {matched}, erase: {erase} }}"
            ),
            "its keys cannot be listed",
        ),
        (
            format!("[ {{ {matched}, erase: {erase} }}, {{ name: x, {matched}, erase: {erase} }} ]"),
            "has several entries",
        ),
        (format!("{{ match: {{ email: shop.users.emial }}, erase: {erase} }}"), "did you mean `email`?"),
    ] {
        let plan = plan(&format!("    c: {member}\n"));
        let faults = try_with_mailer(&plan, SHOP).expect_err(&member);
        assert!(shown(&faults).contains(says), "{says}:\n{}\n{plan}", shown(&faults));
        assert!(
            faults.iter().all(|fault| fault.line.is_some() && !fault.remedy.is_empty()),
            "{}",
            shown(&faults)
        );
    }
}

#[test]
fn calls_are_not_for_tables_and_persons_are_not_resources() {
    for (table, says) in [
        (
            "erase: { call: \"DELETE /x/{user_id}\", verify: \"GET /x/{user_id}\" }",
            "`erase` of `shop.notes` is a call",
        ),
        ("erase: delete, export: \"GET /x/{user_id}\"", "`export` of `shop.notes` is a call"),
        (
            "erase: delete, rectify: { call: \"PUT /x/{user_id}\", fields: [a] }",
            "`rectify` of `shop.notes` is a call",
        ),
    ] {
        let text = shop(&format!(
            "    users: {{ erase: delete }}\n    notes: {{ match: {{ user_id: users.id }}, {table} }}"
        ));
        let found = shown(&errors(&text, &[("shop", "users: id int pk\nnotes: id int pk, user_id int")]));
        assert!(found.contains(says), "{says}: {found}");
    }
    let text = "plan: p\nsubject: { email: mailer.c.email }\nconnections:\n  mailer:\n    c: { match: { email: mailer.c.email }, erase: { none: x } }\n";
    assert!(try_with_mailer(text, SHOP).is_err());
}
