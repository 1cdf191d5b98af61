//! What must stay, why, and until when: `keep`.

use super::{
    super::{At, Keep, Reference, Until},
    erase::read_reason,
};
use crate::domain::{
    document::{Node, Reader},
    period::{FORM, Period},
};

const REMEDY: &str = "write { ground: \"17(3)(b)\", law: \"§ 147 AO\", until: \"placed_at + 10y\" }, or the reason as one text";

/// A reason, or its parts: the ground in the GDPR, the law behind it, and when it is over.
pub(super) fn read_keep(reader: &mut Reader, node: &Node, what: &str) -> Option<Keep> {
    if node.as_map().is_none() {
        return read_reason(reader, node, what).map(|reason| Keep { reason, until: None });
    }
    let fields = reader.fields(node, what, &["ground", "law", "until", "nulls"])?;
    let Some(ground) = fields.get("ground") else {
        reader.error(node.line, format!("{what} has no `ground`"), REMEDY);
        return None;
    };
    let ground = read_reason(reader, ground, &format!("`ground`, {what},"))?;
    let ground = match ground.starts_with(|c: char| c.is_ascii_digit()) {
        true => format!("Art. {ground} GDPR"),
        false => ground,
    };
    let law = match fields.get("law") {
        None => None,
        Some(law) => Some(read_reason(reader, law, &format!("`law`, {what},"))?),
    };
    let nulls_stay = match fields.get("nulls") {
        None => false,
        Some(node) => reader.text(node, "`nulls`").is_some_and(|word| {
            if word != "keep" {
                reader.error(node.line, format!("{what}: `nulls` is `{word}`"), "write nulls: keep");
            }
            true
        }),
    };
    let until = match fields.get("until") {
        None if nulls_stay => {
            let problem = format!("{what}: `nulls` says what a row is that has no time");
            reader.error(fields.line_of("nulls"), problem, "write `until` beside it, or leave it out");
            return None;
        }
        None => None,
        Some(node) => Some(read_until(reader, node, what, nulls_stay)?),
    };
    Some(Keep { reason: std::iter::once(ground).chain(law).collect::<Vec<_>>().join(", "), until })
}

/// `placed_at + 10y`, or `orders.placed_at + 10y`.
fn read_until(reader: &mut Reader, node: &Node, what: &str, nulls_stay: bool) -> Option<At<Until>> {
    let text = reader.text(node, &format!("`until`, {what},"))?;
    let parts = text.rsplit_once('+').and_then(|(column, period)| {
        let column = Reference::split(column.trim()).filter(|column| column.parts.len() <= 3)?;
        Some((column, period.trim().parse::<Period>().ok()?))
    });
    let Some((column, period)) = parts else {
        let problem = format!("{what}: `{text}` says no time");
        let remedy = format!("write until: \"placed_at + 10y\"; {FORM}");
        reader.error(node.line, problem, remedy);
        return None;
    };
    Some(At { line: node.line, value: Until { column, period, nulls_stay } })
}
