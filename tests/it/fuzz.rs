//! The corpora of the fuzz targets, held against the same properties: what was found once stays found, on every build.

mod properties;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use properties::{ALL, Check, certificate, checkpoint, cursor, token};

/// All corpora together, in bytes: they are read by people.
const LARGEST: usize = 512 * 1024;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let read = fs::read_dir(folder).unwrap_or_else(|why| panic!("{}: {why}", folder.display()));
    let mut files: Vec<PathBuf> = read.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn the_properties_hold_of_every_file_of_the_corpora() {
    let mut size = 0;
    for (name, check) in ALL {
        let mut taken = BTreeSet::new();
        for file in files(&fuzz().join("corpus").join(name)) {
            let bytes = fs::read(&file).unwrap();
            size += bytes.len();
            let verdict = std::panic::catch_unwind(|| check(&bytes));
            taken.insert(verdict.unwrap_or_else(|_| panic!("{}: see above", file.display())));
        }
        // A corpus that is refused as a whole says nothing of what is taken, and the other way round.
        assert_eq!(taken.len(), 2, "{name}: files that are taken and files that are not");
    }
    assert!(size < LARGEST, "{size} bytes");
}

#[test]
fn every_target_has_its_binary_and_its_corpus() {
    let names = |files: Vec<PathBuf>| -> BTreeSet<String> {
        files.iter().map(|file| file.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
    };
    let known = ALL.map(|(name, _)| name.to_owned()).into();
    assert_eq!(names(files(&fuzz().join("fuzz_targets"))), known);
    assert_eq!(names(files(&fuzz().join("corpus"))), known);
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
    for name in known {
        assert!(manifest.contains(&format!("\nname = \"{name}\"\n")), "{name} is no binary");
    }
}

/// Fuzzers cannot make signatures: what is signed has to be in the corpus as it is made.
#[test]
fn what_is_signed_is_in_the_corpora_and_holds() {
    let signed: [(&str, Check, Vec<Vec<u8>>); 4] = [
        ("certificate", certificate::check, certificate::made()),
        ("checkpoint", checkpoint::check, checkpoint::made()),
        ("cursor", cursor::check, cursor::made()),
        ("token", token::check, token::made()),
    ];
    for (name, check, made) in signed {
        let corpus: Vec<Vec<u8>> =
            files(&fuzz().join("corpus").join(name)).iter().map(|file| fs::read(file).unwrap()).collect();
        for made in made {
            let text = String::from_utf8_lossy(&made);
            assert!(check(&made), "{name}: {text}");
            assert!(corpus.contains(&made), "{name} lacks {text}");
        }
    }
}
