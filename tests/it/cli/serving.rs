//! `rightful serve` as an orchestrator sees it: what it listens on, signals, roles.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use super::{SHOP, drafted, rightful, site, text};

const DEADLINE: Duration = Duration::from_secs(20);

/// A running service; killed when dropped.
struct Served {
    child: Child,
    base: String,
    _out: BufReader<ChildStdout>,
}

impl Served {
    /// Starts on any free port and waits for the line that names it.
    fn start(folder: &Path, arguments: &[&str]) -> Self {
        let path = folder.join("rightful.yaml");
        let configuration = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, configuration.replace("127.0.0.1:8080", "127.0.0.1:0")).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_rightful"))
            .arg("serve")
            .args(arguments)
            .current_dir(folder)
            .env("RUST_LOG", "error")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        let base = line.trim().rsplit(' ').next().unwrap().to_owned();
        assert!(base.starts_with("http://127.0.0.1:"), "{line}");
        Self { child, base, _out: out }
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// SIGTERM; the exit code, and how long it took.
    fn terminate(mut self) -> (Option<i32>, Duration) {
        let begun = Instant::now();
        self.signal("TERM");
        (self.child.wait().unwrap().code(), begun.elapsed())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn status(url: &str, token: &str) -> u16 {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    http.get(url).bearer_auth(token).send().await.unwrap().status().as_u16()
}

fn token(folder: &Path) -> String {
    let output = rightful(folder, &["token", "--role", "admin", "--subject", "alice"]);
    text(&output.stdout).trim().to_owned()
}

#[tokio::test]
async fn a_hang_up_reads_the_plans_again_and_a_term_ends_well() {
    let (folder, _shop) = site(SHOP);
    let served = Served::start(folder.path(), &[]);
    let token = token(folder.path());
    let plan = format!("{}/v1/plans/user", served.base);
    assert_eq!(status(&plan, &token).await, 404);
    drafted(folder.path());
    served.signal("HUP");
    let begun = Instant::now();
    while status(&plan, &token).await != 200 {
        assert!(begun.elapsed() < DEADLINE, "the plan is not there");
    }
    // A plan that is wrong leaves what was registered.
    std::fs::write(folder.path().join("plans/wrong.yaml"), "plan: [").unwrap();
    served.signal("HUP");
    assert_eq!(status(&plan, &token).await, 200);
    let (code, took) = served.terminate();
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[tokio::test]
async fn a_worker_answers_probes_only_and_an_api_carries_nothing_out() {
    let (folder, _shop) = site(SHOP);
    drafted(folder.path());
    let worker = Served::start(folder.path(), &["--role", "worker"]);
    let api = Served::start(folder.path(), &["--role", "api"]);
    let token = token(folder.path());
    let begun = Instant::now();
    for served in [&worker, &api] {
        while status(&format!("{}/readyz", served.base), &token).await != 200 {
            assert!(begun.elapsed() < DEADLINE, "not ready");
        }
    }
    assert_eq!(status(&format!("{}/v1/plans", worker.base), &token).await, 404);
    assert_eq!(status(&format!("{}/v1/plans", api.base), &token).await, 200);
    assert_eq!(worker.terminate().0, Some(0));
    assert_eq!(api.terminate().0, Some(0));
}

#[test]
fn a_port_that_is_taken_is_one_line() {
    let (folder, _shop) = site(SHOP);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let path = folder.path().join("rightful.yaml");
    let configuration = std::fs::read_to_string(&path).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    std::fs::write(&path, configuration.replace("127.0.0.1:8080", &address)).unwrap();
    assert!(super::failure(&rightful(folder.path(), &["serve"])).contains(&address));
}
