//! A plan whose names are resolved: what every later stage of the compiler works on.

use std::collections::BTreeMap;

use crate::domain::{
    compiled::{KeyColumn, TableName},
    plan::{Entry, Erase, PlanFile},
    schema::{Catalog, Column, Table},
};

/// Index in [`Model::tables`].
pub(super) type TableId = usize;
/// Index in [`Model::entries`].
pub(super) type EntryId = usize;

pub(super) struct Model<'a> {
    pub plan: &'a PlanFile,
    pub catalogs: &'a BTreeMap<String, Catalog>,
    pub tables: Vec<PlanTable<'a>>,
    pub entries: Vec<Resolved<'a>>,
    pub root: RootTable<'a>,
    /// Every name was resolved: the stages that look at the plan as a whole may run.
    pub complete: bool,
}

/// A table that the plan names.
pub(super) struct PlanTable<'a> {
    pub connection: &'a str,
    pub table: &'a Table,
    /// `connection.table`, `connection.schema.table` outside the default schema: as steps are called.
    pub shown: String,
    /// In the order of the file.
    pub entries: Vec<EntryId>,
}

/// The table that holds the person.
pub(super) struct RootTable<'a> {
    pub table: TableId,
    pub identities: Vec<RootIdentity<'a>>,
    pub scope: Vec<RootIdentity<'a>>,
    /// The primary key, or the unique NOT NULL columns that stand in for it.
    pub key: Vec<&'a Column>,
}

pub(super) struct RootIdentity<'a> {
    pub name: &'a str,
    pub column: &'a Column,
    pub ignore_case: bool,
}

/// One entry of a table; an `unlink` with several alternatives is one for each of them, because each sets
/// columns of its own to NULL.
pub(super) struct Resolved<'a> {
    pub entry: &'a Entry,
    pub table: TableId,
    /// The entry's position in its table; parts of one `unlink` share it.
    pub position: usize,
    /// The step's name.
    pub name: String,
    /// The person's own row.
    pub is_root: bool,
    pub alternatives: Vec<Alt<'a>>,
}

/// One alternative of a `match`.
pub(super) struct Alt<'a> {
    pub line: usize,
    /// One for each table that it reads.
    pub links: Vec<LinkSpec<'a>>,
    pub constants: Vec<(&'a Column, String)>,
    /// Trusted SQL.
    pub pieces: Option<Vec<crate::domain::compiled::Piece>>,
}

pub(super) struct LinkSpec<'a> {
    pub target: TableId,
    /// Of the entry's own table; empty in trusted SQL.
    pub own: Vec<&'a Column>,
    /// Of the target; as many as `own`, if there are any.
    pub theirs: Vec<&'a Column>,
}

/// One link of the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LinkId {
    pub entry: EntryId,
    pub alternative: usize,
    pub link: usize,
}

impl<'a> Model<'a> {
    pub(super) fn table_of(&self, entry: EntryId) -> &PlanTable<'a> {
        &self.tables[self.entries[entry].table]
    }

    pub(super) fn find(&self, connection: &str, schema: &str, name: &str) -> Option<TableId> {
        self.tables.iter().position(|known| {
            known.connection == connection && known.table.schema == schema && known.table.name == name
        })
    }

    /// The entries whose rows a reference to this table means: the subject's own. The person's row itself is
    /// not among them: it is read once, as the root tuple.
    pub(super) fn owned(&self, table: TableId) -> impl Iterator<Item = EntryId> {
        self.tables[table].entries.iter().copied().filter(|&id| {
            let entry = &self.entries[id];
            !entry.is_root && !entry.is_unlink()
        })
    }

    /// Entries of the same table that stand before this one.
    pub(super) fn earlier(&self, id: EntryId) -> impl Iterator<Item = EntryId> {
        let position = self.entries[id].position;
        let table = &self.tables[self.entries[id].table];
        table.entries.iter().copied().filter(move |&other| self.entries[other].position < position)
    }

    pub(super) fn links(&self, id: EntryId) -> impl Iterator<Item = (LinkId, &LinkSpec<'a>)> {
        self.entries[id].alternatives.iter().enumerate().flat_map(move |(alternative, alt)| {
            alt.links
                .iter()
                .enumerate()
                .map(move |(link, spec)| (LinkId { entry: id, alternative, link }, spec))
        })
    }

    pub(super) fn ignores_case(&self, table: TableId, column: &Column) -> bool {
        table == self.root.table
            && self
                .root
                .identities
                .iter()
                .chain(&self.root.scope)
                .any(|identity| identity.ignore_case && identity.column.name == column.name)
    }
}

impl Resolved<'_> {
    pub(super) fn erase(&self) -> &Erase {
        &self.entry.erase.value
    }

    pub(super) fn is_unlink(&self) -> bool {
        matches!(self.erase(), Erase::Unlink)
    }

    /// True where the rows themselves are removed.
    pub(super) fn deletes(&self) -> bool {
        matches!(self.erase(), Erase::Delete | Erase::DeleteIfUnreferenced)
    }

    /// The rows stay at first, and are removed when the duty to keep them is over.
    pub(super) fn is_kept_for_a_time(&self) -> bool {
        matches!(self.erase(), Erase::Keep(keep) if keep.until.is_some())
    }

    /// Another person with the same matched value is no reason to stop: the plan says so, or whatever still points
    /// at a row keeps it.
    pub(super) fn may_be_shared(&self) -> bool {
        self.entry.shared || matches!(self.erase(), Erase::DeleteIfUnreferenced)
    }

    /// The entry compiles to a step.
    pub(super) fn is_step(&self) -> bool {
        !matches!(self.erase(), Erase::None(_))
    }

    /// The columns that an `unlink` sets to NULL.
    pub(super) fn unlinked(&self) -> Vec<&Column> {
        let own = self.alternatives.iter().flat_map(|alt| &alt.links).flat_map(|link| &link.own);
        let mut columns: Vec<&Column> = Vec::new();
        for column in own.filter(|column| column.nullable && !column.generated) {
            if !columns.iter().any(|known| known.name == column.name) {
                columns.push(column);
            }
        }
        columns
    }

    /// Names of the columns that this entry's step writes.
    pub(super) fn overwritten(&self) -> Vec<&str> {
        match self.erase() {
            Erase::Unlink => self.unlinked().into_iter().map(|column| column.name.as_str()).collect(),
            Erase::Mask { columns, .. } => columns
                .iter()
                .filter(|(_, strategy)| strategy.value != crate::domain::plan::MaskStrategy::Preserve)
                .map(|(column, _)| column.value.as_str())
                .collect(),
            _ => Vec::new(),
        }
    }
}

pub(in crate::domain) fn key_column(column: &Column) -> KeyColumn {
    KeyColumn {
        name: column.name.clone(),
        type_name: column.type_name.clone(),
        family: column.family,
        nullable: column.nullable,
    }
}

pub(super) fn key_columns(columns: &[&Column]) -> Vec<KeyColumn> {
    columns.iter().map(|column| key_column(column)).collect()
}

pub(in crate::domain) fn table_name(table: &Table) -> TableName {
    TableName { schema: table.schema.clone(), name: table.name.clone() }
}

/// The primary key, or the first unique key of NOT NULL columns that stands in for it; may be empty.
pub(in crate::domain) fn row_key(table: &Table) -> Vec<&Column> {
    let columns =
        |names: &[String]| -> Vec<&Column> { names.iter().filter_map(|name| table.column(name)).collect() };
    if !table.primary_key.is_empty() {
        return columns(&table.primary_key);
    }
    let mut keys: Vec<Vec<&Column>> = table
        .unique_keys
        .iter()
        .map(|key| columns(key))
        .filter(|key| !key.is_empty() && key.iter().all(|column| !column.nullable))
        .collect();
    // The catalog's order of unique keys is no promise; the choice must be the same every time.
    keys.sort_by_key(|key| (key.len(), key.iter().map(|column| column.name.clone()).collect::<Vec<_>>()));
    keys.into_iter().next().unwrap_or_default()
}
