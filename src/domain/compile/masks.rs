//! Masks: what a column can take, and how a masked row is told from one that is not masked yet.

use super::model::{Alt, EntryId, Model, Resolved, key_column, row_key};
use crate::domain::{
    compiled::{Assignment, Mask, MaskProgress, Strategy},
    document::{At, Reader, suggest},
    plan::{Erase, MaskStrategy},
    schema::{Column, Family, Table},
};

/// Hex digits of SHA-256.
const DIGEST_LENGTH: u32 = 64;
/// Shorter random texts collide under a unique key before long (36^8 is 2.8 × 10^12).
const UNIQUE_RANDOM: u32 = 8;

type MaskColumns = [(At<String>, At<MaskStrategy>)];

pub(super) fn check(model: &Model<'_>, faults: &mut Reader) {
    for (id, entry) in model.entries.iter().enumerate() {
        let Erase::Mask { columns, .. } = entry.erase() else { continue };
        let table = model.tables[entry.table].table;
        for (name, strategy) in columns {
            let Some(column) = table.column(&name.value) else {
                let known = table.columns.iter().map(|known| known.name.as_str());
                let problem = format!("mask of `{}`: there is no column `{}`", entry.name, name.value);
                faults.error(name.line, problem, suggest(&name.value, known));
                continue;
            };
            if let Some((problem, remedy)) = unfit(table, column, &strategy.value, columns) {
                faults.error(name.line, format!("mask of `{}`: {problem}", entry.name), remedy);
            }
            warn_of_hash(model, entry, column, strategy, faults);
        }
        if entry.overwritten().is_empty() {
            let problem = format!("mask of `{}` preserves every column: it changes nothing", entry.name);
            faults.error(entry.entry.erase.line, problem, "say what is masked, or { keep: reason }");
        }
        if let Some(sql) = mixed(columns) {
            let problem = format!(
                "mask of `{}`: {{ sql, done }} of `{}` stands beside hash, hmac or random_string_rewrite",
                entry.name, sql.value
            );
            // A second entry would not help: a row that fits several is taken by the first.
            let remedy = "write { sql: …, done: … } for those columns too, or for none of the entry";
            faults.error(sql.line, problem, remedy);
        }
        check_progress(model, id, faults);
    }
}

/// A column that SQL masks beside others whose values are computed by the service: one UPDATE sets all columns of a row,
/// and the value of that one is known to the database only.
fn mixed(columns: &MaskColumns) -> Option<&At<String>> {
    let computed =
        |strategy: &MaskStrategy| compiled(strategy).is_some_and(|strategy| strategy.is_computed());
    columns.iter().any(|(_, strategy)| computed(&strategy.value)).then_some(())?;
    columns
        .iter()
        .find(|(_, strategy)| matches!(strategy.value, MaskStrategy::Sql { .. }))
        .map(|(name, _)| name)
}

/// Why that strategy cannot be applied to that column, and what to do.
fn unfit(
    table: &Table,
    column: &Column,
    strategy: &MaskStrategy,
    all: &MaskColumns,
) -> Option<(String, String)> {
    let name = &column.name;
    if *strategy == MaskStrategy::Preserve {
        return None;
    }
    if column.generated {
        return Some((
            format!("`{name}` is generated and cannot be written"),
            "mask the columns that it is computed from".to_owned(),
        ));
    }
    if *strategy == MaskStrategy::NullRewrite {
        if !column.nullable || table.primary_key.contains(name) {
            let remedy = "use string_rewrite, hmac or preserve, or make the column nullable";
            return Some((format!("`{name}` is NOT NULL and cannot take null_rewrite"), remedy.to_owned()));
        }
        return None;
    }
    if table.foreign_keys.iter().any(|key| key.columns.contains(name)) {
        let problem = format!("`{name}` is part of a foreign key: any text in it would point nowhere");
        return Some((problem, "use null_rewrite or preserve".to_owned()));
    }
    let (word, length) = match strategy {
        MaskStrategy::StringRewrite(text) => {
            ("string_rewrite", u32::try_from(text.chars().count()).unwrap_or(u32::MAX))
        }
        MaskStrategy::RandomStringRewrite { length } => ("random_string_rewrite", *length),
        MaskStrategy::Hash => ("hash", DIGEST_LENGTH),
        MaskStrategy::Hmac => ("hmac", DIGEST_LENGTH),
        // Trusted SQL is prepared against the live schema instead.
        MaskStrategy::Sql { .. } | MaskStrategy::Preserve | MaskStrategy::NullRewrite => return None,
    };
    if !matches!(column.family, Family::Text | Family::Any) {
        let problem =
            format!("`{name}` is of type {}, which cannot take the text of {word}", column.type_name);
        return Some((problem, "use null_rewrite, or { sql: …, done: … }".to_owned()));
    }
    if column.max_length.is_some_and(|max| length > max) {
        let problem =
            format!("{word} writes {length} characters into `{name}`, which is {}", column.type_name);
        return Some((problem, "use a shorter text, or null_rewrite".to_owned()));
    }
    unfit_unique(table, name, strategy, all)
}

fn unfit_unique(
    table: &Table,
    name: &str,
    strategy: &MaskStrategy,
    all: &MaskColumns,
) -> Option<(String, String)> {
    let too_alike = match strategy {
        MaskStrategy::StringRewrite(_) => true,
        MaskStrategy::RandomStringRewrite { length } => *length < UNIQUE_RANDOM,
        _ => false,
    };
    let collides =
        |key: &&Vec<String>| key.iter().any(|column| column == name) && !stays_unique(table, key, name, all);
    let key = table.unique_keys.iter().find(collides).filter(|_| too_alike)?;
    let problem = format!("`{name}` is unique ({}): masked rows would collide", key.join(", "));
    Some((problem, "use hmac, random_string_rewrite with a length of 8 or more, or null_rewrite".to_owned()))
}

/// A unique key with a constant in one column still holds where another of its columns becomes NULL or where the
/// rest is unique by itself.
fn stays_unique(table: &Table, key: &[String], name: &str, all: &MaskColumns) -> bool {
    let rest: Vec<String> = key.iter().filter(|column| *column != name).cloned().collect();
    let strategy_of = |column: &String| {
        all.iter().find(|(known, _)| known.value == *column).map(|(_, strategy)| &strategy.value)
    };
    let nulled = rest.iter().any(|column| strategy_of(column) == Some(&MaskStrategy::NullRewrite));
    let untouched =
        rest.iter().all(|column| matches!(strategy_of(column), None | Some(MaskStrategy::Preserve)));
    nulled || (untouched && table.is_unique(&rest))
}

/// An unkeyed hash of an e-mail address is found by trying addresses.
fn warn_of_hash(
    model: &Model<'_>,
    entry: &Resolved<'_>,
    column: &Column,
    strategy: &At<MaskStrategy>,
    faults: &mut Reader,
) {
    if strategy.value != MaskStrategy::Hash {
        return;
    }
    let is_identity = |name: &str| model.root.identities.iter().any(|identity| identity.column.name == name);
    let own = entry.table == model.root.table && is_identity(&column.name);
    let linked = entry.alternatives.iter().flat_map(|alt| &alt.links).any(|link| {
        link.target == model.root.table
            && link
                .own
                .iter()
                .zip(&link.theirs)
                .any(|(own, theirs)| own.name == column.name && is_identity(&theirs.name))
    });
    if own || linked {
        let problem =
            format!("mask of `{}`: `hash` of `{}`, an identity, can be guessed", entry.name, column.name);
        faults.warning(strategy.line, problem, "use hmac, which is keyed");
    }
}

fn check_progress(model: &Model<'_>, id: EntryId, faults: &mut Reader) {
    let entry = &model.entries[id];
    let table = model.tables[entry.table].table;
    let progress = progress(model, id);
    let overwritten = entry.overwritten();
    if progress == MaskProgress::Recorded {
        let key = row_key(table);
        if key.is_empty() {
            let problem = format!(
                "mask of `{}` computes values on rows that go on matching, and the table has no primary key",
                entry.name
            );
            faults.error(
                entry.entry.erase.line,
                problem,
                "add a primary key, or mask the column that the rows are matched by too",
            );
        }
        if let Some(column) = key.iter().find(|column| overwritten.contains(&column.name.as_str())) {
            let problem = format!(
                "mask of `{}` overwrites `{}`, by which its rows are told apart",
                entry.name, column.name
            );
            faults.error(entry.entry.erase.line, problem, "preserve the primary key");
        }
    }
    let reads_itself = model.links(id).any(|(_, link)| link.target == entry.table && !entry.is_root);
    let finds_by = entry.alternatives.iter().flat_map(|alt| &alt.links).any(|link| {
        link.own.iter().any(|column| overwritten.contains(&column.name.as_str()))
            || (link.target == entry.table
                && link.theirs.iter().any(|column| overwritten.contains(&column.name.as_str())))
    });
    if reads_itself && finds_by && progress != MaskProgress::LeavesMatch {
        let problem =
            format!("mask of `{}` overwrites a column through which its other rows are found", entry.name);
        faults.error(
            entry.entry.erase.line,
            problem,
            "null_rewrite every column that its `match` names, or none of them",
        );
    }
}

/// The compiled mask of an entry.
pub(super) fn mask(model: &Model<'_>, id: EntryId, columns: &MaskColumns) -> Mask {
    let table = model.table_of(id).table;
    let assignments = columns
        .iter()
        .filter_map(|(name, strategy)| {
            let column = key_column(table.column(&name.value)?);
            compiled(&strategy.value).map(|strategy| Assignment { column, strategy })
        })
        .collect();
    Mask { assignments, progress: progress(model, id) }
}

fn compiled(strategy: &MaskStrategy) -> Option<Strategy> {
    Some(match strategy {
        MaskStrategy::Preserve => return None,
        MaskStrategy::NullRewrite => Strategy::NullRewrite,
        MaskStrategy::StringRewrite(text) => Strategy::StringRewrite(text.clone()),
        MaskStrategy::RandomStringRewrite { length } => Strategy::RandomStringRewrite { length: *length },
        MaskStrategy::Hash => Strategy::Hash,
        MaskStrategy::Hmac => Strategy::Hmac,
        MaskStrategy::Sql { value, done } => Strategy::Sql { value: value.clone(), done: done.clone() },
    })
}

fn progress(model: &Model<'_>, id: EntryId) -> MaskProgress {
    let entry = &model.entries[id];
    let Erase::Mask { columns, .. } = entry.erase() else { return MaskProgress::Predicate };
    let strategies =
        || columns.iter().filter_map(|(name, strategy)| Some((&name.value, compiled(&strategy.value)?)));
    // A constant could equal the key that the row was found by, NULL and computed values cannot.
    let surely = |column: &str| {
        strategies().any(|(name, strategy)| {
            *name == column && (strategy == Strategy::NullRewrite || strategy.is_computed())
        })
    };
    let leaves =
        |alt: &Alt<'_>| alt.links.iter().flat_map(|link| &link.own).any(|column| surely(&column.name));
    if !entry.is_root && entry.alternatives.iter().all(leaves) {
        MaskProgress::LeavesMatch
    } else if strategies().any(|(_, strategy)| strategy.is_computed()) {
        MaskProgress::Recorded
    } else {
        MaskProgress::Predicate
    }
}
