//! Real logs of real stores: events of several requests, sequenced by and by, signed with keys that change.

use futures::TryStreamExt;
use rightful::{
    domain::{
        audit::EventName,
        checkpoint::{NewKey, PublicKey, Signer, SigningKey, TreeHead, read},
        clock::Clock,
        request::Request,
    },
    service::audit::export,
    store::{Checkpoint, EventFilter, Store},
};
use serde_json::json;

use super::log::Log;
use crate::{
    properties::random::Random,
    store::support::{insert, new_request},
};

pub const ORIGIN: &str = "rightful.test/audit";

pub struct Builder {
    pub store: Store,
    pub checkpoints: Vec<(u64, String)>,
    signer: Signer,
    /// All that there ever were.
    pub keys: Vec<PublicKey>,
    requests: Vec<Request>,
}

pub fn signer(keys: &[&NewKey]) -> Signer {
    let keys = keys.iter().map(|key| SigningKey::parse(&key.private).unwrap()).collect();
    Signer { origin: ORIGIN.to_owned(), keys }
}

impl Builder {
    pub fn new(store: Store) -> Self {
        Self::keyed(store, &NewKey::generate(ORIGIN).unwrap())
    }

    pub fn keyed(store: Store, key: &NewKey) -> Self {
        let keys = vec![key.public.parse().unwrap()];
        Self { store, checkpoints: Vec::new(), signer: signer(&[key]), keys, requests: Vec::new() }
    }

    /// Something that happens to a log.
    pub async fn step(&mut self, random: &mut Random) {
        match random.below(10) {
            0 | 1 => self.requests.push(insert(&self.store, new_request(), &[]).await),
            2..=5 if !self.requests.is_empty() => self.append(random).await,
            6 | 7 => self.sequence(random.between(1, 9)).await,
            // Also an idle one, or before the first event.
            8 => self.sign().await,
            9 if random.chance(20) => self.rotate(),
            _ => {}
        }
    }

    async fn append(&mut self, random: &mut Random) {
        let chosen = random.below(self.requests.len());
        let request = &mut self.requests[chosen];
        let names = [EventName::StepStarted, EventName::StepBatch, EventName::StepVerified];
        let details = [json!({ "batch": 1 }), json!({ "by": "o\"ne", "a": 1.5 }), json!({})];
        let events = (0..random.between(1, 3))
            .map(|i| request.event(names[random.below(3)], "worker:a", details[i].clone()))
            .collect();
        let mut tx = self.store.begin().await.unwrap();
        tx.append(request, events).await.unwrap();
        tx.save(request).await.unwrap();
        tx.commit().await.unwrap();
    }

    pub async fn sequence(&self, limit: usize) {
        let mut tx = self.store.begin().await.unwrap();
        assert!(tx.lock_log().await.unwrap());
        tx.sequence(limit).await.unwrap();
        tx.commit().await.unwrap();
    }

    pub async fn sign(&mut self) {
        let size = self.store.log_state().await.unwrap().size;
        let note = self.signer.sign(size, &self.store.log_root(size).await.unwrap());
        let number = self.checkpoints.len() as u64 + 1;
        let mut tx = self.store.begin().await.unwrap();
        let signed = Checkpoint { number, size, signed_at: Clock.now(), note: note.clone() };
        tx.add_checkpoint(&signed).await.unwrap();
        tx.commit().await.unwrap();
        self.checkpoints.push((size, note));
    }

    fn rotate(&mut self) {
        let key = NewKey::generate(ORIGIN).unwrap();
        self.keys.push(key.public.parse().unwrap());
        self.signer = signer(&[&key]);
    }

    /// Until a checkpoint speaks of that many entries; events may wait for theirs.
    pub async fn grow(&mut self, entries: u64, random: &mut Random) {
        while self.checkpoints.last().is_none_or(|(size, _)| *size < entries) {
            self.step(random).await;
        }
    }

    /// The last one, as somebody keeps it elsewhere.
    pub fn published(&self) -> Option<TreeHead> {
        self.checkpoints.last().map(|(_, note)| read(note).unwrap())
    }

    pub async fn log(&self) -> Log {
        let exported = export(&self.store, EventFilter::default()).try_concat().await.unwrap();
        Log::of(exported, &self.checkpoints)
    }
}
