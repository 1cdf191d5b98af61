//! The keys of kept rows, sealed with the request in chunks, and what is counted and read by them.

use std::{
    collections::{HashSet, hash_map::RandomState},
    hash::BuildHasher,
    sync::Arc,
};

use chrono::{DateTime, Utc};
use futures::StreamExt;

use crate::{
    connectors::{CountOf, Keys},
    domain::{
        compiled::{KeySet, Step},
        key::Tuple,
    },
    points::{self, Point},
    service::execute::{Run, keys, recorder::Recorder, resolve::COUNT_LIMIT, trouble::Interrupt, verify},
};

/// The oldest and the newest time.
type Span = Option<(DateTime<Utc>, DateTime<Utc>)>;

/// The number under which a chunk of keys of kept rows is bound: one that no key set of the plan has.
pub fn set(run: &Run<'_>) -> usize {
    run.plan.key_sets.len()
}

/// The run with another step at that position.
pub fn with_step<'a>(run: &Run<'a>, position: usize, step: Step) -> Run<'a> {
    let mut steps = run.steps.to_vec();
    if let Some(slot) = steps.get_mut(position) {
        *slot = step;
    }
    Run {
        service: run.service,
        plan: run.plan.clone(),
        steps: steps.into(),
        data_key: run.data_key.clone(),
        root: run.root.clone(),
        limits: run.limits,
        resumed: run.resumed,
        effort: run.effort.clone(),
    }
}

/// Where the keys of the kept rows of a step lie.
fn prefix(position: usize) -> String {
    format!("kept/{position:04}/")
}

pub async fn parts(run: &Run<'_>, recorder: &Recorder, position: usize) -> Result<Vec<String>, Interrupt> {
    Ok(run.service.store.key_parts(recorder.request.id, &prefix(position)).await?)
}

pub async fn chunk(run: &Run<'_>, recorder: &Recorder, part: &str) -> Result<Arc<Vec<Tuple>>, Interrupt> {
    Ok(Arc::new(keys::open_chunk(run.service, recorder.request.id, &run.data_key, part).await?))
}

pub async fn collect_one(run: &Run<'_>, recorder: &mut Recorder, position: usize) -> Result<(), Interrupt> {
    let Some(step) = run.steps.get(position) else { return Ok(()) };
    let connector = run.connector(&step.connection)?;
    let fault = |error| Interrupt::at(&error, &step.connection, Some(&step.name));
    let hasher = RandomState::new();
    let mut known: HashSet<u64> = HashSet::new();
    let mut next = 0;
    for part in parts(run, recorder, position).await? {
        known.extend(chunk(run, recorder, &part).await?.iter().map(|key| hasher.hash_one(key)));
        next += 1;
    }
    for alternative in 0..step.rows.any_of.len() {
        let rows = keys::one_alternative(&step.rows, alternative);
        for pass in keys::passes(run, recorder, &rows, 0).await? {
            let bound = keys::bind(run, recorder, &rows, 0, &pass).await?;
            let wanted = KeySet {
                connection: step.connection.clone(),
                columns: rows.key.clone(),
                rows: rows.clone(),
                readable_until: None,
            };
            let mut stream = connector.keys(&wanted, &bound).await.map_err(fault)?;
            while let Some(found) = stream.next().await {
                let found = found.map_err(fault)?;
                let fresh: Vec<Tuple> =
                    found.into_iter().filter(|key| known.insert(hasher.hash_one(key))).collect();
                if fresh.is_empty() {
                    continue;
                }
                recorder.check()?;
                let part = format!("{}{next:06}", prefix(position));
                let sealed = keys::seal(&run.data_key, &part, &fresh);
                let mut tx = run.service.store.begin().await?;
                tx.put_keys(recorder.request.id, &[(part, sealed)]).await?;
                recorder.record_in(tx, |_, _, _| Vec::new()).await?;
                points::reached(Point::KeepSealed);
                next += 1;
            }
        }
    }
    Ok(())
}

/// Counts those of the kept rows of a step that are also of a selection, chunk by chunk.
pub async fn count(
    run: &Run<'_>,
    recorder: &Recorder,
    position: usize,
    select: impl Fn(&Step, usize) -> Option<Step>,
) -> Result<u64, Interrupt> {
    let set = set(run);
    let Some(step) = run.steps.get(position).and_then(|step| select(step, set)) else { return Ok(0) };
    let connector = run.connector(&step.connection)?;
    let mut total = 0;
    for part in parts(run, recorder, position).await? {
        let chunk = chunk(run, recorder, &part).await?;
        for alternative in 0..step.rows.any_of.len() {
            let alone = verify::alone(&step, alternative);
            for keys in bindings(run, recorder, &alone, &chunk).await? {
                let found = connector
                    .count(&[verify::counting(&alone, CountOf::Matched, &keys)], COUNT_LIMIT)
                    .await
                    .map_err(|error| Interrupt::at(&error, &step.connection, Some(&step.name)))?;
                total += found.first().copied().unwrap_or(0);
            }
        }
    }
    Ok(total)
}

/// What the passes over a selection of one alternative bind, with a chunk of keys of kept rows.
async fn bindings(
    run: &Run<'_>,
    recorder: &Recorder,
    step: &Step,
    chunk: &Arc<Vec<Tuple>>,
) -> Result<Vec<Keys>, Interrupt> {
    let set = set(run);
    let is_by_key = step.rows.any_of.first().is_some_and(|first| keys::sets_of(first).contains(&set));
    let passes = match is_by_key {
        true => vec![keys::Pass::Whole],
        false => keys::passes(run, recorder, &step.rows, 0).await?,
    };
    let mut bound = Vec::new();
    for pass in passes {
        let mut keys = keys::bind(run, recorder, &step.rows, 0, &pass).await?;
        keys.whole.insert(set, chunk.clone());
        if is_by_key {
            keys.chunk.insert(set, chunk.clone());
        }
        bound.push(keys);
    }
    Ok(bound)
}

/// The oldest and the newest time of the kept rows of a step that hold theirs themselves.
pub async fn span(run: &Run<'_>, recorder: &Recorder, position: usize) -> Result<Span, Interrupt> {
    let Some(step) = run.steps.get(position).map(|step| step.by_key(set(run))) else { return Ok(None) };
    let Some(until) = step.until().filter(|until| until.table == step.rows.table) else { return Ok(None) };
    let connector = run.connector(&step.connection)?;
    let mut whole: Span = None;
    for part in parts(run, recorder, position).await? {
        let chunk = chunk(run, recorder, &part).await?;
        for keys in bindings(run, recorder, &step, &chunk).await? {
            let found = connector
                .span(&step.rows, &keys, &until.column, until.time, COUNT_LIMIT)
                .await
                .map_err(|error| Interrupt::at(&error, &step.connection, Some(&step.name)))?;
            whole = match (whole, found) {
                (Some(one), Some(other)) => Some((one.0.min(other.0), one.1.max(other.1))),
                (one, other) => one.or(other),
            };
        }
    }
    Ok(whole)
}
