mod agreement;
pub(in crate::domain) mod catalog;
mod orders;
mod property;
mod rectifications;
mod refusals;
mod resources;
mod selections;
mod subjects;
mod world;

use std::collections::BTreeMap;

use catalog::catalog;

use super::{Compiled, compile};
use crate::domain::{
    compiled::{CompiledPlan, Step},
    document::{Fault, Severity},
    plan,
    schema::Catalog,
};

/// Compiles a plan over connections given as (name, tables).
fn try_compile(plan_text: &str, connections: &[(&str, &str)]) -> Result<Compiled, Vec<Fault>> {
    let catalogs: BTreeMap<String, Catalog> =
        connections.iter().map(|(name, tables)| ((*name).to_owned(), catalog(tables))).collect();
    compile(&plan::parse("plan.yaml", plan_text)?, &catalogs)
}

fn compiled(plan_text: &str, connections: &[(&str, &str)]) -> CompiledPlan {
    match try_compile(plan_text, connections) {
        Ok(compiled) => compiled.plan,
        Err(faults) => panic!("{}\n{plan_text}", shown(&faults)),
    }
}

fn shown(faults: &[Fault]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn errors(plan_text: &str, connections: &[(&str, &str)]) -> Vec<Fault> {
    let mut faults = match try_compile(plan_text, connections) {
        Ok(_) => panic!("was not refused:\n{plan_text}"),
        Err(faults) => faults,
    };
    faults.retain(|fault| fault.severity == Severity::Error);
    faults
}

fn names(plan: &CompiledPlan) -> Vec<&str> {
    plan.erasure.iter().map(|step| step.name.as_str()).collect()
}

fn step<'p>(plan: &'p CompiledPlan, name: &str) -> &'p Step {
    plan.erasure.iter().find(|step| step.name == name).unwrap_or_else(|| panic!("no step {name}"))
}

/// A plan on connection `shop` with root `users.id`; `tables` is indented by four.
fn shop(tables: &str) -> String {
    format!("plan: p\nsubject:\n  user_id: shop.users.id\nconnections:\n  shop:\n{tables}")
}
