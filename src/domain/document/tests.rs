use super::*;

fn faults(text: &str, read: impl FnOnce(&mut Reader, &Node)) -> Vec<String> {
    let node = Document::parse("plan.yaml", text).expect("valid YAML");
    let mut reader = Reader::new("plan.yaml");
    read(&mut reader, &node);
    reader.into_faults().iter().map(ToString::to_string).collect()
}

#[test]
fn nodes_know_their_line_and_text() {
    let node = Document::parse("f", "# head\na: 007\nb:\n  - x\n  - 'true'\nc: {d: 1.5}\n").unwrap();
    let pairs: Vec<_> = node.as_map().unwrap().collect();
    assert_eq!(pairs[0].1.as_str(), Some("007"));
    assert_eq!((pairs[0].0.line, pairs[1].0.line, pairs[2].0.line), (2, 3, 6));
    let list = pairs[1].1.as_list().unwrap();
    assert_eq!((list[0].line, list[1].line), (4, 5));
    assert_eq!((list[1].as_bool(), list[1].kind_name()), (Some(true), "text"));
    assert_eq!(pairs[2].1.as_map().unwrap().next().unwrap().1.as_f64(), Some(1.5));
}

#[test]
fn all_faults_at_once_with_the_nearest_key() {
    let text = "listn: 1\nstore: [x]\nplans: a\nplans: b\n";
    let found = faults(text, |reader, node| {
        let fields = reader.fields(node, "the configuration", &["listen", "store", "plans"]).unwrap();
        reader.text(fields.get("store").unwrap(), "store");
        assert_eq!(fields.get("plans").unwrap().as_str(), Some("a"));
    });
    assert_eq!(
        found,
        [
            "plan.yaml:1: error: the configuration has no key `listn`\n    did you mean `listen`?",
            "plan.yaml:2: error: store must be text, found a list",
            "plan.yaml:4: error: `plans` stands twice in the configuration, first on line 3\n    keep one of the two",
        ]
    );
}

#[test]
fn broken_text_says_where() {
    for (text, line) in [("a: [1\nb: 2", 2), ("a: 1\n--- \nb: 2\n", 2), ("? [x]\n: 1\n", 1)] {
        let found = Document::parse("f", text).unwrap_err();
        assert_eq!(found.len(), 1, "{text}");
        assert!(found[0].line.unwrap() >= line, "{text}: {}", found[0]);
    }
    for (text, line) in [("a: [", 1), ("a: [\n", 1), ("a:\n  - {\n", 2), ("? \n", 1)] {
        assert_eq!(Document::parse("f", text).unwrap_err()[0].line, Some(line), "{text}");
    }
}

#[test]
fn bounded_depth_and_aliases() {
    assert!(Document::parse("f", &"[".repeat(100_000)).is_err());
    let mut bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (name, of) in [("b", "a"), ("c", "b"), ("d", "c"), ("e", "d"), ("f", "e")] {
        bomb += &format!("{name}: &{name} [{}]\n", vec![format!("*{of}"); 10].join(", "));
    }
    assert!(Document::parse("f", &bomb).is_err());
    let shared = Document::parse("f", "a: &a {x: 1}\nb: *a\n").unwrap();
    let values: Vec<_> = shared.as_map().unwrap().map(|(_, node)| node.clone()).collect();
    assert!(values[0] == values[1]);
}

#[test]
fn values_never_show_in_debug_or_faults() {
    let found = faults("a: {password: hunter2}\n", |reader, node| {
        let fields = reader.fields(node, "x", &["a"]).unwrap();
        reader.text(fields.get("a").unwrap(), "a");
        assert!(!format!("{:?}", fields).contains("hunter2"));
    });
    assert!(!found.join("").contains("hunter2"));
}
