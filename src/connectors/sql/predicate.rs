//! From compiled [`Rows`] to a WHERE condition.

use super::{
    age, closure,
    compare::{self, FALSE, KEYS, LARGE, List, Side, equals_any, equals_exactly, equals_source, lists},
    context::Context,
    dialect::{Dialect, internal, postgres_piece_cast},
    fragment::Fragment,
    statement::Bind,
};
use crate::{
    connectors::ConnectorError,
    domain::{
        compiled::{Alternative, Constant, KeyColumn, Link, Piece, Root, Rows, Source, TableName},
        key::Key,
        schema::Family,
    },
};

type Written = Result<Fragment, ConnectorError>;

/// Every row of the selection.
pub(super) fn all(context: Context<'_>, rows: &Rows) -> Written {
    if rows.reads_itself() {
        return closure::selection(context, rows);
    }
    let any_of = (0..rows.any_of.len())
        .map(|index| alternative(context, rows, index))
        .collect::<Result<Vec<_>, _>>()?;
    conjunction(any(any_of), restrictions(context, rows)?)
}

/// The rows of one alternative, without those of earlier ones; `None` where an earlier one stands for it.
pub(super) fn one(
    context: Context<'_>,
    rows: &Rows,
    index: usize,
) -> Result<Option<Fragment>, ConnectorError> {
    if rows.reads_itself() {
        return if index == 0 { closure::selection(context, rows).map(Some) } else { Ok(None) };
    }
    let earlier = (0..index)
        .map(|earlier| {
            Ok(alternative(context.earlier(), rows, earlier)?.parenthesised().then(" IS NOT TRUE"))
        })
        .collect::<Result<Vec<_>, ConnectorError>>()?;
    let rest = [earlier, restrictions(context, rows)?].concat();
    conjunction(alternative(context, rows, index)?, rest).map(Some)
}

/// How many walks a selection takes.
pub(super) fn walks(rows: &Rows) -> usize {
    if rows.reads_itself() { 1 } else { rows.any_of.len() }
}

fn conjunction(first: Fragment, rest: Vec<Fragment>) -> Written {
    Ok(Fragment::join(std::iter::once(first).chain(rest), " AND "))
}

pub(super) fn any(parts: Vec<Fragment>) -> Fragment {
    if parts.is_empty() {
        return Fragment::text(FALSE);
    }
    Fragment::join(parts.into_iter().map(Fragment::parenthesised), " OR ").parenthesised()
}

/// `where`, `except` and `within`, each to be and-ed.
pub(super) fn restrictions(context: Context<'_>, rows: &Rows) -> Result<Vec<Fragment>, ConnectorError> {
    let mut parts = own_restrictions(context, rows)?;
    if !rows.within.is_empty() {
        let within = rows.within.iter().map(|rows| all(context.whole(), rows)).collect::<Result<_, _>>()?;
        parts.push(any(within));
    }
    Ok(parts)
}

/// `where` and `except`: what makes a row an entry's own.
pub(super) fn own_restrictions(context: Context<'_>, rows: &Rows) -> Result<Vec<Fragment>, ConnectorError> {
    let mut parts = Vec::new();
    if let Some(filter) = &rows.filter {
        parts.push(context.trusted(filter)?);
    }
    for except in &rows.except {
        parts.push(all(context.whole(), except)?.parenthesised().then(" IS NOT TRUE"));
    }
    Ok(parts)
}

pub(super) fn alternative(context: Context<'_>, rows: &Rows, index: usize) -> Written {
    let chosen = rows.any_of.get(index).ok_or_else(|| internal("no such alternative"))?;
    match chosen {
        Alternative::Match { links, constants } => {
            if links.is_empty() {
                // Nothing would tie the rows to the person.
                return Err(internal("an alternative without links"));
            }
            let links =
                links.iter().map(|found| link(context, &rows.table, found)).collect::<Result<Vec<_>, _>>()?;
            let constants = constants.iter().map(|found| Ok(constant(context, &rows.table, found)));
            let parts =
                links.into_iter().map(Ok).chain(constants).collect::<Result<Vec<_>, ConnectorError>>()?;
            Ok(Fragment::join(parts, " AND "))
        }
        Alternative::Sql { pieces, links } => trusted_match(context, pieces, links),
        Alternative::Age(found) => Ok(age::condition(context, &rows.table, found)),
    }
}

pub(super) fn constant(context: Context<'_>, table: &TableName, constant: &Constant) -> Fragment {
    let side = Side::own(context, table, &constant.column);
    equals_exactly(context, &side, &vec![Some(Key::Text(constant.value.clone()))])
}

pub(super) fn own_sides<'a>(
    context: Context<'_>,
    table: &'a TableName,
    columns: &'a [KeyColumn],
) -> Vec<Side<'a>> {
    columns.iter().map(|column| Side::own(context, table, column)).collect()
}

pub(super) fn link(context: Context<'_>, table: &TableName, link: &Link) -> Written {
    let own = own_sides(context, table, &link.columns);
    match &link.source {
        Source::Root(positions) => {
            let tuple = positions.iter().map(|position| context.root_value(*position).cloned()).collect();
            Ok(equals_any(context, &own, &link.ignore_case, &[tuple]))
        }
        Source::Keys(set) => Ok(equals_any(context, &own, &link.ignore_case, context.set(*set)?)),
        Source::Live(live) => {
            let Some(source_table) = live.first().map(|rows| &rows.table) else {
                return Ok(Fragment::text(FALSE));
            };
            let source = live_source(context, live, &link.source_columns)?;
            let from: Vec<Side<'_>> = (0_usize..)
                .zip(&link.source_columns)
                .map(|(at, column)| Side { expr: format!("{KEYS}.{KEYS}{at}"), table: source_table, column })
                .collect();
            Ok(equals_source(context, &own, &from, &link.ignore_case, source))
        }
        Source::Itself => Err(internal("a selection through itself is written as a closure")),
    }
}

/// `SELECT … AS rightful_k0 … FROM … WHERE …` over every alternative of every selection: as a union, so that
/// each can use an index of its own.
fn live_source(context: Context<'_>, live: &[Rows], columns: &[KeyColumn]) -> Written {
    let mut parts = Vec::new();
    for rows in live {
        let list = Fragment::text(&listed(context, &rows.table, columns));
        let from = format!(" FROM {} WHERE ", context.dialect.table(&rows.table));
        for index in 0..walks(rows) {
            let condition = if rows.reads_itself() {
                closure::selection(context, rows)?
            } else {
                conjunction(alternative(context, rows, index)?, restrictions(context, rows)?)?
            };
            parts.push(list.clone().within("SELECT ", &from).and(condition));
        }
    }
    Ok(Fragment::join(parts, " UNION ALL "))
}

fn listed(context: Context<'_>, table: &TableName, columns: &[KeyColumn]) -> String {
    let columns: Vec<String> = (0_usize..)
        .zip(columns)
        .map(|(at, column)| format!("{} AS {KEYS}{at}", context.dialect.column(table, &column.name)))
        .collect();
    columns.join(", ")
}

/// Trusted SQL with keys in it: values of the root tuple stand in it directly, those of other sources as columns
/// of a relation around it.
fn trusted_match(context: Context<'_>, pieces: &[Piece], links: &[Link]) -> Written {
    let mut relations = Vec::new();
    for (at, link) in links.iter().enumerate() {
        let relation = match &link.source {
            Source::Root(_) => continue,
            Source::Live(live) => live_relation(context, live, link)?,
            Source::Keys(set) => {
                let Some(relation) = bound_relation(context, link, *set)? else {
                    return Ok(Fragment::text(FALSE));
                };
                relation
            }
            Source::Itself => return Err(internal("a selection through itself is written as a closure")),
        };
        relations.push(relation.within("(", &format!(") AS rightful_l{at}")));
    }
    let Some(text) = substituted(context, pieces, links, "rightful_l")? else {
        return Ok(Fragment::text(FALSE));
    };
    if relations.is_empty() {
        return Ok(text);
    }
    let relations = Fragment::join(relations, ", ");
    Ok(relations.within("EXISTS (SELECT 1 FROM ", " WHERE ").and(text).then(")"))
}

/// The text with its keys; `None` where the root tuple has no value for one.
pub(super) fn substituted(
    context: Context<'_>,
    pieces: &[Piece],
    links: &[Link],
    relation: &str,
) -> Result<Option<Fragment>, ConnectorError> {
    let mut text = Fragment::default();
    for piece in pieces {
        match piece {
            Piece::Text(sql) => {
                context.trusted(sql)?;
                text = text.then(sql);
            }
            Piece::Key { link: at, column } => {
                let link = links.get(*at).ok_or_else(|| internal("no such link"))?;
                let source = link.source_columns.get(*column).ok_or_else(|| internal("no such key"))?;
                let Source::Root(positions) = &link.source else {
                    text = text.then(&format!("{relation}{at}.{KEYS}{column}"));
                    continue;
                };
                let position = positions.get(*column).ok_or_else(|| internal("no such key"))?;
                match context.root_value(*position) {
                    Some(key) => text.push(piece_value(context.dialect, source, Some(key))),
                    None if context.preparing => text.push(piece_value(context.dialect, source, None)),
                    None => return Ok(None),
                }
            }
        }
    }
    Ok(Some(text.within("(", "\n)")))
}

/// A key as trusted SQL sees it: a value of the source column's type.
fn piece_value(dialect: Dialect, column: &KeyColumn, key: Option<&Key>) -> Fragment {
    let value = match (dialect, key) {
        (Dialect::Sqlite, Some(Key::Text(text))) if column.family == Family::Integer => {
            text.parse().ok().map(|number| Fragment::bound(Bind::Int(number)))
        }
        (Dialect::Sqlite, Some(Key::Text(text))) if column.family == Family::Number => {
            Some(Fragment::bound(Bind::Text(Some(text.clone()))).within("CAST(", " AS NUMERIC)"))
        }
        (_, Some(key)) => dialect.values(column, key).into_iter().next(),
        (_, None) => None,
    };
    let value = value.unwrap_or_else(|| Fragment::text("NULL"));
    if dialect == Dialect::Postgres {
        return value.within("(", &format!("::{})", postgres_piece_cast(column)));
    }
    value
}

fn live_relation(context: Context<'_>, live: &[Rows], link: &Link) -> Written {
    let source_table = live.first().map(|rows| &rows.table).ok_or_else(|| internal("a link to no rows"))?;
    let sides: Vec<Side<'_>> = (0_usize..)
        .zip(&link.source_columns)
        .map(|(at, column)| Side { expr: format!("{KEYS}.{KEYS}{at}"), table: source_table, column })
        .collect();
    let filled = compare::all_filled(context.dialect, &sides);
    let source = live_source(context, live, &link.source_columns)?;
    Ok(source.within("SELECT * FROM (", &format!(") AS {KEYS} WHERE ")).and(filled))
}

/// `None` where no key is left.
fn bound_relation(context: Context<'_>, link: &Link, set: usize) -> Result<Option<Fragment>, ConnectorError> {
    let columns = &link.source_columns;
    let usable = |key: &Option<Key>| key.as_ref().is_some_and(|key| !key.is_empty());
    let tuples: Vec<_> = context.set(set)?.iter().filter(|tuple| tuple.iter().all(usable)).collect();
    if tuples.is_empty() && !context.preparing {
        return Ok(None);
    }
    if context.dialect == Dialect::Postgres {
        let array = |at: usize| {
            let texts = tuples.iter().map(|tuple| {
                let key = tuple.get(at).and_then(Option::as_ref)?;
                let column = columns.get(at)?;
                context.dialect.values(column, key).first().and_then(Fragment::bound_text)
            });
            Fragment::bound(Bind::TextArray(texts.collect())).then("::text[]")
        };
        let names: Vec<String> = (0..columns.len()).map(|at| format!("{KEYS}{at}")).collect();
        let list: Vec<String> = names
            .iter()
            .zip(columns)
            .map(|(name, column)| format!("rightful_v.{name}::{} AS {name}", postgres_piece_cast(column)))
            .collect();
        let arrays = Fragment::join((0..columns.len()).map(array), ", ");
        let before = format!("SELECT {} FROM unnest(", list.join(", "));
        return Ok(Some(arrays.within(&before, &format!(") AS rightful_v({})", names.join(", ")))));
    }
    let row = |keys: Vec<Option<&Key>>| -> Vec<Fragment> {
        columns.iter().zip(keys).map(|(column, key)| piece_value(context.dialect, column, key)).collect()
    };
    let rows: Vec<Vec<Fragment>> = if tuples.is_empty() {
        vec![row(vec![None; columns.len()])]
    } else {
        tuples.iter().map(|tuple| row(tuple.iter().map(Option::as_ref).collect())).collect()
    };
    if rows.len() > LARGE {
        let parts = lists(context.dialect, &rows)
            .into_iter()
            .map(|List { items, from }| from.within(&format!("SELECT {} FROM ", named(&items)), ""));
        return Ok(Some(Fragment::join(parts, " UNION ALL ")));
    }
    let rows = rows.into_iter().map(|values| {
        let values = (0_usize..).zip(values).map(|(at, value)| value.then(&format!(" AS {KEYS}{at}")));
        Fragment::join(values, ", ").within("SELECT ", "")
    });
    Ok(Some(compound(rows.collect())))
}

fn named(items: &[String]) -> String {
    let items: Vec<String> =
        (0_usize..).zip(items).map(|(at, item)| format!("{item} AS {KEYS}{at}")).collect();
    items.join(", ")
}

/// SQLite takes at most 500 terms in one compound, so they are nested.
fn compound(rows: Vec<Fragment>) -> Fragment {
    let parts: Vec<Fragment> =
        rows.chunks(400).map(|rows| Fragment::join(rows.iter().cloned(), " UNION ALL ")).collect();
    if parts.len() == 1 {
        return Fragment::join(parts, "");
    }
    let parts = (0_usize..)
        .zip(parts)
        .map(|(at, part)| part.within("SELECT * FROM (", &format!(") AS rightful_u{at}")));
    Fragment::join(parts, " UNION ALL ")
}

/// The person's own row is still the person's: every identity and scope column holds what was resolved.
pub(super) fn root_guard(context: Context<'_>, root: &Root) -> Written {
    let parts = root.identities.iter().chain(&root.scope).map(|identity| {
        let column = root.columns.get(identity.column).ok_or_else(|| internal("no such root column"))?;
        let side = Side::own(context, &root.table, column);
        Ok(match context.keys.root.get(identity.column) {
            Some(Some(key)) => equals_exactly(context, &side, &vec![Some(key.clone())]),
            _ => Fragment::text(&format!("{} IS NULL", side.expr)),
        })
    });
    Ok(Fragment::join(parts.collect::<Result<Vec<_>, ConnectorError>>()?, " AND "))
}
