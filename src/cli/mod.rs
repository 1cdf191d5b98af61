//! The command line: one file per command. Success is 0, a failure that one line can explain is 1, wrong usage is 2.

use std::{
    collections::BTreeMap,
    fmt::Display,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::{CommandFactory, Parser, Subcommand, error::ErrorKind};

use crate::{
    config::{self, Config},
    connectors::ConnectorError,
    domain::document::{Fault, Severity},
    service::{Connectors, code::CodeSteps},
};

/// How long threads that cannot be interrupted are waited for at the end.
const THREADS_END: Duration = Duration::from_millis(500);

mod audit;
mod backup;
mod certificate;
mod check;
mod demo;
mod draft;
mod embed;
mod fixtures;
mod init;
mod keygen;
mod migrate;
mod openapi;
mod preview;
mod public_key;
mod replay;
mod retention;
mod serve;
mod serving;
mod token;
mod wiring;

pub use embed::{Embedded, Started};

/// Carries out GDPR erasure requests in your databases, proves it by fresh counts, and keeps an audit log that can
/// be checked.
#[derive(Debug, Parser)]
#[command(name = "rightful", version, after_help = "Example:\n  rightful demo")]
struct Arguments {
    /// The configuration file.
    #[arg(long, global = true, value_name = "FILE", default_value = "rightful.yaml")]
    config: PathBuf,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Init(init::Init),
    Demo(demo::Demo),
    Serve(serve::Serve),
    Migrate(migrate::Migrate),
    Check(check::Check),
    Draft(draft::Draft),
    Preview(preview::Preview),
    Retention(retention::Retention),
    Replay(replay::Replay),
    Token(token::Token),
    #[command(name = "keygen")]
    KeyGen(keygen::KeyGen),
    Fixtures(fixtures::Fixtures),
    Audit(audit::Audit),
    Certificate(certificate::Certificate),
    Backup(backup::Backup),
    #[command(name = "openapi")]
    OpenApi(openapi::OpenApi),
}

/// Why a command failed, in one line. It never holds personal data.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Failure(String);

impl Failure {
    pub(crate) fn new(text: impl Display) -> Self {
        Self(text.to_string())
    }

    /// The first of several faults, and how to see the others.
    pub(crate) fn from_faults(faults: &[Fault]) -> Self {
        let errors: Vec<&Fault> = faults.iter().filter(|fault| fault.severity == Severity::Error).collect();
        let first = errors.first().map_or_else(|| "refused".to_owned(), |fault| one_line(fault));
        match errors.len() {
            0 | 1 => Self(first),
            more => Self(format!("{first} (and {} more: `rightful check` shows all)", more - 1)),
        }
    }

    /// The first of the connections that could not be asked.
    pub(crate) fn from_down(down: &BTreeMap<String, ConnectorError>) -> Self {
        match down.iter().next() {
            Some((name, error)) => Self(format!("connection `{name}` is down: {error}")),
            None => Self("a connection is down".to_owned()),
        }
    }
}

pub(crate) type Outcome = Result<(), Failure>;

/// Reads the arguments of the process and carries out their command.
#[must_use]
pub fn run() -> ExitCode {
    run_with(CodeSteps::default())
}

/// As [`run`], for a program that has steps of erasures of its own: `serve` carries them out, and `check` knows them.
#[must_use]
pub fn run_with(code: CodeSteps) -> ExitCode {
    let Arguments { config, command } = Arguments::parse();
    let outcome = match command {
        Command::Init(init) => init.run(&config),
        Command::Demo(demo) => demo.run(),
        Command::Serve(serve) => serve.run(&config, code),
        Command::Migrate(migrate) => migrate.run(&config),
        Command::Check(check) => check.run(&config, &code),
        Command::Draft(draft) => draft.run(&config),
        Command::Preview(preview) => preview.run(&config),
        Command::Retention(retention) => retention.run(&config),
        Command::Replay(replay) => replay.run(&config, code),
        Command::Token(token) => token.run(&config),
        Command::KeyGen(keygen) => keygen.run(),
        Command::Fixtures(fixtures) => fixtures.run(&config),
        Command::Audit(audit) => audit.run(&config),
        Command::Certificate(certificate) => certificate.run(),
        Command::Backup(backup) => backup.run(&config),
        Command::OpenApi(openapi) => openapi.run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure(text)) => {
            eprintln!("rightful: {text}");
            ExitCode::FAILURE
        }
    }
}

/// Ends the process as wrong usage, which clap cannot see by itself.
pub(crate) fn wrong_usage(text: &str) -> ! {
    Arguments::command().error(ErrorKind::MissingRequiredArgument, text).exit()
}

/// The configuration, or its first fault.
pub(crate) fn load(path: &Path) -> Result<Config, Failure> {
    config::load(path).map_err(|faults| Failure::from_faults(&faults))
}

/// The databases of a configuration; none is connected to yet.
pub(crate) fn connect(config: &Config) -> Result<Connectors, Failure> {
    wiring::connectors(config).map_err(Failure::new)
}

/// Runs to the end on a runtime of its own.
pub(crate) fn run_async<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(format!("no runtime: {}", error.kind())))?;
    let done = runtime.block_on(work);
    // A statement that still runs on a thread of SQLite's is not waited for: closing its session rolls it back.
    runtime.shutdown_timeout(THREADS_END);
    done
}

fn one_line(fault: &Fault) -> String {
    fault.to_string().replace("\n    ", " — ")
}

/// Writes to standard output. A reader that went away (`| head`) is no failure.
pub(crate) fn print(text: &str) -> Outcome {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(format!("standard output: {}", error.kind())))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_sound_and_every_command_has_an_example() {
        let mut command = Arguments::command();
        command.build();
        command.clone().debug_assert();
        for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
            let help = sub.get_after_help().map(ToString::to_string).unwrap_or_default();
            let nested = sub.get_subcommands().next().is_some();
            assert!(nested || help.contains("Example:"), "{} has no example", sub.get_name());
            for leaf in sub.get_subcommands().filter(|leaf| leaf.get_name() != "help") {
                let help = leaf.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(help.contains("Example:"), "{} {} has no example", sub.get_name(), leaf.get_name());
            }
        }
    }
}
