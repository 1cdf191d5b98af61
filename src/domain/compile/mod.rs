//! Plan file + live schemas → ordered steps, or every reason why not (DESIGN.md §4).
//!
//! `resolve` turns names into tables and columns, `resources`, `tables`, `keeps`, `masks` and `families` check what stands on its own;
//! `paths` follows the matches to the root; `foreign_keys` asks what would hold a deletion back; `order` puts
//! the steps in order and decides which keys must be read beforehand; `rows` writes the compiled plan.

use std::collections::BTreeMap;

use super::{
    compiled::CompiledPlan,
    document::{Fault, Reader},
    plan::PlanFile,
    schema::Catalog,
};

mod exports;
mod families;
mod foreign_keys;
mod forgotten;
mod keeps;
mod masks;
mod model;
mod order;
mod paths;
mod placeholders;
mod pointers;
mod reads;
mod rectify;
mod resolve;
mod resources;
mod rows;
pub mod subject;
mod tables;
#[cfg(test)]
pub(in crate::domain) mod tests;
mod version;

pub use exports::is_credential;
pub(super) use families::canonical_text;
pub(super) use model::{key_column, row_key, table_name};
pub use subject::{SubjectCode, SubjectError, SubjectFault, check_subject, subject_refs};

/// A plan that fits the live schemas, and what is worth a look nevertheless.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compiled {
    pub plan: CompiledPlan,
    pub warnings: Vec<Fault>,
}

/// Joins a plan file with the live schemas of its connections.
///
/// # Errors
/// Every reason why the plan cannot be carried out, with its remedy, and the warnings among them.
pub fn compile(plan: &PlanFile, catalogs: &BTreeMap<String, Catalog>) -> Result<Compiled, Vec<Fault>> {
    let mut faults = Reader::new(&plan.file);
    let catalogs = resources::with_resources(plan, catalogs);
    match run(plan, &catalogs, &mut faults) {
        Some(compiled) if !faults.has_errors() => {
            Ok(Compiled { plan: compiled, warnings: faults.into_faults() })
        }
        _ => Err(faults.into_faults()),
    }
}

/// Each stage runs only on what the stages before it found sound: the faults of a stage that was fed with
/// guesses would mislead.
fn run(plan: &PlanFile, catalogs: &BTreeMap<String, Catalog>, faults: &mut Reader) -> Option<CompiledPlan> {
    let model = resolve::resolve(plan, catalogs, faults)?;
    resources::check(&model, faults);
    tables::check(&model, faults);
    keeps::check(&model, faults);
    masks::check(&model, faults);
    exports::check(&model, faults);
    rectify::check(&model, faults);
    families::check(&model, faults);
    pointers::check(&model, faults);
    if !model.complete {
        return None;
    }
    foreign_keys::check_keeps(&model, faults);
    foreign_keys::check_partitions(&model, faults);
    let paths = paths::check(&model, faults)?;
    let order = order::order(&model, &paths, faults)?;
    forgotten::warn(&model, faults);
    if faults.has_errors() {
        return None;
    }
    let compiled = rows::build(&model, &paths, &order);
    keeps::check_ways(&model, &compiled, faults);
    Some(compiled)
}
