//! A disk that is full: of the packages, and of a SQLite store.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{LARGE, LONG, PATIENCE, SLOWLY, Scene};
use crate::{
    properties::random::Random,
    support::{
        cluster::is_root,
        package::{rows, unzip},
        stores::sqlite_store,
        targets::{Dialect, target},
    },
};

/// A small disk, mounted on a folder.
struct Disk(PathBuf);

impl Disk {
    /// `None`, and said so, where only root could do that.
    fn mount(folder: &Path, megabytes: u32) -> Option<Self> {
        std::fs::create_dir_all(folder).expect("a folder");
        let done = mount(folder, &format!("size={megabytes}m"));
        if !(is_root() && done) {
            assert!(!crate::support::in_ci(), "CI=true, and no disk can be mounted");
            crate::support::left_out("full disks: only root can mount one");
            return None;
        }
        Some(Self(folder.to_owned()))
    }

    fn grow(&self, megabytes: u32) {
        assert!(mount(&self.0, &format!("remount,size={megabytes}m")), "a larger disk");
    }

    /// Takes all the room that is left, in a file of that name.
    fn fill(&self) -> PathBuf {
        use std::io::Write;
        let path = self.0.join("filler");
        let mut file = std::fs::File::create(&path).expect("a file");
        for piece in [65_536, 4_096, 1] {
            while file.write_all(&vec![0; piece]).is_ok() {}
        }
        path
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn mount(folder: &Path, options: &str) -> bool {
    let mount = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(folder).output();
    mount.is_ok_and(|mount| mount.status.success())
}

/// Notes of [`LARGE`] that cannot be packed small, some megabytes of them.
fn noise() -> String {
    let mut random = Random::new(1);
    let row = |row: usize| {
        let noise: String = (0..16).map(|_| format!("{:06x}", random.below(1 << 24))).collect();
        format!("({}, {LARGE}, '{noise}')", 1_000_000 + row)
    };
    let rows: Vec<String> = (0..60_000).map(row).collect();
    rows.chunks(500).map(|rows| format!("INSERT INTO notes VALUES {};\n", rows.join(", "))).collect()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    entries
        .flat_map(|entry| match entry.path().is_dir() {
            true => files(&entry.path()),
            false => vec![entry.path()],
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_waits_for_room() {
    let store = sqlite_store().await;
    let target = target(Dialect::Sqlite).expect("SQLite");
    let url = target.url.clone();
    let scene = Scene::new(&store.url, target, &url, SLOWLY);
    scene.target.execute(&noise());
    let folder = scene.site.folder().join("exports");
    let Some(disk) = Disk::mount(&folder, 2) else { return };
    let process = scene.site.serve().await;
    let body = json!({ "kind": "export", "plan": "customer", "subject": { "user_id": LARGE } });
    let request = scene.site.submit_body(&body, None).await.expect("an answer");
    let id = request["id"].as_str().expect("an id");
    let paused = scene.until(id, "paused", |request| request["status"] == "paused").await;
    assert_eq!(paused["error"]["code"], "connection_unavailable", "{paused}");
    assert!(paused["error"]["detail"].as_str().is_some_and(|detail| detail.contains("disk")), "{paused}");
    let answer = scene.call("GET", &format!("/v1/requests/{id}/export"), &Value::Null).await;
    assert_eq!(answer.status, 404, "there is no package yet");
    disk.grow(64);
    let request = scene.site.finished(id).await;
    assert_eq!((&request["status"], &request["outcome"]), (&json!("completed"), &json!("done")), "{request}");
    let package = unzip(&scene.site.download(&format!("/v1/requests/{id}/export")).await);
    assert_eq!(rows(&package, "shop.notes").len(), 60_005, "each row once");
    assert_eq!(rows(&package, "shop.visits").len(), 1_000);
    let parts = files(&folder);
    let folders: std::collections::BTreeSet<_> = parts.iter().filter_map(|part| part.parent()).collect();
    assert_eq!(folders.len(), 1, "only the whole package is there: {parts:?}");
    drop(process);
    drop(disk);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_without_room_loses_nothing_that_it_accepted() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(disk) = Disk::mount(folder.path(), 32) else { return };
    let target = target(Dialect::Sqlite).expect("SQLite");
    let url = target.url.clone();
    let store = format!("sqlite:{}", folder.path().join("store.db").display());
    let scene = Scene::new(&store, target, &url, &format!("{LONG}{SLOWLY}"));
    let (heard, mut log) = mpsc::unbounded_channel();
    let process = scene.site.start_with(&[("RUST_LOG", "warn")], move |line| drop(heard.send(line)));
    scene.site.ready().await;
    let large = scene.submit(LARGE).await;
    scene.until_under_way(&large).await;
    let filler = disk.fill();
    let mut accepted = vec![(LARGE, large.clone())];
    let mut refused = None;
    for user in (4..=24).step_by(2) {
        let body = json!({ "kind": "erasure", "plan": "customer", "subject": { "user_id": user } });
        let key = format!("key-{user}");
        let (status, body) = scene.site.post("/v1/requests", &body, Some(&key)).await.expect("an answer");
        match status {
            202 => accepted.push((user, body["id"].as_str().expect("an id").to_owned())),
            503 => {
                refused = Some(user);
                break;
            }
            _ => panic!("{status}: {body}"),
        }
    }
    let refused = refused.expect("a full disk takes nothing");
    // Nor what the worker has to say.
    let unrecorded = async {
        while let Some(line) = log.recv().await {
            eprintln!("  | {line}");
            if line.contains("the end of an attempt was not recorded") {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, unrecorded).await.expect("the worker's record is refused");
    std::fs::remove_file(filler).expect("room");
    scene.recovers("SQLite store without room", &large).await;
    accepted.push((refused, scene.submit_in_the_end(refused).await));
    scene.has_waited(&large).await;
    scene.counts_what_was_there(&accepted).await;
    scene.ends_well(process, &accepted).await;
    drop(disk);
}
