//! A request's changes against a compiled plan: the steps that carry them out, or every reason why not.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_json::{Map, Value};

use super::{
    Changes, Copied, Correctable, Fixed, NewValue, Rectification,
    narrow::{cuts, is_found_by, narrowed},
    values::new_value,
};
use crate::domain::{
    compile::SubjectError,
    compiled::{Action, Alternative, CompiledPlan, Source, Step},
    document::suggest,
};

/// Why changes are refused; every reason at once.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid_changes")]
pub struct ChangesFault {
    pub errors: Vec<SubjectError>,
}

/// The steps of a request with these changes, in the order of execution: those of the plan, narrowed to what changes,
/// with the new values.
///
/// # Errors
/// For a table or column that the plan does not let be corrected, a value that the column cannot hold, and a value
/// that other rows are matched by and that is not carried along.
pub fn bind(plan: &CompiledPlan, changes: &Changes) -> Result<Arc<[Step]>, ChangesFault> {
    let mut binder = Binder {
        plan,
        given: BTreeMap::new(),
        carried: BTreeMap::new(),
        resources: BTreeMap::new(),
        followed: BTreeSet::new(),
        errors: Vec::new(),
    };
    if changes.0.is_empty() {
        binder.error("/changes", "it names no table".to_owned());
    }
    for (table, columns) in &changes.0 {
        binder.table(table, columns);
    }
    binder.carry();
    binder.check_matched();
    let steps = binder.steps();
    match binder.errors.is_empty() {
        true => Ok(steps.into()),
        false => Err(ChangesFault { errors: binder.errors }),
    }
}

/// Positions of a step in the plan and of a column in that step.
type Place = (usize, usize);

struct Given<'c> {
    json: &'c Value,
    pointer: String,
    value: NewValue,
}

/// How a copied value came to a column.
#[derive(Clone)]
struct Carried {
    value: NewValue,
    /// The alternatives of the entry's selection that match by it.
    alternatives: Vec<usize>,
    /// Of the change that it follows.
    pointer: String,
}

pub(super) struct Binder<'c> {
    pub(super) plan: &'c CompiledPlan,
    given: BTreeMap<Place, Given<'c>>,
    carried: BTreeMap<Place, Carried>,
    /// New fields at HTTP services, by the step's position; see [`resources`](super::resources).
    pub(super) resources: BTreeMap<usize, Map<String, Value>>,
    /// Fields at services that hold a copy of a value which changes: position of the step, and name.
    pub(super) followed: BTreeSet<(usize, String)>,
    errors: Vec<SubjectError>,
}

impl<'c> Binder<'c> {
    pub(super) fn error(&mut self, pointer: &str, detail: String) {
        self.errors.push(SubjectError { pointer: pointer.to_owned(), detail });
    }

    fn rectification(&self, step: usize) -> Option<&'c Rectification> {
        match &self.plan.rectification.get(step)?.action {
            Action::Rectify(rectification) => Some(rectification),
            _ => None,
        }
    }

    fn column(&self, (step, column): Place) -> Option<&'c Correctable> {
        self.rectification(step)?.columns.get(column)
    }

    fn step_named(&self, name: &str) -> Option<usize> {
        self.plan.rectification.iter().position(|step| step.name == name)
    }

    /// What is given for one table.
    fn table(&mut self, table: &str, columns: &'c Value) {
        let place = pointer(&["changes", table]);
        if let Some((step, fields)) = self.resource_named(table) {
            return self.fields(step, fields, table, columns);
        }
        let step = self.step_named(table).and_then(|step| Some((step, self.rectification(step)?)));
        let known = step.filter(|(_, known)| known.columns.iter().any(|column| column.listed));
        let Some((step, rectification)) = known else {
            let offered = self
                .plan
                .rectification
                .iter()
                .filter(|step| lists_columns(step) || step.resource().is_some());
            let detail = format!(
                "plan `{}` lets nothing of it be corrected: {}",
                self.plan.name,
                suggest(table, offered.map(|step| step.name.as_str()))
            );
            return self.error(&place, detail);
        };
        let Value::Object(columns) = columns else {
            return self.error(&place, "it must be an object: column and new value".to_owned());
        };
        if columns.is_empty() {
            self.error(&place, "it names no column".to_owned());
        }
        for (name, json) in columns {
            let pointer = pointer(&["changes", table, name]);
            match given(rectification, name, json) {
                Ok((column, value)) => {
                    self.given.insert((step, column), Given { json, pointer, value });
                }
                Err(detail) => self.error(&pointer, detail),
            }
        }
    }

    /// Follows each change to the columns that other rows are matched by.
    fn carry(&mut self) {
        let places: Vec<Place> = self.given.keys().copied().collect();
        for origin in places {
            let Some(Given { json, pointer, .. }) = self.given.get(&origin) else { continue };
            let (json, pointer) = (*json, pointer.clone());
            let cascade = self.rectification(origin.0).is_some_and(|origin| origin.cascade);
            let mut left_behind = BTreeSet::new();
            let mut seen = BTreeSet::from([origin]);
            let mut open = vec![origin];
            while let Some(place) = open.pop() {
                for copied in self.column(place).map(|column| column.copies.as_slice()).unwrap_or_default() {
                    match self.follow(place, copied, json, &pointer, cascade) {
                        Ok(Some(next)) if seen.insert(next) => open.push(next),
                        Ok(_) => {}
                        Err(Behind::Told) => {}
                        Err(Behind::Left) => {
                            left_behind.insert(copied.step.clone());
                        }
                    }
                }
            }
            if !left_behind.is_empty() {
                let tables: Vec<String> = left_behind.into_iter().collect();
                let detail = format!(
                    "the plan matches rows of {} by it, which would be lost: correct the same value there in this \
                     request, or write `cascade: true` beside `rectify` of this table in the plan",
                    tables.join(", ")
                );
                self.error(&pointer, detail);
            }
        }
    }

    /// One copy of a changed value; where it lies, if it goes along.
    fn follow(
        &mut self,
        from: Place,
        copied: &Copied,
        json: &Value,
        pointer: &str,
        cascade: bool,
    ) -> Result<Option<Place>, Behind> {
        if self.given_or_carried(from).is_none_or(|value| value.is_empty()) {
            let detail = format!("the plan matches rows of {} by it, so it must hold something", copied.step);
            self.error(pointer, detail);
            return Err(Behind::Told);
        }
        if let Some((step, fields)) = self.resource_named(&copied.step) {
            return self.follow_to_service(step, fields, copied, json, (pointer, cascade)).map(|()| None);
        }
        let target = copied.column.as_ref().and_then(|name| {
            let step = self.step_named(&copied.step)?;
            let columns = &self.rectification(step)?.columns;
            Some((step, columns.iter().position(|column| column.column.name == *name)?))
        });
        let Some(target) = target.filter(|target| target.0 != from.0) else {
            let detail = format!(
                "the plan matches rows of {} by it in a way in which it cannot be carried along: correct it by hand",
                copied.step
            );
            self.error(pointer, detail);
            return Err(Behind::Told);
        };
        let (Some(column), Some(system)) =
            (self.column(target), self.rectification(target.0).map(|target| target.system))
        else {
            return Err(Behind::Left);
        };
        let name = &column.column.name;
        if let Some(fixed) = &column.fixed {
            self.error(pointer, format!("it is copied to `{name}` of {}, {}", copied.step, because(fixed)));
            return Err(Behind::Told);
        }
        let value = match new_value(json, column, system) {
            Ok(value) => value,
            Err(reason) => {
                let detail = format!("it is copied to `{name}` of {}, and there {reason}", copied.step);
                self.error(pointer, detail);
                return Err(Behind::Told);
            }
        };
        let other = self.given.get(&target).map(|given| (given.value == value, given.pointer.clone()));
        let other = other
            .or_else(|| self.carried.get(&target).map(|known| (known.value == value, known.pointer.clone())));
        match other {
            Some((false, place)) => {
                let detail = format!("it is a copy of what {pointer} changes, and must get the same value");
                self.error(&place, detail);
                return Err(Behind::Told);
            }
            None if !cascade => return Err(Behind::Left),
            _ => {}
        }
        let alternatives = self.alternatives(from, target);
        self.carried.insert(target, Carried { value, alternatives, pointer: pointer.to_owned() });
        Ok(Some(target))
    }

    fn given_or_carried(&self, place: Place) -> Option<&NewValue> {
        let given = self.given.get(&place).map(|given| &given.value);
        given.or_else(|| self.carried.get(&place).map(|carried| &carried.value))
    }

    /// The alternatives of the target's selection that match it to the column at `from`.
    fn alternatives(&self, from: Place, target: Place) -> Vec<usize> {
        let steps = &self.plan.rectification;
        let (Some(source), Some(step)) = (steps.get(from.0), steps.get(target.0)) else { return Vec::new() };
        let (Some(theirs), Some(own)) = (self.column(from), self.column(target)) else { return Vec::new() };
        let names = |alternative: &Alternative| {
            alternative.links().iter().any(|link| {
                matches!(link.source, Source::Root(_)) == source.is_root
                    && link.columns.iter().zip(&link.source_columns).any(|(column, origin)| {
                        column.name == own.column.name && origin.name == theirs.column.name
                    })
            })
        };
        let known = self.carried.get(&target).map(|known| known.alternatives.clone()).unwrap_or_default();
        let all = step.rows.any_of.iter().enumerate();
        all.filter(|(index, alternative)| names(alternative) || known.contains(index))
            .map(|(index, _)| index)
            .collect()
    }

    /// A column that a row is found by follows what it is matched to, and does not change alone.
    fn check_matched(&mut self) {
        let mut alone = self.changed_alone();
        for (place, given) in &self.given {
            let (Some(step), Some(column)) = (self.plan.rectification.get(place.0), self.column(*place))
            else {
                continue;
            };
            if !self.carried.contains_key(place) && is_found_by(&step.rows, &column.column.name) {
                alone.push(given.pointer.clone());
            }
        }
        for pointer in alone {
            let detail = "its rows are found by it: correct the column that the plan matches it to";
            self.error(&pointer, detail.to_owned());
        }
    }

    fn steps(&mut self) -> Vec<Step> {
        let mut steps: Vec<Step> = Vec::new();
        for (index, planned) in self.plan.rectification.iter().enumerate() {
            steps.extend(self.at_service(index));
            let Some(rectification) = self.rectification(index) else { continue };
            let everywhere: Vec<usize> = (0..planned.rows.any_of.len()).collect();
            // What changes in all rows of the entry goes first: a row whose matched column changes is found no more.
            let mut groups: Vec<(Vec<usize>, Vec<Correctable>)> = Vec::new();
            for (at, column) in rectification.columns.iter().enumerate() {
                let place = (index, at);
                let Some(value) = self.given_or_carried(place).cloned() else { continue };
                let alternatives = self.carried.get(&place).map(|carried| carried.alternatives.clone());
                let alternatives = alternatives.unwrap_or_else(|| everywhere.clone());
                let bound = Correctable { value: Some(value), ..column.clone() };
                match groups.iter_mut().find(|(known, _)| *known == alternatives) {
                    Some((_, columns)) => columns.push(bound),
                    None => groups.push((alternatives, vec![bound])),
                }
            }
            groups.sort_by_key(|(alternatives, _)| *alternatives != everywhere);
            self.check_groups(index, &groups, &everywhere);
            for (alternatives, columns) in groups {
                steps.push(narrowed(planned, rectification, &alternatives, columns));
            }
        }
        for at in 0..steps.len() {
            let (earlier, rest) = steps.split_at_mut(at);
            if let [step, ..] = rest {
                step.cuts = (0..at).filter(|other| cuts(step, &earlier[*other])).collect();
            }
        }
        steps
    }

    /// A row that two groups find by one column is lost to the second when the first has changed it.
    fn check_groups(&mut self, step: usize, groups: &[(Vec<usize>, Vec<Correctable>)], everywhere: &[usize]) {
        let narrow: Vec<&Vec<usize>> = groups
            .iter()
            .map(|(alternatives, _)| alternatives)
            .filter(|known| **known != everywhere)
            .collect();
        let overlap = narrow.iter().enumerate().any(|(at, one)| {
            narrow.iter().skip(at + 1).any(|other| one.iter().any(|index| other.contains(index)))
        });
        let changes_what_finds = groups.iter().any(|(alternatives, _)| alternatives == everywhere)
            && !narrow.is_empty()
            && groups.iter().filter(|(alternatives, _)| alternatives == everywhere).any(|(_, columns)| {
                let rows = self.plan.rectification.get(step).map(|step| &step.rows);
                rows.is_some_and(|rows| columns.iter().any(|column| is_found_by(rows, &column.column.name)))
            });
        if overlap || changes_what_finds {
            let name = self.plan.rectification.get(step).map(|step| step.name.clone()).unwrap_or_default();
            let detail = format!(
                "rows of {name} are matched by several of these columns in different ways: correct them one by one"
            );
            self.error("/changes", detail);
        }
    }
}

/// Why a copy does not go along.
pub(super) enum Behind {
    /// Nobody said that it should.
    Left,
    /// The reason is told already.
    Told,
}

fn given(rectification: &Rectification, name: &str, json: &Value) -> Result<(usize, NewValue), String> {
    let listed = || rectification.columns.iter().filter(|column| column.listed);
    let found = rectification.columns.iter().position(|column| column.listed && column.column.name == name);
    let Some((at, column)) = found.and_then(|at| Some((at, rectification.columns.get(at)?))) else {
        let known = listed().map(|column| column.column.name.as_str());
        return Err(format!("it is not under `rectify` of the plan: {}", suggest(name, known)));
    };
    if let Some(fixed) = &column.fixed {
        return Err(format!("it cannot be corrected: {}", because(fixed)));
    }
    Ok((at, new_value(json, column, rectification.system)?))
}

fn because(fixed: &Fixed) -> String {
    match fixed {
        Fixed::Key => "it is the key of the person's own row".to_owned(),
        Fixed::Referenced(table) => format!("a foreign key of `{table}` points at it"),
    }
}

fn lists_columns(step: &Step) -> bool {
    matches!(&step.action, Action::Rectify(found) if found.columns.iter().any(|column| column.listed))
}

/// A JSON pointer (RFC 6901).
pub(super) fn pointer(parts: &[&str]) -> String {
    parts.iter().map(|part| format!("/{}", part.replace('~', "~0").replace('/', "~1"))).collect()
}
