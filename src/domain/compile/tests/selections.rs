//! What the rows of a step are: links, sources, constants, trusted SQL, root tuple; and the warnings.

use super::{compiled, errors, shop, shown, step, try_compile};
use crate::domain::compiled::{Action, Alternative, MaskProgress, Piece, Source};

#[test]
fn composite_keys_constants_and_scope() {
    let catalog = "users: id int pk, tenant_id int, email text; unique tenant_id email
        notes: id int pk, tenant int, mail text, owner_type text; fk tenant+mail users.tenant_id+email";
    let text = "plan: p\nsubject:\n  email: shop.users.email\n  scope: { tenant: shop.users.tenant_id }\nconnections:\n  shop:\n    users: { erase: delete }\n    notes: [ { match: { mail: users.email, tenant: users.tenant_id }, erase: delete }, { name: typed, match: { mail: users.email, owner_type: { value: User } }, shared: true, erase: delete } ]\n";
    let plan = compiled(text, &[("shop", catalog)]);
    assert_eq!((plan.root.identities[0].column, plan.root.scope[0].column), (0, 1));
    assert_eq!(plan.root.columns[plan.root.key[0]].name, "id");
    let Alternative::Match { links, .. } = &step(&plan, "shop.notes").rows.any_of[0] else { panic!() };
    assert_eq!(links.len(), 1);
    assert_eq!(links[0].source, Source::Root(vec![0, 1]));
    assert_eq!(links[0].columns[1].name, "tenant");
    let Alternative::Match { constants, .. } = &step(&plan, "shop.notes/typed").rows.any_of[0] else {
        panic!()
    };
    assert_eq!((constants[0].column.name.as_str(), constants[0].value.as_str()), ("owner_type", "User"));
    assert!(plan.root.must_be_unshared.is_empty(), "unique together, and the other one is declared shared");
}

#[test]
fn trusted_sql() {
    let catalog = "users: id int pk, email text unique\ndocs: id int pk, payload json";
    let tables = "    users: { erase: delete }\n    docs: { match: { sql: \"payload->>'{users.id}' = {users.email} AND x = {users.id} AND '{}' <> y OR {users.email} = z\" }, erase: { mask: { payload: { sql: \"payload - 'email'\", done: \"NOT payload ? 'email'\" } } } }\n";
    let plan = compiled(&shop(tables), &[("shop", catalog)]);
    let docs = step(&plan, "shop.docs");
    let Alternative::Sql { pieces, links } = &docs.rows.any_of[0] else { panic!() };
    assert_eq!(links.len(), 1);
    assert!(links[0].columns.is_empty());
    let shape: Vec<String> = pieces
        .iter()
        .map(|piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Key { link, column } => format!("<{}>", links[*link].source_columns[*column].name),
        })
        .collect();
    assert_eq!(shape.concat(), "payload->>'{users.id}' = <email> AND x = <id> AND '{}' <> y OR <email> = z");
    let Action::Mask(mask) = &docs.action else { panic!() };
    assert_eq!(mask.progress, MaskProgress::Predicate);
}

#[test]
fn a_reference_means_every_entry_of_the_persons_own_rows() {
    let catalog = "users: id int pk\nt: id int pk, a int, b int, c int null\nu: id int pk, t_id int";
    let tables = "    users: { erase: { keep: law } }\n    t: [ { match: { a: users.id }, erase: delete }, { name: b, match: { b: users.id }, erase: { keep: law } }, { name: c, match: { c: users.id }, erase: unlink } ]\n    u: { match: { t_id: t.id }, erase: delete }\n";
    let plan = compiled(&shop(tables), &[("shop", catalog)]);
    let Alternative::Match { links, .. } = &step(&plan, "shop.u").rows.any_of[0] else { panic!() };
    let Source::Live(rows) = &links[0].source else { panic!() };
    assert_eq!(rows.len(), 2);
    assert!(rows.iter().all(|rows| rows.except.is_empty()));
    assert_eq!(step(&plan, "shop.t/c").rows.except.len(), 2);
    assert!(step(&plan, "shop.t/c").openers.is_none());
}

#[test]
fn further_rows_of_the_root_are_the_persons_too() {
    let catalog = "users: id int pk, main_id int null -> users.id\nnotes: id int pk, user_id int -> users.id";
    let tables = "    users: [ { erase: delete }, { name: aliases, match: { main_id: users.id }, erase: delete } ]\n    notes: { match: { user_id: users.id }, erase: delete }\n";
    let plan = compiled(&shop(tables), &[("shop", catalog)]);
    let kinds = |name: &str| -> Vec<&'static str> {
        let any_of = &step(&plan, name).rows.any_of;
        let kind = |alternative: &Alternative| match alternative {
            Alternative::Match { links, .. } => match links[0].source {
                Source::Root(_) => "root",
                Source::Live(_) => "live",
                Source::Keys(_) => "keys",
                Source::Itself => "itself",
            },
            Alternative::Sql { .. } => "sql",
            Alternative::Age(_) => "age",
        };
        any_of.iter().map(kind).collect()
    };
    assert_eq!(kinds("shop.notes"), ["root", "live"]);
    assert_eq!(kinds("shop.users/aliases"), ["root", "itself"]);
    assert_eq!(super::names(&plan), ["shop.notes", "shop.users/aliases", "shop.users"]);
}

#[test]
fn an_unlink_with_several_alternatives_is_a_step_for_each() {
    let catalog = "users: id int pk\nt: id int pk, a int null -> users.id, b int null -> users.id";
    let plan = compiled(
        &shop(
            "    users: { erase: delete }\n    t: { match: [ { a: users.id }, { b: users.id } ], erase: unlink }\n",
        ),
        &[("shop", catalog)],
    );
    assert_eq!(super::names(&plan), ["shop.t", "shop.t#2", "shop.users"]);
    for (name, column) in [("shop.t", "a"), ("shop.t#2", "b")] {
        let Action::Unlink { columns } = &step(&plan, name).action else { panic!() };
        assert_eq!(columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>(), [column]);
        assert!(step(&plan, name).rows.except.is_empty());
    }
}

#[test]
fn schemas_and_connections() {
    let shop = "users: id int pk\nsales.orders: id int pk, user_id int\nitems: id int pk, order_id int";
    let crm = "orders: id int pk, user_id int\n\"a: id int pk";
    let text = |sources: [&str; 2]| {
        format!(
            "plan: p\nsubject: {{ id: shop.users.id }}\nconnections:\n  shop:\n    users: {{ erase: delete }}\n    sales.orders: {{ match: {{ user_id: users.id }}, erase: delete }}\n    items: {{ match: {{ order_id: {} }}, erase: delete }}\n  sales:\n    orders: {{ match: {{ user_id: {} }}, erase: delete }}\n",
            sources[0], sources[1]
        )
    };
    let connections = [("shop", shop), ("sales", crm)];
    let ambiguous = shown(&errors(&text(["sales.orders.id", "shop.users.id"]), &connections));
    assert!(ambiguous.contains("write all four parts"), "{ambiguous}");
    let plan = compiled(&text(["shop.sales.orders.id", "shop.public.users.id"]), &connections);
    assert_eq!(super::names(&plan), ["sales.orders", "shop.items", "shop.sales.orders", "shop.users"]);
}

#[test]
fn how_a_mask_is_told() {
    let catalog =
        "users: id int pk, email text unique\nt: id int pk, user_id int null, mail text null, note text";
    for (matches, mask, progress) in [
        ("{ user_id: users.id }", "user_id: null_rewrite, note: hmac", MaskProgress::LeavesMatch),
        ("{ mail: users.email }", "mail: hmac", MaskProgress::LeavesMatch),
        ("{ mail: users.email }", "mail: { string_rewrite: x }", MaskProgress::Predicate),
        ("{ user_id: users.id }", "note: { string_rewrite: x }", MaskProgress::Predicate),
        ("{ user_id: users.id }", "note: { random_string_rewrite: { length: 9 } }", MaskProgress::Recorded),
        ("[ { user_id: users.id }, { mail: users.email } ]", "mail: hmac", MaskProgress::Recorded),
        (
            "[ { user_id: users.id }, { mail: users.email } ]",
            "mail: hmac, user_id: null_rewrite",
            MaskProgress::LeavesMatch,
        ),
    ] {
        let tables = format!(
            "    users: {{ erase: {{ keep: law }} }}\n    t: {{ match: {matches}, erase: {{ mask: {{ {mask} }} }} }}\n"
        );
        let plan = compiled(&shop(&tables), &[("shop", catalog)]);
        let Action::Mask(mask_action) = &step(&plan, "shop.t").action else { panic!() };
        assert_eq!(mask_action.progress, progress, "{matches} {mask}");
    }
}

#[test]
fn what_points_at_a_row_keeps_it() {
    let catalog = "users: id int pk, address_id int null\naddresses: id int pk, user_id int null\ncompanies: id int pk, address_id int -> addresses.id";
    let plan = compiled(
        &shop(
            "    users: { erase: delete }\n    addresses: { match: [ { id: users.address_id }, { user_id: users.id } ], erase: delete_if_unreferenced }\n",
        ),
        &[("shop", catalog)],
    );
    assert_eq!(super::names(&plan), ["shop.users", "shop.addresses"]);
    let Action::DeleteIfUnreferenced { references } = &step(&plan, "shop.addresses").action else { panic!() };
    let shown: Vec<String> = references
        .iter()
        .map(|r| format!("{}.{} -> {}", r.table.name, r.columns[0].name, r.own_columns[0].name))
        .collect();
    assert_eq!(shown, ["companies.address_id -> id", "users.address_id -> id"]);
}

#[test]
fn warnings() {
    let catalog = "users: id int pk, email text unique, zip text
        t: id int pk, user_id int, mail text, z text; rows 20000; trigger audit
        forgotten: id int pk, user_id int null -> users.id\nfar: id int pk, f_id int -> forgotten.id";
    let tables = "    users: { erase: { keep: law } }\n    t: { match: [ { user_id: users.id }, { mail: users.email }, { z: users.zip } ], erase: { mask: { mail: hash } } }\n";
    let text = shop(tables).replace("subject:\n", "subject:\n  email: shop.users.email\n");
    let warnings = try_compile(&text, &[("shop", catalog)]).expect("compiles").warnings;
    let text = shown(&warnings);
    for words in [
        "triggers that fire on what this plan does: audit",
        "about 20000 rows and no index on user_id",
        "`hash` of `mail`, an identity, can be guessed",
        "zip of `shop.users`, which is not unique",
        "`shop.forgotten` leads to `users`",
        "`shop.far` leads to `forgotten`",
    ] {
        assert!(text.contains(words), "{words}\n{text}");
    }
    assert!(warnings.iter().all(|fault| fault.line.is_some()), "{text}");
}
