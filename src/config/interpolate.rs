//! `${NAME}`, `${NAME:-default}` and `${file:path}` inside a value. It happens to the text of one scalar after the
//! YAML was parsed, in one pass: what a variable or a file holds is never read as YAML or expanded again.

use std::path::Path;

/// Where the values come from.
pub(super) struct Sources<'a> {
    /// Relative paths of `${file:…}` start here.
    pub folder: &'a Path,
    pub variable: &'a dyn Fn(&str) -> Option<String>,
}

/// Why a value could not be completed; neither text holds the value of anything.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Missing {
    pub problem: String,
    pub remedy: String,
}

impl Sources<'_> {
    /// Replaces every `${…}`; `$${` stands for a literal `${`.
    pub fn expand(&self, text: &str) -> Result<String, Missing> {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            if rest[..at].ends_with('$') {
                out.push_str(&rest[..at - 1]);
                out.push_str("${");
                rest = &rest[at + 2..];
                continue;
            }
            out.push_str(&rest[..at]);
            let inside = &rest[at + 2..];
            let end = inside.find('}').ok_or_else(|| Missing {
                problem: "`${` without its `}`".to_owned(),
                remedy: "close it, or write `$${` for the two characters themselves".to_owned(),
            })?;
            out.push_str(&self.value(&inside[..end])?);
            rest = &inside[end + 1..];
        }
        out.push_str(rest);
        Ok(out)
    }

    fn value(&self, expression: &str) -> Result<String, Missing> {
        if let Some(path) = expression.strip_prefix("file:") {
            return self.file(path);
        }
        let (name, default) = match expression.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (expression, None),
        };
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return Err(Missing {
                problem: format!("`${{{name}}}` names no environment variable"),
                remedy: "write ${NAME}, ${NAME:-default} or ${file:/path}".to_owned(),
            });
        }
        // As in a shell, `:-` also stands in for an empty variable.
        let value = (self.variable)(name).filter(|value| default.is_none() || !value.is_empty());
        value.or_else(|| default.map(str::to_owned)).ok_or_else(|| Missing {
            problem: format!("the environment variable {name} is not set"),
            remedy: format!("set it, or give a default: ${{{name}:-…}}"),
        })
    }

    /// The text of a file without its last line break: editors and `echo` add one.
    fn file(&self, path: &str) -> Result<String, Missing> {
        let full = self.folder.join(path);
        let text = std::fs::read_to_string(&full).map_err(|error| Missing {
            problem: format!("the file {} cannot be read: {}", full.display(), error.kind()),
            remedy: "paths are relative to the folder of this configuration".to_owned(),
        })?;
        let text = text.strip_suffix('\n').unwrap_or(&text);
        Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(text: &str) -> Result<String, String> {
        let variable = |name: &str| match name {
            "USER" => Some("jane".to_owned()),
            "EMPTY" => Some(String::new()),
            "TRICK" => Some("a\nb: ${USER}".to_owned()),
            _ => None,
        };
        let folder = std::env::temp_dir();
        Sources { folder: &folder, variable: &variable }.expand(text).map_err(|missing| missing.problem)
    }

    #[test]
    fn variables_and_defaults() {
        for (text, expected) in [
            ("plain", "plain"),
            ("a ${USER} b ${USER}", "a jane b jane"),
            ("${NONE:-7}", "7"),
            ("${NONE:-}", ""),
            ("${EMPTY:-x}", "x"),
            ("${EMPTY}", ""),
            ("$${USER}", "${USER}"),
            ("100$", "100$"),
            ("${TRICK}", "a\nb: ${USER}"),
        ] {
            assert_eq!(expand(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        for (text, expected) in [
            ("${NONE}", "the environment variable NONE is not set"),
            ("${USER", "`${` without its `}`"),
            ("${a b}", "`${a b}` names no environment variable"),
            ("${}", "`${}` names no environment variable"),
        ] {
            assert_eq!(expand(text), Err(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn files_lose_their_last_line_break_only() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("key.pem"), "one\ntwo\n").unwrap();
        let sources = Sources { folder: folder.path(), variable: &|_| None };
        assert_eq!(sources.expand("${file:key.pem}").unwrap(), "one\ntwo");
        assert!(sources.expand("${file:none}").unwrap_err().problem.contains("cannot be read"));
    }
}
