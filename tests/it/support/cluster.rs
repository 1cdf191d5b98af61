//! A PostgreSQL server of the test's own, which can be restarted and has as few connections as the test wants.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tempfile::TempDir;

use super::site::free_port;

pub struct Cluster {
    folder: TempDir,
    programs: PathBuf,
    port: u16,
}

impl Cluster {
    /// `None`, and said so, where no PostgreSQL is installed on this machine.
    pub fn start(max_connections: u16) -> Option<Self> {
        let Some(programs) = installed() else {
            assert!(!super::in_ci(), "CI=true, and no initdb in /usr/lib/postgresql");
            super::left_out("restarts of PostgreSQL: there is no initdb in /usr/lib/postgresql");
            return None;
        };
        let folder = tempfile::tempdir().expect("a folder");
        if is_root() {
            let given = Command::new("chown").arg("postgres").arg(folder.path()).status();
            assert!(given.is_ok_and(|status| status.success()), "the folder is the server's");
        }
        let cluster = Self { folder, programs, port: free_port() };
        let data = cluster.data();
        let made = cluster.run("initdb", &["-A", "trust", "-U", "postgres", "--no-sync", "-D", &data]);
        assert!(made, "initdb");
        let settings = format!(
            "listen_addresses = '127.0.0.1'\nport = {}\nunix_socket_directories = ''\nmax_connections = {max_connections}\n\
             superuser_reserved_connections = 0\nfsync = off\n",
            cluster.port
        );
        std::fs::write(Path::new(&data).join("postgresql.auto.conf"), settings).expect("its settings");
        assert!(cluster.control("start"), "the server starts");
        Some(cluster)
    }

    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}", self.port)
    }

    /// As after a crash: sessions end in the middle, and the server recovers from its log.
    pub fn restart(&self) {
        assert!(self.control("restart"), "the server starts again");
    }

    fn data(&self) -> String {
        self.folder.path().join("data").display().to_string()
    }

    fn control(&self, what: &str) -> bool {
        let log = self.folder.path().join("log").display().to_string();
        self.run("pg_ctl", &[what, "-w", "-m", "immediate", "-D", &self.data(), "-l", &log])
    }

    /// The server refuses to be root's.
    fn run(&self, program: &str, arguments: &[&str]) -> bool {
        let program = self.programs.join(program);
        let mut command = match is_root() {
            true => {
                let mut command = Command::new("runuser");
                command.args(["-u", "postgres", "--"]).arg(program);
                command
            }
            false => Command::new(program),
        };
        // A server that keeps a pipe open would be waited for.
        let status = command.args(arguments).current_dir("/").stdout(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.control("stop");
    }
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Of the newest version.
fn installed() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let mut found: Vec<PathBuf> = versions
        .filter_map(Result::ok)
        .map(|version| version.path().join("bin"))
        .filter(|bin| bin.join("initdb").is_file())
        .collect();
    found.sort();
    found.pop()
}
