//! Masks whose new values are computed and whose rows go on matching. What tells a masked row from one that is
//! not is what this request wrote: keys and new values of every batch are sealed in the store before the target
//! commit, so that a resume knows what is done and the proof can compare row by row.

use std::{
    collections::HashSet,
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

use futures::StreamExt;
use serde_json::json;

use super::{
    Run,
    group::booked,
    keys::{self, Pass},
    recorder::Recorder,
    trouble::Interrupt,
};
use crate::{
    connectors::{RecordedRow, Work},
    domain::{
        compiled::{Rows, Step},
        key::{Key, Tuple},
        request::RunCode,
    },
};

/// Keys that are bound at once.
const CHUNK: usize = 1_000;

/// The sealed log of one walk.
pub struct Log {
    position: usize,
    /// In key order over one alternative with one binding of its keys; `None` over rows that a count has found.
    walk: Option<(usize, usize)>,
}

impl Log {
    /// `None` for a step that needs none.
    pub fn new(step: &Step, position: usize, alternative: usize, pass: usize) -> Option<Self> {
        step.is_recorded().then_some(Self { position, walk: Some((alternative, pass)) })
    }

    /// Of rows that a count has found. Their keys lie anywhere, so none of them says how far a walk has come.
    pub fn of_found(position: usize) -> Self {
        Self { position, walk: None }
    }

    fn prefix(&self) -> String {
        match self.walk {
            Some((alternative, pass)) => format!("{}{alternative:02}/{pass:04}/", of_step(self.position)),
            None => format!("{}found/", of_step(self.position)),
        }
    }

    /// Before the target commit: what the batch in flight writes.
    pub async fn announce(
        &self,
        run: &Run<'_>,
        recorder: &mut Recorder,
        rows: &[RecordedRow],
    ) -> Result<(), Interrupt> {
        // Numbered over all walks of the step: the highest is the batch in flight.
        let next = run.service.store.key_parts(recorder.request.id, &of_step(self.position)).await?.len();
        let part = format!("{}{next:06}", self.prefix());
        let plain = serde_json::to_vec(rows).unwrap_or_default();
        let sealed = run.data_key.seal(&plain, &part);
        let mut tx = run.service.store.begin().await?;
        tx.put_keys(recorder.request.id, &[(part, sealed)]).await?;
        recorder.record_in(tx, |_, _, _| Vec::new()).await
    }

    /// The key after which to go on: of the last row of the last batch. Whether a batch in flight was committed has
    /// been settled by [`settle`].
    pub async fn resume(&self, run: &Run<'_>, recorder: &Recorder) -> Result<Option<Vec<Key>>, Interrupt> {
        if self.walk.is_none() {
            return Ok(None);
        }
        let parts = run.service.store.key_parts(recorder.request.id, &self.prefix()).await?;
        let Some(last) = parts.last() else { return Ok(None) };
        Ok(open(run, recorder, last).await?.pop().map(|row| row.key))
    }
}

/// Where all that was logged of a step lies.
fn of_step(position: usize) -> String {
    format!("mask/{position:04}/")
}

async fn open(run: &Run<'_>, recorder: &Recorder, part: &str) -> Result<Vec<RecordedRow>, Interrupt> {
    let unreadable = || {
        Interrupt::trouble(RunCode::Internal, "a sealed record of a masked batch cannot be read", None, None)
    };
    let sealed = run.service.store.keys(recorder.request.id, part).await?.ok_or_else(unreadable)?;
    let plain = run.data_key.open(&sealed, part)?;
    serde_json::from_slice(&plain).map_err(|_| unreadable())
}

/// After a crash: was the batch in flight committed? If so it is booked as recovered, if not it is forgotten.
pub async fn settle(run: &Run<'_>, recorder: &mut Recorder, position: usize) -> Result<(), Interrupt> {
    let Some(step) = run.steps.get(position) else { return Ok(()) };
    let parts = run.service.store.key_parts(recorder.request.id, &of_step(position)).await?;
    let booked_batches = recorder.request.steps.get(position).map_or(0, |state| state.batches);
    if parts.len() <= usize::try_from(booked_batches).unwrap_or(0) {
        return Ok(());
    }
    let number = |part: &&String| part.rsplit('/').next().and_then(|number| number.parse::<u64>().ok());
    let Some(last) = parts.iter().max_by_key(number) else { return Ok(()) };
    let rows = open(run, recorder, last).await?;
    let keys = run.keys();
    let work = Work { rows: &step.rows, action: &step.action, alternative: 0, keys: &keys, root: None };
    let held = run
        .connector(&step.connection)?
        .recorded(&work, &rows)
        .await
        .map_err(|error| Interrupt::at(&error, &step.connection, Some(&step.name)))?;
    if held == 0 {
        let mut tx = run.service.store.begin().await?;
        tx.delete_keys(recorder.request.id, last).await?;
        return recorder.record_in(tx, |_, _, _| Vec::new()).await;
    }
    let affected = rows.len() as u64;
    recorder
        .record(move |request, actor, _| {
            request.progressed();
            booked(request, position, affected, actor, json!({ "recovered": true })).into_iter().collect()
        })
        .await
}

/// Rows of one alternative, with one binding of its keys, that are still to be masked.
pub struct Left {
    pub alternative: usize,
    pub pass: Pass,
    rows: Vec<Vec<Key>>,
}

/// Matching rows that do not hold what this request wrote, and hold something: they appeared behind the walk, or the
/// application has written them since.
pub async fn left(run: &Run<'_>, recorder: &Recorder, position: usize) -> Result<Vec<Left>, Interrupt> {
    let Some(step) = run.steps.get(position) else { return Ok(Vec::new()) };
    let hasher = RandomState::new();
    let mut written: HashSet<u64> = HashSet::new();
    for part in run.service.store.key_parts(recorder.request.id, &of_step(position)).await? {
        let rows = open(run, recorder, &part).await?;
        written.extend(rows.iter().map(|row| hasher.hash_one((&row.key, &row.values))));
    }
    let is_left = |row: &RecordedRow| {
        row.values.iter().any(Option::is_some) && !written.contains(&hasher.hash_one((&row.key, &row.values)))
    };
    let fault = |error| Interrupt::at(&error, &step.connection, Some(&step.name));
    let mut all = Vec::new();
    for alternative in 0..step.rows.any_of.len() {
        for pass in keys::passes(run, recorder, &step.rows, alternative).await? {
            let keys = keys::bind(run, recorder, &step.rows, alternative, &pass).await?;
            let work = Work { rows: &step.rows, action: &step.action, alternative, keys: &keys, root: None };
            let mut stream = run.connector(&step.connection)?.masked_rows(&work).await.map_err(fault)?;
            let mut rows = Vec::new();
            while let Some(chunk) = stream.next().await {
                rows.extend(chunk.map_err(fault)?.into_iter().filter(is_left).map(|row| row.key));
            }
            if !rows.is_empty() {
                all.push(Left { alternative, pass, rows });
            }
        }
    }
    Ok(all)
}

impl Left {
    /// Chunks of the keys of these rows, each as a selection of its own takes it.
    pub fn chunks(&self) -> impl Iterator<Item = Arc<Vec<Tuple>>> {
        self.rows
            .chunks(CHUNK)
            .map(|rows| Arc::new(rows.iter().map(|key| key.iter().cloned().map(Some).collect()).collect()))
    }
}

/// A selection narrowed to rows whose keys are bound as the key set of that number.
pub fn narrowed(rows: &Rows, set: usize) -> Rows {
    let by_key = Rows { within: rows.within.clone(), ..rows.of_set(set) };
    Rows { within: vec![by_key], ..rows.clone() }
}
