//! Selections that are led to other keys.

use super::{Alternative, Link, Rows, Source};

impl Rows {
    /// The same selection with other links, those of the selections inside of it first.
    #[must_use]
    pub fn relinked(mut self, relink: &mut dyn FnMut(Link) -> Link) -> Self {
        for alternative in &mut self.any_of {
            let links = match alternative {
                Alternative::Match { links, .. } | Alternative::Sql { links, .. } => std::mem::take(links),
                Alternative::Age(_) => continue,
            };
            let new = links
                .into_iter()
                .map(|mut link| {
                    if let Source::Live(live) = link.source {
                        link.source =
                            Source::Live(live.into_iter().map(|rows| rows.relinked(relink)).collect());
                    }
                    relink(link)
                })
                .collect();
            match alternative {
                Alternative::Match { links, .. } | Alternative::Sql { links, .. } => *links = new,
                Alternative::Age(_) => {}
            }
        }
        for inner in self.except.iter_mut().chain(&mut self.within) {
            *inner = inner.clone().relinked(relink);
        }
        self
    }
}
