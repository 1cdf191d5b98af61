//! Every mutation is found, in stores and in exports.

use std::{collections::BTreeMap, fs, path::Path};

use diesel::{Connection, SqliteConnection, connection::SimpleConnection};
use rightful::{
    domain::{audit::verify::Broken, checkpoint::NewKey, clock::Clock},
    service::audit::{
        Verification,
        offline::{self, verify_export},
        verification::{Anchors, Keys, verify_against},
    },
    store::Store,
};

use super::{
    builder::{Builder, ORIGIN},
    log::Log,
    mutations::{Class, Scene, mutated},
};
use crate::{
    properties::random::Random,
    store::support::raw,
    support::{
        environment,
        stores::{TestStore, sqlite_store, stores},
    },
};

const FEW: usize = 48;
/// Mutations of one log in the long run.
const OF_ONE: usize = 400;
const RULES: [(&str, &str); 3] = [
    ("audit_events", "no_update no_delete no_replace queue"),
    ("log_entries", "no_update no_delete no_replace"),
    ("checkpoints", "no_update no_delete no_replace"),
];

/// Takes the triggers away, as the first thing that an attacker does.
fn without_rules(is_sqlite: bool) -> String {
    if !is_sqlite {
        let tables = RULES.map(|(table, _)| format!("ALTER TABLE {table} DISABLE TRIGGER ALL;"));
        return tables.concat();
    }
    let drop = |(table, names): (&str, &str)| -> String {
        names.split(' ').map(|name| format!("DROP TRIGGER {table}_{name};")).collect()
    };
    RULES.map(drop).concat()
}

struct Attacked {
    fresh: TestStore,
    scene: Scene,
    anchors: Anchors,
    folder: tempfile::TempDir,
}

impl Attacked {
    /// A log that was published, with what was there before and another one of the same key.
    async fn new(fresh: TestStore, random: &mut Random) -> Self {
        let key = NewKey::generate(ORIGIN).unwrap();
        let mut builder = Builder::keyed(fresh.store.clone(), &key);
        let mut older = Vec::new();
        for size in [6, 12, 20] {
            builder.grow(size, random).await;
            older.push(builder.log().await);
        }
        // At least one of those has less than what is published in the end.
        builder.grow(older[0].entries.len() as u64 + 1, random).await;
        for _ in 0..random.below(30) {
            builder.step(random).await;
        }
        let log = builder.log().await;
        let published = builder.published().unwrap();
        older.retain(|older| (older.entries.len() as u64) < published.size);
        let elsewhere = sqlite_store().await;
        let mut other = Builder::keyed(elsewhere.store.clone(), &key);
        other.grow(random.between(8, 40) as u64, random).await;
        let other = other.log().await;
        let anchors = Anchors { keys: Keys::All(builder.keys), checkpoints: vec![published] };
        raw(&fresh, &without_rules(fresh.is_sqlite())).await.unwrap();
        if fresh.is_sqlite() {
            raw(&fresh, "PRAGMA wal_checkpoint(TRUNCATE)").await.unwrap();
        }
        let attacked = Self {
            fresh,
            scene: Scene { log, older, other, published },
            anchors,
            folder: tempfile::tempdir().unwrap(),
        };
        attacked.expect_untouched().await;
        attacked
    }

    /// Writing it back as it is changes nothing.
    async fn expect_untouched(&self) {
        let found = self.found_in_store(&self.scene.log).await.expect("its own rows");
        assert!(matches!(found, Verification::Intact(_)), "{found:?}");
        let found = verify_export(&self.export(&self.scene.log.lines()), &self.anchors.checkpoints);
        assert!(matches!(found, Ok(offline::Verification::Intact(_))), "{found:?}");
    }

    /// `None` where the tables do not take such rows.
    async fn found_in_store(&self, log: &Log) -> Option<Verification> {
        let sql = log.sql(self.fresh.is_sqlite());
        let url = if self.fresh.is_sqlite() {
            let file = self.folder.path().join("mutated.db");
            fs::copy(self.fresh.file().unwrap(), &file).unwrap();
            write(&file, &sql).ok()?;
            format!("sqlite:{}", file.display())
        } else {
            raw(&self.fresh, &format!("BEGIN; {sql} COMMIT")).await.ok()?;
            self.fresh.url.clone()
        };
        let store = Store::open_read_only(&url, Clock).await.unwrap();
        Some(verify_against(&store, &self.anchors).await.unwrap())
    }

    fn export(&self, lines: &[String]) -> std::path::PathBuf {
        let file = self.folder.path().join("mutated.ndjson");
        fs::write(&file, lines.iter().map(|line| line.clone() + "\n").collect::<String>()).unwrap();
        file
    }

    /// Where it was found.
    async fn attack(&self, class: Class, random: &mut Random) -> Broken {
        let before = self.scene.log.lines();
        loop {
            let log = mutated(&self.scene, class, random);
            let Some(found) = self.found_in_store(&log).await else { continue };
            let Verification::Broken(broken) = found else { panic!("{class:?} was not found: {log:?}") };
            let mut lines = log.lines();
            random.shuffle(&mut lines);
            let is_other = lines.len() != before.len() || lines.iter().any(|line| !before.contains(line));
            if is_other {
                let found = verify_export(&self.export(&lines), &self.anchors.checkpoints);
                assert!(
                    !matches!(found, Ok(offline::Verification::Intact(_))),
                    "{class:?} was not found in its export: {log:?}"
                );
            }
            return broken;
        }
    }
}

fn write(file: &Path, sql: &str) -> Result<(), String> {
    let mut conn = SqliteConnection::establish(file.to_str().unwrap()).unwrap();
    let sql = format!("PRAGMA synchronous = OFF; PRAGMA journal_mode = OFF; BEGIN; {sql} COMMIT;");
    conn.batch_execute(&sql).map_err(|error| error.to_string())
}

async fn attack(attacked: &Attacked, count: usize, random: &mut Random) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for class in Class::ALL.into_iter().cycle().take(count) {
        let broken = attacked.attack(class, random).await;
        *found.entry(format!("{class:?} {:?}", broken.reason)).or_default() += 1;
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn every_mutation_of_what_was_published_is_found() {
    let seed = u64::from(std::process::id());
    let long: Option<usize> = environment("RIGHTFUL_MUTATIONS").and_then(|count| count.parse().ok());
    println!("seed {seed}");
    let mut random = Random::new(seed);
    let Some(mut left) = long else {
        for fresh in stores().await {
            let attacked = Attacked::new(fresh, &mut random).await;
            attack(&attacked, FEW, &mut random).await;
        }
        return;
    };
    let mut found: BTreeMap<String, usize> = BTreeMap::new();
    while left > 0 {
        let attacked = Attacked::new(sqlite_store().await, &mut random).await;
        for (how, count) in attack(&attacked, left.min(OF_ONE), &mut random).await {
            *found.entry(how).or_default() += count;
        }
        left -= left.min(OF_ONE);
    }
    println!("{found:#?}");
}

#[tokio::test]
async fn garbage_is_refused_and_never_panics() {
    let mut random = Random::new(1);
    let fresh = sqlite_store().await;
    let mut builder = Builder::new(fresh.store.clone());
    builder.grow(10, &mut random).await;
    let whole = builder.log().await.lines().join("\n") + "\n";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("garbage");
    let published = [builder.published().unwrap()];
    for round in 0..300 {
        let mut bytes = whole.clone().into_bytes();
        match round % 3 {
            0 => bytes.truncate(random.below(bytes.len() - 1)),
            1 => {
                for _ in 0..random.between(1, 20) {
                    let place = random.below(bytes.len());
                    bytes[place] ^= u8::try_from(random.between(1, 255)).unwrap();
                }
            }
            _ => bytes = (0..random.below(2000)).map(|_| u8::try_from(random.below(256)).unwrap()).collect(),
        }
        fs::write(&file, &bytes).unwrap();
        let found = verify_export(&file, &published);
        assert!(!matches!(found, Ok(offline::Verification::Intact(_))), "{round}");
    }
    let nothing = verify_export(&folder.path().join("none"), &published);
    assert!(nothing.unwrap_err().to_string().contains("cannot be read"));
    fs::write(&file, &whole[..whole.len() - 9]).unwrap();
    assert!(verify_export(&file, &[]).unwrap_err().to_string().contains("it was cut"));
    fs::write(&file, "id,stream,seq\n").unwrap();
    assert!(verify_export(&file, &[]).unwrap_err().to_string().starts_with("line 1 is no event"));
}
