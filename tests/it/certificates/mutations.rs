//! Nothing in a certificate can be changed without that it shows: neither by the program that is tested, nor by the one in
//! `examples/`, which shares no line with it.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use rightful::domain::{
    certificate::{Invalid, Proof, verify},
    checkpoint::{NewKey, Signer, SigningKey},
};
use serde_json::{Value, json};

use super::{ORIGIN, World, id, one};
use crate::support::{in_ci, left_out};

/// Reads certificates in base64 from lines, and says of each whether it holds.
const DRIVER: &str = "
import base64, sys
sys.dont_write_bytecode = True
sys.path.insert(0, sys.argv[1])
import verify_certificate as v
keys = [v.public_key(key) for key in sys.argv[2:]]
for line in sys.stdin:
    try:
        v.verify(base64.b64decode(line), keys)
        print('holds', flush=True)
    except v.Refused as why:
        print(f'refused {why}'.replace('\\n', ' '), flush=True)
";

/// What the independent verifier says of each; `None` where there is no Python.
fn judged_by_python(public: &str, certificates: &[Vec<u8>]) -> Option<Vec<bool>> {
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");
    let python = Command::new("python3")
        .args(["-c", DRIVER, examples, public])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let Ok(mut python) = python else {
        assert!(!in_ci(), "CI=true, and no python3");
        left_out("examples/verify_certificate.py, there is no python3");
        return None;
    };
    let lines: String = certificates.iter().map(|bytes| STANDARD.encode(bytes) + "\n").collect();
    let mut stdin = python.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(lines.as_bytes()));
    let output = python.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success(), "{output:?}");
    let verdicts: Vec<bool> =
        String::from_utf8(output.stdout).unwrap().lines().map(|line| line == "holds").collect();
    assert_eq!(verdicts.len(), certificates.len());
    Some(verdicts)
}

/// Every value below this one, each changed by itself, left out, and with something beside it.
fn changed(value: &Value) -> Vec<Value> {
    let mut all = match value {
        Value::Null => vec![json!("x"), json!(0), json!([])],
        Value::Bool(is) => vec![json!(!is), Value::Null],
        Value::Number(number) => {
            vec![json!(number.as_i64().unwrap() + 1), json!(number.to_string()), Value::Null]
        }
        Value::String(text) => {
            let mut all = vec![json!(format!("{text}x")), json!(format!("{text} ")), json!(7), Value::Null];
            let mut short = text.chars();
            if let Some(last) = short.next_back() {
                let other = if last == '0' { '1' } else { '0' };
                all.extend([json!(short.as_str()), json!(format!("{}{other}", short.as_str()))]);
            }
            if text.to_uppercase() != *text {
                all.push(json!(text.to_uppercase()));
            }
            all
        }
        Value::Array(_) | Value::Object(_) => vec![Value::Null],
    };
    match value {
        Value::Array(items) => {
            all.push(json!([items.as_slice(), &[json!("x")]].concat()));
            for (index, item) in items.iter().enumerate() {
                let mut fewer = items.clone();
                fewer.remove(index);
                all.push(json!(fewer));
                for other in changed(item) {
                    let mut items = items.clone();
                    items[index] = other;
                    all.push(json!(items));
                }
            }
        }
        Value::Object(members) => {
            let mut more = members.clone();
            more.insert("more".to_owned(), Value::Null);
            all.push(more.into());
            for (name, member) in members {
                let mut fewer = members.clone();
                fewer.remove(name);
                all.push(fewer.into());
                for other in changed(member) {
                    let mut members = members.clone();
                    members.insert(name.clone(), other);
                    all.push(members.into());
                }
            }
        }
        _ => {}
    }
    all
}

/// The proof with each of its lines changed, left out and doubled, and each hash with one other bit.
fn changed_proofs(proof: &str) -> Vec<String> {
    let lines: Vec<&str> = proof.split('\n').collect();
    let with = |index: usize, new: &[String]| {
        let mut all: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        all.splice(index..=index, new.iter().cloned());
        all.join("\n")
    };
    let mut all =
        vec![format!("{proof}\n"), format!("{proof}x"), proof.replace('\n', "\r\n"), proof.repeat(2)];
    for (index, line) in lines.iter().enumerate() {
        all.push(with(index, &[format!("{line}x")]));
        all.push(with(index, &[]));
        // Whoever has a checkpoint may add a signature to it.
        if !line.starts_with('\u{2014}') {
            all.push(with(index, &[(*line).to_owned(), (*line).to_owned()]));
        }
        all.push(with(index, &["extra AAAA".to_owned(), (*line).to_owned()]));
        if let Ok(bytes) = STANDARD.decode(line) {
            for bit in 0..bytes.len() * 8 {
                let mut bytes = bytes.clone();
                bytes[bit / 8] ^= 1 << (bit % 8);
                all.push(with(index, &[STANDARD.encode(bytes)]));
            }
        }
    }
    all.retain(|changed| changed != proof);
    all
}

/// Texts that are read in more than one way, or in none.
fn odd_texts(text: &str) -> Vec<Vec<u8>> {
    let odd = [
        text.replacen("\"status\":", "\"status\":\"failed\",\"status\":", 1),
        text.replacen("\"affected\":", "\"affected\":900,\"affected\":", 1),
        text.replacen("\"outcome\":", "\"outcome\":\"done\",\"outcome\":", 1),
        text.replacen("\"format\":", "\"format\":\"other\",\"format\":", 1),
        text.replacen("\"seq\":", "\"seq\":1.0,\"x\":", 1),
        text.replacen("\"matched\":1", "\"matched\":1.0", 1),
        text.replacen("\"matched\":1", "\"matched\":1e0", 1),
        text.replacen("\"affected\":0", "\"affected\":-0", 1),
        text.replacen("\"matched\":1", "\"matched\":100000000000000000000000001", 1),
        text.replacen("\"matched\":1", "\"matched\":NaN", 1),
        text.replacen("erasure", "\\ud800", 1),
        text.replacen("erasure", "eras\u{0}ure", 1),
        format!("\u{feff}{text}"),
        format!("{text}{text}"),
        format!("[{text}]"),
        "[".repeat(100_000),
        "{\"a\":".repeat(100_000),
        String::new(),
        "null".to_owned(),
        "{}".to_owned(),
        "7".repeat(5_000),
    ];
    let mut all: Vec<Vec<u8>> = odd.into_iter().filter(|odd| odd != text).map(String::into_bytes).collect();
    all.push(b"\xff\xfe".to_vec());
    all.push([text.as_bytes(), b"\xff"].concat());
    all.extend((0..text.len()).step_by(37).map(|cut| text.as_bytes()[..cut].to_vec()));
    all
}

fn with_proof(certificate: &Value, proof: &str) -> Vec<u8> {
    let mut certificate = certificate.clone();
    certificate["proof"] = proof.into();
    certificate.to_string().into_bytes()
}

/// Signs a checkpoint of whatever log somebody would like to have.
fn forged(key: &NewKey, origin: &str, certificate: &Value) -> Vec<u8> {
    let signer = Signer { origin: origin.to_owned(), keys: vec![SigningKey::parse(&key.private).unwrap()] };
    let hash = rightful::domain::audit::unhex(certificate["event"]["hash"].as_str().unwrap());
    let root = rightful::domain::tree::leaf(&hash);
    let proof = Proof { index: 0, hashes: Vec::new(), checkpoint: signer.sign(1, &root) };
    with_proof(certificate, &proof.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_shows() {
    let (world, text) = one().await;
    let keys = world.keys();
    let certificate: Value = serde_json::from_str(&text).unwrap();
    let proof = certificate["proof"].as_str().unwrap();
    let mut wrong: Vec<Vec<u8>> =
        changed(&certificate).into_iter().map(|changed| changed.to_string().into_bytes()).collect();
    wrong.extend(changed_proofs(proof).iter().map(|proof| with_proof(&certificate, proof)));
    wrong.extend(odd_texts(&text));
    let stranger = NewKey::generate(ORIGIN).unwrap();
    let elsewhere = NewKey::generate("other.test/audit").unwrap();
    wrong.push(forged(&stranger, ORIGIN, &certificate));
    wrong.push(forged(&elsewhere, "other.test/audit", &certificate));
    wrong.push(forged(&stranger, "other.test/audit", &certificate));
    for wrong in &wrong {
        assert!(verify(wrong, &keys).is_err(), "{}", String::from_utf8_lossy(wrong));
    }
    assert_eq!(verify(&vec![b' '; 16 * 1024 * 1024 + 1], &keys), Err(Invalid::TooLarge));

    // The owner of the key can say whatever they like, in one form only.
    let right = [
        text.clone(),
        serde_json::to_string_pretty(&certificate).unwrap(),
        text.replace('§', "\\u00a7"),
        text.replace("=\\n\"", "=\\n\u{2014} witness.test AAAAAAA=\\n\""),
        String::from_utf8(forged(&world.key, ORIGIN, &certificate)).unwrap(),
    ];
    for right in &right {
        verify(right.as_bytes(), &keys).unwrap();
    }
    let all: Vec<Vec<u8>> = right.iter().map(|right| right.clone().into_bytes()).chain(wrong).collect();
    if let Some(verdicts) = judged_by_python(&world.key.public, &all) {
        for (index, (bytes, holds)) in all.iter().zip(verdicts).enumerate() {
            assert_eq!(holds, index < right.len(), "{}", String::from_utf8_lossy(bytes));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_bit_of_it_is_free() {
    let (world, text) = one().await;
    let keys = world.keys();
    let mut sample = Vec::new();
    for at in 0..text.len() {
        for bit in [0x01, 0x20, 0x80] {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= bit;
            assert!(verify(&bytes, &keys).is_err(), "{}", String::from_utf8_lossy(&bytes));
            if at % 11 == 0 {
                sample.push(bytes);
            }
        }
    }
    if let Some(verdicts) = judged_by_python(&world.key.public, &sample) {
        for (bytes, holds) in sample.iter().zip(verdicts) {
            assert!(!holds, "{}", String::from_utf8_lossy(bytes));
        }
    }
}

/// Parts of certificates that hold do not make up another one that does.
#[tokio::test(flavor = "multi_thread")]
async fn parts_of_others_do_not_fit() {
    let (world, first) = one().await;
    let first: Value = serde_json::from_str(&first).unwrap();
    let request = world.app.admin().submit(2).await.ok();
    world.ended(&request).await;
    let (second, _) = world.certified(id(&request)).await;
    let World { key, .. } = &world;
    let keys = world.keys();
    let mix = |statement: &Value, event: &Value, proof: &Value| {
        let whole = json!({
            "format": "rightful-certificate/1", "statement": statement["statement"], "event": event["event"],
            "proof": proof["proof"],
        });
        whole.to_string().into_bytes()
    };
    let started = world
        .app
        .auditor()
        .get(&format!("/v1/audit?event=request.started&request_id={}", id(&request)))
        .await;
    let mut other_event = second.clone();
    other_event["event"] = started.ok()["items"][0].clone();
    // The first event, made to bind the second statement, with all hashes as they would have to be.
    let mut rebound = first.clone();
    rebound["event"]["details"]["statement"] = second["event"]["details"]["statement"].clone();
    let mut event: rightful::domain::audit::Event = serde_json::from_value(rebound["event"].clone()).unwrap();
    event.hash = event.computed_hash();
    rebound["event"] = serde_json::to_value(&event).unwrap();
    let mut stripped = second.clone();
    stripped["statement"]["steps"] = json!([]);
    let table = [
        (mix(&first, &second, &second), Invalid::Statement),
        (mix(&second, &first, &first), Invalid::Statement),
        (mix(&second, &second, &first), Invalid::NotIncluded),
        (mix(&first, &first, &second), Invalid::NotIncluded),
        (mix(&second, &other_event, &second), Invalid::Statement),
        (stripped.to_string().into_bytes(), Invalid::Statement),
        // A log of the owner's that says so would be another log than the one that they have published.
        (
            forged(
                key,
                ORIGIN,
                &json!({ "format": "rightful-certificate/1", "statement": second["statement"], "event": rebound["event"], "proof": "" }),
            ),
            Invalid::OtherEvent,
        ),
    ];
    let judged: Vec<Vec<u8>> = table.iter().map(|(bytes, _)| bytes.clone()).collect();
    for (bytes, why) in table {
        assert_eq!(verify(&bytes, &keys), Err(why), "{}", String::from_utf8_lossy(&bytes));
    }
    if let Some(verdicts) = judged_by_python(&key.public, &judged) {
        assert!(verdicts.iter().all(|holds| !holds), "{verdicts:?}");
    }
    // Each by the newest checkpoint, or by the one of its time.
    verify(&mix(&second, &second, &second), &keys).unwrap();
    verify(&mix(&first, &first, &first), &keys).unwrap();
}
