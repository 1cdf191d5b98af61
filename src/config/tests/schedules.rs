//! Schedules of the file, and those of the environment that stand for them.

use std::path::Path;

use super::{GOOD, variable};
use crate::config::{Config, parse};

const POLICY: &str = "retention:
  policies:
    visits: { connection: shop, table: visits, timestamp: at, older_than: 1y, action: delete, basis: none, schedule: 6h }
schedules:
  nightly: { cron: \"0 3 * * *\", time_zone: Europe/Berlin, handler: \"retention:visits\" }
";

fn read(environment: &str) -> Result<Config, String> {
    let known = |name: &str| match name {
        "JOBS_SCHEDULE_JSON" => Some(environment.to_owned()),
        other => variable(other),
    };
    parse(Path::new("rightful.yaml"), &format!("{GOOD}{POLICY}"), &known)
        .map_err(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

fn shown(config: &Config) -> Vec<String> {
    let shown = config
        .schedules
        .iter()
        .map(|schedule| format!("{}: {}, {}", schedule.name, schedule.task, schedule.timing));
    shown.collect()
}

/// A replay follows a restore, and no clock.
#[test]
fn a_replay_is_no_handler() {
    let refused = read("[{\"name\": \"r\", \"interval\": \"6h\", \"handler\": \"replay\"}]").unwrap_err();
    assert!(refused.contains("`replay` is no handler"), "{refused}");
    let file = format!("{GOOD}schedules:\n  r: {{ interval: 6h, handler: replay }}\n");
    let faults = parse(Path::new("rightful.yaml"), &file, &variable).unwrap_err();
    assert!(faults.iter().any(|fault| fault.to_string().contains("`replay` is no handler")), "{faults:?}");
}

#[test]
fn the_environment_stands_for_the_file() {
    assert_eq!(
        shown(&read("").unwrap()),
        [
            "retention:visits: retention:visits, every 6h",
            "nightly: retention:visits, 0 3 * * * (Europe/Berlin)"
        ]
    );
    let json = r#"[{"name": "a", "interval": 3600, "handler": "retention:visits"},
                   {"name": "b", "interval": "15m", "handler": "retention:visits"},
                   {"name": "c", "cron": "0 4 * * 1", "time_zone": "Asia/Tokyo", "handler": "retention:visits"}]"#;
    assert_eq!(
        shown(&read(json).unwrap()),
        [
            "a: retention:visits, every 1h",
            "b: retention:visits, every 15m",
            "c: retention:visits, 0 4 * * 1 (Asia/Tokyo)"
        ]
    );
    assert_eq!(shown(&read("[]").unwrap()), Vec::<String>::new());
}

#[test]
fn what_the_environment_says_wrongly_is_told() {
    for (json, problem) in [
        ("{}", "is no JSON list"),
        ("[1]", "is no object"),
        (r#"[{"name": "a", "interval": 0, "handler": "retention:visits"}]"#, "no number of seconds"),
        (r#"[{"name": "a", "interval": 1.5, "handler": "retention:visits"}]"#, "no number of seconds"),
        (r#"[{"name": "a", "interval": 60, "handlr": "retention:visits"}]"#, "did you mean `handler`?"),
        (r#"[{"name": "a", "interval": 60}]"#, "is no handler"),
        (r#"[{"name": "a", "interval": 60, "handler": "replay"}]"#, "is no handler"),
        (r#"[{"name": "a", "interval": 60, "cron": "0 3 * * *", "handler": "retention:visits"}]"#, "one of"),
        (
            r#"[{"name": "a", "cron": "0 3 * * *", "time_zone": 1, "handler": "retention:visits"}]"#,
            "no time zone",
        ),
        (r#"[{"name": "a", "cron": "0 3 * *", "handler": "retention:visits"}]"#, "five fields"),
        (r#"[{"name": "a", "interval": 60, "handler": "retention:visit"}]"#, "did you mean `visits`?"),
        (
            r#"[{"name": "a", "interval": 60, "handler": "retention:visits"},
                {"name": "a", "interval": 90, "handler": "retention:visits"}]"#,
            "stands in it twice",
        ),
    ] {
        let refused = read(json).unwrap_err();
        assert!(refused.contains(problem), "{json}: {refused}");
    }
}
