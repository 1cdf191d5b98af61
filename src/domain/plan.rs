//! A plan file as it was read: names resolved by nobody yet, every part with the line it stands on.

use serde::{Deserialize, Serialize};

use super::{call::CallTemplate, period::Period};

mod gaps;
mod manual;
mod parse;

pub use super::document::At;
pub use gaps::gaps;
pub use manual::{CodeStep, ManualStep};
pub use parse::{parse, read_mask, read_sql};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanFile {
    /// For faults: the path as it was given.
    pub file: String,
    /// The text as it was read; kept with every version.
    pub source: String,
    pub name: At<String>,
    /// The first is the root identity.
    pub identities: Vec<IdentityDef>,
    pub scope: Vec<IdentityDef>,
    pub about: About,
    /// In the order of the file; one per entry of a table.
    pub entries: Vec<Entry>,
    /// The connections named, in the order of the file.
    pub connections: Vec<At<String>>,
    /// In the order of the file.
    pub manual: Vec<At<ManualStep>>,
    /// In the order of execution.
    pub code: Vec<At<CodeStep>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityDef {
    pub name: String,
    pub column: At<Reference>,
    pub ignore_case: bool,
}

/// A dotted name, split; a part that was quoted keeps its dots: `users.id`, `shop.users.id`,
/// `shop.sales.orders.id`. What it means depends on the plan's connections and the catalog.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reference {
    pub parts: Vec<String>,
}

impl Reference {
    /// Splits `a."b.c"` into `a` and `b.c`; `None` for empty parts and open quotes.
    #[must_use]
    pub fn split(text: &str) -> Option<Self> {
        let mut parts = Vec::new();
        let mut chars = text.chars().peekable();
        loop {
            let mut part = String::new();
            if chars.next_if_eq(&'"').is_some() {
                loop {
                    match chars.next()? {
                        '"' if chars.next_if_eq(&'"').is_some() => part.push('"'),
                        '"' => break,
                        other => part.push(other),
                    }
                }
            } else {
                while let Some(c) = chars.next_if(|c| *c != '.') {
                    part.push(c);
                }
            }
            if part.is_empty() || part.contains('\0') {
                return None;
            }
            parts.push(part);
            match chars.next() {
                None => return Some(Self { parts }),
                Some('.') => {}
                Some(_) => return None,
            }
        }
    }
}

impl std::fmt::Display for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, part) in self.parts.iter().enumerate() {
            let dot = if index == 0 { "" } else { "." };
            if part.contains(['.', '"']) {
                write!(f, "{dot}\"{}\"", part.replace('"', "\"\""))?;
            } else {
                write!(f, "{dot}{part}")?;
            }
        }
        Ok(())
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub line: usize,
    pub connection: String,
    /// `table` or `schema.table`, split as in [`Reference`].
    pub table: Reference,
    /// From a table's second entry on.
    pub name: Option<At<String>>,
    /// Any of them; empty for the root.
    pub matches: Vec<At<Match>>,
    /// `shared: true` beside the `match`.
    pub shared: bool,
    /// The plan's `where`: trusted SQL.
    pub filter: Option<At<String>>,
    pub erase: At<Erase>,
    pub export: At<Export>,
    /// What a portability request hands out; `None`: nothing.
    pub portable: Option<At<Export>>,
    pub about: About,
    pub rectify: Vec<At<String>>,
    /// Of a resource of an HTTP service, where `rectify` lists columns of a table.
    pub rectify_call: Option<At<RectifyCall>>,
    /// `cascade: true` beside `rectify`: copies of a corrected value are corrected along.
    pub cascade: bool,
}

/// What the controller tells about a processing (GDPR Art. 15(1), Art. 30(1)), each as one text or several.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// Art. 15(1)(a).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub purpose: Vec<String>,
    /// Art. 6, 9.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub legal_basis: Vec<String>,
    /// Of personal data, Art. 15(1)(b).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<String>,
    /// Art. 15(1)(c).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recipients: Vec<String>,
    /// How long it is kept, Art. 15(1)(d).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retention: Vec<String>,
    /// Where it comes from, Art. 15(1)(g).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub source: Vec<String>,
    /// To third countries and the safeguards, Art. 15(2).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub transfers: Vec<String>,
}

impl About {
    /// The parts in the order in which a person reads them: their names in a plan and their texts.
    #[must_use]
    pub fn parts(&self) -> [(&'static str, &[String]); 7] {
        [
            ("purpose", &self.purpose),
            ("legal_basis", &self.legal_basis),
            ("categories", &self.categories),
            ("recipients", &self.recipients),
            ("retention", &self.retention),
            ("source", &self.source),
            ("transfers", &self.transfers),
        ]
    }

    /// The part of that name, for reading one in.
    pub(super) fn part_mut(&mut self, name: &str) -> Option<&mut Vec<String>> {
        Some(match name {
            "purpose" => &mut self.purpose,
            "legal_basis" => &mut self.legal_basis,
            "categories" => &mut self.categories,
            "recipients" => &mut self.recipients,
            "retention" => &mut self.retention,
            "source" => &mut self.source,
            "transfers" => &mut self.transfers,
            _ => return None,
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Match {
    /// Column of this table → where its value comes from; all of them and-ed.
    Columns(Vec<(At<String>, At<MatchValue>)>),
    /// `{ sql: "…" }`, trusted, with `{users.id}` placeholders still in it.
    Sql(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MatchValue {
    Column(Reference),
    Constant(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Erase {
    Delete,
    DeleteIfUnreferenced,
    Unlink,
    Mask {
        columns: Vec<(At<String>, At<MaskStrategy>)>,
        basis: Option<String>,
    },
    Keep(Keep),
    None(String),
    /// At an HTTP service; `verify` tells whether it is gone.
    Call {
        call: CallTemplate,
        verify: CallTemplate,
    },
}

/// Rows that must stay (GDPR Art. 17(3)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keep {
    /// What an auditor reads.
    pub reason: String,
    /// `None`: for ever.
    pub until: Option<At<Until>>,
}

/// When the duty to keep a row is over: so long after a time in it, or in a row that it hangs on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Until {
    /// `column`, `table.column` or `schema.table.column`.
    pub column: Reference,
    pub period: Period,
    /// The column may be NULL; such a row is kept for ever.
    pub nulls_stay: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MaskStrategy {
    NullRewrite,
    StringRewrite(String),
    RandomStringRewrite { length: u32 },
    Hash,
    Hmac,
    Preserve,
    Sql { value: String, done: String },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Export {
    All,
    None,
    Columns(Vec<At<String>>),
    /// At an HTTP service.
    Call(CallTemplate),
}

/// `rectify` of a resource of an HTTP service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RectifyCall {
    pub call: CallTemplate,
    /// What a request may change; never empty.
    pub fields: Vec<String>,
}
