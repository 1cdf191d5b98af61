//! `index.html`: the package for a person who opens it in a browser, offline and without scripts.

use std::fmt::Write;

use super::{FilePart, Heading, Value};
use crate::domain::plan::About;

/// Rows of each table that the page shows; the file beside it has all of them.
const SHOWN_ROWS: usize = 50;
/// Characters of a value that the page shows.
const SHOWN_CHARS: usize = 200;

const HEAD: &str = "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
    <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
    <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
    <title>Your personal data</title>\n<style>\n\
    body { font: 1rem/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; color: #1b1b1b }\n\
    h2 { margin-top: 2.5rem; border-bottom: 1px solid #ccc; overflow-wrap: anywhere }\n\
    dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1.5rem }\n\
    dt { color: #555 } dd { margin: 0; overflow-wrap: anywhere }\n\
    .scroll { overflow-x: auto } table { border-collapse: collapse; font-size: .9rem }\n\
    th, td { border: 1px solid #ddd; padding: .25rem .5rem; text-align: left; vertical-align: top }\n\
    th { background: #f4f4f4 } td.null { background: #fafafa }\n\
    footer { margin-top: 3rem; color: #555; font-size: .9rem }\n</style>\n</head>\n<body>\n";

/// The first rows of a table.
#[derive(Default)]
pub(super) struct Sample(Vec<Vec<Option<String>>>);

impl Sample {
    pub(super) fn take(&mut self, row: &[Value]) {
        if self.0.len() < SHOWN_ROWS {
            self.0.push(row.iter().map(shown).collect());
        }
    }
}

fn shown(value: &Value) -> Option<String> {
    if *value == Value::Null {
        return None;
    }
    let text = value.shown();
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => Some(format!("{}…", &text[..end])),
        None => Some(text),
    }
}

/// The page's sections as they come.
#[derive(Default)]
pub(super) struct Page {
    contents: String,
    sections: String,
    tables: usize,
}

// Writing to a String cannot fail.
impl Page {
    pub(super) fn table(&mut self, part: &FilePart, sample: &Sample) {
        self.tables += 1;
        let (number, name, rows) = (self.tables, escaped(&part.step), part.rows.unwrap_or_default());
        let _ = writeln!(
            self.contents,
            "<li><a href=\"#t{number}\">{name}</a>: {rows} {}</li>",
            if rows == 1 { "record" } else { "records" }
        );
        let out = &mut self.sections;
        let _ = writeln!(out, "<h2 id=\"t{number}\">{name}</h2>");
        about(out, &part.about);
        let _ = writeln!(
            out,
            "<p>{rows} {} in <a href=\"{}\">{}</a>{}</p>",
            if rows == 1 { "record" } else { "records" },
            escaped(&part.file.replace('%', "%25")),
            escaped(&part.file),
            if rows > SHOWN_ROWS as u64 {
                format!("; the first {SHOWN_ROWS} of them:")
            } else {
                String::new()
            },
        );
        if rows == 0 {
            return;
        }
        out.push_str("<div class=\"scroll\"><table>\n<tr>");
        for column in &part.columns {
            let _ = write!(out, "<th>{}</th>", escaped(&column.name));
        }
        out.push_str("</tr>\n");
        for row in &sample.0 {
            out.push_str("<tr>");
            for cell in row {
                match cell {
                    Some(text) => drop(write!(out, "<td>{}</td>", escaped(text))),
                    None => out.push_str("<td class=\"null\"></td>"),
                }
            }
            out.push_str("</tr>\n");
        }
        out.push_str("</table></div>\n");
    }

    pub(super) fn render(self, heading: &Heading, created_at: &str) -> String {
        let mut out = HEAD.to_owned();
        let (title, law) = match heading.request.right {
            "portability" => ("The personal data that you gave us", "Article 20 GDPR"),
            _ => ("Your personal data", "Article 15 GDPR"),
        };
        let _ =
            writeln!(out, "<h1>{title}</h1>\n<p>Compiled on {} under {law}.</p>\n<dl>", escaped(created_at));
        for (name, value) in &heading.subject.0 {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            entry(&mut out, name, &text);
        }
        entry(&mut out, "request", &heading.request.id.to_string());
        if let Some(theirs) = &heading.request.external_id {
            entry(&mut out, "reference", theirs);
        }
        entry(&mut out, "received", &heading.request.submitted_at);
        out.push_str("</dl>\n");
        about(&mut out, &heading.plan.about);
        let _ = write!(out, "<h2>Contents</h2>\n<ul>\n{}</ul>\n{}", self.contents, self.sections);
        let _ = write!(
            out,
            "<footer><p>You may ask for these data to be corrected or erased or their processing to be restricted, \
             and object to it (Articles 16 to 21 GDPR); you may lodge a complaint with a supervisory authority \
             (Article 77 GDPR).</p>\n<p>Plan {} {}. manifest.json names every file with its rows and SHA-256.</p>\
             </footer>\n</body>\n</html>\n",
            escaped(&heading.plan.name),
            escaped(&heading.plan.version)
        );
        out
    }
}

fn about(out: &mut String, about: &About) {
    if *about == About::default() {
        return;
    }
    out.push_str("<dl>\n");
    for (name, texts) in about.parts() {
        if !texts.is_empty() {
            entry(out, label(name), &texts.join("; "));
        }
    }
    out.push_str("</dl>\n");
}

fn label(part: &str) -> &str {
    match part {
        "purpose" => "why we process it",
        "legal_basis" => "legal basis",
        "categories" => "categories of data",
        "recipients" => "who receives it",
        "retention" => "how long we keep it",
        "source" => "where we have it from",
        "transfers" => "transfers to third countries",
        other => other,
    }
}

fn entry(out: &mut String, name: &str, text: &str) {
    let _ = writeln!(out, "<dt>{}</dt><dd>{}</dd>", escaped(name), escaped(text));
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // HTML has no way to write it.
            '\0' => out.push('\u{fffd}'),
            other => out.push(other),
        }
    }
    out
}
