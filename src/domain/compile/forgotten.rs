//! Tables that lead to the person by foreign keys and that the plan does not name.

use super::model::Model;
use crate::domain::{
    document::Reader,
    schema::{ForeignKey, Table, TableKind},
};

/// Only a warning: whether they hold personal data is the controller's to know. Where a foreign key of theirs would
/// hold a deletion back, the plan is refused already.
pub(super) fn warn(model: &Model<'_>, faults: &mut Reader) {
    let root = &model.tables[model.root.table];
    let Some(catalog) = model.catalogs.get(root.connection) else { return };
    let mut reached: Vec<&Table> = vec![root.table];
    let mut at = 0;
    while at < reached.len() {
        let parent = reached[at];
        at += 1;
        for child in catalog.tables.iter().filter(|table| table.kind != TableKind::Partition) {
            let points =
                |key: &&ForeignKey| key.parent_schema == parent.schema && key.parent_table == parent.name;
            let Some(key) = child.foreign_keys.iter().find(points) else { continue };
            if reached.iter().any(|known| std::ptr::eq(*known, child)) {
                continue;
            }
            reached.push(child);
            if model.find(root.connection, &child.schema, &child.name).is_none() {
                report(model, root.connection, parent, child, key, faults);
            }
        }
    }
}

fn report(
    model: &Model<'_>,
    connection: &str,
    parent: &Table,
    child: &Table,
    key: &ForeignKey,
    faults: &mut Reader,
) {
    let line = model
        .find(connection, &parent.schema, &parent.name)
        .and_then(|table| model.tables[table].entries.first())
        .map_or(model.plan.name.line, |&id| model.entries[id].entry.line);
    let problem = format!(
        "`{connection}.{}` leads to `{}` by its foreign key ({}) and is not in this plan",
        child.name,
        parent.name,
        key.columns.join(", ")
    );
    faults.warning(line, problem, "add it; `erase: { none: reason }` says that it holds no personal data");
}
