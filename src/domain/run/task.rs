//! What a run is about, in one word and a name: `retention:old_visits`.

use std::{fmt, str::FromStr};

/// The kinds of run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TaskKind {
    Retention,
    Backup,
    Replay,
}

impl TaskKind {
    pub const ALL: [Self; 3] = [Self::Retention, Self::Backup, Self::Replay];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Retention => "retention",
            Self::Backup => "backup",
            Self::Replay => "replay",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Task {
    /// The policy of that name.
    Retention(String),
    /// The backup of that name.
    Backup(String),
    Replay,
}

impl Task {
    #[must_use]
    pub fn kind(&self) -> TaskKind {
        match self {
            Self::Retention(_) => TaskKind::Retention,
            Self::Backup(_) => TaskKind::Backup,
            Self::Replay => TaskKind::Replay,
        }
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Retention(name) | Self::Backup(name) => write!(f, "{}:{name}", self.kind().as_str()),
            Self::Replay => f.write_str(TaskKind::Replay.as_str()),
        }
    }
}

/// No task is written like that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a handler is retention:POLICY or backup:NAME")]
pub struct NoTask;

impl FromStr for Task {
    type Err = NoTask;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some(("retention", name)) if !name.is_empty() => Ok(Self::Retention(name.to_owned())),
            Some(("backup", name)) if !name.is_empty() => Ok(Self::Backup(name.to_owned())),
            None if text == TaskKind::Replay.as_str() => Ok(Self::Replay),
            _ => Err(NoTask),
        }
    }
}
