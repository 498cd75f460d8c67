//! `toolward render`: prints what Envoy would get.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Map, Value, json};

use super::bootstrap::bootstrap;
use super::view::{self, ViewError};
use super::{RenderOptions, render, yaml};
use crate::binding_keys::{BindingKeys, BindingKeysError};
use crate::model::{GatewayName, Model};
use crate::problem::Problem;
use crate::provision;
use crate::provision::options::ProvisionArgs;
use crate::resources::Resources;
use crate::settings::{NoRoom, Settings};
use crate::source::dir;
use crate::translate::{Translation, translate};

/// What to print.
#[derive(Args, Debug)]
pub struct RenderArgs {
    /// A folder of Kubernetes YAML files
    pub path: PathBuf,

    /// Only this Gateway
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub gateway: Option<String>,

    /// Print a whole Envoy configuration that needs no control plane
    #[arg(long = "static")]
    pub whole: bool,

    /// Print the Kubernetes objects that would be made for each Gateway
    #[arg(long, conflicts_with_all = ["whole", "gateway"])]
    pub objects: bool,

    /// How those objects are made.
    #[command(flatten)]
    pub provision: ProvisionArgs,

    /// The filter's wasm module, at the path where Envoy finds it
    #[arg(long, value_name = "PATH", default_value = "target/wasm/toolward.wasm", env = "TOOLWARD_WASM_FILE")]
    pub wasm_file: PathBuf,

    /// File with the keys under which sessions are bound to callers; without it they are not bound, and belong to whoever
    /// knows their ids
    #[arg(long, value_name = "FILE", env = "TOOLWARD_BINDING_KEYS")]
    pub binding_keys: Option<PathBuf>,

    /// What is made of the resources.
    #[command(flatten)]
    pub settings: Settings,
}

/// Why nothing is printed.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// The folder can't be read.
    #[error("{}", lines(.0))]
    Source(Vec<Problem>),
    /// There is no such Gateway.
    #[error("there is no Gateway {name}; there are: {known}")]
    #[expect(missing_docs, reason = "the names say it")]
    UnknownGateway { name: String, known: String },
    /// A static configuration is that of one Gateway.
    #[error("a static configuration is that of one Gateway; choose it with --gateway. There are: {known}")]
    #[expect(missing_docs, reason = "the names say it")]
    ChooseGateway { known: String },
    /// There are no keys in the file.
    #[error(transparent)]
    BindingKeys(#[from] BindingKeysError),
    /// Limits contradict each other.
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    /// A file that the command line names can't be read.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// A message can't be shown.
    #[error(transparent)]
    View(#[from] ViewError),
}

/// Prints YAML on standard output; what is wrong with the resources goes to standard error.
#[must_use]
pub fn run(args: &RenderArgs) -> ExitCode {
    match load(args).and_then(|(resources, translation)| text(args, &resources, translation)) {
        Ok(text) => {
            // A reader that has seen enough closes the pipe, which is no fault.
            let _ = std::io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("toolward: {error}");
            ExitCode::FAILURE
        }
    }
}

fn load(args: &RenderArgs) -> Result<(Resources, Translation), RenderError> {
    let resources = dir::load(&args.path).map_err(RenderError::Source)?;
    let keys = args.binding_keys.clone().map(|path| BindingKeys::open(Some(path))).transpose()?;
    let keys = keys.map(|keys| keys.keys().to_vec()).unwrap_or_default();
    let mut options = args.settings.translate_options(keys)?;
    options.quotas = options.quotas.of_one_owner();
    let translation = translate(&resources, &options);
    for problem in &translation.problems {
        eprintln!("{problem}");
    }
    Ok((resources, translation))
}

fn text(args: &RenderArgs, resources: &Resources, translation: Translation) -> Result<String, RenderError> {
    if args.objects {
        let objects = provision::all(resources, &translation, &args.provision.read()?);
        return Ok(yaml::documents(&objects));
    }
    let options = args.settings.render_options(args.wasm_file.display().to_string());
    let model = select(translation.model, args.gateway.as_deref())?;
    if args.whole { whole(&model, &options) } else { resources_of(&model, &options) }
}

fn select(mut model: Model, gateway: Option<&str>) -> Result<Model, RenderError> {
    let Some(name) = gateway else { return Ok(model) };
    let known = known(&model);
    let found = model.gateways.remove(&GatewayName(name.to_owned()));
    let gateway = found.ok_or_else(|| RenderError::UnknownGateway { name: name.to_owned(), known })?;
    Ok(Model { gateways: [(GatewayName(name.to_owned()), gateway)].into_iter().collect() })
}

/// The names of all Gateways, for messages.
fn known(model: &Model) -> String {
    let names: Vec<&str> = model.gateways.keys().map(|name| name.0.as_str()).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn whole(model: &Model, options: &RenderOptions) -> Result<String, RenderError> {
    let mut gateways = model.gateways.values();
    match (gateways.next(), gateways.next()) {
        (Some(gateway), None) => Ok(bootstrap(gateway, options)?),
        _ => Err(RenderError::ChooseGateway { known: known(model) }),
    }
}

fn resources_of(model: &Model, options: &RenderOptions) -> Result<String, RenderError> {
    let snapshot = render(model, options);
    let mut gateways = Map::new();
    for (name, gateway) in &snapshot.gateways {
        gateways.insert(name.0.clone(), json!(view::gateway(gateway)?));
    }
    Ok(yaml::document(&Value::Object(gateways)))
}

fn lines(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    lines.join("\n")
}
