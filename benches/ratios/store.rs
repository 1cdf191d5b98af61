//! Where the service keeps what it knows, in a measurement.

use super::target::Target;

#[derive(Clone, Copy)]
pub enum Store {
    /// The default: a file.
    Sqlite,
    /// A database on the targets' server.
    Postgres,
}

impl Store {
    pub const ALL: [Self; 2] = [Self::Sqlite, Self::Postgres];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
        }
    }

    /// Its URL for the configuration, and the database behind it, if it is one.
    pub async fn open(self) -> (String, Option<Target>) {
        match self {
            Self::Sqlite => ("sqlite:rightful.db".to_owned(), None),
            Self::Postgres => {
                let target = Target::new("store").await;
                (target.url(), Some(target))
            }
        }
    }
}
