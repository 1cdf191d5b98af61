//! What holds for every path: the order of checks, problems, headers.

use reqwest::Method;
use serde_json::json;

use super::app;

#[tokio::test(flavor = "multi_thread")]
async fn checks_come_in_their_order() {
    let app = app().await;
    let (nobody, auditor, admin) = (app.nobody(), app.auditor(), app.admin());
    nobody.get("/v1/nowhere").await.problem(401, "unauthenticated");
    auditor.get("/v1/nowhere").await.problem(404, "not_found");
    auditor.get("/v1/requests/").await.problem(404, "not_found");
    nobody.get("/nowhere").await.problem(404, "not_found");
    // The method before the rights.
    let reply = auditor.call(Method::DELETE, "/v1/requests", None, &[]).await;
    reply.problem(405, "method_not_allowed");
    assert_eq!(reply.header("allow"), "POST, GET, HEAD");
    let reply = nobody.call(Method::POST, "/healthz", None, &[]).await;
    reply.problem(405, "method_not_allowed");
    assert_eq!(reply.header("allow"), "GET, HEAD");
    // The rights before the body.
    let text = [("content-type", "text/plain")];
    auditor.post_with("/v1/requests", &json!(null), &text).await.problem(403, "forbidden");
    admin.post_with("/v1/requests", &json!(null), &text).await.problem(415, "unsupported_media_type");
    admin.post("/v1/requests", &json!(null)).await.problem(422, "invalid_body");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_json_of_64_kib_at_most() {
    let app = app().await;
    let admin = app.admin();
    let huge = json!({ "reason": "x".repeat(70_000) });
    admin.post("/v1/requests", &huge).await.problem(413, "payload_too_large");
    admin
        .post("/v1/requests/019a0000-0000-7000-8000-000000000000/cancel", &huge)
        .await
        .problem(413, "payload_too_large");
    for kind in
        ["application/x-www-form-urlencoded", "application/json; charset=latin1", "application/problem+json"]
    {
        let reply = admin.post_with("/v1/requests", &json!({}), &[("content-type", kind)]).await;
        reply.problem(415, "unsupported_media_type");
    }
    let gzip = [("content-type", "application/json"), ("content-encoding", "gzip")];
    admin.post_with("/v1/requests", &json!({}), &gzip).await.problem(415, "unsupported_media_type");
    for (body, pointer) in
        [("", ""), ("{", ""), ("[]", ""), ("{\"kind\":\"erasure\",\"kind\":\"erasure\"}", "")]
    {
        let headers = [("content-type", "application/json; charset=UTF-8")];
        let reply = admin.call(Method::POST, "/v1/requests", Some(body.to_owned()), &headers).await;
        assert_eq!(reply.problem(422, "invalid_body")["errors"][0]["pointer"], pointer, "{body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_carries_an_id_and_safe_headers() {
    let app = app().await;
    let admin = app.admin();
    let known = admin.get_with("/v1/requests", &[("x-request-id", "panel-42.a_B")]).await;
    assert_eq!(known.header("x-request-id"), "panel-42.a_B");
    for odd in ["a b", "<script>", &"x".repeat(129)] {
        let reply = admin.get_with("/v1/requests", &[("x-request-id", odd)]).await;
        assert_eq!(reply.header("x-request-id").len(), 36, "a new one instead of {odd}");
    }
    for path in ["/v1/requests", "/healthz", "/nowhere", "/v1/nowhere"] {
        let reply = admin.get(path).await;
        assert_eq!(reply.header("x-content-type-options"), "nosniff");
        assert_eq!(reply.header("cache-control"), "no-store");
        assert!(reply.header("content-security-policy").contains("default-src 'none'"));
        assert!(!reply.header("x-request-id").is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn head_is_get_without_a_body() {
    let app = app().await;
    let reply = app.admin().call(Method::HEAD, "/v1/requests", None, &[]).await;
    assert_eq!((reply.status.as_u16(), reply.text.as_str()), (200, ""));
    app.nobody().get("/healthz").await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn browsers_may_call_from_configured_pages_only() {
    let app = app().await;
    let preflight = |origin: &'static str| {
        let nobody = app.nobody();
        async move {
            let headers = [("origin", origin), ("access-control-request-method", "POST")];
            nobody.call(Method::OPTIONS, "/v1/requests", None, &headers).await
        }
    };
    let allowed = preflight("https://panel.test").await;
    assert_eq!(allowed.status, 204);
    assert_eq!(allowed.header("access-control-allow-origin"), "https://panel.test");
    assert!(allowed.header("access-control-allow-headers").contains("authorization"));
    let refused = preflight("https://evil.test").await;
    assert_eq!((refused.status.as_u16(), refused.header("access-control-allow-origin")), (401, ""));
    let reply = app.admin().get_with("/v1/requests", &[("origin", "https://panel.test")]).await;
    assert_eq!(reply.header("access-control-allow-origin"), "https://panel.test");
    let reply = app.nobody().get_with("/v1/requests", &[("origin", "https://panel.test")]).await;
    assert_eq!(reply.header("access-control-allow-origin"), "https://panel.test", "also of a 401");
    let reply = app.admin().get_with("/v1/requests", &[("origin", "https://evil.test")]).await;
    assert_eq!(reply.header("access-control-allow-origin"), "");
    assert_eq!(reply.header("vary"), "origin");
}
