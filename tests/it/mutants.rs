//! The list of planted bugs, `.ci/mutants.txt`: it must fit the code and the tests that it speaks of.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

const KEYS: [&str; 6] = ["mutant", "file", "line", "put", "test", "harm"];

fn place(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}

/// The texts of a block in the order of [`KEYS`]; `None` for one that is all comment.
fn bug(block: &str) -> Option<[&str; 6]> {
    let lines: Vec<&str> = block.lines().filter(|line| !line.starts_with('#')).collect();
    let pairs: Vec<(&str, &str)> = lines.iter().map(|line| line.split_once(':').expect(line)).collect();
    if pairs.is_empty() {
        return None;
    }
    let keys: Vec<&str> = pairs.iter().map(|(key, _)| *key).collect();
    assert!(keys == KEYS || (keys.starts_with(&KEYS) && keys[KEYS.len()..] == ["alone"]), "{block}");
    Some(std::array::from_fn(|at| pairs[at].1.trim()))
}

/// True where the filter names a module or a test of it.
fn is_there(binary: &str, filter: &str) -> bool {
    let folder = if binary == "lib" { "src" } else { "tests/it" };
    let file = |modules: &str| place(&format!("{folder}/{}.rs", modules.replace("::", "/")));
    let Some((modules, test)) = filter.rsplit_once("::") else { return file(filter).exists() };
    let holds_it = |text: String| text.contains(&format!("fn {test}("));
    file(filter).exists() || fs::read_to_string(file(modules)).is_ok_and(holds_it)
}

#[test]
fn every_planted_bug_has_its_line_and_its_test() {
    let list = fs::read_to_string(place(".ci/mutants.txt")).unwrap();
    let mut names = BTreeSet::new();
    for [name, file, line, put, test, harm] in list.split("\n\n").filter_map(bug) {
        assert!(names.insert(name), "{name} stands there twice");
        let code = fs::read_to_string(place(file)).unwrap_or_else(|error| panic!("{name}: {file}: {error}"));
        assert_eq!(code.matches(line).count(), 1, "{name}: once in {file}: {line}");
        assert!(line != put && !harm.is_empty(), "{name}");
        let (binary, filter) = test.split_once(' ').expect(name);
        assert!(["lib", "it"].contains(&binary) && is_there(binary, filter), "{name}: no test {test}");
    }
    assert!(names.len() >= 24, "{}", names.len());
}
