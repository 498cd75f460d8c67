//! The control plane in a process of its own, and what it costs.

use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};

/// A running `toolward serve`.
pub(crate) struct Server {
    pub(crate) xds: SocketAddr,
    process: Child,
    log: Option<Lines<BufReader<ChildStderr>>>,
    /// CPU time of each thread as it was seen last: what a thread that has ended used up still counts.
    threads: BTreeMap<String, u64>,
    _state: TempDir,
}

impl Server {
    pub(crate) fn start(folder: &Path) -> Self {
        let state = tempfile::tempdir().expect("a folder");
        let (xds, admin) = (free(), free());
        // Envoy would read it; nothing here does.
        let wasm = state.path().join("toolward.wasm");
        fs::write(&wasm, b"\0asm").expect("a file");
        let mut process = Command::new(binary())
            .arg("serve")
            .args(["--source", &format!("dir:{}", folder.display())])
            .args(["--xds-address", &xds.to_string(), "--admin-address", &admin.to_string()])
            .arg("--wasm-file")
            .arg(&wasm)
            .args(["--log-level", "info,toolward_xds_server::source=debug"])
            .env("XDG_STATE_HOME", state.path())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("toolward starts");
        let log = BufReader::new(process.stderr.take().expect("its log")).lines();
        Self { xds, process, log: Some(log), threads: BTreeMap::new(), _state: state }
    }

    /// Waits for a line of the log that has this in it.
    pub(crate) async fn logs(&mut self, words: &str) {
        let log = self.log.as_mut().expect("read by nobody else");
        while let Some(line) = log.next_line().await.expect("text") {
            if line.contains(words) {
                return;
            }
            if line.contains("WARN") || line.contains("ERROR") {
                println!("toolward: {line}");
            }
        }
        panic!("toolward ended before it logged {words:?}");
    }

    /// Reads the rest of the log, so that nobody waits for room in it.
    pub(crate) fn ignore_log(&mut self) {
        let Some(mut log) = self.log.take() else { return };
        tokio::spawn(async move { while let Ok(Some(_)) = log.next_line().await {} });
    }

    /// The CPU time that it has used.
    pub(crate) fn cpu(&mut self) -> Duration {
        let folder = PathBuf::from(format!("/proc/{}/task", self.pid()));
        for thread in fs::read_dir(folder).expect("a running process").flatten() {
            if let Ok(text) = fs::read_to_string(thread.path().join("schedstat")) {
                let nanoseconds = text.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or_default();
                self.threads.insert(thread.file_name().to_string_lossy().into_owned(), nanoseconds);
            }
        }
        Duration::from_nanos(self.threads.values().sum())
    }

    /// The memory that it has, in MiB.
    pub(crate) fn memory(&self) -> f64 {
        self.status("VmRSS:")
    }

    /// The most that it had since its start or since this was forgotten, in MiB.
    pub(crate) fn peak(&self) -> f64 {
        self.status("VmHWM:")
    }

    /// Lets the peak begin with what it has now.
    pub(crate) fn forget_peak(&self) {
        fs::write(format!("/proc/{}/clear_refs", self.pid()), "5").expect("a running process");
    }

    fn status(&self, name: &str) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("a running process");
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("its memory");
        let kilobytes = line.split_whitespace().next().and_then(|word| word.parse::<f64>().ok()).expect("a number");
        kilobytes / 1024.0
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id().expect("a running process")
    }
}

/// Beside this program, unless the environment says where.
fn binary() -> PathBuf {
    let beside = || std::env::current_exe().expect("a path").with_file_name("toolward");
    std::env::var_os("TOOLWARD").map_or_else(beside, PathBuf::from)
}

pub(crate) fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port")
}
