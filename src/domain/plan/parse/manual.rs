//! `manual` and `code`: steps beside those of the tables.

use super::super::{At, CodeStep, ManualStep};
use crate::domain::{
    document::{Fields, Node, Reader, suggest},
    request::Kind,
};

/// Both lists of a plan; empty where it has none.
pub(super) fn read_beside(
    reader: &mut Reader,
    plan: &Fields<'_>,
) -> (Vec<At<ManualStep>>, Vec<At<CodeStep>>) {
    let mut manual: Vec<At<ManualStep>> = Vec::new();
    let mut code: Vec<At<CodeStep>> = Vec::new();
    let mut seen: Vec<String> = Vec::new();
    let mut is_new = |reader: &mut Reader, line: usize, name: &str| {
        let known = seen.iter().any(|earlier| earlier == name);
        if known {
            let problem = format!("two steps of the plan are named `{name}`");
            reader.error(line, problem, "give one of them another name");
        }
        seen.push(name.to_owned());
        !known
    };
    for item in items(reader, plan, "code") {
        let step = read_code(reader, item).filter(|step| is_new(reader, item.line, &step.name));
        code.extend(step.map(|value| At { line: item.line, value }));
    }
    for item in items(reader, plan, "manual") {
        let step = read_manual(reader, item).filter(|step| is_new(reader, item.line, &step.name));
        manual.extend(step.map(|value| At { line: item.line, value }));
    }
    (manual, code)
}

fn items<'n>(reader: &mut Reader, plan: &Fields<'n>, key: &str) -> &'n [Node] {
    let list = plan.get(key).and_then(|node| reader.list(node, &format!("`{key}`")));
    list.unwrap_or_default()
}

fn read_code(reader: &mut Reader, node: &Node) -> Option<CodeStep> {
    let fields = reader.fields(node, "a step in code", &["name"])?;
    Some(CodeStep { name: read_name(reader, &fields, "a step in code", "name: uploads")? })
}

fn read_manual(reader: &mut Reader, node: &Node) -> Option<ManualStep> {
    const KEYS: [&str; 5] = ["name", "kinds", "do", "recipient", "basis"];
    let fields = reader.fields(node, "a manual step", &KEYS)?;
    let name = read_name(reader, &fields, "a manual step", "name: paper_file");
    let shown = name.as_ref().map_or_else(|| "a manual step".to_owned(), |name| format!("step `{name}`"));
    let kinds = match fields.get("kinds") {
        Some(node) => read_kinds(reader, node, &shown),
        None => Some(vec![Kind::Erasure]),
    };
    if fields.get("do").is_none() {
        let problem = format!("{shown} does not say what is to be done");
        reader.error(fields.line_of("do"), problem, "such as: do: \"Shred the paper file in room 12\"");
    }
    let mut text = |key: &str| {
        let node = fields.get(key)?;
        let what = format!("`{key}` of {shown}");
        let text = reader.text(node, &what)?;
        if text.trim().is_empty() {
            reader.error(node.line, format!("{what} is empty"), "give it a text, or leave it out");
            return None;
        }
        Some(text)
    };
    let (to_do, recipient, basis) = (text("do"), text("recipient"), text("basis"));
    Some(ManualStep { name: name?, kinds: kinds?, r#do: to_do?, recipient, basis })
}

/// A name that stands in a URL and, without a dot, among the names of the tables' steps.
fn read_name(reader: &mut Reader, fields: &Fields<'_>, what: &str, example: &str) -> Option<String> {
    let Some(node) = fields.get("name") else {
        reader.error(fields.line, format!("{what} has no `name`"), format!("such as: {example}"));
        return None;
    };
    let shown = format!("the name of {what}");
    if let Some(name) = node.as_str().filter(|name| name.contains('.')) {
        let problem = format!("{shown} is `{name}`");
        let remedy = "use letters, digits, `_` and `-`: names with a dot are those of tables";
        reader.error(node.line, problem, remedy);
        return None;
    }
    Some(super::read_name(reader, node, &shown)?.value)
}

fn read_kinds(reader: &mut Reader, node: &Node, shown: &str) -> Option<Vec<Kind>> {
    let what = format!("`kinds` of {shown}");
    let mut kinds = Vec::new();
    for item in reader.list(node, &what)? {
        let word = reader.text(item, &what)?;
        let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.as_str() == word) else {
            let problem = format!("{what}: there is no kind `{word}`");
            reader.error(item.line, problem, suggest(&word, Kind::ALL.map(Kind::as_str)));
            return None;
        };
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    if kinds.is_empty() {
        reader.error(node.line, format!("{what} names none"), "such as: kinds: [erasure]");
        return None;
    }
    Some(kinds)
}

#[cfg(test)]
mod tests {
    use super::{super::parse, *};

    fn plan(beside: &str) -> String {
        format!(
            "plan: p\nsubject: {{ id: shop.users.id }}\nconnections: {{ shop: {{ users: {{ erase: delete }} }} }}\n\
             {beside}\n"
        )
    }

    #[test]
    fn every_form() {
        let text = plan(
            "manual:\n  - { name: paper_file, do: Shred it }\n  - name: mailer\n    kinds: [erasure, export]\n    \
             do: Write to them\n    recipient: Mailer Inc.\n    basis: Art. 19\ncode:\n  - { name: uploads }",
        );
        let plan = parse("p.yaml", &text).unwrap_or_else(|faults| panic!("{faults:?}"));
        let [paper, mailer] = plan.manual.as_slice() else { panic!("{:?}", plan.manual) };
        assert_eq!(
            (paper.line, paper.value.name.as_str(), &*paper.value.kinds),
            (5, "paper_file", &[Kind::Erasure][..])
        );
        assert_eq!((paper.value.r#do.as_str(), &paper.value.recipient), ("Shred it", &None));
        assert_eq!(mailer.value.kinds, [Kind::Erasure, Kind::Export]);
        assert_eq!(mailer.value.recipient.as_deref(), Some("Mailer Inc."));
        assert_eq!(mailer.value.basis.as_deref(), Some("Art. 19"));
        assert_eq!(plan.code, [At { line: 12, value: CodeStep { name: "uploads".to_owned() } }]);
    }

    /// What stands beside the connections, and what the fault must say.
    const REFUSED: &[(&str, &str)] = &[
        ("manual: paper", "`manual` must be a list"),
        ("manual: [ { do: x } ]", "has no `name`"),
        ("manual: [ { name: a } ]", "step `a` does not say what is to be done"),
        ("manual: [ { name: a, do: \" \" } ]", "`do` of step `a` is empty"),
        ("manual: [ { name: shop.users, do: x } ]", "names with a dot are those of tables"),
        ("manual: [ { name: a, do: x, kind: erasure } ]", "did you mean `kinds`"),
        ("manual: [ { name: a, do: x, kinds: [] } ]", "names none"),
        ("manual: [ { name: a, do: x, kinds: [erasur] } ]", "did you mean `erasure`"),
        ("manual: [ { name: a, do: x }, { name: a, do: y } ]", "two steps of the plan are named `a`"),
        ("code: [ { name: a } ]\nmanual: [ { name: a, do: y } ]", "two steps of the plan are named `a`"),
        ("code: [ { run: a } ]", "has no key `run`"),
        ("manul: []", "did you mean `manual`"),
    ];

    #[test]
    fn what_is_refused_and_how() {
        for (beside, words) in REFUSED {
            let faults = parse("p.yaml", &plan(beside)).expect_err("is refused");
            let found = faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
            assert!(found.contains(words), "{beside}: {words}\n{found}");
        }
    }
}
