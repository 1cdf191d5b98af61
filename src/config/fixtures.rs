//! The section `fixtures`: the folder that is loaded at start, and for which environment.

use super::{
    Fixtures,
    read::{Sections, is_name},
};
use crate::domain::document::Fields;

/// Goes before what the file says.
const VARIABLE: &str = "RIGHTFUL_ENV";

impl Sections<'_> {
    /// `None` where something is wrong; the faults are reported.
    pub(super) fn fixtures(&mut self, root: &Fields<'_>) -> Option<Fixtures> {
        let of_process = (self.sources.variable)(VARIABLE).filter(|name| !name.is_empty());
        let line = root.line_of("fixtures");
        let of_process = match of_process {
            Some(name) => Some(self.checked(line, VARIABLE, environment(&name))?),
            None => None,
        };
        let Some(fields) = self.section(root, "fixtures", &["folder", "environment"]) else {
            return Some(Fixtures { folder: None, environment: of_process });
        };
        let base = self.sources.folder.to_path_buf();
        let folder = self.value(&fields, "folder", "fixtures", |text| Ok(base.join(text)));
        let written = match self.text(&fields, "environment") {
            Some((_, text)) if text.is_empty() => None,
            Some((line, text)) => Some(self.checked(line, "environment", environment(&text))?),
            None => None,
        };
        Some(Fixtures { folder: Some(folder?), environment: of_process.or(written) })
    }
}

/// The name of an environment, which is part of a folder's name.
///
/// # Errors
/// What is wrong with it, and what to do.
pub fn environment(text: &str) -> Result<String, (String, String)> {
    match is_name(text) {
        true => Ok(text.to_owned()),
        false => Err((
            format!("`{text}` is no name of an environment"),
            "use letters, digits, `_` and `-`: development".to_owned(),
        )),
    }
}
