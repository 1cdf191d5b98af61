//! Rows that are kept for a time: from which column on it is counted, and what would hold them back when it is over.

use super::{
    model::{EntryId, Model, TableId, key_column, row_key, table_name},
    resolve::dotted,
};
use crate::domain::{
    compiled::{CompiledPlan, KeepUntil, Step, TimeKind},
    document::{At, Reader, suggest},
    plan::{Erase, Until},
    schema::Column,
};

/// What the plan says of an entry's time.
fn written<'a>(model: &Model<'a>, id: EntryId) -> Option<&'a At<Until>> {
    match &model.entries[id].entry.erase.value {
        Erase::Keep(keep) => keep.until.as_ref(),
        _ => None,
    }
}

/// The table and the column that the time of an entry's rows is counted from.
pub(super) fn counted_from<'a>(model: &Model<'a>, id: EntryId) -> Option<(TableId, &'a Column)> {
    let until = written(model, id)?;
    let own = model.table_of(id);
    let (column, place) = until.value.column.parts.split_last()?;
    let table = match place {
        [] => model.entries[id].table,
        [table] => model.tables.iter().position(|known| {
            known.connection == own.connection
                && known.table.name == *table
                && (known.table.schema == own.table.schema || !is_ambiguous(model, own.connection, table))
        })?,
        [schema, table] => model.find(own.connection, schema, table)?,
        _ => return None,
    };
    Some((table, model.tables[table].table.column(column)?))
}

fn is_ambiguous(model: &Model<'_>, connection: &str, table: &str) -> bool {
    let same =
        |known: &&super::model::PlanTable<'_>| known.connection == connection && known.table.name == table;
    model.tables.iter().filter(same).count() > 1
}

/// How long the rows of an entry are kept; `None`: for ever.
pub(super) fn until(model: &Model<'_>, id: EntryId) -> Option<KeepUntil> {
    let (table, column) = counted_from(model, id)?;
    let place = model.tables[table].table;
    Some(KeepUntil {
        period: written(model, id)?.value.period,
        table: table_name(place),
        column: key_column(column),
        time: TimeKind::of(place, column)?,
    })
}

/// The rows of `child` are kept exactly as long as those of `parent` that they hang on.
pub(super) fn follows(model: &Model<'_>, child: EntryId, parent: EntryId) -> bool {
    child != parent && until(model, child).is_some_and(|child| until(model, parent) == Some(child))
}

pub(super) fn check(model: &Model<'_>, faults: &mut Reader) {
    for id in 0..model.entries.len() {
        if let Some(until) = written(model, id) {
            check_one(model, id, until, faults);
        }
    }
}

fn check_one(model: &Model<'_>, id: EntryId, until: &At<Until>, faults: &mut Reader) {
    let entry = &model.entries[id];
    let what = format!("`until` of `{}`", entry.name);
    if model.is_resource(entry) {
        faults.error(until.line, format!("{what}: an HTTP service has no rows"), "leave it out");
        return;
    }
    let column = &until.value.column;
    let Some((table, found)) = counted_from(model, id) else {
        let own = model.table_of(id).table;
        let known = own.columns.iter().map(|column| column.name.as_str());
        let remedy = match column.parts.as_slice() {
            [name] => suggest(name, known),
            _ => "write a column of this table, or table.column of a table of this plan and connection"
                .to_owned(),
        };
        faults.error(until.line, format!("{what}: there is no column `{column}`"), remedy);
        return;
    };
    let place = &model.tables[table];
    if TimeKind::of(place.table, found).is_none() {
        let problem = format!("{what}: `{column}` is of type {}, which is no time", found.type_name);
        faults.error(until.line, problem, "name a column of dates or timestamps");
    }
    if found.nullable && !until.value.nulls_stay {
        let problem = format!("{what}: `{column}` may be NULL, and such a row would be kept for ever");
        faults.error(
            until.line,
            problem,
            "write nulls: keep beside it if that is meant, or name another column",
        );
    }
    if row_key(model.table_of(id).table).is_empty() {
        let problem =
            format!("{what}: its table has no primary key, so that nobody could tell which rows were kept");
        faults.error(until.line, problem, "add a primary key, or leave `until` out");
    }
    if table != entry.table && !place.entries.iter().any(|&other| follows(model, id, other)) {
        let problem = format!("{what}: `{}` is not kept until then itself", place.shown);
        let name = dotted(&[&found.name]);
        let remedy =
            format!("give `{}` an entry with until: \"{name} + {}\"", place.table.name, until.value.period);
        faults.error(until.line, problem, remedy);
    }
}

/// Rows whose time is that of another table are found through its live rows alone.
pub(super) fn check_ways(model: &Model<'_>, plan: &CompiledPlan, faults: &mut Reader) {
    for (index, step) in plan.erasure.iter().enumerate() {
        let Some(until) = step.until() else { continue };
        let entry = model.entries.iter().find(|entry| entry.name == step.name);
        let line = entry.map_or(0, |entry| entry.entry.erase.line);
        if let Some(cutter) = plan.erasure.iter().find(|other| other.cuts.contains(&index)) {
            let problem = format!(
                "`{}` is found through `{}`, which the erasure takes away or changes: nobody would find it when its keep is over",
                step.name, cutter.name
            );
            faults.error(line, problem, "match it by a column of the person's row, or keep both as long");
        }
        let parents = step.rows.live_tables();
        let is_cut = |other: &&Step| {
            let is_read = step.connection == other.connection && parents.contains(&&other.rows.table);
            is_read && other.until().is_some_and(|other| other != until)
        };
        if step.rows.reads_itself() || plan.erasure.iter().any(|other| is_cut(&other)) {
            let problem = format!(
                "`{}` is found through rows that are kept for another time: when they are gone nobody would find it",
                step.name
            );
            faults.error(
                line,
                problem,
                "match it by a column of the person's row, or keep all of them as long",
            );
        }
        if step.rows.distance_to(&until.table).is_some() {
            continue;
        }
        let problem = format!(
            "`until` of `{}`: not every way to its rows leads through `{}`, so that nobody knows when they are over",
            step.name, until.table.name
        );
        faults.error(line, problem, "match them through that table alone, or name a column of their own");
    }
}
