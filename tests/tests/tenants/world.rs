//! What all of them share: the example's set-up, and what is worse.

use std::net::IpAddr;
use std::sync::Arc;

use serde_json::{Value, json};
use toolward_tests::cluster::{Cluster, NAMESPACE};
use toolward_tests::credentials::{Authority, Credentials, Mount};
use toolward_tests::envoy::{Envoy, shipped};
use toolward_tests::http::{self, Answer, call};
use toolward_tests::mcp_server::{McpServer, Sdk};
use toolward_tests::ports;
use toolward_tests::process::eventually;
use toolward_tests::tools::root;
use toolward_tests::toolward::{Issuer, Toolward, run};
use toolward_tests::upstream::Upstream;

use crate::objects::{policy, prefix, route, to_backend};
use crate::tenant::Tenant;

/// The shared Gateway.
pub(crate) const GATEWAY: (&str, &str) = ("mcp-platform", "shared");

/// The honest team, and the others.
pub(crate) const HONEST: &str = "team-a";
pub(crate) const HOSTILE: [&str; 2] = ["team-b", "team-c"];

/// The honest team's hostname on its own listener, and on the one that all share.
pub(crate) const OWN_HOST: &str = "team-a.mcp.example.com";
pub(crate) const SHARED_HOST: &str = "math.example.com";

/// The listener that takes routes of all namespaces.
pub(crate) const SHARED_LISTENER: &str = "all";

/// What an Envoy of ours may have, where its Gateway has no parameters, in MiB.
pub(crate) const ENVOY_MIB: u64 = 1024;

pub(crate) struct World {
    pub(crate) cluster: Cluster,
    pub(crate) toolward: Toolward,
    pub(crate) envoy: Envoy,
    pub(crate) issuer: Issuer,
    pub(crate) authority: Authority,
    pub(crate) honest: Tenant,
    /// The honest team's server.
    pub(crate) server: McpServer,
    /// Where nobody's route may lead: a server on loopback.
    pub(crate) trap: Upstream,
    /// A server of the hostile tenants.
    pub(crate) evil: Upstream,
    /// The ports of the Gateway: of the teams' own listeners, and of the shared one.
    pub(crate) own: u16,
    pub(crate) shared: u16,
    client: reqwest::blocking::Client,
    _files: (Mount, Mount, Credentials),
}

impl World {
    /// Starts everything, with the files of the example that are named.
    pub(crate) fn start(files: &[&str]) -> Arc<Self> {
        let cluster = Cluster::start();
        let issuer = Issuer::new("ES256");
        let (own, shared) = (ports::free(), ports::free());
        for file in files {
            let text = shipped(&format!("manifests/examples/multi-tenant/{file}"));
            let text = text.replace("port: 3000", &format!("port: {own}"));
            cluster.apply(&text.replace(r#"{"keys":[]}"#, &issuer.jwks()));
        }
        cluster.kubectl(&["create", "namespace", HOSTILE[1]]);
        let listeners = json!([{ "op": "add", "path": "/spec/listeners/-", "value": {
            "name": SHARED_LISTENER, "port": shared, "protocol": "HTTP",
            "allowedRoutes": { "namespaces": { "from": "All" } },
        } }]);
        let (namespace, name) = GATEWAY;
        cluster.kubectl(&["patch", "gateway", "-n", namespace, name, "--type=json", "-p", &listeners.to_string()]);

        let script = root().join("manifests/examples/quickstart/server.py");
        let server = McpServer::start_on(this_machine(), Sdk::V2, &script);
        let honest = Tenant::new(&cluster, HONEST, &[]);
        set_up(&cluster, &honest, server.port);

        let authority = Authority::new();
        let certificate = Mount::new(&authority.server());
        let keys = String::from_utf8(run(&["binding-keys", "--key"]).stdout).expect("UTF-8");
        let keys = Mount::new(&[("keys", keys)]);
        let files = [certificate.path("tls.crt"), certificate.path("tls.key"), keys.path("keys")];
        let files = files.map(|path| path.to_str().expect("UTF-8").to_owned());
        let arguments = arguments(&authority, &certificate, &files);
        let account = cluster.service_account(NAMESPACE, "toolward");
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let toolward = Toolward::in_cluster(&account, &arguments);
        toolward.wait_until_ready();

        let envoy_account = format!("{name}-toolward");
        let exists = || cluster.try_kubectl(&["get", "serviceaccount", "-n", namespace, &envoy_account], "").is_ok();
        eventually("the Envoys' account", exists);
        let token = cluster.token(namespace, &envoy_account, "toolward.dev/xds");
        let credentials = Credentials::new(&[("token", token)], &authority);
        let gateway = format!("{namespace}/{name}");
        let envoy = Envoy::secured("envoy/ads-tls.yaml", &credentials, &gateway, toolward.xds);
        let (trap, evil) = (Upstream::start(), Upstream::start_on(this_machine()));
        let (client, files) = (http::client(), (certificate, keys, credentials));
        let world = Self {
            cluster,
            toolward,
            envoy,
            issuer,
            authority,
            honest,
            server,
            trap,
            evil,
            own,
            shared,
            client,
            _files: files,
        };
        let token = world.issuer.of_team("ops");
        for (port, host) in world.ways() {
            eventually("the honest team's server answers", || {
                world.try_call(port, host, &token, "add").is_some_and(|answer| answer.text.contains(r#""13""#))
            });
        }
        Arc::new(world)
    }

    /// The ways to the honest team's server.
    pub(crate) fn ways(&self) -> [(u16, &'static str); 2] {
        [(self.own, OWN_HOST), (self.shared, SHARED_HOST)]
    }

    /// Calls a tool at this port of the Gateway; none: nobody answers.
    pub(crate) fn try_call(&self, port: u16, host: &str, token: &str, tool: &str) -> Option<Answer> {
        self.try_at(&format!("http://127.0.0.1:{port}/mcp"), host, token, tool)
    }

    pub(crate) fn try_at(&self, url: &str, host: &str, token: &str, tool: &str) -> Option<Answer> {
        let request = http::post(&self.client, url, call(tool)).bearer_auth(token).header("host", host);
        let answer = request.timeout(std::time::Duration::from_secs(20)).send().ok()?;
        Some(Answer {
            status: answer.status().as_u16(),
            content_type: String::new(),
            challenge: None,
            text: answer.text().ok()?,
        })
    }
}

/// The honest team applies the example, with its own rights, and takes part in the shared listener.
fn set_up(cluster: &Cluster, honest: &Tenant, port: u16) {
    let text = shipped("manifests/examples/multi-tenant/team-a.yaml");
    for document in text.split("\n---\n") {
        let object: Value = serde_yaml_ng::from_str(document).expect("YAML");
        honest.applies(&object);
    }
    let rules = json!([prefix("/mcp", &to_backend("math"))]);
    honest.applies(&route("math-shared", SHARED_LISTENER, &[SHARED_HOST], rules));
    honest.applies(&granting(&["add"]));
    let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "own" }, "stringData": { "tls.crt": "x", "tls.key": "x" }, "type": "kubernetes.io/tls" });
    honest.applies(&secret);
    // What the controllers of a cluster would make of the Service.
    cluster.apply(&slice(HONEST, "math", port));
}

/// The honest team's policy: team ops may use these tools.
pub(crate) fn granting(tools: &[&str]) -> Value {
    let rule = json!({ "name": "ops-may", "tools": tools, "claims": [{ "path": "team", "in": ["ops"] }] });
    policy("math", "MCPBackend", "math", &json!({ "authorization": { "rules": [rule] } }))
}

/// The EndpointSlice of a Service. An API server takes no loopback addresses there.
pub(crate) fn slice(namespace: &str, service: &str, port: u16) -> String {
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": { "name": format!("{service}-1"), "namespace": namespace,
            "labels": { "kubernetes.io/service-name": service } },
        "ports": [{ "port": port }],
        "endpoints": [{ "addresses": [this_machine()], "conditions": { "ready": true } }],
    })
    .to_string()
}

/// The arguments of the manifest, with the files and addresses of this machine.
fn arguments(authority: &Authority, certificate: &Mount, files: &[String; 3]) -> Vec<String> {
    let deployment: Value = serde_yaml_ng::from_str(&shipped("manifests/deploy/deployment.yaml")).expect("YAML");
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    let ca = certificate.path("ca.crt");
    std::fs::write(&ca, &authority.pem).expect("writable");
    let [crt, key, keys] = files;
    let argument = |argument: &Value| {
        let argument = argument.as_str().expect("text");
        match argument.split_once('=').map_or(argument, |(name, _)| name) {
            // What the harness says.
            "serve" | "--source" | "--wasm-file" | "--xds-address" | "--health-address" => None,
            "--xds-tls-cert" => Some(format!("--xds-tls-cert={crt}")),
            "--xds-tls-key" => Some(format!("--xds-tls-key={key}")),
            "--xds-ca" => Some(format!("--xds-ca={}", ca.display())),
            "--binding-keys" => Some(format!("--binding-keys={keys}")),
            _ => Some(argument.to_owned()),
        }
    };
    let given = container["args"].as_array().expect("arguments").iter().filter_map(argument);
    given.chain(["--namespace", NAMESPACE, "--identity", "one"].map(str::to_owned)).collect()
}

/// What the control plane may have, as its manifest says, in MiB.
pub(crate) fn control_plane_mib() -> u64 {
    let deployment: Value = serde_yaml_ng::from_str(&shipped("manifests/deploy/deployment.yaml")).expect("YAML");
    let limit = &deployment["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"];
    limit.as_str().and_then(|limit| limit.strip_suffix("Mi")?.parse().ok()).expect("a limit in Mi")
}

/// An address of this machine that is not loopback; the address from which it would reach others.
pub(crate) fn this_machine() -> IpAddr {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").expect("a socket");
    socket.connect("192.0.2.1:9").expect("a route");
    socket.local_addr().expect("an address").ip()
}
