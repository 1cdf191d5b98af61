//! What a plan leaves out of the information that comes with a copy (GDPR Art. 15(1)).

use std::collections::BTreeMap;

use super::{About, Entry, Erase, Export, PlanFile};
use crate::domain::document::{Fault, Severity};

/// What the person must be told of every processing. Recipients, sources and transfers need not exist.
const REQUIRED: [&str; 4] = ["purpose", "legal_basis", "categories", "retention"];

/// One warning for all entries that lack the same, and whose rows are handed out; what the plan says of all of them
/// counts for each.
#[must_use]
pub fn gaps(plan: &PlanFile) -> Vec<Fault> {
    let handed_out =
        |entry: &&Entry| entry.export.value != Export::None && entry.erase.value != Erase::Unlink;
    let mut lacking: BTreeMap<Vec<&str>, Vec<&Entry>> = BTreeMap::new();
    for entry in plan.entries.iter().filter(handed_out) {
        lacking.entry(missing(&plan.about, &entry.about)).or_default().push(entry);
    }
    lacking.remove(&Vec::new());
    let fault = |(missing, entries): (Vec<&str>, Vec<&Entry>)| {
        let tables: Vec<String> =
            entries.iter().map(|entry| format!("{}.{}", entry.connection, entry.table)).collect();
        Fault {
            file: plan.file.clone(),
            line: entries.first().map(|entry| entry.line),
            problem: format!(
                "a copy would come without its {} (Art. 15(1) GDPR): {}",
                missing.join(", "),
                tables.join(", ")
            ),
            remedy: "write them under `about` of the plan, or of these tables".to_owned(),
            severity: Severity::Warning,
        }
    };
    lacking.into_iter().map(fault).collect()
}

fn missing(of_plan: &About, of_entry: &About) -> Vec<&'static str> {
    let said = |about: &About, name: &str| {
        about.parts().iter().any(|(part, texts)| *part == name && !texts.is_empty())
    };
    REQUIRED.into_iter().filter(|name| !said(of_plan, name) && !said(of_entry, name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::plan::parse;

    #[test]
    fn what_is_missing_is_told_once() {
        let plan = parse(
            "plan.yaml",
            "plan: p
about: { purpose: trade, legal_basis: [contract], retention: '' }
subject: { id: shop.users.id }
connections:
  shop:
    users: { erase: delete, about: { categories: contact, retention: 1 year } }
    visits: { match: { user_id: users.id }, erase: delete }
    calls: { match: { user_id: users.id }, erase: delete }
    notes: { match: { user_id: users.id }, erase: delete, export: none }
    replies: { match: { user_id: users.id }, erase: unlink }
",
        )
        .unwrap();
        let told: Vec<_> = gaps(&plan).into_iter().map(|fault| (fault.line, fault.problem)).collect();
        let problem =
            "a copy would come without its categories, retention (Art. 15(1) GDPR): shop.visits, shop.calls";
        assert_eq!(told, [(Some(7), problem.to_owned())]);
    }
}
