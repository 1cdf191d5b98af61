//! A log as its owner can write it: all rows of its tables, changed in memory and written back past every rule.

use std::collections::{BTreeMap, BTreeSet};

use rightful::domain::{
    audit::{Event, exported::Exported, genesis, unhex},
    tree::Edge,
};

#[derive(Debug, Clone, PartialEq)]
pub struct Log {
    pub events: Vec<Event>,
    /// Leaf index, id of the event, hashes.
    pub entries: Vec<(i64, String, Vec<u8>)>,
    pub queue: BTreeSet<String>,
    /// Size and note, by their number.
    pub checkpoints: Vec<(u64, String)>,
    /// What the owner rows say, by stream.
    pub heads: BTreeMap<String, (i64, String)>,
}

impl Log {
    /// That of an export, and checkpoints.
    pub fn of(exported: Vec<Exported>, checkpoints: &[(u64, String)]) -> Self {
        let mut placed: Vec<(u64, String)> = Vec::new();
        let mut queue = BTreeSet::new();
        for one in &exported {
            match one.index {
                Some(index) => placed.push((index, one.event.id.to_string())),
                None => drop(queue.insert(one.event.id.to_string())),
            }
        }
        placed.sort();
        let mut log = Self {
            events: exported.into_iter().map(|one| one.event).collect(),
            entries: placed.into_iter().map(|(index, id)| (index.cast_signed(), id, Vec::new())).collect(),
            queue,
            checkpoints: checkpoints.to_vec(),
            heads: BTreeMap::new(),
        };
        log.own();
        log.replant();
        log
    }

    pub fn place_of(&self, id: &str) -> Option<usize> {
        self.entries.iter().position(|(_, own, _)| own == id)
    }

    /// Events whose entry is among the first ones.
    pub fn events_before(&self, size: u64) -> Vec<usize> {
        let placed: BTreeSet<&String> = self
            .entries
            .iter()
            .filter(|(index, ..)| index.cast_unsigned() < size)
            .map(|(_, id, _)| id)
            .collect();
        let is_old = |i: &usize| placed.contains(&self.events[*i].id.to_string());
        (0..self.events.len()).filter(is_old).collect()
    }

    /// Numbers and chains all streams anew, with valid hashes.
    pub fn rehash(&mut self) {
        self.events.sort_by(|a, b| (&a.stream, a.seq).cmp(&(&b.stream, b.seq)));
        let mut before: Option<(String, i64, String)> = None;
        for event in &mut self.events {
            let (seq, prev_hash) = match &before {
                Some((stream, seq, hash)) if *stream == event.stream => (seq + 1, hash.clone()),
                _ => (1, genesis()),
            };
            (event.seq, event.prev_hash) = (seq, prev_hash);
            event.hash = event.computed_hash();
            before = Some((event.stream.clone(), seq, event.hash.clone()));
        }
        self.own();
    }

    /// The owners know of the events that there are.
    pub fn own(&mut self) {
        self.heads.clear();
        for event in &self.events {
            let head = self.heads.entry(event.stream.clone()).or_default();
            if event.seq > head.0 {
                *head = (event.seq, event.hash.clone());
            }
        }
    }

    /// Plants the tree anew: entries in their order, of the events that there are; others are left out.
    pub fn replant(&mut self) {
        let hashes: BTreeMap<String, Vec<u8>> =
            self.events.iter().map(|event| (event.id.to_string(), unhex(&event.hash))).collect();
        self.entries.sort_by_key(|(index, ..)| *index);
        let (mut edge, mut seen) = (Edge::default(), BTreeSet::new());
        self.entries.retain(|(_, id, _)| hashes.contains_key(id) && seen.insert(id.clone()));
        for (index, id, kept) in &mut self.entries {
            *index = edge.size().cast_signed();
            *kept = edge.append(&hashes[id]).concat();
        }
        self.queue = hashes.into_keys().filter(|id| !seen.contains(id)).collect();
    }

    /// The root when the tree had that size.
    pub fn root(&self, size: u64) -> [u8; 32] {
        let mut edge = Edge::default();
        for (_, _, hashes) in self.entries.iter().take(usize::try_from(size).unwrap()) {
            edge.grow(hashes[..32].try_into().unwrap(), |_| ());
        }
        edge.root()
    }

    /// As an export has it.
    pub fn lines(&self) -> Vec<String> {
        let exported = |event: &Event| {
            let id = event.id.to_string();
            let index = self.entries.iter().find(|(_, own, _)| *own == id);
            let index = index.and_then(|(index, ..)| u64::try_from(*index).ok());
            serde_json::to_string(&Exported { event: event.clone(), index }).unwrap()
        };
        self.events.iter().map(exported).collect()
    }

    /// The statements that make a store's log this one; its rules have been taken away.
    pub fn sql(&self, is_sqlite: bool) -> String {
        let mut sql = "DELETE FROM audit_events; DELETE FROM log_entries; DELETE FROM log_queue; \
                       DELETE FROM checkpoints; "
            .to_owned();
        let blob = |bytes: &[u8]| {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            if is_sqlite { format!("X'{hex}'") } else { format!("'\\x{hex}'") }
        };
        for event in &self.events {
            let own = |text: &Option<String>| text.as_deref().map_or("NULL".to_owned(), quoted);
            let values = [
                quoted(&event.id.to_string()),
                quoted(&event.stream),
                event.seq.to_string(),
                quoted(&event.at),
                quoted(&event.event),
                own(&event.request_id.map(|id| id.to_string())),
                own(&event.subject_ref),
                quoted(&event.actor),
                own(&event.step),
                own(&event.action),
                own(&event.rows.as_ref().map(ToString::to_string)),
                quoted(&event.details.to_string()),
                quoted(&event.prev_hash),
                quoted(&event.hash),
            ];
            sql += &format!("INSERT INTO audit_events VALUES ({});", values.join(", "));
        }
        for (index, id, hashes) in &self.entries {
            sql += &format!("INSERT INTO log_entries VALUES ({index}, {}, {});", quoted(id), blob(hashes));
        }
        for id in &self.queue {
            sql += &format!("INSERT INTO log_queue VALUES ({});", quoted(id));
        }
        for (number, (size, note)) in (1..).zip(&self.checkpoints) {
            let note = quoted(note);
            sql +=
                &format!("INSERT INTO checkpoints VALUES ({number}, {size}, '2026-11-02 09:00:00', {note});");
        }
        sql += &format!("UPDATE requests SET audit_seq = 0, audit_hash = '{}';", genesis());
        for (stream, (seq, hash)) in &self.heads {
            let id = quoted(stream.strip_prefix("request:").unwrap_or(stream));
            let hash = quoted(hash);
            sql += &format!("UPDATE requests SET audit_seq = {seq}, audit_hash = {hash} WHERE id = {id};");
        }
        sql
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
