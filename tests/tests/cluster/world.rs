//! What most tests begin with: a cluster with a Gateway, an MCP server behind a Service, and a policy; one replica of
//! `toolward` and an Envoy.

use std::net::IpAddr;

use serde_json::Value;
use toolward_tests::cluster::{Cluster, NAMESPACE};
use toolward_tests::envoy::Envoy;
use toolward_tests::http::{self, Answer, call};
use toolward_tests::ports;
use toolward_tests::process::eventually;
use toolward_tests::stack::gateway;
use toolward_tests::toolward::{AUDIENCE, ISSUER, Issuer, Toolward};
use toolward_tests::upstream::{OK, Upstream};

/// A running whole.
pub(crate) struct World {
    pub(crate) cluster: Cluster,
    pub(crate) toolward: Toolward,
    pub(crate) envoy: Option<Envoy>,
    pub(crate) issuer: Issuer,
    pub(crate) upstream: Upstream,
    pub(crate) port: u16,
    client: reqwest::blocking::Client,
}

impl World {
    pub(crate) fn start() -> Self {
        let cluster = Cluster::start();
        let (issuer, upstream, port) = (Issuer::new("ES256"), Upstream::start_on(this_machine()), ports::free());
        cluster.apply(&gateway(port).replace("name: mcp-gateway", "name: mcp-gateway, namespace: default"));
        cluster.apply(&server(upstream.port));
        cluster.apply(&keys(&issuer.jwks()));
        cluster.apply(&route("math", "default"));
        cluster.apply(&policy("[add, echo]"));
        let toolward = replica(&cluster, "one");
        let envoy = Envoy::with_control_plane("default/mcp-gateway", toolward.xds);
        let world = Self { cluster, toolward, envoy: Some(envoy), issuer, upstream, port, client: http::client() };
        eventually("the Gateway answers", || world.client.get(world.url("/mcp")).send().is_ok());
        world
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub(crate) fn ask(&self, token: &str, tool: &str) -> Answer {
        http::send(http::post(&self.client, &self.url("/mcp"), call(tool)).bearer_auth(token))
    }

    /// The answer to a call without a token, at this path.
    pub(crate) fn ask_anonymously(&self, path: &str) -> Answer {
        http::send(http::post(&self.client, &self.url(path), call("add")))
    }

    /// Whether a call without a token is answered 503 for this reason. It must not come through.
    pub(crate) fn is_closed(&self, path: &str, reason: &str) -> bool {
        let answer = self.ask_anonymously(path);
        assert_ne!(answer.text, OK, "{path} is open");
        answer.status == 503 && answer.reason().as_deref() == Some(reason)
    }

    /// The condition of this type of an object of the namespace `default`, in the first status that has one.
    pub(crate) fn condition(&self, kind: &str, name: &str, condition: &str) -> (String, String) {
        condition_of(&self.cluster.get(kind, "default", name), condition)
    }

    pub(crate) fn has_condition(&self, kind: &str, name: &str, condition: &str, status: &str, reason: &str) -> bool {
        self.condition(kind, name, condition) == (status.to_owned(), reason.to_owned())
    }
}

/// Status and reason of a condition, wherever it stands in a status.
pub(crate) fn condition_of(object: &Value, condition: &str) -> (String, String) {
    let status = &object["status"];
    let lists = [&status["parents"][0]["conditions"], &status["ancestors"][0]["conditions"], &status["conditions"]];
    let conditions = lists.into_iter().filter_map(Value::as_array).flatten();
    let found = conditions.into_iter().find(|found| found["type"] == condition);
    let text = |name: &str| found.and_then(|found| found[name].as_str()).unwrap_or_default().to_owned();
    (text("status"), text("reason"))
}

/// `toolward` as it runs in the cluster, but for the Envoys, which the tests start themselves.
pub(crate) fn replica(cluster: &Cluster, name: &str) -> Toolward {
    replica_on(cluster, name, ports::free(), ports::free())
}

/// The same on these ports.
pub(crate) fn replica_on(cluster: &Cluster, name: &str, xds: u16, admin: u16) -> Toolward {
    let account = cluster.service_account(NAMESPACE, "toolward");
    // Issuers of tests are on this machine.
    let networks = ["--key-set-networks", "127.0.0.0/8"];
    let arguments = [["--provision", "false"], ["--namespace", NAMESPACE], ["--identity", name], networks].concat();
    let toolward = Toolward::in_cluster_on(&account, xds, admin, &arguments);
    toolward.wait_until_ready();
    toolward
}

/// The Service `default/math` with a loopback address behind it, and the MCPBackend for it.
pub(crate) fn server(port: u16) -> String {
    format!(
        "apiVersion: v1
kind: Service
metadata: {{ name: math, namespace: default }}
spec: {{ ports: [{{ port: 80, targetPort: {port} }}] }}
---
apiVersion: toolward.dev/v1alpha1
kind: MCPBackend
metadata: {{ name: math, namespace: default }}
spec:
  targets: [{{ name: math, service: {{ name: math, port: 80 }}, path: /mcp }}]
---
{}",
        slice(port)
    )
}

/// The EndpointSlice of that Service. An API server takes no loopback addresses there.
pub(crate) fn slice(port: u16) -> String {
    format!(
        "apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{ name: math-1, namespace: default, labels: {{ kubernetes.io/service-name: math }} }}
addressType: IPv4
ports: [{{ port: {port} }}]
endpoints: [{{ addresses: ['{}'], conditions: {{ ready: true }} }}]
",
        this_machine()
    )
}

/// An address of this machine that is not loopback; the address from which it would reach others.
pub(crate) fn this_machine() -> IpAddr {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").expect("a socket");
    socket.connect("192.0.2.1:9").expect("a route");
    socket.local_addr().expect("an address").ip()
}

/// A GatewayClass of another controller.
pub(crate) const OTHER_CLASS: &str = "apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: { name: other }
spec: { controllerName: example.com/other }
";

/// The ConfigMap `default/login-keys`.
pub(crate) fn keys(jwks: &str) -> String {
    format!(
        "apiVersion: v1
kind: ConfigMap
metadata: {{ name: login-keys, namespace: default }}
data: {{ jwks.json: '{jwks}' }}
"
    )
}

/// The HTTPRoute with this name and namespace, from `/mcp` to the MCPBackend `default/math`.
pub(crate) fn route(name: &str, namespace: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{ name: {name}, namespace: {namespace} }}
spec:
  parentRefs: [{{ name: mcp-gateway, namespace: default }}]
  rules:
  - matches: [{{ path: {{ type: PathPrefix, value: /mcp }} }}]
    backendRefs: [{{ group: toolward.dev, kind: MCPBackend, name: math, namespace: default, port: 80 }}]
"
    )
}

/// The HTTPRoute `default/NAME` from `/NAME` to the Service `default/math`, which is open where nobody protects it.
pub(crate) fn open_route(name: &str) -> String {
    let to_service = "backendRefs: [{ name: math, port: 80 }]";
    let to_backend =
        "backendRefs: [{ group: toolward.dev, kind: MCPBackend, name: math, namespace: default, port: 80 }]";
    route(name, "default").replace("value: /mcp", &format!("value: /{name}")).replace(to_backend, to_service)
}

/// The same policy under another name, for an HTTPRoute alone.
pub(crate) fn policy_of_route(name: &str, route: &str) -> String {
    let policy = policy("[add, echo]").replace("name: math, namespace", &format!("name: {name}, namespace"));
    policy.replace("kind: Gateway, name: mcp-gateway", &format!("kind: HTTPRoute, name: {route}"))
}

/// The policy `default/math` on the Gateway: team ops may use these tools.
pub(crate) fn policy(tools: &str) -> String {
    format!(
        "apiVersion: toolward.dev/v1alpha1
kind: MCPAccessPolicy
metadata: {{ name: math, namespace: default }}
spec:
  targetRefs: [{{ group: gateway.networking.k8s.io, kind: Gateway, name: mcp-gateway }}]
  authentication:
    issuers: [{{ issuer: {ISSUER}, audiences: [{AUDIENCE}], jwks: {{ configMapRef: {{ name: login-keys }} }} }}]
  authorization:
    rules:
    - name: ops-may
      tools: {tools}
      claims: [{{ path: team, in: [ops] }}]
"
    )
}
