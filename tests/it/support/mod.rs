//! What the tests share.

pub mod app;
pub mod cluster;
pub mod faulty;
pub mod harness;
pub mod mailer;
pub mod package;
pub mod proxy;
pub mod receiver;
pub mod site;
pub mod stores;
pub mod targets;

/// One variable of the environment: how long or on what a test runs.
#[expect(clippy::disallowed_methods, reason = "tests have no configuration that could read it for them")]
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// True where nothing may be left out.
pub fn in_ci() -> bool {
    environment("CI").as_deref() == Some("true")
}

/// Says what was not tested, past the harness, which keeps to itself what a test that passes prints.
pub fn left_out(what: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "LEFT OUT: {what}");
}
