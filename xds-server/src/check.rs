//! `toolward check`: says everything that is wrong with a folder.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::source::dir;
use crate::translate::{KEY_SET_PENDING, TranslateOptions, translate};

/// Arguments of `toolward check`.
#[derive(Args, Clone, Debug)]
pub struct CheckArgs {
    /// The folder of Kubernetes YAML files
    #[arg(value_name = "PATH")]
    pub folder: PathBuf,
}

/// Prints every problem to standard output. Fails if there is one.
#[must_use]
pub fn run(args: &CheckArgs) -> ExitCode {
    let resources = match dir::load(&args.folder) {
        Ok(resources) => resources,
        Err(problems) => {
            for problem in &problems {
                println!("{problem}");
            }
            println!("{} problems; nothing of this folder would be served", problems.len());
            return ExitCode::FAILURE;
        }
    };
    let translation = translate(&resources, &TranslateOptions::default());
    for route in &translation.unprotected {
        println!("note: no policy protects {route}");
    }
    // Nothing is fetched here.
    let (to_fetch, problems): (Vec<_>, Vec<_>) =
        translation.problems.iter().partition(|problem| problem.reason == KEY_SET_PENDING);
    for problem in to_fetch {
        println!("note: {problem}; it was not checked");
    }
    for problem in &problems {
        println!("{problem}");
    }
    if problems.is_empty() {
        println!("ok: {} resources, {} gateways", resources.origins.len(), translation.model.gateways.len());
        ExitCode::SUCCESS
    } else {
        println!("{} problems; what they protect would be closed, the rest served", problems.len());
        ExitCode::FAILURE
    }
}
