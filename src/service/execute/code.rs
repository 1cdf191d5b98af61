//! Steps in code, before the first table is touched: the program may look in the tables for what it has to erase. Each is
//! announced, run, recorded and proven like the step of a table.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{
    Run,
    group::{booked, started},
    recorder::Recorder,
    trouble::Interrupt,
    verify,
};
use crate::{
    domain::{
        compiled::Identity,
        key::Key,
        request::{CODE, Disposition, RunCode},
    },
    service::code::{Identities, RUNS, STILL_THERE, StepContext, StepError, is_clean},
};

/// How often is asked, while code runs, whether the worker is to stop.
const LOOK: Duration = Duration::from_millis(500);

/// Carries out what is left of them, in the order of the plan.
pub async fn carry_out(run: &Run<'_>, recorder: &mut Recorder) -> Result<(), Interrupt> {
    for position in 0..recorder.request.steps.len() {
        let step = recorder.request.steps.get(position);
        let open = step.filter(|step| step.action == CODE && !step.is_verified());
        if let Some(name) = open.map(|step| step.name.clone()) {
            one(run, recorder, position, &name).await?;
        }
    }
    Ok(())
}

async fn one(run: &Run<'_>, recorder: &mut Recorder, position: usize, name: &str) -> Result<(), Interrupt> {
    let step = run.service.code.get(name).ok_or_else(|| unregistered(name))?;
    let context = StepContext::new(recorder.request.id, identities(run), name);
    recorder.check()?;
    recorder
        .record(move |request, actor, now| started(request, position, actor, now).into_iter().collect())
        .await?;
    for _ in 0..RUNS {
        recorder.check()?;
        recorder.before_commit()?;
        let ran = unless_stopped(recorder, step.run(&context)).await?;
        let affected = ran.map_err(|error| fault(name, error))?;
        recorder
            .record(move |request, actor, _| {
                if affected > 0 {
                    request.progressed();
                }
                booked(request, position, affected, actor, serde_json::json!({})).into_iter().collect()
            })
            .await?;
        run.service.metrics.rows_affected.inc_by(affected);
        let clean = unless_stopped(recorder, is_clean(&**step, &context, affected)).await?;
        if clean.map_err(|error| fault(name, error))? {
            return verify::record_verified(recorder, &[(position, 0)], &run.steps).await;
        }
    }
    Err(Interrupt::trouble(RunCode::RowsRemaining, STILL_THERE.detail, None, Some(name)))
}

/// Waits for what the program does, unless the worker stops or has lost its lease.
async fn unless_stopped<T>(recorder: &mut Recorder, work: impl Future<Output = T>) -> Result<T, Interrupt> {
    tokio::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return Ok(done),
            () = recorder.rest(LOOK) => recorder.check()?,
        }
    }
}

/// What is known of the person, by the names of the plan, scope included.
fn identities(run: &Run<'_>) -> Identities {
    let root = &run.plan.root;
    let known = |identity: &Identity| {
        let value = match run.root.get(identity.column)?.as_ref()? {
            Key::Text(text) => text.clone(),
            Key::Bytes(bytes) => STANDARD.encode(bytes),
        };
        Some((identity.name.clone(), value))
    };
    root.identities.iter().chain(&root.scope).filter_map(known).collect()
}

fn fault(step: &str, error: StepError) -> Interrupt {
    let code = match error.disposition {
        Disposition::Wait => RunCode::ConnectionUnavailable,
        Disposition::Retry => RunCode::Internal,
        Disposition::Fail => RunCode::StepFailed,
    };
    Interrupt::trouble(code, error.detail, None, Some(step))
}

/// Another process, which has registered it, may take the request up.
fn unregistered(step: &str) -> Interrupt {
    let detail = "this program has no such step in code: start the one that registers it";
    Interrupt::trouble(RunCode::ConnectionUnavailable, detail, None, Some(step))
}
