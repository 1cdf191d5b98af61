//! Registered plans: plan files that were read, compiled against the live schemas and stored by version. Workers
//! run from the version that a request pinned, never from the file.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};

use super::{Service, execute::trouble::Interrupt};
use crate::{
    domain::{
        compile::compile,
        compiled::{CompiledPlan, PlanVersion},
        plan::parse,
        request::RunCode,
        schema::Catalog,
    },
    store::{NewPlan, PlanVersion as StoredVersion, StoreError},
};

mod folder;

pub use folder::{FromFile, Loaded, compile_folder, unregistered_code};

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

    /// The plans that are offered and those that open requests pin, whoever offered them.
    pub(super) async fn at_work(&self, service: &Service) -> Result<Vec<Arc<CompiledPlan>>, Interrupt> {
        let mut plans: Vec<Arc<CompiledPlan>> = Vec::new();
        for offered in read(&self.current).values() {
            if let Availability::Registered(registered) = offered {
                plans.push(registered.compiled.clone());
            }
        }
        for (name, version) in service.store.plans_at_work().await? {
            if !plans.iter().any(|plan| plan.version == version) {
                plans.push(self.pinned(service, &name, &version).await?);
            }
        }
        Ok(plans)
    }

    /// Every plan that was ever registered, in its last version: processes that only carry out offer none themselves.
    pub(super) async fn known(&self, service: &Service) -> Result<Vec<Arc<CompiledPlan>>, Interrupt> {
        let mut plans = Vec::new();
        for (name, version) in service.store.plans_registered().await? {
            plans.push(self.pinned(service, &name, &version).await?);
        }
        Ok(plans)
    }

    /// The plan of that name as it was registered last, also when its file is gone.
    pub(super) async fn last(
        &self,
        service: &Service,
        name: &str,
    ) -> Result<Option<Arc<CompiledPlan>>, Interrupt> {
        if let Some(Availability::Registered(offered)) = self.current(name) {
            return Ok(Some(offered.compiled));
        }
        match service.store.plan_current(name).await? {
            Some(stored) => self.pinned(service, name, &stored.version).await.map(Some),
            None => Ok(None),
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
        Err(schema_changed())
    }

    /// As [`require_fit`](Self::require_fit), as far as it concerns rows that were kept for a time: years may have passed,
    /// and whatever else has changed is no matter of theirs.
    pub(super) async fn require_keeps_fit(
        &self,
        service: &Service,
        plan: &CompiledPlan,
    ) -> Result<(), Interrupt> {
        if self.fits(service, plan).await? {
            return Ok(());
        }
        match plan.keeps_fit(&catalogs(service, plan).await?) {
            true => Ok(()),
            false => Err(schema_changed()),
        }
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
        let catalogs = catalogs(service, plan).await?;
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

/// The live schemas of a plan's connections.
async fn catalogs(service: &Service, plan: &CompiledPlan) -> Result<BTreeMap<String, Catalog>, Interrupt> {
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
    Ok(catalogs)
}

fn schema_changed() -> Interrupt {
    Interrupt::trouble(
        RunCode::SchemaChanged,
        "the live schema no longer fits the plan version of this request: restore it, or register the plan anew and \
         retry the request",
        None,
        None,
    )
}

fn read<T>(lock: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
