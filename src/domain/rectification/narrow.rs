//! Steps of a plan, narrowed to what a request changes, and which of them cut the path to the rows of others.

use super::{Correctable, Rectification};
use crate::domain::compiled::{Action, Alternative, Rows, Source, Step};

/// True where rows are matched by that column.
pub(super) fn is_found_by(rows: &Rows, column: &str) -> bool {
    rows.any_of.iter().any(|alternative| {
        let constants = match alternative {
            Alternative::Match { constants, .. } => constants.as_slice(),
            Alternative::Sql { .. } | Alternative::Age(_) => &[],
        };
        let own = alternative.links().iter().flat_map(|link| &link.columns);
        own.chain(constants.iter().map(|constant| &constant.column)).any(|own| own.name == column)
    })
}

/// The step with some of its alternatives, and the columns that change in their rows.
pub(super) fn narrowed(
    planned: &Step,
    rectification: &Rectification,
    alternatives: &[usize],
    columns: Vec<Correctable>,
) -> Step {
    let any_of = alternatives.iter().filter_map(|index| planned.rows.any_of.get(*index).cloned()).collect();
    Step {
        rows: Rows { any_of, ..planned.rows.clone() },
        action: Action::Rectify(Rectification { columns, ..rectification.clone() }),
        ..planned.clone()
    }
}

/// True where rows of `earlier` may be found through what `step` changes.
pub(super) fn cuts(step: &Step, earlier: &Step) -> bool {
    step.connection == earlier.connection && reads(&earlier.rows, &step.rows)
}

fn reads(rows: &Rows, changed: &Rows) -> bool {
    let through = |alternative: &Alternative| {
        alternative.links().iter().any(|link| match &link.source {
            Source::Live(live) => live.iter().any(|rows| reads(rows, changed)),
            Source::Root(_) | Source::Keys(_) | Source::Itself => false,
        })
    };
    rows.table == changed.table
        || rows.any_of.iter().any(through)
        || rows.except.iter().chain(&rows.within).any(|rows| reads(rows, changed))
}
