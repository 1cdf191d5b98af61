//! How fast the log is verified, beside what it is made of, in one run and on one core: `cargo bench --bench audit`,
//! or `cargo bench --bench audit -- 2000000` for another length of the log than 500,000 events. Absolute figures are printed for orientation only:
//! machines differ, ratios of one run travel.

use std::{
    io::{BufWriter, Write},
    path::Path,
    time::Instant,
};

use aws_lc_rs::digest::{SHA256, digest};
use diesel::{Connection, RunQueryDsl, SqliteConnection, connection::SimpleConnection, sql_query};
use rightful::{
    domain::{
        audit::{ChainHead, Event, EventName, NewEvent, exported::Exported, unhex},
        clock::Clock,
        tree::Edge,
    },
    service::audit::{
        Verification,
        offline::{self, verify_export},
        verify,
    },
    store::Store,
};
use serde_json::json;

/// Streams that are under way at a time, and events of each.
const BESIDE: usize = 20;
const LENGTH: usize = 12;

/// What one event commonly looks like, so many times.
fn log(count: usize) -> Vec<Event> {
    let mut events = Vec::with_capacity(count);
    while events.len() < count {
        let mut streams: Vec<(String, ChainHead)> =
            (0..BESIDE).map(|_| (format!("plan:{}", Clock.new_id()), ChainHead::default())).collect();
        for batch in 0..LENGTH {
            for (stream, head) in &mut streams {
                let new = NewEvent {
                    request_id: Some(Clock.new_id()),
                    subject_ref: Some("ab".repeat(32)),
                    step: Some("shop.comments".to_owned()),
                    action: Some("delete".to_owned()),
                    rows: Some(json!({ "affected": 1000, "matched": 2104 })),
                    ..NewEvent::new(
                        EventName::StepBatch,
                        "worker:host-1",
                        json!({ "attempt": 1, "batch": batch }),
                    )
                };
                events.push(Event::chained(new, Clock.new_id(), stream, Clock.now(), head));
            }
        }
    }
    events
}

/// The rows as a store has them, past its rules, which are there against this.
fn fill(file: &Path, events: &[Event]) {
    let mut conn = SqliteConnection::establish(&file.to_string_lossy()).expect("the file");
    conn.batch_execute(
        "PRAGMA foreign_keys = OFF; PRAGMA synchronous = OFF; DROP TRIGGER audit_events_no_replace; DROP TRIGGER audit_events_queue;
         DROP TRIGGER log_entries_no_replace; BEGIN",
    )
    .expect("a transaction");
    let mut edge = Edge::default();
    for event in events {
        let fields = json!([event, edge.size()]).to_string();
        sql_query(
            "INSERT INTO audit_events SELECT e->>'id', e->>'stream', e->>'seq', e->>'at', e->>'event',
             e->>'request_id', e->>'subject_ref', e->>'actor', e->>'step', e->>'action', e->'rows', e->'details',
             e->>'prev_hash', e->>'hash' FROM (SELECT ? -> 0 AS e)",
        )
        .bind::<diesel::sql_types::Text, _>(&fields)
        .execute(&mut conn)
        .expect("an event");
        let index = edge.size().cast_signed();
        let hashes = edge.append(&unhex(&event.hash)).concat();
        sql_query("INSERT INTO log_entries VALUES (?, ?, ?)")
            .bind::<diesel::sql_types::BigInt, _>(index)
            .bind::<diesel::sql_types::Text, _>(event.id.to_string())
            .bind::<diesel::sql_types::Binary, _>(hashes)
            .execute(&mut conn)
            .expect("an entry");
    }
    conn.batch_execute(
        "INSERT INTO plans (name, version, registered_at, source, audit_seq, audit_hash)
         SELECT substr(stream, 6), 'v', '2026-11-02 09:00:00', '', max(seq), hash FROM audit_events GROUP BY stream;
         COMMIT; PRAGMA wal_checkpoint(TRUNCATE)",
    )
    .expect("the owners");
}

fn export(file: &Path, events: &[Event]) -> u64 {
    let mut out = BufWriter::new(std::fs::File::create_new(file).expect("a file"));
    for (index, event) in (0..).zip(events) {
        let exported = Exported { event: event.clone(), index: Some(index) };
        serde_json::to_writer(&mut out, &exported).expect("a line");
        out.write_all(b"\n").expect("its end");
    }
    out.flush().expect("the file");
    std::fs::metadata(file).expect("the file").len()
}

/// Seconds that all threads of this process have worked so far, on all cores.
fn worked() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    // Behind the name in parentheses: fields 14 and 15 are the hundredths in user space and in the kernel.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    fields.map(|field| field.parse::<f64>().expect("a number")).sum::<f64>() / 100.0
}

/// Prints how many events a second and core that is; the second time, when files lie in memory.
fn measure<T>(what: &str, events: usize, work: impl Fn() -> T) -> T {
    drop(work());
    let (begun, before) = (Instant::now(), worked());
    let done = work();
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let events = events as f64;
    let (seconds, work) = (begun.elapsed().as_secs_f64(), worked() - before);
    println!("{what:<42} {:>12.0} events/s {:>12.0} events/s and core", events / seconds, events / work);
    done
}

async fn read_all(store: &Store) -> usize {
    let (mut snapshot, mut rows) = (store.snapshot().await.expect("a snapshot"), 0);
    loop {
        let read = snapshot.next_event_bytes().await.expect("events").len();
        rows += read;
        if read == 0 {
            break;
        }
    }
    while !snapshot.next_entries().await.expect("entries").is_empty() {}
    snapshot.close().await.expect("its end");
    rows
}

fn main() {
    let count = std::env::args().find_map(|argument| argument.parse().ok());
    let events = log(count.unwrap_or(500_000));
    let count = events.len();
    let folder = tempfile::tempdir().expect("a folder");
    let (database, ndjson) = (folder.path().join("store.db"), folder.path().join("audit.ndjson"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let url = format!("sqlite:{}", database.display());
    runtime.block_on(async {
        let store = Store::open(&url, Clock).await.expect("a store");
        store.migrate().await.expect("a migrated store");
    });
    fill(&database, &events);
    let bytes = export(&ndjson, &events);
    println!("{count} events, {} bytes each in an export", bytes / count as u64);

    let bodies: Vec<Vec<u8>> =
        events.iter().map(|event| serde_json::to_vec(&(event, &event.prev_hash)).expect("bytes")).collect();
    measure("SHA-256 of as many bytes", count, || {
        bodies.iter().fold(0, |sum, body| sum ^ digest(&SHA256, &body[..450.min(body.len())]).as_ref()[0])
    });
    let store = runtime.block_on(Store::open_read_only(&url, Clock)).expect("a store");
    assert_eq!(
        measure("reading the rows of a SQLite store", count, || runtime.block_on(read_all(&store))),
        count
    );
    let verified = measure("verifying a SQLite store", count, || runtime.block_on(verify(&store)));
    assert!(matches!(verified, Ok(Verification::Intact(_))), "{verified:?}");
    measure("reading an export", count, || std::fs::read(&ndjson).expect("the file").len());
    let verified = measure("verifying an export", count, || verify_export(&ndjson, &[]));
    assert!(matches!(verified, Ok(offline::Verification::Intact(_))), "{verified:?}");
}
