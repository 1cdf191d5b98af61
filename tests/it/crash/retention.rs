//! Policies whose process dies at any moment, and that a schedule starts beside: what is old goes, once archived, and
//! nothing else.

use std::{
    collections::BTreeSet,
    path::Path,
    time::{Duration, Instant},
};

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Value, json};

use super::{
    Settings, Site, audit_verifies,
    kills::{Kills, through_kills},
};
use crate::support::{
    stores::stores,
    targets::{Target, targets},
};

const OLD: usize = 1_500;
const PLAN: &str = "plan: customer
subject: { user_id: shop.users.id }
connections:
  shop:
    users: { erase: delete }
    visits: { match: { user_id: users.id }, erase: delete }
    hits: { match: { visit_id: visits.id }, erase: delete }
";
const SECTIONS: &str = "  lease: 1s
  max_attempts: 1000
  batch: { min_rows: 10, max_rows: 50, pause: 0 }
retention:
  archive: archive
  policies:
    visits: { connection: shop, table: visits, timestamp: at, older_than: 1y, action: archive, children: [hits],
      basis: no purpose any more, schedule: 1s }
";

fn rows(target: &Target) {
    let mut sql = "CREATE TABLE users (id INTEGER PRIMARY KEY);
        CREATE TABLE visits (id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL, at DATE NOT NULL, page VARCHAR(50));
        CREATE TABLE hits (id INTEGER PRIMARY KEY, visit_id INTEGER NOT NULL REFERENCES visits (id), \
            FOREIGN KEY (visit_id) REFERENCES visits (id));
        INSERT INTO users VALUES (1), (2);\n"
        .to_owned();
    for (first, day) in [(1, "2001-01-01"), (OLD + 1, "2199-01-01")] {
        let ids = first..first + OLD;
        let visits: Vec<String> =
            ids.clone().map(|id| format!("({id}, {}, '{day}', 'é {id}')", id % 2 + 1)).collect();
        let hits: Vec<String> = ids.map(|id| format!("({id}, {id})")).collect();
        sql.push_str(&format!("INSERT INTO visits VALUES {};\n", visits.join(", ")));
        sql.push_str(&format!("INSERT INTO hits VALUES {};\n", hits.join(", ")));
    }
    target.execute(&sql);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_policy_survives_sigkill() {
    for target in targets() {
        for store in stores().await {
            survive(&target, &store.url, &Kills::Random).await;
            target.execute("DROP TABLE hits; DROP TABLE visits; DROP TABLE users");
        }
    }
}

pub async fn survive(target: &Target, store: &str, kills: &Kills) {
    println!("{:?} target, store {store}", target.dialect);
    rows(target);
    let site = Site::new(&Settings {
        store,
        connections: &[("shop", &target.url)],
        service: None,
        plan: PLAN,
        worker: SECTIONS,
    });
    through_kills(&site, kills, async |_| {
        if let Some((status, body)) = site.post("/v1/retention/visits/run", &json!({}), None).await {
            assert!(matches!(status, 202 | 409), "{status}: {body}");
        }
    })
    .await;
    let process = site.serve().await;
    let all = ended(&site, target).await;
    let sum = |table: &str, count: &str| -> i64 {
        let steps = all.iter().flat_map(|run| run["steps"].as_array().unwrap());
        steps.filter(|step| step["name"] == table).map(|step| step[count].as_i64().unwrap_or(0)).sum()
    };
    let old = i64::try_from(OLD).unwrap();
    assert_eq!(
        (sum("shop.visits", "rows_affected"), sum("shop.hits", "rows_affected")),
        (old, old),
        "{all:?}"
    );
    for table in ["visits", "hits"] {
        let left = target.rows(&format!("SELECT min(id), count(*) FROM {table}"));
        let expected = [(OLD + 1).to_string(), OLD.to_string()].map(Some);
        assert_eq!(left[0], expected, "{table}");
    }
    let visits = archived(&site.folder().join("archive"), "shop.visits");
    assert_eq!(visits.len(), OLD, "every row that went was archived");
    assert!(visits.iter().all(|id| *id <= OLD));
    audit_verifies(&site).await;
    drop(process);
}

/// The runs that did something, once nothing old is left.
async fn ended(site: &Site, target: &Target) -> Vec<Value> {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let left = target.rows("SELECT count(*) FROM visits WHERE at < '2100-01-01'");
        if left[0][0].as_deref() == Some("0") {
            let runs = site.get("/v1/runs?limit=500").await.unwrap()["items"].as_array().unwrap().clone();
            let is_at_it = |run: &&Value| run["status"] != "completed" && run["steps"] != json!([]);
            if runs.iter().find(is_at_it).is_none() {
                return runs;
            }
        }
        assert!(Instant::now() < until, "in vain: {left:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The ids in the archive, after every object was held against its checksum.
fn archived(folder: &Path, table: &str) -> BTreeSet<usize> {
    let mut ids = BTreeSet::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
                continue;
            }
            let is_of_table = path.parent().is_some_and(|parent| parent.ends_with(table));
            if !is_of_table || path.extension().is_none_or(|ending| ending != "ndjson") {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let beside = std::fs::read_to_string(format!("{}.sha256", path.display()));
            // Its process was killed before the rows were given up.
            let Ok(beside) = beside else { continue };
            let hash: String =
                digest(&SHA256, text.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
            assert!(beside.starts_with(&hash), "{}", path.display());
            for line in text.lines() {
                let row: Value = serde_json::from_str(line).unwrap();
                let id = usize::try_from(row["id"].as_u64().unwrap()).unwrap();
                assert_eq!(row["page"], format!("é {id}"));
                ids.insert(id);
            }
        }
    }
    ids
}
