//! Other programs: started without a shell, ended in time with all that they started, and not listened to forever.

use std::{io::ErrorKind, process::Stdio};

use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::Command,
};

use super::Deadline;
use crate::domain::backup::{Flaw, Reason};

/// The most that is taken of what a program prints.
const LARGEST_OUTPUT: u64 = 64 * 1024;

/// A program that ended by itself.
pub(super) struct Ended {
    pub succeeded: bool,
    /// `exit code 1`, or that it was killed.
    pub how: String,
    pub out: Vec<u8>,
    /// May quote rows: for looking at, never for passing on.
    pub err: String,
}

pub(super) enum NotRun {
    /// There is no such program.
    NotThere,
    Failed(Flaw),
}

/// Runs a program to its end. Whoever drops this, or the deadline, kills it.
pub(super) async fn run(mut command: Command, what: &str, deadline: Deadline) -> Result<Ended, NotRun> {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    #[cfg(unix)]
    command.process_group(0);
    let mut child = command.spawn().map_err(|error| match error.kind() {
        ErrorKind::NotFound => NotRun::NotThere,
        kind => NotRun::Failed(Flaw::new(Reason::Command, format!("{what} cannot be started: {kind}"))),
    })?;
    let group = Group::of(child.id());
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let listening = async { tokio::join!(listen(out), listen(err), child.wait()) };
    let (out, err, ended) = deadline.with(what, listening).await.map_err(NotRun::Failed)?;
    let interrupted =
        |_| NotRun::Failed(Flaw::new(Reason::Command, format!("{what} could not be waited for")));
    let status = ended.map_err(interrupted)?;
    group.has_ended();
    if out.len() as u64 > LARGEST_OUTPUT {
        let detail = format!("{what} printed more than {} KiB", LARGEST_OUTPUT / 1024);
        return Err(NotRun::Failed(Flaw::new(Reason::Command, detail)));
    }
    let how = match status.code() {
        Some(code) => format!("exit code {code}"),
        None => "it was killed".to_owned(),
    };
    let err = String::from_utf8_lossy(&err).into_owned();
    Ok(Ended { succeeded: status.success(), how, out, err })
}

/// The beginning of what is printed, one byte more than may be; the rest is read and forgotten, so that nobody waits for
/// a reader.
async fn listen(pipe: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let mut text = Vec::new();
    if let Some(mut pipe) = pipe {
        let _ = (&mut pipe).take(LARGEST_OUTPUT + 1).read_to_end(&mut text).await;
        let _ = tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await;
    }
    text
}

/// A program with all that it started; killed when dropped before it has ended.
struct Group(Option<u32>);

impl Group {
    fn of(id: Option<u32>) -> Self {
        Self(id)
    }

    fn has_ended(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        #[cfg(unix)]
        if let Some(id) = self.0
            && let Some(id) = i32::try_from(id).ok().and_then(rustix::process::Pid::from_raw)
        {
            let _ = rustix::process::kill_process_group(id, rustix::process::Signal::KILL);
        }
    }
}
