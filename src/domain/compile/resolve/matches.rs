//! One alternative of a `match`: its columns, constants and trusted SQL.

use super::{
    super::{
        model::{Alt, LinkSpec, PlanTable},
        placeholders::{self, Part},
    },
    references::Lookup,
};
use crate::domain::{
    compiled::Piece,
    document::{At, Reader},
    plan::{Match, MatchValue},
    schema::Column,
};

pub(super) fn resolve<'a>(
    lookup: &Lookup<'a, '_>,
    table: &PlanTable<'a>,
    item: &At<Match>,
    faults: &mut Reader,
) -> Option<Alt<'a>> {
    let mut alt = Alt { line: item.line, links: Vec::new(), constants: Vec::new(), pieces: None };
    let sound = match &item.value {
        Match::Columns(pairs) => {
            // Every pair is looked at, so that every fault is found.
            let found: Vec<bool> = pairs
                .iter()
                .map(|(name, value)| pair(lookup, table, name, value, &mut alt, faults))
                .collect();
            found.iter().all(|found| *found)
        }
        Match::Sql(text) => sql(lookup, table, text, &mut alt, faults),
    };
    if sound && alt.links.is_empty() {
        let problem = format!(
            "a `match` of `{}` names nothing of the person: it would select rows of everybody",
            table.shown
        );
        faults.error(item.line, problem, "put a key into it, such as {users.id}");
    }
    (sound && !alt.links.is_empty()).then_some(alt)
}

/// False when a name of the pair is not known; that is reported.
fn pair<'a>(
    lookup: &Lookup<'a, '_>,
    table: &PlanTable<'a>,
    name: &At<String>,
    value: &At<MatchValue>,
    alt: &mut Alt<'a>,
    faults: &mut Reader,
) -> bool {
    let own = lookup.own_column(table, name, faults);
    match &value.value {
        MatchValue::Constant(constant) => {
            alt.constants.extend(own.map(|own| (own, constant.clone())));
            own.is_some()
        }
        MatchValue::Column(reference) => {
            let theirs = lookup.column(Some(table.connection), reference, value.line, faults);
            let (Some(own), Some((target, theirs))) = (own, theirs) else { return false };
            link(alt, target, Some(own), theirs);
            true
        }
    }
}

fn sql<'a>(
    lookup: &Lookup<'a, '_>,
    table: &PlanTable<'a>,
    text: &str,
    alt: &mut Alt<'a>,
    faults: &mut Reader,
) -> bool {
    let mut pieces = Vec::new();
    let mut sound = true;
    for part in placeholders::split(text) {
        match part {
            Part::Text(text) => pieces.push(Piece::Text(text)),
            Part::Reference(reference) => {
                match lookup.column(Some(table.connection), &reference, alt.line, faults) {
                    Some((target, column)) => pieces.push(placeholder(alt, target, column)),
                    None => sound = false,
                }
            }
        }
    }
    alt.pieces = Some(pieces);
    sound
}

/// Columns that come from one table belong together: they are compared with one and the same row of it.
fn link<'a>(alt: &mut Alt<'a>, target: usize, own: Option<&'a Column>, theirs: &'a Column) -> (usize, usize) {
    let index = alt.links.iter().position(|link| link.target == target).unwrap_or_else(|| {
        alt.links.push(LinkSpec { target, own: Vec::new(), theirs: Vec::new() });
        alt.links.len() - 1
    });
    alt.links[index].own.extend(own);
    alt.links[index].theirs.push(theirs);
    (index, alt.links[index].theirs.len() - 1)
}

fn placeholder<'a>(alt: &mut Alt<'a>, target: usize, column: &'a Column) -> Piece {
    let known = alt.links.iter().enumerate().find_map(|(index, link)| {
        let at = link.theirs.iter().position(|theirs| theirs.name == column.name)?;
        (link.target == target).then_some((index, at))
    });
    let (link, column) = known.unwrap_or_else(|| link(alt, target, None, column));
    Piece::Key { link, column }
}
