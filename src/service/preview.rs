//! What a request would touch: the steps in order with their rows. Changes nothing.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::time::timeout;

use super::{Connectors, Service, registry::Registered};
use crate::{
    connectors::{ConnectorError, Count, ErrorKind, Keys, Resolution},
    domain::{
        compile::subject::{SubjectFault, check_subject},
        compiled::{CompiledPlan, Step},
        key::{Key, Tuple},
        plan::{CodeStep, ManualStep},
        rectification::{Changes, ChangesFault, bind},
        request::{CODE, Kind, MANUAL, Subject},
    },
};

mod calls;

/// All counts together; what does not fit is said, not guessed.
const LIMIT: Duration = Duration::from_secs(10);

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    pub plan_version: String,
    pub steps: Vec<PreviewStep>,
    pub warnings: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreviewStep {
    pub name: String,
    pub action: &'static str,
    pub basis: Option<String>,
    /// `None`: not counted; a warning says why, but for manual steps, which have no rows.
    pub matched: Option<u64>,
    /// Of a step that people carry out.
    pub manual: Option<ManualStep>,
}

#[derive(Debug, thiserror::Error)]
pub enum PreviewError {
    #[error(transparent)]
    Subject(#[from] SubjectFault),
    #[error(transparent)]
    Changes(#[from] ChangesFault),
    #[error("connection {connection}: {error}")]
    Connection { connection: String, error: ConnectorError },
}

/// Resolves the person and counts every step of a registered plan; `changes` narrow those of a rectification.
///
/// # Errors
/// When the subject does not fit the plan, or a connection cannot be asked.
pub async fn preview(
    service: &Service,
    registered: &Registered,
    kind: Kind,
    subject: &Subject,
    changes: Option<&Changes>,
) -> Result<Preview, PreviewError> {
    look_ahead(&service.connectors, &registered.compiled, kind, subject, changes).await
}

/// [`preview`] for a plan that need not be registered: the command line works without a store.
///
/// # Errors
/// When the subject does not fit the plan, or a connection cannot be asked.
pub async fn look_ahead(
    connectors: &Connectors,
    plan: &CompiledPlan,
    kind: Kind,
    subject: &Subject,
    changes: Option<&Changes>,
) -> Result<Preview, PreviewError> {
    let until = Instant::now() + LIMIT;
    let given = check_subject(plan, subject)?;
    let planned = match changes {
        Some(changes) => bind(plan, changes)?,
        None => plan.steps(kind).clone(),
    };
    let mut warnings = Vec::new();
    let tuple = match timeout(LIMIT, resolve(connectors, plan, &given, &mut warnings)).await {
        Ok(resolved) => resolved?,
        Err(_) => return Err(unresolved(plan)),
    };
    let keys = Keys { root: Arc::new(tuple), ..Keys::default() };
    let mut steps: Vec<PreviewStep> =
        plan.code(kind).iter().map(|step| in_code(step, &mut warnings)).collect();
    for step in planned.iter() {
        let matched = count(connectors, step, &keys, until, &mut warnings).await?;
        steps.push(PreviewStep {
            name: step.name.clone(),
            action: step.action.name(),
            basis: step.basis.clone(),
            matched,
            manual: None,
        });
    }
    steps.extend(plan.manual(kind).map(by_hand));
    Ok(Preview { plan_version: plan.version.clone(), steps, warnings })
}

fn in_code(step: &CodeStep, warnings: &mut Vec<String>) -> PreviewStep {
    warnings.push(format!("{} is code: what it will find is known only to itself", step.name));
    PreviewStep { name: step.name.clone(), action: CODE, basis: None, matched: None, manual: None }
}

fn by_hand(step: &ManualStep) -> PreviewStep {
    let manual = Some(step.clone());
    PreviewStep { name: step.name.clone(), action: MANUAL, basis: step.basis.clone(), matched: None, manual }
}

fn unresolved(plan: &CompiledPlan) -> PreviewError {
    PreviewError::Connection {
        connection: plan.root.connection.clone(),
        error: ConnectorError {
            kind: ErrorKind::StatementTimeout,
            detail: "looking for the person took longer than a preview may".to_owned(),
        },
    }
}

async fn resolve(
    connectors: &Connectors,
    plan: &CompiledPlan,
    given: &[(usize, Key)],
    warnings: &mut Vec<String>,
) -> Result<Tuple, PreviewError> {
    let connection = &plan.root.connection;
    let given_only = plan.root.named(given);
    match connector(connectors, connection)?.resolve(&plan.root, given).await.map_err(fault(connection))? {
        Resolution::Found { tuple, sharing } => {
            for (columns, others) in plan.root.must_be_unshared.iter().zip(sharing) {
                if others > 0 {
                    let names: Vec<&str> = columns
                        .iter()
                        .filter_map(|position| plan.root.columns.get(*position))
                        .map(|column| column.name.as_str())
                        .collect();
                    warnings.push(format!(
                        "{others} other rows of {} have the same {}: a request would fail with subject_ambiguous",
                        plan.root.table.name,
                        names.join(", ")
                    ));
                }
            }
            Ok(tuple)
        }
        Resolution::NotFound => {
            warnings.push("no row of the subject's table has these identities".to_owned());
            Ok(given_only)
        }
        Resolution::NoKey => {
            warnings.push(
                "the primary key of the person's row is NULL, empty, or like another row's: a request would fail \
                 with subject_ambiguous"
                    .to_owned(),
            );
            Ok(vec![None; plan.root.columns.len()])
        }
        Resolution::Ambiguous | Resolution::OtherCase => {
            warnings.push(
                "the identities lead to several rows, or to one in another case: a request would fail with \
                 subject_ambiguous"
                    .to_owned(),
            );
            Ok(vec![None; plan.root.columns.len()])
        }
    }
}

async fn count(
    connectors: &Connectors,
    step: &Step,
    keys: &Keys,
    until: Instant,
    warnings: &mut Vec<String>,
) -> Result<Option<u64>, PreviewError> {
    if super::execute::uses_key_sets(&step.rows) {
        warnings.push(format!("{} is found through keys that only a request reads: not counted", step.name));
        return Ok(None);
    }
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() {
        warnings.push(format!("{} was not counted: the time for a preview was used up", step.name));
        return Ok(None);
    }
    if let Some(resource) = step.resource() {
        let counted = calls::count(connectors, step, resource, keys, left).await;
        return Ok(counted
            .map_err(|why| warnings.push(format!("{} was not counted: {why}", step.name)))
            .ok());
    }
    let wanted = Count { rows: &step.rows, action: &step.action, keys, of: step.first_count() };
    match connector(connectors, &step.connection)?.count(&[wanted], left).await {
        Ok(counts) => Ok(counts.first().copied()),
        Err(error) if error.kind == ErrorKind::StatementTimeout => {
            warnings.push(format!("{} was not counted: it takes longer than a preview may", step.name));
            Ok(None)
        }
        Err(error) => Err(fault(&step.connection)(error)),
    }
}

fn connector<'a>(
    connectors: &'a Connectors,
    name: &str,
) -> Result<&'a Arc<dyn crate::connectors::Connector>, PreviewError> {
    connectors.get(name).ok_or_else(|| PreviewError::Connection {
        connection: name.to_owned(),
        error: ConnectorError { kind: ErrorKind::Unavailable, detail: "is not configured".to_owned() },
    })
}

fn fault(connection: &str) -> impl FnOnce(ConnectorError) -> PreviewError {
    let connection = connection.to_owned();
    move |error| PreviewError::Connection { connection, error }
}
