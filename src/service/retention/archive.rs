//! Rows that leave a database for the object store: one JSON object a line (NDJSON), the checksum beside it, read back
//! before the rows are given up.
//!
//! Each batch has an object of its own. It is there before its rows are deleted, so that a process that is killed in between
//! leaves rows that stand in two objects, never in none.

use aws_lc_rs::digest::{SHA256, digest};
use uuid::Uuid;

use crate::{
    connectors::{Taken, objects::Objects},
    domain::{audit::hex, request::RunCode},
    service::execute::trouble::Interrupt,
};

/// Rows of one object: they are held in memory.
pub const MOST_ROWS: u32 = 500;

/// An object that was written and read back.
pub struct Archived {
    pub object: String,
    pub sha256: String,
}

/// Writes rows of one table, with the checksum that `sha256sum -c` understands.
pub async fn write(
    archives: &Objects,
    folder: &str,
    table: &str,
    id: Uuid,
    taken: &Taken,
) -> Result<Archived, Interrupt> {
    let unavailable = |detail: String| {
        Interrupt::trouble(RunCode::ConnectionUnavailable, format!("retention.archive: {detail}"), None, None)
    };
    let name = format!("{id}.ndjson");
    let object = format!("{folder}/{table}/{name}");
    let bytes = lines(taken).map_err(|error| unavailable(error.to_string()))?;
    let sha256 = hex(digest(&SHA256, &bytes).as_ref());
    archives.put(&object, bytes).await.map_err(|error| unavailable(error.to_string()))?;
    let back = archives.get(&object).await.map_err(|error| unavailable(error.to_string()))?;
    let is_whole = back.is_some_and(|back| hex(digest(&SHA256, &back).as_ref()) == sha256);
    if !is_whole {
        return Err(unavailable(format!("{object} does not read back as it was written; its rows stay")));
    }
    let beside = format!("{sha256}  {name}\n").into_bytes();
    archives
        .put(&format!("{object}.sha256"), beside)
        .await
        .map_err(|error| unavailable(error.to_string()))?;
    Ok(Archived { object, sha256 })
}

fn lines(taken: &Taken) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for row in &taken.rows {
        bytes.push(b'{');
        for (at, (column, value)) in taken.columns.iter().zip(row).enumerate() {
            if at > 0 {
                bytes.push(b',');
            }
            serde_json::to_writer(&mut bytes, column)?;
            bytes.push(b':');
            value.write_json(&mut bytes)?;
        }
        bytes.extend_from_slice(b"}\n");
    }
    Ok(bytes)
}
