//! The audit log where it is long: a page at its beginning and one at its end, and an export beside `COPY`. On a PostgreSQL store
//! with 1,000,000 events.

use std::time::Instant;

use futures::StreamExt;
use serde_json::Value;

use super::{
    client::Client,
    memory::resident_mib,
    pgbench::percentile,
    plans,
    site::{Process, Settings, Site},
    store::Store,
    table::{Goal, Row},
    target::Target,
};

const EVENTS: i64 = 1_000_000;
const PAGES: usize = 300;

pub const PAGE: &str = "a page of the audit log at depth 1,000,000, beside the first";
pub const EXPORT: &str = "an export of the audit log, 1,000,000 events, beside COPY";

/// A service with a long log, whose events are as long as real ones.
pub struct Log {
    target: Target,
    store: Target,
    site: Site,
    process: Process,
}

impl Log {
    pub async fn new() -> Self {
        let target = Target::new("audit").await;
        target.run("CREATE TABLE users (id int PRIMARY KEY)").await;
        let (url, store) = Store::Postgres.open().await;
        let store = store.expect("a database");
        let site = Site::new(&Settings {
            store: &url,
            connections: &[("shop", &target.url())],
            service: None,
            plan: plans::USERS,
            worker: "  concurrency: 1\n",
        });
        let process = site.serve().await;
        // Past the queue: what is measured is how they are read.
        store
            .run(&format!(
                "ALTER TABLE audit_events DISABLE TRIGGER USER;
                 INSERT INTO audit_events
                   (id, stream, seq, at, event, request_id, subject_ref, actor, step, action, rows, details, prev_hash, hash)
                 SELECT '01900000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'),
                   'request:01900000-0000-7000-9000-' || lpad(to_hex(n / 20), 12, '0'), n % 20 + 1,
                   '2026-11-02T09:00:00.000000Z', 'step.batch',
                   '01900000-0000-7000-9000-' || lpad(to_hex(n / 20), 12, '0'), repeat('ab', 32), 'worker:host-1',
                   'shop.comments', 'delete', '{{\"affected\":1000,\"matched\":2104}}', '{{\"attempt\":1,\"batch\":3}}',
                   repeat('0', 64), repeat('0', 64)
                 FROM generate_series(1, {EVENTS}) n;
                 ALTER TABLE audit_events ENABLE TRIGGER USER"
            ))
            .await;
        store.run("VACUUM (ANALYZE) audit_events").await;
        store.run("CHECKPOINT").await;
        Self { target, store, site, process }
    }

    pub async fn page(&self) -> Row {
        let (base, token) = self.site.access();
        let mut client = Client::connect(base, token).await.expect("a connection");
        let first = "GET /v1/audit?limit=500".to_owned();
        let (mut deep, mut next) = (first.clone(), Some(first.clone()));
        while let Some(what) = next {
            let page: Value = serde_json::from_slice(&client.expect(200, &what, "").await).expect("JSON");
            let cursor = page["next_cursor"].as_str();
            next = cursor.map(|cursor| format!("GET /v1/audit?limit=500&cursor={cursor}"));
            if next.is_some() {
                deep = what;
            }
        }
        assert_ne!(first, deep);
        let (mut at_first, mut at_depth) = (Vec::new(), Vec::new());
        for _ in 0..PAGES {
            for (what, took) in [(&first, &mut at_first), (&deep, &mut at_depth)] {
                let begun = Instant::now();
                client.expect(200, what, "").await;
                took.push(begun.elapsed().as_secs_f64() * 1000.0);
            }
        }
        at_first.sort_by(f64::total_cmp);
        at_depth.sort_by(f64::total_cmp);
        Row {
            name: PAGE.to_owned(),
            unit: "ms",
            service: percentile(&at_depth, 0.5),
            beside: percentile(&at_first, 0.5),
            goal: Goal::AtMost(1.2),
            resident_mib: resident_mib(&self.process),
        }
    }

    pub async fn export(&self) -> Row {
        let copied = copy(&self.store, "SELECT row_to_json(e) FROM audit_events e ORDER BY id").await;
        let begun = Instant::now();
        let (base, token) = self.site.access();
        let answer = reqwest::Client::new().get(format!("{base}/v1/audit/export?format=ndjson"));
        let mut answer = answer.bearer_auth(token).send().await.expect("an answer");
        let mut lines = 0;
        while let Some(part) = answer.chunk().await.expect("all of it") {
            lines += part.iter().filter(|byte| **byte == b'\n').count();
        }
        let took = begun.elapsed().as_secs_f64();
        assert!(i64::try_from(lines).is_ok_and(|lines| lines >= EVENTS), "{lines}");
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let events = EVENTS as f64;
        Row {
            name: EXPORT.to_owned(),
            unit: "rows/s",
            service: events / took,
            beside: events / copied,
            goal: Goal::AtLeast(0.5),
            resident_mib: resident_mib(&self.process),
        }
    }

    pub async fn drop(self) {
        drop(self.process);
        self.store.drop().await;
        self.target.drop().await;
    }
}

/// Seconds until the last byte of a query's rows was read.
pub async fn copy(target: &Target, query: &str) -> f64 {
    let begun = Instant::now();
    let rows = target.client.copy_out(&format!("COPY ({query}) TO STDOUT")).await.expect("COPY");
    let mut rows = std::pin::pin!(rows);
    while let Some(part) = rows.next().await {
        part.expect("all of it");
    }
    begun.elapsed().as_secs_f64()
}
