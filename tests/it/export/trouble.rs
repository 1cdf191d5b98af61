//! What becomes of an export that does not end well, and of a package whose time is over.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use rightful::domain::request::{Kind, Outcome, Status};
use serde_json::json;

use super::{Fixture, fixture, ids};
use crate::{
    properties::random::Random,
    support::{stores::stores, targets::targets},
};

/// Every file below a folder, with its bytes.
fn files(folder: &Path) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            match entry.file_type().unwrap().is_dir() {
                true => open.push(entry.path()),
                false => found.push(std::fs::read(entry.path()).unwrap()),
            }
        }
    }
    found
}

/// Rows whose text cannot be packed small, so that a part leaves before the table ends.
fn large(fixture: &Fixture) {
    let mut random = Random::new(1);
    fixture.shop.execute("DELETE FROM messages");
    for batch in 0..40 {
        let row = |row: usize| {
            let noise: String = (0..30).map(|_| format!("{:06x}", random.below(1 << 24))).collect();
            format!("({}, 1, 2, '{noise}')", batch * 500 + row + 1)
        };
        let rows: Vec<String> = (0..500).map(row).collect();
        fixture.shop.execute(&format!("INSERT INTO messages VALUES {}", rows.join(", ")));
    }
}

/// True when there ever was a file while the work went on.
async fn had_files<T>(folder: &Path, work: impl Future<Output = T>) -> (bool, T) {
    let stop = Arc::new(AtomicBool::new(false));
    let (told, folder) = (stop.clone(), folder.to_owned());
    let watcher = std::thread::spawn(move || {
        let mut seen = false;
        while !seen && !told.load(Ordering::Relaxed) {
            seen = walk(&folder);
        }
        seen
    });
    let done = work.await;
    stop.store(true, Ordering::Relaxed);
    (watcher.join().unwrap(), done)
}

/// Whether a part lies anywhere below; folders may vanish meanwhile.
fn walk(folder: &Path) -> bool {
    let entries = std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    entries.into_iter().any(|entry| entry.path().is_file() || walk(&entry.path()))
}

/// A table breaks off in the middle: nothing can be read, and the next attempt begins anew.
#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_breaks_off_leaves_no_readable_package() {
    for target in targets() {
        for store in stores().await {
            let fixture = fixture(store, crate::support::targets::target_like(&target)).await;
            large(&fixture);
            let store = &fixture.harness.service.store;
            let id = fixture.harness.submit_as(Kind::Export, "customer", json!({ "user_id": 1 })).await;
            // Those that she sent are packed, and those that she got break off.
            fixture.faults.break_off(5);
            let folder = fixture.harness.packages();
            let (had_files, broken) = had_files(&folder, fixture.harness.run(id)).await;
            assert!(had_files, "it broke off when a part was stored already");
            assert_eq!(broken.status(), Status::Paused, "{:?}", broken.state);
            assert_eq!(store.package(id).await.unwrap(), None);
            assert!(files(&folder).is_empty(), "what it had stored is gone at once");
            let before: i64 = broken.steps.iter().map(|step| step.rows_affected).sum();
            fixture.harness.make_due(id).await;
            let request = fixture.harness.run(id).await;
            assert_eq!(request.state.outcome(), Some(Outcome::Done), "{:?}", request.state);
            let after: i64 = request.steps.iter().map(|step| step.rows_affected).sum();
            assert!(after >= before, "progress never falls");
            let files = fixture.files(&request).await;
            assert_eq!(ids(&files, "shop.messages").len(), 20_000, "each row once");
            for step in &request.steps {
                assert_eq!(step.rows_matched, Some(step.rows_affected), "{step:?}");
                assert_eq!(step.rows_remaining, Some(0), "{step:?}");
            }
        }
    }
}

/// The key of an export that was cancelled was never kept: what lies in the folder is noise, and goes with it.
#[tokio::test(flavor = "multi_thread")]
async fn what_lies_in_the_folder_is_sealed_and_goes_with_an_export_that_was_cancelled() {
    for store in stores().await {
        let fixture = fixture(store, targets().remove(0)).await;
        let id = fixture.harness.submit_as(Kind::Export, "customer", json!({ "user_id": 1 })).await;
        let request = fixture.harness.run(id).await;
        assert_eq!(request.state.outcome(), Some(Outcome::Done), "{:?}", request.state);
        let folder = fixture.harness.packages();
        let sealed = files(&folder);
        assert!(!sealed.is_empty());
        for bytes in sealed {
            for canary in [&b"jane"[..], b"PK\x03\x04", b"manifest"] {
                assert!(!bytes.windows(canary.len()).any(|window| window == canary));
            }
        }
        assert_eq!(fixture.harness.cancel_refused(id).await, Status::Completed);

        let broken = fixture.harness.submit_as(Kind::Export, "customer", json!({ "user_id": 2 })).await;
        fixture.faults.break_off(1);
        assert_eq!(fixture.harness.run(broken).await.status(), Status::Paused);
        // As a process leaves it that is killed.
        let left = folder.join(broken.to_string()).join("000001");
        std::fs::create_dir_all(&left).unwrap();
        std::fs::write(left.join("00000000#1"), "half a part").unwrap();
        assert_eq!(fixture.harness.cancel(broken).await.state.outcome(), Some(Outcome::NothingDone));
        assert!(!folder.join(broken.to_string()).exists(), "nothing is left of it");
        assert!(!files(&folder).is_empty(), "the package of the other one is");
    }
}
