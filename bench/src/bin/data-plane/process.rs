//! What a process costs, as the system counts it, and where it runs.

use std::fs;
use std::process::Command;
use std::time::Duration;

/// The core of the Envoys.
pub(crate) const ENVOY_CORE: &str = "1";

/// The core of load and stub.
const LOAD_CORE: &str = "0";

/// CPU time of all threads of a process, in nanoseconds' resolution (`/proc/PID/schedstat` has the first thread alone).
pub(crate) fn cpu(pid: u32) -> Duration {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
    let of_thread = |thread: std::io::Result<fs::DirEntry>| {
        let text = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    };
    Duration::from_nanos(threads.filter_map(of_thread).sum())
}

/// Memory of a process, in KiB.
pub(crate) fn resident_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Keeps a process and its threads on a core.
pub(crate) fn pin(pid: u32, core: &str) {
    let pinned = Command::new("taskset").args(["-acp", core, &pid.to_string()]).output();
    assert!(pinned.is_ok_and(|output| output.status.success()), "taskset pins {pid} to core {core}");
}

/// Keeps this process where it does not disturb what is measured.
pub(crate) fn pin_self() {
    pin(std::process::id(), LOAD_CORE);
}

/// Leaves a process's main thread what its other threads do not need.
pub(crate) fn put_main_thread_last(pid: u32) {
    let reniced = Command::new("renice").args(["-n", "19", "-p", &pid.to_string()]).output();
    assert!(reniced.is_ok_and(|output| output.status.success()), "renice gives {pid} the lowest priority");
}
