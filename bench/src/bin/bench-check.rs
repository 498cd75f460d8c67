//! Compares the last report with the figures that are checked in, `bench/baseline.json`: ratios and instructions, which hold
//! on other machines as well. It is generous: what fails here is slower by more than a noisy machine explains.

use std::process::ExitCode;
use std::{env, fs};

use toolward_bench::report::{self, Row};

/// How many times as large as before a figure may be; none: it says nothing on another machine.
fn slack(unit: &str) -> Option<f64> {
    match unit {
        "ratio" => Some(1.4),
        // No noise is in them, but another compiler makes other code.
        "instructions" => Some(1.1),
        _ => None,
    }
}

fn main() -> ExitCode {
    let baseline = concat!(env!("CARGO_MANIFEST_DIR"), "/baseline.json");
    let baseline: Vec<Row> = serde_json::from_slice(&fs::read(baseline).expect("the baseline")).expect("a report");
    let report = report::rows();
    let only = env::var("ONLY").unwrap_or_default();
    let mut code = ExitCode::SUCCESS;
    for old in baseline.iter().filter(|row| row.command.contains(&only)) {
        let Some(slack) = slack(&old.unit) else { continue };
        match report.iter().find(|row| row.name == old.name) {
            Some(new) if new.value <= old.value * slack => {}
            Some(new) => {
                println!("{}: {:.3}, which was {:.3}; {}", old.name, new.value, old.value, old.command);
                code = ExitCode::FAILURE;
            }
            None => {
                println!("{}: not measured; {}", old.name, old.command);
                code = ExitCode::FAILURE;
            }
        }
    }
    code
}
