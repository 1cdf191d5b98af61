//! Whether the rest of a request could still be found by a later one, without this one's sealed keys. They are
//! destroyed when it is cancelled, so a request that could not be finished any more must not be cancelled.

use super::{Kind, StepState, StepStatus};
use crate::domain::compiled::{Alternative, CompiledPlan, Rows, Source};

impl CompiledPlan {
    /// True when a step that is not finished finds its rows through something that a begun step has removed or changed:
    /// the root row, or the rows that a key set was read from.
    #[must_use]
    pub fn rest_needs_sealed_keys(&self, kind: Kind, steps: &[StepState]) -> bool {
        match kind {
            Kind::Erasure => self.erasure_needs_sealed_keys(steps),
            // Nothing is changed.
            Kind::Export => false,
            Kind::Rectification => self.rectification_needs_sealed_keys(steps),
        }
    }

    fn erasure_needs_sealed_keys(&self, steps: &[StepState]) -> bool {
        let begun = |index: usize| steps.get(index).is_some_and(|step| step.batches > 0);
        let root_begun = self.erasure.iter().enumerate().any(|(index, step)| step.is_root && begun(index));
        let lost = Lost {
            root: root_begun,
            sets: self.key_sets.iter().map(|set| set.readable_until.is_some_and(begun)).collect(),
        };
        self.erasure.iter().zip(steps).any(|(step, state)| {
            let finished = matches!(state.status, StepStatus::Completed | StepStatus::Withheld);
            let kept = state.kept.as_ref().is_some_and(|kept| kept.next.is_some() || !kept.measured);
            (!finished || kept) && !step.is_root && lost.hits(self, &step.rows)
        })
    }
}

impl CompiledPlan {
    /// True when a step that is not finished finds its rows through a connection in which something was corrected: what
    /// it finds them by may have been.
    fn rectification_needs_sealed_keys(&self, steps: &[StepState]) -> bool {
        let planned = |state: &StepState| self.rectification.iter().find(|step| step.name == state.name);
        let corrected: Vec<&str> = steps
            .iter()
            .filter(|state| state.batches > 0)
            .filter_map(planned)
            .map(|step| step.connection.as_str())
            .collect();
        steps.iter().any(|state| {
            let finished = matches!(state.status, StepStatus::Completed | StepStatus::Withheld);
            !finished && planned(state).is_some_and(|step| self.reads_from(&step.rows, &corrected))
        })
    }

    fn reads_from(&self, rows: &Rows, connections: &[&str]) -> bool {
        rows.any_of.iter().flat_map(Alternative::links).any(|link| match &link.source {
            Source::Root(_) => connections.contains(&self.root.connection.as_str()),
            Source::Live(sources) => sources.iter().any(|source| self.reads_from(source, connections)),
            Source::Keys(set) => self.key_sets.get(*set).is_none_or(|set| {
                connections.contains(&set.connection.as_str()) || self.reads_from(&set.rows, connections)
            }),
            Source::Itself => false,
        })
    }
}

struct Lost {
    root: bool,
    /// By key set.
    sets: Vec<bool>,
}

impl Lost {
    fn hits(&self, plan: &CompiledPlan, rows: &Rows) -> bool {
        rows.any_of.iter().any(|alternative| {
            alternative.links().iter().any(|link| match &link.source {
                Source::Root(_) => self.root,
                Source::Live(sources) => sources.iter().any(|source| self.hits(plan, source)),
                // A set that can be read again still leads back to what it was read through, by earlier sets only.
                Source::Keys(set) => {
                    self.sets.get(*set).copied().unwrap_or(true)
                        || plan.key_sets.get(*set).is_none_or(|set| self.hits(plan, &set.rows))
                }
                Source::Itself => false,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        compiled::{Action, KeySet, Link, Root, Step, TableName},
        plan::About,
    };

    fn rows(table: &str, source: Option<Source>) -> Rows {
        let links = source.map(|source| Link {
            columns: Vec::new(),
            source,
            source_columns: Vec::new(),
            ignore_case: Vec::new(),
        });
        Rows {
            table: TableName { schema: "main".to_owned(), name: table.to_owned() },
            key: Vec::new(),
            any_of: vec![Alternative::Match { links: links.into_iter().collect(), constants: Vec::new() }],
            filter: None,
            except: Vec::new(),
            within: Vec::new(),
        }
    }

    fn step(rows: Rows, is_root: bool) -> Step {
        Step {
            name: rows.table.name.clone(),
            connection: "shop".to_owned(),
            rows,
            action: Action::Delete,
            basis: None,
            is_root,
            cuts: Vec::new(),
            openers: None,
        }
    }

    /// `items` through keys read from `orders`, which go before them; `orders` and `notes` through the root.
    fn plan() -> CompiledPlan {
        let orders = rows("orders", Some(Source::Root(vec![0])));
        CompiledPlan {
            name: "customer".to_owned(),
            version: String::new(),
            root: Root {
                connection: "shop".to_owned(),
                table: TableName { schema: "main".to_owned(), name: "users".to_owned() },
                columns: Vec::new(),
                identities: Vec::new(),
                scope: Vec::new(),
                key: Vec::new(),
                must_be_unshared: Vec::new(),
            },
            key_sets: vec![KeySet {
                connection: "shop".to_owned(),
                rows: orders.clone(),
                columns: Vec::new(),
                readable_until: Some(0),
            }],
            erasure: vec![
                step(orders, false),
                step(rows("items", Some(Source::Keys(0))), false),
                step(rows("users", None), true),
                step(rows("notes", Some(Source::Root(vec![0]))), false),
            ]
            .into(),
            export: [].into(),
            rectification: [].into(),
            about: About::default(),
            connections: vec!["shop".to_owned()],
            manual: Vec::new(),
            code: Vec::new(),
        }
    }

    /// Batches so far, and whether each step is finished.
    fn steps(so_far: [(i32, bool); 4]) -> Vec<StepState> {
        let mut steps = StepState::initial(&plan().erasure);
        for (step, (batches, finished)) in steps.iter_mut().zip(so_far) {
            step.batches = batches;
            step.status = if finished { StepStatus::Completed } else { StepStatus::Pending };
        }
        steps
    }

    #[test]
    fn only_what_a_later_request_could_find_may_be_left_behind() {
        let (not_begun, begun, finished) = ((0, false), (1, false), (1, true));
        for (so_far, needs_keys) in [
            ([not_begun, not_begun, not_begun, not_begun], false),
            // Items are found through orders that are gone in part.
            ([begun, not_begun, not_begun, not_begun], true),
            ([finished, begun, not_begun, not_begun], true),
            ([finished, finished, not_begun, not_begun], false),
            // Notes are found through the person's row.
            ([finished, finished, begun, not_begun], true),
            ([finished, finished, finished, finished], false),
        ] {
            assert_eq!(
                plan().rest_needs_sealed_keys(Kind::Erasure, &steps(so_far)),
                needs_keys,
                "{so_far:?}"
            );
        }
    }
}
