//! What must be left after an erasure, worked out row by row in memory, by other means than the service's.

use std::collections::{BTreeMap, BTreeSet};

use super::world::{Erase, Table, Value, World};

/// Every table with its rows, as they must be afterwards.
pub fn expected(world: &World) -> BTreeMap<String, Vec<Vec<Value>>> {
    let owned = owned(world);
    let mut left: BTreeMap<String, Vec<Vec<Value>>> = BTreeMap::new();
    for (index, table) in world.tables.iter().enumerate() {
        let rows = (0..table.rows.len()).filter_map(|row| survivor(world, &owned, index, row)).collect();
        left.insert(table.name.clone(), rows);
    }
    drop_unreferenced(world, &owned, &mut left);
    for rows in left.values_mut() {
        rows.sort();
    }
    left
}

type Owned = Vec<BTreeSet<usize>>;

/// The subject's own rows of every table.
fn owned(world: &World) -> Owned {
    let mut owned: Owned = vec![BTreeSet::new(); world.tables.len()];
    owned[0].insert(world.subject);
    loop {
        let mut grown = false;
        for (index, table) in world.tables.iter().enumerate().skip(1) {
            for row in 0..table.rows.len() {
                let own = table
                    .entries
                    .iter()
                    .filter(|entry| entry.erase != Erase::Unlink)
                    .any(|entry| fits(world, &owned, index, row, &entry.alternatives));
                grown |= own && owned[index].insert(row);
            }
        }
        if !grown {
            return owned;
        }
    }
}

fn fits(world: &World, owned: &Owned, table: usize, row: usize, alternatives: &[usize]) -> bool {
    if world.tables[table].name == "homes" {
        let home = home_of(world);
        return home.is_some() && world.tables[table].rows[row][0] == home;
    }
    alternatives.iter().any(|link| points(world, owned, table, row, *link))
}

/// Does this row point at a row of the subject's through that link?
fn points(world: &World, owned: &Owned, table: usize, row: usize, link: usize) -> bool {
    let value = &world.tables[table].rows[row][link + 1];
    let link = &world.tables[table].links[link];
    value.is_some()
        && owned[link.parent].iter().any(|parent| {
            let parent = &world.tables[link.parent].rows[*parent];
            value == if link.parent_column == "email" { parent.last().unwrap() } else { &parent[0] }
        })
}

fn home_of(world: &World) -> Value {
    let position = world.tables[0].links.iter().position(|link| link.column == "home_id")?;
    world.tables[0].rows[world.subject][position + 1].clone()
}

/// What is left of one row; `None` when it goes.
fn survivor(world: &World, owned: &Owned, index: usize, row: usize) -> Option<Vec<Value>> {
    let table = &world.tables[index];
    let mut values = table.rows[row].clone();
    let entry = table.entries.iter().find(|entry| {
        let is_subject = index == 0 && entry.alternatives.is_empty();
        if is_subject { row == world.subject } else { fits(world, owned, index, row, &entry.alternatives) }
    });
    let Some(entry) = entry else { return Some(values) };
    match entry.erase {
        Erase::Delete => return None,
        Erase::Keep | Erase::DeleteIfUnreferenced => {}
        Erase::Unlink => unlink(world, owned, index, row, &entry.alternatives, &mut values),
        Erase::Mask { nulls_links } => {
            let note = note_position(table);
            if values[note].is_some() {
                values[note] = Some("gone".to_owned());
            }
            if nulls_links {
                for link in &entry.alternatives {
                    values[link + 1] = None;
                }
            }
            // A key onto a row that goes is opened even where another entry takes the row.
            for other in table.entries.iter().filter(|other| other.erase == Erase::Unlink) {
                unlink(world, owned, index, row, &other.alternatives, &mut values);
            }
        }
    }
    Some(values)
}

fn unlink(
    world: &World,
    owned: &Owned,
    table: usize,
    row: usize,
    alternatives: &[usize],
    values: &mut [Value],
) {
    for link in alternatives {
        if points(world, owned, table, row, *link) {
            values[link + 1] = None;
        }
    }
}

fn note_position(table: &Table) -> usize {
    table.links.len() + 1
}

/// The subject's home goes unless somebody who is left still points at it.
fn drop_unreferenced(world: &World, owned: &Owned, left: &mut BTreeMap<String, Vec<Vec<Value>>>) {
    let Some(index) = world.tables.iter().position(|table| table.name == "homes") else { return };
    let Some(position) = world.tables[0].links.iter().position(|link| link.column == "home_id") else {
        return;
    };
    let referenced: BTreeSet<Value> = left["people"].iter().map(|row| row[position + 1].clone()).collect();
    let gone: BTreeSet<Value> = owned[index]
        .iter()
        .map(|row| world.tables[index].rows[*row][0].clone())
        .filter(|id| !referenced.contains(id))
        .collect();
    left.get_mut("homes").unwrap().retain(|row| !gone.contains(&row[0]));
}
