//! `about`: what the controller tells about a processing (GDPR Art. 15(1), 30).

use super::super::About;
use crate::domain::document::{Fields, Reader};

/// The `about` of a plan or an entry; empty where it has none.
pub(super) fn read_about(reader: &mut Reader, parent: &Fields<'_>, shown: &str) -> About {
    let mut about = About::default();
    let Some(node) = parent.get("about") else { return about };
    let what = format!("`about` of {shown}");
    let known = about.parts().map(|(name, _)| name);
    let Some(fields) = reader.fields(node, &what, &known) else { return about };
    for name in known {
        let Some(node) = fields.get(name) else { continue };
        let what = format!("`{name}` in {what}");
        let texts: Vec<String> = match node.as_list() {
            Some(items) => items.iter().filter_map(|item| reader.text(item, &what)).collect(),
            None => reader.text(node, &what).into_iter().collect(),
        };
        if let Some(part) = about.part_mut(name) {
            part.extend(texts.into_iter().filter(|text| !text.trim().is_empty()));
        }
    }
    about
}
