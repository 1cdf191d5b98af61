use std::{
    collections::BTreeSet,
    io::{Cursor, Read},
};

use age::x25519;
use uuid::Uuid;
use zip::ZipArchive;

use super::*;
use crate::domain::{audit::hex, clock::Clock, request::Subject};

const EVIL: &str = "<script>alert(\"'&\")</script>";

fn heading() -> Heading {
    let subject = [("email".to_owned(), serde_json::json!(EVIL))];
    Heading {
        request: RequestPart {
            id: Uuid::nil(),
            right: "access",
            format: "json",
            external_id: None,
            submitted_at: "2026-11-02T09:00:00.000000Z".to_owned(),
        },
        plan: PlanPart {
            name: "customer".to_owned(),
            version: "sha256:0".to_owned(),
            about: About { purpose: vec!["selling things".to_owned()], ..About::default() },
        },
        subject: Subject(subject.into_iter().collect()),
    }
}

fn columns() -> Vec<Column> {
    ["id", "no, te"]
        .map(|name| Column { name: name.to_owned(), type_name: "text".to_owned() })
        .into_iter()
        .collect()
}

/// Two tables, one of them empty.
fn package(format: Format, recipient: Option<&Recipient>) -> Vec<u8> {
    let mut packer = Packer::new(heading(), format, recipient, Clock.now()).unwrap();
    let mut bytes = Vec::new();
    packer.begin("shop.users/old", columns(), &About::default()).unwrap();
    for number in 1..=60 {
        let id = Value::Number(number.to_string());
        packer.rows(&[vec![id, Value::Text(EVIL.to_owned())]]).unwrap();
        bytes.extend(packer.take());
    }
    packer.end().unwrap();
    let about = About { legal_basis: vec!["contract".to_owned()], ..About::default() };
    packer.begin("shop.ü ber", columns(), &about).unwrap();
    packer.end().unwrap();
    bytes.extend(packer.finish().unwrap());
    bytes
}

fn read(package: &[u8], name: &str) -> String {
    let mut archive = ZipArchive::new(Cursor::new(package)).unwrap();
    let mut text = String::new();
    archive.by_name(name).unwrap().read_to_string(&mut text).unwrap();
    text
}

#[test]
fn the_manifest_names_every_file_with_its_hash() {
    for (format, ending) in [(Format::Json, "json"), (Format::Csv, "csv")] {
        let package = package(format, None);
        let manifest: serde_json::Value = serde_json::from_str(&read(&package, "manifest.json")).unwrap();
        assert_eq!(manifest["plan"]["about"]["purpose"][0], "selling things");
        let files = manifest["files"].as_array().unwrap();
        assert_eq!(files.len(), 2);
        assert_eq!(files[0]["file"], format!("tables/shop.users~old.{ending}"));
        assert_eq!(files[1]["file"], format!("tables/shop.%C3%BC%20ber.{ending}"));
        assert_eq!((&files[0]["rows"], &files[1]["rows"]), (&60.into(), &0.into()));
        for file in files {
            let text = read(&package, file["file"].as_str().unwrap());
            assert_eq!(file["bytes"], text.len());
            let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
            assert_eq!(file["sha256"], hex(hash.as_ref()));
        }
    }
}

#[test]
fn files_are_told_apart_where_the_case_of_letters_does_not_count() {
    let mut packer = Packer::new(heading(), Format::Json, None, Clock.now()).unwrap();
    for step in ["shop.Notes", "shop.notes", "shop.notes~2", "shop.NOTES"] {
        packer.begin(step, columns(), &About::default()).unwrap();
        packer.rows(&[vec![Value::Text(step.to_owned()), Value::Null]]).unwrap();
        packer.end().unwrap();
    }
    let package = packer.finish().unwrap();
    let manifest: serde_json::Value = serde_json::from_str(&read(&package, "manifest.json")).unwrap();
    let mut names = BTreeSet::new();
    for file in manifest["files"].as_array().unwrap() {
        let (name, step) = (file["file"].as_str().unwrap(), file["step"].as_str().unwrap());
        assert!(names.insert(name.to_lowercase()), "{names:?}");
        assert!(read(&package, name).contains(&format!("\"{step}\"")));
    }
}

#[test]
fn tables_are_arrays_or_csv() {
    let json = package(Format::Json, None);
    let rows: serde_json::Value = serde_json::from_str(&read(&json, "tables/shop.users~old.json")).unwrap();
    assert_eq!((rows.as_array().unwrap().len(), &rows[59]["no, te"]), (60, &EVIL.into()));
    assert_eq!(read(&json, "tables/shop.%C3%BC%20ber.json"), "[]\n");
    let csv = package(Format::Csv, None);
    let text = read(&csv, "tables/shop.users~old.csv");
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    assert_eq!(reader.headers().unwrap(), vec!["id", "no, te"]);
    assert_eq!(reader.records().map(Result::unwrap).last().unwrap(), vec!["60", EVIL]);
    assert_eq!(read(&csv, "tables/shop.%C3%BC%20ber.csv"), "id,\"no, te\"\r\n");
}

#[test]
fn the_page_shows_the_first_rows_and_runs_nothing() {
    let page = read(&package(Format::Json, None), "index.html");
    assert!(!page.contains("<script") && page.contains("&lt;script&gt;alert(&quot;&#39;&amp;&quot;)"));
    assert!(page.contains("60 records") && page.contains("the first 50"));
    assert_eq!(page.matches("<td>50</td>").count(), 1);
    assert_eq!(page.matches("<td>51</td>").count(), 0);
    assert!(page.contains("href=\"tables/shop.%25C3%25BC%2520ber.json\""), "a link to the file's very name");
    assert!(page.contains("<dt>legal basis</dt><dd>contract</dd>"));
}

#[test]
fn only_the_recipient_reads_what_is_encrypted() {
    let identity = x25519::Identity::generate();
    let recipient: Recipient = identity.to_public().to_string().parse().unwrap();
    let package = package(Format::Json, Some(&recipient));
    assert!(package.starts_with(b"age-encryption.org/v1\n"));
    let plain = age::decrypt(&identity, &package).unwrap();
    assert!(read(&plain, "index.html").contains("60 records"));
    assert!(age::decrypt(&x25519::Identity::generate(), &package).is_err());
    for wrong in ["", "age1", "age1qqqq", "ssh-ed25519 AAAA"] {
        assert!(wrong.parse::<Recipient>().is_err(), "{wrong}");
    }
}
