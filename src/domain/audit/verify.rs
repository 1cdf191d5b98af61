//! Verification of the whole log in constant memory, in the order in which the first broken place is looked for. First the
//! chains: events in the order of (stream, seq), and beside them the heads that the streams' owner rows keep, in the order
//! of the streams, both in byte order. Then the tree over them, by its leaves, with every checkpoint where the tree has
//! its size: see [`log`].

use aws_lc_rs::digest;
use serde::Serialize;

use super::{
    ChainHead, hex,
    raw::{Hasher, RawEvent, digest_of},
};
use crate::domain::tree::Digest;

pub mod log;

/// The owner row's word on one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnerHead {
    pub stream: String,
    pub head: ChainHead,
}

/// The first place where the log is not what was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Broken {
    /// Of an event.
    pub stream: Option<String>,
    /// Of the event that is wrong or missing.
    pub seq: Option<i64>,
    pub reason: Fault,
    /// Of the leaf that is wrong or missing; of a checkpoint the leaves that it speaks of.
    pub index: Option<u64>,
}

impl Broken {
    /// At an event.
    #[must_use]
    pub fn event(stream: &[u8], seq: i64, reason: Fault) -> Self {
        let stream = String::from_utf8_lossy(stream).into_owned();
        Self { stream: Some(stream), seq: Some(seq), reason, index: None }
    }

    /// At a leaf, or at the checkpoint of so many leaves.
    #[must_use]
    pub fn leaf(index: u64, reason: Fault) -> Self {
        Self { stream: None, seq: None, reason, index: Some(index) }
    }
}

/// What is wrong at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// An event's hash is not that of its content.
    HashMismatch,
    /// An event does not continue the one before it.
    ChainBroken,
    /// An event is missing or stands twice.
    SequenceGap,
    /// The owner row knows of later events than the log holds.
    TailMissing,
    /// The log holds events that the owner row does not know of, or another last one.
    HeadMismatch,
    /// Events of a stream that has no owner row.
    OwnerMissing,
    /// The table holds other events than the index by which it is read.
    EventsHidden,
    /// A leaf is missing or stands twice.
    LeafGap,
    /// A leaf is not that of its event.
    LeafMismatch,
    /// A leaf whose event is missing.
    EventMissing,
    /// What is kept of the tree is not what its leaves come to.
    TreeMismatch,
    /// An event that has no place in the tree and does not wait for one either.
    PlaceMissing,
    /// What waits for a place is no event, or has one.
    QueueMismatch,
    /// A checkpoint is missing, or smaller than the one before it, or is none.
    CheckpointGap,
    /// A checkpoint that none of the keys has signed.
    CheckpointUnsigned,
    /// A checkpoint speaks of more entries than the log has: it was cut, or set back.
    LogCut,
    /// A checkpoint speaks of other entries than the log has: it was rewritten.
    LogRewritten,
}

impl Fault {
    /// In words, behind "the log is broken: ".
    #[must_use]
    pub fn as_text(self) -> &'static str {
        match self {
            Self::HashMismatch => "the event's hash is not that of its content",
            Self::ChainBroken => "the event does not continue the one before it",
            Self::SequenceGap => "the event is missing, or stands twice",
            Self::TailMissing => "the event is missing, and all of the stream behind it",
            Self::HeadMismatch => "the stream's owner knows of another last event",
            Self::OwnerMissing => "the stream has no owner",
            Self::EventsHidden => "the table holds other events than its index shows",
            Self::LeafGap => "the entry is missing, or stands twice",
            Self::LeafMismatch => "the entry is not that of its event",
            Self::EventMissing => "the entry's event is missing",
            Self::TreeMismatch => "the hashes kept with the entry are not those of the tree",
            Self::PlaceMissing => "the event has no entry, and does not wait for one",
            Self::QueueMismatch => "what waits for an entry is no event, or has one",
            Self::CheckpointGap => "a checkpoint of the store is missing, out of order, or none",
            Self::CheckpointUnsigned => "none of the keys has signed the checkpoint",
            Self::LogCut => "a checkpoint speaks of more entries: the log was cut, or set back",
            Self::LogRewritten => "the checkpoint speaks of other entries: the log was rewritten",
        }
    }
}

/// The event that comes behind another one in its stream: what it has to be, by its `seq` and `prev_hash`.
///
/// # Errors
/// The `seq` that is wrong or missing, and why.
pub fn follows(before: (i64, &Digest), seq: i64, prev_hash: Option<&Digest>) -> Result<(), (i64, Fault)> {
    if seq != before.0 + 1 {
        return Err((before.0 + 1, Fault::SequenceGap));
    }
    if prev_hash != Some(before.1) {
        return Err((seq, Fault::ChainBroken));
    }
    Ok(())
}

/// What a walk over all chains found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chains {
    pub events: u64,
    /// Hex SHA-256 over the lines `stream seq hash`, sorted by stream.
    pub head: String,
}

struct Stream {
    name: Vec<u8>,
    seq: i64,
    hash: Digest,
}

/// Takes all chains piece by piece.
pub struct Verifier {
    events: u64,
    lines: digest::Context,
    stream: Option<Stream>,
    hasher: Hasher,
}

impl Default for Verifier {
    fn default() -> Self {
        Self {
            events: 0,
            lines: digest::Context::new(&digest::SHA256),
            stream: None,
            hasher: Hasher::default(),
        }
    }
}

impl Verifier {
    /// The stream that is being walked; its owner's head is due when another one begins.
    #[must_use]
    pub fn stream(&self) -> Option<&[u8]> {
        self.stream.as_ref().map(|stream| stream.name.as_slice())
    }

    /// Takes the next event of the present stream, or the first of the next one after [`Self::close`]; its hash.
    ///
    /// # Errors
    /// When the event is not the continuation of its stream.
    pub fn event(&mut self, event: &RawEvent<'_>) -> Result<Digest, Broken> {
        let begun = || Stream { name: event.stream.to_vec(), seq: 0, hash: Digest::default() };
        let stream = self.stream.get_or_insert_with(begun);
        let broken = |(seq, reason)| Broken::event(event.stream, seq, reason);
        if stream.name != event.stream {
            return Err(broken((event.seq, Fault::OwnerMissing)));
        }
        let prev_hash = digest_of(event.prev_hash);
        follows((stream.seq, &stream.hash), event.seq, prev_hash.as_ref()).map_err(broken)?;
        let hash = self.hasher.hash(&stream.hash, event);
        let Some(hash) = hash.filter(|hash| digest_of(event.hash).as_ref() == Some(hash)) else {
            return Err(broken((event.seq, Fault::HashMismatch)));
        };
        (stream.seq, stream.hash) = (event.seq, hash);
        self.events += 1;
        Ok(hash)
    }

    /// Ends the present stream by what its owner row says; `None` when it has no owner row.
    ///
    /// # Errors
    /// When the owner row and the log do not agree.
    pub fn close(&mut self, owner: Option<&OwnerHead>) -> Result<(), Broken> {
        let Some(stream) = self.stream.take() else { return Ok(()) };
        let broken = |seq, reason| Err(Broken::event(&stream.name, seq, reason));
        let Some(owner) = owner else { return broken(1, Fault::OwnerMissing) };
        if owner.head.seq > stream.seq {
            return broken(stream.seq + 1, Fault::TailMissing);
        }
        let hash = hex(&stream.hash);
        if (owner.head.seq, &owner.head.hash) != (stream.seq, &hash) {
            return broken(stream.seq, Fault::HeadMismatch);
        }
        self.lines.update(&stream.name);
        self.lines.update(format!(" {} {hash}\n", stream.seq).as_bytes());
        Ok(())
    }

    /// An owner row whose stream holds no event at all.
    ///
    /// # Errors
    /// When it should hold some.
    pub fn empty(&self, owner: &OwnerHead) -> Result<(), Broken> {
        if owner.head.seq == 0 {
            return Ok(());
        }
        Err(Broken::event(owner.stream.as_bytes(), 1, Fault::TailMissing))
    }

    /// The end of the chains; every stream has been closed.
    #[must_use]
    pub fn finish(self) -> Chains {
        Chains { events: self.events, head: hex(self.lines.finish().as_ref()) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::{
        audit::{Event, EventName, NewEvent, genesis, raw::tests::Texts},
        clock::Clock,
    };

    fn chain(stream: &str, length: usize) -> (Vec<Event>, OwnerHead) {
        let mut head = ChainHead::default();
        let events = (0..length)
            .map(|i| {
                let new = NewEvent {
                    event: EventName::StepBatch,
                    request_id: None,
                    subject_ref: None,
                    actor: "system".to_owned(),
                    step: None,
                    action: None,
                    rows: None,
                    details: json!({ "batch": i }),
                };
                Event::chained(new, Clock.new_id(), stream, Clock.now(), &mut head)
            })
            .collect();
        (events, OwnerHead { stream: stream.to_owned(), head })
    }

    fn walk(events: &[Event], owner: Option<&OwnerHead>) -> Result<Chains, Broken> {
        let mut verifier = Verifier::default();
        for event in events {
            verifier.event(&Texts::of(event).raw())?;
        }
        verifier.close(owner)?;
        Ok(verifier.finish())
    }

    #[test]
    fn an_untouched_chain_verifies() {
        let (events, owner) = chain("request:a", 5);
        let verified = walk(&events, Some(&owner)).unwrap();
        let line = format!("request:a 5 {}\n", owner.head.hash);
        let head = hex(digest::digest(&digest::SHA256, line.as_bytes()).as_ref());
        assert_eq!(verified, Chains { events: 5, head });
    }

    #[test]
    fn every_kind_of_damage_is_found_where_it_is() {
        type Damage = fn(&mut Vec<Event>);
        let table: [(Damage, i64, Fault); 6] = [
            (|e| e[2].actor = "mallory".to_owned(), 3, Fault::HashMismatch),
            (|e| e[2].hash = genesis(), 3, Fault::HashMismatch),
            (|e| drop(e.remove(2)), 3, Fault::SequenceGap),
            (|e| drop(e.pop()), 5, Fault::TailMissing),
            (
                |e| {
                    let twice = e[1].clone();
                    e.insert(2, twice);
                },
                3,
                Fault::SequenceGap,
            ),
            (
                |e| {
                    e[2].actor = "mallory".to_owned();
                    e[2].hash = e[2].computed_hash();
                },
                4,
                Fault::ChainBroken,
            ),
        ];
        for (damage, seq, reason) in table {
            let (mut events, owner) = chain("request:a", 5);
            damage(&mut events);
            let broken = walk(&events, Some(&owner)).unwrap_err();
            assert_eq!(broken, Broken::event(b"request:a", seq, reason));
        }
    }

    #[test]
    fn a_rewritten_chain_does_not_fit_its_owner() {
        let (_, owner) = chain("request:a", 5);
        let (other, _) = chain("request:a", 5);
        assert_eq!(walk(&other, Some(&owner)).unwrap_err().reason, Fault::HeadMismatch);
        assert_eq!(walk(&other, None).unwrap_err().reason, Fault::OwnerMissing);
        assert_eq!(Verifier::default().empty(&owner).unwrap_err().reason, Fault::TailMissing);
    }
}
