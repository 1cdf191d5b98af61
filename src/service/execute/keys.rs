//! The sealed manifest: keys that must outlive the rows they were read from, or that cross connections, in
//! chunks of at most 1,000, each sealed on its own.

use std::{
    collections::{BTreeSet, HashSet},
    hash::BuildHasher,
    sync::Arc,
};

use futures::StreamExt;
use uuid::Uuid;

use super::{Run, recorder::Recorder, trouble::Interrupt};
use crate::{
    connectors::Keys,
    domain::{
        compiled::{Alternative, Rows, Source, Step},
        key::Tuple,
        request::{Confidential, RunCode, StepStatus},
        vault::DataKey,
    },
    points::{self, Point},
    service::{Service, readings::CONFIDENTIAL},
};

/// The part under which the root tuple lies.
pub const ROOT_PART: &str = "root";

/// The prefix of a key set's chunks.
fn set_prefix(set: usize) -> String {
    format!("set/{set:04}/")
}

/// The key sets that an alternative reads through, its live paths included.
pub fn sets_of(alternative: &Alternative) -> Vec<usize> {
    let mut sets = Vec::new();
    for link in alternative.links() {
        match &link.source {
            Source::Keys(set) => sets.push(*set),
            Source::Live(rows) => {
                sets.extend(rows.iter().flat_map(|rows| rows.any_of.iter().flat_map(sets_of)))
            }
            Source::Root(_) | Source::Itself => {}
        }
    }
    sets.sort_unstable();
    sets.dedup();
    sets
}

/// True for a selection that cannot be written without keys of the manifest.
pub fn uses_sets(rows: &Rows) -> bool {
    rows.any_of.iter().any(|alternative| !sets_of(alternative).is_empty())
        || rows.except.iter().chain(&rows.within).any(uses_sets)
}

/// What one walk over an alternative binds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pass {
    /// One chunk of the key set that a link of the alternative names.
    Chunk { set: usize, part: String },
    /// Every key of every set: a row is found through several of them, or on a live path of which a set is only one
    /// of the ways in, so that chunk by chunk it would be found twice or not at all.
    Whole,
}

/// The key set whose chunks an alternative can be walked by.
fn chunked(rows: &Rows, alternative: usize) -> Option<usize> {
    let alternative = rows.any_of.get(alternative).filter(|_| !rows.reads_itself())?;
    let [set] = sets_of(alternative)[..] else { return None };
    let direct = alternative.links().iter().any(|link| link.source == Source::Keys(set));
    let nested = alternative.links().iter().any(|link| {
        matches!(&link.source, Source::Live(rows)
        if rows.iter().any(|rows| rows.any_of.iter().any(|inner| !sets_of(inner).is_empty())))
    });
    (direct && !nested).then_some(set)
}

/// The passes over one alternative: one where no key set is involved.
pub async fn passes(
    run: &Run<'_>,
    recorder: &Recorder,
    rows: &Rows,
    alternative: usize,
) -> Result<Vec<Pass>, Interrupt> {
    if rows.reads_itself() && alternative > 0 {
        return Ok(Vec::new());
    }
    let Some(set) = chunked(rows, alternative) else { return Ok(vec![Pass::Whole]) };
    let parts = run.service.store.key_parts(recorder.request.id, &set_prefix(set)).await?;
    Ok(parts.into_iter().map(|part| Pass::Chunk { set, part }).collect())
}

/// The selection by one of its alternatives; whole where it is followed through itself.
pub fn one_alternative(rows: &Rows, alternative: usize) -> Rows {
    let mut alone = rows.clone();
    if !rows.reads_itself() {
        alone.any_of = rows.any_of.get(alternative).cloned().into_iter().collect();
    }
    alone
}

/// The values of one pass. Sets below `except` and `within`, and those of earlier alternatives, whose rows are left to
/// them, are bound whole.
pub async fn bind(
    run: &Run<'_>,
    recorder: &Recorder,
    rows: &Rows,
    alternative: usize,
    pass: &Pass,
) -> Result<Keys, Interrupt> {
    let mut keys = run.keys();
    let others = rows.except.iter().chain(&rows.within).flat_map(|rows| &rows.any_of);
    let mut whole: BTreeSet<usize> =
        others.chain(rows.any_of.iter().take(alternative)).flat_map(sets_of).collect();
    let mut here = BTreeSet::new();
    match pass {
        Pass::Chunk { set, part } => {
            let chunk = open_chunk(run.service, recorder.request.id, &run.data_key, part).await?;
            keys.chunk.insert(*set, Arc::new(chunk));
        }
        Pass::Whole if rows.reads_itself() => here.extend(rows.any_of.iter().flat_map(sets_of)),
        Pass::Whole => here.extend(rows.any_of.get(alternative).map(sets_of).unwrap_or_default()),
    }
    whole.extend(&here);
    for set in whole {
        let all = whole_set(run, recorder, set).await?;
        if here.contains(&set) {
            keys.chunk.insert(set, all.clone());
        }
        keys.whole.insert(set, all);
    }
    Ok(keys)
}

/// All keys of every set that a selection is written with, for what is done in one go.
pub async fn bind_all(run: &Run<'_>, recorder: &Recorder, rows: &Rows) -> Result<Keys, Interrupt> {
    let mut keys = run.keys();
    let mut sets = BTreeSet::new();
    collect_sets(rows, &mut sets);
    for set in sets {
        let all = whole_set(run, recorder, set).await?;
        keys.chunk.insert(set, all.clone());
        keys.whole.insert(set, all);
    }
    Ok(keys)
}

async fn whole_set(run: &Run<'_>, recorder: &Recorder, set: usize) -> Result<Arc<Vec<Tuple>>, Interrupt> {
    let mut all = Vec::new();
    for part in run.service.store.key_parts(recorder.request.id, &set_prefix(set)).await? {
        all.extend(open_chunk(run.service, recorder.request.id, &run.data_key, &part).await?);
    }
    Ok(Arc::new(all))
}

fn collect_sets(rows: &Rows, into: &mut BTreeSet<usize>) {
    into.extend(rows.any_of.iter().flat_map(sets_of));
    rows.except.iter().chain(&rows.within).for_each(|rows| collect_sets(rows, into));
}

/// True while no step has begun to remove the rows that a set is read from.
pub fn is_readable(run: &Run<'_>, recorder: &Recorder, set: usize) -> bool {
    let until = run.plan.key_sets.get(set).and_then(|set| set.readable_until);
    until.is_none_or(|until| {
        recorder.request.steps.get(until).is_none_or(|step| step.status == StepStatus::Pending)
    })
}

pub async fn open_chunk(
    service: &Service,
    id: Uuid,
    data_key: &DataKey,
    part: &str,
) -> Result<Vec<Tuple>, Interrupt> {
    let sealed = service.store.keys(id, part).await?.ok_or_else(|| {
        Interrupt::trouble(RunCode::Internal, "a part of the sealed key manifest is gone", None, None)
    })?;
    let plain = data_key.open(&sealed, part)?;
    serde_json::from_slice(&plain)
        .map_err(|_| Interrupt::trouble(RunCode::Internal, "a sealed key chunk cannot be read", None, None))
}

/// What was asked for with a request, and the key that everything of it is sealed with.
pub async fn confidential(service: &Service, id: Uuid) -> Result<(DataKey, Confidential), Interrupt> {
    let internal = |detail: &str| Interrupt::trouble(RunCode::Internal, detail, None, None);
    let sealed = service.store.confidential(id).await?;
    let (wrapped, confidential) = sealed.ok_or_else(|| internal("the sealed identities are gone"))?;
    let key = service.vault.unwrap_data_key(&wrapped)?;
    let plain = key.open(&confidential, CONFIDENTIAL)?;
    let confidential =
        serde_json::from_slice(&plain).map_err(|_| internal("the sealed identities cannot be read"))?;
    Ok((key, confidential))
}

/// The key that everything of a request is sealed with.
pub async fn data_key(service: &Service, id: Uuid) -> Result<DataKey, Interrupt> {
    let sealed = service.store.confidential(id).await?;
    let (wrapped, _) = sealed
        .ok_or_else(|| Interrupt::trouble(RunCode::Internal, "the sealed identities are gone", None, None))?;
    Ok(service.vault.unwrap_data_key(&wrapped)?)
}

/// The root tuple as resolution sealed it.
pub async fn root_tuple(service: &Service, id: Uuid, data_key: &DataKey) -> Result<Tuple, Interrupt> {
    let chunk = open_chunk(service, id, data_key, ROOT_PART).await?;
    Ok(chunk.into_iter().next().unwrap_or_default())
}

pub fn seal_root(data_key: &DataKey, tuple: &Tuple) -> (String, Vec<u8>) {
    (ROOT_PART.to_owned(), seal(data_key, ROOT_PART, std::slice::from_ref(tuple)))
}

pub fn seal(data_key: &DataKey, part: &str, tuples: &[Tuple]) -> Vec<u8> {
    let plain = serde_json::to_vec(tuples).unwrap_or_default();
    data_key.seal(&plain, part)
}

/// Reads key sets whose rows can still be read and seals the keys that the manifest does not hold yet: all of
/// them at first, those of rows that appeared meanwhile before a count. Returns how many were new.
pub async fn collect(run: &Run<'_>, recorder: &mut Recorder, sets: &[usize]) -> Result<u64, Interrupt> {
    let mut new = 0;
    for set in sets {
        new += collect_one(run, recorder, *set).await?;
    }
    Ok(new)
}

async fn collect_one(run: &Run<'_>, recorder: &mut Recorder, set: usize) -> Result<u64, Interrupt> {
    let Some(key_set) = run.plan.key_sets.get(set) else { return Ok(0) };
    let connector = run.connector(&key_set.connection)?;
    let hasher = std::collections::hash_map::RandomState::new();
    let mut known: HashSet<u64> = HashSet::new();
    let parts = run.service.store.key_parts(recorder.request.id, &set_prefix(set)).await?;
    for part in &parts {
        known.extend(
            open_chunk(run.service, recorder.request.id, &run.data_key, part)
                .await?
                .iter()
                .map(|t| hasher.hash_one(t)),
        );
    }
    let mut next = parts.len();
    let mut new = 0;
    let alternatives = if key_set.rows.reads_itself() { 1 } else { key_set.rows.any_of.len() };
    for alternative in 0..alternatives {
        // Alone, since another alternative may need the keys of other sets; a key that both find is sealed once.
        let mut alone = key_set.clone();
        alone.rows = one_alternative(&key_set.rows, alternative);
        for pass in passes(run, recorder, &alone.rows, 0).await? {
            let keys = bind(run, recorder, &alone.rows, 0, &pass).await?;
            let mut stream = connector
                .keys(&alone, &keys)
                .await
                .map_err(|error| Interrupt::at(&error, &key_set.connection, None))?;
            while let Some(chunk) = stream.next().await {
                let chunk = chunk.map_err(|error| Interrupt::at(&error, &key_set.connection, None))?;
                let fresh: Vec<Tuple> =
                    chunk.into_iter().filter(|tuple| known.insert(hasher.hash_one(tuple))).collect();
                if !fresh.is_empty() {
                    new += fresh.len() as u64;
                    put(run, recorder, set, next, &fresh).await?;
                    next += 1;
                }
            }
        }
    }
    Ok(new)
}

/// One sealed chunk, under the lease. A step that was done with the keys so far begins once more.
async fn put(
    run: &Run<'_>,
    recorder: &mut Recorder,
    set: usize,
    number: usize,
    tuples: &[Tuple],
) -> Result<(), Interrupt> {
    recorder.check()?;
    let part = format!("{}{number:06}", set_prefix(set));
    let sealed = seal(&run.data_key, &part, tuples);
    let is_led_to = |step: &Step| step.rows.any_of.iter().flat_map(sets_of).any(|known| known == set);
    let led_to: Vec<bool> = run.steps.iter().map(is_led_to).collect();
    let mut tx = run.service.store.begin().await?;
    tx.put_keys(recorder.request.id, &[(part, sealed)]).await?;
    recorder
        .record_in(tx, move |request, _, _| {
            for (step, _) in request.steps.iter_mut().zip(led_to).filter(|(_, led_to)| *led_to) {
                if step.is_verified() {
                    step.reopened();
                }
            }
            Vec::new()
        })
        .await?;
    points::reached(Point::KeysSealed);
    Ok(())
}
