//! The environment, read here and nowhere else.

/// One variable; `None` where it is not set or no text.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
pub(super) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// What is logged: `RUST_LOG`, or that default.
#[must_use]
pub fn log_filter(default: &str) -> String {
    variable("RUST_LOG").filter(|filter| !filter.is_empty()).unwrap_or_else(|| default.to_owned())
}

/// `RIGHTFUL_LOG=json` asks for one JSON object per line.
#[must_use]
pub fn log_format() -> LogFormat {
    match variable("RIGHTFUL_LOG").as_deref() {
        Some("json") => LogFormat::Json,
        _ => LogFormat::Text,
    }
}

/// Where crash tests want this process to die, and where to stop.
#[cfg(all(debug_assertions, unix))]
#[must_use]
pub fn points() -> [Option<String>; 2] {
    ["RIGHTFUL_CRASH_AT", "RIGHTFUL_STOP_AT"].map(variable)
}

/// How a log line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

/// How this machine calls itself; part of a worker's name in the audit log.
#[must_use]
pub fn host_name() -> String {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    kernel
        .or_else(|| variable("HOSTNAME"))
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "localhost".to_owned())
}
