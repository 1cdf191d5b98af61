//! The systems that hold personal data, by the name that the configuration gives them.

use std::{collections::BTreeMap, sync::Arc};

use crate::connectors::{Connector, http::HttpService};

#[derive(Default)]
pub struct Connectors {
    databases: BTreeMap<String, Arc<dyn Connector>>,
    services: BTreeMap<String, Arc<HttpService>>,
}

impl Connectors {
    /// Adds a database.
    pub fn insert(&mut self, name: String, database: Arc<dyn Connector>) {
        self.databases.insert(name, database);
    }

    pub fn insert_service(&mut self, name: String, service: Arc<HttpService>) {
        self.services.insert(name, service);
    }

    /// The database of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<dyn Connector>> {
        self.databases.get(name)
    }

    /// True where two connections lead to the same database, as far as their addresses tell.
    #[must_use]
    pub fn are_one_place(&self, one: &str, other: &str) -> bool {
        let place = |name: &str| self.databases.get(name).and_then(|database| database.place());
        one == other || place(one).is_some_and(|one| place(other) == Some(one))
    }

    #[must_use]
    pub fn service(&self, name: &str) -> Option<&Arc<HttpService>> {
        self.services.get(name)
    }

    pub fn databases(&self) -> impl Iterator<Item = (&String, &Arc<dyn Connector>)> {
        self.databases.iter()
    }

    pub fn services(&self) -> impl Iterator<Item = (&String, &Arc<HttpService>)> {
        self.services.iter()
    }

    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.databases.contains_key(name) || self.services.contains_key(name)
    }

    /// Of all connections.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> =
            self.databases.keys().chain(self.services.keys()).map(String::as_str).collect();
        names.sort_unstable();
        names
    }
}
