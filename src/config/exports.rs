//! The section `exports`: where packages lie, and for how long.

use std::{path::Path, time::Duration};

use url::Url;

use super::{
    ExportStore, Exports,
    read::Sections,
    secret::Secret,
    values::{self, Wrong},
};
use crate::domain::document::Fields;

const DAY: Duration = Duration::from_secs(86_400);
/// Where the service does not say otherwise.
const REGION: &str = "us-east-1";

impl Sections<'_> {
    /// `None` where something is wrong; the faults are reported.
    pub(super) fn exports(&mut self, root: &Fields<'_>) -> Option<Exports> {
        let folder = self.sources.folder.to_path_buf();
        let mut expires_after = 7 * DAY;
        let Some(fields) = self.section(root, "exports", &["store", "expires_after", "s3"]) else {
            return Some(Exports { store: ExportStore::Folder(folder.join("exports")), expires_after });
        };
        self.duration(&fields, "expires_after", Duration::from_secs(60)..=DAY * 366, &mut expires_after);
        let store = self.object_store(&fields, "exports", "a place for packages")?;
        Some(Exports { store, expires_after })
    }

    /// `store` of a section, a folder below the configuration's without it, and `s3` beside it.
    pub(super) fn object_store(
        &mut self,
        fields: &Fields<'_>,
        section: &str,
        place: &str,
    ) -> Option<ExportStore> {
        let folder = self.sources.folder.to_path_buf();
        let store = self.value(fields, "store", section, |text| store(text, &folder, place))?;
        self.s3(fields, section, store)
    }

    /// How a bucket is reached.
    fn s3(&mut self, parent: &Fields<'_>, section: &str, store: ExportStore) -> Option<ExportStore> {
        let known = ["region", "endpoint", "access_key_id", "secret_access_key"];
        let Some(fields) = self.section(parent, "s3", &known) else { return Some(store) };
        let ExportStore::Bucket { name, prefix, .. } = store else {
            let remedy = "write store: s3://BUCKET/PREFIX, or leave s3 out";
            let problem = format!("{section}: s3 is set, and store is no bucket");
            self.reader.error(fields.line, problem, remedy);
            return None;
        };
        let region = self.value(&fields, "region", REGION, |text| Ok(text.to_owned()))?;
        let endpoint = self.text(&fields, "endpoint");
        let endpoint =
            endpoint.map(|(line, text)| self.checked(line, "endpoint", values::object_store_url(&text)));
        let id = self.text(&fields, "access_key_id").map(|(_, text)| text);
        let secret = self.text(&fields, "secret_access_key").map(|(_, text)| Secret::new(text));
        if id.is_some() != secret.is_some() {
            let remedy = "give both, or none of them to use the machine's role";
            self.reader.error(fields.line, format!("{section}: s3 has one half of a key"), remedy);
        }
        let endpoint = match endpoint {
            Some(checked) => Some(checked?),
            None => None,
        };
        Some(ExportStore::Bucket { name, prefix, region, endpoint, credentials: id.zip(secret) })
    }
}

/// A folder, or a bucket.
pub(super) fn store(text: &str, folder: &Path, place: &str) -> Result<ExportStore, Wrong> {
    if !text.contains("://") {
        return Ok(ExportStore::Folder(folder.join(text)));
    }
    let remedy = || "write a folder, or s3://BUCKET/PREFIX".to_owned();
    let url = Url::parse(text).map_err(|error| (format!("this is no URL: {error}"), remedy()))?;
    match (url.scheme(), url.host_str()) {
        ("s3", Some(bucket)) if !bucket.is_empty() => Ok(ExportStore::Bucket {
            name: bucket.to_owned(),
            prefix: url.path().trim_matches('/').to_owned(),
            region: REGION.to_owned(),
            endpoint: None,
            credentials: None,
        }),
        _ => Err((format!("`{}` is not {place}", url.scheme()), remedy())),
    }
}
