//! A compiled plan: a plan file joined with the live schemas of its connections. It holds all that a worker
//! needs, is stored by version, and is what connectors turn into SQL.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    call::{CallTemplate, NewFields},
    key::{Key, Tuple},
    plan::{About, CodeStep, ManualStep},
    rectification::Rectification,
    schema::Family,
};

mod age;
mod keep;
mod relinked;
mod written;

pub use age::{Age, TimeKind, Wanted};
pub use keep::KeepUntil;

/// `sha256:` and 64 hex digits over what decides which rows and columns are touched, and in what order.
pub type PlanVersion = String;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompiledPlan {
    pub name: String,
    pub version: PlanVersion,
    pub root: Root,
    /// Key sets that must outlive the rows they are read from, or that cross connections, in the order in
    /// which they are read: a set may be read through an earlier one.
    pub key_sets: Vec<KeySet>,
    /// In the order of execution.
    pub erasure: Arc<[Step]>,
    /// In the order of the file; those without a `portable` column are left out of a portability request.
    #[serde(default)]
    pub export: Arc<[Step]>,
    /// Every entry with columns that may be corrected or hold copies of such: those whose rows are found through
    /// others come before those.
    #[serde(default)]
    pub rectification: Arc<[Step]>,
    /// What the controller says of the processing as a whole (GDPR Art. 15(1), 30).
    #[serde(default)]
    pub about: About,
    /// Every connection that a step or key set names, the root's included.
    pub connections: Vec<String>,
    /// What people do by hand, beside the steps above. Left out where there is none: a plan without has the version
    /// that it always had.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub manual: Vec<ManualStep>,
    /// What the embedding program does before an erasure touches any table, in the order of execution.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub code: Vec<CodeStep>,
}

/// The table that holds the person, and the columns of that row which are read once at resolution. They are
/// the *root tuple*; [`Source::Root`] points into it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    pub connection: String,
    pub table: TableName,
    pub columns: Vec<KeyColumn>,
    /// The first is the root identity.
    pub identities: Vec<Identity>,
    /// Required in every subject, and-ed, no identity by itself.
    pub scope: Vec<Identity>,
    /// Positions in `columns` of the primary key, or of the unique NOT NULL columns that stand in for it.
    pub key: Vec<usize>,
    /// Sets of positions in `columns` that some `match` reads, that are not unique and not declared `shared`:
    /// when another root row has the same values, the request is `subject_ambiguous`.
    pub must_be_unshared: Vec<Vec<usize>>,
}

impl Root {
    /// A root tuple that holds only what was given: positions in `columns` and values.
    #[must_use]
    pub fn named(&self, given: &[(usize, Key)]) -> Tuple {
        let mut tuple: Tuple = vec![None; self.columns.len()];
        for (position, key) in given {
            if let Some(slot) = tuple.get_mut(*position) {
                *slot = Some(key.clone());
            }
        }
        tuple
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pub name: String,
    /// Position in [`Root::columns`].
    pub column: usize,
    pub ignore_case: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TableName {
    pub schema: String,
    pub name: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyColumn {
    pub name: String,
    /// For casts, from the catalog.
    pub type_name: String,
    pub family: Family,
    pub nullable: bool,
}

/// Keys that are read from the rows of `table` that `rows` selects and sealed with the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeySet {
    pub connection: String,
    pub rows: Rows,
    pub columns: Vec<KeyColumn>,
    /// Index in [`CompiledPlan::erasure`] of the first step that removes or changes what `rows` selects: until
    /// its first batch the set can be read again. `None`: never.
    pub readable_until: Option<usize>,
}

/// One table with one action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// `connection.table`, `connection.schema.table` outside the default schema, with `/NAME` for a further entry.
    pub name: String,
    pub connection: String,
    pub rows: Rows,
    pub action: Action,
    /// The reason of a `keep`, the basis of a mask.
    pub basis: Option<String>,
    /// The person's own row.
    pub is_root: bool,
    /// Indices of earlier steps whose rows are found through what this step removes or changes: each is
    /// counted before this step's first batch.
    pub cuts: Vec<usize>,
    /// Rows that must have columns set to NULL before the first batch and count for no step: this unlink's
    /// rows that an earlier entry of the table takes, where a live foreign key would hold the parent back.
    pub openers: Option<Rows>,
}

/// Which rows of one table: any of the alternatives, and the filter, and none of those that an earlier entry takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rows {
    pub table: TableName,
    /// The primary key, or the unique NOT NULL columns that stand in for it; may be empty.
    pub key: Vec<KeyColumn>,
    pub any_of: Vec<Alternative>,
    /// Trusted SQL of the plan's `where`.
    pub filter: Option<String>,
    /// Rows that earlier entries of this table take.
    pub except: Vec<Rows>,
    /// Restricts to rows that are in one of these (openers); empty means no restriction.
    pub within: Vec<Rows>,
}

impl Rows {
    /// True for a selection that is followed through its own table: its alternatives only make sense together.
    #[must_use]
    pub fn reads_itself(&self) -> bool {
        self.any_of
            .iter()
            .any(|alternative| alternative.links().iter().any(|link| matches!(link.source, Source::Itself)))
    }
}

impl Alternative {
    #[must_use]
    pub fn links(&self) -> &[Link] {
        match self {
            Self::Match { links, .. } | Self::Sql { links, .. } => links,
            Self::Age(_) => &[],
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Alternative {
    /// All links and all constants hold.
    Match { links: Vec<Link>, constants: Vec<Constant> },
    /// Trusted SQL; each `Piece::Key` stands for a bound key of that link's column.
    Sql { pieces: Vec<Piece>, links: Vec<Link> },
    /// Rows of before a moment, whomever they are about: what a retention policy selects.
    Age(Age),
}

/// `columns` of this table equal the source's columns, position by position. In an [`Alternative::Sql`] link
/// `columns` is empty: only the source matters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    pub columns: Vec<KeyColumn>,
    pub source: Source,
    /// The source's columns, for families and casts; same length as `ignore_case`.
    pub source_columns: Vec<KeyColumn>,
    /// Compared without regard to case (the source is an identity's column that says so).
    pub ignore_case: Vec<bool>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Positions in the root tuple: bound values, at most one tuple.
    Root(Vec<usize>),
    /// The live rows of another table of the same connection, any of the given selections (one per entry of
    /// that table which holds the subject's rows); the columns are [`Link::source_columns`].
    Live(Vec<Rows>),
    /// Index in [`CompiledPlan::key_sets`].
    Keys(usize),
    /// The rows of this very entry, followed to the end (`parent_id: comments.id` on `comments`).
    Itself,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Constant {
    pub column: KeyColumn,
    pub value: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Piece {
    Text(String),
    /// `{users.id}`: column `column` of link `link`.
    Key {
        link: usize,
        column: usize,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    Delete,
    DeleteIfUnreferenced {
        references: Vec<Reference>,
    },
    /// Sets these columns to NULL.
    Unlink {
        columns: Vec<KeyColumn>,
    },
    Mask(Mask),
    /// Nothing is changed; every row is withheld.
    Keep,
    /// As `Keep`, until each row's time is over: then it is deleted.
    KeepUntil(KeepUntil),
    /// Rows are read into the package.
    Export(Exported),
    /// Columns get other values.
    Rectify(Rectification),
    /// Not rows of a table but resources of an HTTP service, one for each key that the selection's links lead to.
    Http(Resource),
}

/// A resource of an HTTP service and what is done with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resource {
    /// Tells whether it is there. `None`: it counts as there.
    pub lookup: Option<CallTemplate>,
    pub act: ResourceAct,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResourceAct {
    Erase(CallTemplate),
    /// Nothing is called; what is there is withheld.
    Keep,
    /// What the lookup answers goes into the package.
    Export {
        /// What the person has given themselves and may take elsewhere (GDPR Art. 20).
        portable: bool,
        about: About,
    },
    /// The changed ones of these fields are sent as a JSON object.
    Rectify {
        call: CallTemplate,
        fields: Vec<String>,
        /// Of a request's step. A compiled plan lies open in the store, so they are never written there.
        #[serde(skip)]
        new: NewFields,
    },
}

/// Which columns of an entry are handed out, and what the controller says of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exported {
    pub columns: ExportColumns,
    /// What the person has given themselves and may take elsewhere (GDPR Art. 20); `None`: nothing.
    pub portable: Option<ExportColumns>,
    pub about: About,
}

/// Columns of one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExportColumns {
    /// As the live schema has them when it is read: a further column makes no new version of the plan.
    All,
    Listed(Vec<String>),
}

impl Action {
    /// The word that the API and the audit use.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Delete => "delete",
            Self::DeleteIfUnreferenced { .. } => "delete_if_unreferenced",
            Self::Unlink { .. } => "unlink",
            Self::Mask(_) => "mask",
            Self::Keep | Self::KeepUntil(_) => "keep",
            Self::Export(_) => "export",
            Self::Rectify(_) => "rectify",
            Self::Http(resource) => match resource.act {
                ResourceAct::Erase(_) => "call",
                ResourceAct::Keep => "keep",
                ResourceAct::Export { .. } => "export",
                ResourceAct::Rectify { .. } => "rectify",
            },
        }
    }
}

impl Step {
    /// The resource of a step at an HTTP service.
    #[must_use]
    pub fn resource(&self) -> Option<&Resource> {
        match &self.action {
            Action::Http(resource) => Some(resource),
            _ => None,
        }
    }
}

/// Another table of the same connection whose `columns` point at `own_columns` of a row: a live foreign key, or
/// a `match` of the plan, in either direction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    pub table: TableName,
    pub columns: Vec<KeyColumn>,
    pub own_columns: Vec<KeyColumn>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mask {
    pub assignments: Vec<Assignment>,
    pub progress: MaskProgress,
}

/// How a masked row is told from one that is not masked yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaskProgress {
    /// The mask overwrites what the row was found by: a masked row no longer matches.
    LeavesMatch,
    /// Constants (and SQL with `done`): "and not already so" is part of the predicate.
    Predicate,
    /// Computed values on rows that go on matching: the primary key is walked with a cursor, and the keys and
    /// new values of every batch are sealed in the store before the target commit.
    Recorded,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    pub column: KeyColumn,
    pub strategy: Strategy,
}

/// Masking strategies; NULL stays NULL under all of them. `preserve` compiles to no assignment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    NullRewrite,
    StringRewrite(String),
    /// Random text of that many characters (`a-z0-9`).
    RandomStringRewrite {
        length: u32,
    },
    /// SHA-256 of the value's text, lower-case hex.
    Hash,
    /// HMAC-SHA-256 with a key of the request's own, lower-case hex.
    Hmac,
    /// Trusted SQL for the new value; `done` is true of a masked row.
    Sql {
        value: String,
        done: String,
    },
}

impl Strategy {
    /// True where the new value is computed outside the database and differs from row to row.
    #[must_use]
    pub fn is_computed(&self) -> bool {
        matches!(self, Self::RandomStringRewrite { .. } | Self::Hash | Self::Hmac)
    }
}
