//! MySQL's and MariaDB's catalog: the database of the URL, and the tables of other databases whose foreign keys
//! point into it.

use super::{Tables, add_pair, on_delete, rows};
use crate::{
    connectors::{ConnectorError, sql::session::Session},
    domain::schema::{Catalog, Column, Family, ForeignKey, Obstacle, Rights, RowAddress, Table, TableKind},
};

pub(super) const FINGERPRINT: &str = "
SELECT CAST(CONCAT_WS('/',
  (SELECT CONCAT(COUNT(*), ':', COALESCE(SUM(CRC32(CONCAT_WS('|', table_name, column_name, ordinal_position,
     column_type, is_nullable, extra, column_key))), 0)) FROM information_schema.columns WHERE table_schema = DATABASE()),
  (SELECT CONCAT(COUNT(*), ':', COALESCE(SUM(CRC32(CONCAT_WS('|', constraint_schema, table_name, constraint_name,
     referenced_table_name, delete_rule))), 0)) FROM information_schema.referential_constraints
     WHERE constraint_schema = DATABASE() OR unique_constraint_schema = DATABASE()),
  (SELECT CONCAT(COUNT(*), ':', COALESCE(SUM(CRC32(CONCAT_WS('|', table_name, constraint_name, column_name,
     referenced_table_name, referenced_column_name))), 0)) FROM information_schema.key_column_usage
     WHERE table_schema = DATABASE()),
  (SELECT CONCAT(COUNT(*), ':', COALESCE(SUM(CRC32(CONCAT_WS('|', table_name, engine, table_type))), 0))
     FROM information_schema.tables WHERE table_schema = DATABASE()),
  (SELECT CONCAT(COUNT(*), ':', COALESCE(SUM(CRC32(CONCAT_WS('|', table_name, constraint_name))), 0))
     FROM information_schema.table_constraints WHERE constraint_schema = DATABASE() AND constraint_type = 'CHECK'),
  (SELECT COUNT(*) FROM information_schema.triggers WHERE event_object_schema = DATABASE()),
  CURRENT_USER()) AS CHAR) AS fingerprint";

pub(super) async fn read(session: &mut Session) -> Result<Catalog, ConnectorError> {
    let default = rows(session, "SELECT CAST(DATABASE() AS CHAR), CAST(CURRENT_USER() AS CHAR)").await?;
    let (schema, role) =
        default.first().map(|row| (row.text(0).to_owned(), quoted_role(row.text(1)))).unwrap_or_default();
    let schemas = schemas(session, &schema).await?;
    let mut tables = Tables::default();
    relations(session, &schemas, &role, &mut tables).await?;
    columns(session, &schemas, &mut tables).await?;
    json_columns(session, &schemas, &mut tables).await?;
    indexes(session, &schemas, &mut tables).await?;
    foreign_keys(session, &schemas, &mut tables).await?;
    triggers(session, &mut tables).await?;
    let grants = Grants::read(session).await?;
    for table in tables.0.values_mut() {
        table.address = address(table);
        grants.apply(table);
    }
    Ok(tables.into_catalog(schema))
}

/// As GRANT takes it: `'user'@'host'`.
fn quoted_role(role: &str) -> String {
    let (user, host) = role.rsplit_once('@').unwrap_or((role, "%"));
    format!("'{user}'@'{host}'")
}

/// This database and those that hold keys onto it, as a list of literals: in a subquery they would be looked up anew
/// for every row of the information schema.
async fn schemas(session: &mut Session, own: &str) -> Result<String, ConnectorError> {
    let sql =
        "SELECT DISTINCT CAST(constraint_schema AS CHAR) FROM information_schema.referential_constraints
         WHERE unique_constraint_schema = DATABASE() AND constraint_schema <> DATABASE()";
    let others = rows(session, sql).await?;
    let names = std::iter::once(own).chain(others.iter().map(|row| row.text(0)));
    let literals: Vec<String> =
        names.map(|name| format!("'{}'", name.replace('\\', "\\\\").replace('\'', "''"))).collect();
    Ok(format!("({})", literals.join(", ")))
}

async fn relations(
    session: &mut Session,
    schemas: &str,
    role: &str,
    tables: &mut Tables,
) -> Result<(), ConnectorError> {
    let sql = format!(
        "SELECT CAST(t.table_schema AS CHAR), CAST(t.table_name AS CHAR), CAST(t.table_type AS CHAR),
           CAST(t.engine AS CHAR), CAST(t.table_rows AS CHAR), CAST(e.transactions AS CHAR)
         FROM information_schema.tables t LEFT JOIN information_schema.engines e ON e.engine = t.engine
         WHERE t.table_schema IN {schemas}"
    );
    for row in rows(session, &sql).await? {
        let versioned = row.text(2) == "SYSTEM VERSIONED";
        let is_table = versioned || row.text(2) == "BASE TABLE";
        let mut obstacles = Vec::new();
        if versioned {
            obstacles.push(Obstacle::SystemVersioned);
        }
        if is_table && row.text(5) != "YES" {
            obstacles.push(Obstacle::NonTransactional(row.text(3).to_owned()));
        }
        tables.insert(Table {
            schema: row.text(0).to_owned(),
            name: row.text(1).to_owned(),
            kind: if is_table { TableKind::Table } else { TableKind::Other },
            columns: Vec::new(),
            primary_key: Vec::new(),
            unique_keys: Vec::new(),
            indexes: Vec::new(),
            foreign_keys: Vec::new(),
            triggers: Vec::new(),
            estimated_rows: row.number(4).and_then(|count| u64::try_from(count).ok()),
            rights: Rights {
                select: true,
                delete: true,
                update: true,
                update_columns: Vec::new(),
                role: role.to_owned(),
            },
            address: RowAddress::None,
            obstacles,
        });
    }
    Ok(())
}

async fn columns(session: &mut Session, schemas: &str, tables: &mut Tables) -> Result<(), ConnectorError> {
    let sql = format!(
        "SELECT CAST(table_schema AS CHAR), CAST(table_name AS CHAR), CAST(column_name AS CHAR),
           CAST(column_type AS CHAR), CAST(data_type AS CHAR), CAST(is_nullable AS CHAR),
           CAST(character_maximum_length AS CHAR), CAST(extra AS CHAR)
         FROM information_schema.columns WHERE table_schema IN {schemas}
         ORDER BY table_schema, table_name, ordinal_position"
    );
    for row in rows(session, &sql).await? {
        let family = family(row.text(4));
        let extra = row.text(7).to_ascii_uppercase();
        let limited = matches!(row.text(4), "char" | "varchar" | "tinytext" | "text");
        let column = Column {
            name: row.text(2).to_owned(),
            type_name: row.text(3).to_owned(),
            base_type: None,
            family,
            nullable: row.flag(5),
            max_length: row.number(6).filter(|_| limited).and_then(|length| u32::try_from(length).ok()),
            generated: extra.contains("GENERATED") && !extra.contains("DEFAULT_GENERATED")
                || extra.contains("INVISIBLE") && extra.contains("VIRTUAL"),
        };
        if let Some(table) = tables.get(row.text(0), row.text(1)) {
            table.columns.push(column);
        }
    }
    Ok(())
}

fn family(data_type: &str) -> Family {
    match data_type {
        "tinyint" | "smallint" | "mediumint" | "int" | "bigint" | "year" => Family::Integer,
        "decimal" | "float" | "double" => Family::Number,
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" => Family::Text,
        "uuid" => Family::Uuid,
        "date" | "time" | "datetime" | "timestamp" => Family::Time,
        "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => Family::Binary,
        "json" => Family::Json,
        "enum" | "set" => Family::Enum,
        _ => Family::Other,
    }
}

/// MariaDB's JSON is a text with a constraint. MySQL has a type of its own for it, and no table names in that catalog.
async fn json_columns(
    session: &mut Session,
    schemas: &str,
    tables: &mut Tables,
) -> Result<(), ConnectorError> {
    let version = rows(session, "SELECT CAST(VERSION() AS CHAR)").await?;
    if !version.iter().any(|row| row.text(0).contains("MariaDB")) {
        return Ok(());
    }
    let sql = format!(
        "SELECT CAST(constraint_schema AS CHAR), CAST(table_name AS CHAR), CAST(check_clause AS CHAR)
         FROM information_schema.check_constraints WHERE constraint_schema IN {schemas}"
    );
    for row in rows(session, &sql).await? {
        let quoted = row.text(2).strip_prefix("json_valid(`").and_then(|rest| rest.strip_suffix("`)"));
        let Some(name) = quoted.map(|name| name.replace("``", "`")) else { continue };
        let Some(table) = tables.get(row.text(0), row.text(1)) else { continue };
        let texts = table.columns.iter_mut().filter(|column| column.family == Family::Text);
        for column in texts.filter(|column| column.name == name) {
            column.family = Family::Json;
        }
    }
    Ok(())
}

async fn indexes(session: &mut Session, schemas: &str, tables: &mut Tables) -> Result<(), ConnectorError> {
    // A prefix of a column tells less than the column: such an index serves lookups and is unique for nothing.
    let sql = format!(
        "SELECT CAST(table_schema AS CHAR), CAST(table_name AS CHAR), CAST(index_name AS CHAR),
           CAST(MAX(non_unique) AS CHAR), CAST(SUM(sub_part IS NOT NULL OR column_name IS NULL) AS CHAR),
           CAST(GROUP_CONCAT(column_name ORDER BY seq_in_index SEPARATOR 0x1f) AS CHAR), CAST(MAX(index_type) AS CHAR)
         FROM information_schema.statistics WHERE table_schema IN {schemas}
         GROUP BY table_schema, table_name, index_name"
    );
    for row in rows(session, &sql).await? {
        let columns = row.list(5);
        let Some(table) = tables.get(row.text(0), row.text(1)) else { continue };
        if row.text(6) != "BTREE" || columns.is_empty() {
            continue;
        }
        let whole = row.text(4) == "0";
        if row.text(2) == "PRIMARY" {
            table.primary_key = columns.clone();
        }
        if whole && row.text(3) == "0" {
            table.unique_keys.push(columns.clone());
        }
        if whole {
            table.indexes.push(columns);
        }
    }
    Ok(())
}

async fn foreign_keys(
    session: &mut Session,
    schemas: &str,
    tables: &mut Tables,
) -> Result<(), ConnectorError> {
    let sql = format!(
        "SELECT CAST(k.table_schema AS CHAR), CAST(k.table_name AS CHAR), CAST(k.constraint_name AS CHAR),
           CAST(k.referenced_table_schema AS CHAR), CAST(k.referenced_table_name AS CHAR), CAST(r.delete_rule AS CHAR),
           CAST(k.column_name AS CHAR), CAST(k.referenced_column_name AS CHAR)
         FROM information_schema.key_column_usage k JOIN information_schema.referential_constraints r
           ON r.constraint_schema = k.constraint_schema AND r.constraint_name = k.constraint_name
              AND r.table_name = k.table_name
         WHERE k.referenced_table_name IS NOT NULL AND k.table_schema IN {schemas}
         ORDER BY k.table_schema, k.table_name, k.constraint_name, k.ordinal_position"
    );
    for row in rows(session, &sql).await? {
        let key = ForeignKey {
            name: row.text(2).to_owned(),
            columns: vec![row.text(6).to_owned()],
            parent_schema: row.text(3).to_owned(),
            parent_table: row.text(4).to_owned(),
            parent_columns: vec![row.text(7).to_owned()],
            on_delete: on_delete(row.text(5)),
        };
        if let Some(table) = tables.get(row.text(0), row.text(1)) {
            add_pair(&mut table.foreign_keys, key);
        }
    }
    Ok(())
}

async fn triggers(session: &mut Session, tables: &mut Tables) -> Result<(), ConnectorError> {
    let sql = "SELECT CAST(event_object_schema AS CHAR), CAST(event_object_table AS CHAR), CAST(trigger_name AS CHAR)
         FROM information_schema.triggers WHERE event_object_schema = DATABASE()
           AND event_manipulation IN ('DELETE', 'UPDATE') ORDER BY trigger_name";
    for row in rows(session, sql).await? {
        if let Some(table) = tables.get(row.text(0), row.text(1)) {
            table.triggers.push(row.text(2).to_owned());
        }
    }
    Ok(())
}

/// The primary key, or a unique key without NULLs.
fn address(table: &Table) -> RowAddress {
    let not_null =
        |key: &&Vec<String>| key.iter().all(|name| table.column(name).is_some_and(|column| !column.nullable));
    if !table.primary_key.is_empty() {
        return RowAddress::Key(table.primary_key.clone());
    }
    table.unique_keys.iter().find(not_null).map_or(RowAddress::None, |key| RowAddress::Key(key.clone()))
}

/// What SHOW GRANTS says. Roles count as granted, since what they grant is not listed: nothing is refused wrongly.
struct Grants {
    lines: Vec<String>,
    decidable: bool,
}

impl Grants {
    async fn read(session: &mut Session) -> Result<Self, ConnectorError> {
        let lines: Vec<String> =
            rows(session, "SHOW GRANTS").await?.iter().map(|row| row.text(0).to_owned()).collect();
        let decidable = lines.iter().all(|line| line.contains(" ON "));
        Ok(Self { lines, decidable })
    }

    fn apply(&self, table: &mut Table) {
        if !self.decidable {
            return;
        }
        // Rights to some columns are enough where those are the ones that are read.
        table.rights.select =
            self.has("SELECT", table) || self.on(table).any(|rights| rights.contains("SELECT ("));
        table.rights.delete = self.has("DELETE", table);
        table.rights.update = self.has("UPDATE", table);
        table.rights.update_columns = self.update_columns(table);
    }

    fn on<'a>(&'a self, table: &'a Table) -> impl Iterator<Item = &'a str> {
        let exact = format!("`{}`.`{}`", table.schema, table.name);
        self.lines.iter().filter_map(move |line| {
            let (rights, rest) = line.strip_prefix("GRANT ")?.split_once(" ON ")?;
            let place = rest.split(" TO ").next()?.trim_start_matches("TABLE ");
            let whole = place.strip_suffix(".*").map(|schema| schema.trim_matches('`'));
            let reaches = whole.map_or(place == exact, |schema| schema == "*" || like(schema, &table.schema));
            reaches.then_some(rights)
        })
    }

    fn has(&self, right: &str, table: &Table) -> bool {
        self.on(table).any(|rights| {
            rights.contains("ALL PRIVILEGES") || rights.split(", ").any(|granted| granted == right)
        })
    }

    fn update_columns(&self, table: &Table) -> Vec<String> {
        self.on(table)
            .filter_map(|rights| rights.split_once("UPDATE (")?.1.split_once(')'))
            .flat_map(|(columns, _)| columns.split(", ").map(|name| name.trim_matches('`').to_owned()))
            .collect()
    }
}

/// True when a name is of that pattern, as GRANT takes it for databases: `_` is any letter, `%` any text, and a
/// backslash takes both back.
fn like(pattern: &str, name: &str) -> bool {
    let mut rest = pattern.chars();
    match rest.next() {
        None => name.is_empty(),
        Some('%') => (0..=name.len())
            .filter(|end| name.is_char_boundary(*end))
            .any(|start| like(rest.as_str(), &name[start..])),
        Some(letter) => {
            let any = letter == '_';
            let wanted = if letter == '\\' { rest.next().unwrap_or(letter) } else { letter };
            let mut name = name.chars();
            name.next().is_some_and(|found| any || found == wanted) && like(rest.as_str(), name.as_str())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::like;

    #[test]
    fn patterns_of_grants() {
        for (pattern, name, reaches) in [
            ("shop", "shop", true),
            ("shop", "shops", false),
            ("shop_b", "shop_b", true),
            ("shop_b", "shopxb", true),
            ("shop\\_b", "shop_b", true),
            ("shop\\_b", "shopxb", false),
            ("sh%", "shop", true),
            ("%", "", true),
            ("%p", "shops", false),
        ] {
            assert_eq!(like(pattern, name), reaches, "{pattern} {name}");
        }
    }
}
