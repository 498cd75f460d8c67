//! The control plane as a process, and its other commands.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::http;
use crate::ports;
use crate::process::{Process, eventually};
use crate::tools::{root, tools};

/// A running `toolward serve`.
#[derive(Debug)]
pub struct Toolward {
    /// Its xDS port.
    pub xds: u16,
    /// Its admin port.
    pub admin: u16,
    /// The process.
    pub process: Process,
}

impl Toolward {
    /// Serves a folder on free ports.
    #[must_use]
    pub fn serve(folder: &Path) -> Self {
        Self::serve_with(folder, &[])
    }

    /// Serves a folder on free ports with more arguments.
    #[must_use]
    pub fn serve_with(folder: &Path, arguments: &[&str]) -> Self {
        Self::start(folder, ports::free(), ports::free(), arguments)
    }

    /// Serves a folder on these ports.
    #[must_use]
    pub fn serve_on(folder: &Path, xds: u16, admin: u16) -> Self {
        Self::start(folder, xds, admin, &[])
    }

    /// Kills it, and serves a folder on the same ports with these arguments.
    #[must_use]
    pub fn restart(mut self, folder: &Path, arguments: &[&str]) -> Self {
        self.process.kill();
        Self::start(folder, self.xds, self.admin, arguments)
    }

    fn start(folder: &Path, xds: u16, admin: u16, arguments: &[&str]) -> Self {
        let mut command = Command::new(&tools().toolward);
        command.arg("serve").arg("--source").arg(format!("dir:{}", folder.display())).args(arguments);
        Self::run(&mut command, xds, admin)
    }

    /// Serves what the API server has that this kubeconfig leads to, on free ports with more arguments.
    #[must_use]
    pub fn in_cluster(kubeconfig: &Path, arguments: &[&str]) -> Self {
        Self::in_cluster_on(kubeconfig, ports::free(), ports::free(), arguments)
    }

    /// The same on these ports.
    #[must_use]
    pub fn in_cluster_on(kubeconfig: &Path, xds: u16, admin: u16, arguments: &[&str]) -> Self {
        let mut command = Command::new(&tools().toolward);
        command.args(["serve", "--source", "kubernetes"]).args(arguments).env("KUBECONFIG", kubeconfig);
        Self::run(&mut command, xds, admin)
    }

    fn run(command: &mut Command, xds: u16, admin: u16) -> Self {
        command.env("XDG_STATE_HOME", root().join("target/tests/state"));
        command.arg("--wasm-file").arg(&tools().wasm).args(["--listener-address", "127.0.0.1"]);
        command.args(["--xds-address", &format!("127.0.0.1:{xds}"), "--admin-address", &format!("127.0.0.1:{admin}")]);
        let mut process = Process::start("toolward", command);
        let client = http::client();
        let url = format!("http://127.0.0.1:{admin}/");
        process.wait_until("listening", || client.get(&url).send().is_ok());
        Self { xds, admin, process }
    }

    /// Waits until it serves.
    ///
    /// # Panics
    /// When it does not.
    pub fn wait_until_ready(&self) {
        eventually("toolward ready", || self.get("/ready").status == 200);
    }

    /// What the admin port answers at this path.
    #[must_use]
    pub fn get(&self, path: &str) -> http::Answer {
        http::send(http::client().get(format!("http://127.0.0.1:{}{path}", self.admin)))
    }

    /// The sum of a metric's values over all label sets.
    #[must_use]
    pub fn metric(&self, name: &str) -> f64 {
        let metrics = self.get("/metrics").text;
        let values = metrics.lines().filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            if rest.starts_with('{') || rest.starts_with(' ') {
                rest.rsplit(' ').next()?.parse::<f64>().ok()
            } else {
                None
            }
        });
        values.sum()
    }
}

/// Runs another command to its end.
///
/// # Panics
/// When it can't be started.
#[must_use]
pub fn run(arguments: &[&str]) -> Output {
    Command::new(&tools().toolward).args(arguments).output().expect("toolward starts")
}

/// A key for development and the tokens that it signs.
#[derive(Debug)]
pub struct Issuer {
    folder: tempfile::TempDir,
    algorithm: &'static str,
}

/// The issuer that the manifests of the tests accept.
pub const ISSUER: &str = "https://login.example.com";
/// The audience that they accept.
pub const AUDIENCE: &str = "https://mcp.example.com/mcp";

impl Issuer {
    /// A new key.
    #[must_use]
    pub fn new(algorithm: &'static str) -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder"), algorithm }
    }

    fn run(&self, arguments: &[&str]) -> String {
        let key = self.folder.path().join("key.pem");
        let key = key.to_str().expect("UTF-8");
        let output = run(&[&["token", "--key", key, "--algorithm", self.algorithm], arguments].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
    }

    /// Copies the private key into a file.
    ///
    /// # Panics
    /// When it can't be written.
    pub fn write_key(&self, path: &Path) {
        let _ = self.jwks();
        std::fs::copy(self.folder.path().join("key.pem"), path).expect("writable");
    }

    /// The key set that verifies its tokens.
    #[must_use]
    pub fn jwks(&self) -> String {
        self.run(&["--jwks"])
    }

    /// One key set with the keys of several.
    ///
    /// # Panics
    /// When one of them has none.
    #[must_use]
    pub fn joined(issuers: &[&Self]) -> String {
        let keys = |issuer: &&Self| {
            let set: Value = serde_json::from_str(&issuer.jwks()).expect("JSON");
            set["keys"].as_array().expect("keys").clone()
        };
        json!({ "keys": issuers.iter().flat_map(keys).collect::<Vec<_>>() }).to_string()
    }

    /// A token with the issuer and audience that the manifests accept, and these arguments of `toolward token`.
    #[must_use]
    pub fn token(&self, arguments: &[&str]) -> String {
        let given = |name: &str| arguments.contains(&name);
        let mut all = Vec::new();
        if !given("--issuer") {
            all.extend(["--issuer", ISSUER]);
        }
        if !given("--audience") {
            all.extend(["--audience", AUDIENCE]);
        }
        all.extend(arguments);
        self.run(&all)
    }

    /// A good token of somebody of this team.
    #[must_use]
    pub fn of_team(&self, team: &str) -> String {
        self.token(&["--subject", &format!("somebody-of-{team}"), "--claim", &format!("team={team}")])
    }
}
