//! `toolward check`: says everything that is wrong with a folder.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use toolward_policy::config::Limits;

use crate::problem::Problem;
use crate::settings::{BackendArgs, KeyArgs};
use crate::source::dir;
use crate::translate::{
    KEY_LEFT_OUT, KEY_SET_PENDING, NAME_PENDING, Quotas, TranslateOptions, Translation, UnprotectedRoutes, translate,
};

/// Arguments of `toolward check`.
#[derive(Args, Clone, Debug)]
pub struct CheckArgs {
    /// The folder of Kubernetes YAML files, or one file
    #[arg(value_name = "PATH")]
    pub folder: PathBuf,

    /// What becomes of routes that no policy protects; by default those to an MCPBackend are closed and others open
    #[arg(long, value_enum, env = "TOOLWARD_UNPROTECTED_ROUTES")]
    pub unprotected_routes: Option<UnprotectedRoutes>,

    /// Whether a hostname on a Gateway is for the routes of one namespace alone
    #[arg(long, env = "TOOLWARD_HOSTNAMES_BELONG_TO_NAMESPACES")]
    pub hostnames_belong_to_namespaces: bool,

    /// Which keys would be left out.
    #[command(flatten)]
    pub keys: KeyArgs,

    /// Which hosts would be refused.
    #[command(flatten)]
    pub backends: BackendArgs,
}

/// Prints every problem to standard output. Fails if there is one.
#[must_use]
pub fn run(args: &CheckArgs) -> ExitCode {
    let resources = match dir::load(&args.folder) {
        Ok(resources) => resources,
        Err(problems) => {
            print(&problems);
            println!("{}; nothing of this folder would be served", count(problems.len(), "problem"));
            return ExitCode::FAILURE;
        }
    };
    let unprotected_routes = args.unprotected_routes.unwrap_or_default();
    let limits = Limits { rsa_bits: args.keys.max_rsa_bits, ..Limits::default() };
    let options = TranslateOptions {
        unprotected_routes,
        hostnames_belong_to_namespaces: args.hostnames_belong_to_namespaces,
        limits,
        backend_networks: args.backends.networks(),
        quotas: Quotas::default().of_one_owner(),
        ..TranslateOptions::default()
    };
    let Translation { model, problems, notes, unprotected, .. } = translate(&resources, &options);
    let closed = unprotected.iter().filter(|route| route.closed.is_some()).count();
    for route in &unprotected {
        println!("{}: no policy protects {route}", if route.closed.is_some() { "problem" } else { "note" });
    }
    for note in &notes {
        println!("note: {note}");
    }
    let (left_out, problems): (Vec<Problem>, Vec<Problem>) =
        problems.into_iter().partition(|problem| problem.reason == KEY_LEFT_OUT);
    for key in left_out {
        println!("note: {key}");
    }
    // Nothing is fetched or resolved here.
    let (to_fetch, problems): (Vec<Problem>, Vec<Problem>) =
        problems.into_iter().partition(|problem| [KEY_SET_PENDING, NAME_PENDING].contains(&problem.reason.as_str()));
    for problem in to_fetch {
        println!("note: {problem}; it was not checked");
    }
    print(&problems);
    if problems.len() + closed == 0 {
        let (resources, gateways) = (resources.origins.len(), model.gateways.len());
        println!("ok: {}, {}", count(resources, "resource"), count(gateways, "gateway"));
        return ExitCode::SUCCESS;
    }
    println!(
        "{}; what a broken policy protects would be closed, the rest served{}",
        count(problems.len() + closed, "problem"),
        if closed < unprotected.len() { ", and what is open is in the notes" } else { "" }
    );
    ExitCode::FAILURE
}

fn print(problems: &[Problem]) {
    for problem in problems {
        println!("{problem}");
    }
}

fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}
