//! The folder of the plan files: what is in it, and whether it fits the live schemas and itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use crate::{
    connectors::ConnectorError,
    domain::{
        agreement::disagreements,
        compile::compile,
        compiled::CompiledPlan,
        document::{Fault, Severity},
        plan::{PlanFile, parse},
        schema::Catalog,
    },
    service::{Connectors, code::CodeSteps},
};

/// What reading the folder found.
#[derive(Debug, Default)]
pub struct Loaded {
    /// Errors refuse the whole load; warnings do not.
    pub faults: Vec<Fault>,
    /// Connections that could not be asked, and why.
    pub down: BTreeMap<String, ConnectorError>,
}

impl Loaded {
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.faults.iter().any(|fault| fault.severity == Severity::Error)
    }
}

/// A plan file and what it compiles to; `None` where a connection that it names is down.
#[derive(Debug, Clone)]
pub struct FromFile {
    pub file: PlanFile,
    pub compiled: Option<CompiledPlan>,
}

/// Reads every plan file of a folder and compiles it against the live schemas; nothing is stored.
pub async fn compile_folder(connectors: &Connectors, folder: &Path) -> (Vec<FromFile>, Loaded) {
    let (plans, mut loaded) = read_plans(folder);
    let catalogs = catalogs(connectors, &plans, &mut loaded.down).await;
    let mut all = Vec::new();
    for file in plans {
        if let Some(missing) = unknown_connection(connectors, &file) {
            loaded.faults.push(missing);
            continue;
        }
        if file.connections.iter().any(|connection| !catalogs.contains_key(&connection.value)) {
            all.push(FromFile { file, compiled: None });
            continue;
        }
        match compile(&file, &catalogs) {
            Ok(result) => {
                loaded.faults.extend(result.warnings);
                all.push(FromFile { file, compiled: Some(result.plan) });
            }
            Err(faults) => loaded.faults.extend(faults),
        }
    }
    let compiled: Vec<_> =
        all.iter().filter_map(|plan| Some((&plan.file, plan.compiled.as_ref()?))).collect();
    loaded.faults.extend(disagreements(&compiled));
    (all, loaded)
}

/// Reads and parses the plan files of a folder, in the order of their names; faults are collected.
fn read_plans(folder: &Path) -> (Vec<PlanFile>, Loaded) {
    let mut loaded = Loaded::default();
    let mut plans: Vec<PlanFile> = Vec::new();
    let mut fault = |file: &Path, problem: String, remedy: &str| {
        loaded.faults.push(Fault {
            file: file.display().to_string(),
            line: None,
            problem,
            remedy: remedy.to_owned(),
            severity: Severity::Error,
        });
    };
    let mut files: Vec<PathBuf> = match std::fs::read_dir(folder) {
        Ok(entries) => entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect(),
        Err(error) => {
            fault(folder, format!("cannot be read: {error}"), "`plans` names the folder of the plan files");
            Vec::new()
        }
    };
    files.retain(|file| file.extension().is_some_and(|ending| ending == "yaml" || ending == "yml"));
    files.sort();
    let mut faults = Vec::new();
    for file in files {
        match std::fs::read_to_string(&file) {
            Ok(text) => match parse(&file.display().to_string(), &text) {
                Ok(plan) => plans.push(plan),
                Err(found) => faults.extend(found),
            },
            Err(error) => fault(&file, format!("cannot be read: {error}"), "make it readable UTF-8 text"),
        }
    }
    loaded.faults.extend(faults);
    let mut seen: BTreeMap<String, String> = BTreeMap::new();
    for plan in &plans {
        if let Some(first) = seen.insert(plan.name.value.clone(), plan.file.clone()) {
            loaded.faults.push(Fault {
                file: plan.file.clone(),
                line: Some(plan.name.line),
                problem: format!("plan `{}` is already defined in {first}", plan.name.value),
                remedy: "give one of them another name".to_owned(),
                severity: Severity::Error,
            });
        }
    }
    (plans, loaded)
}

/// The live schema of every connection that a plan names; databases that are down are noted, services are not asked.
async fn catalogs(
    connectors: &Connectors,
    plans: &[PlanFile],
    down: &mut BTreeMap<String, ConnectorError>,
) -> BTreeMap<String, Catalog> {
    let names: BTreeSet<&String> =
        plans.iter().flat_map(|plan| plan.connections.iter().map(|connection| &connection.value)).collect();
    let mut catalogs = BTreeMap::new();
    for name in names {
        if connectors.service(name).is_some() {
            catalogs.insert(name.clone(), Catalog::of_service());
        }
        let Some(connector) = connectors.get(name) else { continue };
        match connector.catalog().await {
            Ok(catalog) => {
                catalogs.insert(name.clone(), catalog);
            }
            Err(error) => {
                down.insert(name.clone(), error);
            }
        }
    }
    catalogs
}

/// Steps in code that plans name and this program has not registered.
#[must_use]
pub fn unregistered_code(code: &CodeSteps, plans: &[FromFile]) -> Vec<Fault> {
    let known: Vec<&str> = code.names().collect();
    let steps = plans.iter().flat_map(|plan| plan.file.code.iter().map(|step| (&plan.file.file, step)));
    let unknown = steps.filter(|(_, step)| !known.contains(&step.value.name.as_str()));
    let remedy = match known.as_slice() {
        [] => "register it in the program that embeds this crate, and check the plan with that program"
            .to_owned(),
        known => format!("this program has registered: {}", known.join(", ")),
    };
    unknown
        .map(|(file, step)| Fault {
            file: file.clone(),
            line: Some(step.line),
            problem: format!(
                "step `{}` is code, and this program has registered none of that name",
                step.value.name
            ),
            remedy: remedy.clone(),
            severity: Severity::Error,
        })
        .collect()
}

fn unknown_connection(connectors: &Connectors, plan: &PlanFile) -> Option<Fault> {
    let unknown = plan.connections.iter().find(|connection| !connectors.contains(&connection.value))?;
    Some(Fault {
        file: plan.file.clone(),
        line: Some(unknown.line),
        problem: format!("connection `{}` is not configured", unknown.value),
        remedy: format!("the configuration has: {}", connectors.names().join(", ")),
        severity: Severity::Error,
    })
}
