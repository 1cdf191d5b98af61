//! An installation of the real binary in a folder of its own: configuration, plans, token, and a process that can be
//! started, killed and started again. Shared with the benchmarks.

use std::{
    io::{BufRead, BufReader},
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;

/// How long anything here may take before the test fails.
const DEADLINE: Duration = Duration::from_secs(120);

/// A folder with a configuration and one plan.
pub struct Site {
    folder: TempDir,
    base: String,
    token: String,
    http: reqwest::Client,
}

/// A running `rightful serve`; killed when dropped.
pub struct Process(pub Child);

/// What differs from site to site.
pub struct Settings<'a> {
    /// `sqlite:rightful.db` or a PostgreSQL URL.
    pub store: &'a str,
    /// Name and URL.
    pub connections: &'a [(&'a str, &'a str)],
    /// The URL of an HTTP service `mailer`, with its token.
    pub service: Option<(&'a str, &'a str)>,
    pub plan: &'a str,
    /// Lines below `worker:`, and further sections behind them.
    pub worker: &'a str,
}

impl Site {
    pub fn new(settings: &Settings<'_>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let port = free_port();
        let connections: String = settings
            .connections
            .iter()
            .map(|(name, url)| format!("  {name}: {{ url: \"{url}\" }}\n"))
            .chain(settings.service.map(|(url, token)| {
                format!(
                    "  mailer:\n    url: {url}\n    headers: {{ authorization: \"{token}\" }}\n    \
                     probe: GET /health\n"
                )
            }))
            .collect();
        let config = format!(
            "listen: 127.0.0.1:{port}\nstore: {store}\nplans: plans\nauth:\n  issuer: tests\n  audience: tests\n  \
             roles_claim: roles\n  keys: {{ hmac_secret: \"0123456789abcdef0123456789abcdef\" }}\n\
             secrets: {{ pseudonym_key: \"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\" }}\n\
             outbound: {{ private_hosts: [127.0.0.1] }}\n\
             connections:\n{connections}worker:\n{worker}",
            store = settings.store,
            worker = settings.worker,
        );
        std::fs::write(folder.path().join("rightful.yaml"), config).expect("the configuration");
        std::fs::create_dir(folder.path().join("plans")).expect("a folder for plans");
        std::fs::write(folder.path().join("plans/plan.yaml"), settings.plan).expect("the plan");
        let output = run(
            folder.path(),
            &["token", "--role", "admin", "--role", "auditor", "--subject", "alice", "--ttl", "12h"],
        );
        let token = output.trim().to_owned();
        Self { folder, base: format!("http://127.0.0.1:{port}"), token, http: reqwest::Client::new() }
    }

    /// Starts the service; it may not answer yet.
    pub fn start(&self) -> Process {
        self.start_with(&[("RUST_LOG", "warn")], |line| eprintln!("  | {line}"))
    }

    /// The same with other variables, and with a log each line of which is told to `hear`.
    pub fn start_with(
        &self,
        variables: &[(&str, &str)],
        mut hear: impl FnMut(String) + Send + 'static,
    ) -> Process {
        let mut child = command(self.folder.path(), &["serve"])
            .envs(variables.iter().copied())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("rightful serve");
        let log = child.stderr.take().expect("its log");
        std::thread::spawn(move || {
            for line in BufReader::new(log).lines().map_while(Result::ok) {
                hear(line);
            }
        });
        Process(child)
    }

    /// Starts the service and waits until it is ready.
    pub async fn serve(&self) -> Process {
        let process = self.start();
        self.ready().await;
        process
    }

    /// Waits until the service answers that it is ready.
    pub async fn ready(&self) {
        let begun = Instant::now();
        while begun.elapsed() < DEADLINE {
            let answer = self.http.get(format!("{}/readyz", self.base)).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the service is not ready");
    }

    /// Runs another command beside the service: what it prints.
    pub fn run(&self, arguments: &[&str]) -> String {
        run(self.folder.path(), arguments)
    }

    /// Submits an erasure. `None` when the process died before it answered.
    pub async fn submit(&self, plan: &str, subject: Value, key: Option<&str>) -> Option<Value> {
        self.submit_body(&json!({ "kind": "erasure", "plan": plan, "subject": subject }), key).await
    }

    /// Submits whatever it is. `None` when the process died before it answered.
    pub async fn submit_body(&self, body: &Value, key: Option<&str>) -> Option<Value> {
        let (status, body) = self.post("/v1/requests", body, key).await?;
        assert!(status == 202 || status == 200, "{status}: {body}");
        Some(body)
    }

    /// GET below the base URL; `None` when nobody answered.
    pub async fn get(&self, path: &str) -> Option<Value> {
        let answer =
            self.http.get(format!("{}{path}", self.base)).bearer_auth(&self.token).send().await.ok()?;
        serde_json::from_slice(&answer.bytes().await.ok()?).ok()
    }

    /// A token of somebody else's.
    pub fn token(&self, role: &str, subject: &str) -> String {
        let output = run(self.folder(), &["token", "--role", role, "--subject", subject, "--ttl", "12h"]);
        output.trim().to_owned()
    }

    /// A call by whoever has the token: status and body; `None` when nobody answered.
    pub async fn call(&self, method: &str, path: &str, token: &str, body: &Value) -> Option<(u16, Value)> {
        let method = method.parse().expect("a method");
        let request = self.http.request(method, format!("{}{path}", self.base)).bearer_auth(token);
        let request = request.header("content-type", "application/json").body(body.to_string());
        let answer = request.send().await.ok()?;
        let status = answer.status().as_u16();
        Some((status, serde_json::from_slice(&answer.bytes().await.ok()?).ok()?))
    }

    /// What must be there, whole.
    pub async fn download(&self, path: &str) -> Vec<u8> {
        let answer = self.http.get(format!("{}{path}", self.base)).bearer_auth(&self.token).send().await;
        let answer = answer.expect("an answer");
        assert!(answer.status().is_success(), "{answer:?}");
        answer.bytes().await.expect("all of it").to_vec()
    }

    /// The address, and the token of an admin who is an auditor, too.
    pub fn access(&self) -> (&str, &str) {
        (&self.base, &self.token)
    }

    /// Where everything of it lies.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// POST below the base URL, with an idempotency key if any: status and body; `None` when nobody answered.
    pub async fn post(&self, path: &str, body: &Value, key: Option<&str>) -> Option<(u16, Value)> {
        let mut request = self
            .http
            .post(format!("{}{path}", self.base))
            .bearer_auth(&self.token)
            .header("content-type", "application/json");
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let answer = request.body(body.to_string()).send().await.ok()?;
        Some((answer.status().as_u16(), serde_json::from_slice(&answer.bytes().await.ok()?).ok()?))
    }

    /// Waits for the end of a request, across pauses and restarts; the request.
    pub async fn finished(&self, id: &str) -> Value {
        self.finished_within(DEADLINE, id).await
    }

    /// The same for one that takes its time.
    pub async fn finished_within(&self, limit: Duration, id: &str) -> Value {
        let begun = Instant::now();
        loop {
            let request = self.get(&format!("/v1/requests/{id}?wait=5s")).await.unwrap_or_default();
            if let Some("completed" | "failed" | "cancelled") = request["status"].as_str() {
                return request;
            }
            assert!(begun.elapsed() < limit, "not finished: {request}");
            if request.is_null() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // SIGKILL: no time to tidy up. Both fail where it has already ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run(folder: &Path, arguments: &[&str]) -> String {
    let output = command(folder, arguments).output().expect("the binary runs");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rightful"));
    command.current_dir(folder).args(arguments);
    command
}

/// A port for a service that comes and goes: none of those that the system gives to whoever asks for any, so that nobody
/// else has it when the service starts again.
pub fn free_port() -> u16 {
    const FIRST: u32 = 20_000;
    const PORTS: u32 = 12_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Other tests may run at the same time in a process of their own.
    let offset = std::process::id().wrapping_mul(997);
    (0..PORTS)
        .map(|_| FIRST + offset.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % PORTS)
        .filter_map(|port| u16::try_from(port).ok())
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("a free port")
}
