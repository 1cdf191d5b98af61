//! A plan file as it was read: names resolved by nobody yet, every part with the line it stands on.

mod parse;

pub use super::document::At;
pub use parse::parse;

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
    /// In the order of the file; one per entry of a table.
    pub entries: Vec<Entry>,
    /// The connections named, in the order of the file.
    pub connections: Vec<At<String>>,
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
    pub rectify: Vec<At<String>>,
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
    Mask { columns: Vec<(At<String>, At<MaskStrategy>)>, basis: Option<String> },
    Keep(String),
    None(String),
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
}
