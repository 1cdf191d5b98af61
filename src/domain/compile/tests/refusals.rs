//! A table of refusals: the tables, the plan, and what the message must name.

use super::{errors, shop, shown};

/// (catalog, plan's tables, words that one fault must hold)
type Case = (&'static str, &'static str, &'static [&'static str]);

const USERS: &str = "users: id int pk, email text unique, name text null";

const FOREIGN_KEYS: &[Case] = &[
    // Not in the plan at all; CASCADE is no way out.
    (
        "users: id int pk\norders: id int pk, user_id int -> users.id",
        "    users: { erase: delete }",
        &["shop.public.orders.user_id", "NOT NULL", "not in this plan"],
    ),
    (
        "users: id int pk\norders: id int pk, user_id int -> users.id cascade",
        "    users: { erase: delete }",
        &["orders.user_id", "ON DELETE CASCADE would erase"],
    ),
    // Kept children (plan C of the music shop).
    (
        "users: id int pk\ninvoice: id int pk, user_id int -> users.id",
        "    users: { erase: delete }\n    invoice: { match: { user_id: users.id }, erase: { keep: tax } }",
        &["shop.invoice.user_id", "NOT NULL", "`shop.invoice` leaves rows", "mask `users` instead"],
    ),
    (
        "users: id int pk\norders: id int pk, user_id int null -> users.id, name text",
        "    users: { erase: delete }\n    orders: { match: { user_id: users.id }, erase: { mask: { name: hmac, user_id: preserve } } }",
        &["shop.orders.user_id", "can be NULL", "null_rewrite"],
    ),
    (
        "users: id int pk\norders: id int pk, user_id int -> users.id",
        "    users: { erase: delete }\n    orders: { match: { user_id: users.id }, erase: { none: nothing } }",
        &["shop.orders.user_id"],
    ),
    // delete_if_unreferenced never covers.
    (
        "users: id int pk\norders: id int pk, user_id int -> users.id",
        "    users: { erase: delete }\n    orders: { match: { user_id: users.id }, erase: delete_if_unreferenced }",
        &["shop.orders.user_id", "leaves rows"],
    ),
    // `where` and constants leave rows out; another column is not that key.
    (
        "users: id int pk\nmessages: id int pk, user_id int -> users.id, kind text",
        "    users: { erase: delete }\n    messages: { match: { user_id: users.id }, where: \"kind <> 'x'\", erase: delete }",
        &["messages.user_id", "`where` of `shop.messages`"],
    ),
    (
        "users: id int pk\nnotes: id int pk, user_id int -> users.id, kind text",
        "    users: { erase: delete }\n    notes: { match: { user_id: users.id, kind: { value: a } }, erase: delete }",
        &["notes.user_id", "no entry matches exactly"],
    ),
    (
        "users: id int pk, email text unique\nnotes: id int pk, user_id int -> users.id, email text",
        "    users: { erase: delete }\n    notes: { match: { email: users.email }, erase: delete }",
        &["notes.user_id", "no entry matches exactly"],
    ),
    // The second key of the same child.
    (
        "users: id int pk\nnotes: id int pk, by int -> users.id, about int null -> users.id",
        "    users: { erase: delete }\n    notes: { match: { by: users.id }, erase: delete }",
        &["notes.about", "can be NULL"],
    ),
    // A self reference among rows that are deleted.
    (
        "users: id int pk\ncomments: id int pk, user_id int -> users.id, parent_id int null -> comments.id",
        "    users: { erase: delete }\n    comments: { match: { user_id: users.id }, erase: delete }",
        &["comments.parent_id", "no entry matches exactly"],
    ),
    // A column that a mask overwrites.
    (
        "users: id int pk, email text unique\nlogins: id int pk, email text -> users.email",
        "    users: { erase: { mask: { email: hmac } } }\n    logins: { match: { email: users.email }, erase: { keep: security } }",
        &["logins.email", "whose email is overwritten", "preserve email"],
    ),
    // An earlier entry takes rows and keeps the key.
    (
        "users: id int pk\nnotes: id int pk, user_id int -> users.id, editor_id int null",
        "    users: { erase: delete }\n    notes: [ { match: { editor_id: users.id }, erase: { keep: law } }, { name: mine, match: { user_id: users.id }, erase: delete } ]",
        &["notes.user_id", "`shop.notes` takes rows before `shop.notes/mine`"],
    ),
    (
        "users: id int pk, address_id int -> addresses.id\naddresses: id int pk",
        "    users: { erase: delete }\n    addresses: { match: { id: users.address_id }, erase: delete }",
        &["shop.users.address_id", "shop.addresses"],
    ),
];

#[test]
fn foreign_keys() {
    run(FOREIGN_KEYS);
}

const NAMES_AND_STRUCTURE: &[Case] = &[
    (USERS, "    user: { erase: delete }", &["no table `user`", "`users`"]),
    (
        USERS,
        "    users: { erase: delete }\n    users2: { match: { id: users.id }, erase: delete }",
        &["no table `users2`"],
    ),
    (
        "users: id int pk\norders: id int pk, user_id int",
        "    users: { erase: delete }\n    orders: { match: { usr_id: users.id }, erase: delete }",
        &["`shop.orders` has no column `usr_id`", "did you mean `user_id`"],
    ),
    (
        "users: id int pk\norders: id int pk, user_id int",
        "    users: { erase: delete }\n    orders: { match: { user_id: users.idd }, erase: delete }",
        &["`shop.users` has no column `idd`", "did you mean `id`"],
    ),
    (
        "users: id int pk\norders: id int pk, user_id int\nlines: id int pk, order_id int",
        "    users: { erase: delete }\n    lines: { match: { order_id: orders.id }, erase: delete }",
        &["`orders.id` is read from `shop.orders`, which this plan does not name"],
    ),
    (
        "users: id int pk\norders: id int pk, user_id int",
        "    users: { erase: delete }\n    orders: { match: { user_id: shp.users.id }, erase: delete }",
        &["`shp`", "no connection of this plan", "did you mean `shop`"],
    ),
    (
        "users: id int pk\norders: id int pk, user_id int",
        "    users: { erase: delete }\n    orders: { erase: delete }",
        &["`shop.orders` has no `match`"],
    ),
    (
        USERS,
        "    users: { match: { id: users.id }, erase: delete }",
        &["first entry of `shop.users` has a `match`"],
    ),
    (USERS, "    users: { where: \"1=1\", erase: delete }", &["first entry", "`where`"]),
    (USERS, "    users: { erase: unlink }", &["first entry", "`unlink`"]),
    ("users: id int null", "    users: { erase: delete }", &["no primary key"]),
    (
        "users: id int pk\na: id int pk, b_id int\nb: id int pk, a_id int",
        "    users: { erase: delete }\n    a: { match: { b_id: b.id }, erase: delete }\n    b: { match: { a_id: a.id }, erase: delete }",
        &["circle", "`shop.a`", "`shop.b`"],
    ),
    (
        "users: id int pk\nt: id int pk, up int",
        "    users: { erase: delete }\n    t: { match: { up: t.id }, erase: delete }",
        &["`shop.t` is matched only through its own rows"],
    ),
    (
        "users: id int pk\nt: id int pk, user_id int null\nu: id int pk, t_id int",
        "    users: { erase: delete }\n    t: { match: { user_id: users.id }, erase: unlink }\n    u: { match: { t_id: t.id }, erase: delete }",
        &["only `unlink` entries"],
    ),
    (
        "users: id int pk\nt: id int pk, user_id int",
        "    users: { erase: delete }\n    t: { match: { user_id: users.id }, erase: delete }\n    public.t: { match: { user_id: users.id }, erase: delete }",
        &["`shop.t` is named twice"],
    ),
    (
        "users: id int pk\nt: id int pk, user_id int",
        "    users: { erase: delete }\n    t: { match: { sql: \"1 = 1\" }, erase: delete }",
        &["rows of everybody"],
    ),
    (
        "users: id int pk\nt: id int pk, user_id int null",
        "    users: { erase: delete }\n    t: [ { match: { user_id: t.id }, erase: unlink }, { name: b, match: { user_id: users.id }, erase: delete } ]",
        &["circle", "put the `unlink` entry after"],
    ),
    (
        "users: id int pk\nt: id int pk, user_id int, up array",
        "    users: { erase: delete }\n    t: { match: [ { user_id: users.id }, { sql: \"{t.id} = ANY(up)\" } ], erase: delete }",
        &["the SQL of `shop.t`", "followed"],
    ),
    (
        "users: id int pk\nt: id int pk, user_id text",
        "    users: { erase: delete }\n    t: { match: { user_id: users.id }, erase: delete }",
        &["`user_id` (text) cannot be compared with `shop.users.id` (int)"],
    ),
    (
        "users: id uuid pk\nt: id int pk, user_id text",
        "    users: { erase: delete }\n    t: { match: { user_id: users.id }, erase: delete }",
        &["cannot be compared"],
    ),
    (
        "users: id int pk\nt: id int pk, user_id int, n int",
        "    users: { erase: delete }\n    t: { match: { user_id: users.id, n: { value: User } }, erase: delete }",
        &["constant for `n`", "not a whole number"],
    ),
];

#[test]
fn names_and_structure() {
    run(NAMES_AND_STRUCTURE);
}

#[test]
fn tables_and_rights() {
    let t = "    users: { erase: delete }\n    t: { match: { user_id: users.id }, erase: delete }";
    let mask = "    users: { erase: delete }\n    t: { match: { user_id: users.id }, erase: { mask: { name: null_rewrite } } }";
    for (option, plan, words) in [
        ("view", t, ["`shop.t` is a view", "hold the rows"]),
        ("partition", t, ["is a partition", "name its parent"]),
        ("row_security", t, ["row-level security", "BYPASSRLS"]),
        ("versioned", t, ["system-versioned", "DROP SYSTEM VERSIONING"]),
        ("engine MyISAM", t, ["MyISAM", "ENGINE=InnoDB"]),
        ("no select", t, ["lacks SELECT", "GRANT SELECT ON public.t TO app;"]),
        ("no delete", t, ["lacks DELETE", "GRANT DELETE ON public.t TO app;"]),
        ("no update", mask, ["lacks UPDATE (name)", "GRANT UPDATE (name) ON public.t TO app;"]),
    ] {
        let catalog = format!("users: id int pk\nt: id int pk, user_id int, name text null; {option}");
        let faults = shown(&errors(&shop(plan), &[("shop", &catalog)]));
        for word in words {
            assert!(faults.contains(word), "{option}: {word}\n{faults}");
        }
    }
}

#[test]
fn masks() {
    let columns = "id int pk, user_id int null -> users.id, name text(10), email text unique, n int null, g text generated, \
                   a text, b text null, e enum, u uuid null, j json null; unique a b";
    let catalog = format!("users: id int pk\nt: {columns}");
    for (mask, words) in [
        ("nmae: null_rewrite", ["no column `nmae`", "did you mean `name`"]),
        ("name: null_rewrite", ["`name` is NOT NULL", "string_rewrite"]),
        ("name: hmac", ["64 characters", "text(10)"]),
        ("name: { string_rewrite: \"[REDACTED]!\" }", ["11 characters", "text(10)"]),
        ("name: { random_string_rewrite: { length: 11 } }", ["11 characters", "text(10)"]),
        ("email: { string_rewrite: x }", ["`email` is unique", "collide"]),
        ("email: { random_string_rewrite: { length: 5 } }", ["`email` is unique", "8 or more"]),
        ("a: { string_rewrite: x }", ["`a` is unique (a, b)", "hmac"]),
        ("n: { string_rewrite: \"0\" }", ["type int", "null_rewrite"]),
        ("e: { string_rewrite: x }", ["type enum", "cannot take"]),
        ("u: hash", ["type uuid", "cannot take"]),
        ("j: { string_rewrite: x }", ["type json", "sql"]),
        ("g: { string_rewrite: x }", ["`g` is generated", "computed from"]),
        ("user_id: hmac", ["foreign key", "null_rewrite or preserve"]),
        ("id: hmac", ["type int", "cannot take"]),
        ("a: preserve", ["preserves every column", "keep"]),
        (
            "j: { sql: \"j - 'a'\", done: \"j IS NULL\" }, a: hmac",
            ["`j` stands beside hash, hmac", "or for none"],
        ),
    ] {
        let plan = shop(&format!(
            "    users: {{ erase: {{ keep: law }} }}\n    t: {{ match: {{ user_id: users.id }}, erase: {{ mask: {{ {mask} }} }} }}"
        ));
        let faults = shown(&errors(&plan, &[("shop", &catalog)]));
        for word in words {
            assert!(faults.contains(word), "{mask}: {word}\n{faults}");
        }
    }
    let no_key = "users: id int pk\nt: user_id int, name text";
    let plan = shop(
        "    users: { erase: { keep: law } }\n    t: { match: { user_id: users.id }, erase: { mask: { name: hmac } } }",
    );
    assert!(shown(&errors(&plan, &[("shop", no_key)])).contains("no primary key"));
}

#[test]
fn unlink_exports_and_unreferenced() {
    run(&[
        (
            "users: id int pk\nt: id int pk, user_id int",
            "    users: { erase: delete }\n    t: { match: { user_id: users.id }, erase: unlink }",
            &["`user_id` is NOT NULL"],
        ),
        (
            "users: id int pk\nt: id int pk, ids array",
            "    users: { erase: delete }\n    t: { match: { sql: \"{users.id} = ANY(ids)\" }, erase: unlink }",
            &["matches by SQL"],
        ),
        (
            "users: id int pk, password_hash text, resetToken text",
            "    users: { erase: delete }",
            &["password_hash, resetToken", "export: [id]"],
        ),
        (
            USERS,
            "    users: { erase: delete, export: [id, mail], rectify: [phone] }",
            &["no column `mail`", "did you mean `email`"],
        ),
        (
            USERS,
            "    users: { erase: delete, export: [id], rectify: [phone] }",
            &["`rectify`", "no column `phone`"],
        ),
    ]);
    let plan = "plan: p\nsubject: { user_id: shop.users.id }\nconnections:\n  shop:\n    users: { erase: delete }\n  crm:\n    t: { match: { user_id: shop.users.id }, erase: delete_if_unreferenced }\n";
    let found = shown(&errors(plan, &[("shop", "users: id int pk"), ("crm", "t: id int pk, user_id int")]));
    assert!(found.contains("another connection"), "{found}");
}

#[test]
fn identities() {
    for (subject, words) in [
        ("user_id: users.id", ["does not say its connection", "shop.users.id"]),
        ("user_id: shop.users.idx", ["no column `idx`", "did you mean `id`"]),
        ("user_id: shop.users.id\n  other: shop.t.id", ["`other` is a column of `shop.t`", "one table"]),
        ("user_id: { column: shop.users.id, ignore_case: true }", ["not text", "leave"]),
        ("user_id: shop.users.doc", ["no text or number", "UUID"]),
    ] {
        let plan = format!(
            "plan: p\nsubject:\n  {subject}\nconnections:\n  shop:\n    users: {{ erase: delete }}\n    t: {{ match: {{ id: users.id }}, erase: delete }}\n"
        );
        let found = shown(&errors(&plan, &[("shop", "users: id int pk, doc json\nt: id int pk")]));
        for word in words {
            assert!(found.contains(word), "{subject}: {word}\n{found}");
        }
    }
}

#[test]
fn every_fault_has_a_line_and_all_come_at_once() {
    let plan = shop(
        "    users: { erase: delete }\n    a: { match: { x: users.id }, erase: delete }\n    b: { match: { user_id: users.idd }, erase: { mask: { nam: hmac } } }\n",
    );
    let found =
        errors(&plan, &[("shop", "users: id int pk\na: id int pk\nb: id int pk, user_id int, name text")]);
    let lines: Vec<_> = found.iter().map(|fault| fault.line.expect("a line")).collect();
    assert_eq!(lines, [7, 8, 8], "{}", shown(&found));
}

fn run(cases: &[Case]) {
    for (catalog, tables, words) in cases {
        let plan = shop(tables);
        let found = errors(&plan, &[("shop", catalog)]);
        let hit = found.iter().any(|fault| {
            let text = fault.to_string();
            words.iter().all(|word| text.contains(word))
        });
        assert!(hit, "{words:?} not among\n{}\n{plan}", shown(&found));
        assert!(
            found.iter().all(|fault| fault.line.is_some() && !fault.remedy.is_empty()),
            "{}",
            shown(&found)
        );
    }
}
