//! A command that says how a backup is.

use std::{path::Path, process::Stdio};

use tokio::process::Command;

use super::{
    Deadline,
    program::{self, NotRun},
};
use crate::domain::backup::{Findings, Flaw, Reason, from_command};

pub(super) async fn ask(argv: &[String], folder: &Path, deadline: Deadline) -> Result<Findings, Flaw> {
    let (program, arguments) =
        argv.split_first().ok_or_else(|| Flaw::new(Reason::Command, "`command` names no program"))?;
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder).stdin(Stdio::null());
    let ended = program::run(command, "the command", deadline).await.map_err(|error| match error {
        NotRun::NotThere => Flaw::new(Reason::ToolMissing, "there is no such program as `command` names"),
        NotRun::Failed(flaw) => flaw,
    })?;
    if ended.succeeded {
        return Ok(from_command(&ended.out));
    }
    // What it printed all the same may say why.
    let mut findings = from_command(&ended.out);
    findings.flaws = vec![Flaw::new(Reason::Command, format!("the command failed: {}", ended.how))];
    Ok(findings)
}
