//! Exports over HTTP: submitted, handed out whole or by range, by a link once, and gone at their time.

use std::time::Duration;

use age::x25519;
use reqwest::Method;
use rightful::{
    domain::clock::Clock,
    service::packages::{expire, sweep},
};
use serde_json::{Value, json};

use super::apps;
use crate::support::{
    app::{Setup, TestApp, User, eventually},
    package::{rows, unzip},
    stores::stores,
};

fn body(number: u32, more: &Value) -> Value {
    let mut body = json!({ "kind": "export", "plan": "customer", "subject": { "user_id": number } });
    let more = more.as_object().unwrap().clone();
    body.as_object_mut().unwrap().extend(more);
    body
}

/// Submits an export and waits for its end.
async fn exported(user: &User<'_>, number: u32, more: &Value) -> Value {
    let submitted = user.post("/v1/requests", &body(number, more)).await;
    assert_eq!(submitted.status, 202, "{submitted:?}");
    let request = user.until_end(submitted.ok()["id"].as_str().unwrap()).await;
    assert_eq!((&request["status"], &request["outcome"]), (&json!("completed"), &json!("done")), "{request}");
    request
}

fn path(request: &Value) -> String {
    format!("{}/export", request["links"]["self"].as_str().unwrap())
}

async fn events(app: &TestApp, request: &Value, name: &str) -> Vec<Value> {
    let page =
        app.admin().get(&format!("{}?limit=500", request["links"]["events"].as_str().unwrap())).await.ok();
    page["items"].as_array().unwrap().iter().filter(|event| event["event"] == name).cloned().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_is_handed_out_whole_and_by_range() {
    for mut app in apps().await {
        let waiting = app.admin().post("/v1/requests", &body(1, &json!({}))).await.ok();
        app.admin().get(&path(&waiting)).await.problem(404, "not_found");
        assert_eq!(
            (&waiting["export"]["format"], &waiting["export"]["package"]),
            (&json!("json"), &Value::Null)
        );
        app.admin().post("/v1/requests", &body(1, &json!({}))).await.problem(409, "duplicate_request");
        app.work();
        let request = app.admin().until_end(waiting["id"].as_str().unwrap()).await;
        let shown = &request["export"]["package"];
        let (status, headers, whole) = app.admin().download(&path(&request), &[]).await;
        assert_eq!((status.as_u16(), headers["content-type"].to_str().unwrap()), (200, "application/zip"));
        assert_eq!(shown["size"], whole.len());
        let etag = format!("\"{}\"", shown["sha256"].as_str().unwrap());
        assert_eq!(headers["etag"].to_str().unwrap(), etag);
        assert!(headers["content-disposition"].to_str().unwrap().ends_with(".zip\""));
        assert_eq!(rows(&unzip(&whole), "shop.users")[0]["email"], "user1@example.com");

        for (range, wanted) in [
            ("bytes=0-9", &whole[..10]),
            ("bytes=10-", &whole[10..]),
            ("bytes=-5", &whole[whole.len() - 5..]),
            ("bytes=5-999999999", &whole[5..]),
        ] {
            let (status, headers, part) = app.admin().download(&path(&request), &[("range", range)]).await;
            assert_eq!((status.as_u16(), part.as_slice()), (206, wanted), "{range}");
            assert!(headers["content-range"].to_str().unwrap().ends_with(&format!("/{}", whole.len())));
        }
        let beyond = format!("bytes={}-", whole.len());
        let reply = app.admin().get_with(&path(&request), &[("range", &beyond)]).await;
        reply.problem(416, "range_not_satisfiable");
        assert_eq!(reply.header("content-range"), format!("bytes */{}", whole.len()));
        for ignored in
            [&[("range", "bytes=0-1,3-4")][..], &[("range", "bytes=0-1"), ("if-range", "\"other\"")]]
        {
            let (status, _, bytes) = app.admin().download(&path(&request), ignored).await;
            assert_eq!((status.as_u16(), bytes.len()), (200, whole.len()));
        }
        let head = app.admin().call(Method::HEAD, &path(&request), None, &[]).await;
        assert_eq!(
            (head.status.as_u16(), head.header("content-length")),
            (200, whole.len().to_string().as_str())
        );
        let taken = events(&app, &request, "export.downloaded").await;
        assert_eq!(taken.len(), 7, "a look at the head is no download");
        assert_eq!(
            (&taken[0]["actor"], &taken[1]["details"]["bytes"]),
            (&json!("alice"), &json!({ "from": 0, "to": 10 }))
        );
        assert_eq!(events(&app, &request, "export.created").await.len(), 1);
        assert_eq!(app.auditor().get("/v1/audit/verify").await.ok()["ok"], true);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_works_once_and_needs_no_token() {
    for mut app in apps().await {
        app.work();
        let request = exported(&app.admin(), 2, &json!({})).await;
        let link = format!("{}/link", path(&request));
        for ttl in ["2h", "0s", "soon"] {
            app.admin().post(&link, &json!({ "ttl": ttl })).await.problem(422, "invalid_body");
        }
        let made = app.admin().post(&link, &json!({ "ttl": "10m" })).await;
        assert_eq!(made.status, 201);
        let url = made.ok()["url"].as_str().unwrap().to_owned();
        let head = app.nobody().call(Method::HEAD, &url, None, &[]).await;
        assert_eq!(head.status, 200, "a look does not use it up");
        let anybody = app.nobody();
        let both = tokio::join!(anybody.download(&url, &[]), anybody.download(&url, &[]));
        let mut statuses = [both.0.0.as_u16(), both.1.0.as_u16()];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 410], "of two at once one gets it");
        app.nobody().get(&url).await.problem(410, "gone");
        let head = app.nobody().call(Method::HEAD, &url, None, &[]).await;
        assert_eq!(head.status, 410, "as a GET is answered");
        let head = app.nobody().call(Method::HEAD, "/exports/unheard-of", None, &[]).await;
        assert_eq!(head.status, 404);
        app.nobody().get("/exports/unknown").await.problem(404, "not_found");
        assert_eq!(events(&app, &request, "export.linked").await.len(), 1);
        let taken = events(&app, &request, "export.downloaded").await;
        assert_eq!((taken.len(), &taken[0]["details"]["by_link"]), (1, &json!(true)));
        assert!(!app.auditor().get("/v1/audit/export").await.text.contains(&url["/exports/".len()..]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_goes_at_its_time_and_its_key_with_it() {
    for store in stores().await {
        let setup = Setup { expires_after: Duration::from_millis(1), ..Setup::default() };
        let mut app = TestApp::with(store, setup).await;
        app.work();
        let request = exported(&app.admin(), 3, &json!({})).await;
        app.admin().get(&path(&request)).await.problem(410, "gone");
        app.admin().post(&format!("{}/link", path(&request)), &json!({})).await.problem(410, "gone");
        let folder = app.folder.path().join("exports").join(request["id"].as_str().unwrap());
        assert!(folder.exists());
        expire(&app.service).await.unwrap();
        expire(&app.service).await.unwrap();
        let id = request["id"].as_str().unwrap().parse().unwrap();
        let package = app.store.store.package(id).await.unwrap().unwrap();
        assert_eq!((package.wrapped_key, package.expired_at.is_some()), (None, true));
        assert!(!folder.exists(), "its parts are gone too");
        assert_eq!(events(&app, &request, "export.expired").await.len(), 1, "once");
        let shown = app.admin().get(request["links"]["self"].as_str().unwrap()).await.ok();
        assert_eq!(shown["export"]["package"]["expired"], true);
        assert_eq!(shown["status"], "completed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_ended_request_left_behind_is_swept_and_nothing_else() {
    for app in apps().await {
        let [ended, open] = [4, 5].map(|number| body(number, &json!({})));
        let ended = app.admin().post("/v1/requests", &ended).await.ok();
        let open = app.admin().post("/v1/requests", &open).await.ok();
        app.admin()
            .post(&format!("{}/cancel", ended["links"]["self"].as_str().unwrap()), &json!({}))
            .await
            .ok();
        let objects = &app.service.packages.objects;
        let strange = "019a0000-0000-7000-8000-000000000000";
        let places = [ended["id"].as_str().unwrap(), open["id"].as_str().unwrap(), strange, "other"];
        for place in places {
            objects.put(&format!("{place}/000000/00000000"), vec![1]).await.unwrap();
        }
        sweep(&app.service).await.unwrap();
        let mut left = objects.folders("").await.unwrap();
        left.sort();
        let mut kept = places[1..].to_vec();
        kept.sort_unstable();
        assert_eq!(left, kept);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn format_right_and_recipient_are_the_requests() {
    for mut app in apps().await {
        app.work();
        let csv = exported(&app.admin(), 6, &json!({ "format": "csv" })).await;
        let (_, _, bytes) = app.admin().download(&path(&csv), &[]).await;
        assert_eq!(unzip(&bytes)["tables/shop.users.csv"], "id,email\r\n6,user6@example.com\r\n");

        let identity = x25519::Identity::generate();
        let sealed =
            exported(&app.admin(), 7, &json!({ "encrypt_to": identity.to_public().to_string() })).await;
        let (_, headers, bytes) = app.admin().download(&path(&sealed), &[]).await;
        assert!(headers["content-disposition"].to_str().unwrap().ends_with(".zip.age\""));
        assert_eq!(sealed["export"]["package"]["encrypted"], true);
        let plain = age::decrypt(&identity, &bytes).unwrap();
        assert_eq!(rows(&unzip(&plain), "shop.users")[0]["id"], 7);

        let plan = crate::support::app::CUSTOMER
            .replace("users: { erase: delete }", "users: { erase: delete, portable: [email] }");
        app.change_plan(&plan).await;
        let portable = exported(&app.admin(), 8, &json!({ "right": "portability" })).await;
        let steps: Vec<&str> =
            portable["steps"].as_array().unwrap().iter().map(|step| step["name"].as_str().unwrap()).collect();
        assert_eq!(steps, ["shop.users"]);
        let (_, _, bytes) = app.admin().download(&path(&portable), &[]).await;
        assert_eq!(rows(&unzip(&bytes), "shop.users"), [json!({ "email": "user8@example.com" })]);
    }
}

/// A copy that is not whole is not handed out: what a person has to add to it belongs to it.
#[tokio::test(flavor = "multi_thread")]
async fn a_package_waits_for_what_people_do_by_hand() {
    for mut app in apps().await {
        let manual = "manual:\n  - { name: paper_file, do: Copy it and send it along, kinds: [export] }\n";
        app.change_plan(&format!("{}{manual}", crate::support::app::CUSTOMER)).await;
        app.work();
        let request = app.admin().post("/v1/requests", &body(10, &json!({}))).await.ok();
        let own = request["links"]["self"].as_str().unwrap();
        let id = request["id"].as_str().unwrap().parse().unwrap();
        eventually("the worker has let go", async || {
            app.service.store.request(id).await.unwrap().unwrap().is_left_to_people()
        })
        .await;
        app.admin().get(&path(&request)).await.problem(404, "not_found");
        app.admin()
            .post(&format!("{own}/steps/paper_file/complete"), &json!({ "result": "done" }))
            .await
            .ok();
        let ended = app.admin().until_end(request["id"].as_str().unwrap()).await;
        assert_eq!((&ended["status"], &ended["outcome"]), (&json!("completed"), &json!("done")), "{ended}");
        let (status, _, bytes) = app.admin().download(&path(&request), &[]).await;
        assert_eq!((status.as_u16(), rows(&unzip(&bytes), "shop.users").len()), (200, 1));
        assert_eq!(events(&app, &request, "export.created").await.len(), 1);
    }
}

/// Its time begins when it can be taken, however long people need before.
#[tokio::test(flavor = "multi_thread")]
async fn a_package_does_not_expire_before_it_is_handed_out() {
    for store in stores().await {
        let setup = Setup { expires_after: Duration::from_millis(1), ..Setup::default() };
        let mut app = TestApp::with(store, setup).await;
        let manual = "manual:\n  - { name: paper_file, do: Copy it, kinds: [export] }\n";
        app.change_plan(&format!("{}{manual}", crate::support::app::CUSTOMER)).await;
        app.work();
        let request = app.admin().post("/v1/requests", &body(11, &json!({}))).await.ok();
        let id = request["id"].as_str().unwrap().parse().unwrap();
        eventually("the worker has let go", async || {
            app.service.store.request(id).await.unwrap().unwrap().is_left_to_people()
        })
        .await;
        let before = app.store.store.package(id).await.unwrap().unwrap();
        eventually("its first time is over", async || Clock.now() > before.expires_at).await;
        expire(&app.service).await.unwrap();
        assert_eq!(app.store.store.package(id).await.unwrap().unwrap(), before, "its key is there");
        let complete = format!("{}/steps/paper_file/complete", request["links"]["self"].as_str().unwrap());
        app.admin().post(&complete, &json!({ "result": "done" })).await.ok();
        app.admin().until_end(request["id"].as_str().unwrap()).await;
        assert!(app.store.store.package(id).await.unwrap().unwrap().expires_at > before.expires_at);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn options_are_checked_and_belong_to_exports() {
    let app = super::app().await;
    for (more, pointer) in [
        (json!({ "format": "xml" }), "/format"),
        (json!({ "right": "erasure" }), "/right"),
        // The plan has no `portable` columns.
        (json!({ "right": "portability" }), "/right"),
        (json!({ "encrypt_to": "age1nonsense" }), "/encrypt_to"),
        (json!({ "formats": "csv" }), "/formats"),
    ] {
        let problem = app.admin().post("/v1/requests", &body(1, &more)).await.problem(422, "invalid_body");
        assert_eq!(problem["errors"][0]["pointer"], pointer);
    }
    let mut erasure = body(1, &json!({ "format": "csv" }));
    erasure["kind"] = json!("erasure");
    let problem = app.admin().post("/v1/requests", &erasure).await.problem(422, "invalid_body");
    assert_eq!(problem["errors"][0]["pointer"], "/format");
    let erasure = app.admin().submit(1).await.ok();
    assert_eq!(erasure["export"], Value::Null);
    app.admin().get(&path(&erasure)).await.problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_takes_its_own_packages_and_auditors_see_none_of_what_is_asked() {
    for mut app in apps().await {
        app.work();
        let (crm, shop) = (app.service_account("crm"), app.service_account("shop"));
        let request = exported(&crm, 9, &json!({})).await;
        assert_eq!(crm.download(&path(&request), &[]).await.0, 200);
        shop.get(&path(&request)).await.problem(404, "not_found");
        let seen = app.auditor().get(request["links"]["self"].as_str().unwrap()).await.ok();
        assert_eq!((&seen["export"]["format"], &seen["subject"]), (&Value::Null, &Value::Null));
        assert!(seen["export"]["package"]["size"].is_u64());
        let preview = json!({ "kind": "export", "subject": { "user_id": 9 } });
        let preview = app.admin().post("/v1/plans/customer/preview", &preview).await.ok();
        assert_eq!((&preview["kind"], &preview["steps"][0]["action"]), (&json!("export"), &json!("export")));
    }
}
