//! What an erasure costs beside the same work in raw SQL, as ratios in one run: `cargo bench --bench erasure`. Words
//! after `--` pick the rows whose name holds all of them: `cargo bench --bench erasure -- key old`.
//!
//! Needs a PostgreSQL server (`RIGHTFUL_BENCH_POSTGRES`, default `postgres://postgres@127.0.0.1:5432/postgres`) and
//! `pgbench` on the path. Every row makes its own database and drops it. Absolute figures are printed for
//! orientation only: machines differ, ratios of one run travel.

mod log;
mod memory;
#[path = "../../tests/it/support/site.rs"]
#[expect(dead_code, reason = "the tests ask more of it")]
mod site;
mod small;
mod table;
mod target;
mod whale;

use table::Table;

fn main() {
    // Cargo adds `--bench` of its own.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let wanted = |name: &str| words.iter().all(|word| name.contains(word.as_str()));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let table = runtime.block_on(async {
        let mut table = Table::default();
        for index in [whale::Index::SubjectAndKey, whale::Index::Subject] {
            for snapshot in [whale::Snapshot::None, whale::Snapshot::Old] {
                if wanted(&whale::name(index, snapshot)) {
                    table.push(whale::run(index, snapshot).await);
                }
            }
        }
        for store in [small::Store::Sqlite, small::Store::Postgres] {
            if wanted(&small::name(store)) {
                table.push(small::run(store).await);
            }
            if wanted(&log::name(store)) {
                table.push(log::run(store).await);
            }
        }
        table
    });
    println!("{table}");
}
