//! In which order steps run, and what is read beforehand.

use super::{compiled, names, shop, step};
use crate::domain::compiled::{Alternative, Rows, Source};

fn sources(rows: &Rows) -> Vec<&Source> {
    rows.any_of.iter().flat_map(Alternative::links).map(|link| &link.source).collect()
}

#[test]
fn the_contracts_example() {
    let shop = "users: id int pk, email text unique, name text, phone text null, address_id int null -> addresses.id, tenant_id int
        addresses: id int pk, street text
        companies: id int pk, address_id int -> addresses.id
        profiles: id int pk, user_id int -> users.id, address text null, bio text null
        orders: id int pk, user_id int null -> users.id, name text, email text, address text null, placed_at time, total_cents int
        order_items: id int pk, order_id int -> orders.id
        messages: id int pk, sender_id int, recipient_id int, kind text
        replies: id int pk, parent_id int null -> messages.id";
    let crm = "contacts: id int pk, email text";
    let plan = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/plans/customer.yaml")).unwrap();
    let plan = compiled(&plan, &[("shop", shop), ("crm", crm)]);
    assert_eq!(
        names(&plan),
        [
            "crm.contacts",
            "shop.replies",
            "shop.order_items",
            "shop.profiles",
            "shop.orders",
            "shop.messages",
            "shop.users",
            "shop.addresses"
        ]
    );
    let at = |name: &str| names(&plan).iter().position(|known| *known == name).unwrap();
    assert_eq!(step(&plan, "shop.orders").cuts, [at("shop.order_items")]);
    assert_eq!(step(&plan, "shop.messages").cuts, [at("shop.replies")]);
    assert!(plan.key_sets.is_empty());
    let root: Vec<&str> = plan.root.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(root, ["id", "email", "address_id"]);
    assert_eq!(plan.connections, ["shop", "crm"]);
    // A shared address is what delete_if_unreferenced is for; an e-mail address that ignores case may be shared.
    assert_eq!(plan.root.must_be_unshared, [vec![1]]);
}

#[test]
fn whatever_the_order_of_the_file() {
    let catalog = "users: id int pk\na: id int pk, user_id int -> users.id\nb: id int pk, a_id int -> a.id\nc: id int pk, b_id int -> b.id";
    let lines = [
        "    users: { erase: delete }\n",
        "    a: { match: { user_id: users.id }, erase: delete }\n",
        "    b: { match: { a_id: a.id }, erase: delete }\n",
        "    c: { match: { b_id: b.id }, erase: delete }\n",
    ];
    for order in [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2], [2, 0, 3, 1]] {
        let tables: String = order.iter().map(|&index| lines[index]).collect();
        let plan = compiled(&shop(&tables), &[("shop", catalog)]);
        assert_eq!(names(&plan), ["shop.c", "shop.b", "shop.a", "shop.users"]);
        assert_eq!(step(&plan, "shop.a").cuts, [0, 1]);
        assert_eq!(step(&plan, "shop.users").cuts, [0_usize; 0]);
    }
}

#[test]
fn a_row_behind_a_row_is_found_by_keys_that_were_read_beforehand() {
    let catalog = "users: id int pk\norders: id int pk, user_id int -> users.id, address_id int null -> addresses.id\naddresses: id int pk";
    let plan = compiled(
        &shop(
            "    users: { erase: delete }\n    orders: { match: { user_id: users.id }, erase: delete }\n    addresses: { match: { id: orders.address_id }, erase: delete_if_unreferenced }\n",
        ),
        &[("shop", catalog)],
    );
    assert_eq!(names(&plan), ["shop.orders", "shop.addresses", "shop.users"]);
    assert_eq!(sources(&step(&plan, "shop.addresses").rows), [&Source::Keys(0)]);
    assert_eq!(plan.key_sets.len(), 1);
    assert_eq!(plan.key_sets[0].rows.table.name, "orders");
    assert_eq!(plan.key_sets[0].readable_until, Some(0));
}

#[test]
fn keys_cross_connections_and_read_through_each_other() {
    let shop = "users: id int pk\norders: id int pk, user_id int -> users.id, code text";
    let crm = "tickets: id int pk, order_code text\nnotes: id int pk, ticket_id int";
    let log = "events: id int pk, note_id int";
    let plan = "plan: p\nsubject: { user_id: shop.users.id }\nconnections:\n  log:\n    events: { match: { note_id: crm.notes.id }, erase: delete }\n  shop:\n    users: { erase: delete }\n    orders: { match: { user_id: users.id }, erase: delete }\n  crm:\n    tickets: { match: { order_code: shop.orders.code }, erase: delete }\n    notes: { match: { ticket_id: tickets.id }, erase: delete }\n";
    let plan = compiled(plan, &[("shop", shop), ("crm", crm), ("log", log)]);
    assert_eq!(names(&plan), ["log.events", "crm.notes", "crm.tickets", "shop.orders", "shop.users"]);
    let sets: Vec<&str> = plan.key_sets.iter().map(|set| set.rows.table.name.as_str()).collect();
    assert_eq!(sets, ["orders", "notes"], "a set is read after the ones it is read through");
    assert_eq!(plan.key_sets[0].readable_until, Some(3));
    assert_eq!(plan.key_sets[1].readable_until, Some(1));
    assert_eq!(step(&plan, "crm.tickets").cuts, [1]);
}

#[test]
fn a_mask_that_drops_the_link_waits_for_those_who_use_it() {
    let catalog = "users: id int pk\norders: id int pk, user_id int null -> users.id, note text null\nitems: id int pk, order_id int -> orders.id";
    for (mask, cuts) in [("user_id: null_rewrite", vec![0]), ("note: null_rewrite", vec![])] {
        let tables = format!(
            "    users: {{ erase: {{ keep: law }} }}\n    orders: {{ match: {{ user_id: users.id }}, erase: {{ mask: {{ {mask} }} }} }}\n    items: {{ match: {{ order_id: orders.id }}, erase: {{ keep: law }} }}\n"
        );
        let plan = compiled(&shop(&tables), &[("shop", catalog)]);
        assert_eq!(names(&plan), ["shop.items", "shop.orders", "shop.users"]);
        assert_eq!(step(&plan, "shop.orders").cuts, cuts, "{mask}");
    }
}

#[test]
fn entries_of_one_table_run_from_the_last_to_the_first_and_unlinks_open_rows() {
    let catalog =
        "users: id int pk\ncomments: id int pk, user_id int -> users.id, parent_id int null -> comments.id";
    let plan = compiled(
        &shop(
            "    users: { erase: delete }\n    comments:\n      - { match: { user_id: users.id }, erase: delete }\n      - { name: replies, match: { parent_id: comments.id }, erase: unlink }\n",
        ),
        &[("shop", catalog)],
    );
    assert_eq!(names(&plan), ["shop.comments/replies", "shop.comments", "shop.users"]);
    let replies = step(&plan, "shop.comments/replies");
    assert_eq!(replies.rows.except.len(), 1);
    let openers = replies.openers.as_ref().expect("my replies to my comments hold my comments back");
    assert_eq!(openers.within, replies.rows.except);
    assert!(openers.except.is_empty());
    assert_eq!(step(&plan, "shop.comments").cuts, [0]);
}

#[test]
fn the_roots_further_entries() {
    let catalog = "users: id int pk, boss int null -> users.id";
    let plan = compiled(
        &shop(
            "    users:\n      - { erase: delete }\n      - { name: reports, match: { boss: users.id }, erase: unlink }\n",
        ),
        &[("shop", catalog)],
    );
    assert_eq!(names(&plan), ["shop.users/reports", "shop.users"]);
    assert!(step(&plan, "shop.users/reports").openers.is_none(), "one row goes at once");
    assert_eq!(sources(&step(&plan, "shop.users/reports").rows), [&Source::Root(vec![0])]);
}

#[test]
fn a_circle_of_foreign_keys_is_opened_by_unlinks() {
    let catalog = "users: id int pk\na: id int pk, user_id int -> users.id, b_id int null -> b.id\nb: id int pk, user_id int -> users.id, a_id int null -> a.id";
    let plan = compiled(
        &shop(
            "    users: { erase: delete }\n    a:\n      - { match: { user_id: users.id }, erase: delete }\n      - { name: x, match: { b_id: b.id }, erase: unlink }\n    b:\n      - { match: { user_id: users.id }, erase: delete }\n      - { name: y, match: { a_id: a.id }, erase: unlink }\n",
        ),
        &[("shop", catalog)],
    );
    let order = names(&plan);
    assert_eq!(order[..2], ["shop.a/x", "shop.b/y"]);
    assert_eq!(order[4], "shop.users");
    let opened = plan.erasure.iter().filter(|step| step.openers.is_some()).count();
    assert_eq!(opened, 1);
}

#[test]
fn deleting_replies_to_the_end() {
    let catalog =
        "users: id int pk\ncomments: id int pk, user_id int -> users.id, parent_id int null -> comments.id";
    let plan = compiled(
        &shop(
            "    users: { erase: delete }\n    comments: { match: [ { user_id: users.id }, { parent_id: comments.id } ], erase: delete }\n",
        ),
        &[("shop", catalog)],
    );
    let comments = step(&plan, "shop.comments");
    assert_eq!(sources(&comments.rows), [&Source::Root(vec![0]), &Source::Itself]);
    assert_eq!(names(&plan), ["shop.comments", "shop.users"]);
}

#[test]
fn the_same_plan_has_the_same_version_and_indexes_do_not_matter() {
    let tables =
        "    users: { erase: delete }\n    t: { match: { user_id: users.id }, erase: { keep: REASON } }\n";
    let version = |tables: &str, catalog: &str| compiled(&shop(tables), &[("shop", catalog)]).version;
    let plain = "users: id int pk\nt: id int pk, user_id int";
    let first = version(tables, plain);
    assert!(first.starts_with("sha256:") && first.len() == 71);
    assert_eq!(first, version(&tables.replace("REASON", "other"), plain));
    assert_eq!(
        first,
        version(tables, "users: id int pk, extra text\nt: id int pk, user_id int index; rows 7")
    );
    assert_eq!(first, version(tables, "t: id int pk, user_id int\nother: id int pk\nusers: id int pk"));
    assert_ne!(first, version(&tables.replace("{ keep: REASON }", "delete"), plain));
    assert_ne!(first, version(tables, "users: id int pk\nt: id int pk, user_id bigint"));
}

#[test]
fn what_people_and_code_do_is_part_of_the_version_and_its_basis_is_not() {
    let version = |beside: &str| {
        let plan = format!("{}{beside}", shop("    users: { erase: delete }\n"));
        compiled(&plan, &[("shop", "users: id int pk")]).version
    };
    let manual = "manual: [ { name: paper, do: Shred it, recipient: Mailer Inc., basis: a rule } ]\n";
    let first = version(manual);
    assert_eq!(first, version(&manual.replace("a rule", "another")));
    for other in [
        String::new(),
        manual.replace("Shred", "Burn"),
        manual.replace("Mailer", "Printer"),
        manual.replace("name: paper", "name: file"),
        manual.replace(", basis", ", kinds: [erasure, export], basis"),
        format!("{manual}code: [ {{ name: uploads }} ]\n"),
    ] {
        assert_ne!(first, version(&other), "{other}");
    }
}
