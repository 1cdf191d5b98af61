//! What plans over the same person's row must agree on. Locks, order, duplicates and legal holds know a person by the
//! pseudonyms of identities: plans that share none take one person for two.

use super::{
    compiled::{Action, CompiledPlan, Identity, Root, Source, Step},
    document::{Fault, Severity},
    plan::PlanFile,
};

/// A plan file and what it compiled to.
type Plan<'p> = (&'p PlanFile, &'p CompiledPlan);

/// Every pair of plans that would take one person for two.
#[must_use]
pub fn disagreements(plans: &[Plan<'_>]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (at, first) in plans.iter().enumerate() {
        for second in &plans[at + 1..] {
            faults.extend(roots(*first, *second));
            faults.extend(corrections(*first, second.1));
            faults.extend(corrections(*second, first.1));
        }
    }
    faults
}

fn roots((file, plan): Plan<'_>, (other_file, other): Plan<'_>) -> Option<Fault> {
    let (own, theirs) = (&plan.root, &other.root);
    if own.connection != theirs.connection || own.table != theirs.table {
        return None;
    }
    let both = format!("plans `{}` and `{}` ({})", plan.name, other.name, other_file.file);
    let table = format!("`{}.{}`", own.connection, own.table.name);
    if scope(own) != scope(theirs) {
        return Some(fault(
            file,
            file.name.line,
            format!(
                "{both} look for persons of {table} under different scopes: to them one row is two persons"
            ),
            "write the same `scope`, in the same order, in both",
        ));
    }
    let is_lasting = |identity: &Identity| {
        own.key.contains(&identity.column)
            || own.columns.get(identity.column).is_some_and(|column| !column.nullable)
    };
    let mut common = own.identities.iter().filter(|identity| is_lasting(identity));
    if common.any(|identity| theirs.has_identity(own.name_of(identity))) {
        return None;
    }
    Some(fault(
        file,
        file.name.line,
        format!(
            "{both} share no identity of {table} that is never NULL: a legal hold of one is unknown to the other"
        ),
        "add one, such as the key of the table, to `subject` of both",
    ))
}

/// Columns that a plan lets be corrected and that are identities of another plan alone.
fn corrections((file, plan): Plan<'_>, other: &CompiledPlan) -> Vec<Fault> {
    let steps = plan.rectification.iter();
    let unknown = steps
        .flat_map(|step| unknown_identities(plan, step, other).into_iter().map(move |column| (step, column)));
    unknown
        .map(|(step, column)| {
            let place = format!("`{}.{column}`", step.name);
            let entries = file.entries.iter().filter(|entry| {
                entry.connection == step.connection
                    && entry.table.parts.last() == Some(&step.rows.table.name)
            });
            let mut listed = entries.flat_map(|entry| &entry.rectify).filter(|name| name.value == column);
            let problem = format!(
                "{place} may be corrected here, and plan `{}` knows persons by it: its requests and legal holds would not \
                 follow",
                other.name
            );
            let remedy = match step.is_root {
                true => "make it an identity of this plan too, or leave it out of `rectify`",
                false => "leave it out of `rectify`, or correct it with that plan",
            };
            fault(file, listed.next().map_or(file.name.line, |name| name.line), problem, remedy)
        })
        .collect()
}

/// Columns which a step corrects and by which another plan knows persons, while this plan does not follow them: they are
/// neither identities here nor copies of the person's row, which change with it alone.
#[must_use]
pub fn unknown_identities<'s>(plan: &CompiledPlan, step: &'s Step, other: &CompiledPlan) -> Vec<&'s str> {
    let Action::Rectify(rectification) = &step.action else { return Vec::new() };
    let theirs = &other.root;
    if other.name == plan.name || step.connection != theirs.connection || step.rows.table != theirs.table {
        return Vec::new();
    }
    let is_followed = |column: &str| match step.is_root {
        true => plan.root.has_identity(column) && scope(&plan.root) == scope(theirs),
        // The pseudonym of a copy is made without a scope.
        false => theirs.scope.is_empty() && is_copy(step, column),
    };
    let is_known = |column: &str| theirs.has_identity(column) || scope(theirs).contains(&column);
    rectification.names().into_iter().filter(|column| is_known(column) && !is_followed(column)).collect()
}

/// True where rows are matched to the person's row by that column.
fn is_copy(step: &Step, column: &str) -> bool {
    let links = step.rows.any_of.iter().flat_map(|alternative| alternative.links());
    links
        .filter(|link| matches!(link.source, Source::Root(_)))
        .flat_map(|link| &link.columns)
        .any(|own| own.name == column)
}

fn scope(root: &Root) -> Vec<&str> {
    root.scope.iter().map(|part| root.name_of(part)).collect()
}

impl Root {
    fn name_of(&self, identity: &Identity) -> &str {
        self.columns.get(identity.column).map_or("", |column| &column.name)
    }

    fn has_identity(&self, column: &str) -> bool {
        self.identities.iter().any(|identity| self.name_of(identity) == column)
    }
}

fn fault(file: &PlanFile, line: usize, problem: String, remedy: &str) -> Fault {
    let file = file.file.clone();
    Fault { file, line: Some(line), problem, remedy: remedy.to_owned(), severity: Severity::Error }
}
