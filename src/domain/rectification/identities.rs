//! What a person is found by before and after a rectification.

use super::{NewValue, System};
use crate::domain::{
    compile::{
        canonical_text,
        subject::{refs_of_any_plan, subject_refs},
    },
    compiled::{Action, Alternative, CompiledPlan, KeyColumn, Root, Source, Step},
    key::{Key, Tuple},
    vault::Vault,
};

/// Identities, or the places of columns, each with the pseudonym of a value.
type Refs = Vec<(String, String)>;

/// Pseudonyms of the person's row, as any plan may have them, and of what other rows hold of it: the row that another plan
/// finds a person by may be a copy here.
pub struct Identities {
    pub before: Refs,
    pub after: Refs,
    /// Of columns that are corrected along in other tables.
    pub copies_before: Refs,
    pub copies_after: Refs,
}

impl Identities {
    #[must_use]
    pub fn of(plan: &CompiledPlan, vault: &Vault, steps: &[Step], tuple: &Tuple) -> Self {
        let new = plan.root.corrected(tuple, steps);
        let copies = |of: &Tuple| {
            let renamed = steps.iter().flat_map(|step| {
                renamed_columns(plan, steps, step, tuple)
                    .map(move |(column, position)| (step, column, position))
            });
            renamed
                .filter_map(|(step, column, position)| Some((step, column, of.get(position)?.as_ref()?)))
                .flat_map(|(step, column, key)| copy_refs(vault, step, column, key))
                .collect()
        };
        Self {
            before: refs_of_any_plan(plan, vault, tuple),
            after: refs_of_any_plan(plan, vault, &new),
            copies_before: copies(tuple),
            copies_after: copies(&new),
        }
    }

    /// Those that nobody is found by afterwards.
    #[must_use]
    pub fn given_up(&self) -> Refs {
        self.before.iter().filter(|old| !self.after.contains(old)).cloned().collect()
    }

    /// Those that nobody is found by before.
    #[must_use]
    pub fn gained(&self) -> Refs {
        self.after.iter().filter(|new| !self.before.contains(new)).cloned().collect()
    }

    /// True where the person will be found by other identities, or a copy of one by another value.
    #[must_use]
    pub fn are_changed(&self) -> bool {
        self.before != self.after || self.copies_before != self.copies_after
    }
}

/// What a request is known by while it works: of one that changes an identity also by what it gives the person. Whoever
/// names the person by that waits.
#[must_use]
pub fn refs_at_work(plan: &CompiledPlan, vault: &Vault, steps: &[Step], tuple: &Tuple) -> Refs {
    let mut refs = lasting_refs(plan, vault, steps, tuple);
    let identities = Identities::of(plan, vault, steps, tuple);
    if identities.are_changed() {
        refs.extend(identities.after.into_iter().chain(identities.copies_after));
    }
    refs
}

/// What a request is known by. Of one that changes an identity also as other plans have it: whoever works under those
/// must not come in between.
#[must_use]
pub fn lasting_refs(plan: &CompiledPlan, vault: &Vault, steps: &[Step], tuple: &Tuple) -> Refs {
    let identities = Identities::of(plan, vault, steps, tuple);
    match identities.are_changed() {
        true => identities.before.into_iter().chain(identities.copies_before).collect(),
        false => subject_refs(plan, vault, tuple),
    }
}

/// As a plan would have them whose root that table is.
fn copy_refs(vault: &Vault, step: &Step, column: &KeyColumn, key: &Key) -> Refs {
    let table = &step.rows.table;
    let is_sqlite = matches!(&step.action, Action::Rectify(of) if of.system == System::Sqlite);
    let place = [step.connection.as_str(), &table.schema, &table.name, &column.name];
    let key = match key {
        Key::Text(text) => canonical_text(text, column, is_sqlite).map_or_else(|_| key.clone(), Key::Text),
        Key::Bytes(_) => key.clone(),
    };
    let name = format!("{}.{}.{}", step.connection, table.name, column.name);
    let mut refs: Refs = [true, false]
        .map(|ignore_case| (name.clone(), vault.subject_ref(place, &key.compared(ignore_case), &[])))
        .into();
    refs.dedup();
    refs
}

/// Columns that a step changes and by which its rows are matched to the person's, with their positions in the root tuple.
pub fn renamed_columns<'a>(
    plan: &CompiledPlan,
    steps: &[Step],
    step: &'a Step,
    tuple: &Tuple,
) -> impl Iterator<Item = (&'a KeyColumn, usize)> {
    let new = plan.root.corrected(tuple, steps);
    let changed: Vec<usize> =
        (0..tuple.len()).filter(|position| tuple.get(*position) != new.get(*position)).collect();
    let names = match &step.action {
        Action::Rectify(rectification) => rectification.names(),
        _ => Vec::new(),
    };
    step.rows
        .any_of
        .iter()
        .flat_map(Alternative::links)
        .filter_map(|link| match &link.source {
            Source::Root(positions) => Some(link.columns.iter().zip(positions.iter().copied())),
            _ => None,
        })
        .flatten()
        .filter(move |(column, position)| names.contains(&column.name.as_str()) && changed.contains(position))
}

impl Root {
    /// A root tuple with the values that steps of a rectification give the person's row; that of other requests is as it
    /// was.
    #[must_use]
    pub fn corrected(&self, tuple: &Tuple, steps: &[Step]) -> Tuple {
        let mut tuple = tuple.clone();
        let corrections = steps.iter().filter(|step| step.is_root).filter_map(|step| match &step.action {
            Action::Rectify(rectification) => Some(rectification.corrections()),
            _ => None,
        });
        for (correctable, value) in corrections.flatten() {
            let at = self.columns.iter().position(|column| column.name == correctable.column.name);
            if let Some(slot) = at.and_then(|at| tuple.get_mut(at)) {
                *slot = match value {
                    NewValue::Null => None,
                    NewValue::Text(text) | NewValue::Number(text) => Some(Key::Text(text.clone())),
                    NewValue::Bytes(bytes) => Some(Key::Bytes(bytes.clone())),
                };
            }
        }
        tuple
    }
}
