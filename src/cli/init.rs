//! `rightful init`: a configuration to start from, with development keys of its own. It never overwrites a file.

use std::{
    fs::{self, OpenOptions},
    io::{self, ErrorKind, Write},
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use clap::Args;
use url::Url;

use super::{Failure, Outcome, print};

/// Writes rightful.yaml, development keys, plans/ and .gitignore, and says what to do next.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  rightful init --connection shop=postgres://app@localhost/shop")]
pub(super) struct Init {
    /// A database that holds personal data; may be repeated. A URL with a password goes to a file of mode 0600.
    #[arg(long = "connection", value_name = "NAME=URL", value_parser = parse_connection)]
    connections: Vec<Connection>,
}

#[derive(Clone)]
struct Connection {
    name: String,
    url: String,
}

/// The URL may hold a password.
impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}=[redacted]", self.name)
    }
}

impl Init {
    pub fn run(&self, config: &Path) -> Outcome {
        for (at, connection) in self.connections.iter().enumerate() {
            if self.connections[..at].iter().any(|earlier| earlier.name == connection.name) {
                return Err(Failure::new(format!("the connection `{}` is given twice", connection.name)));
            }
        }
        let plans = self.write(config)?;
        print(&self.what_next(config, &plans))
    }

    /// Writes all files, or none where one exists; the folder of plans.
    fn write(&self, config: &Path) -> Result<PathBuf, Failure> {
        let folder = config.parent().unwrap_or(Path::new("")).to_path_buf();
        let files = self.files(config, &folder)?;
        if let Some(existing) = files.iter().map(|file| &file.path).find(|path| path.exists()) {
            return Err(Failure::new(format!("{} exists already; nothing was written", existing.display())));
        }
        for file in &files {
            file.write().map_err(|error| cannot_write(&file.path, &error))?;
        }
        let plans = folder.join("plans");
        fs::create_dir_all(&plans).map_err(|error| cannot_write(&plans, &error))?;
        ignore_secrets(&folder)?;
        Ok(plans)
    }

    fn files(&self, config: &Path, folder: &Path) -> Result<Vec<NewFile>, Failure> {
        let secrets = folder.join("secrets");
        let mut files = vec![
            NewFile { path: config.to_path_buf(), text: self.configuration(), secret: false },
            NewFile { path: secrets.join("jwt_secret"), text: random_key()?, secret: true },
            NewFile { path: secrets.join("pseudonym_key"), text: random_key()?, secret: true },
        ];
        for connection in self.connections.iter().filter(|connection| connection.has_password()) {
            let path = secrets.join(format!("{}_url", connection.name));
            files.push(NewFile { path, text: connection.url.clone(), secret: true });
        }
        Ok(files)
    }

    fn configuration(&self) -> String {
        let connections = if self.connections.is_empty() {
            "connections: {}\n  # shop: { url: \"${SHOP_URL}\" }    # postgres://  mysql://  sqlite:FILE\n"
                .to_owned()
        } else {
            let lines: String = self.connections.iter().map(Connection::line).collect();
            format!("connections:\n{lines}")
        };
        TEMPLATE.replace("CONNECTIONS\n", &connections)
    }

    fn what_next(&self, config: &Path, plans: &Path) -> String {
        let option = match config.to_str() {
            Some("rightful.yaml") => String::new(),
            _ => format!(" --config {}", config.display()),
        };
        let (name, hint) = match self.connections.first() {
            Some(connection) => (connection.name.as_str(), ""),
            None => ("NAME", " (name your database under `connections` first)"),
        };
        format!(
            "wrote {config} with its plans/, secrets/ (development keys, mode 0600) and .gitignore\n\n\
             next{hint}:\n  \
             rightful draft{option} --connection {name} --subject TABLE.COLUMN > {plan}\n  \
             rightful check{option}\n  \
             rightful serve{option}\n",
            config = config.display(),
            plan = plans.join("customer.yaml").display(),
        )
    }
}

/// What `rightful init` writes, with these connections (name, URL).
pub(super) fn write(config: &Path, connections: &[(&str, &str)]) -> Outcome {
    let connections = connections
        .iter()
        .map(|(name, url)| Connection { name: (*name).to_owned(), url: (*url).to_owned() })
        .collect();
    Init { connections }.write(config).map(drop)
}

const TEMPLATE: &str = "\
# The whole reference is in README.md. ${NAME}, ${NAME:-default} and ${file:path} may stand in any value.
listen: 127.0.0.1:8080
store: sqlite:rightful.db            # or postgres://user@host/rightful
plans: plans
auth:
  issuer: rightful-dev               # production: your identity provider, with jwks_url instead of hmac_secret
  audience: rightful
  roles_claim: roles
  keys:
    hmac_secret: ${file:secrets/jwt_secret}
secrets:
  pseudonym_key: ${file:secrets/pseudonym_key}   # keep a copy: without it sealed identities cannot be read
CONNECTIONS
worker:
  concurrency: 4
  batch: { time_target: 250ms, pause: 0.5 }
";

impl Connection {
    /// A reference to a variable or a file is kept as it is written.
    fn is_reference(&self) -> bool {
        self.url.contains("${")
    }

    fn has_password(&self) -> bool {
        // `?password=` is how libpq takes it outside the authority.
        let given =
            |url: &Url| url.password().is_some() || url.query_pairs().any(|(key, _)| key == "password");
        !self.is_reference() && Url::parse(&self.url).is_ok_and(|url| given(&url))
    }

    fn line(&self) -> String {
        let url = if self.has_password() {
            format!("\"${{file:secrets/{}_url}}\"", self.name)
        } else {
            serde_json::Value::from(self.url.as_str()).to_string()
        };
        format!("  {}: {{ url: {url} }}\n", self.name)
    }
}

fn parse_connection(text: &str) -> Result<Connection, String> {
    let (name, url) = text.split_once('=').ok_or("write NAME=URL: shop=postgres://app@localhost/shop")?;
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-') {
        return Err("a connection's name has letters, digits, `_` and `-` only".to_owned());
    }
    let known = ["postgres://", "postgresql://", "mysql://", "mariadb://", "sqlite:", "${"];
    if !known.iter().any(|start| url.starts_with(start)) {
        return Err("the URL begins with postgres://, mysql:// or sqlite:".to_owned());
    }
    Ok(Connection { name: name.to_owned(), url: url.to_owned() })
}

struct NewFile {
    path: PathBuf,
    text: String,
    secret: bool,
}

impl NewFile {
    /// Fails where the file exists, also when it appeared a moment ago.
    fn write(&self) -> io::Result<()> {
        if let Some(folder) = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder)?;
        }
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        if self.secret {
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        }
        let mut file = options.open(&self.path)?;
        file.write_all(self.text.as_bytes())?;
        file.write_all(if self.text.ends_with('\n') { b"" } else { b"\n" })
    }
}

/// An existing .gitignore gets the lines that it lacks: keys must not slip into a repository.
fn ignore_secrets(folder: &Path) -> Outcome {
    let path = folder.join(".gitignore");
    let before = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        Err(error) => return Err(cannot_write(&path, &error)),
    };
    let missing: Vec<&str> = ["/secrets/", "/exports/", "*.db", "*.db-*"]
        .into_iter()
        .filter(|line| !before.lines().any(|l| l.trim() == *line))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let gap = if before.is_empty() || before.ends_with('\n') { "" } else { "\n" };
    let write = || {
        let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
        file.write_all(format!("{gap}{}\n", missing.join("\n")).as_bytes())
    };
    write().map_err(|error| cannot_write(&path, &error))
}

/// 32 random bytes in base64: enough for HS256 and exactly right for the pseudonym key.
fn random_key() -> Result<String, Failure> {
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes)
        .map_err(|_| Failure::new("the operating system gives no random bytes"))?;
    Ok(STANDARD.encode(bytes))
}

/// Writes a secret to a file of its own, mode 0600, which must not exist.
pub(super) fn write_secret(path: &Path, text: &str) -> Outcome {
    let file = NewFile { path: path.to_path_buf(), text: text.to_owned(), secret: true };
    file.write().map_err(|error| cannot_write(path, &error))
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::new(format!("{} cannot be written: {}", path.display(), error.kind()))
}
