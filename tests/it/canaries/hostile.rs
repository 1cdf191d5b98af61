//! Calls that hold identities where none belongs.

use reqwest::Method;
use serde_json::json;

use super::Cage;

/// Identities where none belongs: whatever is answered, nothing of it stays.
pub(super) async fn calls(cage: &Cage) {
    let (base, token) = cage.site.access();
    let http = reqwest::Client::new();
    let person = &cage.people[11];
    let (email, story) = (&person.email, person.story());
    let subject = json!({ "email": email });
    let requests = [
        json!(email),
        json!([email, story]),
        json!({ "kind": email, "plan": "customer", "subject": subject }),
        json!({ "kind": "erasure", "plan": email, "subject": subject }),
        json!({ "kind": "erasure", "plan": "customer", "subject": email }),
        json!({ "kind": "erasure", "plan": "customer", "subject": { email: email } }),
        json!({ "kind": "erasure", "plan": "customer", "subject": { "email": [email] } }),
        json!({ "kind": "erasure", "plan": "customer", "subject": { "user_id": email } }),
        json!({ "kind": "erasure", "plan": "customer", "subject": { "user_id": email }, email: 1 }),
        json!({ "kind": "erasure", "plan": "customer", "subject": subject, "submitted_at": story }),
        json!({ "kind": "rectification", "plan": "customer", "subject": subject, "changes": { email: { email: story } } }),
        json!({ "kind": "rectification", "plan": "customer", "subject": subject, "changes": { "shop.users": { "id": story } } }),
        json!({ "kind": "export", "plan": "customer", "subject": subject, "encrypt_to": email, "format": story }),
    ];
    let mut bodies: Vec<(&str, String)> =
        requests.iter().map(|body| ("/v1/requests", body.to_string())).collect();
    for path in [
        "/v1/requests",
        "/v1/holds",
        "/v1/consents",
        "/v1/audit/search",
        "/v1/requests/search",
        "/v1/replays",
        "/v1/replays/preview",
        "/v1/plans/customer/preview",
    ] {
        bodies.push((path, format!("{{\"subject\": \"{email}")));
        bodies.push((
            path,
            json!({ "plan": story, "purpose": email, "subject": { email: story } }).to_string(),
        ));
        bodies
            .push((path, json!({ "plan": "customer", "subject": { "email": { "is": story } } }).to_string()));
    }
    let paths = ["requests", "plans", "holds", "consents", "runs", "retention", "backups", "nothing"];
    let in_path = paths.map(|path| format!("/v1/{path}/{email}/{}", person.national_id));
    let queries = ["audit", "requests", "consents", "holds", "runs", "audit/export"];
    let in_query = queries.map(|path| {
        format!(
            "/v1/{path}?{email}=1&subject_ref={email}&plan={email}&cursor={email}&from={email}&actor={email}"
        )
    });
    let single =
        ["audit?subject_ref", "audit?actor", "requests?plan", "consents?subject_ref", "audit?cursor"];
    let in_single = single.map(|one| format!("/v1/{one}={email}"));
    let mut calls: Vec<(Method, String, Option<String>)> =
        bodies.into_iter().map(|(path, body)| (Method::POST, path.to_owned(), Some(body))).collect();
    for path in in_path.into_iter().chain(in_query).chain(in_single) {
        calls.push((Method::GET, path.clone(), None));
        calls.push((Method::POST, path, Some(story.clone())));
    }
    for (method, path, body) in calls {
        let call = http
            .request(method, format!("{base}{path}"))
            .header("content-type", "application/json")
            .header("user-agent", email)
            .header("referer", format!("https://panel.test/{email}"))
            .header("origin", format!("https://{email}"));
        for bearer in [token.to_owned(), format!("{token}{email}")] {
            let call = call.try_clone().unwrap().bearer_auth(bearer).body(body.clone().unwrap_or_default());
            let answer = call.send().await.unwrap();
            assert!(answer.status().as_u16() < 500, "{path}: {answer:?}");
        }
    }
}
