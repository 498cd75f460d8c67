//! What was counted, and what failed.

use std::collections::BTreeMap;
use std::process::ExitCode;

/// What was counted, and what failed.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    figures: BTreeMap<String, BTreeMap<&'static str, usize>>,
    passed: usize,
    failed: usize,
}

impl Tally {
    /// One vector of a group: what became of it, or why that is wrong.
    pub(crate) fn count(&mut self, group: &str, name: &str, result: Result<&'static str, String>) {
        let word = match result {
            Ok(word) => {
                self.passed += 1;
                word
            }
            Err(fault) => {
                self.failed += 1;
                println!("FAILED {group} {name}: {fault}");
                "failed"
            }
        };
        *self.figures.entry(group.to_owned()).or_default().entry(word).or_default() += 1;
    }

    /// Prints the figures, and whether all is well.
    pub(crate) fn close(self) -> ExitCode {
        for (group, words) in &self.figures {
            let words: Vec<String> = words.iter().map(|(word, count)| format!("{count} {word}")).collect();
            println!("{group:<44} {}", words.join(", "));
        }
        println!("{} passed, {} failed", self.passed, self.failed);
        if self.failed == 0 && self.passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
