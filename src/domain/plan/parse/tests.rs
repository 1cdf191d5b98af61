use super::{super::*, parse};

fn faults(text: &str) -> String {
    let faults = parse("p.yaml", text).expect_err("is refused");
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn with_table(entry: &str) -> String {
    format!("plan: p\nsubject: {{ id: shop.users.id }}\nconnections:\n  shop:\n    t: {entry}\n")
}

#[test]
fn the_example_is_read_whole() {
    let text = include_str!("../../../../plans/customer.yaml");
    let plan = parse("plans/customer.yaml", text).expect("is valid");
    assert_eq!(plan.name.value, "customer");
    assert_eq!(plan.identities.len(), 2);
    assert!(plan.identities[1].ignore_case);
    assert_eq!(plan.connections.iter().map(|c| c.value.as_str()).collect::<Vec<_>>(), ["shop", "crm"]);
    let tables: Vec<String> = plan.entries.iter().map(|entry| entry.table.to_string()).collect();
    assert_eq!(
        tables,
        ["users", "profiles", "orders", "order_items", "messages", "addresses", "replies", "contacts"]
    );
    let Erase::Mask { columns, basis } = &plan.entries[2].erase.value else { panic!() };
    let strategies: Vec<&MaskStrategy> = columns.iter().map(|(_, strategy)| &strategy.value).collect();
    assert_eq!(
        strategies,
        [
            &MaskStrategy::StringRewrite("[REDACTED]".to_owned()),
            &MaskStrategy::Hmac,
            &MaskStrategy::NullRewrite,
            &MaskStrategy::NullRewrite
        ]
    );
    assert!(basis.is_some());
    assert_eq!(plan.entries[4].matches.len(), 2);
    assert_eq!(plan.entries[4].filter.as_ref().unwrap().value, "kind <> 'system'");
}

#[test]
fn every_form() {
    let text = "plan: p\nsubject: { id: shop.users.id, scope: { tenant: shop.users.tenant } }\nconnections:\n  shop:\n    '\"odd.schema\".\"a.b\"':\n      - { match: { '\"x.y\"': '\"my.conn\".s.t.c' }, erase: unlink, shared: true, export: none }\n      - name: two\n        match: [ { sql: '{users.id} = 1' }, { a: users.id, b: { value: 7 } } ]\n        erase: { mask: { a: { string_rewrite: 0 }, b: hash, c: { random_string_rewrite: { length: 8 } }, d: { preserve: {} }, e: { sql: x, done: y } } }\n        export: [a]\n        rectify: [b]\n";
    let plan = parse("p.yaml", text).unwrap_or_else(|faults| panic!("{faults:?}"));
    assert_eq!(plan.scope[0].name, "tenant");
    let [first, second] = plan.entries.as_slice() else { panic!() };
    assert_eq!(first.table.parts, ["odd.schema", "a.b"]);
    assert!(first.shared);
    let Match::Columns(columns) = &first.matches[0].value else { panic!() };
    assert_eq!(columns[0].0.value, "x.y");
    let MatchValue::Column(reference) = &columns[0].1.value else { panic!() };
    assert_eq!((reference.parts.len(), reference.to_string().as_str()), (4, "\"my.conn\".s.t.c"));
    assert_eq!(second.name.as_ref().unwrap().value, "two");
    let Match::Columns(columns) = &second.matches[1].value else { panic!() };
    assert_eq!(columns[1].1.value, MatchValue::Constant("7".to_owned()));
    let Erase::Mask { columns, .. } = &second.erase.value else { panic!() };
    assert_eq!(columns[0].1.value, MaskStrategy::StringRewrite("0".to_owned()));
    assert_eq!(columns[2].1.value, MaskStrategy::RandomStringRewrite { length: 8 });
}

/// What stands behind `t:` and what the fault must say.
const REFUSED_ENTRIES: &[(&str, &str)] = &[
    ("{ erase: delet }", "did you mean `delete`"),
    ("{ match: { a: users.id } }", "says no `erase`"),
    ("", "says no `erase`"),
    ("{ erase: keep }", "gives no reason"),
    ("{ erase: { keep: \"\" } }", "gives no reason"),
    ("{ erase: { keep: a, none: b } }", "exactly one of"),
    ("{ erase: { keep: a, basis: b } }", "`basis` belongs to a mask"),
    ("{ erase: mask }", "names no columns"),
    ("{ erase: { mask: {} } }", "names no columns"),
    ("{ erase: { mask: { a: string_rewrite } } }", "give it a text"),
    ("{ erase: { mask: { a: nul_rewrite } } }", "did you mean `null_rewrite`"),
    ("{ erase: { mask: { a: { random_string_rewrite: { length: 0 } } } } }", "needs a `length`"),
    ("{ erase: { mask: { a: { sql: x } } } }", "has no `done`"),
    ("{ erase: { mask: { a: { hmac: { key: 1 } } } } }", "takes no options"),
    ("{ erase: { call: \"DELETE /x\" } }", "has no `verify`: nobody could prove"),
    ("{ erase: { call: \"GET /x\", verify: \"GET /x\" } }", "is a GET; it must be DELETE or POST"),
    ("{ erase: { call: \"DELETE /x\", verify: \"DELETE /x\" } }", "it must be GET"),
    ("{ erase: { call: \"DELETE /x\", keep: a } }", "exactly one of"),
    ("{ erase: { keep: a, verify: \"GET /x\" } }", "`verify` belongs to a call"),
    ("{ erase: delete, export: \"FETCH /x\" }", "none of GET, POST"),
    ("{ erase: delete, export: \"POST /x\" }", "it must be GET"),
    ("{ erase: delete, rectify: { call: \"PATCH /x\" } }", "has no `fields`"),
    ("{ erase: delete, rectify: { call: \"PATCH /x\", fields: [] } }", "names no fields"),
    ("{ erase: delete, rectify: { call: \"PATCH /x\", fields: [a, a] } }", "names a field twice"),
    ("{ erase: delete, rectify: { call: \"DELETE /x\", fields: [a] } }", "it must be PATCH or PUT"),
    ("{ match: {}, erase: delete }", "is empty"),
    ("{ match: [], erase: delete }", "empty list"),
    ("{ match: { a: users }, erase: delete }", "no reference to a column"),
    ("{ match: { a: { value: x } }, erase: delete }", "rows of everybody"),
    ("{ match: { a: { valu: x } }, erase: delete }", "did you mean `value`"),
    ("{ match: { a.b: users.id }, erase: delete }", "no name of a column"),
    ("{ wher: x, erase: delete }", "did you mean `where`"),
    ("{ where: \" \", erase: delete }", "`where` of `shop.t` is empty"),
    ("{ erase: delete, export: some }", "write all, none or a list"),
    ("{ erase: delete, rectify: [a, a] }", "names `a` twice"),
    ("[ { erase: delete }, { match: { a: users.id }, erase: unlink } ]", "without a `name`"),
    ("[ { erase: delete, name: x }, { name: x, erase: unlink } ]", "two entries named `x`"),
    ("{ erase: delete, erase: unlink }", "stands twice"),
];

/// A whole plan and what the fault must say.
const REFUSED_PLANS: &[(&str, &str)] = &[
    ("", "must be a map"),
    ("plan: p\n", "has no `subject`"),
    ("plan: p\nsubjekt: x\nconnections: {}\n", "did you mean `subject`"),
    (
        "plan: \"a b\"\nsubject: { id: a.b.c }\nconnections: { a: { b: { erase: delete } } }\n",
        "the plan's name is `a b`",
    ),
    (
        "plan: p\nsubject: { scope: { t: a.b.c } }\nconnections: { a: { b: { erase: delete } } }\n",
        "names no identity",
    ),
    (
        "plan: p\nsubject: { t: a.b.c, scope: { t: a.b.c } }\nconnections: { a: { b: { erase: delete } } }\n",
        "an identity and a part of the scope",
    ),
    (
        "plan: p\nsubject: { id: { colum: a.b.c } }\nconnections: { a: { b: { erase: delete } } }\n",
        "did you mean `column`",
    ),
    ("plan: p\nsubject: { id: a.b.c }\nconnections: { a: { b.c.d: { erase: delete } } }\n", "no table name"),
];

#[test]
fn what_is_refused_and_how() {
    for (entry, words) in REFUSED_ENTRIES {
        let found = faults(&with_table(entry));
        assert!(found.contains(words), "{entry}: {words}\n{found}");
        assert!(found.lines().next().unwrap().starts_with("p.yaml:5: error: "), "{found}");
    }
    for (text, words) in REFUSED_PLANS {
        let found = faults(text);
        assert!(found.contains(words), "{words}\n{found}");
    }
}

#[test]
fn all_faults_at_once() {
    let found = parse("p.yaml", "plan: p\nsubject: { id: shop }\nconnections:\n  shop:\n    a: { erase: delet }\n    b: { mach: x, erase: delete }\n").unwrap_err();
    assert_eq!(found.iter().map(|fault| fault.line.unwrap()).collect::<Vec<_>>(), [2, 5, 6]);
}
