//! Counts the instructions of the parts of a decision: `make bench-policy` runs the same parts that it takes the time of
//! under `valgrind --tool=callgrind`. A count is nearly the same in each run, whatever else the machine does.

use std::fs;
use std::process::{Command, Stdio};

use toolward_bench::report::{self, Row};

fn main() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("out");
    let out = out.to_str().expect("UTF-8");
    // The program has a function of this name that each part runs in once.
    let valgrind = format!(
        "['valgrind', '--tool=callgrind', '--callgrind-out-file={out}', '--toggle-collect=*::counted', \
         '--dump-after=*::counted']"
    );
    let output = Command::new("cargo")
        .args(["bench", "--quiet", "--workspace", "--bench", "policy"])
        .args(["--config", &format!("target.'cfg(all())'.runner = {valgrind}"), "--", "--once"])
        .stderr(Stdio::piped())
        .output()
        .expect("cargo");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let parts = String::from_utf8(output.stdout).expect("UTF-8");
    let count = |number: usize| {
        let counts = fs::read_to_string(format!("{out}.{number}")).expect("a file for each part");
        let total = counts.lines().find_map(|line| line.strip_prefix("totals: ")).expect("a total");
        total.trim().parse().expect("a number")
    };
    let row =
        |(index, part): (usize, &str)| Row::new(part, "instructions", count(index + 1), None, "make bench-policy");
    report::add(&parts.lines().enumerate().map(row).collect::<Vec<_>>());
}
