//! The house stays as the map in `src/lib.rs` says: arrows point down, files stay short, the two stores have the
//! same migrations.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Which top-level modules a module may name. A module that is missing here fails the test.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("points", &["points"]),
    ("domain", &["domain"]),
    ("config", &["config", "domain"]),
    ("drivers", &["drivers"]),
    ("store", &["store", "drivers", "points", "domain"]),
    ("connectors", &["connectors", "drivers", "domain"]),
    ("service", &["service", "store", "connectors", "points", "domain"]),
    ("http", &["http", "service", "store", "connectors", "domain", "config"]),
    ("worker", &["worker", "service", "store", "connectors", "points", "domain", "config"]),
    ("cli", &["cli", "http", "worker", "service", "store", "connectors", "points", "domain", "config"]),
];

/// Words that a module's code must not contain, because they belong to another layer.
const FOREIGN: &[(&str, &[&str])] = &[
    ("domain", &["diesel", "actix_web", "tokio", "reqwest", "std::fs"]),
    ("store", &["actix_web"]),
    ("connectors", &["actix_web"]),
    ("service", &["actix_web", "diesel"]),
    ("http", &["diesel"]),
    ("worker", &["diesel"]),
    ("cli", &["diesel"]),
];

const LONGEST_FILE: usize = 400;

#[test]
fn nothing_points_back() {
    let mut wrong = Vec::new();
    for file in rust_files("src") {
        let Some(module) = top_module(&file) else { continue };
        let Some((_, allowed)) = MAY_NAME.iter().find(|(name, _)| *name == module) else {
            wrong.push(format!("{}: the module `{module}` has no place in the house", file.display()));
            continue;
        };
        let code = without_comments(&fs::read_to_string(&file).unwrap());
        for named in named_modules(&code, &file) {
            if !allowed.contains(&named.as_str()) {
                wrong.push(format!("{}: {module} must not name {named}", file.display()));
            }
        }
        // Tests of a module may read files and the like.
        if file.iter().any(|part| part == "tests" || part == "tests.rs") {
            continue;
        }
        for word in FOREIGN.iter().filter(|(name, _)| *name == module).flat_map(|(_, words)| *words) {
            if code.contains(&format!("{word}::")) {
                wrong.push(format!("{}: {word} does not belong to {module}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_stay_short() {
    let long: Vec<_> = ["src", "tests", "benches"]
        .iter()
        .flat_map(|folder| rust_files(folder))
        .map(|file| (fs::read_to_string(&file).unwrap().lines().count(), file))
        .filter(|(lines, _)| *lines > LONGEST_FILE)
        .map(|(lines, file)| format!("{} has {lines} lines", file.display()))
        .collect();
    assert!(long.is_empty(), "split by feature, never by layer:\n{}", long.join("\n"));
}

#[test]
fn both_stores_have_the_same_migrations() {
    let names = |database: &str| -> BTreeSet<String> {
        entries(&root().join("migrations").join(database))
            .into_iter()
            .map(|path| {
                for file in ["up.sql", "down.sql"] {
                    assert!(path.join(file).is_file(), "{} lacks {file}", path.display());
                }
                path.file_name().unwrap().to_str().unwrap().to_owned()
            })
            .collect()
    };
    assert_eq!(names("sqlite"), names("postgres"));
}

#[test]
fn the_reader_of_imports_reads_them() {
    let code = "use crate::{config::Config, domain::{key::Key}};\nfn f() { crate::store::x(); super::super::http::y(); }";
    let file = root().join("src/cli/sub.rs");
    let named = named_modules(code, &file);
    assert_eq!(named, ["config", "domain", "http", "store"].map(String::from).into());
    assert!(!without_comments("a // crate::http\n/// crate::cli").contains("crate"));
}

/// The top-level modules that code reaches through `crate::…` or through enough `super::`.
fn named_modules(code: &str, file: &Path) -> BTreeSet<String> {
    let mut named = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        if !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$') {
            first_segments(&code[at + "crate::".len()..], &mut named);
        }
    }
    let climb = "super::".repeat(depth(file));
    for (at, _) in code.match_indices(&climb) {
        let mut reached = BTreeSet::new();
        first_segments(&code[at + climb.len()..], &mut reached);
        named.extend(reached.into_iter().filter(|name| MAY_NAME.iter().any(|(module, _)| module == name)));
    }
    named
}

/// `a::b` → a; `{a::{b, c}, d}` → a, d.
fn first_segments(path: &str, into: &mut BTreeSet<String>) {
    let word = |text: &str| -> String {
        text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    let Some(group) = path.strip_prefix('{') else {
        into.insert(word(path));
        return;
    };
    let mut level = 0;
    let mut start = true;
    for (at, c) in group.char_indices() {
        if start && level == 0 && !c.is_whitespace() && c != '}' {
            into.insert(word(&group[at..]));
            start = false;
        }
        match c {
            '{' => level += 1,
            '}' if level == 0 => return,
            '}' => level -= 1,
            ',' if level == 0 => start = true,
            _ => {}
        }
    }
}

/// How many modules lie between the file's module and the crate's root, itself included.
fn depth(file: &Path) -> usize {
    let inside = file.strip_prefix(root().join("src")).unwrap_or(file);
    let parts = inside.components().count();
    if file.ends_with("mod.rs") { parts - 1 } else { parts }
}

fn top_module(file: &Path) -> Option<String> {
    let inside = file.strip_prefix(root().join("src")).ok()?;
    let first = inside.components().next()?.as_os_str().to_str()?;
    let module = first.trim_end_matches(".rs");
    (!["lib", "main"].contains(&module)).then(|| module.to_owned())
}

fn without_comments(code: &str) -> String {
    code.lines().filter_map(|line| line.split("//").next()).collect::<Vec<_>>().join("\n")
}

fn rust_files(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![root().join(folder)];
    while let Some(folder) = open.pop() {
        for path in entries(&folder) {
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found
}

/// What a folder holds; nothing where it does not exist.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> =
        fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
