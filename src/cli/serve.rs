//! `rightful serve`: runs until SIGTERM or SIGINT; SIGHUP reads the plans again.

use std::{path::Path, time::Duration};

use clap::Args;
use tokio::time::{Instant, sleep_until};
use tracing_subscriber::{EnvFilter, fmt};

use super::{
    Failure, Outcome, load, print, run_async,
    serving::{Role, Serving, report},
};
use crate::{
    config::{self, LogFormat},
    service::{code::CodeSteps, registry::Loaded},
};

#[cfg(all(debug_assertions, unix))]
use crate::points;

/// What this service has to say, and what is wrong elsewhere.
const USUAL_LOG: &str = "warn,rightful=info";
/// How often a connection that was down at start is looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Migrates the store and serves. Several processes may share one PostgreSQL store.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  rightful serve --role api\n\nSIGHUP reads the plans again. RUST_LOG sets what is \
                        logged, RIGHTFUL_LOG=json how."
)]
pub(super) struct Serve {
    /// What this process does.
    #[arg(long, value_enum, default_value_t = Role::All)]
    role: Role,
}

impl Serve {
    pub fn run(&self, path: &Path, code: CodeSteps) -> Outcome {
        let config = load(path)?;
        start_logging(USUAL_LOG);
        #[cfg(all(debug_assertions, unix))]
        points::arm(config::points()).map_err(Failure::new)?;
        run_async(async {
            let mut signals = Signals::new()?;
            // A start may wait for another process that loads fixtures.
            let (serving, loaded) = tokio::select! {
                started = Serving::start(&config, self.role, code) => started?,
                () = signals.stop() => return Ok(()),
            };
            report(&loaded);
            print(&format!("rightful listens on http://{}\n", serving.address))?;
            until_stopped(serving, &mut signals, loaded).await
        })
    }
}

/// Serves on until a signal ends it, for a service that was started otherwise.
pub(super) async fn until_interrupted(serving: Serving) -> Outcome {
    until_stopped(serving, &mut Signals::new()?, Loaded::default()).await
}

enum Signal {
    Stop,
    Reload,
}

async fn until_stopped(mut serving: Serving, signals: &mut Signals, loaded: Loaded) -> Outcome {
    let mut is_down = !loaded.down.is_empty();
    loop {
        let look_again = Instant::now() + LOOK_AGAIN;
        let asked = tokio::select! {
            signal = signals.next() => match signal {
                Signal::Stop => break,
                Signal::Reload => true,
            },
            () = sleep_until(look_again), if is_down => false,
            failure = serving.failed() => return Err(failure),
        };
        // A connection that does not answer keeps nobody from stopping.
        let loaded = tokio::select! {
            loaded = serving.reload() => loaded,
            () = signals.stop() => break,
        };
        match loaded {
            Ok(loaded) => {
                if asked || loaded.down.is_empty() {
                    report(&loaded);
                    tracing::info!(refused = loaded.is_refused(), "plans were read again");
                }
                is_down = !loaded.down.is_empty();
            }
            Err(Failure(error)) => tracing::error!(error, "plans could not be read again"),
        }
    }
    tracing::info!("stopping");
    serving.stop().await
}

/// The log goes to standard error; colour only on a terminal. `default` is what is logged without RUST_LOG.
pub(super) fn start_logging(default: &str) {
    use std::io::IsTerminal;
    let filter = EnvFilter::try_new(config::log_filter(default)).unwrap_or_else(|_| EnvFilter::new(default));
    let log = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second start in one process keeps the first log.
    let _ = match config::log_format() {
        LogFormat::Json => log.json().try_init(),
        LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).try_init(),
    };
}

/// The signals of a service; elsewhere than on Unix, Ctrl-C alone.
#[cfg(unix)]
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    hang_up: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> Result<Self, Failure> {
        use tokio::signal::unix::{SignalKind, signal};
        let listen = |kind| signal(kind).map_err(|error| Failure::new(format!("signals: {}", error.kind())));
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hang_up: listen(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal::Stop,
            _ = self.interrupt.recv() => Signal::Stop,
            _ = self.hang_up.recv() => Signal::Reload,
        }
    }
}

impl Signals {
    /// Ends with the next signal to stop.
    async fn stop(&mut self) {
        while let Signal::Reload = self.next().await {}
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> Result<Self, Failure> {
        Ok(Self)
    }

    async fn next(&mut self) -> Signal {
        match tokio::signal::ctrl_c().await {
            Ok(()) => Signal::Stop,
            Err(_) => std::future::pending().await,
        }
    }
}
