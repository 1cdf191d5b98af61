//! Finding the person's row by what was given, and reading it again.

use super::{
    compare::{Side, equals_any, equals_exactly},
    context::Context,
    dialect::internal,
    facts::Facts,
    fragment::Fragment,
    session::Session,
};
use crate::{
    connectors::{ConnectorError, Keys, Resolution},
    domain::{
        compiled::{Identity, KeyColumn, Root},
        key::{Key, Tuple},
        schema::Family,
    },
};

/// # Errors
/// As the database says.
pub(super) async fn resolve(
    session: &mut Session,
    facts: &Facts,
    root: &Root,
    given: &[(usize, Key)],
) -> Result<Resolution, ConnectorError> {
    let keys = Keys::default();
    let context = Context::new(session.dialect(), facts, &keys);
    let mut found: Option<Tuple> = None;
    let mut missing = false;
    for identity in given_identities(root, given) {
        let condition = condition(context, root, given, identity, identity.ignore_case)?;
        let rows = select(session, root, condition).await?;
        match rows.as_slice() {
            [] => {
                if could_be_another_case(root, identity) {
                    let loose = condition_in_any_case(context, root, given, identity)?;
                    if !select(session, root, loose).await?.is_empty() {
                        return Ok(Resolution::OtherCase);
                    }
                }
                if !root.scope.is_empty() {
                    // Somebody of another scope has it, and what hangs on the value alone may be theirs.
                    let elsewhere = one(context, root, given, identity, true)?;
                    if !select(session, root, elsewhere).await?.is_empty() {
                        return Ok(Resolution::Ambiguous);
                    }
                }
                missing = true;
            }
            [row] => match &found {
                Some(known) if known != row => return Ok(Resolution::Ambiguous),
                _ => found = Some(row.clone()),
            },
            _ => return Ok(Resolution::Ambiguous),
        }
    }
    match found {
        None => Ok(Resolution::NotFound),
        // One identity leads to a row, another to none.
        Some(_) if missing => Ok(Resolution::Ambiguous),
        Some(tuple) if !leads_back(session, context, root, &tuple).await? => Ok(Resolution::NoKey),
        Some(tuple) => {
            let sharing = sharing(session, facts, root, &tuple).await?;
            Ok(Resolution::Found { tuple, sharing })
        }
    }
}

/// True when the row's own key finds this row and no other.
async fn leads_back(
    session: &mut Session,
    context: Context<'_>,
    root: &Root,
    tuple: &Tuple,
) -> Result<bool, ConnectorError> {
    let is_there = |position: &usize| tuple.get(*position).is_some_and(|key| is_given(key.as_ref()));
    if !root.key.iter().all(is_there) {
        return Ok(false);
    }
    let is_untyped =
        |position: &usize| root.columns.get(*position).is_some_and(|column| column.family == Family::Any);
    if !root.key.iter().any(is_untyped) {
        return Ok(true);
    }
    // A column of SQLite without a type keeps 1 and '1' apart; as keys they are the same.
    let found = select(session, root, by_key(context, root, tuple)?).await?;
    Ok(found.len() == 1)
}

fn is_given(key: Option<&Key>) -> bool {
    key.is_some_and(|key| !key.is_empty())
}

fn given_identities<'a>(root: &'a Root, given: &'a [(usize, Key)]) -> impl Iterator<Item = &'a Identity> {
    root.identities.iter().filter(|identity| given.iter().any(|(position, _)| *position == identity.column))
}

fn could_be_another_case(root: &Root, identity: &Identity) -> bool {
    !identity.ignore_case
        && root.columns.get(identity.column).is_some_and(|column| column.family == Family::Text)
}

/// The identity and the whole scope.
fn condition(
    context: Context<'_>,
    root: &Root,
    given: &[(usize, Key)],
    identity: &Identity,
    ignore_case: bool,
) -> Result<Fragment, ConnectorError> {
    let parts = std::iter::once((identity, ignore_case))
        .chain(root.scope.iter().map(|scope| (scope, scope.ignore_case)))
        .map(|(identity, ignore_case)| one(context, root, given, identity, ignore_case))
        .collect::<Result<Vec<_>, ConnectorError>>()?;
    Ok(Fragment::join(parts, " AND "))
}

/// One of them alone.
fn one(
    context: Context<'_>,
    root: &Root,
    given: &[(usize, Key)],
    identity: &Identity,
    ignore_case: bool,
) -> Result<Fragment, ConnectorError> {
    let column = root.columns.get(identity.column).ok_or_else(|| internal("no such root column"))?;
    let key = given.iter().find(|(position, _)| *position == identity.column).map(|(_, key)| key.clone());
    let side = Side::own(context, &root.table, column);
    Ok(equals_any(context, &[side], &[ignore_case], &[vec![key]]))
}

fn condition_in_any_case(
    context: Context<'_>,
    root: &Root,
    given: &[(usize, Key)],
    identity: &Identity,
) -> Result<Fragment, ConnectorError> {
    condition(context, root, given, identity, true)
}

/// Two rows at most: more than one is all that anybody asks.
async fn select(
    session: &mut Session,
    root: &Root,
    condition: Fragment,
) -> Result<Vec<Tuple>, ConnectorError> {
    let dialect = session.dialect();
    let cells: Vec<String> = root
        .columns
        .iter()
        .map(|column| dialect.cell(&dialect.column(&root.table, &column.name), column.family))
        .collect();
    let head = format!("SELECT {} FROM {} WHERE ", cells.join(", "), dialect.table(&root.table));
    let rows = session.query(&condition.within(&head, " LIMIT 2").finish()).await?;
    let columns: Vec<&KeyColumn> = root.columns.iter().collect();
    rows.into_iter().map(|row| dialect.tuple(&columns, row)).collect()
}

/// For each set of columns that must not be shared: how many other rows have the same values.
async fn sharing(
    session: &mut Session,
    facts: &Facts,
    root: &Root,
    tuple: &Tuple,
) -> Result<Vec<u64>, ConnectorError> {
    let keys = Keys::default();
    let dialect = session.dialect();
    let context = Context::new(dialect, facts, &keys);
    let mut sharing = Vec::new();
    for positions in &root.must_be_unshared {
        let columns: Vec<&KeyColumn> = positions.iter().filter_map(|at| root.columns.get(*at)).collect();
        let sides: Vec<Side<'_>> =
            columns.iter().map(|column| Side::own(context, &root.table, column)).collect();
        let ignore: Vec<bool> = positions.iter().map(|position| ignores_case(root, *position)).collect();
        let values: Tuple =
            positions.iter().map(|position| tuple.get(*position).cloned().flatten()).collect();
        let same = equals_any(context, &sides, &ignore, &[values]);
        let cast = if dialect == super::dialect::Dialect::MySql { "CHAR" } else { "text" };
        let head = format!("SELECT CAST(count(*) AS {cast}) FROM {} WHERE ", dialect.table(&root.table));
        let rows = session.query(&same.within(&head, "").finish()).await?;
        let count: u64 =
            rows.into_iter().flatten().flatten().next().and_then(|cell| cell.parse().ok()).unwrap_or(0);
        sharing.push(count.saturating_sub(1));
    }
    Ok(sharing)
}

fn ignores_case(root: &Root, position: usize) -> bool {
    root.identities.iter().any(|identity| identity.column == position && identity.ignore_case)
}

/// # Errors
/// As the database says.
pub(super) async fn reread(
    session: &mut Session,
    facts: &Facts,
    root: &Root,
    tuple: &Tuple,
) -> Result<Resolution, ConnectorError> {
    let keys = Keys::default();
    let context = Context::new(session.dialect(), facts, &keys);
    let Some(tuple) = select(session, root, by_key(context, root, tuple)?).await?.into_iter().next() else {
        return Ok(Resolution::NotFound);
    };
    let sharing = sharing(session, facts, root, &tuple).await?;
    Ok(Resolution::Found { tuple, sharing })
}

/// The rows that the key of the tuple finds.
fn by_key(context: Context<'_>, root: &Root, tuple: &Tuple) -> Result<Fragment, ConnectorError> {
    let parts = root
        .key
        .iter()
        .map(|position| {
            let column = root.columns.get(*position).ok_or_else(|| internal("no such root column"))?;
            let side = Side::own(context, &root.table, column);
            Ok(equals_exactly(context, &side, &vec![tuple.get(*position).cloned().flatten()]))
        })
        .collect::<Result<Vec<_>, ConnectorError>>()?;
    Ok(Fragment::join(parts, " AND "))
}
