//! Packages of exports, as who gets them reads them.

use std::{
    collections::BTreeMap,
    io::{Cursor, Read},
};

use rightful::service::{Service, packages, readings::Reader};
use serde_json::Value;
use uuid::Uuid;
use zip::ZipArchive;

/// The files of a zip, as text.
pub fn unzip(bytes: &[u8]) -> BTreeMap<String, String> {
    let mut archive = ZipArchive::new(Cursor::new(bytes)).expect("a zip");
    (0..archive.len())
        .map(|at| {
            let mut file = archive.by_index(at).expect("a file");
            let mut text = String::new();
            file.read_to_string(&mut text).expect("UTF-8");
            (file.name().expect("UTF-8").into_owned(), text)
        })
        .collect()
}

/// The package of a request, whole.
pub async fn package(service: &Service, id: Uuid) -> Vec<u8> {
    let reader = Reader { sub: "alice".to_owned(), every_request: true, identities: true, own: false };
    let opened = packages::open(service, &reader, id).await.expect("a package");
    let mut parts = opened.parts(0..opened.package.size);
    let mut bytes = Vec::new();
    while let Some(part) = parts.next().await.expect("a part") {
        bytes.extend(part);
    }
    bytes
}

/// The rows of a table in a package of JSON.
pub fn rows(files: &BTreeMap<String, String>, step: &str) -> Vec<Value> {
    let name = format!("tables/{step}.json");
    let text = files.get(&name).unwrap_or_else(|| panic!("no {name} in {:?}", files.keys()));
    serde_json::from_str(text).expect("an array")
}
