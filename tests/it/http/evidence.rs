//! Signed checkpoints: what they say, who may read them, and the places that they are published to.

use std::{collections::BTreeMap, path::PathBuf};

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::TimeDelta;
use rightful::{
    connectors::{objects::Objects, web::WebClient},
    domain::{
        checkpoint::{NewKey, Signer, SigningKey},
        clock::Clock,
        webhook,
    },
    service::{
        Service,
        evidence::{
            Evidence,
            publish::{Place, Sink, publish},
            run, sequence,
        },
        webhooks::{Endpoint, Webhooks},
    },
    store::Checkpoint,
};
use serde_json::json;
use tlog_tiles::tlog;
use tokio::sync::watch;

use super::{apps, audit::damage};
use crate::support::{
    app::{Setup, TestApp, eventually},
    receiver::Receiver,
    stores::{sqlite_store, stores},
};

const ORIGIN: &str = "rightful.test/audit";
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn evidence(keys: &[&NewKey], sinks: Vec<Sink>) -> Evidence {
    let keys = keys.iter().map(|key| SigningKey::parse(&key.private).unwrap()).collect();
    Evidence { signer: Some(Signer { origin: ORIGIN.to_owned(), keys }), sinks }
}

/// Opens a signed note with a public key as `rightful keygen` prints it, as the specification says and no part of the
/// service does: its text, if the key has signed it.
fn open<'a>(note: &'a str, public: &str) -> Option<&'a str> {
    let (name, rest) = public.split_once('+').unwrap();
    let (id, key) = rest.split_once('+').unwrap();
    let key = STANDARD.decode(key).unwrap();
    assert_eq!(key[0], 1, "Ed25519");
    let end = note.rfind("\n\n").unwrap() + 1;
    let (text, signatures) = (&note[..end], &note[end + 1..]);
    assert!(signatures.ends_with('\n'));
    signatures.lines().find_map(|line| {
        let signature = line.strip_prefix(&format!("\u{2014} {name} ")).unwrap();
        let bytes = STANDARD.decode(signature).unwrap();
        let own: String = bytes[..4].iter().map(|byte| format!("{byte:02x}")).collect();
        let verified = UnparsedPublicKey::new(&ED25519, &key[1..]).verify(text.as_bytes(), &bytes[4..]);
        (own == id && verified.is_ok()).then_some(text)
    })
}

fn parsed(text: &str) -> tlog_tiles::Checkpoint {
    tlog_tiles::Checkpoint::from_bytes(text.as_bytes()).unwrap()
}

async fn newest(service: &Service) -> Checkpoint {
    service.store.newest_checkpoint().await.unwrap().unwrap()
}

/// Sequences until everything has its place and is signed.
async fn signed(service: &Service) -> Checkpoint {
    eventually("everything is signed", async || {
        sequence(service).await.unwrap();
        let state = service.store.log_state().await.unwrap();
        let newest = service.store.newest_checkpoint().await.unwrap();
        !state.is_behind && newest.is_some_and(|newest| newest.size == state.size)
    })
    .await;
    newest(service).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_is_a_signed_note_over_the_whole_log() {
    for store in stores().await {
        let key = NewKey::generate(ORIGIN).unwrap();
        let app =
            TestApp::with(store, Setup { evidence: evidence(&[&key], Vec::new()), ..Setup::default() }).await;
        app.auditor().get("/v1/audit/checkpoint").await.problem(404, "not_found");
        for number in 1..4 {
            app.admin().submit(number).await.ok();
        }
        signed(&app.service).await;
        let reply = app.auditor().get("/v1/audit/checkpoint").await;
        assert_eq!((reply.status.as_u16(), reply.header("content-type")), (200, "text/plain; charset=utf-8"));
        let checkpoint = parsed(open(&reply.text, &key.public).expect("its signature"));
        let events = app.auditor().get("/v1/audit?limit=500").await.ok()["items"].as_array().unwrap().len();
        assert_eq!((checkpoint.origin(), checkpoint.size()), (ORIGIN, events as u64));
        assert_eq!(*checkpoint.hash(), tlog::Hash(app.store.store.log_root(events as u64).await.unwrap()));
        assert_eq!(open(&reply.text, &NewKey::generate(ORIGIN).unwrap().public), None, "another key");
        assert_eq!(app.admin().get("/v1/audit/checkpoint").await.text, reply.text);
        assert_eq!(app.auditor().get("/v1/audit/verify").await.ok()["ok"], true);
        let metrics = app.nobody().get("/metrics").await.text;
        assert!(metrics.contains(&format!("rightful_log_entries {events}\n")), "{metrics}");
        assert!(!metrics.contains("rightful_checkpoints_signed_total 0\n"), "{metrics}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn verification_walks_the_tree_and_its_checkpoints() {
    let forged = "UPDATE checkpoints SET note = replace(note, ' rightful', ' wrongful') WHERE number = 2";
    for (sql, reason) in [
        ("UPDATE log_entries SET hashes = zeroblob(32) WHERE leaf_index = 0", "leaf_mismatch"),
        ("DELETE FROM log_entries WHERE leaf_index = 1", "leaf_gap"),
        ("DELETE FROM checkpoints WHERE number = 1", "checkpoint_gap"),
        (forged, "checkpoint_unsigned"),
    ] {
        let key = NewKey::generate(ORIGIN).unwrap();
        let setup = Setup { evidence: evidence(&[&key], Vec::new()), ..Setup::default() };
        let app = TestApp::with(sqlite_store().await, setup).await;
        app.admin().submit(1).await.ok();
        signed(&app.service).await;
        app.admin().submit(2).await.ok();
        let newest = signed(&app.service).await;
        let verified = app.auditor().get("/v1/audit/verify").await.ok();
        assert_eq!(
            (&verified["tree_size"], &verified["checkpoints"], &verified["signatures"]),
            (&json!(newest.size), &json!(newest.number), &json!("checked"))
        );
        assert_eq!(verified["root"], newest.note.lines().nth(2).unwrap());
        damage(&app, sql);
        let broken = app.auditor().get("/v1/audit/verify").await.ok();
        assert_eq!((&broken["ok"], &broken["broken"]["reason"]), (&json!(false), &json!(reason)), "{sql}");
        assert!(broken["broken"]["index"].is_u64(), "{broken}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_the_log_is_kept_and_nothing_is_signed() {
    for app in apps().await {
        app.admin().submit(1).await.ok();
        while sequence(&app.service).await.unwrap() > 0 {}
        let state = app.store.store.log_state().await.unwrap();
        assert!(state.size > 0 && !state.is_behind);
        app.auditor().get("/v1/audit/checkpoint").await.problem(404, "not_found");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_keys_change_each_signs() {
    let (old, new) = (NewKey::generate(ORIGIN).unwrap(), NewKey::generate(ORIGIN).unwrap());
    let setup = Setup { evidence: evidence(&[&old, &new], Vec::new()), ..Setup::default() };
    let app = TestApp::with(sqlite_store().await, setup).await;
    let note = signed(&app.service).await.note;
    assert!(open(&note, &old.public).is_some());
    assert_eq!(open(&note, &old.public), open(&note, &new.public));
}

#[tokio::test(flavor = "multi_thread")]
async fn checkpoints_of_two_processes_never_go_backwards() {
    for store in stores().await {
        let key = NewKey::generate(ORIGIN).unwrap();
        let setup = || Setup { evidence: evidence(&[&key], Vec::new()), ..Setup::default() };
        let app = TestApp::with(store, setup()).await;
        let (stop, stopped) = watch::channel(false);
        let both = [(); 2].map(|()| tokio::spawn(run(app.service.clone(), stopped.clone())));
        for number in 1..40 {
            app.admin().submit(number).await.ok();
        }
        let read = app.auditor().get("/v1/audit?limit=500").await.ok();
        // And that it was read.
        let events = read["items"].as_array().unwrap().len() + 1;
        eventually("all of it is signed", async || {
            app.store
                .store
                .newest_checkpoint()
                .await
                .unwrap()
                .is_some_and(|newest| newest.size == events as u64)
        })
        .await;
        stop.send_replace(true);
        for one in both {
            one.await.unwrap();
        }
        let rows =
            app.store.session().rows("SELECT number, tree_size, note FROM checkpoints ORDER BY number");
        let mut before = None;
        for (number, row) in (1..).zip(&rows) {
            let [Some(stored), Some(size), Some(note)] = row.as_slice() else { panic!("{row:?}") };
            let checkpoint = parsed(open(note, &key.public).unwrap());
            assert_eq!((stored.parse(), size.parse()), (Ok(number), Ok(checkpoint.size())));
            if let Some((size, root)) = before {
                let proof = app.store.store.consistency_proof(size, checkpoint.size()).await.unwrap();
                let proof: Vec<_> = proof.expect("not smaller").into_iter().map(tlog::Hash).collect();
                tlog::check_tree(&proof, checkpoint.size(), *checkpoint.hash(), size, root).unwrap();
            }
            before = (checkpoint.size() > 0).then(|| (checkpoint.size(), *checkpoint.hash()));
        }
    }
}

/// A process whose clock is ahead has signed the last one.
#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_is_never_dated_before_the_last() {
    for store in stores().await {
        let key = NewKey::generate(ORIGIN).unwrap();
        let setup = Setup { evidence: evidence(&[&key], Vec::new()), ..Setup::default() };
        let app = TestApp::with(store, setup).await;
        let last = signed(&app.service).await;
        let signed_at = Clock.now() + TimeDelta::hours(1);
        let ahead = Checkpoint { number: last.number + 1, signed_at, ..last };
        let mut tx = app.service.store.begin().await.unwrap();
        tx.add_checkpoint(&ahead).await.unwrap();
        tx.commit().await.unwrap();
        sequence(&app.service).await.unwrap();
        let next = newest(&app.service).await;
        assert_eq!((next.number, next.signed_at), (ahead.number + 1, signed_at));
    }
}

struct Places {
    folder: tempfile::TempDir,
    receiver: Receiver,
}

impl Places {
    fn file(&self) -> PathBuf {
        self.folder.path().join("checkpoint.txt")
    }

    fn objects(&self) -> PathBuf {
        self.folder.path().join("objects")
    }

    fn sink(&self, name: &str) -> Sink {
        let place = match name {
            "file" => Place::File(self.file()),
            "store" => Place::Objects(Objects::folder(&self.objects()).unwrap()),
            _ => Place::Webhook(name.to_owned()),
        };
        Sink { name: name.to_owned(), place }
    }
}

async fn publishing(store: crate::support::stores::TestStore, key: &NewKey) -> (TestApp, Places) {
    let places = Places { folder: tempfile::tempdir().unwrap(), receiver: Receiver::default() };
    let endpoint = Endpoint {
        url: format!("{}/hook", places.receiver.listen()),
        key: webhook::SigningKey::parse(SECRET).unwrap(),
    };
    let webhooks = Webhooks {
        endpoints: BTreeMap::from([("panel".to_owned(), endpoint)]),
        client: WebClient::new(["127.0.0.1".to_owned()]).unwrap(),
    };
    let sinks = ["file", "store", "panel"].map(|name| places.sink(name)).into();
    let setup = Setup { webhooks, evidence: evidence(&[key], sinks), ..Setup::default() };
    (TestApp::with(store, setup).await, places)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_place_has_the_newest_checkpoint_once() {
    for store in stores().await {
        let key = NewKey::generate(ORIGIN).unwrap();
        let (app, places) = publishing(store, &key).await;
        let sinks = &app.service.evidence.sinks;
        for sink in sinks {
            assert!(!publish(&app.service, sink).await.unwrap(), "there is none yet");
        }
        app.admin().submit(1).await.ok();
        let checkpoint = signed(&app.service).await;
        for sink in sinks {
            assert!(publish(&app.service, sink).await.unwrap());
            assert!(!publish(&app.service, sink).await.unwrap(), "it is there");
        }
        assert_eq!(std::fs::read_to_string(places.file()).unwrap(), checkpoint.note);
        let own = format!("checkpoints/{:020}", checkpoint.size);
        for object in ["checkpoint", own.as_str()] {
            assert_eq!(std::fs::read_to_string(places.objects().join(object)).unwrap(), checkpoint.note);
        }
        let told: Vec<_> =
            places.receiver.seen().into_iter().filter(|call| call.body.contains("checkpoint.")).collect();
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].json()["data"]["checkpoint"], checkpoint.note);
        let at = chrono::DateTime::from_timestamp_secs(told[0].timestamp).unwrap();
        let expected = webhook::SigningKey::parse(SECRET).unwrap();
        assert_eq!(told[0].signature, expected.sign(told[0].id.parse().unwrap(), at, &told[0].body));
        let metrics = app.nobody().get("/metrics").await.text;
        for name in ["file", "store", "panel"] {
            assert!(
                metrics.contains(&format!("rightful_checkpoint_failing{{sink=\"{name}\"}} 0\n")),
                "{metrics}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_that_fails_holds_nobody_back_and_is_tried_again() {
    for store in stores().await {
        let key = NewKey::generate(ORIGIN).unwrap();
        let (app, places) = publishing(store, &key).await;
        let [file, objects, panel] = app.service.evidence.sinks.as_slice() else { panic!("three places") };
        places.receiver.will_answer(&[500]);
        std::fs::create_dir(places.file()).unwrap();
        signed(&app.service).await;
        assert!(!publish(&app.service, panel).await.unwrap());
        assert!(!publish(&app.service, file).await.unwrap());
        assert!(publish(&app.service, objects).await.unwrap());
        let state = app.store.store.checkpoint_sinks().await.unwrap();
        let why = |name: &str| state.iter().find(|sink| sink.name == name).unwrap().failure.clone();
        assert_eq!(why("panel").as_deref(), Some("status 500"));
        assert!(why("file").unwrap().starts_with("the file cannot be read"));
        assert_eq!(why("store"), None);
        let metrics = app.nobody().get("/metrics").await.text;
        assert!(metrics.contains("rightful_checkpoint_failing{sink=\"panel\"} 1\n"), "{metrics}");
        app.admin().submit(1).await.ok();
        let newer = signed(&app.service).await;
        std::fs::remove_dir(places.file()).unwrap();
        for sink in [panel, file] {
            eventually("it is published", async || publish(&app.service, sink).await.unwrap()).await;
        }
        assert_eq!(std::fs::read_to_string(places.file()).unwrap(), newer.note);
        let state = app.store.store.checkpoint_sinks().await.unwrap();
        assert!(state.iter().all(|sink| sink.failure.is_none() && sink.published_at.is_some()), "{state:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_is_never_set_back() {
    let key = NewKey::generate(ORIGIN).unwrap();
    let (app, places) = publishing(sqlite_store().await, &key).await;
    let [file, objects, _] = app.service.evidence.sinks.as_slice() else { panic!("three places") };
    // As it was before the store was restored from a backup.
    let signer = Signer { origin: ORIGIN.to_owned(), keys: vec![SigningKey::parse(&key.private).unwrap()] };
    let later = signer.sign(1_000_000, &[7; 32]);
    std::fs::write(places.file(), &later).unwrap();
    std::fs::create_dir_all(places.objects()).unwrap();
    std::fs::write(places.objects().join("checkpoint"), &later).unwrap();
    signed(&app.service).await;
    for sink in [file, objects] {
        assert!(!publish(&app.service, sink).await.unwrap());
    }
    assert_eq!(std::fs::read_to_string(places.file()).unwrap(), later);
    assert_eq!(std::fs::read_to_string(places.objects().join("checkpoint")).unwrap(), later);
    let state = app.store.store.checkpoint_sinks().await.unwrap();
    assert!(
        state.iter().all(|sink| sink.failure.as_ref().is_some_and(|why| why.contains("set back"))),
        "{state:?}"
    );
    // A file of another log, or of nobody's, is written over.
    std::fs::write(places.file(), later.replace(ORIGIN, "other.test/audit")).unwrap();
    eventually("it is published", async || publish(&app.service, file).await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_process_at_a_time_publishes_to_a_place() {
    for store in stores().await {
        let key = NewKey::generate(ORIGIN).unwrap();
        let (app, _) = publishing(store, &key).await;
        signed(&app.service).await;
        let take = async || {
            let mut tx = app.store.store.begin().await.unwrap();
            let taken = tx.take_publication("file").await.unwrap();
            tx.commit().await.unwrap();
            taken
        };
        let taken = take().await.expect("it is free");
        assert_eq!(take().await, None, "somebody is at it");
        let mut tx = app.store.store.begin().await.unwrap();
        tx.settle_publication(&taken, Err(("no".to_owned(), Clock.now()))).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(take().await.expect("it is free again").failures, 1);
    }
}
