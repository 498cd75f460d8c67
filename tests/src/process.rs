//! Processes that end with the value that holds them.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long anything may take to start or to come about. Only a failing test waits that long.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A running process with its output in files.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    _folder: tempfile::TempDir,
}

impl Process {
    /// Starts a process; standard output and error go to one file.
    ///
    /// # Panics
    /// When it can't be started.
    #[must_use]
    pub fn start(name: &str, command: &mut Command) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let log = folder.path().join("log");
        let out = File::create(&log).expect("a log file");
        let err = out.try_clone().expect("a log file");
        let child = command.stdin(Stdio::null()).stdout(out).stderr(err).spawn();
        let child = child.unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        Self { name: name.to_owned(), child, log, _folder: folder }
    }

    /// Everything that it has written.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Where it writes.
    #[must_use]
    pub fn log_file(&self) -> &Path {
        &self.log
    }

    /// Waits until something is the case.
    ///
    /// # Panics
    /// When the process ends before, or patience does. The panic shows what it has written.
    pub fn wait_until(&mut self, what: &str, mut is_so: impl FnMut() -> bool) {
        let start = Instant::now();
        while !is_so() {
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!("{} ended with {status} before {what}:\n{}", self.name, self.log());
            }
            assert!(start.elapsed() < PATIENCE, "{}: not {what} after {PATIENCE:?}:\n{}", self.name, self.log());
            sleep(Duration::from_millis(10));
        }
    }

    /// Waits until something is the case, or the process has ended.
    ///
    /// # Panics
    /// When patience ends.
    pub fn wait_until_ended_or(&mut self, what: &str, mut is_so: impl FnMut() -> bool) {
        let start = Instant::now();
        while !is_so() && !matches!(self.child.try_wait(), Ok(Some(_))) {
            assert!(start.elapsed() < PATIENCE, "{}: not {what} after {PATIENCE:?}:\n{}", self.name, self.log());
            sleep(Duration::from_millis(10));
        }
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How much memory it has, in MiB.
    ///
    /// # Panics
    /// When it is gone.
    #[must_use]
    pub fn resident_mib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
        let kib = line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number");
        kib / 1024
    }

    /// The CPU time that it has used, to the hundredth of a second.
    ///
    /// # Panics
    /// When it is gone.
    #[must_use]
    pub fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("it runs");
        // What stands before the last parenthesis may have spaces in it.
        let after = stat.rsplit_once(')').expect("a name").1;
        let ticks = |field| after.split_whitespace().nth(field).and_then(|ticks| ticks.parse::<u64>().ok());
        let (user, system) = (ticks(11).expect("a number"), ticks(12).expect("a number"));
        Duration::from_millis((user + system) * 10)
    }

    /// Sends a signal by its name, such as `HUP`.
    ///
    /// # Panics
    /// When the process is gone.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "{} gets SIG{name}", self.name);
    }

    /// Ends it at once, as `kill -9` does.
    pub fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("---- {} wrote:\n{}", self.name, self.log());
        }
    }
}

/// Asks again and again until the answer is yes.
///
/// # Panics
/// When patience ends.
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "not {what} after {PATIENCE:?}");
        sleep(Duration::from_millis(10));
    }
}
