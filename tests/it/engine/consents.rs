//! What requests do to a person's consents: an export hands them out, an erasure leaves the proof, a correction leads on.

use std::{sync::Arc, time::Duration};

use rightful::{
    domain::{
        audit::{ChainHead, hex, timestamp},
        consent::{Consent, ConsentState, ShownText, Source},
        pseudonym::{PeriodKeys, compared},
        request::{ExportOptions, Format, Kind, Outcome, Request, Right, Status, Subject},
    },
    service::{
        audit::{Verification, verify},
        consents::{Act, ConsentReading, Recorded, list, record},
        intake::{Submission, Submitted, submit},
        pseudonyms::of_ref,
    },
    store::{ConsentFilter, NewConsent, NewSecrets},
};
use serde_json::{Value, json};

use super::{holds::reader, pacing};
use crate::support::{
    harness::Harness,
    package::{package, unzip},
    stores::{TestStore, stores},
    targets::{Target, target_like, targets},
};

const SCHEMA: &str = "CREATE TABLE users (id INTEGER PRIMARY KEY, email VARCHAR(100) NOT NULL);
    CREATE TABLE visits (id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL);
    INSERT INTO users VALUES (1, 'jane@example.com'), (2, 'joe@example.com');
    INSERT INTO visits VALUES (10, 1), (20, 2);";

const PLAN: &str = "plan: customer
subject:
  user_id: shop.users.id
  email: shop.users.email
connections:
  shop:
    users: { erase: delete, rectify: [email], portable: [email] }
    visits: { match: { user_id: users.id }, erase: { keep: statistics } }
";

fn subject(value: Value) -> Subject {
    let Value::Object(members) = value else { panic!("an object") };
    Subject(members.into_iter().collect())
}

fn act(of: Value, purpose: &str) -> Act {
    Act {
        plan: "customer".to_owned(),
        subject: subject(of),
        purpose: purpose.to_owned(),
        state: ConsentState::Given,
        text: ShownText { version: "2".to_owned(), hash: "c".repeat(64) },
        source: Source::Paper,
        at: None,
        note: Some("drawer 3".to_owned()),
        idempotency: None,
    }
}

async fn give(harness: &Harness, of: Value, purpose: &str) -> ConsentReading {
    match record(&harness.service, &reader("alice"), act(of, purpose)).await.unwrap() {
        Recorded::New(reading, _) | Recorded::Again(reading) => reading,
    }
}

/// Purposes, and whether somebody can still be named.
async fn known(harness: &Harness, refs: &[(String, String)], identity: &str) -> Vec<(String, bool)> {
    let mut names = Vec::new();
    for (_, shown) in refs.iter().filter(|(name, _)| name == identity) {
        names.extend(of_ref(&harness.service, shown).await.unwrap());
    }
    let filter = ConsentFilter { subject_refs: Some(names), ..ConsentFilter::default() };
    let found = list(&harness.service, &reader("alice"), filter, None, 100).await.unwrap();
    found
        .into_iter()
        .map(|reading| {
            assert_eq!(reading.confidential.is_none(), reading.is_pseudonymised);
            (reading.consent.purpose, reading.confidential.is_some())
        })
        .collect()
}

fn named(purpose: &str) -> Vec<(String, bool)> {
    vec![(purpose.to_owned(), true)]
}

fn nameless(purpose: &str) -> Vec<(String, bool)> {
    vec![(purpose.to_owned(), false)]
}

/// Every target on every store, each of them fresh.
async fn worlds() -> Vec<(TestStore, Target)> {
    let mut worlds = Vec::new();
    for target in targets() {
        for store in stores().await {
            worlds.push((store, target_like(&target)));
        }
    }
    worlds
}

async fn harness(store: &TestStore, target: &Target) -> Arc<Harness> {
    target.execute(SCHEMA);
    let harness = Harness::new(store.store.clone(), &[("shop", &target.url)], pacing());
    harness.register(PLAN).await.unwrap();
    Arc::new(harness)
}

async fn events(harness: &Harness, request: &Request) -> Vec<(String, Value)> {
    let events = harness.service.store.request_events(request.id, 0, 100).await.unwrap();
    events.into_iter().map(|event| (event.event, event.details)).collect()
}

async fn is_intact(store: &TestStore) -> bool {
    matches!(verify(&store.store).await.unwrap(), Verification::Intact(_))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_takes_the_name_away_and_leaves_the_proof() {
    for (store, target) in worlds().await {
        let harness = harness(&store, &target).await;
        let jane = give(&harness, json!({ "email": "jane@example.com" }), "ads").await;
        let joe = give(&harness, json!({ "user_id": 2 }), "ads").await;
        let id = harness.submit("customer", json!({ "user_id": 1 })).await;
        assert_eq!(known(&harness, &jane.refs, "email").await, named("ads"), "not before its end");
        let request = harness.run(id).await;
        assert_eq!(request.state.outcome(), Some(Outcome::DoneWithExceptions), "{:?}", request.state);
        for identity in ["email", "user_id"] {
            assert_eq!(known(&harness, &jane.refs, identity).await, nameless("ads"), "{:?}", target.dialect);
            assert_eq!(known(&harness, &joe.refs, identity).await, named("ads"), "{:?}", target.dialect);
        }
        let proof = store.store.consent(jane.consent.id).await.unwrap().unwrap();
        assert_eq!((proof.consent, proof.secrets.is_none()), (jane.consent, true));
        let events = events(&harness, &request).await;
        let told = &events[events.len() - 2];
        assert_eq!(*told, ("consent.pseudonymised".to_owned(), json!({ "consents": 1 })));
        assert_eq!(events.last().unwrap().0, "request.completed");
        assert!(is_intact(&store).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_that_does_not_end_takes_no_name_away() {
    for (store, target) in worlds().await {
        let harness = harness(&store, &target).await;
        let jane = give(&harness, json!({ "email": "jane@example.com" }), "ads").await;
        let id = harness.submit("customer", json!({ "user_id": 1 })).await;
        assert_eq!(harness.cancel(id).await.status(), Status::Cancelled);
        assert_eq!(known(&harness, &jane.refs, "email").await, named("ads"));
        // Nobody in any table, but somebody who once gave a consent.
        let gone = give(&harness, json!({ "email": "gone@example.com" }), "ads").await;
        let id = harness.submit("customer", json!({ "email": "gone@example.com" })).await;
        assert_eq!(harness.run(id).await.state.outcome(), Some(Outcome::NoMatch));
        assert_eq!(known(&harness, &gone.refs, "email").await, nameless("ads"), "{:?}", target.dialect);
    }
}

/// The recording has begun, and is not committed when the erasure ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_consent_that_is_being_recorded_when_an_erasure_ends_is_not_left_with_a_name() {
    for (store, target) in worlds().await {
        let harness = harness(&store, &target).await;
        let jane = give(&harness, json!({ "user_id": 1 }), "ads").await;
        let id = harness.submit("customer", json!({ "email": "jane@example.com" })).await;
        let run = tokio::spawn({
            let harness = harness.clone();
            async move { harness.run(id).await }
        });
        // On SQLite the erasure waits for the only writer, on PostgreSQL at its end.
        let consent = Consent {
            id: harness.service.clock.new_id(),
            purpose: "late".to_owned(),
            head: ChainHead::default(),
            at: harness.service.clock.now(),
            recorded_at: harness.service.clock.now(),
            ..jane.consent.clone()
        };
        let secrets = NewSecrets { wrapped_key: vec![1], confidential: vec![2] };
        // Its database did not answer, so that it is known by one identity alone: one that the erasure has to find out.
        let known = compared(&store.store.consent(jane.consent.id).await.unwrap().unwrap().refs);
        let refs: Vec<_> = known.into_iter().filter(|(name, _)| name == "user_id").collect();
        let keys = &PeriodKeys::default();
        let mut tx = harness.service.store.begin().await.unwrap();
        let late = consent.id;
        tx.record_consent(NewConsent { consent, secrets, refs: &refs, keys, idempotency: None })
            .await
            .unwrap();
        tokio::time::sleep(Duration::from_millis(400)).await;
        let is_over = run.is_finished();
        tx.commit().await.unwrap();
        let request = tokio::time::timeout(Duration::from_secs(30), run).await.unwrap().unwrap();
        assert_eq!(request.status(), Status::Completed, "{:?}", request.state);
        let kept = store.store.consent(late).await.unwrap().unwrap();
        assert!(kept.secrets.is_none(), "{:?}: over before: {is_over}", target.dialect);
    }
}

/// Told late, or looked up before the row went: the erasure came after the act. Who comes back is somebody again.
#[tokio::test(flavor = "multi_thread")]
async fn an_act_from_before_an_erasure_is_recorded_without_a_name() {
    for (store, target) in worlds().await {
        let harness = harness(&store, &target).await;
        let before = harness.service.clock.now();
        let id = harness.submit("customer", json!({ "email": "jane@example.com" })).await;
        assert_eq!(harness.run(id).await.status(), Status::Completed);
        let late = Act { at: Some(before), ..act(json!({ "email": "jane@example.com" }), "ads") };
        let Recorded::New(late, found) = record(&harness.service, &reader("alice"), late).await.unwrap()
        else {
            panic!("new")
        };
        assert_eq!((found, late.is_pseudonymised, late.confidential.is_none()), (Some(false), true, true));
        assert_eq!(known(&harness, &late.refs, "email").await, nameless("ads"), "kept all the same");
        target.execute("INSERT INTO users VALUES (1, 'jane@example.com')");
        let back = give(&harness, json!({ "email": "jane@example.com" }), "calls").await;
        assert!(!back.is_pseudonymised && back.confidential.is_some());
        target.execute("DELETE FROM users WHERE id = 1");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn consents_and_an_erasure_at_once_get_along() {
    for (store, target) in worlds().await {
        let harness = harness(&store, &target).await;
        let id = harness.submit("customer", json!({ "user_id": 1 })).await;
        let giving = (0..20).map(|_| {
            let harness = harness.clone();
            tokio::spawn(async move { give(&harness, json!({ "user_id": 1 }), "ads").await })
        });
        let giving: Vec<_> = giving.collect();
        let request = harness.run(id).await;
        assert_eq!(request.status(), Status::Completed, "{:?}", request.state);
        let ended = request.state.finished_at().unwrap();
        for given in giving {
            let given = given.await.unwrap();
            let kept = store.store.consent(given.consent.id).await.unwrap().expect("none is lost");
            // Those that began after its end are of who came back.
            let is_named = kept.secrets.is_some();
            assert!(!is_named || given.consent.at > ended, "{:?}", target.dialect);
        }
        assert!(is_intact(&store).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_correction_of_an_identity_leads_to_the_consents() {
    for (store, target) in worlds().await {
        let harness = harness(&store, &target).await;
        let jane = give(&harness, json!({ "email": "jane@example.com" }), "ads").await;
        let changes = json!({ "shop.users": { "email": "jo@example.com" } });
        let id = harness.rectify("customer", json!({ "user_id": 1 }), changes).await.unwrap();
        assert_eq!(harness.run(id).await.state.outcome(), Some(Outcome::Done), "{:?}", target.dialect);
        let new = give(&harness, json!({ "email": "jo@example.com" }), "calls").await;
        let both = vec![("calls".to_owned(), true), ("ads".to_owned(), true)];
        assert_eq!(known(&harness, &new.refs, "email").await, both, "{:?}", target.dialect);
        assert_eq!(known(&harness, &jane.refs, "user_id").await, both);
        assert_eq!(known(&harness, &jane.refs, "email").await, [], "it may be somebody else's soon");
        let id = harness.submit("customer", json!({ "email": "jo@example.com" })).await;
        harness.run(id).await;
        let nameless = vec![("calls".to_owned(), false), ("ads".to_owned(), false)];
        assert_eq!(known(&harness, &new.refs, "email").await, nameless);
    }
}

async fn export(harness: &Harness, of: Value, options: ExportOptions) -> Request {
    let submission = Submission {
        kind: Kind::Export,
        plan: "customer".to_owned(),
        subject: subject(of),
        external_id: None,
        reason: None,
        submitted_at: None,
        identity_check: None,
        export: Some(options),
        changes: None,
        idempotency: None,
    };
    match submit(&harness.service, &reader("alice"), submission).await.unwrap() {
        Submitted::New(reading) | Submitted::Again(reading) => harness.run(reading.request.id).await,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_hands_the_consents_out() {
    for (store, target) in worlds().await {
        let harness = harness(&store, &target).await;
        let nothing = export(&harness, json!({ "user_id": 1 }), ExportOptions::default()).await;
        let files = unzip(&package(&harness.service, nothing.id).await);
        assert!(!files.contains_key("consents.json"), "only where there are any");

        let ads = give(&harness, json!({ "email": "jane@example.com" }), "ads").await.consent;
        give(&harness, json!({ "user_id": 2 }), "joes").await;
        let request = export(&harness, json!({ "user_id": 1 }), ExportOptions::default()).await;
        assert_eq!(request.state.outcome(), Some(Outcome::Done), "{:?}", request.state);
        let files = unzip(&package(&harness.service, request.id).await);
        let rows: Value = serde_json::from_str(&files["consents.json"]).unwrap();
        let at = timestamp(ads.at);
        let row = json!({
            "purpose": "ads", "state": "given", "text_version": "2", "text_sha256": "c".repeat(64),
            "source": "paper", "at": at, "recorded_at": at,
        });
        assert_eq!(rows, json!([row]), "{:?}", target.dialect);
        let manifest: Value = serde_json::from_str(&files["manifest.json"]).unwrap();
        let last = manifest["files"].as_array().unwrap().last().unwrap();
        assert_eq!((&last["file"], &last["rows"]), (&json!("consents.json"), &json!(1)));
        assert_eq!(last["columns"][5], json!({ "name": "at", "type": "timestamp with time zone" }));
        let sum = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, files["consents.json"].as_bytes());
        assert_eq!(last["sha256"], hex(sum.as_ref()));
        assert!(files["index.html"].contains("consents.json"), "for people, too");

        let options =
            ExportOptions { format: Format::Csv, right: Right::Portability, ..ExportOptions::default() };
        let request = export(&harness, json!({ "user_id": 1 }), options).await;
        let files = unzip(&package(&harness.service, request.id).await);
        assert_eq!(
            files["consents.csv"],
            format!(
                "purpose,state,text_version,text_sha256,source,at\r\nads,given,2,{},paper,{at}\r\n",
                "c".repeat(64)
            ),
            "what the person did, not when it was recorded"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_of_one_person_also_where_an_address_has_changed_hands() {
    for (store, target) in worlds().await {
        let harness = harness(&store, &target).await;
        give(&harness, json!({ "email": "jane@example.com" }), "janes").await;
        // Past this service.
        target.execute("UPDATE users SET email = 'jane@example.net' WHERE id = 1; UPDATE users SET email = 'jane@example.com' WHERE id = 2");
        let joe = export(&harness, json!({ "user_id": 2 }), ExportOptions::default()).await;
        let files = unzip(&package(&harness.service, joe.id).await);
        assert!(!files.contains_key("consents.json"), "{:?}: hers", target.dialect);
        let jane = export(&harness, json!({ "user_id": 1 }), ExportOptions::default()).await;
        let files = unzip(&package(&harness.service, jane.id).await);
        assert!(files["consents.json"].contains("janes"), "{:?}", target.dialect);
        // No table knows them, and a consent is all there is.
        give(&harness, json!({ "email": "gone@example.com" }), "theirs").await;
        let gone = export(&harness, json!({ "email": "gone@example.com" }), ExportOptions::default()).await;
        assert_eq!(gone.state.outcome(), Some(Outcome::Done), "{:?}", gone.state);
        let files = unzip(&package(&harness.service, gone.id).await);
        assert!(files["consents.json"].contains("theirs"));
    }
}

/// Until then the new address may be somebody else's.
#[tokio::test(flavor = "multi_thread")]
async fn a_correction_that_fails_leads_nobody_to_the_consents() {
    for (store, target) in worlds().await {
        let harness = harness(&store, &target).await;
        target.execute("CREATE UNIQUE INDEX one_each ON users (email)");
        give(&harness, json!({ "user_id": 1 }), "janes").await;
        let joe = give(&harness, json!({ "user_id": 2 }), "joes").await;
        let changes = json!({ "shop.users": { "email": "joe@example.com" } });
        let id = harness.rectify("customer", json!({ "user_id": 1 }), changes).await.unwrap();
        let request = harness.run(id).await;
        assert_eq!(request.status(), Status::Paused, "{:?}: {:?}", target.dialect, request.state);
        assert_eq!(known(&harness, &joe.refs, "email").await, named("joes"), "{:?}", target.dialect);
    }
}
