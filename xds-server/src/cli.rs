//! The command line of `toolward`.

use std::fmt::Display;
use std::io::IsTerminal;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use tracing_subscriber::EnvFilter;

use crate::binding_keys::{self, BindingKeysArgs};
use crate::certificate::{self, CertificateArgs};
use crate::check::{self, CheckArgs};
use crate::copy_filter::{self, CopyFilterArgs};
use crate::crds;
use crate::render::print::{self, RenderArgs};
use crate::serve::{self, ServeArgs};
use crate::token::{self, TokenArgs};

/// Access control for MCP tools on Envoy.
///
/// Reads Gateway API resources and MCP access policies, and tells Envoy and the Toolward filter inside it who may call
/// which tool.
#[derive(Debug, Parser)]
#[command(name = "toolward", version, arg_required_else_help = true, after_help = EXAMPLES)]
pub struct Cli {
    #[command(flatten)]
    log: LogArgs,

    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  toolward check ./manifests
  toolward token --key dev.pem --audience https://mcp.example.com/mcp --claim team=ops
  toolward serve --source dir:./manifests --wasm-file target/wasm/toolward.wasm
  toolward render --static ./manifests > envoy.yaml
  toolward render --objects ./manifests | kubectl diff -f -
";

#[derive(Debug, Subcommand)]
enum Command {
    /// Watch resources and serve Envoys (ADS, delta and state of the world)
    Serve(Box<ServeArgs>),
    /// Say everything that is wrong with a folder of resources; fails if something is
    Check(CheckArgs),
    /// Print what Envoy would get for a folder
    Render(RenderArgs),
    /// Print the definitions of the kinds MCPBackend and MCPAccessPolicy, for `kubectl apply`
    Crds,
    /// Copy the filter's wasm module into a folder: what the init container of an Envoy does
    CopyFilter(CopyFilterArgs),
    /// Print a key under which sessions are bound to callers, as a Secret
    BindingKeys(BindingKeysArgs),
    /// Print a certificate for the xDS port of a cluster, as a Secret
    XdsCertificate(CertificateArgs),
    /// Make a token, or the key set that verifies it; for development only
    Token(TokenArgs),
}

/// How the program logs, to standard error.
#[derive(Args, Debug)]
#[command(next_help_heading = "Logging")]
struct LogArgs {
    /// What to log: error, warn, info, debug or trace, also by module, such as info,toolward_xds_server::ads=debug
    #[arg(
        long,
        global = true,
        value_name = "LEVEL",
        default_value = "info,kube_client=off",
        env = "TOOLWARD_LOG_LEVEL"
    )]
    log_level: EnvFilter,

    /// How to write it
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text, env = "TOOLWARD_LOG_FORMAT")]
    log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    /// For people
    Text,
    /// One JSON object per line
    Json,
}

/// Runs what was asked for.
#[must_use]
pub fn run(cli: Cli) -> ExitCode {
    cli.log.start();
    match cli.command {
        Command::Serve(args) => serve(*args),
        Command::Check(args) => check::run(&args),
        Command::Render(args) => print::run(&args),
        Command::Crds => crds::run(),
        Command::CopyFilter(args) => copy_filter::run(&args).unwrap_or_else(failure),
        Command::BindingKeys(args) => binding_keys::run(&args).unwrap_or_else(failure),
        Command::XdsCertificate(args) => certificate::run(&args).unwrap_or_else(failure),
        Command::Token(args) => token::run(&args).unwrap_or_else(failure),
    }
}

impl LogArgs {
    fn start(self) {
        let log = tracing_subscriber::fmt().with_env_filter(self.log_level).with_writer(std::io::stderr);
        match self.log_format {
            LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).init(),
            LogFormat::Json => log.json().init(),
        }
    }
}

fn serve(args: ServeArgs) -> ExitCode {
    let end = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(serve::ServeError::from)
        .and_then(|runtime| runtime.block_on(serve::run(args)));
    match end {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure(error),
    }
}

fn failure(error: impl Display) -> ExitCode {
    eprintln!("toolward: {error}");
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_is_checked_is_what_would_be_served() {
        let parse = |bits| Cli::try_parse_from(["toolward", "check", "--max-rsa-bits", bits, "./manifests"]);
        let Ok(Cli { command: Command::Check(args), .. }) = parse("8192") else { panic!("not read") };
        assert_eq!(args.keys.max_rsa_bits, 8192);
        assert!(parse("1024").is_err());
    }

    #[test]
    fn what_may_be_held_has_room_for_what_may_be_large() {
        let error = |arguments: &[&str]| {
            let command =
                ["toolward", "render", "--max-request-body", "100", "--max-list", "1000", "--max-event", "10"];
            let read = Cli::try_parse_from(command.iter().chain(arguments).chain(&["./manifests"]));
            let Ok(Cli { command: Command::Render(args), .. }) = read else { panic!("not read") };
            args.settings.translate_options(Vec::new()).err().map(|error| error.to_string())
        };
        assert_eq!(error(&[]), None);
        assert_eq!(error(&["--max-held", "2000", "--max-held-per-caller", "2000"]), None);
        let told = |option| {
            let options = "--max-request-body, --max-list and --max-event";
            Some(format!("{option} 1999 leaves no room: use at least 2000, twice the largest of {options}"))
        };
        assert_eq!(error(&["--max-held", "1999"]), told("--max-held"));
        assert_eq!(error(&["--max-held-per-caller", "1999"]), told("--max-held-per-caller"));
    }

    #[test]
    fn a_source_says_what_kind_it_is() {
        let parse = |source| Cli::try_parse_from(["toolward", "serve", "--wasm-file", "f.wasm", "--source", source]);
        assert!(parse("dir:./manifests").is_ok());
        assert!(parse("kubernetes").is_ok());
        for (name, source) in [("no kind", "./manifests"), ("no path", "dir:"), ("unknown kind", "http://x")] {
            let error = parse(source).map(|_| ()).expect_err(name).to_string();
            assert!(error.contains("dir:PATH"), "{name}: {error}");
        }
    }
}
