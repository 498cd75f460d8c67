//! `toolward`: see `toolward --help`.

use std::process::ExitCode;

use clap::Parser;
use toolward_xds_server::cli::{self, Cli};

fn main() -> ExitCode {
    cli::run(Cli::parse())
}
