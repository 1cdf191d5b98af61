//! Every end is certified as what it is, by the newest event of an end, and stays so.

use chrono::{DateTime, Utc};
use rightful::{
    domain::{clock::Clock, sweep::Sweep, tree},
    service::{keeps::reopen, sweeps::carry_out_batch},
};
use serde_json::{Value, json};
use tlog_tiles::tlog;

use super::{PLAN, World, id, path, step, worlds};
use crate::support::app::eventually;

fn correction(number: u32) -> Value {
    json!({
        "kind": "rectification", "subject": { "user_id": number },
        "changes": { "shop.users": { "email": format!("new{number}@example.net") } },
    })
}

/// The request, as it ended, and what its certificate says of it.
async fn statement(world: &World, request: &Value) -> Value {
    let (certificate, verified) = world.certified(id(request)).await;
    let (statement, event) = (certificate["statement"].clone(), &certificate["event"]);
    assert_eq!(certificate["format"], "rightful-certificate/1");
    for same in
        ["kind", "status", "outcome", "plan", "submitted_at", "created_at", "started_at", "finished_at"]
    {
        assert_eq!(statement[same], request[same], "{same}");
    }
    assert_eq!(statement["request_id"], request["id"]);
    assert_eq!(event["subject_ref"], request["subject_ref"]);
    assert_eq!(event["event"], format!("request.{}", request["status"].as_str().unwrap()));
    let log = world.app.auditor().get(&format!("/v1/audit?request_id={}&limit=500", id(request))).await.ok();
    assert!(log["items"].as_array().unwrap().contains(event), "as the log shows it");
    assert_eq!(request["links"]["certificate"], path(id(request)));
    // As a library of somebody else's says.
    let proof = rightful::domain::certificate::Proof::parse(certificate["proof"].as_str().unwrap()).unwrap();
    let text = proof.checkpoint.split("\n\n").next().unwrap().to_owned() + "\n";
    let head = tlog_tiles::Checkpoint::from_bytes(text.as_bytes()).unwrap();
    let hashes: Vec<tlog::Hash> = proof.hashes.iter().copied().map(tlog::Hash).collect();
    let entry = rightful::domain::audit::unhex(event["hash"].as_str().unwrap());
    let leaf = tlog::Hash(tree::leaf(&entry));
    assert_eq!((head.size(), verified.size, verified.index), (verified.size, head.size(), proof.index));
    tlog::check_record(&hashes, head.size(), *head.hash(), proof.index, leaf).unwrap();
    assert_eq!(leaf.0, tlog::record_hash(&entry).0);
    statement
}

#[tokio::test(flavor = "multi_thread")]
async fn every_end_is_certified_as_what_it_is() {
    for mut world in worlds(PLAN).await {
        world.target("DELETE FROM orders WHERE user_id = 2");
        let admin = world.app.admin();
        let (kept, done) = (admin.submit(1).await.ok(), admin.submit(2).await.ok());
        let nobody = world.submit(&json!({ "subject": { "user_id": 9999 } })).await;
        let unclear = json!({ "subject": { "user_id": 3, "email": "user4@example.com" } });
        let unclear = world.submit(&unclear).await;
        let export = world.submit(&json!({ "kind": "export", "subject": { "user_id": 5 } })).await;
        let corrected = world.submit(&correction(6)).await;
        let (denied, cancelled) = (world.submit(&correction(7)).await, world.submit(&correction(8)).await);
        let act = |request: &Value, action: &str| format!("/v1/requests/{}/{action}", id(request));
        let approval = json!({ "plan_version": corrected["plan"]["version"] });
        world.app.approver().post(&act(&corrected, "approve"), &approval).await.ok();
        let denial = json!({ "reason": "identity_not_verified", "text": "nobody may read this" });
        world.app.approver().post(&act(&denied, "deny"), &denial).await.ok();
        admin.post(&act(&cancelled, "cancel"), &json!({ "reason": "nor this" })).await.ok();
        world.app.work();
        let mut told = Vec::new();
        for request in [&kept, &done, &nobody, &unclear, &export, &corrected, &denied, &cancelled] {
            told.push(statement(&world, &world.ended(request).await).await);
        }
        let ends: Vec<(&str, &str)> = told
            .iter()
            .map(|told| (told["status"].as_str().unwrap(), told["outcome"].as_str().unwrap()))
            .collect();
        assert_eq!(
            ends,
            [
                ("completed", "done_with_exceptions"),
                ("completed", "done"),
                ("completed", "no_match"),
                ("failed", "nothing_done"),
                ("completed", "done"),
                ("completed", "done"),
                ("denied", "nothing_done"),
                ("cancelled", "nothing_done"),
            ]
        );
        let [kept, _, _, unclear, export, corrected, denied, _] = told.as_slice() else { panic!("eight") };
        assert_eq!(
            step(kept, "shop.orders"),
            &json!({
                "name": "shop.orders", "action": "keep", "status": "withheld", "basis": "§ 147 AO", "columns": [],
                "rows": { "matched": 1, "affected": 0, "withheld": 1, "remaining": 0 }, "kept_until": null, "by_hand": null,
                "started_at": step(kept, "shop.orders")["started_at"], "finished_at": step(kept, "shop.orders")["finished_at"],
            })
        );
        assert_eq!(step(kept, "shop.users")["rows"]["affected"], 1);
        assert_eq!(unclear["error"], json!({ "code": "subject_ambiguous", "cause": null, "step": null }));
        let (_, _, package) = world
            .app
            .admin()
            .download(&format!("/v1/requests/{}/export", export["request_id"].as_str().unwrap()), &[])
            .await;
        assert_eq!(export["package"]["size"], package.len());
        let sha256 = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &package);
        assert_eq!(export["package"]["sha256"], rightful::domain::audit::hex(sha256.as_ref()));
        assert_eq!(step(corrected, "shop.users")["columns"], json!(["email"]));
        assert_eq!(denied["denial"], "identity_not_verified");
        let all = Value::from(told).to_string();
        for secret in ["example.com", "example.net", "nobody may read", "nor this", "alice"] {
            assert!(!all.contains(secret), "{secret} in {all}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_did_and_left_undone_is_certified() {
    let manual = "manual:\n  - { name: paper_file, do: Shred it, basis: house rule 7 }\n  - { name: mailer, do: Write to \
                  them, recipient: Mailer Inc. }\n";
    for mut world in worlds(&format!("{PLAN}{manual}")).await {
        world.app.work();
        let admin = world.app.admin();
        let (first, second) = (admin.submit(1).await.ok(), admin.submit(2).await.ok());
        for request in [&first, &second] {
            let store = &world.app.service.store;
            let uuid = id(request).parse().unwrap();
            eventually("people are waited for", async || {
                store.request(uuid).await.unwrap().unwrap().is_left_to_people()
            })
            .await;
        }
        let complete =
            |request: &Value, step: &str| format!("/v1/requests/{}/steps/{step}/complete", id(request));
        let result = |result: &str| json!({ "result": result, "note": "Jane's own words" });
        for (name, said) in [("paper_file", "done"), ("mailer", "disproportionate")] {
            admin.post(&complete(&first, name), &result(said)).await.ok();
        }
        admin.post(&complete(&second, "paper_file"), &result("done")).await.ok();
        admin.post(&format!("/v1/requests/{}/cancel", id(&second)), &json!({})).await.ok();
        let done = statement(&world, &world.ended(&first).await).await;
        assert_eq!(done["outcome"], "done_with_exceptions");
        let by_hand =
            json!({ "do": "Write to them", "recipient": "Mailer Inc.", "result": "disproportionate" });
        assert_eq!(step(&done, "mailer")["by_hand"], by_hand);
        assert_eq!(step(&done, "paper_file")["basis"], "house rule 7");
        assert!(!done.to_string().contains("Jane"), "{done}");
        let stopped = statement(&world, &world.ended(&second).await).await;
        assert_eq!((&stopped["status"], &stopped["outcome"]), (&json!("cancelled"), &json!("partial")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_whose_keep_is_over_is_certified_anew() {
    let until = "orders: { match: { user_id: users.id }, erase: { keep: { ground: 17(3)(b), law: § 147 AO, until: placed_at + \
                 10y } } }";
    let plan = PLAN.replace("orders: { match: { user_id: users.id }, erase: { keep: \"§ 147 AO\" } }", until);
    for mut world in worlds(PLAN).await {
        world.target(
            "ALTER TABLE orders ADD COLUMN placed_at TIMESTAMP NOT NULL DEFAULT '2199-01-01 00:00:00'",
        );
        world.app.change_plan(&plan).await;
        world.app.work();
        let id = world.erased(1).await;
        let request = world.app.admin().until_end(&id).await;
        let until = &step(&request, "shop.orders")["kept_until"];
        assert!(until.as_str().unwrap().starts_with("2209"), "{request}");
        assert_eq!(step(&statement(&world, &request).await, "shop.orders")["kept_until"], *until);
        let (old, _) = world.certified(&id).await;
        world.target("UPDATE orders SET placed_at = '2001-01-01 00:00:00' WHERE user_id = 1");
        // By then it was over, as the row tells now.
        let far: DateTime<Utc> = "2300-01-01T00:00:00Z".parse().unwrap();
        assert_eq!(reopen(&world.app.service, far).await.unwrap(), 1);
        statement(&world, &world.app.admin().until_end(&id).await).await;
        let (new, _) = world.certified(&id).await;
        assert!(new["event"]["seq"].as_i64() > old["event"]["seq"].as_i64());
        assert_eq!(
            (&old["statement"]["outcome"], &new["statement"]["outcome"]),
            (&json!("done_with_exceptions"), &json!("done"))
        );
        assert_eq!(step(&new["statement"], "shop.orders")["rows"]["affected"], 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_there_when_keys_and_names_are_gone_and_whatever_comes_after_the_end() {
    for mut world in worlds(PLAN).await {
        world.app.work();
        let id = world.erased(1).await;
        let (before, _) = world.certified(&id).await;
        let answered = json!({ "at": before["statement"]["finished_at"], "channel": "letter" });
        let reply = world.app.admin().post(&format!("/v1/requests/{id}/answered"), &answered).await;
        assert!(reply.status.is_success(), "{reply:?}");
        let (later, _) = world.certified(&id).await;
        assert_eq!(later["statement"], before["statement"]);
        let end = Clock.now() + chrono::TimeDelta::days(1);
        for sweep in [Sweep::Identities, Sweep::Requests] {
            carry_out_batch(&world.app.service, sweep, end, Clock.now()).await.unwrap();
        }
        let request = world.app.admin().get(&format!("/v1/requests/{id}")).await.ok();
        assert!(request["reduced_at"].is_string() && request["subject_ref"].is_null(), "{request}");
        let (after, _) = world.certified(&id).await;
        assert_eq!((&after["statement"], &after["event"]), (&before["statement"], &before["event"]));
    }
}
