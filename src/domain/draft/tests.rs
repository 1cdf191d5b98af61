//! Drafts of small schemas: each must compile as it is.

use super::*;
use crate::domain::{
    compile::compile,
    plan::parse,
    schema::{Family, ForeignKey, OnDelete, Rights, RowAddress},
};

/// `customer(customer_id! email first_name support_rep_id?>employee)`: `!` is the primary key, `~` unique, `?` may be
/// NULL, `>` a foreign key onto the key of another table.
fn catalog(tables: &[&str]) -> Catalog {
    let mut catalog = Catalog { default_schema: "public".to_owned(), ..Catalog::default() };
    for text in tables {
        let (name, columns) = text.trim_end_matches(')').split_once('(').unwrap();
        catalog.tables.push(table(name, columns));
    }
    let keys: BTreeMap<String, Vec<String>> =
        catalog.tables.iter().map(|table| (table.name.clone(), table.primary_key.clone())).collect();
    for key in catalog.tables.iter_mut().flat_map(|table| &mut table.foreign_keys) {
        key.parent_columns = keys[&key.parent_table].clone();
    }
    catalog
}

fn empty_table(name: &str) -> Table {
    Table {
        schema: "public".to_owned(),
        name: name.to_owned(),
        kind: TableKind::Table,
        columns: Vec::new(),
        primary_key: Vec::new(),
        unique_keys: Vec::new(),
        indexes: Vec::new(),
        foreign_keys: Vec::new(),
        triggers: Vec::new(),
        estimated_rows: None,
        rights: Rights {
            select: true,
            delete: true,
            update: true,
            update_columns: Vec::new(),
            role: "app".to_owned(),
        },
        address: RowAddress::Ctid,
        obstacles: Vec::new(),
    }
}

fn table(name: &str, columns: &str) -> Table {
    let mut table = empty_table(name);
    for column in columns.split_whitespace() {
        let (column, parent) = column.split_once('>').map_or((column, None), |(c, p)| (c, Some(p)));
        let name = column.trim_end_matches(['!', '~', '?']).to_owned();
        let is_key = name.to_lowercase().ends_with("id") || parent.is_some();
        if column.ends_with('!') {
            table.primary_key.push(name.clone());
            table.unique_keys.push(vec![name.clone()]);
        }
        if column.ends_with('~') {
            table.unique_keys.push(vec![name.clone()]);
        }
        if let Some(parent) = parent {
            table.foreign_keys.push(ForeignKey {
                name: format!("{}_{name}_fkey", table.name),
                columns: vec![name.clone()],
                parent_schema: "public".to_owned(),
                parent_table: parent.to_owned(),
                parent_columns: Vec::new(),
                on_delete: OnDelete::NoAction,
            });
        }
        table.columns.push(Column {
            name,
            type_name: if is_key { "integer" } else { "text" }.to_owned(),
            base_type: None,
            family: if is_key { Family::Integer } else { Family::Text },
            nullable: column.ends_with('?') && !column.ends_with('!'),
            max_length: None,
            generated: false,
        });
    }
    table
}

/// Drafts, compiles and returns the draft and the names of the steps in order.
fn drafted(catalogs: &[(&str, &[&str])], subject: &str, joins: &[(&str, &str)]) -> (String, Vec<String>) {
    let catalogs: BTreeMap<String, Catalog> =
        catalogs.iter().map(|(name, tables)| ((*name).to_owned(), catalog(tables))).collect();
    let split = |text: &str| Reference::split(text).unwrap();
    let wish = Wish {
        connection: "shop".to_owned(),
        subject: split(subject),
        name: None,
        joins: joins.iter().map(|(theirs, ours)| Join { theirs: split(theirs), ours: split(ours) }).collect(),
    };
    let text = draft(&wish, &catalogs).unwrap();
    let plan = parse("draft.yaml", &text).unwrap_or_else(|faults| panic!("{text}\n{faults:#?}"));
    let compiled = compile(&plan, &catalogs).unwrap_or_else(|faults| panic!("{text}\n{faults:#?}"));
    let steps =
        compiled.plan.erasure.iter().map(|step| format!("{} {}", step.name, step.action.name())).collect();
    (text, steps)
}

const CHINOOK: &[&str] = &[
    "artist(artist_id! name?)",
    "employee(employee_id! last_name first_name reports_to?>employee address? email?)",
    "customer(customer_id! first_name last_name company? email support_rep_id?>employee)",
    "invoice(invoice_id! customer_id>customer billing_address? total)",
    "invoice_line(invoice_line_id! invoice_id>invoice track_id>track)",
    "track(track_id! name composer?)",
];

#[test]
fn a_customer_goes_with_invoices_and_lines() {
    let (text, steps) = drafted(&[("shop", CHINOOK)], "customer.customer_id", &[]);
    assert_eq!(steps, ["shop.invoice_line delete", "shop.invoice delete", "shop.customer delete"], "{text}");
    assert!(text.contains("  customer_id: shop.customer.customer_id\n"), "{text}");
    assert!(
        text.contains("# email: { column: shop.customer.email, ignore_case: true }   not unique"),
        "{text}"
    );
    assert!(text.contains("rectify: [first_name, last_name, company, email]"), "{text}");
    assert!(text.contains("# employee: the person's rows point at it; probably other people"), "{text}");
}

#[test]
fn an_employee_leaves_customers_and_staff_behind() {
    let (text, mut steps) = drafted(&[("shop", CHINOOK)], "employee.employee_id", &[]);
    assert_eq!(steps.last().unwrap(), "shop.employee delete", "{text}");
    steps.sort();
    assert_eq!(
        steps,
        ["shop.customer unlink", "shop.employee delete", "shop.employee/reports_to unlink"],
        "{text}"
    );
}

#[test]
fn a_forum_keeps_what_others_wrote() {
    let (text, steps) = drafted(
        &[(
            "shop",
            &[
                "users(id! email~ password_hash name address_id?>addresses avatar_id?>files)",
                "addresses(id! street city)",
                "files(id! user_id>users path)",
                "posts(id! user_id>users body moderated_by?>users)",
                "comments(id! user_id>users post_id?>posts parent_id?>comments body)",
                "messages(id! sender_id?>users recipient_id?>users)",
                "likes(user_id!>users comment_id!>comments)",
                "visits(id! email ip)",
            ],
        )],
        "users.id",
        &[],
    );
    for expected in [
        "  user_id: shop.users.id\n",
        "  email: { column: shop.users.email, ignore_case: true }\n",
        "export: [id, email, name, address_id, avatar_id]   # without password_hash",
        "- name: avatar_id",
        "match: { avatar_id: files.id }",
        "- name: moderated_by",
        "match: { parent_id: comments.id }",
        "match: { post_id: posts.id }",
        "- { sender_id: users.id }",
        "- { recipient_id: users.id }",
        "#   match: { id: users.address_id }",
        "#   erase: delete_if_unreferenced",
        "#   match: { email: shop.users.email }",
    ] {
        assert!(text.contains(expected), "`{expected}` is not in\n{text}");
    }
    assert_eq!(steps.last().unwrap(), "shop.users delete", "{text}");
}

#[test]
fn another_connection_is_joined_with_its_children() {
    let (text, steps) = drafted(
        &[
            ("shop", &["users(id! email~)"]),
            ("crm", &["contacts(id! email name)", "calls(id! contact_id>contacts note)"]),
        ],
        "users.id",
        &[("crm.contacts.email", "shop.users.email")],
    );
    assert_eq!(steps, ["crm.calls delete", "crm.contacts delete", "shop.users delete"], "{text}");
}

#[test]
fn odd_names_are_quoted() {
    let (text, steps) = drafted(
        &[("shop", &["my.users(Id! E-Mail~)", "null(id! user.id>my.users #tag)"])],
        "\"my.users\".Id",
        &[],
    );
    assert_eq!(steps.len(), 2, "{text}");
}

#[test]
fn what_is_not_there_is_named() {
    let catalogs = [("shop".to_owned(), catalog(CHINOOK))].into();
    for (connection, subject, says) in [
        ("shp", "customer.customer_id", "did you mean `shop`?"),
        ("shop", "customers.customer_id", "did you mean `customer`?"),
        ("shop", "customer.customerid", "did you mean `customer_id`?"),
        ("shop", "customer", "TABLE.COLUMN"),
    ] {
        let wish = Wish {
            connection: connection.to_owned(),
            subject: Reference::split(subject).unwrap(),
            name: None,
            joins: Vec::new(),
        };
        let fault = draft(&wish, &catalogs).unwrap_err();
        assert!(fault.contains(says), "{fault}");
    }
}
