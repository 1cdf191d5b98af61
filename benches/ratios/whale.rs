//! One subject with 1,000,000 of 3,400,000 rows, beside the fastest shape of a batch that these indexes allow, as a procedure
//! that commits each batch and makes the same counts before and after.

use std::time::Instant;

use serde_json::json;

use super::{
    memory::resident_mib,
    plans,
    site::{Settings, Site},
    table::{Goal, Row},
    target::Target,
};

const SUBJECT_ROWS: i64 = 1_000_000;
const ALL_ROWS: i64 = 3_400_000;
const BATCH: i64 = 10_000;

#[derive(Clone, Copy)]
pub enum Index {
    SubjectAndKey,
    Subject,
}

#[derive(Clone, Copy)]
pub enum Snapshot {
    None,
    /// Another session holds a snapshot from before the erasure (a dump, an idle transaction).
    Old,
}

/// Keyset ranges on (subject, key).
const KEYSET: &str = "
CREATE PROCEDURE erase_raw(subject int, size int) LANGUAGE plpgsql AS $$
DECLARE below bigint := 0; upto bigint; n bigint;
BEGIN
  SELECT count(*) INTO n FROM visits WHERE user_id = subject;
  COMMIT;
  LOOP
    SELECT id INTO upto FROM visits WHERE user_id = subject AND id > below ORDER BY id OFFSET size - 1 LIMIT 1;
    IF upto IS NULL THEN
      DELETE FROM visits WHERE user_id = subject AND id > below;
      COMMIT;
      EXIT;
    END IF;
    DELETE FROM visits WHERE user_id = subject AND id > below AND id <= upto;
    COMMIT;
    below := upto;
  END LOOP;
  SELECT count(*) INTO n FROM visits WHERE user_id = subject;
  IF n > 0 THEN RAISE EXCEPTION 'rows remain'; END IF;
  DELETE FROM users WHERE id = subject;
END $$";

/// Windows over the table's blocks, each with about as many rows. Every window is planned for itself: a plan for any of
/// them could go through the index.
const WINDOWS: &str = "
CREATE PROCEDURE erase_raw(subject int, size int) LANGUAGE plpgsql AS $$
DECLARE below bigint := 0; blocks bigint; step bigint; n bigint;
BEGIN
  SELECT count(*) INTO n FROM visits WHERE user_id = subject;
  COMMIT;
  blocks := pg_relation_size('visits') / current_setting('block_size')::bigint;
  step := greatest(1, size * blocks / n);
  WHILE below < blocks LOOP
    EXECUTE format('DELETE FROM visits WHERE ctid >= %L AND ctid < %L AND user_id = $1',
                   '(' || below || ',0)', '(' || below + step || ',0)') USING subject;
    COMMIT;
    below := below + step;
  END LOOP;
  SELECT count(*) INTO n FROM visits WHERE user_id = subject;
  IF n > 0 THEN RAISE EXCEPTION 'rows remain'; END IF;
  DELETE FROM users WHERE id = subject;
END $$";

pub fn name(index: Index, snapshot: Snapshot) -> String {
    let shape = match index {
        Index::SubjectAndKey => "(subject, key)",
        Index::Subject => "(subject)",
    };
    let suffix = match snapshot {
        Snapshot::None => "",
        Snapshot::Old => ", old snapshot held",
    };
    format!("erase 1,000,000 rows, index {shape}{suffix}")
}

/// Erases the whale twice, once each way, on fresh and equal data.
pub async fn run(index: Index, snapshot: Snapshot) -> Row {
    let (columns, procedure) = match index {
        Index::SubjectAndKey => ("user_id, id", KEYSET),
        Index::Subject => ("user_id", WINDOWS),
    };
    let target = Target::new("whale").await;
    fill(&target, columns).await;
    target.run(procedure).await;
    let holder = hold(&target, snapshot).await;
    let begun = Instant::now();
    target.run(&format!("CALL erase_raw(1, {BATCH})")).await;
    let raw = begun.elapsed().as_secs_f64();
    drop(holder);

    target.run("DROP TABLE visits, users").await;
    fill(&target, columns).await;
    let holder = hold(&target, snapshot).await;
    let site = Site::new(&Settings {
        store: "sqlite:rightful.db",
        connections: &[("shop", &target.url())],
        service: None,
        plan: plans::USERS_AND_VISITS,
        worker: "  batch: { pause: 0 }\n",
    });
    let process = site.serve().await;
    let begun = Instant::now();
    let request = site.submit("customer", json!({ "user_id": 1 }), None).await.expect("an answer");
    let request = site.finished(request["id"].as_str().expect("an id")).await;
    let ours = begun.elapsed().as_secs_f64();
    assert_eq!(request["progress"]["rows_affected"], SUBJECT_ROWS + 1, "{request}");
    assert_eq!(target.number("SELECT count(*) FROM visits").await, ALL_ROWS - SUBJECT_ROWS);
    let resident_mib = resident_mib(&process);
    drop((process, holder));
    target.drop().await;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let rows = SUBJECT_ROWS as f64;
    Row {
        name: name(index, snapshot),
        unit: "rows/s",
        service: rows / ours,
        beside: rows / raw,
        goal: Goal::AtLeast(0.95),
        resident_mib,
    }
}

async fn fill(target: &Target, index: &str) {
    target
        .run(&format!(
            "CREATE TABLE users (id int PRIMARY KEY, email text NOT NULL);
             INSERT INTO users SELECT n, 'user' || n || '@example.com' FROM generate_series(1, 1000) n;
             CREATE TABLE visits (id bigint PRIMARY KEY, user_id int NOT NULL REFERENCES users, at timestamptz, note text);
             INSERT INTO visits
               SELECT n, CASE WHEN n * 10 % 34 < 10 THEN 1 ELSE 2 + n % 999 END, now(), 'a note of some length ' || n
               FROM generate_series(1, {ALL_ROWS}) n;
             CREATE INDEX visits_by_user ON visits ({index});"
        ))
        .await;
    target.run("VACUUM (ANALYZE) visits").await;
    target.run("CHECKPOINT").await;
    assert_eq!(target.number("SELECT count(*) FROM visits WHERE user_id = 1").await, SUBJECT_ROWS);
}

async fn hold(target: &Target, snapshot: Snapshot) -> Option<tokio_postgres::Client> {
    match snapshot {
        Snapshot::None => None,
        Snapshot::Old => {
            let session = target.session().await;
            session
                .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM users")
                .await
                .expect("a snapshot");
            Some(session)
        }
    }
}
