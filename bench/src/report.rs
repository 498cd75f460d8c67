//! The report of all measurements, `target/reports/bench.json`, and the table that a reader sees.

use std::fmt;
use std::path::PathBuf;
use std::{env, fs};

use serde::{Deserialize, Serialize};

/// One figure beside what it must reach.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// What was measured; the name stands once in a report.
    pub name: String,
    /// Of value and target, `ratio` for ratios.
    pub unit: String,
    /// As measured.
    pub value: f64,
    /// The largest value that is good enough; none: told for its own sake.
    pub target: Option<f64>,
    /// Whether the target is reached.
    pub ok: bool,
    /// What measures this row again.
    pub command: String,
}

impl Row {
    /// A figure that must not be larger than `target`.
    #[must_use]
    pub fn new(name: &str, unit: &str, value: f64, target: Option<f64>, command: &str) -> Self {
        let ok = target.is_none_or(|target| value <= target);
        Self { name: name.to_owned(), unit: unit.to_owned(), value, target, ok, command: command.to_owned() }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, unit, value, target, ok, .. } = self;
        let target = target.map_or_else(String::new, |target| format!("<= {target}"));
        let verdict = if *ok { "" } else { "missed" };
        write!(f, "{name:<64} {value:>12.3} {unit:<8} {target:>12} {verdict}")
    }
}

/// Puts the rows into the report, in place of those with their names, and shows them.
///
/// # Panics
/// When the report can't be read or written.
pub fn add(rows: &[Row]) {
    let (path, mut report) = (path(), self::rows());
    report.retain(|old| rows.iter().all(|new| new.name != old.name));
    report.extend_from_slice(rows);
    fs::create_dir_all(path.parent().expect("a folder")).expect("the folder of reports");
    fs::write(&path, serde_json::to_string_pretty(&report).expect("JSON") + "\n").expect("the report written");
    for row in rows {
        println!("{row}");
    }
}

/// The rows of the report so far.
///
/// # Panics
/// When there is something else in its place.
#[must_use]
pub fn rows() -> Vec<Row> {
    match fs::read(path()) {
        Ok(text) => serde_json::from_slice(&text).expect("a report; remove it if it is not"),
        Err(_) => Vec::new(),
    }
}

fn path() -> PathBuf {
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    target.join("reports/bench.json")
}
