//! Trusted SQL of a plan. What it says is the author's affair; that it stays inside the parentheses which are put
//! around it is ours: `1=1) or (1=1` would be a condition of the whole statement.

use super::{At, Node, Reader};

/// A condition or expression of its own; empty text would mean every row.
pub fn read_sql(reader: &mut Reader, node: &Node, what: &str) -> Option<At<String>> {
    let value = reader.text(node, what)?;
    if value.trim().is_empty() {
        reader.error(node.line, format!("{what} is empty"), "write the SQL or leave it out");
        return None;
    }
    if let Err(fault) = stands_alone(&value) {
        reader.error(node.line, format!("{what} {fault}"), "write an expression that is complete by itself");
        return None;
    }
    Some(At { line: node.line, value })
}

/// Every parenthesis, quote and comment that begins in the text ends in it, and nothing closes before it opened.
fn stands_alone(text: &str) -> Result<(), &'static str> {
    let mut open = 0_usize;
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skipped = match c {
            '\'' | '"' | '`' => quoted(rest, c).ok_or("has a quote that does not end")?,
            '$' => dollar_quoted(rest)?,
            '-' if rest.starts_with("--") => return Err("holds a comment, which would hide what follows it"),
            '/' if rest.starts_with("/*") => return Err("holds a comment"),
            ';' => return Err("holds a semicolon"),
            '(' => {
                open += 1;
                1
            }
            ')' => {
                open = open.checked_sub(1).ok_or("closes a parenthesis that it did not open")?;
                1
            }
            other => other.len_utf8(),
        };
        rest = rest.get(skipped..).unwrap_or_default();
    }
    if open > 0 { Err("does not close every parenthesis that it opens") } else { Ok(()) }
}

/// The length of a quoted text; a doubled quote reads as two texts. With a backslash before the quote the databases
/// do not agree on where it ends: it ends nowhere here.
fn quoted(text: &str, quote: char) -> Option<usize> {
    let end = text.get(1..)?.find(quote)? + 1;
    if text.get(..end)?.ends_with('\\') { None } else { Some(end + 1) }
}

/// `$$…$$` and `$tag$…$tag$` of PostgreSQL; a dollar alone is a character like any other.
fn dollar_quoted(text: &str) -> Result<usize, &'static str> {
    let tag = text.get(1..).and_then(|after| after.find('$')).and_then(|end| text.get(..end + 2));
    let is_tag = |tag: &str| tag.chars().all(|c| c == '$' || c == '_' || c.is_alphanumeric());
    match tag.filter(|tag| is_tag(tag)) {
        None => Ok(1),
        Some(tag) => {
            let inner = text.get(tag.len()..).unwrap_or_default();
            let end = inner.find(tag).ok_or("has a quote that does not end")?;
            Ok(end + 2 * tag.len())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::stands_alone;

    #[test]
    fn an_expression_is_complete_by_itself() {
        for text in [
            "kind <> 'system'",
            "payload - 'email'",
            "note = ')' or (a = 'it''s (' and b = \")\")",
            "payload #>> '{a,b}' = $$it's ($$",
            "price > 1 - -1",
        ] {
            assert_eq!(stands_alone(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn what_would_reach_beyond_its_parentheses_is_refused() {
        for text in
            ["1=1) or (1=1", "(a = 1", "a = 'x", "1=1 -- ", "a /* b */", "1=1; DROP TABLE t", "a = '\\')'"]
        {
            assert!(stands_alone(text).is_err(), "{text}");
        }
    }
}
