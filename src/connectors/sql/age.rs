//! How old a row is.

use chrono::{DateTime, NaiveDateTime, Utc};

use super::{
    context::Context,
    dialect::{Dialect, internal},
    fragment::Fragment,
    predicate,
    session::Session,
    statement::Bind,
};
use crate::{
    connectors::ConnectorError,
    domain::{
        compiled::{Age, KeyColumn, Rows, TableName, TimeKind, Wanted},
        schema::Family,
    },
};

/// Seconds since 1970 from March 1973 to the year 9999. Smaller numbers are more likely years, dates without dashes or
/// Julian days, larger ones milliseconds.
const SECONDS: &str = "BETWEEN 100000000 AND 253402300799";
/// A time of day alone would be read as one of the year 2000.
const DATE: &str = "GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]*'";

/// The rows that a policy wants, by their time.
pub(super) fn condition(context: Context<'_>, table: &TableName, age: &Age) -> Fragment {
    let dialect = context.dialect;
    let column = dialect.column(table, &age.column.name);
    if age.wanted == Wanted::Unreadable {
        return Fragment::text(&match dialect {
            Dialect::Sqlite => format!("({column} IS NOT NULL AND {} IS NULL)", days(&column)),
            Dialect::MySql => format!("({column} IS NOT NULL AND NOT {})", is_date(&column)),
            // Its types hold nothing else.
            Dialect::Postgres => "1 = 0".to_owned(),
        });
    }
    let older = match dialect {
        Dialect::Sqlite => bound(age).within(&format!("{} < julianday(", days(&column)), ")"),
        Dialect::Postgres => {
            bound(age).within(&format!("{column} < "), &format!("::text::{}", postgres(age.time)))
        }
        Dialect::MySql => {
            let before = format!("({} AND {column} < CAST(", is_date(&column));
            bound(age).within(&before, &format!(" AS {}))", mysql(age.time)))
        }
    };
    let nulls = match age.nulls_are_old {
        true => older.within("(", &format!(" OR {column} IS NULL)")),
        false => older,
    };
    match &age.mark {
        Some(mark) => nulls.then(" AND ").and(unmarked(context, table, mark)),
        None => nulls,
    }
}

fn bound(age: &Age) -> Fragment {
    let form = match age.time {
        TimeKind::Date => "%Y-%m-%d",
        TimeKind::Instant | TimeKind::Local | TimeKind::Any => "%Y-%m-%d %H:%M:%S%.6f",
    };
    Fragment::bound(Bind::Text(Some(age.before.format(form).to_string())))
}

/// The oldest and the newest time of the rows that a selection matches; what is no time counts for nothing.
pub(super) async fn span(
    session: &mut Session,
    context: Context<'_>,
    rows: &Rows,
    column: &KeyColumn,
    time: TimeKind,
) -> Result<Option<(DateTime<Utc>, DateTime<Utc>)>, ConnectorError> {
    let dialect = context.dialect;
    let name = dialect.column(&rows.table, &column.name);
    let cell = |aggregate: &str| match dialect {
        Dialect::Sqlite => format!("strftime('%Y-%m-%d %H:%M:%f', {aggregate}({}))", days(&name)),
        Dialect::MySql => format!(
            "DATE_FORMAT({aggregate}(CASE WHEN {} THEN {name} END), '%Y-%m-%d %H:%i:%s.%f')",
            is_date(&name)
        ),
        Dialect::Postgres => {
            let zone = if time == TimeKind::Instant { " AT TIME ZONE 'UTC'" } else { "::timestamp" };
            format!(
                "to_char(({aggregate}({name}) FILTER (WHERE {name} BETWEEN '0001-01-01' AND '9999-12-31')){zone}, 'YYYY-MM-DD HH24:MI:SS.US')"
            )
        }
    };
    let head = format!("SELECT {}, {} FROM {} WHERE ", cell("min"), cell("max"), dialect.table(&rows.table));
    let found = session.query(&predicate::all(context, rows)?.within(&head, "").finish()).await?;
    let mut cells = found.into_iter().flatten().map(|cell| {
        cell.map(|text| {
            let time = NaiveDateTime::parse_from_str(&text, "%Y-%m-%d %H:%M:%S%.f");
            time.map(|time| time.and_utc()).map_err(|_| internal("a time of a row cannot be read"))
        })
    });
    match (cells.next().flatten().transpose()?, cells.next().flatten().transpose()?) {
        (Some(oldest), Some(newest)) => Ok(Some((oldest, newest))),
        _ => Ok(None),
    }
}

/// `0000-00-00` and `2001-00-00` tell no day.
fn is_date(column: &str) -> String {
    format!("(MONTH({column}) > 0 AND DAYOFMONTH({column}) > 0)")
}

/// The time of a row as a Julian day, in UTC; NULL where it is none.
fn days(column: &str) -> String {
    format!(
        "(CASE WHEN typeof({column}) = 'text' AND {column} {DATE} THEN julianday({column}) \
         WHEN typeof({column}) IN ('integer', 'real') AND {column} {SECONDS} \
         THEN julianday({column}, 'unixepoch') END)"
    )
}

fn postgres(time: TimeKind) -> &'static str {
    match time {
        // The moment is written in UTC, whatever the session's zone is.
        TimeKind::Instant => "timestamp AT TIME ZONE 'UTC'",
        TimeKind::Date => "date",
        TimeKind::Local | TimeKind::Any => "timestamp",
    }
}

fn mysql(time: TimeKind) -> &'static str {
    match time {
        TimeKind::Date => "DATE",
        // The session's zone is UTC.
        TimeKind::Instant | TimeKind::Local | TimeKind::Any => "DATETIME(6)",
    }
}

/// The row is not marked as deleted yet.
fn unmarked(context: Context<'_>, table: &TableName, mark: &KeyColumn) -> Fragment {
    let column = context.dialect.column(table, &mark.name);
    Fragment::text(&match mark.family {
        Family::Boolean => format!("{column} IS NOT TRUE"),
        Family::Integer => format!("COALESCE({column}, 0) = 0"),
        _ => format!("{column} IS NULL"),
    })
}
