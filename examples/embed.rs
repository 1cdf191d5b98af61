//! The whole service in a program that has something of its own to erase: uploaded files. A plan names the step beside
//! its tables; an erasure runs it before the person's row goes. `cargo run --example embed`

use std::{error::Error, fs, io::ErrorKind, path::Path, path::PathBuf};

use diesel::{Connection, SqliteConnection, connection::SimpleConnection};
use rightful::{
    Embedded, ErasureStep, StepContext, StepError, async_trait,
    domain::request::{Kind, Subject},
    service::{
        intake::{Submission, Submitted, submit},
        readings::{Reader, Reading, read},
    },
};

/// One folder per person, named by the id of their row.
struct Uploads(PathBuf);

impl Uploads {
    /// The id comes from an integer column, so that it cannot lead out of this folder.
    fn of(&self, context: &StepContext) -> Option<PathBuf> {
        Some(self.0.join(context.identities.get("user_id")?))
    }
}

#[async_trait]
impl ErasureStep for Uploads {
    fn name(&self) -> &'static str {
        "uploads"
    }

    async fn run(&self, context: &StepContext) -> Result<u64, StepError> {
        // Without a row there is no id, and without an id no folder.
        let Some(folder) = self.of(context) else { return Ok(0) };
        let files = match fs::read_dir(&folder) {
            Ok(files) => files.count() as u64,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
            Err(_) => return Err(StepError::wait("the uploads cannot be read")),
        };
        fs::remove_dir_all(&folder).map_err(|_| StepError::retry("an upload could not be removed"))?;
        Ok(files)
    }

    async fn remaining(&self, context: &StepContext) -> Result<Option<u64>, StepError> {
        Ok(Some(self.of(context).is_some_and(|folder| folder.exists()).into()))
    }
}

const PLAN: &str = "
plan: customer
subject: { user_id: shop.users.id, email: shop.users.email }
connections: { shop: { users: { erase: delete } } }
code: [ { name: uploads } ]
";

const CONFIG: &str = "
listen: 127.0.0.1:0
auth: { issuer: example, audience: rightful, keys: { hmac_secret: '${file:key}' } }
secrets: { pseudonym_key: '${file:key}' }
connections: { shop: { url: 'sqlite:shop.db' } }
";

/// A shop with one customer who has uploaded two files; and the configuration of the service.
fn prepare(folder: &Path) -> Result<(), Box<dyn Error>> {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let mut key = [0; 32];
    aws_lc_rs::rand::fill(&mut key)?;
    fs::write(folder.join("key"), STANDARD.encode(key))?;
    fs::write(folder.join("rightful.yaml"), CONFIG)?;
    fs::create_dir_all(folder.join("plans"))?;
    fs::write(folder.join("plans/customer.yaml"), PLAN)?;
    fs::create_dir_all(folder.join("uploads/42"))?;
    fs::write(folder.join("uploads/42/passport.jpg"), "…")?;
    fs::write(folder.join("uploads/42/letter.pdf"), "…")?;
    let file = folder.join("shop.db").display().to_string();
    SqliteConnection::establish(&file)?.batch_execute(
        "CREATE TABLE users (id INTEGER PRIMARY KEY, email TEXT NOT NULL UNIQUE);
         INSERT INTO users VALUES (42, 'jane@example.com')",
    )?;
    Ok(())
}

/// Starts the service, submits an erasure and waits for its end.
pub async fn erase_jane(folder: &Path) -> Result<Reading, Box<dyn Error>> {
    prepare(folder)?;
    let started = Embedded::configured(&folder.join("rightful.yaml"))?
        .with_step(Uploads(folder.join("uploads")))
        .start()
        .await?;
    let service = started.service();

    // As `POST /v1/requests` at `started.address()` does it.
    let staff = Reader { sub: "alice".to_owned(), every_request: true, identities: true, own: false };
    let submission = Submission {
        kind: Kind::Erasure,
        plan: "customer".to_owned(),
        subject: Subject([("email".to_owned(), "jane@example.com".into())].into()),
        external_id: Some("ZD-1234".to_owned()),
        reason: None,
        submitted_at: None,
        identity_check: None,
        export: None,
        changes: None,
        idempotency: None,
    };
    let (Submitted::New(submitted) | Submitted::Again(submitted)) =
        submit(service, &staff, submission).await?;
    let id = submitted.request.id;
    let mut watch = service.watchers.watch(id);
    let ended = loop {
        let reading = read(service, &staff, id).await?;
        if reading.request.status().is_end() {
            break reading;
        }
        watch.next_change().await;
    };
    started.stop().await?;
    Ok(ended)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let request = erase_jane(folder.path()).await?.request;
    println!("{}: {}", request.id, request.status().as_str());
    for step in request.steps_in_order() {
        println!("  {:<12} {:<8} {:>3} rows", step.name, step.action, step.rows_affected);
    }
    Ok(())
}
