//! What `toolward serve` is told, and why it may end.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;

use super::key_sets::KeySetArgs;
use super::names::NameArgs;
use super::xds::{Exposed, XdsArgs};
use crate::ads::tls::TlsError;
use crate::binding_keys::BindingKeysError;
use crate::cluster::ClusterArgs;
use crate::settings::{NoRoom, Settings};

/// Arguments of `toolward serve`.
#[derive(Args, Clone, Debug)]
pub struct ServeArgs {
    /// Where the resources come from: `kubernetes`, the API server of the cluster that it runs in or of the current
    /// kubeconfig; or dir:PATH, a folder of Kubernetes YAML files, read again whenever it changes
    #[arg(long, value_name = "kubernetes|dir:PATH", env = "TOOLWARD_SOURCE")]
    pub source: Source,

    /// The filter's wasm module. Envoy reads it from this path, so the path must be right for Envoy as well
    #[arg(long, value_name = "PATH", env = "TOOLWARD_WASM_FILE")]
    pub wasm_file: PathBuf,

    /// Address of the admin port: /ready, /metrics, /problems, /snapshot, /clients
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:18001", env = "TOOLWARD_ADMIN_ADDRESS")]
    pub admin_address: SocketAddr,

    /// Another address for /ready and /metrics alone, for kubelet and Prometheus, which don't reach the admin port
    #[arg(long, value_name = "IP:PORT", env = "TOOLWARD_HEALTH_ADDRESS")]
    pub health_address: Option<SocketAddr>,

    /// File with the keys under which sessions and tasks are bound to callers, one in each line: the first binds, all are
    /// recognized. By default one in the user's folder for state
    #[arg(long, value_name = "FILE", env = "TOOLWARD_BINDING_KEYS")]
    pub binding_keys: Option<PathBuf>,

    /// What is made of the resources.
    #[command(flatten)]
    pub settings: Settings,

    /// The port for Envoys.
    #[command(flatten)]
    pub xds: XdsArgs,

    /// What is written to a cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,

    /// How key sets are fetched.
    #[command(flatten)]
    pub key_sets: KeySetArgs,

    /// How names of hosts are resolved.
    #[command(flatten)]
    pub names: NameArgs,
}

/// Where resources come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A Kubernetes API server.
    Kubernetes,
    /// A folder of YAML files.
    Dir(PathBuf),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kubernetes => f.write_str("kubernetes"),
            Self::Dir(folder) => write!(f, "dir:{}", folder.display()),
        }
    }
}

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("dir", path)) if !path.is_empty() => Ok(Self::Dir(PathBuf::from(path))),
            None if text == "kubernetes" => Ok(Self::Kubernetes),
            _ => Err("a source is `kubernetes`, or dir:PATH such as dir:./manifests".to_owned()),
        }
    }
}

/// Why `toolward serve` ends before it is told to.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// There is no wasm module at that path.
    #[error("the wasm module {}: {cause}. Build it with `make wasm`, or name another with --wasm-file", path.display())]
    #[expect(missing_docs, reason = "the names say it")]
    WasmFile { path: PathBuf, cause: io::Error },
    /// An address is taken, or not ours.
    #[error("can't listen on {address}: {cause}. Choose another with {option}")]
    #[expect(missing_docs, reason = "the names say it")]
    Listen { address: SocketAddr, option: &'static str, cause: io::Error },
    /// The xDS port would be open to anybody.
    #[error(transparent)]
    Exposed(#[from] Exposed),
    /// The certificate of the xDS port can't be used.
    #[error("{0}. Name other files with --xds-tls-cert, --xds-tls-key and --xds-client-ca")]
    Certificate(#[from] TlsError),
    /// There are no keys for sessions.
    #[error(transparent)]
    BindingKeys(#[from] BindingKeysError),
    /// Limits contradict each other.
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    /// There is no way to an API server.
    #[error("no Kubernetes API server to read from: {0}. Run in a cluster, or set KUBECONFIG")]
    Kubernetes(String),
    /// A part that runs as long as the program has ended.
    #[error("{0} ended unexpectedly")]
    Ended(&'static str),
    /// The operating system refuses something else.
    #[error(transparent)]
    Io(#[from] io::Error),
}
