//! Verification of the whole log in constant memory: events in the order of (stream, seq), and beside them the
//! heads that the streams' owner rows keep, in the order of the streams. Both in byte order.

use aws_lc_rs::digest;
use serde::Serialize;

use super::{ChainHead, Event, genesis, hex};

/// The owner row's word on one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnerHead {
    pub stream: String,
    pub head: ChainHead,
}

/// The first place where the log is not what was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Broken {
    pub stream: String,
    /// Of the event that is wrong or missing.
    pub seq: i64,
    pub reason: Fault,
}

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
}

/// What a walk over the whole log found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    pub events: u64,
    /// Hex SHA-256 over the lines `stream seq hash`, sorted by stream.
    pub head: String,
}

/// Takes the log piece by piece.
pub struct Verifier {
    events: u64,
    lines: digest::Context,
    stream: Option<(String, ChainHead)>,
}

impl Default for Verifier {
    fn default() -> Self {
        Self { events: 0, lines: digest::Context::new(&digest::SHA256), stream: None }
    }
}

impl Verifier {
    /// The stream that is being walked; its owner's head is due when another one begins.
    #[must_use]
    pub fn stream(&self) -> Option<&str> {
        self.stream.as_ref().map(|(stream, _)| stream.as_str())
    }

    /// Takes the next event of the present stream, or the first of the next one after [`Self::close`].
    ///
    /// # Errors
    /// When the event is not the continuation of its stream.
    pub fn event(&mut self, event: &Event) -> Result<(), Broken> {
        let (stream, head) =
            self.stream.get_or_insert_with(|| (event.stream.clone(), ChainHead { seq: 0, hash: genesis() }));
        let broken = |seq, reason| Err(Broken { stream: event.stream.clone(), seq, reason });
        if *stream != event.stream {
            return broken(event.seq, Fault::OwnerMissing);
        }
        if event.seq != head.seq + 1 {
            return broken(head.seq + 1, Fault::SequenceGap);
        }
        if event.prev_hash != head.hash {
            return broken(event.seq, Fault::ChainBroken);
        }
        if event.computed_hash() != event.hash {
            return broken(event.seq, Fault::HashMismatch);
        }
        *head = ChainHead { seq: event.seq, hash: event.hash.clone() };
        self.events += 1;
        Ok(())
    }

    /// Ends the present stream by what its owner row says; `None` when it has no owner row.
    ///
    /// # Errors
    /// When the owner row and the log do not agree.
    pub fn close(&mut self, owner: Option<&OwnerHead>) -> Result<(), Broken> {
        let Some((stream, head)) = self.stream.take() else { return Ok(()) };
        let broken = |seq, reason| Err(Broken { stream: stream.clone(), seq, reason });
        let Some(owner) = owner else { return broken(1, Fault::OwnerMissing) };
        if owner.head.seq > head.seq {
            return broken(head.seq + 1, Fault::TailMissing);
        }
        if owner.head != head {
            return broken(head.seq, Fault::HeadMismatch);
        }
        self.lines.update(format!("{stream} {} {}\n", head.seq, head.hash).as_bytes());
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
        Err(Broken { stream: owner.stream.clone(), seq: 1, reason: Fault::TailMissing })
    }

    /// The end of the log; every stream has been closed.
    #[must_use]
    pub fn finish(self) -> Verified {
        Verified { events: self.events, head: hex(self.lines.finish().as_ref()) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::{
        audit::{EventName, NewEvent},
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

    fn walk(events: &[Event], owner: Option<&OwnerHead>) -> Result<Verified, Broken> {
        let mut verifier = Verifier::default();
        for event in events {
            verifier.event(event)?;
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
        assert_eq!(verified, Verified { events: 5, head });
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
            assert_eq!(broken, Broken { stream: "request:a".to_owned(), seq, reason });
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
