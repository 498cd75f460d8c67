//! `toolward check`: says everything that is wrong with a folder.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::source::dir;
use crate::translate::{TranslateOptions, translate};

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
    for problem in &translation.problems {
        println!("{problem}");
    }
    if translation.problems.is_empty() {
        println!("ok: {} resources, {} gateways", resources.origins.len(), translation.model.gateways.len());
        ExitCode::SUCCESS
    } else {
        println!("{} problems; what they protect would be closed, the rest served", translation.problems.len());
        ExitCode::FAILURE
    }
}
