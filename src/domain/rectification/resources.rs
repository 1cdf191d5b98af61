//! Changes at HTTP services: a resource's fields instead of a table's columns. What a field may hold only the service
//! knows.

use serde_json::Value;

use super::{
    Copied,
    bind::{Behind, Binder, pointer},
    narrow::is_found_by,
};
use crate::domain::{
    call::NewFields,
    compiled::{Action, Resource, ResourceAct, Step},
    document::suggest,
};

impl<'c> Binder<'c> {
    /// The step of that name at a service: its position in the plan, and the fields that it changes.
    pub(super) fn resource_named(&self, name: &str) -> Option<(usize, &'c [String])> {
        let plan = self.plan;
        let steps = plan.rectification.iter().enumerate();
        steps.filter(|(_, step)| step.name == name).find_map(|(at, step)| match &step.resource()?.act {
            ResourceAct::Rectify { fields, .. } => Some((at, fields.as_slice())),
            _ => None,
        })
    }

    /// What is given for one resource.
    pub(super) fn fields(&mut self, step: usize, fields: &[String], table: &str, given: &Value) {
        let place = pointer(&["changes", table]);
        let Value::Object(given) = given else {
            return self.error(&place, "it must be an object: field and new value".to_owned());
        };
        if given.is_empty() {
            self.error(&place, "it names no field".to_owned());
        }
        for (name, value) in given {
            if !fields.contains(name) {
                let known = suggest(name, fields.iter().map(String::as_str));
                let detail = format!("it is not under `rectify` of the plan: {known}");
                self.error(&pointer(&["changes", table, name]), detail);
                continue;
            }
            self.resources.entry(step).or_default().insert(name.clone(), value.clone());
        }
    }

    /// A resource that is named by a value which changes: with `cascade`, the field of the same name gets the new one.
    pub(super) fn follow_to_service(
        &mut self,
        step: usize,
        fields: &[String],
        copied: &Copied,
        new: &Value,
        (origin, cascade): (&str, bool),
    ) -> Result<(), Behind> {
        let field = copied.column.as_ref().filter(|name| fields.contains(name));
        let Some(field) = field else {
            let detail = format!(
                "{} is found by it and has no field of that name under `rectify`: correct it by hand",
                copied.step
            );
            self.error(origin, detail);
            return Err(Behind::Told);
        };
        self.followed.insert((step, field.clone()));
        match self.resources.get(&step).and_then(|given| given.get(field)) {
            Some(given) if given == new => Ok(()),
            Some(_) => {
                let detail = format!("it is a copy of what {origin} changes, and must get the same value");
                self.error(&pointer(&["changes", &copied.step, field]), detail);
                Err(Behind::Told)
            }
            None if !cascade => Err(Behind::Left),
            None => {
                self.resources.entry(step).or_default().insert(field.clone(), new.clone());
                Ok(())
            }
        }
    }

    /// A field that a resource is found by follows what it is matched to, and does not change alone.
    pub(super) fn changed_alone(&self) -> Vec<String> {
        let mut alone = Vec::new();
        for (index, given) in &self.resources {
            let Some(step) = self.plan.rectification.get(*index) else { continue };
            let fields = given.keys().filter(|name| {
                is_found_by(&step.rows, name) && !self.followed.contains(&(*index, (*name).clone()))
            });
            alone.extend(fields.map(|name| pointer(&["changes", &step.name, name])));
        }
        alone
    }

    /// The step at a service with its new fields, if it has any.
    pub(super) fn at_service(&self, index: usize) -> Option<Step> {
        let (step, new) = (self.plan.rectification.get(index)?, self.resources.get(&index)?);
        let Action::Http(Resource { lookup, act: ResourceAct::Rectify { call, fields, .. } }) = &step.action
        else {
            return None;
        };
        let act =
            ResourceAct::Rectify { call: call.clone(), fields: fields.clone(), new: NewFields(new.clone()) };
        Some(Step { action: Action::Http(Resource { lookup: lookup.clone(), act }), ..step.clone() })
    }
}
