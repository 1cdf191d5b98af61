//! Registered plans: plan files that were read, compiled against the live schemas and stored by version. Workers
//! run from the version that a request pinned, never from the file.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};

use super::{Connectors, Service, code::CodeSteps, execute::trouble::Interrupt};
use crate::{
    connectors::ConnectorError,
    domain::{
        compile::compile,
        compiled::{CompiledPlan, PlanVersion},
        document::{Fault, Severity},
        plan::{PlanFile, parse},
        request::RunCode,
        schema::Catalog,
    },
    store::{NewPlan, PlanVersion as StoredVersion, StoreError},
};

/// How old the answer to "has the schema changed?" may be. Claims of the same moment share one look at the
/// catalog; a column that vanishes within it still stops the step, as an error of the database.
const FINGERPRINT_AGE: Duration = Duration::from_secs(1);

/// A plan as it is offered to new requests.
#[derive(Debug, Clone)]
pub struct Registered {
    pub compiled: Arc<CompiledPlan>,
    pub registered_at: DateTime<Utc>,
    pub source: Arc<str>,
}

/// What became of one plan file at the last load.
#[derive(Debug, Clone)]
pub enum Availability {
    Registered(Registered),
    /// A connection is down and no version was ever compiled: requests are answered with 503.
    NeverCompiled,
}

/// What [`Registry::load`] found.
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

/// The plans of this process.
#[derive(Default)]
pub struct Registry {
    current: RwLock<BTreeMap<String, Availability>>,
    versions: RwLock<HashMap<PlanVersion, Arc<CompiledPlan>>>,
    /// Versions that the schemas with these fingerprints fit.
    fits: RwLock<HashMap<(PlanVersion, String), bool>>,
    fingerprints: RwLock<HashMap<String, (Instant, String)>>,
}

impl Registry {
    #[must_use]
    pub fn current(&self, name: &str) -> Option<Availability> {
        read(&self.current).get(name).cloned()
    }

    #[must_use]
    pub fn names(&self) -> Vec<String> {
        read(&self.current).keys().cloned().collect()
    }

    /// Reads every `*.yaml` below `folder`, compiles it and, unless anything is refused, stores new versions (with
    /// their `plan.registered` event) and offers them. A refused load leaves what was registered before.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn load(&self, service: &Service, folder: &Path) -> Result<Loaded, StoreError> {
        let (compiled, mut loaded) = compile_folder(&service.connectors, folder).await;
        loaded.faults.extend(unregistered_code(&service.code, &compiled));
        if !loaded.is_refused() {
            self.register(service, compiled).await?;
        }
        Ok(loaded)
    }

    async fn register(&self, service: &Service, plans: Vec<FromFile>) -> Result<(), StoreError> {
        let mut current = BTreeMap::new();
        for FromFile { file, compiled } in plans {
            let name = file.name.value.clone();
            let availability = match compiled {
                Some(compiled) => {
                    let text = serde_json::to_string(&compiled).unwrap_or_default();
                    let mut tx = service.store.begin().await?;
                    let new = NewPlan {
                        name: &name,
                        version: &compiled.version,
                        source: &file.source,
                        compiled: &text,
                    };
                    tx.register_plan(new, "system").await?;
                    tx.commit().await?;
                    let stored = service.store.plan_current(&name).await?;
                    let registered_at = stored.map_or_else(|| service.clock.now(), |plan| plan.registered_at);
                    Availability::Registered(self.offer(compiled, registered_at, &file.source))
                }
                None => match service.store.plan_current(&name).await? {
                    Some(stored) => self.last_compiled(&stored),
                    None => Availability::NeverCompiled,
                },
            };
            current.insert(name, availability);
        }
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = current;
        Ok(())
    }

    fn offer(&self, compiled: CompiledPlan, registered_at: DateTime<Utc>, source: &str) -> Registered {
        let compiled = Arc::new(compiled);
        write(&self.versions).insert(compiled.version.clone(), compiled.clone());
        Registered { compiled, registered_at, source: source.into() }
    }

    fn last_compiled(&self, stored: &StoredVersion) -> Availability {
        match serde_json::from_str::<CompiledPlan>(&stored.compiled) {
            Ok(compiled) => {
                Availability::Registered(self.offer(compiled, stored.registered_at, &stored.source))
            }
            Err(_) => Availability::NeverCompiled,
        }
    }

    /// The version that a request pinned.
    pub(super) async fn pinned(
        &self,
        service: &Service,
        name: &str,
        version: &str,
    ) -> Result<Arc<CompiledPlan>, Interrupt> {
        if let Some(plan) = read(&self.versions).get(version) {
            return Ok(plan.clone());
        }
        let unreadable = || {
            Interrupt::trouble(RunCode::Internal, "the pinned plan version is not in the store", None, None)
        };
        let stored = service.store.plan_version(name, version).await?.ok_or_else(unreadable)?;
        let plan: CompiledPlan = serde_json::from_str(&stored.compiled).map_err(|_| unreadable())?;
        let plan = Arc::new(plan);
        write(&self.versions).insert(version.to_owned(), plan.clone());
        Ok(plan)
    }

    /// Compares the live schemas with a plan: compiled anew from its source it must yield the very same version.
    pub(super) async fn require_fit(&self, service: &Service, plan: &CompiledPlan) -> Result<(), Interrupt> {
        if self.fits(service, plan).await? {
            return Ok(());
        }
        // Perhaps it fits again since a moment ago.
        write(&self.fingerprints).retain(|connection, _| !plan.connections.contains(connection));
        if self.fits(service, plan).await? {
            return Ok(());
        }
        Err(Interrupt::trouble(
            RunCode::SchemaChanged,
            "the live schema no longer fits the plan version of this request: restore it, or register the plan anew \
             and retry the request",
            None,
            None,
        ))
    }

    async fn fits(&self, service: &Service, plan: &CompiledPlan) -> Result<bool, Interrupt> {
        let mut fingerprint = String::new();
        for connection in &plan.connections {
            fingerprint.push_str(&self.fingerprint(service, connection).await?);
            fingerprint.push('\n');
        }
        let key = (plan.version.clone(), fingerprint);
        let known = read(&self.fits).get(&key).copied();
        if let Some(fits) = known {
            return Ok(fits);
        }
        let fits = self.compiles_to(service, plan).await?;
        write(&self.fits).insert(key, fits);
        Ok(fits)
    }

    async fn compiles_to(&self, service: &Service, plan: &CompiledPlan) -> Result<bool, Interrupt> {
        let Some(stored) = service.store.plan_version(&plan.name, &plan.version).await? else {
            return Ok(false);
        };
        let Ok(file) = parse(&plan.name, &stored.source) else { return Ok(false) };
        let mut catalogs = BTreeMap::new();
        for connection in &plan.connections {
            if service.connectors.service(connection).is_some() {
                catalogs.insert(connection.clone(), Catalog::of_service());
                continue;
            }
            let catalog = super::execute::connector(service, connection)?
                .catalog()
                .await
                .map_err(|error| Interrupt::at(&error, connection, None))?;
            catalogs.insert(connection.clone(), catalog);
        }
        Ok(compile(&file, &catalogs).is_ok_and(|now| now.plan.version == plan.version))
    }

    async fn fingerprint(&self, service: &Service, connection: &str) -> Result<String, Interrupt> {
        if service.connectors.service(connection).is_some() {
            // It has no schema that could change.
            return Ok("service".to_owned());
        }
        let known = read(&self.fingerprints).get(connection).cloned();
        if let Some((at, fingerprint)) = known
            && at.elapsed() < FINGERPRINT_AGE
        {
            return Ok(fingerprint);
        }
        let asked_at = Instant::now();
        let fingerprint = super::execute::connector(service, connection)?
            .fingerprint()
            .await
            .map_err(|error| Interrupt::at(&error, connection, None))?;
        write(&self.fingerprints).insert(connection.to_owned(), (asked_at, fingerprint.clone()));
        Ok(fingerprint)
    }
}

fn read<T>(lock: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
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
    (all, loaded)
}

/// Reads and parses the plan files of a folder, in the order of their names; faults are collected.
#[must_use]
pub fn read_plans(folder: &Path) -> (Vec<PlanFile>, Loaded) {
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
