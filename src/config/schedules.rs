//! The section `schedules`, what policies say of their own times, and `JOBS_SCHEDULE_JSON`, which stands for all of them.

use std::collections::BTreeMap;

use chrono_tz::Tz;
use serde_json::Value;

use super::{
    Backup, Retention,
    read::{Sections, is_name},
};
use crate::domain::{
    document::{Fields, suggest},
    run::Task,
    schedule::{Schedule, Timing},
};

/// A list of `{ name, interval | cron, handler }` in place of every schedule of the file.
const VARIABLE: &str = "JOBS_SCHEDULE_JSON";
const KEYS: [&str; 4] = ["interval", "cron", "time_zone", "handler"];

impl Sections<'_> {
    /// `own`: those that policies and backups carry themselves.
    pub(super) fn schedules(&mut self, root: &Fields<'_>, own: Vec<(Task, Timing)>) -> Vec<Schedule> {
        if let Some(text) = (self.sources.variable)(VARIABLE).filter(|text| !text.trim().is_empty()) {
            return self.schedules_of_environment(&text);
        }
        let mut all: Vec<Schedule> =
            own.into_iter().map(|(task, timing)| Schedule { name: task.to_string(), timing, task }).collect();
        let Some(node) = root.get("schedules") else { return all };
        for (name, node) in self.reader.map(node, "`schedules`").unwrap_or_default() {
            let what = format!("schedule `{}`", name.value);
            if !is_name(&name.value) {
                let remedy = "use letters, digits, `_` and `-`";
                self.reader.error(name.line, format!("`{}` is no name of a schedule", name.value), remedy);
            }
            let Some(fields) = self.reader.fields(node, &what, &KEYS) else { continue };
            let timing = self.timing_of(&fields, &what);
            let handler = self.text(&fields, "handler").and_then(|(line, text)| {
                let task = schedulable(&text);
                let wrong = || (format!("{what}: `{text}` is no handler"), HANDLERS.to_owned());
                self.checked(line, "handler", task.ok_or_else(wrong))
            });
            if !fields.has("handler") {
                self.reader.error(name.line, format!("{what} has no `handler`"), HANDLERS);
            }
            if let (Some(timing), Some(task)) = (timing, handler) {
                all.push(Schedule { name: name.value.clone(), timing, task });
            }
        }
        all
    }

    /// What a schedule names must be there.
    pub(super) fn check_handlers(
        &mut self,
        root: &Fields<'_>,
        schedules: &[Schedule],
        retention: &Retention,
        backups: &BTreeMap<String, Backup>,
    ) {
        for schedule in schedules {
            let (what, name, known): (_, _, Vec<&str>) = match &schedule.task {
                Task::Retention(name) => {
                    ("retention policy", name, retention.policies.keys().map(String::as_str).collect())
                }
                Task::Backup(name) => ("backup", name, backups.keys().map(String::as_str).collect()),
                // No handler: see `schedulable`.
                Task::Replay => continue,
            };
            if !known.contains(&name.as_str()) {
                let problem = format!("schedule `{}`: there is no {what} `{name}`", schedule.name);
                self.reader.error(root.line_of("schedules"), problem, suggest(name, known));
            }
        }
    }

    fn timing_of(&mut self, fields: &Fields<'_>, what: &str) -> Option<Timing> {
        let zone = self.zone(fields)?;
        match (fields.get("interval"), fields.get("cron")) {
            (Some(_), None) => self.value(fields, "interval", "", Timing::interval),
            (None, Some(_)) => self.value(fields, "cron", "", |text| Timing::cron(text, zone)),
            _ => {
                let remedy = "write interval: 6h, or cron: \"0 3 * * *\"";
                self.reader.error(fields.line, format!("{what} needs one of interval and cron"), remedy);
                None
            }
        }
    }

    /// `schedule` and `time_zone` of a policy or a backup.
    pub(super) fn timing(&mut self, fields: &Fields<'_>) -> Option<Timing> {
        let zone = self.zone(fields)?;
        fields.get("schedule")?;
        self.value(fields, "schedule", "", |text| Timing::parse(text, zone))
    }

    fn zone(&mut self, fields: &Fields<'_>) -> Option<Tz> {
        self.value(fields, "time_zone", "UTC", |text| {
            let wrong = |_| (format!("`{text}` is no time zone"), "such as Europe/Berlin".to_owned());
            text.parse::<Tz>().map_err(wrong)
        })
    }

    fn schedules_of_environment(&mut self, text: &str) -> Vec<Schedule> {
        let example =
            "such as [{\"name\": \"nightly\", \"cron\": \"0 3 * * *\", \"handler\": \"retention:visits\"}]";
        let items = match serde_json::from_str::<Value>(text) {
            Ok(Value::Array(items)) => items,
            _ => {
                self.reader.error_nowhere(format!("{VARIABLE} is no JSON list"), example);
                return Vec::new();
            }
        };
        let mut all: Vec<Schedule> = Vec::new();
        for (at, item) in items.iter().enumerate() {
            match from_json(item) {
                Ok(schedule) if all.iter().any(|known| known.name == schedule.name) => {
                    let problem = format!("{VARIABLE}: `{}` stands in it twice", schedule.name);
                    self.reader.error_nowhere(problem, "keep one of the two");
                }
                Ok(schedule) => all.push(schedule),
                Err((problem, remedy)) => {
                    self.reader.error_nowhere(format!("{VARIABLE}, item {}: {problem}", at + 1), remedy);
                }
            }
        }
        all
    }
}

const HANDLERS: &str = "write retention:POLICY or backup:NAME";

/// What a schedule may run. A replay follows a restore, which no clock knows of.
fn schedulable(handler: &str) -> Option<Task> {
    handler.parse::<Task>().ok().filter(|task| *task != Task::Replay)
}

fn from_json(item: &Value) -> Result<Schedule, (String, String)> {
    let known = ["name", "interval", "cron", "time_zone", "handler"];
    let fields = item.as_object().ok_or_else(|| ("it is no object".to_owned(), String::new()))?;
    if let Some(unknown) = fields.keys().find(|key| !known.contains(&key.as_str())) {
        return Err((format!("it has no key `{unknown}`"), suggest(unknown, known)));
    }
    let text = |key: &str| fields.get(key).and_then(Value::as_str);
    let name = text("name")
        .filter(|name| is_name(name))
        .ok_or_else(|| ("it has no `name`".to_owned(), "use letters, digits, `_` and `-`".to_owned()))?;
    let zone = match fields.get("time_zone") {
        None => Ok(Tz::UTC),
        Some(zone) => zone
            .as_str()
            .and_then(|zone| zone.parse::<Tz>().ok())
            .ok_or_else(|| (format!("`{zone}` is no time zone"), "such as Europe/Berlin".to_owned())),
    }?;
    let timing = match (fields.get("interval"), fields.get("cron")) {
        (Some(Value::Number(seconds)), None) => seconds
            .as_i64()
            .and_then(Timing::every)
            .ok_or_else(|| ("`interval` is no number of seconds".to_owned(), "such as 3600".to_owned())),
        (Some(Value::String(text)), None) => Timing::interval(text),
        (None, Some(Value::String(text))) => Timing::cron(text, zone),
        _ => Err(("it needs one of `interval` and `cron`".to_owned(), String::new())),
    }?;
    let handler = text("handler").unwrap_or_default();
    let task =
        schedulable(handler).ok_or_else(|| (format!("`{handler}` is no handler"), HANDLERS.to_owned()))?;
    Ok(Schedule { name: name.to_owned(), timing, task })
}
