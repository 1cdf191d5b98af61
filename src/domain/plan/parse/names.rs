//! Dotted names with SQL quoting.

use super::super::Reference;
use crate::domain::document::{At, Node, Reader};

/// Two to four parts: `table.column` up to `connection.schema.table.column`.
pub(super) fn read_reference(reader: &mut Reader, node: &Node, what: &str) -> Option<At<Reference>> {
    let text = reader.text(node, what)?;
    match Reference::split(&text) {
        Some(reference) if (2..=4).contains(&reference.parts.len()) => {
            Some(At { line: node.line, value: reference })
        }
        _ => {
            let problem = format!("{what}: `{text}` is no reference to a column");
            reader.error(
                node.line,
                problem,
                "write table.column or connection.table.column; quote a name with a dot: \"a.b\"",
            );
            None
        }
    }
}

/// One column's name of the entry's own table.
pub(super) fn read_column(reader: &mut Reader, line: usize, text: &str, what: &str) -> Option<At<String>> {
    match Reference::split(text).as_ref().map(|reference| reference.parts.as_slice()) {
        Some([name]) => Some(At { line, value: name.clone() }),
        _ => {
            let problem = format!("{what}: `{text}` is no name of a column of this table");
            reader.error(line, problem, "write the bare column; a name with a dot is quoted: '\"a.b\"'");
            None
        }
    }
}

/// A list of columns, each once.
pub(super) fn read_columns(reader: &mut Reader, node: &Node, what: &str) -> Option<Vec<At<String>>> {
    let mut columns: Vec<At<String>> = Vec::new();
    for item in reader.list(node, what)? {
        let Some(text) = reader.text(item, what) else { continue };
        let Some(column) = read_column(reader, item.line, &text, what) else { continue };
        if columns.iter().any(|earlier| earlier.value == column.value) {
            reader.error(item.line, format!("{what} names `{text}` twice"), "keep one of the two");
        } else {
            columns.push(column);
        }
    }
    Some(columns)
}
