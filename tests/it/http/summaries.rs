//! `GET /v1/audit/summary`: every request is counted once, where it belongs.

use chrono::{DateTime, TimeDelta, Utc};
use rightful::domain::{
    clock::Clock,
    request::{
        Answered, Channel, DenialReason, Extension, IdentityCheck, Kind, Outcome, Replay, Request, State,
        StepState, StepStatus,
    },
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{app, apps};
use crate::{
    store::support::{insert, new_request},
    support::app::TestApp,
};

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// Received at noon of that day.
fn received(kind: Kind, day: &str) -> Request {
    Request { kind, submitted_at: at(&format!("{day}T12:00:00Z")), ..new_request() }
}

fn ended(request: Request, days: i64, state: fn(DateTime<Utc>) -> State) -> Request {
    Request { state: state(request.submitted_at + TimeDelta::days(days)), ..request }
}

fn answered(mut request: Request, days: i64) -> Request {
    let at = request.submitted_at + TimeDelta::days(days);
    request.answering.answered = Some(Answered { at, channel: Channel::Email });
    request
}

fn completed(finished_at: DateTime<Utc>) -> State {
    State::Completed { finished_at, outcome: Outcome::Done }
}

fn denied(finished_at: DateTime<Utc>) -> State {
    State::Denied { finished_at, outcome: Outcome::NothingDone }
}

fn cancelled(finished_at: DateTime<Utc>) -> State {
    State::Cancelled { finished_at, outcome: Outcome::NothingDone }
}

fn erased(mut request: Request, steps: &[(&str, i64)]) -> Request {
    let step = |(action, rows): &(&str, i64)| StepState {
        action: (*action).to_owned(),
        status: StepStatus::Completed,
        rows_affected: *rows,
        ..request.steps[0].clone()
    };
    request.steps = steps.iter().map(step).collect();
    request
}

/// Requests of three months, in every state that matters to an auditor.
fn history() -> Vec<Request> {
    use Kind::{Erasure, Export, Rectification};
    let done = |day, days| ended(received(Erasure, day), days, completed);
    let in_time = erased(answered(done("2020-01-10", 3), 10), &[("delete", 5), ("mask", 7), ("unlink", 2)]);
    let late = erased(answered(done("2020-01-31", 3), 31), &[("delete_if_unreferenced", 1)]);
    let mut extended = answered(done("2020-01-31", 3), 80);
    extended.answering.extension = Some(Extension { months: 2, subject_informed_at: None });
    let unanswered = done("2020-02-29", 4);
    let mut suspended = Request { state: State::Pending, ..received(Export, "2020-02-01") };
    let check = IdentityCheck {
        method: "callback".to_owned(),
        requested_at: at("2020-02-02T00:00:00Z"),
        confirmed_at: None,
    };
    suspended.answering.identity_check = Some(check.clone());
    let mut confirmed = answered(ended(received(Export, "2020-02-01"), 40, completed), 42);
    let confirmed_at = Some(at("2020-03-01T12:00:00Z"));
    confirmed.answering.identity_check = Some(IdentityCheck { confirmed_at, ..check });
    let mut refused = answered(ended(received(Export, "2020-02-10"), 2, denied), 2);
    refused.answering.denial = Some(DenialReason::Excessive);
    let withdrawn = answered(ended(received(Rectification, "2020-03-01"), 1, cancelled), 1);
    let open = Request { submitted_at: Clock.now() - TimeDelta::days(1), ..new_request() };
    let mut replay = erased(ended(received(Erasure, "2020-03-31"), 9, completed), &[("delete", 100)]);
    replay.answering.replay = Some(Replay { of: Uuid::nil(), run: Uuid::nil(), found: true });
    vec![in_time, late, extended, unanswered, suspended, confirmed, refused, withdrawn, open, replay]
}

/// The cells of a line behind month, kind and status.
fn cells(line: &Value) -> Value {
    let names =
        ["requests", "on_time", "late", "not_due", "replays", "unanswered", "mean_days", "rows_erased"];
    names.map(|name| line[name].clone()).into_iter().collect()
}

fn lines(body: &Value) -> Vec<(String, Value)> {
    let name = |line: &Value| {
        ["month", "kind", "status"].map(|name| line[name].as_str().unwrap().to_owned()).join(" ")
    };
    body["lines"].as_array().unwrap().iter().map(|line| (name(line), cells(line))).collect()
}

async fn with_history() -> Vec<TestApp> {
    let apps = apps().await;
    for app in &apps {
        for request in history() {
            insert(&app.store.store, request, &[]).await;
        }
    }
    apps
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_is_counted_where_it_belongs() {
    for app in with_history().await {
        let this_month = (Clock.now() - TimeDelta::days(1)).format("%Y-%m").to_string();
        let summary = app.auditor().get("/v1/audit/summary").await.ok();
        let expected = [
            // 10, 31 and 80 days; the second one is late, because no February has 31.
            ("2020-01 erasure completed", json!([3, 2, 1, 0, 0, 0, 40.33, 15])),
            ("2020-02 erasure completed", json!([1, 0, 1, 0, 0, 1, 4.0, 0])),
            // From the confirmed identity, 29 days later.
            ("2020-02 export completed", json!([1, 1, 0, 0, 0, 0, 13.0, 0])),
            ("2020-02 export denied", json!([1, 1, 0, 0, 0, 0, 2.0, 0])),
            ("2020-02 export pending", json!([1, 0, 0, 1, 0, 1, null, 0])),
            ("2020-03 erasure completed", json!([1, 0, 0, 0, 1, 0, null, 100])),
            ("2020-03 rectification cancelled", json!([1, 1, 0, 0, 0, 0, 1.0, 0])),
            (&format!("{this_month} erasure approved"), json!([1, 0, 0, 1, 0, 1, null, 0])),
        ];
        let expected = expected.map(|(name, cells)| (name.to_owned(), cells));
        assert_eq!(lines(&summary), expected);
        assert_eq!(cells(&summary["total"]), json!([10, 5, 2, 2, 1, 3, 20.14, 115]));
        let first = &summary["lines"][0];
        assert_eq!((&first["rows_deleted"], &first["rows_masked"]), (&json!(6), &json!(7)));
        assert_eq!(app.admin().get("/v1/audit/summary").await.ok()["total"], summary["total"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_narrow_a_summary() {
    for app in with_history().await {
        for (query, requests) in [
            ("kind=export", 3),
            ("kind=export,rectification", 4),
            ("from=2020-01-31T12:00:00Z&to=2020-02-10T12:00:00Z", 4),
            ("to=2020-01-10T12:00:00Z", 0),
            ("from=2020-02-01T00:00:00%2B01:00&to=2021-01-01T00:00:00Z&kind=erasure", 2),
        ] {
            let summary = app.auditor().get(&format!("/v1/audit/summary?{query}")).await.ok();
            assert_eq!(summary["total"]["requests"], requests, "{query}: {summary}");
        }
    }
    let app = app().await;
    for (query, pointer) in [
        ("kind=deletion", "/kind"),
        ("from=now", "/from"),
        ("format=xml", "/format"),
        ("plan=customer", "/plan"),
    ] {
        let problem =
            app.auditor().get(&format!("/v1/audit/summary?{query}")).await.problem(422, "invalid_body");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_summary_is_a_csv_file_too() {
    for app in with_history().await {
        let reply = app.auditor().get("/v1/audit/summary?format=csv").await;
        assert_eq!(reply.header("content-type"), "text/csv; charset=utf-8");
        assert!(reply.header("content-disposition").starts_with("attachment"));
        let body = app.auditor().get("/v1/audit/summary").await.ok();
        let mut reader = csv::Reader::from_reader(reply.text.as_bytes());
        let header = reader.headers().unwrap().clone();
        let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
        let lines = body["lines"].as_array().unwrap();
        assert_eq!(rows.len(), lines.len() + 1);
        let cell = |value: &Value| match value {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string().trim_end_matches(".0").to_owned(),
            other => panic!("{other}"),
        };
        for (row, line) in rows.iter().zip(lines.iter().chain([&body["total"]])) {
            for (name, shown) in header.iter().zip(row) {
                let is_name_of_total = line.get(name).is_none();
                let expected = if is_name_of_total {
                    cell(&json!(if name == "month" { "total" } else { "" }))
                } else {
                    cell(&line[name])
                };
                assert_eq!(shown, expected, "{name} of {line}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_worker_erased_is_told_apart() {
    for mut app in apps().await {
        let plan = crate::support::app::CUSTOMER.replace(
            "comments: { match: { email: users.email }, erase: delete, shared: true }",
            "comments: { match: { email: users.email }, erase: { mask: { email: null_rewrite } }, shared: true }",
        );
        app.change_plan(&plan).await;
        app.work();
        for number in 1..=2 {
            let request = app.admin().submit(number).await.ok();
            let ended = app.admin().until_end(request["id"].as_str().unwrap()).await;
            assert_eq!(ended["status"], "completed", "{ended}");
        }
        let total = app.auditor().get("/v1/audit/summary").await.ok()["total"].clone();
        let rows = ["rows_erased", "rows_deleted", "rows_masked"].map(|name| total[name].as_i64().unwrap());
        assert_eq!(rows, [4, 2, 2], "{total}");
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_requests_than_are_read_at_a_time_are_all_counted() {
    for app in apps().await {
        for _ in 0..501 {
            insert(&app.store.store, received(Kind::Erasure, "2020-05-05"), &[]).await;
        }
        let summary = app.auditor().get("/v1/audit/summary").await.ok();
        assert_eq!(
            lines(&summary),
            [("2020-05 erasure approved".to_owned(), json!([501, 0, 501, 0, 0, 501, null, 0]))]
        );
    }
}
