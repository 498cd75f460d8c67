//! `toolward`: see `toolward --help`.

use std::process::ExitCode;

use clap::Parser;
use tikv_jemallocator::Jemalloc;
use toolward_xds_server::cli::{self, Cli};

/// Gives memory back within seconds, whatever the order in which it was taken and freed.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    cli::run(Cli::parse())
}
