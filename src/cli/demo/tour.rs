//! What the demo shows: one request of each kind, over HTTP as a panel would.

use std::{
    io::{IsTerminal, Write},
    path::Path,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{client::Client, shop};
use crate::cli::{Failure, Outcome, print};

/// A request on the sample takes a second or two; this only ends a demo that hangs.
const PATIENCE: Duration = Duration::from_secs(60);
const BAR: usize = 30;

/// Hand out, correct, erase, verify the log.
pub(super) async fn all(client: &Client, folder: &Path) -> Outcome {
    let subject = json!({ "email": shop::PERSON });
    export(client, folder, &subject).await?;
    rectify(client, &subject).await?;
    erase(client, &subject).await?;
    verify_log(client).await
}

async fn export(client: &Client, folder: &Path, subject: &Value) -> Outcome {
    print(&format!("1. {} asks for a copy of her data (Art. 15): POST /v1/requests\n", shop::PERSON))?;
    let request = carry_out(client, "export", subject, &json!({})).await?;
    let package = client.bytes(&format!("{}/export", text(&request["links"]["self"]))).await?;
    let file = folder.join("jane.zip");
    std::fs::write(&file, &package)
        .map_err(|error| Failure::new(format!("{}: {}", file.display(), error.kind())))?;
    print(&format!(
        "   the package is in {} ({} KiB): index.html is for her, a JSON file per table for programs\n",
        file.display(),
        package.len().div_ceil(1024)
    ))
}

async fn rectify(client: &Client, subject: &Value) -> Outcome {
    print("\n2. she asks for another telephone number and a better text about her (Art. 16)\n")?;
    let changes = json!({
        "shop.users": { "phone": "+49 30 901820" }, "shop.profiles": { "bio": "collects teapots" },
    });
    let request = carry_out(client, "rectification", subject, &json!({ "changes": changes })).await?;
    for step in items(&request["steps"]) {
        print(&format!(
            "   {:<24} {:<22} {:>7} changed and read back\n",
            text(&step["name"]),
            text(&step["action"]),
            number(&step["rows_affected"])
        ))?;
    }
    Ok(())
}

async fn erase(client: &Client, subject: &Value) -> Outcome {
    look_ahead(client, subject).await?;
    print("\n   the erasure, carried out by the worker\n")?;
    let request = carry_out(client, "erasure", subject, &json!({})).await?;
    look_back(&request)
}

/// Submits a request and watches it to its end.
async fn carry_out(client: &Client, kind: &str, subject: &Value, more: &Value) -> Result<Value, Failure> {
    let mut body = json!({
        "kind": kind, "plan": "customer", "subject": subject,
        "external_id": format!("DEMO-{kind}"), "reason": "asked by e-mail",
    });
    if let (Some(body), Some(more)) = (body.as_object_mut(), more.as_object()) {
        body.extend(more.clone());
    }
    let submitted = client.post("/v1/requests", &body).await?;
    let request = watch(client, text(&submitted["id"])).await?;
    if request["status"] != "completed" {
        return Err(Failure::new(format!("the {kind} ended as {}: {}", request["status"], request["error"])));
    }
    Ok(request)
}

async fn look_ahead(client: &Client, subject: &Value) -> Outcome {
    print(&format!(
        "\n3. {} asks to be erased (Art. 17); what that would touch (POST /v1/plans/customer/preview)\n",
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
        "   {}, outcome {}\n\n   what was done where\n   {:<24} {:<22} {:>7} {:>9} {:>9} {:>9}\n",
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
                "the request is still {} after {PATIENCE:?}",
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
