//! What whoever owns the database may do to a log, in eight classes, each from clumsy to with every hash made valid.

use rightful::domain::{
    audit::Event,
    checkpoint::{NewKey, TreeHead},
    clock::Clock,
};
use serde_json::json;

use super::{
    builder::{ORIGIN, signer},
    log::Log,
};
use crate::properties::random::Random;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    Edit,
    Delete,
    Insert,
    Swap,
    CutTail,
    Rewrite,
    RollBack,
    Mix,
}

impl Class {
    pub const ALL: [Self; 8] = [
        Self::Edit,
        Self::Delete,
        Self::Insert,
        Self::Swap,
        Self::CutTail,
        Self::Rewrite,
        Self::RollBack,
        Self::Mix,
    ];
}

/// What a mutation starts from.
pub struct Scene {
    pub log: Log,
    /// As it was before; none of them is as large as what was published.
    pub older: Vec<Log>,
    /// Another one of the same origin, signed with the same keys.
    pub other: Log,
    pub published: TreeHead,
}

/// How much of what would give it away is made to fit again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Repair {
    Nothing,
    Chains,
    Tree,
    /// With a key that is not the log's.
    Checkpoints,
}

/// A log that is not what was published, and is not what it was.
pub fn mutated(scene: &Scene, class: Class, random: &mut Random) -> Log {
    loop {
        let mut log = scene.log.clone();
        let old = log.events_before(scene.published.size);
        let target = old[random.below(old.len())];
        let repairs = [Repair::Nothing, Repair::Chains, Repair::Tree, Repair::Checkpoints];
        let mut repair = repairs[random.below(4)];
        match class {
            Class::Edit => edit(&mut log, target, random),
            Class::Delete => delete(&mut log, target, random),
            Class::Insert => insert(&mut log, target, random),
            Class::Swap => swap(&mut log, target, old[random.below(old.len())], random),
            Class::CutTail => cut(&mut log, target, random),
            Class::Rewrite => {
                edit(&mut log, target, random);
                repair = repairs[random.between(2, 3)];
            }
            Class::RollBack => {
                log = scene.older[random.below(scene.older.len())].clone();
                repair = Repair::Nothing;
            }
            Class::Mix => mix(&mut log, &scene.other, target, random),
        }
        mend(&mut log, repair);
        // A swap of a place with itself, or an edit that the repair has taken back.
        let (mut before, mut after) = (scene.log.clone(), log.clone());
        for log in [&mut before, &mut after] {
            log.checkpoints.clear();
            log.events.sort_by_key(|event| event.id);
            log.entries.sort();
        }
        if before != after {
            return log;
        }
    }
}

fn mend(log: &mut Log, repair: Repair) {
    if repair >= Repair::Chains {
        log.rehash();
    }
    if repair >= Repair::Tree {
        log.replant();
    }
    if repair == Repair::Checkpoints {
        let key = NewKey::generate(ORIGIN).unwrap();
        let size = log.entries.len() as u64;
        let sizes: Vec<u64> = log.checkpoints.iter().map(|(old, _)| (*old).min(size)).collect();
        log.checkpoints =
            sizes.into_iter().map(|size| (size, signer(&[&key]).sign(size, &log.root(size)))).collect();
    }
}

fn edit(log: &mut Log, target: usize, random: &mut Random) {
    let id = log.events[target].id.to_string();
    let place = log.place_of(&id).unwrap();
    let other = log.events[random.below(log.events.len())].id.to_string();
    let event = &mut log.events[target];
    match random.below(16) {
        0 => event.actor.push('x'),
        1 => "2026-01-01T00:00:00.000000Z".clone_into(&mut event.at),
        2 => event.details = json!({ "batch": 7, "forged": true }),
        3 => event.rows = Some(json!({ "affected": 0 })),
        4 => "step.completed".clone_into(&mut event.event),
        5 => event.subject_ref = Some("somebody".to_owned()),
        6 => event.request_id = None,
        7 => event.step = Some("shop.other".to_owned()),
        8 => event.action = Some("keep".to_owned()),
        9 => event.seq += 40,
        10 => event.stream.push('x'),
        11 => event.prev_hash = "ab".repeat(32),
        12 => event.hash = event.hash.to_uppercase(),
        // Its entry, and with that what it is the beginning of.
        13 => log.entries[place].2[random.below(32)] ^= 1,
        14 => log.entries[place].1 = other,
        _ => {
            event.id = Clock.new_id();
            log.entries[place].1 = event.id.to_string();
        }
    }
}

fn delete(log: &mut Log, target: usize, random: &mut Random) {
    let id = log.events[target].id.to_string();
    let place = log.place_of(&id).unwrap();
    match random.below(4) {
        // The event, and its entry with it.
        0 | 1 => {
            log.events.remove(target);
            if random.chance(50) {
                log.entries.remove(place);
            }
        }
        // Its entry alone, or as if it had never had one.
        2 => drop(log.entries.remove(place)),
        _ => {
            log.entries.remove(place);
            log.queue.insert(id);
        }
    }
}

/// Before an event that was there.
fn insert(log: &mut Log, target: usize, random: &mut Random) {
    let new = Event { id: Clock.new_id(), actor: "mallory".to_owned(), ..log.events[target].clone() };
    let id = new.id.to_string();
    let place = log.place_of(&log.events[target].id.to_string()).unwrap();
    let seq = new.seq;
    for event in log.events.iter_mut().filter(|event| event.stream == new.stream && event.seq >= seq) {
        event.seq += 1;
    }
    log.events.push(new);
    match random.below(3) {
        0 => drop(log.queue.insert(id)),
        1 => {
            let index = i64::try_from(log.entries.len()).unwrap();
            log.entries.push((index, id, vec![0; 32]));
        }
        _ => {
            for (index, ..) in &mut log.entries[place..] {
                *index += 1;
            }
            let hashes = log.entries[place].2.clone();
            log.entries.push((i64::try_from(place).unwrap(), id, hashes));
        }
    }
}

fn swap(log: &mut Log, one: usize, two: usize, random: &mut Random) {
    let place = |log: &Log, event: usize| log.place_of(&log.events[event].id.to_string()).unwrap();
    let (a, b) = (place(log, one), place(log, two));
    match random.below(3) {
        // Their places in the tree.
        0 => {
            let id = log.entries[a].1.clone();
            log.entries[a].1 = std::mem::replace(&mut log.entries[b].1, id);
        }
        1 => {
            let index = log.entries[a].0;
            log.entries[a].0 = std::mem::replace(&mut log.entries[b].0, index);
        }
        // Their places in their streams.
        _ => {
            let (stream, seq) = (log.events[one].stream.clone(), log.events[one].seq);
            log.events[one].stream = std::mem::replace(&mut log.events[two].stream, stream);
            log.events[one].seq = std::mem::replace(&mut log.events[two].seq, seq);
        }
    }
}

fn cut(log: &mut Log, target: usize, random: &mut Random) {
    let (stream, seq) = (log.events[target].stream.clone(), log.events[target].seq);
    match random.below(3) {
        // Of a stream, whose owner agrees or does not.
        0 => log.events.retain(|event| event.stream != stream || event.seq < seq),
        1 => {
            log.events.retain(|event| event.stream != stream || event.seq < seq);
            log.own();
        }
        // Of the tree, as if its events had come later.
        _ => {
            let place = log.place_of(&log.events[target].id.to_string()).unwrap();
            for (_, id, _) in log.entries.split_off(place) {
                log.queue.insert(id);
            }
        }
    }
}

fn mix(log: &mut Log, other: &Log, target: usize, random: &mut Random) {
    match random.below(3) {
        0 => *log = other.clone(),
        // Its beginning, and the end of this one.
        1 => {
            let end = random.between(1, log.entries.len().min(other.entries.len()));
            for place in 0..end {
                let (id, theirs) = (log.entries[place].1.clone(), &other.entries[place]);
                let event = other.events.iter().find(|event| event.id.to_string() == theirs.1).unwrap();
                log.events.retain(|event| event.id.to_string() != id);
                log.events.push(event.clone());
                log.entries[place] = theirs.clone();
            }
        }
        // One event of it in the place of one of this one.
        _ => {
            let id = log.events[target].id.to_string();
            let place = log.place_of(&id).unwrap();
            let theirs = &other.events[random.below(other.events.len())];
            let (stream, seq) = (log.events[target].stream.clone(), log.events[target].seq);
            log.events[target] = Event { stream, seq, ..theirs.clone() };
            log.entries[place].1 = theirs.id.to_string();
        }
    }
}
