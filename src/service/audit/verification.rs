//! Verification of the whole log in a store, live or a mere copy: every chain, the tree over all events, and what checkpoints
//! say of it. On one consistent state and in constant memory, however long the log is.

use std::collections::VecDeque;

use crate::{
    domain::{
        audit::{
            raw::digest_of,
            verify::{
                Broken, Chains, Fault, OwnerHead, Verifier,
                log::{Places, TreeWalk},
            },
        },
        checkpoint::{self, PublicKey, TreeHead},
        tree::leaf_of,
    },
    service::Service,
    store::{Checkpoint, EventBytes, Snapshot, Store, StoreError},
};

/// What a log is held against, beside itself.
#[derive(Debug, Clone, Default)]
pub struct Anchors {
    pub keys: Keys,
    /// What checkpoints say that were kept elsewhere; their signatures have been verified.
    pub checkpoints: Vec<TreeHead>,
}

/// Who may have signed the checkpoints in a store.
#[derive(Debug, Clone, Default)]
pub enum Keys {
    /// Not known: signatures are not looked at.
    #[default]
    Unknown,
    /// The keys that sign now. Keys change, and the old ones may be gone: what was signed before the first checkpoint that has
    /// a signature of these is not looked at.
    Present(Vec<PublicKey>),
    /// All keys that there ever were.
    All(Vec<PublicKey>),
}

impl Keys {
    /// Those that the service signs with.
    #[must_use]
    pub fn of(service: &Service) -> Self {
        match &service.evidence.signer {
            Some(signer) => Self::Present(signer.keys.iter().map(|key| key.public().clone()).collect()),
            None => Self::Unknown,
        }
    }
}

/// How many of the checkpoints in the store have a signature that was verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signatures {
    Checked,
    /// From some checkpoint on: the first ones are of keys that are not known.
    PartlyChecked,
    NotChecked,
}

impl Signatures {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Checked => "checked",
            Self::PartlyChecked => "partly_checked",
            Self::NotChecked => "not_checked",
        }
    }
}

/// What a walk over the whole log found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    pub events: u64,
    /// Hex SHA-256 over the lines `stream seq hash`, sorted by stream.
    pub head: String,
    pub tree: TreeHead,
    /// Events that wait for their place.
    pub waiting: u64,
    /// Checkpoints that agree, those in the store and those from elsewhere.
    pub checkpoints: u64,
    /// Of those in the store.
    pub signatures: Signatures,
}

/// What a walk over the whole log came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verification {
    Intact(Verified),
    /// The first broken place; what follows was not looked at.
    Broken(Broken),
}

/// Walks the whole log, held against nothing but itself.
///
/// # Errors
/// When the store does not answer; a broken log is an answer.
pub async fn verify(store: &Store) -> Result<Verification, StoreError> {
    verify_against(store, &Anchors::default()).await
}

/// Walks the whole log.
///
/// # Errors
/// When the store does not answer; a broken log is an answer.
pub async fn verify_against(store: &Store, anchors: &Anchors) -> Result<Verification, StoreError> {
    let mut log = store.snapshot().await?;
    let verdict = walk(&mut log, anchors).await;
    match verdict {
        Ok(verified) => {
            log.close().await?;
            Ok(Verification::Intact(verified))
        }
        Err(Stop::Broken(broken)) => {
            log.close().await?;
            Ok(Verification::Broken(broken))
        }
        Err(Stop::Store(error)) => Err(error),
    }
}

/// Why a walk ends early.
enum Stop {
    Broken(Broken),
    Store(StoreError),
}

impl From<Broken> for Stop {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

async fn walk(log: &mut Snapshot, anchors: &Anchors) -> Result<Verified, Stop> {
    let mut chains =
        ChainWalk { verifier: Verifier::default(), heads: Heads::default(), places: Places::new() };
    chains.through(log).await?;
    let (mut places, key) = (chains.places.alike(), chains.places);
    let Chains { events, head } = chains.verifier.finish();
    if log.count_events().await? != events {
        let nowhere = Broken { stream: None, seq: None, reason: Fault::EventsHidden, index: None };
        return Err(nowhere.into());
    }
    let mut stored = Stored::new(&anchors.keys);
    let tree = match through_tree(log, anchors, &mut stored, &mut places).await {
        Err(Stop::Broken(broken)) => {
            // A leaf that is not its event's shows in the tree only further on.
            let end = broken.index.map(|index| index + 1);
            return Err(log.misplaced_entry(end).await?.unwrap_or(broken).into());
        }
        other => other?,
    };
    let waiting = queued(log, &mut places).await?;
    if !places.are_those_of(&key) || tree.size + waiting != events {
        let place = match log.misplaced_entry(None).await? {
            Some(place) => Some(place),
            None => log.misplaced_event().await?,
        };
        // An entry twice, where the table's own rules were taken away.
        return Err(place.unwrap_or(Broken::leaf(tree.size, Fault::LeafGap)).into());
    }
    let checkpoints = stored.agreed + anchors.checkpoints.len() as u64;
    Ok(Verified { events, head, tree, waiting, checkpoints, signatures: stored.signatures() })
}

struct ChainWalk {
    verifier: Verifier,
    heads: Heads,
    /// What every event's leaf has to be.
    places: Places,
}

impl ChainWalk {
    async fn through(&mut self, log: &mut Snapshot) -> Result<(), Stop> {
        let mut events = log.next_event_bytes().await?;
        while !events.is_empty() {
            events = self.chunk(&events, log).await?;
        }
        self.close(log).await?;
        while let Some(owner) = self.heads.next(log).await? {
            self.verifier.empty(&owner)?;
        }
        Ok(())
    }

    /// Takes a chunk of events; the next one.
    async fn chunk(&mut self, events: &[EventBytes], log: &mut Snapshot) -> Result<Vec<EventBytes>, Stop> {
        for event in events {
            let event = event.raw();
            if self.verifier.stream().is_some_and(|stream| stream != event.stream) {
                self.close(log).await?;
            }
            let hash = self.verifier.event(&event)?;
            self.places.add(event.id, &leaf_of(&hash));
        }
        Ok(log.next_event_bytes().await?)
    }

    /// Compares the stream that has ended with its owner's head; owners before it hold streams without events.
    async fn close(&mut self, log: &mut Snapshot) -> Result<(), Stop> {
        let Some(stream) = self.verifier.stream().map(<[u8]>::to_vec) else { return Ok(()) };
        while let Some(owner) = self.heads.next(log).await? {
            if owner.stream.as_bytes() == stream {
                return Ok(self.verifier.close(Some(&owner))?);
            }
            if owner.stream.as_bytes() > stream.as_slice() {
                self.heads.put_back(owner);
                break;
            }
            self.verifier.empty(&owner)?;
        }
        Ok(self.verifier.close(None)?)
    }
}

/// The owners' heads one by one.
#[derive(Default)]
struct Heads {
    chunk: VecDeque<OwnerHead>,
    ended: bool,
}

impl Heads {
    async fn next(&mut self, log: &mut Snapshot) -> Result<Option<OwnerHead>, StoreError> {
        if self.chunk.is_empty() && !self.ended {
            let heads = log.next_heads().await?;
            self.ended = heads.is_empty();
            self.chunk
                .extend(heads.into_iter().map(|head| OwnerHead { stream: head.stream, head: head.head }));
        }
        Ok(self.chunk.pop_front())
    }

    fn put_back(&mut self, head: OwnerHead) {
        self.chunk.push_front(head);
    }
}

async fn through_tree(
    log: &mut Snapshot,
    anchors: &Anchors,
    stored: &mut Stored<'_>,
    places: &mut Places,
) -> Result<TreeHead, Stop> {
    let mut tree = TreeWalk::new(&anchors.checkpoints);
    loop {
        let entries = log.next_entries().await?;
        if entries.is_empty() {
            break;
        }
        for entry in entries {
            stored.reached(&tree, log).await?;
            let missing = || Broken::leaf(tree.size(), Fault::LeafGap);
            let index = entry.index().ok_or_else(missing)?;
            let leaf = entry.hashes().first_chunk::<32>().copied();
            let Some(leaf) = leaf else { return Err(Broken::leaf(index, Fault::TreeMismatch).into()) };
            tree.leaf(index, leaf, Some(entry.hashes()))?;
            places.add(entry.event_id(), &leaf);
        }
    }
    stored.reached(&tree, log).await?;
    if let Some((larger, _)) = &stored.next {
        tree.agrees_with(larger)?;
    }
    Ok(tree.finish()?)
}

/// How many events wait for a place.
async fn queued(log: &mut Snapshot, places: &mut Places) -> Result<u64, Stop> {
    let mut waiting = 0;
    loop {
        let queued = log.next_queued().await?;
        if queued.is_empty() {
            return Ok(waiting);
        }
        for queued in queued {
            let hash = queued.hash.as_deref().and_then(|hash| digest_of(hash.as_bytes()));
            let Some(hash) = hash else {
                let nowhere = Broken { stream: None, seq: None, reason: Fault::QueueMismatch, index: None };
                return Err(nowhere.into());
            };
            places.add(queued.event_id.as_bytes(), &leaf_of(&hash));
            waiting += 1;
        }
    }
}

/// The checkpoints of the store one by one, in the order in which they were signed.
struct Stored<'a> {
    keys: &'a Keys,
    chunk: VecDeque<Checkpoint>,
    has_begun: bool,
    next: Option<(TreeHead, bool)>,
    /// So many agree.
    agreed: u64,
    /// And so many of those have a signature that was verified.
    signed: u64,
}

impl<'a> Stored<'a> {
    fn new(keys: &'a Keys) -> Self {
        Self { keys, chunk: VecDeque::new(), has_begun: false, next: None, agreed: 0, signed: 0 }
    }

    /// Holds all that speak of the tree as it is now against it.
    async fn reached(&mut self, tree: &TreeWalk, log: &mut Snapshot) -> Result<(), Stop> {
        if !self.has_begun {
            self.has_begun = true;
            self.advance(log).await?;
        }
        while let Some((head, is_signed)) = &self.next
            && head.size <= tree.size()
        {
            tree.agrees_with(head)?;
            self.agreed += 1;
            self.signed += u64::from(*is_signed);
            self.advance(log).await?;
        }
        Ok(())
    }

    async fn advance(&mut self, log: &mut Snapshot) -> Result<(), Stop> {
        if self.chunk.is_empty() {
            self.chunk = log.next_checkpoints().await?.into();
        }
        self.next = match self.chunk.pop_front() {
            Some(checkpoint) => Some(self.open(&checkpoint)?),
            None => None,
        };
        Ok(())
    }

    /// What a checkpoint says, and whether its signature was verified.
    fn open(&self, stored: &Checkpoint) -> Result<(TreeHead, bool), Broken> {
        let broken = |fault| Broken::leaf(stored.size, fault);
        if stored.number != self.agreed + 1 {
            return Err(broken(Fault::CheckpointGap));
        }
        let head = checkpoint::read(&stored.note).ok().filter(|head| head.size == stored.size);
        let head = head.ok_or_else(|| broken(Fault::CheckpointGap))?;
        let is_signed_by = |keys: &[PublicKey]| checkpoint::open(&stored.note, keys).is_ok();
        let is_signed = match self.keys {
            Keys::Unknown => false,
            Keys::Present(keys) if is_signed_by(keys) => true,
            Keys::Present(_) if self.signed == 0 => false,
            Keys::All(keys) if is_signed_by(keys) => true,
            Keys::Present(_) | Keys::All(_) => return Err(broken(Fault::CheckpointUnsigned)),
        };
        Ok((head, is_signed))
    }

    fn signatures(&self) -> Signatures {
        match (self.keys, self.signed) {
            (Keys::Unknown, _) | (_, 0) => Signatures::NotChecked,
            (_, signed) if signed < self.agreed => Signatures::PartlyChecked,
            _ => Signatures::Checked,
        }
    }
}
