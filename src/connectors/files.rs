//! Single files that other programs read meanwhile: they find the old content or the new one, never a part.

use std::{io::ErrorKind, path::Path};

use tokio::io::AsyncWriteExt;

/// `None` where there is no such file.
///
/// # Errors
/// Why it cannot be read.
pub async fn read(path: &Path) -> Result<Option<Vec<u8>>, String> {
    match tokio::fs::read(path).await {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("the file cannot be read: {}", error.kind())),
    }
}

/// Writes a file beside it and has it take its place.
///
/// # Errors
/// Why it cannot be written; it is as it was then.
pub async fn replace(path: &Path, bytes: &[u8]) -> Result<(), String> {
    let wrong = |error: std::io::Error| format!("the file cannot be written: {}", error.kind());
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let mut file = tokio::fs::File::create(&beside).await.map_err(wrong)?;
    file.write_all(bytes).await.map_err(wrong)?;
    file.sync_all().await.map_err(wrong)?;
    tokio::fs::rename(&beside, path).await.map_err(wrong)
}
