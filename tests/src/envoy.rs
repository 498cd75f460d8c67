//! A real Envoy.

use std::path::PathBuf;
use std::process::Command;

use reqwest::blocking::Client;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::credentials::Credentials;
use crate::http;
use crate::process::Process;
use crate::tools::{root, tools};

/// Where the configurations that ship have the admin interface; each Envoy here has one of its own.
pub const ADMIN_SOCKET: &str = "/tmp/envoy-admin.sock";

/// The member `admin` of a configuration.
#[must_use]
pub fn admin() -> Value {
    json!({ "address": { "pipe": { "path": ADMIN_SOCKET, "mode": 0o600 } } })
}

/// A running Envoy.
#[derive(Debug)]
pub struct Envoy {
    /// Where it answers questions about itself.
    pub admin: PathBuf,
    /// The process.
    pub process: Process,
    client: Client,
    _folder: TempDir,
}

impl Envoy {
    /// One that gets everything from a control plane on this port: `envoy/ads.yaml`.
    #[must_use]
    pub fn with_control_plane(gateway: &str, xds: u16) -> Self {
        Self::with_control_planes(gateway, &[xds])
    }

    /// The same with several replicas of the control plane, of which it asks one at a time.
    ///
    /// # Panics
    /// When `envoy/ads.yaml` has no control plane.
    #[must_use]
    pub fn with_control_planes(gateway: &str, xds: &[u16]) -> Self {
        let config = shipped("envoy/ads.yaml");
        let endpoint = config.lines().find(|line| line.contains("port_value: 18000")).expect("an endpoint");
        let endpoints: Vec<String> = xds.iter().map(|xds| endpoint.replace("18000", &xds.to_string())).collect();
        let config = config.replace(endpoint, &endpoints.join("\n"));
        Self::start(&config, &["--service-cluster", gateway, "--service-node", "envoy-1"])
    }

    /// The same with a name server on this port of loopback.
    #[must_use]
    pub fn with_names(gateway: &str, xds: u16, names: u16) -> Self {
        let config = shipped("envoy/ads.yaml").replace("port_value: 18000", &format!("port_value: {xds}"));
        let config = format!(
            "{config}
typed_dns_resolver_config:
  name: envoy.network.dns_resolver.cares
  typed_config:
    \"@type\": type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig
    resolvers: [{{ socket_address: {{ address: 127.0.0.1, port_value: {names} }} }}]
    dns_resolver_options: {{ use_tcp_for_dns_lookups: false, no_default_search_domain: true }}
"
        );
        Self::start(&config, &["--service-cluster", gateway, "--service-node", "envoy-1"])
    }

    /// The same with the state of the world in place of changes.
    ///
    /// # Panics
    /// When the bootstrap does not say which it is.
    #[must_use]
    pub fn with_state_of_the_world(gateway: &str, xds: u16) -> Self {
        let config = shipped("envoy/ads.yaml");
        assert!(config.contains("api_type: DELTA_GRPC"), "{config}");
        let config = config.replace("api_type: DELTA_GRPC", "api_type: GRPC");
        let config = config.replace("port_value: 18000", &format!("port_value: {xds}"));
        Self::start(&config, &["--service-cluster", gateway, "--service-node", "envoy-1"])
    }

    /// One with a bootstrap of its own that says which Gateway it is, and has [`admin`]. It may never be ready.
    #[must_use]
    pub fn unready(config: &str) -> Self {
        Self::launch(config, &["--service-node", "other"])
    }

    /// One that gets everything over TLS from a control plane on this port, by a bootstrap of `envoy/` with these
    /// credentials. It is not waited for: it may be turned away.
    #[must_use]
    pub fn secured(bootstrap: &str, credentials: &Credentials, gateway: &str, xds: u16) -> Self {
        let config = credentials.put_into(&shipped(bootstrap)).replace(
            "address: toolward.toolward-system.svc, port_value: 18000",
            &format!("address: 127.0.0.1, port_value: {xds}"),
        );
        Self::launch(&config, &["--service-cluster", gateway, "--service-node", "envoy-1"])
    }

    /// One that runs a whole configuration with [`admin`].
    #[must_use]
    pub fn with_config(config: &str) -> Self {
        Self::start(config, &["--service-node", "envoy-1"])
    }

    /// The same with so many workers.
    #[must_use]
    pub fn with_workers(config: &str, workers: usize) -> Self {
        Self::start(config, &["--service-node", "envoy-1", "--concurrency", &workers.to_string()])
    }

    fn start(config: &str, arguments: &[&str]) -> Self {
        let mut envoy = Self::launch(config, arguments);
        envoy.wait_until_ready();
        envoy
    }

    fn launch(config: &str, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let admin = folder.path().join("admin.sock");
        assert!(config.contains(ADMIN_SOCKET), "an admin interface of its own: {config}");
        let file = folder.path().join("envoy.yaml");
        let config = config.replace(ADMIN_SOCKET, &admin.display().to_string());
        std::fs::write(&file, config).expect("a file");
        let mut command = Command::new(&tools().envoy);
        command.arg("-c").arg(&file).args(["--use-dynamic-base-id", "-l", "warning"]);
        if !arguments.contains(&"--concurrency") {
            command.args(["--concurrency", "1"]);
        }
        // The access log is read while Envoy runs.
        command.args(["--file-flush-interval-msec", "100"]);
        // What the filter says.
        command.args(["--component-log-level", "wasm:info"]);
        let process = Process::start("envoy", command.args(arguments).current_dir(root()));
        let client = Client::builder().timeout(None).no_proxy().unix_socket(admin.as_path()).build().expect("a client");
        Self { admin, process, client, _folder: folder }
    }

    /// Waits until it has been told what to serve, or has given up waiting for it.
    fn wait_until_ready(&mut self) {
        let client = self.client.clone();
        let is_ready = || client.get("http://envoy/ready").send().is_ok_and(|answer| answer.status().is_success());
        self.process.wait_until("ready", is_ready);
    }

    /// What the admin interface says at this path.
    #[must_use]
    pub fn admin(&self, path: &str) -> String {
        http::send(self.client.get(format!("http://envoy{path}"))).text
    }

    /// The value of a counter or gauge; zero where it does not exist yet.
    #[must_use]
    pub fn stat(&self, name: &str) -> u64 {
        let stats = self.admin(&format!("/stats?filter={}", name.replace('.', "\\.").replace('/', "%2F")));
        stats.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")?.parse().ok()).unwrap_or(0)
    }

    /// The lines of its access log, as JSON.
    #[must_use]
    pub fn access_log(&self) -> Vec<serde_json::Value> {
        self.process.log().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }
}

/// A file of the repository.
///
/// # Panics
/// When it is not there.
#[must_use]
pub fn shipped(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}
