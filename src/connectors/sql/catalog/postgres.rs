//! PostgreSQL's catalog: all schemas of the database but the system's.

use super::{Row, Tables, add_pair, on_delete, rows};
use crate::{
    connectors::{ConnectorError, sql::session::Session},
    domain::schema::{Catalog, Column, Family, ForeignKey, Obstacle, Rights, RowAddress, Table, TableKind},
};

/// Everything below reads user objects only.
const USER: &str = "n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\\_toast%' \
                    AND n.nspname NOT LIKE 'pg\\_temp%'";

/// Over the rows' own versions: cheap, and any change of a definition writes a new version.
pub(super) const FINGERPRINT: &str = "
SELECT concat(md5(string_agg(part, ';' ORDER BY part)), current_user) FROM (
  SELECT concat('r', c.oid, ':', c.xmin, c.relkind, c.relrowsecurity, c.relacl::text) AS part
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
      AND n.nspname NOT LIKE 'pg\\_toast%'
  UNION ALL
  SELECT concat('a', a.attrelid, ':', sum(hashtext(concat(a.attnum, ':', a.xmin, a.attisdropped))))
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE a.attnum > 0 AND c.relkind IN ('r', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
      AND n.nspname NOT LIKE 'pg\\_toast%' GROUP BY a.attrelid
  UNION ALL
  SELECT concat('c', k.oid, ':', k.xmin) FROM pg_constraint k WHERE k.conrelid <> 0
  UNION ALL
  SELECT concat('i', i.indexrelid, ':', i.xmin) FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\\_toast%'
  UNION ALL
  SELECT concat('t', t.oid, ':', t.xmin) FROM pg_trigger t WHERE NOT t.tgisinternal
  UNION ALL
  SELECT concat('h', h.inhrelid, ':', h.inhparent) FROM pg_inherits h
) parts";

pub(super) async fn read(session: &mut Session) -> Result<Catalog, ConnectorError> {
    let default =
        rows(session, "SELECT coalesce(current_schema(), 'public')::text, current_user::text").await?;
    let (schema, role) =
        default.first().map(|row| (row.text(0).to_owned(), row.text(1).to_owned())).unwrap_or_default();
    let mut tables = Tables::default();
    relations(session, &role, &mut tables).await?;
    columns(session, &mut tables).await?;
    indexes(session, &mut tables).await?;
    foreign_keys(session, &mut tables).await?;
    triggers(session, &mut tables).await?;
    Ok(tables.into_catalog(schema))
}

async fn relations(session: &mut Session, role: &str, tables: &mut Tables) -> Result<(), ConnectorError> {
    let sql = format!(
        "SELECT n.nspname::text, c.relname::text, c.relkind::text,
           EXISTS (SELECT 1 FROM pg_inherits h WHERE h.inhparent = c.oid)::text,
           EXISTS (SELECT 1 FROM pg_inherits h WHERE h.inhrelid = c.oid)::text,
           (CASE WHEN c.relkind = 'p' THEN NULLIF((SELECT sum(greatest(p.reltuples, 0)) FROM pg_partition_tree(c.oid) t
              JOIN pg_class p ON p.oid = t.relid WHERE t.isleaf), 0)
            ELSE NULLIF(greatest(c.reltuples, 0), 0) END)::bigint::text,
           (has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT'))::text,
           has_table_privilege(c.oid, 'DELETE')::text, has_table_privilege(c.oid, 'UPDATE')::text,
           (SELECT string_agg(a.attname, E'\\x1f') FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0
              AND NOT a.attisdropped AND has_column_privilege(c.oid, a.attnum, 'UPDATE'))::text,
           (c.relrowsecurity AND NOT (r.rolsuper OR r.rolbypassrls)
              AND (c.relforcerowsecurity OR NOT pg_has_role(c.relowner, 'USAGE')))::text
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
           JOIN pg_roles r ON r.rolname = current_user
         WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND {USER}"
    );
    for row in rows(session, &sql).await? {
        let kind = match (row.text(2), row.flag(3), row.flag(4)) {
            ("r" | "p", _, true) => TableKind::Partition,
            ("p", ..) | ("r", true, _) => TableKind::Partitioned,
            ("r", ..) => TableKind::Table,
            _ => TableKind::Other,
        };
        tables.insert(Table {
            schema: row.text(0).to_owned(),
            name: row.text(1).to_owned(),
            kind,
            columns: Vec::new(),
            primary_key: Vec::new(),
            unique_keys: Vec::new(),
            indexes: Vec::new(),
            foreign_keys: Vec::new(),
            triggers: Vec::new(),
            estimated_rows: row.number(5).and_then(|count| u64::try_from(count).ok()),
            rights: Rights {
                select: row.flag(6),
                delete: row.flag(7),
                update: row.flag(8),
                update_columns: row.list(9),
                role: role.to_owned(),
            },
            address: RowAddress::Ctid,
            obstacles: if row.flag(10) { vec![Obstacle::RowSecurity] } else { Vec::new() },
        });
    }
    Ok(())
}

async fn columns(session: &mut Session, tables: &mut Tables) -> Result<(), ConnectorError> {
    // A domain counts as what it is a domain of; three levels are more than anybody nests.
    let sql = format!(
        "SELECT n.nspname::text, c.relname::text, a.attname::text, format_type(a.atttypid, a.atttypmod)::text,
           (NOT (a.attnotnull OR t.typnotnull OR coalesce(t2.typnotnull OR t3.typnotnull, t2.typnotnull, false)))::text,
           (a.attgenerated <> '' OR a.attidentity = 'a')::text,
           b.typname::text, b.typcategory::text, b.typtype::text,
           (CASE WHEN b.typname IN ('varchar', 'bpchar') AND m.mod > 4 THEN m.mod - 4 END)::text,
           (CASE WHEN e.typtype = 'd' THEN format_type(e.typbasetype, e.typtypmod) || '[]'
                 WHEN t.typtype = 'd' THEN format_type(b.oid, m.mod) END)::text
         FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
           JOIN pg_type t ON t.oid = a.atttypid
           LEFT JOIN pg_type t2 ON t.typtype = 'd' AND t2.oid = t.typbasetype
           LEFT JOIN pg_type t3 ON t2.typtype = 'd' AND t3.oid = t2.typbasetype
           JOIN pg_type b ON b.oid = coalesce(t3.oid, t2.oid, t.oid)
           LEFT JOIN pg_type e ON b.typcategory = 'A' AND e.oid = b.typelem
           CROSS JOIN LATERAL (SELECT CASE WHEN t.typtype = 'd' THEN greatest(t.typtypmod, t2.typtypmod) ELSE a.atttypmod END AS mod) m
         WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND {USER}
         ORDER BY a.attrelid, a.attnum"
    );
    for row in rows(session, &sql).await? {
        let column = Column {
            name: row.text(2).to_owned(),
            type_name: row.text(3).to_owned(),
            base_type: Some(row.text(10).to_owned()).filter(|name| !name.is_empty()),
            family: family(row.text(6), row.text(7), row.text(8)),
            nullable: row.flag(4),
            max_length: row.number(9).and_then(|length| u32::try_from(length).ok()),
            generated: row.flag(5),
        };
        if let Some(table) = tables.get(row.text(0), row.text(1)) {
            table.columns.push(column);
        }
    }
    Ok(())
}

fn family(name: &str, category: &str, kind: &str) -> Family {
    match (name, category, kind) {
        ("int2" | "int4" | "int8" | "oid", ..) => Family::Integer,
        ("text" | "varchar" | "bpchar" | "name" | "citext", ..) => Family::Text,
        ("uuid", ..) => Family::Uuid,
        ("bytea", ..) => Family::Binary,
        ("json" | "jsonb", ..) => Family::Json,
        ("bool", ..) => Family::Boolean,
        (_, "A", _) => Family::Array,
        (_, _, "e") => Family::Enum,
        (_, "N", _) => Family::Number,
        (_, "D" | "T", _) => Family::Time,
        _ => Family::Other,
    }
}

async fn indexes(session: &mut Session, tables: &mut Tables) -> Result<(), ConnectorError> {
    // The leading columns up to the first expression; INCLUDE columns are no key columns.
    let sql = format!(
        "SELECT n.nspname::text, c.relname::text, i.indisprimary::text,
           (i.indisunique AND i.indimmediate AND NOT 0 = ANY (i.indkey[0:i.indnkeyatts - 1]::int2[]))::text,
           (SELECT string_agg(a.attname, E'\\x1f' ORDER BY k.place)
              FROM unnest(i.indkey[0:i.indnkeyatts - 1]::int2[]) WITH ORDINALITY k (number, place)
              JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number
              WHERE NOT EXISTS (SELECT 1 FROM unnest(i.indkey::int2[]) WITH ORDINALITY e (number, place)
                                WHERE e.number = 0 AND e.place < k.place))::text
         FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE i.indisvalid AND i.indpred IS NULL AND {USER} ORDER BY i.indexrelid"
    );
    for row in rows(session, &sql).await? {
        let columns = row.list(4);
        let Some(table) = tables.get(row.text(0), row.text(1)) else { continue };
        if columns.is_empty() {
            continue;
        }
        if row.flag(2) {
            table.primary_key = columns.clone();
        }
        if row.flag(3) {
            table.unique_keys.push(columns.clone());
        }
        table.indexes.push(columns);
    }
    Ok(())
}

async fn foreign_keys(session: &mut Session, tables: &mut Tables) -> Result<(), ConnectorError> {
    // The key of a partition that its parent has too is left out.
    let sql = format!(
        "SELECT n.nspname::text, c.relname::text, k.conname::text, pn.nspname::text, p.relname::text,
           k.confdeltype::text, a.attname::text, pa.attname::text
         FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
           JOIN pg_class p ON p.oid = k.confrelid JOIN pg_namespace pn ON pn.oid = p.relnamespace
           CROSS JOIN LATERAL unnest(k.conkey, k.confkey) WITH ORDINALITY u (child, parent, place)
           JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.child
           JOIN pg_attribute pa ON pa.attrelid = k.confrelid AND pa.attnum = u.parent
         WHERE k.contype = 'f' AND k.conparentid = 0 AND {USER} ORDER BY k.oid, u.place"
    );
    for row in rows(session, &sql).await? {
        let key = foreign_key(&row);
        if let Some(table) = tables.get(row.text(0), row.text(1)) {
            add_pair(&mut table.foreign_keys, key);
        }
    }
    Ok(())
}

fn foreign_key(row: &Row) -> ForeignKey {
    ForeignKey {
        name: row.text(2).to_owned(),
        columns: vec![row.text(6).to_owned()],
        parent_schema: row.text(3).to_owned(),
        parent_table: row.text(4).to_owned(),
        parent_columns: vec![row.text(7).to_owned()],
        on_delete: on_delete(row.text(5)),
    }
}

async fn triggers(session: &mut Session, tables: &mut Tables) -> Result<(), ConnectorError> {
    // tgtype: 8 is DELETE, 16 is UPDATE.
    let sql = format!(
        "SELECT n.nspname::text, c.relname::text, t.tgname::text
         FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE NOT t.tgisinternal AND t.tgenabled <> 'D' AND (t.tgtype & 24) <> 0 AND {USER} ORDER BY t.tgname"
    );
    for row in rows(session, &sql).await? {
        if let Some(table) = tables.get(row.text(0), row.text(1)) {
            table.triggers.push(row.text(2).to_owned());
        }
    }
    Ok(())
}
