//! What Envoy is told: the manifests of a protected server, rendered by the control plane.

use std::net::TcpListener;

use serde_json::{Value, json};
use toolward_tests::folder::Folder;
use toolward_tests::{envoy, stack, toolward};

/// Where our filter stands: before it the one that gives it the keys for binding, behind it the router.
pub(crate) const FILTER: usize = 1;

/// How many tools a server has.
pub(crate) const TOOLS: usize = 200;

/// How many of them are granted.
pub(crate) const GRANTED: usize = 150;

/// An Envoy's configuration without a control plane.
#[derive(Clone, Debug)]
pub(crate) struct World(pub(crate) Value);

impl World {
    /// A server on this port, behind a policy of so many rules that together grant [`GRANTED`] tools to a group.
    pub(crate) fn render(jwks: &Value, rules: usize, upstream: u16, wasm: &str) -> Self {
        let folder = Folder::new();
        folder.write("gateway.yaml", &stack::gateway(8080));
        folder.write("route.yaml", &stack::route("/mcp"));
        folder.write("backend.yaml", &stack::backend(upstream));
        folder.write("policy.yaml", &stack::policy(&jwks.to_string(), &self::rules(rules)));
        let keys = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(&keys, "iDR4vGU0irbldDD6WgnX2VNxANKvMQNG7iSjk-uNNPc\n").expect("writable");
        let keys = keys.path().to_str().expect("UTF-8");
        let folder = folder.path().to_str().expect("UTF-8");
        // A line for each request costs all chains the same, and is not what is measured.
        // Every wrong signature is looked at, so that what one costs is measured.
        let budget = ["--signature-budget", "1000"];
        let arguments = [["--wasm-file", wasm], ["--binding-keys", keys], ["--access-log", "off"], budget].concat();
        let output = toolward::run(&[&["render", "--static", folder], &arguments[..]].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut config: Value = serde_yaml_ng::from_slice(&output.stdout).expect("YAML");
        config["admin"] = envoy::admin();
        // Without it a configuration is not taken from a file.
        config["node"] = json!({ "id": "envoy-1", "cluster": "bench" });
        let listener = &mut config["static_resources"]["listeners"][0];
        listener["address"]["socket_address"]["address"] = json!("127.0.0.1");
        Self(config)
    }

    /// The configuration of HTTP.
    pub(crate) fn connection_manager(&mut self) -> &mut Value {
        &mut self.0["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    }

    /// Other filters in place of ours.
    pub(crate) fn with_filters(&self, filters: Vec<Value>) -> Self {
        let mut world = self.clone();
        world.connection_manager()["http_filters"].as_array_mut().expect("filters").splice(..=FILTER, filters);
        world
    }

    /// What the filter is told.
    pub(crate) fn filter_config(&mut self) -> Value {
        serde_json::from_str(self.filter_text().as_str().expect("text")).expect("JSON")
    }

    /// Tells the filter something else.
    pub(crate) fn tell_filter(&mut self, config: &Value) {
        *self.filter_text() = json!(config.to_string());
    }

    fn filter_text(&mut self) -> &mut Value {
        &mut self.connection_manager()["http_filters"][FILTER]["typed_config"]["config"]["configuration"]["value"]
    }

    /// Another module in our filter's place, which is told this.
    pub(crate) fn with_module(&self, file: &str, told: &str) -> Self {
        let mut world = self.clone();
        *world.filter_text() = json!(told);
        let filter = &mut world.connection_manager()["http_filters"][FILTER]["typed_config"]["config"];
        filter["vm_config"]["code"]["local"]["filename"] = json!(file);
        world
    }

    /// The same with so many more policies in the filter's table.
    pub(crate) fn with_more_policies(mut self, count: usize) -> Self {
        let mut config = self.filter_config();
        add_policies(&mut config, count);
        self.tell_filter(&config);
        self
    }

    /// The whole, for a listener on this port.
    pub(crate) fn on(&self, port: u16) -> String {
        let mut config = self.0.clone();
        config["static_resources"]["listeners"][0]["address"]["socket_address"]["port_value"] = json!(port);
        serde_yaml_ng::to_string(&config).expect("YAML")
    }
}

/// Adds copies of the policies that are there.
pub(crate) fn add_policies(config: &mut Value, count: usize) {
    let policies = config["policies"].as_object_mut().expect("an object");
    let of_route = policies.iter().find(|(key, _)| key.starts_with("route:")).expect("a policy").1.clone();
    policies.extend((0..count).map(|number| (format!("route: another {number}"), of_route.clone())));
}

/// Rules that grant the tools in turn.
fn rules(count: usize) -> String {
    let rule = |rule: usize| {
        let tools: Vec<String> = (rule..GRANTED.max(count)).step_by(count).map(tool).collect();
        let tools = tools.join(", ");
        format!("\n    - {{ name: rule-{rule}, tools: [{tools}], claims: [{{ path: groups, contains: dev }}] }}")
    };
    (0..count).map(rule).collect()
}

/// The name of a tool; those past [`GRANTED`] are not granted.
pub(crate) fn tool(number: usize) -> String {
    format!("tool-{number:03}")
}

/// A port with its listener, for the stub.
pub(crate) fn bind() -> (u16, TcpListener) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    listener.set_nonblocking(true).expect("a listener");
    (listener.local_addr().expect("a port").port(), listener)
}
