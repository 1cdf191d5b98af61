//! `rightful demo`: the whole service on a sample shop, over real HTTP, with nothing installed and nothing configured.
//! All that it leaves behind is the temp folder that it names.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    time::Instant,
};

use chrono::TimeDelta;
use clap::Args;

use super::{
    Failure, Outcome, init, load, print, run_async,
    serve::{start_logging, until_interrupted},
    serving::{Role, Serving},
    token,
};
use crate::{domain::clock::Clock, service::code::CodeSteps};
use client::Client;

mod client;
mod shop;
mod tour;

/// How long the printed token is valid.
const TOKEN_HOURS: i64 = 12;

/// Makes a sample shop, serves it over HTTP, and shows one request of each kind.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  rightful demo --exit")]
pub(super) struct Demo {
    /// Ends after the tour instead of serving on.
    #[arg(long)]
    exit: bool,

    /// The port on 127.0.0.1; otherwise any free one.
    #[arg(long, value_name = "N", default_value_t = 0)]
    port: u16,
}

impl Demo {
    pub fn run(&self) -> Outcome {
        let folder = tempfile::Builder::new().prefix("rightful-demo-").tempdir();
        let folder =
            folder.map_err(|error| Failure::new(format!("no temp folder: {}", error.kind())))?.keep();
        let config = prepare(&folder, self.port)?;
        start_logging("warn");
        run_async(self.tour(&folder, &config))
    }

    async fn tour(&self, folder: &Path, path: &Path) -> Outcome {
        print(&format!("everything is in {} (nothing else is left behind)\n\n", folder.display()))?;
        let begun = Instant::now();
        let rows = shop::write(folder)?;
        let config = load(path)?;
        let (serving, _) = Serving::start(&config, Role::All, CodeSteps::default()).await?;
        print(&format!(
            "made a sample shop from {}: {rows} rows in SQLite, {} people ({:.1?})\n",
            shop::FIXTURES,
            shop::PEOPLE,
            begun.elapsed()
        ))?;
        let roles = ["admin".to_owned(), "auditor".to_owned()];
        let expires_at = Clock.now() + TimeDelta::hours(TOKEN_HOURS);
        let token = token::sign(&config.auth, "demo", &roles, expires_at)?;
        let base = format!("http://{}", serving.address);
        print(&format!("the service listens on {base}\n\n"))?;

        let toured = tour::all(&Client::new(&base, &token)?, folder).await;
        if toured.is_err() || self.exit {
            return toured.and(serving.stop().await);
        }
        print(&what_next(&base, &token, path))?;
        until_interrupted(serving).await
    }
}

/// The configuration, keys and plan of the demo.
fn prepare(folder: &Path, port: u16) -> Result<PathBuf, Failure> {
    let config = folder.join("rightful.yaml");
    init::write(&config, &[("shop", "sqlite:shop.db")])?;
    let in_use = |error: std::io::Error| Failure::new(format!("port {port}: {}", error.kind()));
    let socket = TcpListener::bind(("127.0.0.1", port)).map_err(in_use)?;
    let address = socket.local_addr().map_err(in_use)?;
    let rewrite = || {
        let text = std::fs::read_to_string(&config)?;
        let text = text.replace("listen: 127.0.0.1:8080", &format!("listen: {address}"));
        std::fs::write(&config, format!("{text}\nfixtures: {{ folder: {} }}\n", shop::FIXTURES))?;
        std::fs::write(folder.join("plans/customer.yaml"), shop::PLAN)
    };
    rewrite().map_err(|error| Failure::new(format!("{}: {}", folder.display(), error.kind())))?;
    Ok(config)
}

fn what_next(base: &str, token: &str, config: &Path) -> String {
    let config = config.display();
    format!(
        "\nIt keeps serving; try (the token is good for {TOKEN_HOURS} h):\n\n\
         TOKEN={token}\n\
         curl -s -H \"authorization: Bearer $TOKEN\" {base}/v1/requests\n\
         curl -s -H \"authorization: Bearer $TOKEN\" -H 'content-type: application/json' {base}/v1/requests \\\n  \
         -d '{{\"kind\":\"erasure\",\"plan\":\"customer\",\"subject\":{{\"user_id\":7}}}}'\n\
         curl -s -H \"authorization: Bearer $TOKEN\" -H 'content-type: application/json' {base}/v1/audit/search \\\n  \
         -d '{{\"plan\":\"customer\",\"subject\":{{\"email\":\"{person}\"}}}}'\n\
         rightful audit verify --config {config}\n\n\
         {base}/docs describes every call. Ctrl-C ends it.\n",
        person = shop::PERSON,
    )
}
