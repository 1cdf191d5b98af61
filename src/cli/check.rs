//! `rightful check`: every fault of the configuration and of every plan against the live schemas, before anything is
//! served.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    path::Path,
};

use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Failure, Outcome, print, run_async, wiring};
use crate::{
    config::{self, Config, ConnectionKind},
    connectors::{ConnectorError, Trusted},
    domain::{
        compiled::{CompiledPlan, Step},
        document::{Fault, Severity},
        plan::{PlanFile, gaps},
        request::{CODE, Kind, MANUAL},
        sweep::{Periods, Sweep},
    },
    http::auth::Verifier,
    service::{
        Connectors,
        code::CodeSteps,
        registry::{FromFile, compile_folder, unregistered_code},
        retention,
    },
};

/// Validates the configuration and every plan against the live schemas; says every fault with its remedy.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  rightful check && rightful serve")]
pub(super) struct Check {
    /// Prints `{"ok": …, "faults": […], "connections": {…}, "plans": […], "retention": {…}}`.
    #[arg(long)]
    json: bool,
}

#[derive(Default)]
struct Findings {
    faults: Vec<Fault>,
    down: BTreeMap<String, ConnectorError>,
    connections: Vec<String>,
    plans: Vec<FromFile>,
    periods: Periods,
}

impl Check {
    pub fn run(&self, path: &Path, code: &CodeSteps) -> Outcome {
        let findings = run_async(async { Ok(look(path, code).await) })?;
        print(&if self.json { findings.as_json() } else { findings.as_text() })?;
        findings.outcome()
    }
}

async fn look(path: &Path, code: &CodeSteps) -> Findings {
    let mut findings = Findings::default();
    let config = match config::load(path) {
        Ok(config) => config,
        Err(faults) => return Findings { faults, ..findings },
    };
    if let Err(error) = Verifier::new((&config.auth).into()) {
        findings.faults.push(fault(&config, None, format!("auth.keys: {error}")));
    }
    findings.periods = config.retention.periods;
    let connectors = connectors(&config, &mut findings);
    findings.connections = config.connections.keys().cloned().collect();
    let (plans, loaded) = compile_folder(&connectors, &config.plans).await;
    findings.faults.extend(loaded.faults);
    findings.faults.extend(plans.iter().flat_map(|plan| gaps(&plan.file)));
    findings.faults.extend(unregistered_code(code, &plans));
    findings.down = loaded.down;
    findings.plans = plans;
    findings.ask_the_rest(&connectors).await;
    findings.prepare(&connectors).await;
    let (faults, down) =
        retention::check(&connectors, &config.retention.policies, crate::domain::clock::Clock.now()).await;
    findings.faults.extend(faults);
    for (name, detail) in down {
        let error = ConnectorError { kind: crate::connectors::ErrorKind::Unavailable, detail };
        findings.down.entry(name).or_insert(error);
    }
    findings
}

/// As [`wiring`](super::wiring) makes them, but every wrong URL is a fault with its line.
fn connectors(config: &Config, findings: &mut Findings) -> Connectors {
    let mut connectors = Connectors::default();
    let client = match wiring::web_client(config) {
        Ok(client) => client,
        Err(error) => {
            findings.faults.push(fault(config, None, error.to_string()));
            return connectors;
        }
    };
    for (name, connection) in &config.connections {
        if let Err(problem) = wiring::connect(&mut connectors, name, connection, 1, &client) {
            let problem = format!("connection `{name}`: {problem}");
            findings.faults.push(fault(config, Some(connection.line), problem));
        }
        if matches!(connection.kind, ConnectionKind::Service { probe: None, .. }) {
            findings.faults.push(Fault {
                remedy: "add one that answers 2xx, such as: probe: GET /health".to_owned(),
                severity: Severity::Warning,
                ..fault(
                    config,
                    Some(connection.line),
                    format!(
                        "connection `{name}` has no `probe`: a 404 of it will not be believed to mean gone"
                    ),
                )
            });
        }
    }
    connectors
}

fn fault(config: &Config, line: Option<usize>, problem: String) -> Fault {
    let file = config.file.display().to_string();
    Fault { file, line, problem, remedy: String::new(), severity: Severity::Error }
}

impl Findings {
    /// Databases that no plan names, and services, which no plan asks, must answer too.
    async fn ask_the_rest(&mut self, connectors: &Connectors) {
        let named: BTreeSet<&str> = self
            .plans
            .iter()
            .flat_map(|plan| &plan.file.connections)
            .map(|connection| connection.value.as_str())
            .collect();
        for (name, connector) in connectors.databases().filter(|(name, _)| !named.contains(name.as_str())) {
            if let Err(error) = connector.fingerprint().await {
                self.down.insert(name.clone(), error);
            }
        }
        for (name, service) in connectors.services() {
            if let Err(fault) = service.is_up().await {
                self.down.insert(name.clone(), fault.error);
            }
        }
    }

    /// Lets the databases parse what each step will send them, the plan's own SQL in it.
    async fn prepare(&mut self, connectors: &Connectors) {
        let mut faults = Vec::new();
        for FromFile { file, compiled } in &self.plans {
            let Some(plan) = compiled else { continue };
            for (connection, trusted, line, name) in statements(file, plan) {
                let Some(connector) = connectors.get(connection) else { continue };
                match connector.prepare(trusted).await {
                    Ok(Ok(())) => {}
                    Ok(Err(words)) => faults.push(Fault {
                        file: file.file.clone(),
                        line: Some(line),
                        problem: format!(
                            "{name}: the database refuses its SQL: {}",
                            words.replace('\n', " ")
                        ),
                        remedy: "mend `where`, `sql` or `done` of this entry".to_owned(),
                        severity: Severity::Error,
                    }),
                    Err(error) => {
                        self.down.insert(connection.to_owned(), error);
                    }
                }
            }
        }
        self.faults.extend(faults);
    }

    fn errors(&self) -> usize {
        self.faults.iter().filter(|fault| fault.severity == Severity::Error).count() + self.down.len()
    }

    fn outcome(&self) -> Outcome {
        if let Some(name) = self.down.keys().next()
            && self.errors() == 1
        {
            return Err(Failure::new(format!("connection `{name}` is down: {}", self.down[name])));
        }
        match self.errors() {
            0 => Ok(()),
            1 => Err(Failure::new("1 error")),
            errors => Err(Failure::new(format!("{errors} errors"))),
        }
    }

    fn as_text(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        for fault in &self.faults {
            let _ = writeln!(text, "{fault}");
        }
        for (name, error) in &self.down {
            let _ = writeln!(text, "connection `{name}` is down: {error}");
        }
        if self.errors() > 0 {
            return text;
        }
        for FromFile { file, compiled } in &self.plans {
            let Some(plan) = compiled else { continue };
            let _ = writeln!(text, "plan {} {} ({})", plan.name, plan.version, file.file);
            for (at, step) in steps(plan).iter().enumerate() {
                let until = step.until.as_ref().map(|until| format!(" until {until}")).unwrap_or_default();
                let _ = writeln!(text, "  {:>2}. {} {}{until}", at + 1, step.name, step.action);
            }
            let exported: Vec<&str> = plan.export.iter().map(|step| step.name.as_str()).collect();
            let _ = writeln!(text, "  export: {}", exported.join(", "));
        }
        for sweep in Sweep::ALL {
            let kept = self.periods.of(sweep).map_or("for ever".to_owned(), |period| period.to_string());
            let _ = writeln!(text, "retention.{}: {kept}", sweep.as_str());
        }
        let _ = writeln!(text, "ok: {} connections, {} plans", self.connections.len(), self.plans.len());
        text
    }

    fn as_json(&self) -> String {
        let faults: Vec<Value> = self.faults.iter().map(fault_json).collect();
        let connections: BTreeMap<&str, Value> = self
            .connections
            .iter()
            .map(|name| {
                let error = self.down.get(name).map(ToString::to_string);
                (name.as_str(), json!({ "ok": error.is_none(), "error": error }))
            })
            .collect();
        let plans: Vec<Value> = self
            .plans
            .iter()
            .map(|plan| {
                let of = |steps: &[Step]| steps.iter().map(|step| step.name.clone()).collect::<Vec<_>>();
                let steps = plan.compiled.as_ref().map(steps);
                let export = plan.compiled.as_ref().map(|plan| of(&plan.export));
                json!({
                    "name": plan.file.name.value,
                    "file": plan.file.file,
                    "version": plan.compiled.as_ref().map(|plan| &plan.version),
                    "steps": steps,
                    "export": export,
                })
            })
            .collect();
        let period = |sweep: Sweep| (sweep.as_str(), self.periods.of(sweep).map(|period| period.to_string()));
        let retention: BTreeMap<&str, Option<String>> = Sweep::ALL.into_iter().map(period).collect();
        let answer = json!({
            "ok": self.errors() == 0, "faults": faults, "connections": connections, "plans": plans,
            "retention": retention,
        });
        format!("{answer:#}\n")
    }
}

fn fault_json(fault: &Fault) -> Value {
    let severity = match fault.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    json!({
        "severity": severity,
        "file": fault.file,
        "line": fault.line,
        "problem": fault.problem,
        "remedy": fault.remedy,
    })
}

/// One step as it is told.
#[derive(Serialize)]
struct Told<'p> {
    name: &'p str,
    action: &'static str,
    basis: Option<&'p str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
}

/// What an erasure does, in the order of execution.
fn steps(plan: &CompiledPlan) -> Vec<Told<'_>> {
    let told = |name, action| Told { name, action, basis: None, until: None };
    let code = plan.code(Kind::Erasure).iter().map(|step| told(&step.name, CODE));
    let tables = plan.erasure.iter().map(|step| Told {
        basis: step.basis.as_deref(),
        until: step.until().map(ToString::to_string),
        ..told(&step.name, step.action.name())
    });
    let manual = plan
        .manual(Kind::Erasure)
        .map(|step| Told { basis: step.basis.as_deref(), ..told(&step.name, MANUAL) });
    code.chain(tables).chain(manual).collect()
}

/// Everything of a plan that becomes SQL: connection, text, line and name of the entry it stems from.
fn statements<'p>(
    file: &'p PlanFile,
    plan: &'p CompiledPlan,
) -> impl Iterator<Item = (&'p str, Trusted<'p>, usize, String)> {
    let steps = plan.erasure.iter().map(|step| {
        let trusted = Trusted::Step(&step.rows, &step.action);
        (step.connection.as_str(), trusted, line_of(file, step), step.name.clone())
    });
    // What an erasure has no step for.
    let is_further = |step: &&Step| !plan.erasure.iter().any(|other| other.name == step.name);
    let exports = plan.export.iter().filter(is_further).map(|step| {
        (step.connection.as_str(), Trusted::Rows(&step.rows), line_of(file, step), step.name.clone())
    });
    let sets = plan.key_sets.iter().map(|set| {
        let name = format!("keys of {}.{}", set.connection, set.rows.table.name);
        (set.connection.as_str(), Trusted::Rows(&set.rows), file.name.line, name)
    });
    steps.chain(exports).chain(sets)
}

/// The line of the entry that a step was compiled from.
fn line_of(file: &PlanFile, step: &Step) -> usize {
    let further = step.name.split_once('/').map(|(_, name)| name);
    file.entries
        .iter()
        .find(|entry| {
            entry.connection == step.connection
                && entry.table.parts.last() == Some(&step.rows.table.name)
                && entry.name.as_ref().map(|name| name.value.as_str()) == further
        })
        .map_or(file.name.line, |entry| entry.line)
}
