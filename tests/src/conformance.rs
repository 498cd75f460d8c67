//! The official conformance suite, which knows no tokens, and what it finds.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde::Deserialize;
use tempfile::TempDir;

use crate::envoy::{self, Envoy};
use crate::servers::Era;
use crate::tools::{tools, wire_tools};

/// What one check found, as the suite names it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Check {
    /// Its name.
    pub id: String,
    /// `SUCCESS`, `FAILURE`, `WARNING`, `SKIPPED` or `INFO`.
    pub status: String,
    /// What is wrong.
    #[serde(default, rename = "errorMessage")]
    pub error: Option<String>,
}

impl Check {
    /// Whether it found what it looked for.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.status == "SUCCESS"
    }
}

/// Runs every scenario for an era against a server, and gives the checks of each in their order.
///
/// # Panics
/// When the suite does not run.
#[must_use]
pub fn run(url: &str, era: Era) -> BTreeMap<String, Vec<Check>> {
    let folder = TempDir::new().expect("a folder");
    let output = Command::new(&tools().node)
        .arg(&wire_tools().conformance)
        .args(["server", "--url", url, "--requirements", era.revision(), "--output-dir"])
        .arg(folder.path())
        .output()
        .expect("Node.js starts");
    let scenarios = results(folder.path());
    assert!(
        scenarios.len() > 30,
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    scenarios
}

/// Reads `server-SCENARIO-TIME/checks.json` for each scenario.
fn results(folder: &Path) -> BTreeMap<String, Vec<Check>> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let read = |entry: std::fs::DirEntry| {
        let name = entry.file_name().into_string().expect("UTF-8");
        let scenario =
            name.strip_prefix("server-").and_then(|name| name.get(..name.len() - "-2026-07-28T00-00-00-000Z".len()));
        let text = std::fs::read_to_string(entry.path().join("checks.json")).expect("checks");
        (scenario.expect("a scenario").to_owned(), serde_json::from_str(&text).expect("checks"))
    };
    entries.map(|entry| read(entry.expect("an entry"))).collect()
}

/// An Envoy that adds a token to everything and passes it on to a port of this machine.
#[derive(Debug)]
pub struct TokenHelper(#[expect(dead_code, reason = "it ends with this")] Envoy);

impl TokenHelper {
    /// Starts one on a port.
    #[must_use]
    pub fn start(port: u16, gateway: u16, token: &str) -> Self {
        let admin = envoy::admin();
        let config = format!(
            r#"
admin: {admin}
static_resources:
  listeners:
  - address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: helper
          stream_idle_timeout: 0s
          route_config:
            request_headers_to_add:
            - {{ header: {{ key: authorization, value: "Bearer {token}" }}, append_action: OVERWRITE_IF_EXISTS_OR_ADD }}
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes: [{{ match: {{ prefix: / }}, route: {{ cluster: gateway, timeout: 0s }} }}]
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }}
  clusters:
  - name: gateway
    connect_timeout: 5s
    load_assignment:
      cluster_name: gateway
      endpoints:
      - lb_endpoints:
        - endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {gateway} }} }} }}
"#
        );
        Self(Envoy::with_config(&config))
    }
}
