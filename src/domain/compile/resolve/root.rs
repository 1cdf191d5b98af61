//! The table that holds the person.

use super::{
    super::model::{RootIdentity, RootTable, row_key},
    references::Lookup,
};
use crate::domain::{document::Reader, plan::IdentityDef, schema::Family};

pub(super) fn resolve<'a>(lookup: &Lookup<'a, '_>, faults: &mut Reader) -> Option<RootTable<'a>> {
    let mut identities = Vec::new();
    let mut scope = Vec::new();
    let mut root = None;
    let mut sound = true;
    let defs = lookup.plan.identities.iter().map(|def| (def, false));
    for (def, is_scope) in defs.chain(lookup.plan.scope.iter().map(|def| (def, true))) {
        let found = lookup.column(None, &def.column.value, def.column.line, faults);
        let Some((table, column)) = found else {
            sound = false;
            continue;
        };
        if *root.get_or_insert(table) != table {
            let shown = root.map_or("", |root| lookup.tables[root].shown.as_str());
            let problem = format!(
                "identity `{}` is a column of `{}`, the first one of `{shown}`",
                def.name, lookup.tables[table].shown
            );
            faults.error(
                def.column.line,
                problem,
                "all identities are columns of one table, the one that holds the person",
            );
            sound = false;
        }
        sound &= check_column(def, column.family, faults);
        let identity = RootIdentity { name: &def.name, column, ignore_case: def.ignore_case };
        if is_scope { scope.push(identity) } else { identities.push(identity) }
    }
    let table = root?;
    let key = row_key(lookup.tables[table].table);
    if key.is_empty() {
        let line = lookup.plan.identities.first().map_or(1, |def| def.column.line);
        let problem = format!(
            "`{}` has no primary key, and no unique key of NOT NULL columns",
            lookup.tables[table].shown
        );
        faults.error(
            line,
            problem,
            "a person's row must be told from every other: add a primary key to the table",
        );
        sound = false;
    }
    sound.then_some(RootTable { table, identities, scope, key })
}

fn check_column(def: &IdentityDef, family: Family, faults: &mut Reader) -> bool {
    let unfit = matches!(family, Family::Json | Family::Array | Family::Binary | Family::Boolean);
    if unfit {
        let problem = format!("identity `{}` is a column of a type that no text or number names", def.name);
        faults.error(def.column.line, problem, "choose a column of numbers, text or UUIDs");
    }
    let caseless =
        def.ignore_case && !matches!(family, Family::Text | Family::Any | Family::Enum | Family::Other);
    if caseless {
        let problem = format!("`ignore_case` on identity `{}`, which is not text", def.name);
        faults.error(def.column.line, problem, "leave `ignore_case` out");
    }
    !unfit && !caseless
}
