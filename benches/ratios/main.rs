//! What the service costs beside the same work without it, as ratios in one run, and what has a limit of its own:
//! `cargo bench --bench ratios`. Words after `--` pick the rows whose name holds all of them:
//! `cargo bench --bench ratios -- key old`.
//!
//! Needs a PostgreSQL server (`RIGHTFUL_BENCH_POSTGRES`, default `postgres://postgres@127.0.0.1:5432/postgres`) and
//! `pgbench` on the path. Every row makes its own databases and drops them. Absolute figures are printed for
//! orientation only: machines differ, ratios of one run travel.

mod audit;
mod bystanders;
mod calls;
mod client;
mod export;
mod log;
mod memory;
mod pgbench;
mod plans;
mod promptness;
mod record;
mod scale;
#[path = "../../tests/it/support/site.rs"]
#[expect(dead_code, reason = "the tests ask more of it")]
mod site;
mod small;
mod store;
mod table;
mod target;
mod whale;

use store::Store;
use table::Table;

fn main() {
    // Cargo adds `--bench` of its own.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let wanted = |name: &str| words.iter().all(|word| name.contains(word.as_str()));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    println!("{}", runtime.block_on(measured(wanted)));
}

async fn measured(wanted: impl Fn(&str) -> bool) -> Table {
    let mut table = Table::default();
    for index in [whale::Index::SubjectAndKey, whale::Index::Subject] {
        for snapshot in [whale::Snapshot::None, whale::Snapshot::Old] {
            if wanted(&whale::name(index, snapshot)) {
                table.push(whale::run(index, snapshot).await);
            }
        }
    }
    for store in Store::ALL {
        if wanted(&small::name(store)) {
            small::run(store).await.into_iter().for_each(|row| table.push(row));
        }
    }
    if wanted(scale::NAME) {
        scale::run().await.into_iter().for_each(|row| table.push(row));
    }
    if wanted(&calls::accept_name()) {
        table.push(calls::accept().await);
    }
    for store in Store::ALL {
        if wanted(&calls::poll_name(store)) {
            table.push(calls::poll(store).await);
        }
    }
    if wanted(audit::PAGE) || wanted(audit::EXPORT) {
        let log = audit::Log::new().await;
        table.push(log.page().await);
        table.push(log.export().await);
        log.drop().await;
    }
    if wanted(export::NAME) {
        table.push(export::run().await);
    }
    if wanted(bystanders::NAME) {
        bystanders::run().await.into_iter().for_each(|row| table.push(row));
    }
    for store in Store::ALL {
        if wanted(&log::name(store)) {
            table.push(log::run(store).await);
        }
    }
    if wanted(promptness::START) {
        table.push(promptness::start().await);
    }
    if wanted(promptness::FIRST_STEP) {
        table.push(promptness::first_step().await);
    }
    table
}
