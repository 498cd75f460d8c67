//! Where the tools are: what `tools/env` says, which `make install` put there.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

/// The tools. Each one exists: a missing tool is a failed test.
#[derive(Clone, Debug)]
pub struct Tools {
    /// The Envoy binary.
    pub envoy: PathBuf,
    /// The filter's module.
    pub wasm: PathBuf,
    /// `PYTHONPATH` with the 1.x line of the Python SDK.
    pub python_v1: PathBuf,
    /// `PYTHONPATH` with the 2.x line of the Python SDK.
    pub python_v2: PathBuf,
    /// The Node.js binary.
    pub node: PathBuf,
    /// MCP Inspector's script.
    pub inspector: PathBuf,
    /// `PYTHONPATH` of the authorization server in Python.
    pub python_issuers: PathBuf,
    /// `NODE_PATH` of the issuer that forges.
    pub node_issuers: PathBuf,
    /// The control plane: the one built beside the tests, unless the variable `TOOLWARD` names another.
    pub toolward: PathBuf,
}

static TOOLS: LazyLock<Tools> = LazyLock::new(find);

/// The tools of this machine.
#[must_use]
pub fn tools() -> &'static Tools {
    &TOOLS
}

/// The root of the repository.
#[must_use]
pub fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// What servers and clients on all SDKs need. Each of it exists.
#[derive(Clone, Debug)]
pub struct WireTools {
    /// The folder of Node.js packages.
    pub node_modules: PathBuf,
    /// The official conformance suite's script.
    pub conformance: PathBuf,
    /// The folder with the programs on the Go SDK.
    pub go_sdk: PathBuf,
    /// The folder with the program on the Rust SDK.
    pub rust_sdk: PathBuf,
}

static WIRE_TOOLS: LazyLock<WireTools> = LazyLock::new(|| {
    let path = paths();
    WireTools {
        node_modules: path("TOOLWARD_NODE_MODULES"),
        conformance: path("TOOLWARD_CONFORMANCE"),
        go_sdk: path("TOOLWARD_GO_SDK"),
        rust_sdk: path("TOOLWARD_RUST_SDK"),
    }
});

/// The SDKs of this machine.
#[must_use]
pub fn wire_tools() -> &'static WireTools {
    &WIRE_TOOLS
}

/// A browser. Each of it exists.
#[derive(Clone, Debug)]
pub struct BrowserTools {
    /// The folder of Chromium's libraries and fonts, of what drives it, and of MCP Inspector 1.x.
    pub folder: PathBuf,
    /// Chromium.
    pub chromium: PathBuf,
}

static BROWSER_TOOLS: LazyLock<BrowserTools> = LazyLock::new(|| {
    let path = paths();
    BrowserTools { folder: path("TOOLWARD_BROWSER"), chromium: path("TOOLWARD_CHROMIUM") }
});

/// The browser of this machine.
#[must_use]
pub fn browser_tools() -> &'static BrowserTools {
    &BROWSER_TOOLS
}

/// What a Kubernetes API server needs. Each of it exists.
#[derive(Clone, Debug)]
pub struct ClusterTools {
    /// The folder with etcd, kube-apiserver and kubectl.
    pub programs: PathBuf,
    /// The folder with the CustomResourceDefinitions of Gateway API.
    pub gateway_api_crds: PathBuf,
}

static CLUSTER_TOOLS: LazyLock<ClusterTools> = LazyLock::new(|| {
    let path = paths();
    ClusterTools { programs: path("TOOLWARD_CLUSTER"), gateway_api_crds: path("TOOLWARD_GATEWAY_API_CRDS") }
});

/// The API server of this machine.
#[must_use]
pub fn cluster_tools() -> &'static ClusterTools {
    &CLUSTER_TOOLS
}

/// Finds paths by the names that `tools/env` has for them.
fn paths() -> impl Fn(&str) -> PathBuf {
    let output = Command::new(root().join("tools/env")).output().expect("tools/env runs");
    let said = String::from_utf8(output.stdout).expect("UTF-8");
    move |name| {
        let value = std::env::var(name)
            .ok()
            .or_else(|| said.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=').map(str::to_owned)));
        existing(PathBuf::from(value.unwrap_or_else(|| panic!("tools/env does not say {name}"))))
    }
}

fn find() -> Tools {
    let path = paths();
    Tools {
        envoy: path("TOOLWARD_ENVOY"),
        wasm: path("TOOLWARD_WASM"),
        python_v1: path("TOOLWARD_PYTHON_V1"),
        python_v2: path("TOOLWARD_PYTHON_V2"),
        node: path("TOOLWARD_NODE"),
        inspector: path("TOOLWARD_INSPECTOR"),
        python_issuers: path("TOOLWARD_PYTHON_ISSUERS"),
        node_issuers: path("TOOLWARD_NODE_ISSUERS"),
        toolward: existing(std::env::var_os("TOOLWARD").map_or_else(|| target().join("toolward"), PathBuf::from)),
    }
}

/// The folder for what tests report, in the folder of all that is built.
///
/// # Panics
/// When it can't be made.
#[must_use]
pub fn reports() -> PathBuf {
    let folder = target().with_file_name("reports");
    std::fs::create_dir_all(&folder).expect("writable");
    folder
}

/// The folder of built programs: tests run from `deps` below it, the demo from itself.
fn target() -> PathBuf {
    let program = std::env::current_exe().expect("a path");
    let folder = program.parent().expect("a folder");
    if folder.ends_with("deps") { folder.parent().expect("a folder").to_owned() } else { folder.to_owned() }
}

fn existing(path: PathBuf) -> PathBuf {
    assert!(path.exists(), "{} is missing: run `make install wasm build`", path.display());
    path
}
