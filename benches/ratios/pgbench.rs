//! pgbench beside the service: the same statements by a client that does nothing else.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
};

use super::{client::CLIENTS, target::Target};

/// Transactions per second of a script, so many in all.
pub fn rate(target: &Target, script: &str, transactions: i64) -> f64 {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("script.sql");
    std::fs::write(&file, script).expect("a script");
    let each = transactions / i64::try_from(CLIENTS).unwrap_or(1);
    let output = Command::new("pgbench")
        .args(["-n", "-M", "prepared", "-c", &CLIENTS.to_string(), "-j", "2", "-t", &each.to_string(), "-f"])
        .arg(&file)
        .arg(target.url())
        .output()
        .expect("pgbench is on the path");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines()
        .find_map(|line| line.strip_prefix("tps = "))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|number| number.parse().ok())
        .unwrap_or_else(|| panic!("pgbench said {text}{}", String::from_utf8_lossy(&output.stderr)))
}

/// Others who use a database, at a steady rate, until they are stopped.
pub struct Users {
    child: Child,
    folder: tempfile::TempDir,
}

impl Users {
    /// So many transactions a second of a script.
    pub fn start(target: &Target, script: &str, per_second: u32) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("script.sql"), script).expect("a script");
        let child = Command::new("pgbench")
            .args(["-n", "-M", "prepared", "-c", "4", "-j", "1", "-T", "3600", "-l", "-R"])
            .args([&per_second.to_string(), "-f", "script.sql", &target.url()])
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("pgbench is on the path");
        Self { child, folder }
    }

    /// How long each of their transactions took, in milliseconds, the shortest first.
    pub fn stop(mut self) -> Vec<f64> {
        // Its end does not matter: what was logged is enough.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let mut took = Vec::new();
        for entry in std::fs::read_dir(self.folder.path()).expect("the folder") {
            let path = entry.expect("a file").path();
            if name(&path).starts_with("pgbench_log") {
                took.extend(latencies(&std::fs::read_to_string(path).expect("its log")));
            }
        }
        took.sort_by(f64::total_cmp);
        took
    }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The third field is the time in microseconds; a last line that was cut has not all seven.
fn latencies(log: &str) -> impl Iterator<Item = f64> {
    log.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split(' ').collect();
        let micros: f64 = fields.get(2)?.parse().ok()?;
        (fields.len() >= 7).then_some(micros / 1000.0)
    })
}

/// The value below which that part of the sorted ones lies.
pub fn percentile(sorted: &[f64], part: f64) -> f64 {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a position in a list in memory"
    )]
    let position = (sorted.len() as f64 * part) as usize;
    sorted.get(position.min(sorted.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}
