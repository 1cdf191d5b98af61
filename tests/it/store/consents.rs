//! Consents in the store: never changed, in the order in which they were recorded, once under each key.

use std::time::Duration;

use chrono::TimeDelta;
use futures::future::join_all;
use rightful::{
    domain::{
        audit::ChainHead,
        clock::Clock,
        consent::{Consent, ConsentState, ShownText, Source},
        pseudonym::{PeriodKeys, compared},
        rectification::Identities,
    },
    service::audit::{Verification, verify},
    store::{ConsentFilter, NewConsent, Recorded, Store},
};
use uuid::Uuid;

use super::support::{pairs, raw, secrets};
use crate::support::stores::{TestStore, stores};

fn consent(purpose: &str, state: ConsentState) -> Consent {
    let now = Clock.now();
    Consent {
        id: Clock.new_id(),
        plan: "customer".to_owned(),
        purpose: purpose.to_owned(),
        state,
        text: ShownText { version: "1".to_owned(), hash: "a".repeat(64) },
        source: Source::Web,
        at: now,
        recorded_by: "crm".to_owned(),
        recorded_at: now,
        head: ChainHead::default(),
    }
}

async fn record_as(
    store: &Store,
    consent: Consent,
    refs: &[(&str, &str)],
    idempotency: Option<(&str, &str)>,
) -> Recorded {
    let refs = pairs(refs);
    let mut tx = store.begin().await.unwrap();
    let new =
        NewConsent { consent, secrets: secrets(), refs: &refs, keys: &PeriodKeys::default(), idempotency };
    let recorded = tx.record_consent(new).await.unwrap();
    if recorded == Recorded::IdempotencyConflict {
        tx.rollback().await.unwrap();
    } else {
        tx.commit().await.unwrap();
    }
    recorded
}

async fn record(store: &Store, consent: Consent, refs: &[(&str, &str)]) -> Consent {
    let Recorded::Whole(consent) = record_as(store, consent, refs, None).await else { panic!("whole") };
    consent
}

async fn history(store: &Store, pseudonym: &str) -> Vec<Uuid> {
    let filter = ConsentFilter { subject_refs: Some(vec![pseudonym.to_owned()]), ..Default::default() };
    store.consents(&filter, None, 100).await.unwrap().into_iter().map(|whole| whole.consent.id).collect()
}

async fn current(store: &Store, pseudonym: &str) -> Vec<(String, ConsentState)> {
    let found = store.current_consents(&[pseudonym.to_owned()]).await.unwrap();
    found.into_iter().map(|whole| (whole.consent.purpose, whole.consent.state)).collect()
}

async fn allowed(fresh: &TestStore, statements: &[String]) {
    for statement in statements {
        raw(fresh, statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
}

#[tokio::test]
async fn what_was_recorded_cannot_be_changed() {
    for fresh in stores().await {
        let kept = record(&fresh.store, consent("ads", ConsentState::Given), &[("email", "jane")]).await;
        let columns = "id, plan, purpose, state, text_version, text_hash, source, at, recorded_by, recorded_at, \
             audit_seq, audit_hash";
        let copy = format!(
            "INTO consents ({columns}) SELECT id, plan, purpose, 'withdrawn', text_version, text_hash, source, at, \
             recorded_by, recorded_at, audit_seq, audit_hash FROM consents"
        );
        let mut forbidden: Vec<String> = columns
            .split(", ")
            .map(|column| {
                let value = match column {
                    "audit_seq" => "2".to_owned(),
                    "at" | "recorded_at" => "'2020-01-01 00:00:00'".to_owned(),
                    "state" => "'withdrawn'".to_owned(),
                    "text_hash" | "audit_hash" => format!("'{}'", "b".repeat(64)),
                    _ => "'x'".to_owned(),
                };
                format!("UPDATE consents SET {column} = {value}, wrapped_key = NULL, confidential = NULL")
            })
            .collect();
        forbidden.extend([
            "UPDATE consents SET wrapped_key = NULL".to_owned(),
            "UPDATE consents SET confidential = wrapped_key".to_owned(),
            "DELETE FROM consents".to_owned(),
            "DELETE FROM consent_refs".to_owned(),
            "UPDATE consent_refs SET ref = 'joe'".to_owned(),
            format!("INSERT {copy}"),
        ]);
        if fresh.is_sqlite() {
            forbidden.push(format!("INSERT OR REPLACE {copy}"));
            forbidden.push(format!("PRAGMA recursive_triggers = OFF; REPLACE {copy}"));
        } else {
            forbidden.push("TRUNCATE consents CASCADE".to_owned());
            forbidden.push("TRUNCATE consent_refs".to_owned());
            for what in ["DELETE FROM consents", "UPDATE consents SET state = 'withdrawn'"] {
                forbidden.push(format!("SET session_replication_role = replica; {what}"));
            }
        }
        for statement in &forbidden {
            assert!(raw(&fresh, statement).await.is_err(), "{statement} was allowed");
        }
        let whole = fresh.store.consent(kept.id).await.unwrap().unwrap();
        assert_eq!((&whole.consent, whole.secrets.is_some()), (&kept, true));
        allowed(&fresh, &["UPDATE consents SET wrapped_key = NULL, confidential = NULL".to_owned()]).await;
        let sealed_again = "UPDATE consents SET wrapped_key = audit_hash, confidential = audit_hash";
        assert!(raw(&fresh, sealed_again).await.is_err(), "what was destroyed stays so");
        let whole = fresh.store.consent(kept.id).await.unwrap().unwrap();
        assert_eq!((whole.consent, whole.secrets.is_none()), (kept, true));
    }
}

#[tokio::test]
async fn each_has_its_event_and_the_log_shows_one_that_is_missing() {
    for fresh in stores().await {
        for _ in 0..3 {
            record(&fresh.store, consent("ads", ConsentState::Given), &[("email", "jane")]).await;
        }
        let Verification::Intact(verified) = verify(&fresh.store).await.unwrap() else { panic!("intact") };
        assert_eq!(verified.events, 3);
        // Somebody with the right to drop triggers.
        let drop = match fresh.is_sqlite() {
            true => "DROP TRIGGER audit_events_no_delete; DELETE FROM audit_events",
            false => "DROP TRIGGER audit_events_append_only ON audit_events; DELETE FROM audit_events",
        };
        raw(&fresh, &format!("{drop} WHERE seq = 1")).await.unwrap();
        assert!(matches!(verify(&fresh.store).await.unwrap(), Verification::Broken(_)));
    }
}

#[tokio::test]
async fn the_last_act_counts_and_of_two_at_once_the_one_recorded_later() {
    use ConsentState::{Given, Withdrawn};
    for fresh in stores().await {
        let store = &fresh.store;
        let refs = [("email", "jane")];
        let at = |mut act: Consent, seconds: i64| {
            act.at = act.recorded_at - TimeDelta::hours(1) + TimeDelta::seconds(seconds);
            act
        };
        let noon = consent("ads", Given);
        let same = |state| Consent { state, id: Clock.new_id(), ..at(noon.clone(), 10) };
        record(store, same(Given), &refs).await;
        record(store, same(Withdrawn), &refs).await;
        assert_eq!(current(store, "jane").await, [("ads".to_owned(), Withdrawn)]);
        // Told late: what came after it stays.
        record(store, at(consent("ads", Given), 9), &refs).await;
        assert_eq!(current(store, "jane").await, [("ads".to_owned(), Withdrawn)]);
        record(store, same(Given), &refs).await;
        record(store, at(consent("calls", Withdrawn), 0), &refs).await;
        record(store, consent("ads", Withdrawn), &[("email", "joe")]).await;
        let expected = [("ads".to_owned(), Given), ("calls".to_owned(), Withdrawn)];
        assert_eq!(current(store, "jane").await, expected);
        assert_eq!(history(store, "jane").await.len(), 5);
        assert_eq!(current(store, "nobody").await, []);
    }
}

/// Another process wrote while its clock was an hour ahead.
#[tokio::test]
async fn a_clock_that_jumps_hides_no_withdrawal() {
    for fresh in stores().await {
        let store = &fresh.store;
        let ahead = Clock.now() + TimeDelta::hours(1);
        let later = u128::try_from(ahead.timestamp_millis()).unwrap() << 80;
        let given = Consent {
            id: Uuid::from_u128(later | 7 << 76 | 2 << 62),
            at: ahead,
            recorded_at: ahead,
            ..consent("ads", ConsentState::Given)
        };
        let given = record(store, given, &[("email", "jane"), ("user_id", "7")]).await;
        let withdrawn = record(store, consent("ads", ConsentState::Withdrawn), &[("user_id", "7")]).await;
        assert!(withdrawn.id > given.id && withdrawn.at >= given.at);
        assert_eq!(current(store, "7").await, [("ads".to_owned(), ConsentState::Withdrawn)]);
        assert_eq!(history(store, "7").await, [withdrawn.id, given.id]);
        let Verification::Intact(verified) = verify(store).await.unwrap() else { panic!("intact") };
        assert_eq!(verified.events, 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn under_one_key_two_processes_record_one() {
    for fresh in stores().await {
        let mut processes = Vec::new();
        for n in 0..8 {
            let store = Store::open(&fresh.url, Clock).await.unwrap();
            processes.push(tokio::spawn(async move {
                let act = consent(&format!("purpose{}", n / 4), ConsentState::Given);
                let key = format!("key{}", n / 4);
                record_as(&store, act, &[("email", "jane")], Some((key.as_str(), "print"))).await
            }));
        }
        let done: Vec<Recorded> =
            join_all(processes).await.into_iter().map(|joined| joined.unwrap()).collect();
        let whole = done.iter().filter(|recorded| matches!(recorded, Recorded::Whole(_))).count();
        let again = done.iter().filter(|recorded| **recorded == Recorded::IdempotencyConflict).count();
        assert_eq!((whole, again), (2, 6));
        assert_eq!(history(&fresh.store, "jane").await.len(), 2);
        let (id, print) = fresh.store.find_idempotent_consent("crm", "key0").await.unwrap().unwrap();
        assert_eq!(print, "print");
        assert!(history(&fresh.store, "jane").await.contains(&id));
        assert_eq!(fresh.store.find_idempotent_consent("shop", "key0").await.unwrap(), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pseudonyms_are_given_up_and_become_the_persons_again() {
    for fresh in stores().await {
        let store = &fresh.store;
        let kept =
            record(store, consent("ads", ConsentState::Given), &[("email", "x"), ("user_id", "7")]).await;
        let change = async |before: &[(&str, &str)], after: &[(&str, &str)]| {
            let identities = Identities {
                before: pairs(before),
                after: pairs(after),
                copies_before: Vec::new(),
                copies_after: Vec::new(),
            };
            let mut tx = store.begin().await.unwrap();
            tx.move_consents(&identities, &PeriodKeys::default()).await.unwrap();
            tx.commit().await.unwrap();
        };
        change(&[("email", "x"), ("user_id", "7")], &[("email", "y"), ("user_id", "7")]).await;
        assert_eq!((history(store, "x").await, history(store, "y").await), (vec![], vec![kept.id]));
        let whole = store.consent(kept.id).await.unwrap().unwrap();
        assert_eq!(compared(&whole.refs), pairs(&[("email", "y"), ("user_id", "7")]));
        change(&[("email", "y"), ("user_id", "7")], &[("email", "x"), ("user_id", "7")]).await;
        assert_eq!((history(store, "x").await, history(store, "y").await), (vec![kept.id], vec![]));
    }
}

/// PostgreSQL alone lets two at once into the store.
#[tokio::test(flavor = "multi_thread")]
async fn of_one_person_only_one_is_recorded_at_a_time() {
    for fresh in stores().await.into_iter().filter(|fresh| !fresh.is_sqlite()) {
        let refs = pairs(&[("email", "jane"), ("user_id", "7")]);
        let mut tx = fresh.store.begin().await.unwrap();
        let first = consent("ads", ConsentState::Given);
        let keys = &PeriodKeys::default();
        let new = NewConsent { consent: first, secrets: secrets(), refs: &refs, keys, idempotency: None };
        tx.record_consent(new).await.unwrap();
        let others = async |pseudonym: &str| {
            let act = consent("ads", ConsentState::Withdrawn);
            let refs = [("email", pseudonym)];
            let recording = record_as(&fresh.store, act, &refs, None);
            tokio::time::timeout(Duration::from_millis(500), recording).await.is_ok()
        };
        assert!(!others("jane").await, "waits");
        assert!(others("joe").await, "somebody else does not");
        tx.commit().await.unwrap();
        assert!(others("jane").await);
    }
}
