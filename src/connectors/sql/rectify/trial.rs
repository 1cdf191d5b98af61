//! What is asked before the first change.

use super::{
    super::{
        context::Context,
        count::remaining,
        dialect::{Dialect, mysql_text},
        fragment::Fragment,
        predicate,
        session::Session,
        statement::Bind,
        walk::guarded,
    },
    kept_by_postgres, mysql_sides, postgres_bare, written,
};
use crate::{
    connectors::{ConnectorError, ErrorKind, Work},
    domain::{
        compiled::{Action, KeyColumn, TableName},
        rectification::{Correctable, NewValue, PointsAt, Rectification, UniqueColumns, reads_as_number},
        schema::Family,
    },
};

/// Asks, before the first change, whether the database takes the values: whether it can read each as the column's type
/// and would keep it unchanged, whether another row has what must be unique, whether the row that a key points at is
/// there.
///
/// # Errors
/// `InvalidValue` for what can never be written, `ConstraintViolation` for what other rows stand in the way of; the
/// detail names the column, never the value.
pub(in super::super) async fn trial(
    session: &mut Session,
    context: Context<'_>,
    work: &Work<'_>,
) -> Result<(), ConnectorError> {
    let Action::Rectify(rectification) = work.action else { return Ok(()) };
    for (correctable, value) in rectification.corrections() {
        try_value(session, context, work, correctable, value).await?;
    }
    let matched = predicate::all(context, work.rows)?;
    let open = guarded(context, work, remaining(context, work.rows, work.action, matched.clone())?)?;
    let asked = Asked { context, table: &work.rows.table, rectification, matched, open };
    let mut seen: Vec<&UniqueColumns> = Vec::new();
    for unique in rectification.columns.iter().flat_map(|column| &column.unique) {
        if seen.contains(&unique) {
            continue;
        }
        seen.push(unique);
        if let Some(query) = asked.taken(unique)
            && is_met(session, query).await?
        {
            let detail = "another row has this value, which only one may have; nothing was written here: correct that \
                          row first, or cancel this request";
            return Err(refusal(ErrorKind::ConstraintViolation, &asked.named(&unique.columns), detail));
        }
    }
    for key in rectification.columns.iter().flat_map(|column| &column.foreign_keys) {
        if let Some(query) = asked.orphaned(key)
            && is_met(session, query).await?
        {
            let detail = "no row of the table that it points at has this value; nothing was written here: add that row \
                          first, or cancel this request";
            return Err(refusal(ErrorKind::ConstraintViolation, &asked.named(&key.columns), detail));
        }
    }
    Ok(())
}

fn refusal(kind: ErrorKind, column: &str, detail: &str) -> ConnectorError {
    ConnectorError { kind, detail: format!("column {column}: {detail}") }
}

async fn try_value(
    session: &mut Session,
    context: Context<'_>,
    work: &Work<'_>,
    correctable: &Correctable,
    value: &NewValue,
) -> Result<(), ConnectorError> {
    let column = &correctable.column;
    let refused = |detail: &str| Err(refusal(ErrorKind::InvalidValue, &column.name, detail));
    let Some(query) = kept_unchanged(context, &work.rows.table, correctable, value) else { return Ok(()) };
    match is_met(session, query).await {
        Ok(true) => Ok(()),
        Ok(false) => {
            refused(&format!("the database would not keep the value unchanged as {}", column.type_name))
        }
        Err(error)
            if matches!(
                error.kind,
                ErrorKind::Internal
                    | ErrorKind::ConstraintViolation
                    | ErrorKind::CheckViolation
                    | ErrorKind::UnfitValue
            ) =>
        {
            refused(&format!("the database does not take the value as {}", column.type_name))
        }
        Err(error) => Err(error),
    }
}

async fn is_met(session: &mut Session, condition: Fragment) -> Result<bool, ConnectorError> {
    let query = condition.within("SELECT CASE WHEN ", " THEN '1' ELSE '0' END");
    let rows = session.query(&query.finish()).await?;
    Ok(rows.into_iter().flatten().flatten().next().as_deref() == Some("1"))
}

/// The condition that the column would keep the value as it is given; `None` where the given value says it already.
fn kept_unchanged(
    context: Context<'_>,
    table: &TableName,
    correctable: &Correctable,
    value: &NewValue,
) -> Option<Fragment> {
    let (NewValue::Text(text) | NewValue::Number(text)) = value else { return None };
    let column = &correctable.column;
    let bound = Fragment::bound(Bind::Text(Some(text.clone())));
    match context.dialect {
        Dialect::Sqlite => sqlite_any(table, column, text),
        Dialect::Postgres => Some(postgres_unchanged(correctable, value, bound)),
        Dialect::MySql => {
            let name = column.type_name.as_str();
            match column.family {
                // A type of its own, with no character set to choose.
                Family::Json if name == "json" => Some(bound.within("JSON_VALID(", ")")),
                family if mysql_text(family) => {
                    let is_json = family == Family::Json;
                    let valid = is_json.then(|| bound.clone().within("JSON_VALID(", ") AND "));
                    let charset = &context.facts.collation(table, &column.name)?.charset;
                    let there_and_back = bound.clone().within(
                        "CAST(CONVERT(CONVERT(",
                        &format!(" USING {charset}) USING utf8mb4) AS BINARY) = "),
                    );
                    let kept = there_and_back.and(bound.within("CAST(", " AS BINARY)"));
                    Some(match valid {
                        Some(valid) => valid.and(kept),
                        None => kept,
                    })
                }
                Family::Time | Family::Number | Family::Other => {
                    let (_, right) = mysql_sides("", column, value);
                    let inet = name.starts_with("inet");
                    let right = if inet { bound.within("CAST(", &format!(" AS {name})")) } else { right };
                    Some(right.then(" IS NOT NULL"))
                }
                _ => None,
            }
        }
    }
}

/// A column of type `ANY` keeps a text that reads as a number in a STRICT table alone.
fn sqlite_any(table: &TableName, column: &KeyColumn, text: &str) -> Option<Fragment> {
    if !column.type_name.eq_ignore_ascii_case("any") || !reads_as_number(text) {
        return None;
    }
    let name = Fragment::bound(Bind::Text(Some(table.name.clone())));
    Some(name.within("(SELECT max(strict) FROM pragma_table_list(", ")) = 1"))
}

fn postgres_unchanged(correctable: &Correctable, value: &NewValue, bound: Fragment) -> Fragment {
    let column = &correctable.column;
    let name = correctable.base_type();
    let kept = kept_by_postgres(column, value);
    if name.contains('(') || name.starts_with("interval ") {
        let bare = match name.strip_prefix("interval") {
            Some(rest) if rest.ends_with("[]") => "interval[]".to_owned(),
            Some(_) => "interval".to_owned(),
            None => postgres_bare(name),
        };
        return kept.within("(", &format!(")::{bare} = (")).and(bound).then(&format!("::text::{bare})"));
    }
    let is_plain = matches!(name, "numeric" | "real" | "double precision" | "money");
    if column.family == Family::Number && !is_plain {
        return kept.within("(", ")::numeric = (").and(bound).then("::text::numeric)");
    }
    if column.family != Family::Other && column.family != Family::Array {
        return kept.within("(", ")::text IS NOT NULL");
    }
    // What a field of a composite type would keep nobody can tell by the type's name: it must be written as it is kept.
    let of_fields = Fragment::bound(Bind::Text(Some(name.to_owned()))).within(
        "EXISTS (SELECT 1 FROM pg_catalog.pg_type rightful_t LEFT JOIN pg_catalog.pg_type rightful_e \
         ON rightful_e.oid = rightful_t.typelem WHERE rightful_t.oid = ",
        "::text::regtype AND 'c' IN (rightful_t.typtype, rightful_e.typtype))",
    );
    let as_kept = kept.clone().within("(", ")::text = ").and(bound);
    let taken = kept.within("(", ")::text IS NOT NULL");
    Fragment::join([of_fields.within("NOT ", ""), as_kept], " OR ").parenthesised().then(" AND ").and(taken)
}

/// The rows of a step and what becomes of them.
struct Asked<'a> {
    context: Context<'a>,
    table: &'a TableName,
    rectification: &'a Rectification,
    matched: Fragment,
    /// Those that do not hold the values yet: without any, whoever has the value is the person.
    open: Fragment,
}

impl Asked<'_> {
    fn named(&self, columns: &[KeyColumn]) -> String {
        let changed = columns.iter().filter(|column| self.value(column).is_some());
        changed.map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ")
    }

    fn value(&self, column: &KeyColumn) -> Option<&NewValue> {
        let mut corrections = self.rectification.corrections();
        corrections.find(|(known, _)| known.column.name == column.name).map(|(_, value)| value)
    }

    fn own(&self, column: &KeyColumn) -> String {
        self.context.dialect.column(self.table, &column.name)
    }

    fn open_rows(&self, columns: &[&KeyColumn]) -> Fragment {
        let list = match columns {
            [] => "1".to_owned(),
            _ => columns.iter().map(|column| self.own(column)).collect::<Vec<_>>().join(", "),
        };
        let table = self.context.dialect.table(self.table);
        self.open.clone().within(&format!("(SELECT {list} FROM {table} WHERE "), ")")
    }

    /// Another row has what rows of this step would get; `None` where NULL keeps it apart.
    fn taken(&self, unique: &UniqueColumns) -> Option<Fragment> {
        let mut parts = Vec::new();
        let mut rest = Vec::new();
        for (column, ignore_case) in unique.columns.iter().zip(&unique.ignore_case) {
            match self.value(column) {
                Some(NewValue::Null) => return None,
                Some(value) => parts.push(self.equals(column, value, *ignore_case)),
                None => rest.push(column),
            }
        }
        if rest.is_empty() {
            parts.push(self.open_rows(&rest).within("EXISTS ", ""));
        } else {
            let left: Vec<String> = rest.iter().map(|column| self.own(column)).collect();
            parts.push(self.open_rows(&rest).within(&format!("({}) IN ", left.join(", ")), ""));
        }
        parts.push(self.matched.clone().parenthesised().then(" IS NOT TRUE"));
        let table = self.context.dialect.table(self.table);
        let head = format!("EXISTS (SELECT 1 FROM {table} WHERE ");
        Some(Fragment::join(parts, " AND ").within(&head, ")"))
    }

    fn equals(&self, column: &KeyColumn, value: &NewValue, ignore_case: bool) -> Fragment {
        let (dialect, own) = (self.context.dialect, self.own(column));
        if let (true, NewValue::Text(text)) = (ignore_case, value) {
            let bound = Fragment::bound(Bind::Text(Some(text.clone())));
            return match dialect {
                Dialect::Postgres => bound.within(&format!("lower({own}::text) = lower("), "::text)"),
                Dialect::MySql => bound.within(&format!("LOWER({own}) = LOWER("), ")"),
                Dialect::Sqlite => bound.within(&format!("rightful_lower({own}) = rightful_lower("), ")"),
            };
        }
        written(dialect, column, value).within(&format!("{own} = "), "")
    }

    /// A row would point at nothing; `None` where NULL points nowhere anyway.
    fn orphaned(&self, key: &PointsAt) -> Option<Fragment> {
        let parent = "rightful_p";
        let dialect = self.context.dialect;
        let mut held = Vec::new();
        let mut filled = vec![self.open.clone()];
        for (column, theirs) in key.columns.iter().zip(&key.parent_columns) {
            let theirs = format!("{parent}.{}", dialect.quote(&theirs.name));
            match self.value(column) {
                Some(NewValue::Null) => return None,
                Some(value) => {
                    held.push(written(dialect, column, value).within(&format!("{theirs} = "), ""));
                }
                None => {
                    let own = self.own(column);
                    held.push(Fragment::text(&format!("{theirs} = {own}")));
                    filled.push(Fragment::text(&format!("{own} IS NOT NULL")));
                }
            }
        }
        let (table, parents) = (dialect.table(self.table), dialect.table(&key.table));
        let there = Fragment::join(held, " AND ")
            .within(&format!("NOT EXISTS (SELECT 1 FROM {parents} AS {parent} WHERE "), ")");
        filled.push(there);
        Some(Fragment::join(filled, " AND ").within(&format!("EXISTS (SELECT 1 FROM {table} WHERE "), ")"))
    }
}
