//! Certificates: one that holds is one that was made, member by member; and whatever is well made holds.

use rightful::domain::{
    audit::unhex,
    certificate::{Certificate, Invalid, Proof, verify},
    checkpoint::read,
    tree::{leaf, root_by},
};
use serde_json::{Value, json};

use super::checkpoint::{keys, signer};

/// The place of every event that is certified here, in a log of three entries.
const INDEX: u64 = 1;
const SIZE: u64 = 3;
/// What lies beside the way to the root.
const BESIDE: [[u8; 32]; 2] = [[1; 32], [2; 32]];

/// Those of the corpus, before they are sealed.
const STATED: [&str; 2] = [
    r#"{"request_id":"0192f0c1-d2e3-7a4b-8c5d-6e7f8091a2b3","kind":"erasure","status":"completed","outcome":"done_with_exceptions",
        "plan":{"name":"customer","version":"00"},"submitted_at":"2026-11-02T09:00:00.000000Z",
        "created_at":"2026-11-02T09:00:00.000000Z","started_at":"2026-11-02T09:00:01.000000Z",
        "finished_at":"2026-11-02T09:00:02.000000Z","steps":[
            {"name":"shop.users","action":"delete","status":"completed","basis":null,"columns":[],
             "rows":{"matched":1,"affected":1,"withheld":0,"remaining":0},"kept_until":null,"by_hand":null,
             "started_at":"2026-11-02T09:00:01.000000Z","finished_at":"2026-11-02T09:00:02.000000Z"},
            {"name":"shop.orders","action":"keep","status":"completed","basis":"§ 147 AO","columns":["name"],
             "rows":{"matched":2,"affected":0,"withheld":2,"remaining":2},"kept_until":"2036-12-31T00:00:00.000000Z",
             "by_hand":{"do":"Shred it","recipient":null,"result":"impossible"},"started_at":null,"finished_at":null}],
        "denial":null,"error":null,"package":{"size":7,"sha256":"00","encrypted":true},"replay_of":null}"#,
    r#"{"request_id":"0192f0c1-d2e3-7a4b-8c5d-6e7f8091a2b4","kind":"export","status":"denied","outcome":"nothing_done",
        "plan":{"name":"customer","version":"00"},"submitted_at":"2026-11-02T09:00:00.000000Z",
        "created_at":"2026-11-02T09:00:00.000000Z","started_at":null,"finished_at":"2026-11-02T09:00:02.000000Z",
        "steps":[],"denial":"other","error":null,"package":null,"replay_of":null}"#,
];

/// The certificates of the corpus.
pub fn made() -> Vec<Vec<u8>> {
    STATED
        .iter()
        .map(|stated| {
            let statement: Value = serde_json::from_str(stated).expect("JSON");
            let id = statement["request_id"].as_str().expect("an id");
            let status = statement["status"].as_str().expect("a status");
            let certificate = json!({
                "format": "rightful-certificate/1",
                "event": {
                    "id": "0192f0c1-d2e3-7a4b-8c5d-6e7f8091a2ff", "stream": format!("request:{id}"), "seq": 9,
                    "at": "2026-11-02T09:00:02.000000Z", "event": format!("request.{status}"), "request_id": id,
                    "subject_ref": null, "actor": "worker:a", "step": null, "action": null, "rows": null,
                    "details": { "outcome": statement["outcome"] }, "prev_hash": "07".repeat(32), "hash": "",
                },
                "proof": "",
                "statement": statement,
            });
            let certificate = serde_json::from_value(certificate).expect("a certificate");
            serde_json::to_vec_pretty(&sealed(certificate).expect("details")).expect("JSON")
        })
        .collect()
}

/// With every hash and signature made anew, as only the service can; `None` where the event has no details.
fn sealed(mut certificate: Certificate) -> Option<Certificate> {
    let Certificate { statement, event, proof, .. } = &mut certificate;
    event.details.as_object_mut()?.insert("statement".to_owned(), json!(statement.hash()));
    event.hash = event.computed_hash();
    let root = root_by(&leaf(&unhex(&event.hash)), INDEX, SIZE, &BESIDE)?;
    let checkpoint = signer("PeterNeumann").sign(SIZE, &root);
    *proof = Proof { index: INDEX, hashes: BESIDE.to_vec(), checkpoint }.to_string();
    Some(certificate)
}

pub fn check(data: &[u8]) -> bool {
    let holds = verify(data, &keys());
    if let Ok(verified) = &holds {
        let value = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).expect("JSON");
        assert!(made().iter().any(|made| value(made) == value(data)), "a certificate that nobody made");
        assert_eq!(serde_json::to_value(&verified.certificate).ok(), Some(value(data)));
        assert_eq!((verified.index, verified.size, verified.origin.as_str()), (INDEX, SIZE, "PeterNeumann"));
    }
    if let Ok(text) = std::str::from_utf8(data) {
        proof(text);
    }
    if let Some(certificate) = serde_json::from_slice(data).ok().and_then(sealed) {
        well_made_holds(&certificate);
    }
    holds.is_ok()
}

/// Of a certificate with the right hashes only its form can be wrong, or that its event is another one.
fn well_made_holds(certificate: &Certificate) {
    let bytes = serde_json::to_vec(certificate).expect("JSON");
    match verify(&bytes, &keys()) {
        Ok(verified) => {
            assert_eq!(verified.certificate, *certificate);
            assert_eq!(certificate.event.request_id, Some(certificate.statement.request_id));
            let pretty = serde_json::to_vec_pretty(certificate).expect("JSON");
            assert_eq!(verify(&pretty, &keys()), Ok(verified));
        }
        Err(Invalid::Form) => assert_ne!(certificate.format, "rightful-certificate/1"),
        Err(Invalid::Event) => assert!(
            certificate.event.prev_hash.len() != 64 || {
                let digits = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
                !certificate.event.prev_hash.chars().all(digits)
            }
        ),
        // Numbers that not every reader takes for the same.
        Err(Invalid::Json | Invalid::OtherEvent) => {}
        Err(other) => panic!("{other}: {}", String::from_utf8_lossy(&bytes)),
    }
}

fn proof(text: &str) {
    let Some(proof) = Proof::parse(text) else { return };
    assert_eq!(proof.to_string(), text);
    assert_eq!(Proof::parse(&proof.to_string()).as_ref(), Some(&proof));
    // What it leads to, whatever size somebody claims; where it leads nowhere, it has another length.
    if let Ok(head) = read(&proof.checkpoint) {
        let root = root_by(&[0; 32], proof.index, head.size, &proof.hashes);
        assert!(root.is_none() || proof.index < head.size);
    }
}
