//! Equality of key columns with bound values and with other columns: indexable, NULL-safe, and byte for byte
//! (or without regard to case) whatever the collation says.
//!
//! Where the database's own `=` is too generous, it still stands first, for the index, and a byte-wise
//! comparison is and-ed to it.

mod list;
mod live;

pub(super) use self::list::{LARGE, List, lists};
use self::live::live_pairs;
use super::{
    context::Context,
    dialect::{Dialect, bare_type, is_citext, mysql_text, postgres_cast},
    fragment::Fragment,
    statement::Bind,
};
use crate::domain::{
    compiled::{KeyColumn, TableName},
    key::Tuple,
    schema::Family,
};

pub(super) const FALSE: &str = "FALSE";

/// Name of the relation that keys come from, and of its columns (with a number).
pub(super) const KEYS: &str = "rightful_k";

/// A column as it is written in a statement.
pub(super) struct Side<'a> {
    pub(super) expr: String,
    pub(super) table: &'a TableName,
    pub(super) column: &'a KeyColumn,
}

impl<'a> Side<'a> {
    pub(super) fn own(context: Context<'_>, table: &'a TableName, column: &'a KeyColumn) -> Self {
        Self { expr: context.dialect.column(table, &column.name), table, column }
    }
}

/// One way to compare a column with a bound value: `left = before value after`.
#[derive(Clone)]
struct Form {
    left: String,
    before: &'static str,
    after: String,
    /// PostgreSQL: the element type, where many values may be bound as one array.
    array: Option<String>,
    /// MySQL: character set and collation of the column, which a value has by itself and an item of a list has not.
    collation: Option<(String, String)>,
}

impl Form {
    fn plain(left: &str) -> Self {
        Self::wrapped(left.to_owned(), "", "")
    }

    fn wrapped(left: String, before: &'static str, after: &str) -> Self {
        Self { left, before, after: after.to_owned(), array: None, collation: None }
    }

    fn cast(left: String, kind: &str) -> Self {
        let after = format!("::{kind}");
        Self { left, before: "", after, array: Some(kind.to_owned()), collation: None }
    }

    /// An item of a list as this form compares it.
    fn item(&self, item: &str) -> String {
        match &self.collation {
            Some((charset, name)) => format!("CONVERT({item} USING {charset}) COLLATE {name}"),
            None => format!("{}{item}{}", self.before, self.after),
        }
    }
}

/// The comparison that an index can serve, where it differs, and the one that decides.
struct Forms {
    index: Option<Form>,
    exact: Form,
}

/// Any of `tuples` equals the columns, position by position. Tuples with a NULL or empty part equal nothing.
pub(super) fn equals_any(
    context: Context<'_>,
    sides: &[Side<'_>],
    ignore_case: &[bool],
    tuples: &[Tuple],
) -> Fragment {
    let usable =
        tuples.iter().filter(|tuple| tuple.iter().all(|key| key.as_ref().is_some_and(|key| !key.is_empty())));
    let rows: Vec<Vec<Fragment>> = usable.flat_map(|tuple| spread(context.dialect, sides, tuple)).collect();
    equals_rows(context, sides, ignore_case, rows)
}

/// The columns equal that one value, an empty one too.
pub(super) fn equals_exactly(context: Context<'_>, side: &Side<'_>, tuple: &Tuple) -> Fragment {
    let rows = spread(context.dialect, std::slice::from_ref(side), tuple);
    equals_rows(context, std::slice::from_ref(side), &[false], rows)
}

fn equals_rows(
    context: Context<'_>,
    sides: &[Side<'_>],
    ignore_case: &[bool],
    rows: Vec<Vec<Fragment>>,
) -> Fragment {
    if rows.is_empty() {
        return Fragment::text(FALSE);
    }
    let forms: Vec<Forms> =
        sides.iter().zip(ignore_case).map(|(side, ignore)| bound_forms(context, side, *ignore)).collect();
    let exact: Vec<Form> = forms.iter().map(|forms| forms.exact.clone()).collect();
    if forms.iter().all(|forms| forms.index.is_none()) {
        return compare_rows(context.dialect, &exact, &rows);
    }
    let index: Vec<Form> = forms.into_iter().map(|forms| forms.index.unwrap_or(forms.exact)).collect();
    let narrow = if loses_rows(context, sides) {
        compare_columns(context.dialect, &index, &rows)
    } else {
        compare_rows(context.dialect, &index, &rows)
    };
    narrow.then(" AND ").and(compare_rows(context.dialect, &exact, &rows)).parenthesised()
}

/// MariaDB compares a list of row values in the column's character set without converting them into it: texts beyond
/// ASCII are not found where that set is another than the session's.
fn loses_rows(context: Context<'_>, sides: &[Side<'_>]) -> bool {
    context.dialect == Dialect::MySql
        && sides.len() > 1
        && sides.iter().any(|side| {
            let collation = context.facts.collation(side.table, &side.column.name);
            mysql_text(side.column.family) && collation.is_none_or(|known| known.charset != "utf8mb4")
        })
}

/// Every column is one of its values: more rows than those of [`compare_rows`], for an index before it.
fn compare_columns(dialect: Dialect, forms: &[Form], rows: &[Vec<Fragment>]) -> Fragment {
    let columns = forms.iter().enumerate().map(|(position, form)| {
        let values: Vec<Vec<Fragment>> =
            rows.iter().filter_map(|row| row.get(position)).map(|part| vec![part.clone()]).collect();
        compare_rows(dialect, std::slice::from_ref(form), &values)
    });
    Fragment::join(columns, " AND ")
}

/// Every combination of the forms that the parts of a tuple can take.
fn spread(dialect: Dialect, sides: &[Side<'_>], tuple: &Tuple) -> Vec<Vec<Fragment>> {
    let mut rows = vec![Vec::with_capacity(sides.len())];
    for (side, key) in sides.iter().zip(tuple) {
        let forms = key.as_ref().map(|key| dialect.values(side.column, key)).unwrap_or_default();
        rows = forms
            .into_iter()
            .flat_map(|form| {
                rows.iter()
                    .map(move |row: &Vec<Fragment>| row.iter().cloned().chain([form.clone()]).collect())
            })
            .collect();
    }
    rows
}

fn bound_forms(context: Context<'_>, side: &Side<'_>, ignore_case: bool) -> Forms {
    let (expr, family) = (&side.expr, side.column.family);
    let exact = context.facts.compares_exactly(context.dialect, side.table, side.column);
    match context.dialect {
        Dialect::Postgres if family == Family::Text && ignore_case => {
            let index = Form::wrapped(format!("lower({expr})"), "lower(", "::text)");
            let bytes = Form::wrapped(format!("lower({expr}) COLLATE \"C\""), "lower(", "::text)");
            if exact {
                Forms { index: None, exact: index }
            } else {
                Forms { index: Some(index), exact: bytes }
            }
        }
        Dialect::Postgres if family == Family::Text => {
            let index = Form::cast(expr.clone(), &postgres_cast(side.column));
            let bytes = Form::cast(format!("{expr}::text COLLATE \"C\""), "text");
            if exact {
                Forms { index: None, exact: index }
            } else {
                Forms { index: Some(index), exact: bytes }
            }
        }
        Dialect::Postgres if bare_type(&side.column.type_name) == "json" => {
            Forms { index: None, exact: Form::cast(format!("{expr}::text"), "text") }
        }
        Dialect::Postgres => {
            Forms { index: None, exact: Form::cast(expr.clone(), &postgres_cast(side.column)) }
        }
        Dialect::MySql if mysql_text(family) => {
            let collation = context.facts.collation(side.table, &side.column.name);
            let index =
                (!ignore_case || collation.is_some_and(|collation| collation.ignores_case)).then(|| Form {
                    collation: collation.map(|known| (known.charset.clone(), known.name.clone())),
                    ..Form::plain(expr)
                });
            let (before, after) =
                if ignore_case { ("CAST(LOWER(", ") AS BINARY)") } else { ("CAST(", " AS BINARY)") };
            Forms { index, exact: Form::wrapped(mysql_bytes(expr, ignore_case), before, after) }
        }
        Dialect::MySql => Forms { index: None, exact: Form::plain(expr) },
        Dialect::Sqlite if family == Family::Text && ignore_case => {
            let exact = Form::wrapped(format!("rightful_lower({expr})"), "rightful_lower(", ")");
            Forms { index: None, exact }
        }
        Dialect::Sqlite if exact => Forms { index: None, exact: Form::plain(expr) },
        Dialect::Sqlite => {
            Forms { index: Some(Form::plain(expr)), exact: Form::plain(&format!("{expr} COLLATE BINARY")) }
        }
    }
}

fn mysql_bytes(expr: &str, ignore_case: bool) -> String {
    let text = format!("CONVERT({expr} USING utf8mb4)");
    if ignore_case { format!("CAST(LOWER({text}) AS BINARY)") } else { format!("CAST({text} AS BINARY)") }
}

fn compare_rows(dialect: Dialect, forms: &[Form], rows: &[Vec<Fragment>]) -> Fragment {
    let value = |form: &Form, value: &Fragment| value.clone().within(form.before, &form.after);
    if let [row] = rows {
        let equal = forms
            .iter()
            .zip(row)
            .map(|(form, part)| Fragment::text(&form.left).then(" = ").and(value(form, part)));
        return Fragment::join(equal, " AND ");
    }
    if dialect == Dialect::Postgres {
        return compare_arrays(forms, rows);
    }
    if rows.len() > LARGE {
        return compare_lists(dialect, forms, rows);
    }
    let lists = rows.iter().map(|row| {
        let parts = Fragment::join(forms.iter().zip(row).map(|(form, part)| value(form, part)), ", ");
        if forms.len() > 1 { parts.parenthesised() } else { parts }
    });
    let lists = Fragment::join(lists, ", ");
    // SQLite takes a list of rows only as VALUES.
    let values = if dialect == Dialect::Sqlite && forms.len() > 1 { "VALUES " } else { "" };
    Fragment::text(&left_side(forms.iter().map(|form| form.left.as_str())))
        .then(" IN (")
        .then(values)
        .and(lists)
        .then(")")
}

/// As [`compare_rows`], where the values are more than a statement takes.
fn compare_lists(dialect: Dialect, forms: &[Form], rows: &[Vec<Fragment>]) -> Fragment {
    let left = left_side(forms.iter().map(|form| form.left.as_str()));
    let parts = lists(dialect, rows).into_iter().map(|List { items, from }| {
        let items: Vec<String> = forms.iter().zip(&items).map(|(form, item)| form.item(item)).collect();
        from.within(&format!("{left} IN (SELECT {} FROM ", items.join(", ")), ")")
    });
    Fragment::join(parts, " OR ").parenthesised()
}

/// The expression is one of the texts, byte for byte.
pub(super) fn one_of_texts(dialect: Dialect, expr: &str, texts: Vec<String>) -> Fragment {
    let form = match dialect {
        Dialect::Postgres => Form::cast(format!("({expr}) COLLATE \"C\""), "text"),
        Dialect::MySql => Form::wrapped(mysql_bytes(expr, false), "CAST(", " AS BINARY)"),
        Dialect::Sqlite => Form::plain(&format!("({expr})")),
    };
    let rows: Vec<Vec<Fragment>> =
        texts.into_iter().map(|text| vec![Fragment::bound(Bind::Text(Some(text)))]).collect();
    compare_rows(dialect, &[form], &rows)
}

fn compare_arrays(forms: &[Form], rows: &[Vec<Fragment>]) -> Fragment {
    let array = |column: usize| {
        let texts = rows.iter().map(|row| row.get(column).and_then(Fragment::bound_text)).collect();
        Fragment::bound(Bind::TextArray(texts))
    };
    if let [Form { left, array: Some(kind), .. }] = forms {
        let kind = if kind == "text" { String::new() } else { format!("::{kind}[]") };
        return Fragment::text(left).then(" = ANY(").and(array(0)).then(&format!("::text[]{kind})"));
    }
    let columns: Vec<String> = (0..forms.len()).map(|column| format!("{KEYS}{column}")).collect();
    let list: Vec<String> = forms
        .iter()
        .zip(&columns)
        .map(|(form, column)| format!("{}rightful_v.{column}{}", form.before, form.after))
        .collect();
    let arrays = Fragment::join((0..forms.len()).map(|column| array(column).then("::text[]")), ", ");
    Fragment::text(&left_side(forms.iter().map(|form| form.left.as_str())))
        .then(&format!(" IN (SELECT {} FROM unnest(", list.join(", ")))
        .and(arrays)
        .then(&format!(") AS rightful_v({}))", columns.join(", ")))
}

/// `own` columns equal those of a row of `source` (a SELECT whose columns are `rightful_k0…`), none of which is
/// NULL or empty.
pub(super) fn equals_source(
    context: Context<'_>,
    own: &[Side<'_>],
    from: &[Side<'_>],
    ignore_case: &[bool],
    source: Fragment,
) -> Fragment {
    let mut index = Vec::new();
    let mut bytes = Vec::new();
    for ((own, from), ignore) in own.iter().zip(from).zip(ignore_case) {
        let (narrow, exact) = live_pairs(context, own, from, *ignore);
        bytes.extend(exact.clone());
        index.extend(narrow.or(exact));
    }
    let filled: Vec<String> = from.iter().filter_map(|side| filled(context.dialect, side)).collect();
    let equal = |pairs: &[(String, String)]| -> Vec<String> {
        pairs.iter().map(|(left, right)| format!("{left} = {right}")).collect()
    };
    if context.check {
        let conditions = [equal(&index), equal(&bytes), filled].concat().join(" AND ");
        return source.within("EXISTS (SELECT 1 FROM (", &format!(") AS {KEYS} WHERE {conditions})"));
    }
    let within = |pairs: &[(String, String)], conditions: Vec<String>, source: Fragment| {
        let left = left_side(pairs.iter().map(|(left, _)| left.as_str()));
        let right: Vec<&str> = pairs.iter().map(|(_, right)| right.as_str()).collect();
        let conditions = if conditions.is_empty() {
            String::new()
        } else {
            format!(" WHERE {}", conditions.join(" AND "))
        };
        source.within(
            &format!("{left} IN (SELECT {} FROM (", right.join(", ")),
            &format!(") AS {KEYS}{conditions})"),
        )
    };
    if context.dialect == Dialect::Sqlite && !bytes.is_empty() {
        // A subquery that names the outer row would be run for each of them.
        let narrow = within(&index, filled.clone(), source.clone());
        return narrow.then(" AND ").and(within(&bytes, filled, source)).parenthesised();
    }
    within(&index, [filled, equal(&bytes)].concat(), source)
}

/// The columns of two tables of the same FROM are equal, and not NULL or empty.
pub(super) fn equals_sides(
    context: Context<'_>,
    own: &[Side<'_>],
    from: &[Side<'_>],
    ignore_case: &[bool],
) -> Fragment {
    let mut conditions: Vec<String> = from.iter().filter_map(|side| filled(context.dialect, side)).collect();
    for ((own, from), ignore) in own.iter().zip(from).zip(ignore_case) {
        let (narrow, exact) = live_pairs(context, own, from, *ignore);
        conditions.extend(narrow.into_iter().chain(exact).map(|(left, right)| format!("{left} = {right}")));
    }
    Fragment::text(&conditions.join(" AND "))
}

/// The condition that a key is not empty text; NULL equals nothing by itself.
fn filled(dialect: Dialect, side: &Side<'_>) -> Option<String> {
    let expr = &side.expr;
    match (dialect, side.column.family) {
        (Dialect::Postgres, Family::Text) if is_citext(&side.column.type_name) => {
            Some(format!("{expr}::text <> ''"))
        }
        (Dialect::Postgres, Family::Text) => Some(format!("{expr} <> ''")),
        (Dialect::Postgres, Family::Binary) => Some(format!("{expr} <> ''::bytea")),
        (Dialect::MySql, family) if mysql_text(family) || family == Family::Binary => {
            Some(format!("OCTET_LENGTH({expr}) > 0"))
        }
        (Dialect::Sqlite, Family::Integer | Family::Number) => None,
        (Dialect::Sqlite, _) => Some(format!("length({expr}) > 0")),
        _ => None,
    }
}

/// For reading key sets: none of the columns is NULL or empty.
pub(super) fn all_filled(dialect: Dialect, sides: &[Side<'_>]) -> Fragment {
    let conditions = sides.iter().map(|side| {
        let present = format!("{} IS NOT NULL", side.expr);
        Fragment::text(
            &filled(dialect, side).map_or(present.clone(), |filled| format!("{present} AND {filled}")),
        )
    });
    Fragment::join(conditions, " AND ")
}

fn left_side<'a>(parts: impl Iterator<Item = &'a str>) -> String {
    let parts: Vec<&str> = parts.collect();
    if let [only] = parts[..] { only.to_owned() } else { format!("({})", parts.join(", ")) }
}
