//! `rightful draft`: a first plan from the live schema.

use std::{collections::BTreeMap, path::Path};

use clap::Args;

use super::{Failure, Outcome, connect, load, print, run_async};
use crate::domain::{
    draft::{self, Join, Wish},
    plan::Reference,
};

/// Prints a plan drafted from foreign keys and column names, with a comment on each guess.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  rightful draft --connection shop --subject users.id > plans/user.yaml\n  rightful \
                        draft --connection shop --subject users.id --join crm.contacts.email=shop.users.email"
)]
pub(super) struct Draft {
    /// The connection that holds the person's own row.
    #[arg(long, value_name = "NAME")]
    connection: String,

    /// The column that names the person; a name with a dot is quoted as in SQL.
    #[arg(long, value_name = "[SCHEMA.]TABLE.COLUMN", value_parser = parse_reference)]
    subject: Reference,

    /// Rows of another connection that hold a value of the person's rows; may be repeated.
    #[arg(long = "join", value_name = "THEIRS=OURS", value_parser = parse_join)]
    joins: Vec<Join>,

    /// The plan's name; otherwise that of the subject's table in the singular.
    #[arg(long, value_name = "NAME")]
    plan: Option<String>,
}

impl Draft {
    pub fn run(&self, path: &Path) -> Outcome {
        let config = load(path)?;
        let connectors = connect(&config)?;
        let others = self.joins.iter().filter_map(|join| join.theirs.parts.first());
        let mut catalogs = BTreeMap::new();
        run_async(async {
            for name in std::iter::once(&self.connection).chain(others) {
                let connector = connectors.get(name).ok_or_else(|| {
                    let known: Vec<&str> = connectors.databases().map(|(name, _)| name.as_str()).collect();
                    Failure::new(format!(
                        "there is no database `{name}`; configured are: {}",
                        known.join(", ")
                    ))
                })?;
                let catalog = connector.catalog().await;
                let catalog =
                    catalog.map_err(|error| Failure::new(format!("connection `{name}`: {error}")))?;
                catalogs.insert(name.clone(), catalog);
            }
            Ok(())
        })?;
        let wish = Wish {
            connection: self.connection.clone(),
            subject: self.subject.clone(),
            name: self.plan.clone(),
            joins: self.joins.clone(),
        };
        print(&draft::draft(&wish, &catalogs).map_err(Failure::new)?)
    }
}

fn parse_reference(text: &str) -> Result<Reference, String> {
    Reference::split(text)
        .filter(|reference| (2..=3).contains(&reference.parts.len()))
        .ok_or_else(|| "write TABLE.COLUMN or SCHEMA.TABLE.COLUMN".to_owned())
}

fn parse_join(text: &str) -> Result<Join, String> {
    let side =
        |text: &str| Reference::split(text).filter(|reference| (3..=4).contains(&reference.parts.len()));
    text.split_once('=')
        .and_then(|(theirs, ours)| Some(Join { theirs: side(theirs)?, ours: side(ours)? }))
        .ok_or_else(|| "write crm.contacts.email=shop.users.email".to_owned())
}
