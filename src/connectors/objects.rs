//! Where packages lie, and backups: a folder, or a bucket that speaks S3. Packages are sealed before they are put there.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use object_store::{
    Error, ObjectStore, ObjectStoreExt, PutPayload, aws::AmazonS3Builder, local::LocalFileSystem,
    path::Path as Place,
};

use super::{ConnectorError, ErrorKind};

/// A bucket and how it is reached.
#[derive(Clone)]
pub struct Bucket {
    pub name: String,
    /// In front of every object's name; may be empty.
    pub prefix: String,
    pub region: String,
    /// Of a service other than Amazon's.
    pub endpoint: Option<String>,
    /// Key id and secret; without them those of the machine's role are used.
    pub credentials: Option<(String, String)>,
}

/// Named objects; clones share their connections.
#[derive(Clone)]
pub struct Objects {
    store: Arc<dyn ObjectStore>,
    home: Home,
}

/// Where they lie.
#[derive(Clone)]
enum Home {
    Folder(PathBuf),
    /// Below a prefix, which may be empty.
    Bucket(String),
}

/// An object as a listing shows it.
#[derive(Debug, Clone)]
pub struct Listed {
    place: Place,
    pub modified: DateTime<Utc>,
    /// Bytes.
    pub size: u64,
}

impl Listed {
    /// Its name without the folders before it.
    #[must_use]
    pub fn name(&self) -> &str {
        self.place.filename().unwrap_or_default()
    }
}

impl Objects {
    /// A folder that somebody else fills.
    ///
    /// # Errors
    /// When there is none.
    pub fn foreign_folder(path: &Path) -> Result<Self, ConnectorError> {
        let store = LocalFileSystem::new_with_prefix(path).map_err(|error| unreachable(&error))?;
        Ok(Self { store: Arc::new(store), home: Home::Folder(path.to_owned()) })
    }

    /// A folder, which is made if it is missing, for its owner's eyes only.
    ///
    /// # Errors
    /// When there is none and it cannot be made.
    pub fn folder(path: &Path) -> Result<Self, String> {
        let wrong = |error: String| format!("the folder {}: {error}", path.display());
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(path).map_err(|error| wrong(error.kind().to_string()))?;
        let store = LocalFileSystem::new_with_prefix(path).map_err(|error| wrong(error.to_string()))?;
        Ok(Self {
            store: Arc::new(store.with_automatic_cleanup(true).with_fsync(true)),
            home: Home::Folder(path.to_owned()),
        })
    }

    /// A bucket; nothing is asked of it yet.
    ///
    /// # Errors
    /// When the settings do not fit each other.
    pub fn bucket(bucket: Bucket) -> Result<Self, String> {
        let mut builder = AmazonS3Builder::new().with_bucket_name(&bucket.name).with_region(&bucket.region);
        if let Some(endpoint) = bucket.endpoint {
            builder = builder.with_allow_http(endpoint.starts_with("http://")).with_endpoint(endpoint);
        }
        if let Some((id, secret)) = bucket.credentials {
            builder = builder.with_access_key_id(id).with_secret_access_key(secret);
        }
        let store = builder.build().map_err(|_| "the bucket's settings do not fit each other".to_owned())?;
        Ok(Self { store: Arc::new(store), home: Home::Bucket(bucket.prefix) })
    }

    fn place(&self, name: &str) -> Place {
        match &self.home {
            Home::Folder(_) => Place::from(name),
            Home::Bucket(prefix) => Place::from(format!("{prefix}/{name}")),
        }
    }

    /// # Errors
    /// `Unavailable` when it cannot be written.
    pub async fn put(&self, name: &str, bytes: Vec<u8>) -> Result<(), ConnectorError> {
        self.store
            .put(&self.place(name), PutPayload::from(bytes))
            .await
            .map(drop)
            .map_err(|error| fault(&error))
    }

    /// `None` where there is no such object.
    ///
    /// # Errors
    /// `Unavailable` when it cannot be read.
    pub async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, ConnectorError> {
        let read = async { self.store.get(&self.place(name)).await?.bytes().await };
        match read.await {
            Ok(bytes) => Ok(Some(bytes.into())),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(fault(&error)),
        }
    }

    /// The newest of the objects whose name begins with `prefix`, in folders below it too, and does not end with `ending`.
    ///
    /// # Errors
    /// `Unavailable` when not all of them could be listed.
    pub async fn newest(&self, prefix: &str, ending: &str) -> Result<Option<Listed>, ConnectorError> {
        let prefix = match &self.home {
            Home::Folder(_) => prefix.to_owned(),
            Home::Bucket(home) if home.is_empty() => prefix.to_owned(),
            Home::Bucket(home) => format!("{home}/{prefix}"),
        };
        // A listing knows whole folders only.
        let folder = prefix.rsplit_once('/').map(|(folder, _)| Place::from(folder));
        let mut all = self.store.list(folder.as_ref());
        let mut newest: Option<Listed> = None;
        while let Some(object) = all.try_next().await.map_err(|error| unreachable(&error))? {
            let name = object.location.as_ref();
            if !name.starts_with(&prefix) || name.ends_with(ending) {
                continue;
            }
            let later =
                |newest: &Listed| (object.last_modified, name) > (newest.modified, newest.place.as_ref());
            if newest.as_ref().is_none_or(later) {
                newest = Some(Listed {
                    modified: object.last_modified,
                    size: object.size,
                    place: object.location,
                });
            }
        }
        Ok(newest)
    }

    /// The bytes of an object of [`newest`](Self::newest), or with an `ending` those of its neighbour of that name;
    /// `None` where there is no such object (any more).
    ///
    /// # Errors
    /// `Unavailable` when it cannot be read.
    pub async fn read(
        &self,
        listed: &Listed,
        ending: &str,
    ) -> Result<Option<BoxStream<'static, io::Result<Vec<u8>>>>, ConnectorError> {
        let place = match ending {
            "" => listed.place.clone(),
            // As it is listed: a name is not encoded twice.
            _ => Place::parse(format!("{}{ending}", listed.place)).map_err(|error| unreachable(&error))?,
        };
        match self.store.get(&place).await {
            Ok(found) => {
                let bytes = found.into_stream().map_ok(Vec::from).map_err(io::Error::other);
                Ok(Some(bytes.boxed()))
            }
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(unreachable(&error)),
        }
    }

    /// The next parts of the names that begin with `parent/`; of all names, where that is empty.
    ///
    /// # Errors
    /// `Unavailable` when it cannot be asked.
    pub async fn folders(&self, parent: &str) -> Result<Vec<String>, ConnectorError> {
        let place = self.place(parent);
        let listed = self.store.list_with_delimiter(Some(&place)).await.map_err(|error| fault(&error))?;
        let name = |place: Place| place.filename().map(str::to_owned);
        Ok(listed.common_prefixes.into_iter().filter_map(name).collect())
    }

    /// Removes everything whose name begins with `folder/`.
    ///
    /// # Errors
    /// `Unavailable` when something may be left.
    pub async fn remove_all(&self, folder: &str) -> Result<(), ConnectorError> {
        if let Home::Folder(root) = self.home.clone() {
            let path = root.join(folder);
            return match tokio::task::spawn_blocking(move || remove_folder(&root, &path)).await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => Err(fault(&error)),
                Err(error) => Err(fault(&error)),
            };
        }
        let place = self.place(folder);
        let found = self.store.list(Some(&place)).map_ok(|object| object.location).boxed();
        let removed = self.store.delete_stream(found).try_for_each(|_| std::future::ready(Ok(()))).await;
        match removed {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(fault(&error)),
        }
    }
}

/// A folder with all that lies in it, and those above it that are empty then. Objects alone would not be all: who is
/// killed while writing one leaves a folder without any, or a file that is not one yet.
fn remove_folder(root: &Path, path: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    for above in path.ancestors().skip(1).take_while(|above| *above != root) {
        if std::fs::remove_dir(above).is_err() {
            break;
        }
    }
    Ok(())
}

/// Its own words may hold the names of objects, and are left to the log.
fn fault(error: &(dyn std::error::Error + 'static)) -> ConnectorError {
    tracing::warn!(%error, "the store of packages");
    let detail = match is_full(error) {
        true => "the disk of the packages is full: make room in `exports.store`",
        false => "the store of packages cannot be read or written: see `exports.store`",
    };
    ConnectorError { kind: ErrorKind::Unavailable, detail: detail.to_owned() }
}

/// No room on the disk, or no more of it for this user.
fn is_full(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source())
        .filter_map(|error| error.downcast_ref::<io::Error>())
        .any(|error| {
            matches!(
                error.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
            )
        })
}

fn unreachable(error: &dyn std::error::Error) -> ConnectorError {
    tracing::warn!(%error, "a store of backups");
    ConnectorError {
        kind: ErrorKind::Unavailable,
        detail: "the store of backups cannot be read: see `store` and `s3`; the log says more".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn objects_come_back_and_go() {
        let folder = tempfile::tempdir().unwrap();
        let objects = Objects::folder(&folder.path().join("exports")).unwrap();
        objects.put("a/1/000000", vec![1, 2]).await.unwrap();
        objects.put("a/2/000000", vec![3]).await.unwrap();
        objects.put("ab/1/000000", vec![4]).await.unwrap();
        assert_eq!(objects.get("a/1/000000").await.unwrap(), Some(vec![1, 2]));
        assert_eq!(objects.get("a/1/000001").await.unwrap(), None);
        let mut folders = objects.folders("").await.unwrap();
        folders.sort();
        assert_eq!(folders, ["a", "ab"]);
        assert_eq!(objects.folders("ab").await.unwrap(), ["1"]);
        objects.remove_all("a").await.unwrap();
        objects.remove_all("nothing").await.unwrap();
        assert_eq!(objects.get("a/2/000000").await.unwrap(), None);
        assert_eq!(objects.folders("").await.unwrap(), ["ab"]);
    }

    #[tokio::test]
    async fn what_a_killed_writer_left_goes_too() {
        let folder = tempfile::tempdir().unwrap();
        let objects = Objects::folder(folder.path()).unwrap();
        objects.put("a/2/000000", vec![1]).await.unwrap();
        std::fs::create_dir(folder.path().join("a/1")).unwrap();
        std::fs::write(folder.path().join("a/1/000000#1"), [2]).unwrap();
        std::fs::create_dir_all(folder.path().join("b/1")).unwrap();
        objects.remove_all("a/1").await.unwrap();
        objects.remove_all("b/1").await.unwrap();
        assert_eq!(objects.folders("a").await.unwrap(), ["2"]);
        assert_eq!(objects.folders("").await.unwrap(), ["a"]);
    }
}
