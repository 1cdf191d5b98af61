//! `rightful demo`: the whole service on a sample shop, over real HTTP, with nothing installed and nothing configured.
//! All that it leaves behind is the temp folder that it names.

use std::{
    io::{IsTerminal, Write},
    net::TcpListener,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use chrono::TimeDelta;
use clap::Args;
use serde_json::{Value, json};

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

/// An erasure of the sample takes a second or two; this only ends a demo that hangs.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long the printed token is valid.
const TOKEN_HOURS: i64 = 12;
const BAR: usize = 30;

/// Makes a sample shop, serves it over HTTP, erases one person and shows what happened.
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
        let rows = shop::create(&folder.join("shop.db")).await?;
        print(&format!(
            "made a sample shop: {rows} rows in SQLite, {} people ({:.1?})\n",
            shop::PEOPLE,
            begun.elapsed()
        ))?;

        let config = load(path)?;
        let (serving, _) = Serving::start(&config, Role::All, CodeSteps::default()).await?;
        let roles = ["admin".to_owned(), "auditor".to_owned()];
        let expires_at = Clock.now() + TimeDelta::hours(TOKEN_HOURS);
        let token = token::sign(&config.auth, "demo", &roles, expires_at)?;
        let base = format!("http://{}", serving.address);
        print(&format!("the service listens on {base}\n\n"))?;

        let toured = erase_one(&Client::new(&base, &token)?).await;
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
        std::fs::write(&config, text.replace("listen: 127.0.0.1:8080", &format!("listen: {address}")))?;
        std::fs::write(folder.join("plans/customer.yaml"), shop::PLAN)
    };
    rewrite().map_err(|error| Failure::new(format!("{}: {}", folder.display(), error.kind())))?;
    Ok(config)
}

/// The tour: look ahead, submit, watch, look back, verify the log.
async fn erase_one(client: &Client) -> Outcome {
    let subject = json!({ "email": shop::PERSON });
    look_ahead(client, &subject).await?;
    print("\n2. the erasure (POST /v1/requests), carried out by the worker\n")?;
    let body = json!({
        "kind": "erasure", "plan": "customer", "subject": subject,
        "external_id": "DEMO-1", "reason": "asked by e-mail",
    });
    let submitted = client.post("/v1/requests", &body).await?;
    let request = watch(client, text(&submitted["id"])).await?;
    look_back(&request)?;
    if request["status"] != "completed" {
        return Err(Failure::new(format!(
            "the erasure ended as {}: {}",
            request["status"], request["error"]
        )));
    }
    verify_log(client).await
}

async fn look_ahead(client: &Client, subject: &Value) -> Outcome {
    print(&format!(
        "1. what an erasure of {} would touch (POST /v1/plans/customer/preview)\n",
        shop::PERSON
    ))?;
    let preview =
        client.post("/v1/plans/customer/preview", &json!({ "kind": "erasure", "subject": subject })).await?;
    for step in items(&preview["steps"]) {
        print(&format!(
            "   {:<24} {:<22} {:>7}\n",
            text(&step["name"]),
            text(&step["action"]),
            step["matched"]
        ))?;
    }
    Ok(())
}

fn look_back(request: &Value) -> Outcome {
    print(&format!(
        "   {}, outcome {}\n\n3. what was done where\n   {:<24} {:<22} {:>7} {:>9} {:>9} {:>9}\n",
        text(&request["status"]),
        text(&request["outcome"]),
        "step",
        "action",
        "matched",
        "affected",
        "withheld",
        "remaining",
    ))?;
    for step in items(&request["steps"]) {
        print(&format!(
            "   {:<24} {:<22} {:>7} {:>9} {:>9} {:>9}  {}\n",
            text(&step["name"]),
            text(&step["action"]),
            number(&step["rows_matched"]),
            number(&step["rows_affected"]),
            number(&step["rows_withheld"]),
            number(&step["rows_remaining"]),
            text(&step["basis"]),
        ))?;
    }
    Ok(())
}

async fn verify_log(client: &Client) -> Outcome {
    let verified = client.get("/v1/audit/verify").await?;
    print(&format!(
        "\n4. the audit log (GET /v1/audit/verify): {} events, {}\n   head {}\n",
        verified["events"],
        if verified["ok"] == true { "every chain intact" } else { "BROKEN" },
        text(&verified["head"]),
    ))?;
    if verified["ok"] == true { Ok(()) } else { Err(Failure::new("the audit log does not verify")) }
}

/// Polls the status by id, as a panel would; a bar on a terminal.
async fn watch(client: &Client, id: &str) -> Result<Value, Failure> {
    let begun = Instant::now();
    let on_terminal = std::io::stdout().is_terminal();
    loop {
        let request = client.get(&format!("/v1/requests/{id}?wait=1s")).await?;
        if on_terminal || is_over(&request) {
            let end = if is_over(&request) { "\n" } else { "" };
            let start = if on_terminal { "\r" } else { "" };
            print(&format!("{start}   {}{end}", bar(&request["progress"])))?;
            let _ = std::io::stdout().flush();
        }
        if is_over(&request) {
            return Ok(request);
        }
        if begun.elapsed() > PATIENCE {
            return Err(Failure::new(format!(
                "the erasure is still {} after {PATIENCE:?}",
                request["status"]
            )));
        }
    }
}

fn is_over(request: &Value) -> bool {
    matches!(text(&request["status"]), "completed" | "failed" | "cancelled")
}

fn bar(progress: &Value) -> String {
    let percent = usize::try_from(progress["percent"].as_u64().unwrap_or_default()).unwrap_or(100).min(100);
    let full = percent * BAR / 100;
    format!(
        "[{}{}] {percent:>3} %  {} of {} rows, step {} of {}   ",
        "#".repeat(full),
        " ".repeat(BAR - full),
        progress["rows_affected"],
        progress["rows_matched"],
        progress["steps_done"],
        progress["steps_total"],
    )
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

fn items(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Empty for null and for everything that is no text.
fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// As text, so that it can be aligned; `?` for what was not counted.
fn number(value: &Value) -> String {
    if value.is_null() { "?".to_owned() } else { value.to_string() }
}
