//! Plans, previews, and what the service says of itself.

use serde_json::{Value, json};

use super::{app, apps};
use crate::support::app::CUSTOMER;

#[tokio::test(flavor = "multi_thread")]
async fn plans_show_what_is_registered() {
    for app in apps().await {
        let list = app.approver().get("/v1/plans").await.ok();
        assert_eq!((list["items"].as_array().unwrap().len(), &list["next_cursor"]), (1, &Value::Null));
        let plan = app.auditor().get("/v1/plans/customer").await.ok();
        assert_eq!(list["items"][0], plan);
        assert_eq!((&plan["name"], &plan["identities"]), (&json!("customer"), &json!(["user_id", "email"])));
        let steps = plan["steps"]["erasure"].as_array().unwrap();
        assert_eq!(steps.len(), 3);
        assert_eq!(steps[2]["name"], "shop.users", "the person's own row goes last");
        let version = plan["version"].as_str().unwrap();
        for name in [version, version.trim_start_matches("sha256:"), &version.replace(':', "%3A")] {
            let old = app.admin().get(&format!("/v1/plans/customer/versions/{name}")).await.ok();
            assert_eq!((old["source"].as_str(), &old["version"]), (Some(CUSTOMER), &json!(version)));
        }
        for path in ["/v1/plans/other", "/v1/plans/customer/versions/sha256:0", "/v1/plans/other/versions/x"]
        {
            app.admin().get(path).await.problem(404, "not_found");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_counts_and_changes_nothing() {
    let app = app().await;
    let path = "/v1/plans/customer/preview";
    let body = json!({ "kind": "erasure", "subject": { "email": "user2@example.com" } });
    let preview = app.admin().post(path, &body).await.ok();
    assert_eq!(preview["kind"], "erasure");
    assert!(preview["plan_version"].as_str().unwrap().starts_with("sha256:"));
    let steps = preview["steps"].as_array().unwrap();
    assert!(steps.iter().all(|step| step["matched"] == 1), "{preview}");
    assert_eq!(app.admin().get("/v1/requests").await.ok()["items"], json!([]));
    app.admin().post("/v1/plans/other/preview", &body).await.problem(404, "not_found");
    let wrong = json!({ "kind": "erasure", "subject": { "mail": "x" } });
    app.admin().post(path, &wrong).await.problem(422, "unknown_identity");
    app.admin().post(path, &json!({ "kind": "deletion", "subject": {} })).await.problem(422, "invalid_body");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_says_how_it_is() {
    for app in apps().await {
        let nobody = app.nobody();
        assert_eq!(nobody.get("/healthz").await.status, 200);
        assert_eq!(nobody.get("/readyz").await.ok()["status"], "ready");
        app.admin().submit(1).await.ok();
        app.admin().get("/v1/requests/jane@example.com?email=jane@example.com").await;
        app.admin().get("/v1/jane@example.com").await;
        let reply = nobody.get("/metrics").await;
        assert!(reply.header("content-type").starts_with("application/openmetrics-text"));
        for line in [
            "rightful_store_up 1",
            "rightful_requests{status=\"approved\"} 1",
            "rightful_requests{status=\"failed\"} 0",
            "rightful_requests_overdue 0",
            "rightful_requests_due_soon 0",
            "rightful_http_requests_total{method=\"POST\",route=\"/v1/requests\",status=\"202\"} 1",
            "rightful_http_requests_total{method=\"GET\",route=\"/v1/requests/{id}\",status=\"404\"} 1",
            "rightful_http_requests_total{method=\"GET\",route=\"unknown\",status=\"404\"} 1",
            "rightful_batches_total 0",
            "rightful_rows_affected_total 0",
        ] {
            assert!(reply.text.lines().any(|found| found == line), "{line} in\n{}", reply.text);
        }
        assert!(!reply.text.contains("jane"), "no personal data in a label");
        assert!(reply.text.ends_with("# EOF\n") && reply.text.matches("# EOF").count() == 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_description_is_not_stale_and_complete() {
    let yaml = rightful::http::openapi_yaml();
    let file =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.yaml")).unwrap_or_default();
    assert!(file == yaml, "openapi.yaml is stale: write it anew with `rightful openapi > openapi.yaml`");
    for route in rightful::http::routes::table() {
        let path = format!("  {}:\n", route.path);
        let after = yaml.split_once(&path).unwrap_or_else(|| panic!("{} is not described", route.path)).1;
        let of_path = after.split("\n  /").next().unwrap();
        let method = format!("    {}:\n", route.method.as_str().to_lowercase());
        assert!(of_path.contains(&method), "{} {} is not described", route.method, route.path);
    }
    let mut ids: Vec<&str> =
        yaml.lines().filter_map(|line| line.trim().strip_prefix("operationId: ")).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), rightful::http::routes::table().len(), "operation ids are unique");
    let components = yaml.split_once("\ncomponents:\n").unwrap().1;
    for line in yaml.lines() {
        let Some((_, reference)) = line.split_once("$ref: '#/components/") else { continue };
        let (kind, name) = reference.trim_end_matches('\'').split_once('/').unwrap();
        let of_kind = components.split_once(&format!("  {kind}:\n")).unwrap().1;
        assert!(
            of_kind.contains(&format!("\n    {name}:\n")) || of_kind.starts_with(&format!("    {name}:\n")),
            "{line}"
        );
    }
    let app = app().await;
    let served = app.nobody().get("/openapi.yaml").await;
    assert_eq!(served.text, yaml);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_docs_need_nothing_from_elsewhere() {
    let app = app().await;
    let docs = app.nobody().get("/docs").await;
    assert!(docs.header("content-type").starts_with("text/html"));
    assert!(docs.header("content-security-policy").starts_with("default-src 'none'; style-src 'sha256-"));
    for route in rightful::http::routes::table() {
        assert!(docs.text.contains(&format!("<code>{}</code>", route.path)), "{}", route.path);
    }
    for foreign in ["<script", "http://", "https://cdn", " src="] {
        assert!(!docs.text.contains(foreign), "{foreign}");
    }
}
