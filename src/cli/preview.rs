//! `rightful preview`: what a request would touch. Works on the plan files as they are, without a running service.

use std::{collections::BTreeMap, fmt::Write, path::Path};

use clap::{Args, builder::PossibleValuesParser};
use serde_json::{Value, json};

use super::{Failure, Outcome, connect, load, print, run_async};
use crate::{
    domain::{document::Severity, request::Kind, request::Subject},
    service::{
        preview::{Preview as Counted, look_ahead},
        registry::compile_folder,
    },
};

/// Prints the steps in order with their rows; changes nothing.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  rightful preview --plan customer --kind erasure --subject email=jane@example.com"
)]
pub(super) struct Preview {
    /// The plan's name.
    #[arg(long, value_name = "NAME")]
    plan: String,

    #[arg(long, default_value = "erasure", value_parser = PossibleValuesParser::new(Kind::ALL.map(Kind::as_str)))]
    kind: String,

    /// An identity of the person; several must lead to the same row.
    #[arg(long = "subject", value_name = "IDENTITY=VALUE", required = true, value_parser = parse_identity)]
    subject: Vec<Identity>,

    /// Prints what `POST /v1/plans/{plan}/preview` answers.
    #[arg(long)]
    json: bool,
}

#[derive(Clone)]
struct Identity {
    name: String,
    value: String,
}

/// The value is personal.
impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}=[redacted]", self.name)
    }
}

impl Preview {
    pub fn run(&self, path: &Path) -> Outcome {
        let config = load(path)?;
        let connectors = connect(&config)?;
        let kind = Kind::ALL.into_iter().find(|kind| kind.as_str() == self.kind).unwrap_or(Kind::Erasure);
        let subject: BTreeMap<String, Value> =
            self.subject.iter().map(|one| (one.name.clone(), json!(one.value))).collect();
        let counted = run_async(async {
            let (plans, loaded) = compile_folder(&connectors, &config.plans).await;
            let Some(plan) = plans.iter().find(|plan| plan.file.name.value == self.plan) else {
                let refused = loaded.faults.iter().any(|fault| fault.severity == Severity::Error);
                return Err(match refused {
                    true => Failure::from_faults(&loaded.faults),
                    false => Failure::new(format!("there is no plan `{}`", self.plan)),
                });
            };
            let Some(compiled) = &plan.compiled else { return Err(Failure::from_down(&loaded.down)) };
            look_ahead(&connectors, compiled, kind, &Subject(subject), None).await.map_err(Failure::new)
        })?;
        print(&if self.json { self.as_json(&counted) } else { as_table(&counted) })
    }

    fn as_json(&self, counted: &Counted) -> String {
        let steps: Vec<Value> = counted
            .steps
            .iter()
            .map(|step| {
                let (to_do, recipient) = match &step.manual {
                    Some(manual) => (Some(&manual.r#do), manual.recipient.as_ref()),
                    None => (None, None),
                };
                json!({
                    "name": step.name, "action": step.action, "matched": step.matched, "basis": step.basis,
                    "do": to_do, "recipient": recipient,
                })
            })
            .collect();
        let answer = json!({
            "kind": self.kind,
            "plan_version": counted.plan_version,
            "steps": steps,
            "warnings": counted.warnings,
        });
        format!("{answer:#}\n")
    }
}

fn as_table(counted: &Counted) -> String {
    let width = counted.steps.iter().map(|step| step.name.chars().count()).max().unwrap_or_default().max(4);
    let mut text = format!(
        "plan version {}\n{:<width$}  {:<22} {:>10}\n",
        counted.plan_version, "step", "action", "rows"
    );
    for step in &counted.steps {
        let unknown = if step.manual.is_some() { "" } else { "?" };
        let rows = step.matched.map_or_else(|| unknown.to_owned(), |rows| rows.to_string());
        let basis = step.basis.as_deref().map(|basis| format!("  {basis}")).unwrap_or_default();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{:<width$}  {:<22} {rows:>10}{basis}", step.name, step.action);
    }
    for warning in &counted.warnings {
        let _ = writeln!(text, "note: {warning}");
    }
    text
}

fn parse_identity(text: &str) -> Result<Identity, String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => {
            Ok(Identity { name: name.to_owned(), value: value.to_owned() })
        }
        _ => Err("write IDENTITY=VALUE: email=jane@example.com".to_owned()),
    }
}
