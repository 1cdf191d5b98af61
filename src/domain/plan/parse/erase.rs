//! What happens to the rows: `erase` and its masks.

use super::{
    super::{At, Erase, MaskStrategy},
    calls, keep, names,
    sql::read_sql,
};
use crate::domain::document::{Node, Reader, suggest};

pub(super) const REMEDY: &str =
    "say one: delete, delete_if_unreferenced, unlink, { mask: … }, { keep: reason } or { none: reason }";
const WORDS: [&str; 6] = ["delete", "delete_if_unreferenced", "unlink", "mask", "keep", "none"];
const STRATEGIES: [&str; 7] =
    ["null_rewrite", "string_rewrite", "random_string_rewrite", "hash", "hmac", "preserve", "sql"];
/// Longer random text would be a mistake, not a pseudonym.
const MAX_RANDOM: i64 = 1_000;

pub(super) fn read_erase(reader: &mut Reader, node: &Node, line: usize, shown: &str) -> Option<At<Erase>> {
    let value = match node.as_str() {
        Some("delete") => Erase::Delete,
        Some("delete_if_unreferenced") => Erase::DeleteIfUnreferenced,
        Some("unlink") => Erase::Unlink,
        Some(word @ ("keep" | "none")) => {
            let problem = format!("`erase: {word}` of {shown} gives no reason");
            reader.error(
                line,
                problem,
                format!("write {{ {word}: \"why\" }}: the reason is what an auditor reads"),
            );
            return None;
        }
        Some("mask") => {
            reader.error(
                line,
                format!("`erase: mask` of {shown} names no columns"),
                "write { mask: { column: strategy } }",
            );
            return None;
        }
        Some(word) => {
            let remedy = suggest(word, WORDS);
            reader.error(line, format!("`erase` of {shown} is `{word}`, which is none of its forms"), remedy);
            return None;
        }
        None => read_erase_map(reader, node, line, shown)?,
    };
    Some(At { line, value })
}

fn read_erase_map(reader: &mut Reader, node: &Node, line: usize, shown: &str) -> Option<Erase> {
    let what = format!("`erase` of {shown}");
    let fields = reader.fields(node, &what, &["mask", "basis", "keep", "none", "call", "verify"])?;
    let given: Vec<&str> =
        ["mask", "keep", "none", "call"].into_iter().filter(|key| fields.has(key)).collect();
    let [form] = given.as_slice() else {
        reader.error(line, format!("{what} must have exactly one of mask, keep, none and call"), REMEDY);
        return None;
    };
    if fields.has("basis") && *form != "mask" {
        reader.error(
            fields.line_of("basis"),
            format!("{what}: `basis` belongs to a mask"),
            "the reason stands in `keep` itself",
        );
    }
    if fields.has("verify") && *form != "call" {
        reader.error(
            fields.line_of("verify"),
            format!("{what}: `verify` belongs to a call"),
            "rows of a table are counted afresh by themselves",
        );
    }
    let Some(node) = fields.get(form) else {
        reader.error(fields.line_of(form), format!("{what}: `{form}` is empty"), REMEDY);
        return None;
    };
    match *form {
        "mask" => {
            let basis = fields
                .get("basis")
                .and_then(|node| read_reason(reader, node, &format!("`basis` of {shown}")));
            Some(Erase::Mask { columns: read_mask(reader, node, shown)?, basis })
        }
        "keep" => keep::read_keep(reader, node, &format!("`keep` of {shown}")).map(Erase::Keep),
        "call" => calls::read_erase(reader, &fields, node, shown),
        _ => read_reason(reader, node, &format!("`none` of {shown}")).map(Erase::None),
    }
}

pub(super) fn read_reason(reader: &mut Reader, node: &Node, what: &str) -> Option<String> {
    let text = reader.text(node, what)?;
    if text.trim().is_empty() {
        reader.error(
            node.line,
            format!("{what} gives no reason"),
            "write why the rows stay: an auditor reads it",
        );
        return None;
    }
    Some(text)
}

/// `mask`: column → strategy.
pub fn read_mask(
    reader: &mut Reader,
    node: &Node,
    shown: &str,
) -> Option<Vec<(At<String>, At<MaskStrategy>)>> {
    let what = format!("`mask` of {shown}");
    let mut columns: Vec<(At<String>, At<MaskStrategy>)> = Vec::new();
    let pairs = reader.map(node, &what)?;
    if pairs.is_empty() {
        reader.error(node.line, format!("{what} names no columns"), "write { mask: { column: strategy } }");
        return None;
    }
    for (key, value) in pairs {
        let column = names::read_column(reader, key.line, &key.value, &what);
        let strategy = read_strategy(reader, value, &format!("mask of `{}` in {shown}", key.value));
        let (Some(column), Some(strategy)) = (column, strategy) else { continue };
        if columns.iter().any(|(earlier, _)| earlier.value == column.value) {
            reader.error(key.line, format!("{what} names `{}` twice", column.value), "keep one of the two");
        }
        columns.push((column, At { line: key.line, value: strategy }));
    }
    Some(columns)
}

fn read_strategy(reader: &mut Reader, node: &Node, what: &str) -> Option<MaskStrategy> {
    if let Some(word) = node.as_str() {
        return bare_strategy(reader, node.line, word, what);
    }
    let pairs = reader.map(node, what)?;
    if pairs.iter().any(|(key, _)| matches!(key.value.as_str(), "sql" | "done")) {
        return sql_strategy(reader, node, what);
    }
    let [(key, value)] = pairs.as_slice() else {
        reader.error(node.line, format!("{what} must name exactly one strategy"), suggest("", STRATEGIES));
        return None;
    };
    match key.value.as_str() {
        "string_rewrite" => {
            reader.text(value, &format!("string_rewrite, {what},")).map(MaskStrategy::StringRewrite)
        }
        "random_string_rewrite" => {
            let fields = reader.fields(value, what, &["length"])?;
            let length = fields.get("length").and_then(|node| reader.integer(node, "`length`"));
            match length {
                Some(length @ 1..=MAX_RANDOM) => {
                    u32::try_from(length).ok().map(|length| MaskStrategy::RandomStringRewrite { length })
                }
                _ => {
                    let remedy = format!(
                        "give one from 1 to {MAX_RANDOM}: {{ random_string_rewrite: {{ length: 12 }} }}"
                    );
                    reader.error(
                        value.line,
                        format!("{what}: random_string_rewrite needs a `length`"),
                        remedy,
                    );
                    None
                }
            }
        }
        word => {
            if value.as_map().is_none_or(|mut pairs| pairs.next().is_some()) && !value.is_null() {
                reader.error(
                    value.line,
                    format!("{what}: `{word}` takes no options"),
                    format!("write {word}: {{}}"),
                );
                return None;
            }
            bare_strategy(reader, key.line, word, what)
        }
    }
}

fn bare_strategy(reader: &mut Reader, line: usize, word: &str, what: &str) -> Option<MaskStrategy> {
    let remedy = match word {
        "null_rewrite" => return Some(MaskStrategy::NullRewrite),
        "preserve" => return Some(MaskStrategy::Preserve),
        "hash" => return Some(MaskStrategy::Hash),
        "hmac" => return Some(MaskStrategy::Hmac),
        "string_rewrite" => "give it a text: { string_rewrite: \"[REDACTED]\" }".to_owned(),
        "random_string_rewrite" => "give it a length: { random_string_rewrite: { length: 12 } }".to_owned(),
        "sql" => "write { sql: \"…\", done: \"…\" }".to_owned(),
        _ => suggest(word, STRATEGIES),
    };
    reader.error(line, format!("{what}: `{word}` is not a complete masking strategy"), remedy);
    None
}

fn sql_strategy(reader: &mut Reader, node: &Node, what: &str) -> Option<MaskStrategy> {
    let fields = reader.fields(node, what, &["sql", "done"])?;
    let mut part = |key: &str, why: &str| {
        let Some(node) = fields.get(key) else {
            reader.error(node.line, format!("{what} has no `{key}`"), why);
            return None;
        };
        read_sql(reader, node, &format!("`{key}`, {what},")).map(|sql| sql.value)
    };
    let value = part("sql", "write the SQL of the new value");
    let done = part(
        "done",
        "write SQL that is true of a masked row: it makes the mask idempotent and is what is verified",
    );
    Some(MaskStrategy::Sql { value: value?, done: done? })
}
