//! What other readers see and the walk would pass by: rows before the first place, members that stand twice, and an index
//! that does not show what the table holds.

use rightful::{
    domain::audit::verify::Fault,
    service::audit::{Verification, verify},
};

use super::builder::Builder;
use crate::{
    properties::random::Random,
    store::support::raw,
    support::stores::{TestStore, sqlite_store, stores},
};

/// An event of somebody who has no part in it, with the content of the first one.
fn forged(stream: &str, seq: i64) -> String {
    format!(
        "INSERT INTO audit_events (id, stream, seq, at, event, actor, details, prev_hash, hash)
         SELECT 'forged', '{stream}', {seq}, at, 'request.approved', 'bob', details, prev_hash, hash
         FROM audit_events ORDER BY id LIMIT 1;
         DELETE FROM log_queue WHERE event_id = 'forged';"
    )
}

async fn grown(fresh: &TestStore) {
    Builder::new(fresh.store.clone()).grow(12, &mut Random::new(3)).await;
    assert!(matches!(verify(&fresh.store).await.unwrap(), Verification::Intact(_)));
}

async fn fault(fresh: &TestStore) -> Fault {
    match verify(&fresh.store).await.unwrap() {
        Verification::Broken(broken) => broken.reason,
        Verification::Intact(found) => panic!("{found:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_before_the_first_place_is_found() {
    for fresh in stores().await {
        grown(&fresh).await;
        let allowed = match fresh.is_sqlite() {
            true => "PRAGMA ignore_check_constraints = ON;",
            false => "ALTER TABLE audit_events DROP CONSTRAINT audit_events_seq_check;",
        };
        raw(&fresh, &format!("{allowed} {}", forged("", i64::MIN))).await.unwrap();
        assert_eq!(fault(&fresh).await, Fault::SequenceGap);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_stands_twice_is_found() {
    for fresh in stores().await {
        grown(&fresh).await;
        let allowed = match fresh.is_sqlite() {
            true => "DROP TRIGGER audit_events_no_update;",
            false => "ALTER TABLE audit_events DISABLE TRIGGER ALL;",
        };
        // The last one wins for most readers, for others the first.
        let twice = "UPDATE audit_events SET details = replace(details, '{', '{\"outcome\":\"done\",\"outcome\":\"no_match\",')
                     WHERE id = (SELECT min(id) FROM audit_events WHERE details LIKE '{_%')";
        let once = "UPDATE audit_events SET details = replace(details, '\"outcome\":\"done\",\"outcome\":\"no_match\",', '')";
        raw(&fresh, &format!("{allowed} {twice}")).await.unwrap();
        assert_eq!(fault(&fresh).await, Fault::HashMismatch);
        raw(&fresh, once).await.unwrap();
        assert!(matches!(verify(&fresh.store).await.unwrap(), Verification::Intact(_)));
        // The same value twice is as bad: nobody wrote it.
        let member = "UPDATE audit_events SET details = '{' || substr(details, 2, instr(details, ',') - 1) || substr(details, 2)
                      WHERE id = (SELECT min(id) FROM audit_events WHERE details LIKE '{%,%' AND details NOT LIKE '%[%,%')";
        if fresh.is_sqlite() {
            raw(&fresh, member).await.unwrap();
            let changed = verify(&fresh.store).await.unwrap();
            assert!(matches!(changed, Verification::Broken(_)), "{changed:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_the_index_does_not_show_is_found() {
    let fresh = sqlite_store().await;
    grown(&fresh).await;
    let reload = "PRAGMA writable_schema = RESET;";
    let without_index = "PRAGMA writable_schema = ON;
        CREATE TABLE kept AS SELECT * FROM sqlite_schema WHERE tbl_name = 'audit_events' AND type IN ('table', 'index');
        DELETE FROM sqlite_schema WHERE name = 'sqlite_autoindex_audit_events_2';
        UPDATE sqlite_schema SET sql = replace(sql, 'UNIQUE (stream, seq)', 'CHECK (true)') WHERE name = 'audit_events';";
    raw(&fresh, &format!("{without_index} {reload}")).await.unwrap();
    let stream = "SELECT stream FROM audit_events ORDER BY id LIMIT 1";
    let behind = forged("?", 1_000).replace("'?'", &format!("({stream})"));
    raw(&fresh, &behind).await.unwrap();
    let with_index = "PRAGMA writable_schema = ON;
        INSERT INTO sqlite_schema SELECT * FROM kept WHERE name = 'sqlite_autoindex_audit_events_2';
        UPDATE sqlite_schema SET sql = (SELECT sql FROM kept WHERE name = 'audit_events') WHERE name = 'audit_events';";
    raw(&fresh, &format!("{with_index} {reload} DROP TABLE kept")).await.unwrap();
    assert_eq!(fault(&fresh).await, Fault::EventsHidden);
}
