//! What nobody changed is never reported, at whatever moment.

use std::fs;

use rightful::{
    domain::audit::verify::Fault,
    service::audit::{
        Verification,
        offline::{self, verify_export},
        verification::{Anchors, Keys, Signatures, verify, verify_against},
    },
};

use super::builder::Builder;
use crate::{
    properties::random::Random,
    support::{
        environment,
        stores::{TestStore, sqlite_store, stores},
    },
};

const FEW: usize = 25;
/// Logs that grow from one store in the long run.
const OF_ONE: usize = 100;
const LONG: usize = 1000;

/// A log that grows; after each step it is another one.
async fn untouched(fresh: &TestStore, steps: usize, random: &mut Random) {
    let mut builder = Builder::new(fresh.store.clone());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit.ndjson");
    for _ in 0..steps {
        builder.step(random).await;
        let checkpoints = Vec::from_iter(builder.published());
        let anchors = Anchors { keys: Keys::All(builder.keys.clone()), checkpoints: checkpoints.clone() };
        let found = verify_against(&fresh.store, &anchors).await.unwrap();
        let Verification::Intact(found) = found else { panic!("{found:?}") };
        let log = builder.log().await;
        assert_eq!((found.events, found.waiting), (log.events.len() as u64, log.queue.len() as u64));
        assert_eq!(found.checkpoints, (log.checkpoints.len() + checkpoints.len()) as u64);
        let signed = if log.checkpoints.is_empty() { Signatures::NotChecked } else { Signatures::Checked };
        assert_eq!((found.tree.root, found.signatures), (log.root(found.tree.size), signed));
        // By the present key alone, and by none.
        let present = Keys::Present(builder.keys[builder.keys.len() - 1..].to_vec());
        for keys in [present, Keys::Unknown] {
            let anchors = Anchors { keys, checkpoints: checkpoints.clone() };
            let found = verify_against(&fresh.store, &anchors).await.unwrap();
            assert!(matches!(found, Verification::Intact(_)), "{found:?}");
        }
        let mut lines = log.lines();
        random.shuffle(&mut lines);
        fs::write(&file, lines.iter().map(|line| line.clone() + "\n").collect::<String>()).unwrap();
        let exported = verify_export(&file, &checkpoints).unwrap();
        let expected = offline::Verified { events: found.events, tree: found.tree, waiting: found.waiting };
        assert_eq!(exported, offline::Verification::Intact(expected));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_untouched_log_is_never_reported() {
    let seed = u64::from(std::process::id());
    println!("seed {seed}");
    let mut random = Random::new(seed);
    if environment("RIGHTFUL_MUTATIONS").is_some() {
        for _ in 0..LONG / OF_ONE {
            untouched(&sqlite_store().await, OF_ONE, &mut random).await;
        }
        return;
    }
    for fresh in stores().await {
        untouched(&fresh, FEW, &mut random).await;
    }
}

#[tokio::test]
async fn a_key_that_is_not_known_is_told_from_a_signature_that_is_wrong() {
    for fresh in stores().await {
        let mut random = Random::new(3);
        let mut builder = Builder::new(fresh.store.clone());
        builder.grow(5, &mut random).await;
        let own = builder.keys.clone();
        let stranger = Builder::new(fresh.store.clone()).keys;
        let found = async |keys| {
            verify_against(&fresh.store, &Anchors { keys, checkpoints: Vec::new() }).await.unwrap()
        };
        let signatures = |found: Verification| match found {
            Verification::Intact(found) => found.signatures,
            Verification::Broken(broken) => panic!("{broken:?}"),
        };
        assert_eq!(signatures(found(Keys::All(own)).await), Signatures::Checked);
        assert_eq!(signatures(found(Keys::Present(stranger.clone())).await), Signatures::NotChecked);
        assert_eq!(signatures(verify(&fresh.store).await.unwrap()), Signatures::NotChecked);
        let Verification::Broken(broken) = found(Keys::All(stranger)).await else {
            panic!("a stranger's key")
        };
        assert_eq!(broken.reason, Fault::CheckpointUnsigned);
    }
}
