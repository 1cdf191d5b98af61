//! YAML with the line of every node, and faults that say file, line, what is wrong and what to do. Used for
//! plan files and for the configuration.
//!
//! [`Document::parse`] turns text into [`Node`]s; a [`Reader`] takes them apart and collects every fault, so that
//! a person sees all of them at once. Faults of this module never quote a value: the configuration holds secrets.

use std::{collections::BTreeMap, fmt};

mod json;
mod load;
#[cfg(test)]
mod tests;

/// A value and the line (from 1) of the file it stands on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At<T> {
    pub line: usize,
    pub value: T,
}

/// One fault in a file that a person wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub file: String,
    /// From 1; `None` where no line is to blame.
    pub line: Option<usize>,
    /// What is wrong.
    pub problem: String,
    /// What to do.
    pub remedy: String,
    pub severity: Severity,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Refused: `check` exits 1, `serve` does not start.
    Error,
    /// Worth a look: printed, nothing more.
    Warning,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        match self.line {
            Some(line) => write!(f, "{}:{line}: {severity}: {}", self.file, self.problem)?,
            None => write!(f, "{}: {severity}: {}", self.file, self.problem)?,
        }
        if !self.remedy.is_empty() {
            write!(f, "\n    {}", self.remedy)?;
        }
        Ok(())
    }
}

/// One YAML document.
#[derive(Debug)]
pub struct Document;

impl Document {
    /// Parses a text with one document; an empty text is a null node. Duplicate keys are kept, so that they are
    /// reported together with all other faults: by [`Reader::map`] and [`Reader::fields`].
    ///
    /// # Errors
    /// When the text is no YAML; `file` is for the fault only.
    pub fn parse(file: &str, text: &str) -> Result<Node, Vec<Fault>> {
        load::load(text).map_err(|(line, problem)| {
            vec![Fault {
                file: file.to_owned(),
                line: Some(line),
                problem,
                remedy: "mend the YAML; nothing after this line was read".to_owned(),
                severity: Severity::Error,
            }]
        })
    }
}

impl Document {
    /// Parses a JSON text (RFC 8259) into the same nodes; a key has the line of its value.
    ///
    /// # Errors
    /// When the text is no JSON; `file` is for the fault only.
    pub fn parse_json(file: &str, text: &str) -> Result<Node, Vec<Fault>> {
        json::load(text).map_err(|(line, problem)| {
            vec![Fault {
                file: file.to_owned(),
                line: Some(line),
                problem,
                remedy: "mend the JSON; nothing of it was read".to_owned(),
                severity: Severity::Error,
            }]
        })
    }
}

/// One YAML node. `Debug` shows its kind only: it may hold a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Node {
    /// From 1. Of a map, the line of its first key.
    pub line: usize,
    pub(super) value: Value,
}

/// Scalars keep the text they were written with; what it means is up to the reader of the field.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Value {
    Null,
    Scalar { text: String, quoted: bool },
    List(Vec<Node>),
    Map(Vec<(At<String>, Node)>),
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Node({}, line {})", self.kind_name(), self.line)
    }
}

impl Node {
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    /// The text of any scalar but null: where text is expected, `0` and `true` are taken as they are written.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// True for a scalar in quotes or a block scalar.
    #[must_use]
    pub fn is_quoted(&self) -> bool {
        matches!(self.value, Value::Scalar { quoted: true, .. })
    }

    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        match self.as_str()? {
            "true" | "True" | "TRUE" => Some(true),
            "false" | "False" | "FALSE" => Some(false),
            _ => None,
        }
    }

    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        self.as_str()?.parse().ok()
    }

    #[must_use]
    pub fn as_f64(&self) -> Option<f64> {
        self.as_str()?.parse().ok().filter(|number: &f64| number.is_finite())
    }

    #[must_use]
    pub fn as_list(&self) -> Option<&[Node]> {
        match &self.value {
            Value::List(items) => Some(items),
            _ => None,
        }
    }

    /// Keys and values in the order of the file, duplicates included.
    #[must_use]
    pub fn as_map(&self) -> Option<impl Iterator<Item = (&At<String>, &Node)>> {
        match &self.value {
            Value::Map(pairs) => Some(pairs.iter().map(|(key, value)| (key, value))),
            _ => None,
        }
    }

    /// For faults: "a list", "text".
    #[must_use]
    pub fn kind_name(&self) -> &'static str {
        match &self.value {
            Value::Null => "nothing",
            Value::Scalar { quoted: true, .. } => "text",
            Value::Scalar { .. } if self.as_bool().is_some() => "true or false",
            Value::Scalar { .. } if self.as_f64().is_some() => "a number",
            Value::Scalar { .. } => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }
}

/// Takes nodes apart and collects faults. Every method that returns `None` for a node of the wrong kind has
/// reported it.
#[derive(Debug)]
pub struct Reader {
    file: String,
    faults: Vec<Fault>,
}

impl Reader {
    #[must_use]
    pub fn new(file: &str) -> Self {
        Self { file: file.to_owned(), faults: Vec::new() }
    }

    /// The file whose faults are collected.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    pub fn error(&mut self, line: usize, problem: impl Into<String>, remedy: impl Into<String>) {
        self.push(Some(line), problem.into(), remedy.into(), Severity::Error);
    }

    pub fn warning(&mut self, line: usize, problem: impl Into<String>, remedy: impl Into<String>) {
        self.push(Some(line), problem.into(), remedy.into(), Severity::Warning);
    }

    /// A fault of which no line is to blame.
    pub fn error_nowhere(&mut self, problem: impl Into<String>, remedy: impl Into<String>) {
        self.push(None, problem.into(), remedy.into(), Severity::Error);
    }

    fn push(&mut self, line: Option<usize>, problem: String, remedy: String, severity: Severity) {
        let fault = Fault { file: self.file.clone(), line, problem, remedy, severity };
        if !self.faults.contains(&fault) {
            self.faults.push(fault);
        }
    }

    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.faults.iter().any(|fault| fault.severity == Severity::Error)
    }

    /// Everything that was collected, by line.
    #[must_use]
    pub fn into_faults(mut self) -> Vec<Fault> {
        self.faults.sort_by_key(|fault| fault.line);
        self.faults
    }

    /// The fields of a map of which exactly `known` may occur. Reports anything but a map, unknown keys with the
    /// nearest known one, and duplicate keys (the first counts). `what` is for faults: "connection `shop`".
    pub fn fields<'n>(&mut self, node: &'n Node, what: &str, known: &[&str]) -> Option<Fields<'n>> {
        let mut fields = Fields { line: node.line, map: BTreeMap::new() };
        for (key, value) in self.map(node, what)? {
            if known.contains(&key.value.as_str()) {
                fields.map.insert(&key.value, (key.line, value));
            } else {
                let problem = format!("{what} has no key `{}`", key.value);
                self.error(key.line, problem, suggest(&key.value, known.iter().copied()));
            }
        }
        Some(fields)
    }

    /// The pairs of a map with free keys, in the order of the file; duplicates are reported and left out.
    pub fn map<'n>(&mut self, node: &'n Node, what: &str) -> Option<Vec<(&'n At<String>, &'n Node)>> {
        let Some(pairs) = node.as_map() else {
            self.wrong_kind(node, what, "a map");
            return None;
        };
        let mut kept: Vec<(&At<String>, &Node)> = Vec::new();
        for (key, value) in pairs {
            match kept.iter().find(|(earlier, _)| earlier.value == key.value) {
                Some((earlier, _)) => {
                    let problem =
                        format!("`{}` stands twice in {what}, first on line {}", key.value, earlier.line);
                    self.error(key.line, problem, "keep one of the two");
                }
                None => kept.push((key, value)),
            }
        }
        Some(kept)
    }

    pub fn list<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n [Node]> {
        self.expect(node, node.as_list(), what, "a list")
    }

    pub fn text(&mut self, node: &Node, what: &str) -> Option<String> {
        self.expect(node, node.as_str().map(str::to_owned), what, "text")
    }

    pub fn boolean(&mut self, node: &Node, what: &str) -> Option<bool> {
        self.expect(node, node.as_bool(), what, "true or false")
    }

    pub fn integer(&mut self, node: &Node, what: &str) -> Option<i64> {
        self.expect(node, node.as_i64(), what, "a whole number")
    }

    pub fn number(&mut self, node: &Node, what: &str) -> Option<f64> {
        self.expect(node, node.as_f64(), what, "a number")
    }

    fn expect<T>(&mut self, node: &Node, value: Option<T>, what: &str, wanted: &str) -> Option<T> {
        if value.is_none() {
            self.wrong_kind(node, what, wanted);
        }
        value
    }

    /// Reports that `what` should have been `wanted`.
    pub fn wrong_kind(&mut self, node: &Node, what: &str, wanted: &str) {
        self.error(node.line, format!("{what} must be {wanted}, found {}", node.kind_name()), "");
    }
}

/// The fields of one map, by name.
#[derive(Debug)]
pub struct Fields<'n> {
    /// Of the map's first key.
    pub line: usize,
    map: BTreeMap<&'n str, (usize, &'n Node)>,
}

impl<'n> Fields<'n> {
    /// The value of that key; `None` where it is missing or null.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&'n Node> {
        self.map.get(key).map(|(_, node)| *node).filter(|node| !node.is_null())
    }

    /// The line of that key, or else of the map.
    #[must_use]
    pub fn line_of(&self, key: &str) -> usize {
        self.map.get(key).map_or(self.line, |(line, _)| *line)
    }

    /// True where the key stands there, null or not.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.map.contains_key(key)
    }
}

/// The known name that is nearest to a mistyped one, if any is near.
#[must_use]
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = name.to_lowercase();
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| {
            *distance <= 1 + candidate.chars().count().max(name.chars().count()) / 4
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// A remedy for a mistyped name: the nearest known one, or all of them where they are few.
#[must_use]
pub fn suggest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    match nearest(name, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => "there is none to choose from".to_owned(),
        None if known.len() <= 20 => format!("known are: {}", known.join(", ")),
        None => format!("known are: {} and {} more", known[..20].join(", "), known.len() - 20),
    }
}
