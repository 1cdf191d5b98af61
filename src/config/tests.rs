//! One configuration that is right, and one change at a time that is not.

use std::path::Path;

use super::*;
use crate::domain::sweep::Sweep;

mod backups;
mod evidence;
mod schedules;

const GOOD: &str = r#"listen: 127.0.0.1:8080
store: sqlite:rightful.db
plans: plans
auth:
  issuer: https://idp.example
  audience: rightful
  roles_claim: realm_access.roles
  keys:
    hmac_secret: ${JWT_SECRET}
secrets:
  pseudonym_key: ${PSEUDONYM_KEY}
connections:
  shop: { url: "${SHOP_URL}" }
  crm: { url: "sqlite:crm.db" }
cors: { origins: [https://panel.example] }
approval: { erasure: none, export: none, rectification: none }
worker:
  concurrency: ${CONCURRENCY:-3}
  lease: 30s
  max_attempts: 8
  batch: { time_target: 250ms, min_rows: 50, max_rows: 10000, pause: 0.5, long_pause: 5 }
"#;

const JWT_SECRET: &str = "a-secret-of-more-than-thirty-two-bytes";

fn variable(name: &str) -> Option<String> {
    match name {
        "JWT_SECRET" | "RIGHTFUL_JWT_SECRET" => Some(JWT_SECRET.to_owned()),
        "PSEUDONYM_KEY" | "RIGHTFUL_PSEUDONYM_KEY" => {
            Some("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=".to_owned())
        }
        "MAILER_TOKEN" => Some("mail-hush".to_owned()),
        "SHOP_URL" => Some("postgresql://shop:hidden@db.example/shop?sslmode=require".to_owned()),
        _ => None,
    }
}

fn parse_text(text: &str) -> Result<Config, Vec<Fault>> {
    parse(Path::new("/etc/rightful/rightful.yaml"), text, &variable)
}

#[test]
fn the_contracts_example_is_read() {
    let config = parse_text(GOOD).unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.store.expose(), "sqlite:/etc/rightful/rightful.db");
    assert_eq!(config.plans, Path::new("/etc/rightful/plans"));
    assert_eq!(config.auth.roles_claim, "realm_access.roles");
    assert_eq!(config.connections["crm"].url.expose(), "sqlite:/etc/rightful/crm.db");
    assert!(config.connections["shop"].url.expose().starts_with("postgres://shop:hidden@"));
    assert_eq!(config.connections["shop"].line, 13);
    assert_eq!(config.worker.concurrency, 3);
    assert_eq!(config.worker.batch.time_target, Duration::from_millis(250));
    assert_eq!(config.secrets.pseudonym_key.expose()[31], 31);
}

#[test]
fn what_is_left_out_has_a_default() {
    let short = "auth:\n  issuer: i\n  audience: a\n  keys: { hmac_secret: \"${JWT_SECRET}\" }\nsecrets: { pseudonym_key: \"${PSEUDONYM_KEY}\" }\n";
    let config = parse_text(short).unwrap();
    assert_eq!(config.auth.roles_claim, "roles");
    assert_eq!(config.worker.concurrency, 4);
    assert!(config.connections.is_empty());
}

#[test]
fn nothing_secret_is_printed() {
    let text = format!("{:?}", parse_text(GOOD).unwrap());
    for secret in ["hidden", JWT_SECRET, "31]"] {
        assert!(!text.contains(secret), "{text}");
    }
}

/// One line of the good file replaced, and what the fault must say: line, problem or remedy.
#[test]
fn every_fault_names_its_line() {
    for (from, to, line, says) in [
        ("listen: 127.0.0.1:8080", "listen: 8080", 1, "IP address and a port"),
        ("listen: 127.0.0.1:8080", "listne: 127.0.0.1:8080", 1, "did you mean `listen`?"),
        ("store: sqlite:rightful.db", "store: mysql://root@db/x", 2, "the store cannot be MySQL"),
        ("store: sqlite:rightful.db", "store: mongodb://x/y", 2, "postgres://, mysql:// or sqlite:"),
        ("store: sqlite:rightful.db", "store: \"sqlite::memory:\"", 2, "needs a file"),
        ("  issuer: https://idp.example", "  issuer: \"\"", 5, "auth.issuer is missing"),
        ("realm_access.roles", "realm_access..roles", 7, "empty part"),
        ("hmac_secret: ${JWT_SECRET}", "hmac_secret: short", 9, "at least 32"),
        ("hmac_secret: ${JWT_SECRET}", "hmac_secret: ${NOT_THERE}", 9, "NOT_THERE is not set"),
        ("hmac_secret: ${JWT_SECRET}", "jwks_url: http://idp.example/jwks", 9, "https://"),
        ("hmac_secret: ${JWT_SECRET}", "public_key: nonsense", 9, "no public key"),
        ("hmac_secret: ${JWT_SECRET}", "hmac_secret: ${JWT_SECRET}\n    jwks_url: https://a/b", 9, "2 kinds"),
        ("    hmac_secret: ${JWT_SECRET}", "    {}", 9, "0 kinds"),
        ("pseudonym_key: ${PSEUDONYM_KEY}", "pseudonym_key: c2hvcnQ=", 11, "has 5 bytes; it needs 32"),
        ("pseudonym_key: ${PSEUDONYM_KEY}", "pseudonym_key: \"%%%\"", 11, "not base64"),
        ("${SHOP_URL}", "oracle://db/x", 13, "names no database"),
        ("${SHOP_URL}", "mysql:///x", 13, "no host"),
        ("shop: { url: \"${SHOP_URL}\" }", "shop: { uri: \"x\" }", 13, "did you mean `url`?"),
        ("  crm:", "  shop:", 14, "stands twice"),
        ("  crm:", "  a.b:", 14, "is no name"),
        ("https://panel.example", "\"*\"", 15, "every web site"),
        ("https://panel.example", "https://panel.example/", 15, "is no origin"),
        ("export: none", "export: sometimes", 16, "none or required"),
        ("erasure: none", "erasure: maybe", 16, "none or required"),
        ("${CONCURRENCY:-3}", "0", 18, "from 1 to 256"),
        ("lease: 30s", "lease: 30", 19, "whole number and a unit"),
        ("lease: 30s", "lease: 1d", 19, "between 1s and 10m"),
        ("time_target: 250ms", "time_target: 10s", 19, "outlive its lease"),
        ("max_attempts: 8", "max_attempts: many", 20, "from 1 to 1000"),
        ("min_rows: 50", "min_rows: 20000", 21, "larger than max_rows"),
        (" pause: 0.5", " pause: -1", 21, "from 0 to 20"),
        ("long_pause: 5", "long_pause: 101", 21, "from 0 to 100"),
    ] {
        assert!(GOOD.contains(from), "{from}");
        let faults = parse_text(&GOOD.replacen(from, to, 1)).expect_err(to);
        let found = faults.iter().any(|fault| fault.line == Some(line) && fault.to_string().contains(says));
        assert!(found, "{to} should say `{says}` on line {line}, but: {faults:#?}");
    }
}

#[test]
fn all_faults_come_at_once_and_quote_no_secret() {
    let text = GOOD
        .replace("listen: 127.0.0.1:8080", "listen: x")
        .replace("${JWT_SECRET}", "tooshort-hush")
        .replace("${SHOP_URL}", "postgres://u:hush hush@[bad/x");
    let faults = parse_text(&text).unwrap_err();
    assert_eq!(faults.len(), 3, "{faults:#?}");
    assert!(faults.iter().all(|fault| !fault.to_string().contains("hush")), "{faults:#?}");
}

#[test]
fn no_keys_no_start() {
    for section in ["auth", "secrets"] {
        let text: String = GOOD
            .split_inclusive('\n')
            .scan(false, |inside, line| {
                let top = !line.starts_with(' ');
                *inside = if top { line.starts_with(section) } else { *inside };
                Some(if *inside { "" } else { line })
            })
            .collect();
        let faults = parse_text(&text).unwrap_err();
        assert!(faults[0].problem.contains(&format!("`{section}` is missing")), "{faults:#?}");
    }
}

#[test]
fn durations() {
    for (text, millis) in
        [("250ms", 250), ("30s", 30_000), ("5m", 300_000), ("1h", 3_600_000), ("7d", 604_800_000)]
    {
        assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
    }
    for text in ["", "s", "1.5s", "-1s", "10", "1w", "99999999999999999999s"] {
        assert!(duration(text).is_err(), "{text}");
    }
}

#[test]
fn a_file_that_is_missing_says_what_to_do() {
    let faults = load(Path::new("/nowhere/rightful.yaml")).unwrap_err();
    assert!(faults[0].to_string().contains("rightful init"), "{faults:#?}");
}

#[test]
fn the_example_is_right() {
    let text = include_str!("../../rightful.example.yaml");
    let config = parse_text(text).unwrap_or_else(|faults| panic!("{faults:#?}"));
    let defaults = Worker::default();
    assert_eq!(config.worker.concurrency, defaults.concurrency);
    assert_eq!(config.worker.lease, defaults.lease);
    assert_eq!(config.worker.batch.max_rows, defaults.batch.max_rows);
    assert!(matches!(config.auth.keys, AuthKeys::Jwks { .. }));
    assert_eq!(config.exports.expires_after, Duration::from_secs(7 * 86_400));
}

#[test]
fn packages_lie_in_a_folder_or_a_bucket() {
    let with = |section: &str| parse_text(&format!("{GOOD}exports: {{ {section} }}\n"));
    assert!(
        matches!(with("store: out").unwrap().exports.store, ExportStore::Folder(path) if path == Path::new("/etc/rightful/out"))
    );
    let bucket = "store: s3://data/a/b, s3: { region: eu-central-1, endpoint: https://s3.example, access_key_id: id, \
                  secret_access_key: hush }";
    let config = with(bucket).unwrap();
    let ExportStore::Bucket { name, prefix, region, endpoint, credentials } = &config.exports.store else {
        panic!()
    };
    assert_eq!((name.as_str(), prefix.as_str(), region.as_str()), ("data", "a/b", "eu-central-1"));
    assert_eq!((endpoint.as_deref(), credentials.is_some()), (Some("https://s3.example"), true));
    assert!(!format!("{config:?}").contains("hush"));
    for (section, says) in [
        ("store: ftp://x/y", "not a place for packages"),
        ("store: out, s3: { region: x }", "is no bucket"),
        ("store: s3://data, s3: { access_key_id: id }", "one half of a key"),
        ("store: s3://data, s3: { endpoint: http://s3.example }", "must not travel unprotected"),
        ("expires_after: 1s", "between 1m and 366d"),
        ("expire_after: 1d", "did you mean `expires_after`?"),
    ] {
        let faults = with(section).expect_err(section);
        assert!(faults.iter().any(|fault| fault.to_string().contains(says)), "{section}: {faults:#?}");
    }
}

#[test]
fn webhooks_are_read_and_their_faults_are_told() {
    let with = |section: &str| parse_text(&format!("{GOOD}{section}\n"));
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let good = format!(
        "webhooks:\n  panel: {{ url: https://panel.example/hook, secret: {secret} }}\noutbound: {{ private_hosts: [panel.internal] }}"
    );
    let config = with(&good).unwrap();
    assert_eq!(config.webhooks["panel"].url, "https://panel.example/hook");
    assert_eq!(config.private_hosts, ["panel.internal"]);
    assert!(!format!("{config:?}").contains(secret));
    for (from, to, says) in [
        ("https://panel", "http://panel", "must not travel unprotected"),
        ("https://panel.example/hook", "panel", "no URL"),
        (secret, "whsec_c2hvcnQ=", "24 to 64 bytes"),
        (secret, "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "24 to 64 bytes"),
        (", secret", ", secrets", "did you mean `secret`?"),
        ("panel:", "a.b:", "no name of a webhook"),
        ("private_hosts", "private_host", "did you mean `private_hosts`?"),
    ] {
        assert!(good.contains(from), "{from}");
        let faults = with(&good.replacen(from, to, 1)).expect_err(to);
        assert!(faults.iter().any(|fault| fault.to_string().contains(says)), "{to}: {faults:#?}");
        assert!(faults.iter().all(|fault| !fault.to_string().contains("MfKQ")), "{faults:#?}");
    }
}

#[test]
fn http_services_are_read_and_their_faults_are_told() {
    let good = "  mailer:\n    url: https://mail.example/api\n    headers: { authorization: \"Bearer ${MAILER_TOKEN}\" }\n    probe: GET /health\n";
    let with = |member: &str| parse_text(&GOOD.replace("cors:", &format!("{member}cors:")));
    let config = with(good).unwrap_or_else(|faults| panic!("{faults:#?}"));
    let ConnectionKind::Service { headers, probe } = &config.connections["mailer"].kind else { panic!() };
    assert_eq!((headers[0].0.as_str(), headers[0].1.expose()), ("authorization", "Bearer mail-hush"));
    assert_eq!(probe.as_ref().unwrap().to_string(), "GET /health");
    assert!(!format!("{config:?}").contains("mail-hush"));
    assert!(matches!(config.connections["shop"].kind, ConnectionKind::Database));
    let bare = with("  mailer: { url: \"http://localhost:9000\" }\n").unwrap();
    assert!(matches!(bare.connections["mailer"].kind, ConnectionKind::Service { probe: None, .. }));
    for (from, to, says) in [
        ("https://mail.example/api", "http://mail.example/api", "must not travel unprotected"),
        ("https://mail.example/api", "https://u:mail-hush@mail.example", "holds credentials"),
        ("https://mail.example/api", "https://mail.example/api?x=1", "goes on behind its path"),
        ("https://mail.example/api", "sqlite:mail.db", "`headers` belongs to HTTP services"),
        ("https://mail.example/api", "sqlite:mail.db", "`probe` belongs to HTTP services"),
        ("authorization:", "\"a b\":", "no name of a header"),
        ("authorization:", "Idempotency-Key:", "is set by the service itself"),
        ("${MAILER_TOKEN}", "${MAILER_TOKEN}\\n", "does a secret end in a line break?"),
        ("${MAILER_TOKEN}\"", "${MAILER_TOKEN}\", Authorization: x", "twice"),
        ("GET /health", "POST /health", "must be a GET"),
        ("GET /health", "\"GET /health/{id}\"", "without names in braces"),
        ("GET /health", "/health", "no method and path"),
        ("probe:", "prob:", "did you mean `probe`?"),
    ] {
        assert!(good.contains(from), "{from}");
        let faults = with(&good.replacen(from, to, 1)).expect_err(to);
        assert!(faults.iter().any(|fault| fault.to_string().contains(says)), "{to}: {faults:#?}");
        assert!(faults.iter().all(|fault| !fault.to_string().contains("hush")), "{faults:#?}");
    }
}

#[test]
fn fixtures_are_loaded_where_they_are_configured() {
    let none = parse_text(GOOD).unwrap().fixtures;
    assert_eq!((none.folder, none.environment), (None, None));
    let with = |section: &str| parse_text(&format!("{GOOD}fixtures: {{ {section} }}\n"));
    let found = with("environment: development").unwrap().fixtures;
    assert_eq!(found.folder.as_deref(), Some(Path::new("/etc/rightful/fixtures")));
    assert_eq!(found.environment.as_deref(), Some("development"));
    let faults = with("environment: ../development").unwrap_err();
    assert!(
        faults[0].problem.contains("no name of an environment") && faults[0].line == Some(22),
        "{faults:#?}"
    );

    let of_process = |name: &str| match name {
        "RIGHTFUL_ENV" => Some("staging".to_owned()),
        other => variable(other),
    };
    let text = format!("{GOOD}fixtures: {{ environment: development }}\n");
    let found = parse(Path::new("/etc/rightful/rightful.yaml"), &text, &of_process).unwrap().fixtures;
    assert_eq!(found.environment.as_deref(), Some("staging"));
}

#[test]
fn the_periods_of_the_services_own_data_are_read_and_their_faults_are_told() {
    let with = |section: &str| parse_text(&format!("{GOOD}retention: {{ {section} }}\n"));
    let shown = |section: &str| {
        let periods = with(section).unwrap_or_else(|faults| panic!("{faults:#?}")).retention.periods;
        Sweep::ALL.map(|sweep| periods.of(sweep).map(|period| period.to_string()).unwrap_or_default())
    };
    assert_eq!(
        shown("identities: 90d, requests: 3y, idempotency_keys: 30d, pseudonyms: 3y"),
        ["90d", "3y", "30d", "3y"]
    );
    assert_eq!(shown("identities: 90d"), ["90d", "", "", ""]);
    assert_eq!(shown("requests: 6mo"), ["", "6mo", "", ""]);
    assert_eq!(parse_text(GOOD).unwrap().retention.periods, Periods::default());
    for (section, problem) in [
        ("identities: 90", "identities: `90` is no period"),
        ("requests: 0d", "requests: `0d` is no period"),
        ("idempotency_keys: soon", "idempotency_keys: `soon` is no period"),
        ("requests: 3y, pseudonyms: 35mo", "`pseudonyms` is shorter than `requests`"),
        ("identities: 90d, pseudonyms: 2mo", "`pseudonyms` is shorter than `identities`"),
        ("identity: 90d", "did you mean `identities`?"),
    ] {
        let faults = with(section).unwrap_err();
        let [fault] = faults.as_slice() else { panic!("{section}: {faults:#?}") };
        assert!(fault.to_string().contains(problem), "{section}: {fault}");
    }
}

#[test]
fn the_ledger_is_kept_for_a_year_or_as_long_as_is_said() {
    let kept = |section: &str| {
        parse_text(&format!("{GOOD}{section}")).map(|config| config.retention.ledger.to_string())
    };
    assert_eq!(kept(""), Ok("1y".to_owned()));
    assert_eq!(kept("retention: {}\n"), Ok("1y".to_owned()));
    assert_eq!(kept("retention: { ledger: 90d }\n"), Ok("90d".to_owned()));
    for wrong in ["0d", "forever", "90", "[90d]"] {
        let faults = kept(&format!("retention: {{ ledger: {wrong} }}\n")).unwrap_err();
        assert!(faults.iter().any(|fault| fault.line == Some(22)), "{wrong}: {faults:?}");
    }
}

#[test]
fn replays_may_need_an_approver() {
    let text = GOOD.replace("rectification: none }", "rectification: none, replay: required }");
    assert_eq!(parse_text(&text).unwrap().approval_of_runs, [TaskKind::Replay]);
    assert_eq!(parse_text(GOOD).unwrap().approval_of_runs, []);
}
