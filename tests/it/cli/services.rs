//! `check` and `preview` with an HTTP service among the connections.

use super::{SHOP, failure, rightful, site, text};
use crate::support::mailer::{Mailer, TOKEN};

const PLAN: &str = "plan: subscriber
subject: { email: shop.users.email }
connections:
  shop:
    users: { erase: delete, export: [id, email] }
    orders: { match: { user_id: users.id }, erase: delete }
    notes: { match: { user_id: users.id }, erase: delete }
  mailer:
    contacts:
      match: { email: shop.users.email }
      erase: { call: \"DELETE /contacts/{email}\", verify: \"GET /contacts/{email}\" }
      export: \"GET /contacts/{email}\"
";

#[tokio::test(flavor = "multi_thread")]
async fn check_asks_the_probe_and_preview_the_service() {
    let mailer = Mailer::start(&["jane@example.com"]).await;
    let (folder, _shop) = site(SHOP);
    let path = folder.path().join("rightful.yaml");
    let good = std::fs::read_to_string(&path).unwrap();
    std::fs::write(folder.path().join("plans/subscriber.yaml"), PLAN).unwrap();
    let configure = |url: &str, token: &str, probe: &str, hosts: &str| {
        let member = format!(
            "connections:\n  mailer:\n    url: {url}\n    headers: {{ authorization: \"{token}\" }}\n{probe}"
        );
        let text = good.replace("connections:\n", &member);
        std::fs::write(&path, format!("{text}\noutbound: {{ private_hosts: [{hosts}] }}\n")).unwrap();
    };
    let probe = "    probe: GET /health\n";
    configure(&mailer.url, TOKEN, probe, "127.0.0.1");
    let output = rightful(folder.path(), &["check"]);
    assert!(output.status.success(), "{output:?}");
    assert!(text(&output.stdout).contains("mailer.contacts call"), "{output:?}");

    let arguments = ["preview", "--plan", "subscriber", "--subject", "email=jane@example.com", "--json"];
    let counted = rightful(folder.path(), &arguments);
    let answer: serde_json::Value = serde_json::from_slice(&counted.stdout).unwrap();
    assert_eq!(
        (&answer["steps"][0]["name"], &answer["steps"][0]["matched"]),
        (&"mailer.contacts".into(), &1.into())
    );

    for (token, hosts, says) in [
        ("Bearer wrong", "127.0.0.1", "its probe answered with status 401"),
        (TOKEN, "", "`outbound.private_hosts` does not list"),
    ] {
        configure(&mailer.url, token, probe, hosts);
        let down = failure(&rightful(folder.path(), &["check"]));
        assert!(down.contains("connection `mailer` is down") && down.contains(says), "{down}");
        assert!(!down.contains("wrong"), "{down}");
    }
    configure(&mailer.url, TOKEN, "", "127.0.0.1");
    let output = rightful(folder.path(), &["check"]);
    assert!(output.status.success(), "{output:?}");
    assert!(text(&output.stdout).contains("connection `mailer` has no `probe`"), "{output:?}");
}
