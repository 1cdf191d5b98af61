//! The steps of a policy, without what legal holds keep.

use super::{CompiledPolicy, Kept};
use crate::domain::compiled::{Age, Alternative, Link, Piece, Rows, Source, Step, TableName, Wanted};

impl CompiledPolicy {
    /// The tables of the policy.
    pub fn tables(&self) -> impl Iterator<Item = &TableName> {
        self.steps.iter().map(|step| &step.rows.table)
    }

    /// The steps in the order of execution, without the rows that are kept, and without those that kept rows point at.
    #[must_use]
    pub fn steps(&self, kept: &Kept) -> Vec<Step> {
        self.steps
            .iter()
            .map(|step| Step { rows: self.without(step.rows.clone(), kept), ..step.clone() })
            .collect()
    }

    fn without(&self, mut rows: Rows, kept: &Kept) -> Rows {
        let except = self.kept(&rows.table, kept);
        for alternative in &mut rows.any_of {
            let Alternative::Match { links, .. } = alternative else { continue };
            for link in links {
                if let Source::Live(live) = &mut link.source {
                    for parent in live {
                        *parent = self.without(parent.clone(), kept);
                    }
                }
            }
        }
        Rows { except, ..rows }
    }

    /// Of one table: what holds keep, and what must stay because something that is kept points at it.
    fn kept(&self, table: &TableName, kept: &Kept) -> Vec<Rows> {
        let mut all = kept.of(table).to_vec();
        for child in self.steps.iter().filter(|child| child.rows.table != *table) {
            let held = self.kept_below(child, table, kept);
            all.extend(held);
        }
        all
    }

    fn kept_below(&self, child: &Step, parent: &TableName, kept: &Kept) -> Vec<Rows> {
        let links = child.rows.any_of.iter().flat_map(Alternative::links);
        let to_parent: Vec<(&Link, &Rows)> = links
            .filter_map(|link| match &link.source {
                Source::Live(live) => Some((link, live.iter().find(|rows| rows.table == *parent)?)),
                _ => None,
            })
            .collect();
        if to_parent.is_empty() {
            return Vec::new();
        }
        let held = self.kept(&child.rows.table, kept);
        if held.is_empty() {
            return Vec::new();
        }
        let back = to_parent.into_iter().map(|(link, rows)| Rows {
            any_of: vec![Alternative::Match {
                links: vec![Link {
                    columns: link.source_columns.clone(),
                    source: Source::Live(held.clone()),
                    source_columns: link.columns.clone(),
                    ignore_case: vec![false; link.columns.len()],
                }],
                constants: Vec::new(),
            }],
            filter: None,
            except: Vec::new(),
            within: Vec::new(),
            ..rows.clone()
        });
        back.collect()
    }

    /// Every row of the policy's own table.
    #[must_use]
    pub fn whole_table(&self) -> Option<Rows> {
        let every = Alternative::Sql { pieces: vec![Piece::Text("1 = 1".to_owned())], links: Vec::new() };
        let own = self.steps.last()?;
        Some(Rows { any_of: vec![every], filter: None, ..own.rows.clone() })
    }

    /// Rows of the policy's own table that hold no time at all.
    #[must_use]
    pub fn unreadable(&self) -> Option<Rows> {
        let own = self.steps.last()?;
        let any_of = own.rows.any_of.iter().filter_map(|alternative| match alternative {
            Alternative::Age(age) => {
                Some(Alternative::Age(Age { wanted: Wanted::Unreadable, ..age.clone() }))
            }
            _ => None,
        });
        let any_of: Vec<Alternative> = any_of.collect();
        (!any_of.is_empty()).then(|| Rows { any_of, ..own.rows.clone() })
    }
}
