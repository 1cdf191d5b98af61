//! Plan files: every fault has a place, and what a plan says does not depend on how its YAML is laid out.

use rightful::domain::{
    call::CallTemplate,
    plan::{Entry, Erase, Export, Match, MatchValue, PlanFile, Reference, parse},
};

use super::documents::{faults_are_sound, written, yaml};

pub fn check(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let node = yaml(text);
    let plan = match parse("f", text) {
        Ok(plan) => plan,
        Err(faults) => {
            faults_are_sound(&faults, text);
            return false;
        }
    };
    assert_eq!(plan.source, text);
    names_are_written_as_they_are_read(&plan);
    if let Some(other) = node.as_ref().and_then(written) {
        let again = parse("f", &other).unwrap_or_else(|faults| panic!("{faults:?}: {other}"));
        assert_eq!(meaning(&again), meaning(&plan), "{other}");
    }
    true
}

fn names_are_written_as_they_are_read(plan: &PlanFile) {
    let of_subject = plan.identities.iter().chain(&plan.scope).map(|identity| &identity.column.value);
    for reference in of_subject.chain(plan.entries.iter().flat_map(references)) {
        assert_eq!(Reference::split(&reference.to_string()).as_ref(), Some(reference));
    }
    for entry in &plan.entries {
        let export = [Some(&entry.export), entry.portable.as_ref()].into_iter().flatten();
        let exported = export.filter_map(|at| match &at.value {
            Export::Call(call) => Some(call),
            _ => None,
        });
        let erased = match &entry.erase.value {
            Erase::Call { call, verify } => vec![call, verify],
            _ => Vec::new(),
        };
        for call in exported.chain(erased).chain(entry.rectify_call.as_ref().map(|at| &at.value.call)) {
            assert_eq!(CallTemplate::parse(&call.to_string()).as_ref(), Ok(call));
        }
        if let Erase::Keep(keep) = &entry.erase.value
            && let Some(until) = &keep.until
        {
            assert_eq!(until.value.period.to_string().parse(), Ok(until.value.period));
        }
    }
}

fn references(entry: &Entry) -> Vec<&Reference> {
    let mut all = vec![&entry.table];
    for one in &entry.matches {
        if let Match::Columns(columns) = &one.value {
            all.extend(columns.iter().filter_map(|(_, value)| match &value.value {
                MatchValue::Column(reference) => Some(reference),
                MatchValue::Constant(_) => None,
            }));
        }
    }
    all
}

/// All of a plan but its text and its lines.
fn meaning(plan: &PlanFile) -> String {
    let plan = PlanFile { source: String::new(), ..plan.clone() };
    let debug = format!("{plan:?}");
    let mut parts = debug.split("line: ");
    let mut meaning = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        meaning.push_str(part.trim_start_matches(|c: char| c.is_ascii_digit()));
    }
    meaning
}
