//! A certificate for people: whole, harmless whatever a plan says, and as the caller wishes it.

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{PLAN, html, id, path, sign, world};
use crate::support::stores::sqlite_store;

#[tokio::test(flavor = "multi_thread")]
async fn a_page_shows_what_the_certificate_says_and_runs_nothing() {
    let hostile = PLAN.replace("§ 147 AO", "<script>alert('1')</script> & <b title='x'>");
    let mut world = world(sqlite_store().await, &hostile).await;
    world.app.work();
    let id = world.erased(1).await;
    let (certificate, _) = world.certified(&id).await;
    let reply = html(&world.app.auditor(), &id).await;
    assert_eq!((reply.status.as_u16(), reply.header("content-type")), (200, "text/html; charset=utf-8"));
    for harm in ["<script", "<b ", "<img", "<link", "://", "javascript:", " style="] {
        assert!(!reply.text.contains(harm), "{harm}");
    }
    let style = reply.text.split("<style>").nth(1).unwrap().split("</style>").next().unwrap();
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, style.as_bytes());
    let policy = reply.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'; "), "{policy}");
    assert!(policy.contains(&format!("style-src 'sha256-{}'", STANDARD.encode(hash.as_ref()))), "{policy}");
    assert!(style.contains("@media print"));
    for shown in [
        "Certificate on a request for erasure",
        "Completed: done, but for what was withheld",
        "&lt;script&gt;alert('1')&lt;/script&gt; &amp; &lt;b title='x'&gt;",
        id.as_str(),
        certificate["statement"]["plan"]["version"].as_str().unwrap(),
        certificate["event"]["hash"].as_str().unwrap(),
        certificate["event"]["subject_ref"].as_str().unwrap(),
        certificate["proof"].as_str().unwrap(),
        "rightful certificate verify",
    ] {
        assert!(reply.text.contains(shown), "{shown} is not in {}", reply.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_says_in_which_form() {
    let world = world(sqlite_store().await, PLAN).await;
    let admin = world.app.admin();
    let request = admin.submit(1).await.ok();
    admin.post(&format!("/v1/requests/{}/cancel", id(&request)), &serde_json::json!({})).await.ok();
    sign(&world.app.service).await;
    let (json, page) = ("application/json", "text/html; charset=utf-8");
    for (accept, expected) in [
        ("*/*", json),
        ("application/json", json),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", page),
        ("text/html;q=0.5, application/json", json),
        ("application/json;q=0.5, text/html", page),
        ("nonsense", json),
    ] {
        let reply = admin.get_with(&path(id(&request)), &[("accept", accept)]).await;
        assert_eq!((reply.status.as_u16(), reply.header("content-type")), (200, expected), "{accept}");
    }
    let asked = format!("{}?format=json", path(id(&request)));
    let reply = admin.get_with(&asked, &[("accept", "text/html")]).await;
    let proof = reply.ok()["proof"].as_str().unwrap().to_owned();
    let alone = admin.get(&format!("{}?format=tlog-proof", path(id(&request)))).await;
    assert_eq!((alone.text, alone.status.as_u16()), (proof, 200));
    let alone = admin.get(&format!("{}?format=tlog-proof", path(id(&request)))).await;
    assert_eq!(alone.header("content-type"), "text/plain; charset=utf-8");
    let name = format!("attachment; filename=\"{}.tlog-proof\"", id(&request));
    assert_eq!(alone.header("content-disposition"), name);
}
