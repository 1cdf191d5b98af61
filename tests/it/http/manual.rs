//! Manual steps over HTTP: what is shown of them to whom, and how they are completed.

use rightful::service::keeps::reopen;
use serde_json::{Value, json};

use super::apps;
use crate::support::{
    app::{CUSTOMER, TestApp, eventually},
    targets::{Dialect, Session},
};

const NOTE: &str = "Jane's file was in room 12";
const MANUAL: &str = "manual:
  - { name: paper_file, do: Shred it, basis: house rule 7 }
  - { name: mailer, do: Write to them, recipient: Mailer Inc. }
";

async fn apps_with_manual_steps() -> Vec<TestApp> {
    let mut apps = apps().await;
    for app in &mut apps {
        app.change_plan(&format!("{CUSTOMER}{MANUAL}")).await;
        app.work();
    }
    apps
}

/// A request of which only the manual steps are left.
async fn waiting(app: &TestApp, person: u32) -> Value {
    let request = app.admin().submit(person).await.ok();
    let id = request["id"].as_str().unwrap().parse().unwrap();
    eventually("the worker has let go", async || {
        app.service.store.request(id).await.unwrap().unwrap().is_left_to_people()
    })
    .await;
    app.admin().get(request["links"]["self"].as_str().unwrap()).await.ok()
}

fn step<'a>(request: &'a Value, name: &str) -> &'a Value {
    let steps = request["steps"].as_array().unwrap();
    steps.iter().find(|step| step["name"] == name).unwrap_or_else(|| panic!("no {name} in {request}"))
}

fn path(request: &Value, step: &str) -> String {
    format!("{}/steps/{step}/complete", request["links"]["self"].as_str().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manual_step_waits_until_somebody_says_what_became_of_it() {
    for mut app in apps_with_manual_steps().await {
        let request = waiting(&app, 1).await;
        assert_eq!((&request["status"], &request["next_attempt_at"]), (&json!("in_progress"), &Value::Null));
        assert_eq!(request["progress"]["percent"], 99);
        assert_eq!(
            (&request["progress"]["steps_done"], &request["progress"]["rows_matched"]),
            (&json!(3), &json!(3))
        );
        let paper = step(&request, "paper_file");
        for (field, value) in [
            ("action", json!("manual")),
            ("status", json!("waiting")),
            ("do", json!("Shred it")),
            ("recipient", Value::Null),
            ("basis", json!("house rule 7")),
            ("result", Value::Null),
            ("note", Value::Null),
            ("rows_affected", json!(0)),
            ("rows_remaining", Value::Null),
        ] {
            assert_eq!(paper[field], value, "{field}");
        }
        assert_eq!(step(&request, "mailer")["recipient"], "Mailer Inc.");
        let table = step(&request, "shop.users");
        assert!(["do", "recipient", "result", "note"].iter().all(|field| table[field].is_null()), "{table}");

        let admin = app.admin();
        let paper = path(&request, "paper_file");
        for body in [json!({}), json!({ "result": "later" }), json!({ "result": "done", "by": "x" })] {
            admin.post(&paper, &body).await.problem(422, "invalid_body");
        }
        let done = json!({ "result": "done", "note": NOTE });
        let known = json!({ "result": "done" });
        for wrong in ["papers", "", "shop.comment"] {
            admin.post(&path(&request, wrong), &known).await.problem(404, "not_found");
        }
        admin.post(&path(&request, "shop.users"), &known).await.problem(409, "invalid_state");
        let nowhere = "/v1/requests/019a0000-0000-7000-8000-000000000000/steps/paper_file/complete";
        admin.post(nowhere, &known).await.problem(404, "not_found");
        app.service_account("crm").post(&paper, &known).await.problem(403, "forbidden");

        let said = admin.post(&paper, &done).await.ok();
        let step_of = |request: &Value| step(request, "paper_file").clone();
        assert_eq!(
            (&step_of(&said)["status"], &step_of(&said)["result"]),
            (&json!("completed"), &json!("done"))
        );
        assert_eq!(step_of(&said)["note"], NOTE);
        assert_eq!(step_of(&said)["rows_remaining"], 0);
        admin.post(&paper, &done).await.problem(409, "invalid_state");
        let impossible = json!({ "result": "impossible", "note": "They are out of business." });
        admin.post(&path(&request, "mailer"), &impossible).await.ok();
        let ended = admin.until_end(request["id"].as_str().unwrap()).await;
        assert_eq!(
            (&ended["status"], &ended["outcome"]),
            (&json!("completed"), &json!("done_with_exceptions"))
        );
        assert_eq!(ended["progress"]["percent"], 100);
        assert_eq!(step(&ended, "mailer")["status"], "withheld");
        admin.post(&path(&request, "mailer"), &known).await.problem(409, "invalid_state");
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn notes_are_for_those_who_may_see_identities_and_nowhere_in_the_log() {
    for mut app in apps_with_manual_steps().await {
        let request = waiting(&app, 2).await;
        let own = request["links"]["self"].as_str().unwrap();
        // Somebody waits for a change, and is told the note with it.
        let (said, told) = tokio::join!(
            async {
                app.admin()
                    .post(&path(&request, "paper_file"), &json!({ "result": "done", "note": NOTE }))
                    .await
                    .ok()
            },
            async {
                loop {
                    let told = app.approver().get(&format!("{own}?wait=5s")).await.ok();
                    if step(&told, "paper_file")["status"] == "completed" {
                        return told;
                    }
                }
            }
        );
        assert_eq!(step(&said, "paper_file")["note"], NOTE);
        assert_eq!(step(&told, "paper_file")["note"], NOTE);
        let audited = app.auditor().get(own).await.ok();
        let seen = step(&audited, "paper_file");
        assert_eq!(
            (&seen["note"], &seen["result"], &seen["do"]),
            (&Value::Null, &json!("done"), &json!("Shred it"))
        );

        let disproportionate = json!({ "result": "disproportionate", "note": "A letter to every reader." });
        app.admin().post(&path(&request, "mailer"), &disproportionate).await.ok();
        app.admin().until_end(request["id"].as_str().unwrap()).await;
        let events = app.admin().get(&format!("{own}/events?limit=500")).await;
        assert!(!events.text.contains("room 12") && !events.text.contains("reader"), "{}", events.text);
        let events = events.ok();
        let of = |name: &str, step: &str| {
            let mut items = events["items"].as_array().unwrap().iter();
            items.find(|event| event["event"] == name && event["step"] == step).cloned().unwrap()
        };
        let done = of("step.completed", "paper_file");
        assert_eq!((&done["actor"], &done["action"]), (&json!("alice"), &json!("manual")));
        assert_eq!(done["details"], json!({ "manual": true, "result": "done", "note_given": true }));
        assert_eq!(of("step.withheld", "mailer")["details"]["result"], "disproportionate");
        assert_eq!(of("step.started", "mailer")["actor"], "worker:test");
        assert_eq!(app.auditor().get("/v1/audit/verify").await.ok()["ok"], true);

        let letter = app.admin().get(&format!("{own}/answer")).await.ok();
        let text = letter["text"].as_str().unwrap();
        for part in [
            "- paper_file: done by hand (house rule 7)",
            "Mailer Inc. was not told",
            "A letter to every reader.",
        ] {
            assert!(text.contains(part), "{text}");
        }
        assert!(!text.contains("room 12"), "{text}");
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_and_a_preview_show_manual_steps_last() {
    for mut app in apps_with_manual_steps().await {
        let plan = app.auditor().get("/v1/plans/customer").await.ok();
        let last = plan["steps"]["erasure"].as_array().unwrap().last().unwrap().clone();
        let mailer = json!({
            "name": "mailer", "connection": null, "action": "manual", "basis": null, "until": null, "do": "Write to them",
            "recipient": "Mailer Inc.",
        });
        assert_eq!(last, mailer);
        assert!(plan["steps"]["export"].as_array().unwrap().iter().all(|step| step["action"] == "export"));
        let body = json!({ "kind": "erasure", "subject": { "user_id": 3 } });
        let preview = app.admin().post("/v1/plans/customer/preview", &body).await.ok();
        let steps = preview["steps"].as_array().unwrap();
        assert_eq!((&steps[3]["do"], &steps[3]["matched"]), (&json!("Shred it"), &Value::Null));
        assert_eq!((&steps[0]["do"], &steps[0]["recipient"]), (&Value::Null, &Value::Null));
        app.stop().await;
    }
}

/// Whose the kept rows are is known through the person's row, which is gone, and through keys that an end destroys.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_does_not_strand_rows_that_are_kept() {
    let invoices = "    invoices:
      match: { user_id: users.id }
      erase: { keep: { ground: 17(3)(b), law: § 147 AO, until: at + 10y } }
";
    for mut app in apps().await {
        let mut shop = Session::open(
            Dialect::Sqlite,
            &format!("sqlite:{}", app.folder.path().join("shop.db").display()),
        );
        shop.execute(
            "CREATE TABLE invoices (id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL, at TEXT NOT NULL);
             INSERT INTO invoices VALUES (1, 4, '2199-01-01')",
        );
        app.change_plan(&format!("{CUSTOMER}{invoices}{MANUAL}")).await;
        app.work();
        let admin = app.admin();
        let cancel = |request: &Value| format!("{}/cancel", request["links"]["self"].as_str().unwrap());

        let request = waiting(&app, 4).await;
        assert_eq!(step(&request, "shop.invoices")["rows_withheld"], 1, "{request}");
        admin.post(&cancel(&request), &json!({})).await.problem(409, "invalid_state");
        let same = admin.get(request["links"]["self"].as_str().unwrap()).await.ok();
        assert_eq!((&same["status"], &same["steps"]), (&json!("in_progress"), &request["steps"]));
        for step in ["paper_file", "mailer"] {
            admin.post(&path(&request, step), &json!({ "result": "done" })).await.ok();
        }
        let id = request["id"].as_str().unwrap();
        let ended = admin.until_end(id).await;
        assert_eq!(ended["outcome"], "done_with_exceptions", "{ended}");
        shop.execute("UPDATE invoices SET at = '2001-01-01'");
        assert_eq!(reopen(&app.service, "2300-01-01T00:00:00Z".parse().unwrap()).await, Ok(1));
        let ended = admin.until_end(id).await;
        let invoices = step(&ended, "shop.invoices");
        assert_eq!((&invoices["action"], &invoices["rows_affected"]), (&json!("delete"), &json!(1)));
        assert!(shop.rows("SELECT id FROM invoices").is_empty());

        // Of somebody of whom nothing is kept nothing is left behind.
        let request = waiting(&app, 5).await;
        let cancelled = admin.post(&cancel(&request), &json!({})).await.ok();
        assert_eq!((&cancelled["status"], &cancelled["outcome"]), (&json!("cancelled"), &json!("partial")));
        app.stop().await;
    }
}
