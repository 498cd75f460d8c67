//! A Gateway that takes routes of all namespaces, by the manifests' own setting: who has a hostname keeps it, whatever another
//! tenant writes, and both are told.

use std::thread;
use std::time::Duration;

use toolward_tests::cluster::{Cluster, NAMESPACE};
use toolward_tests::envoy::Envoy;
use toolward_tests::http::{self, Answer, call};
use toolward_tests::ports;
use toolward_tests::process::eventually;
use toolward_tests::stack::gateway;
use toolward_tests::toolward::{AUDIENCE, ISSUER, Issuer, Toolward};
use toolward_tests::upstream::{OK, Upstream};

use crate::world::{condition_of, this_machine};

/// Two tenants, each with a server of its own, on a Gateway of the platform's.
pub(crate) struct Tenants {
    pub(crate) cluster: Cluster,
    pub(crate) issuer: Issuer,
    _honest: Upstream,
    pub(crate) hostile: Upstream,
    port: u16,
    client: reqwest::blocking::Client,
    _toolward: Toolward,
    _envoy: Envoy,
}

impl Tenants {
    /// With these arguments of `toolward`.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let (cluster, port) = (Cluster::start(), ports::free());
        let (honest, hostile) = (Upstream::start_on(this_machine()), Upstream::start_on(this_machine()));
        let all = "protocol: HTTP, allowedRoutes: { namespaces: { from: All } }";
        let gateway = gateway(port).replace("name: mcp-gateway", "name: mcp-gateway, namespace: default");
        let shared = gateway.replace("protocol: HTTP", all);
        assert_ne!(gateway, shared, "the Gateway takes routes of all");
        cluster.apply(&shared);
        for (namespace, upstream) in [("honest", &honest), ("hostile", &hostile)] {
            cluster.apply(&format!("apiVersion: v1\nkind: Namespace\nmetadata: {{ name: {namespace} }}\n"));
            cluster.apply(&server(namespace, upstream.port));
        }
        let account = cluster.service_account(NAMESPACE, "toolward");
        let own = ["--provision", "false", "--namespace", NAMESPACE, "--identity", "one"];
        let toolward =
            Toolward::in_cluster_on(&account, ports::free(), ports::free(), &[own.as_slice(), arguments].concat());
        toolward.wait_until_ready();
        let envoy = Envoy::with_control_plane("default/mcp-gateway", toolward.xds);
        let (issuer, client) = (Issuer::new("ES256"), http::client());
        Self { cluster, issuer, _honest: honest, hostile, port, client, _toolward: toolward, _envoy: envoy }
    }

    pub(crate) fn ask(&self, host: &str, path: &str, token: &str) -> Answer {
        let url = format!("http://127.0.0.1:{}{path}", self.port);
        http::send(http::post(&self.client, &url, call("add")).header("host", host).bearer_auth(token))
    }

    pub(crate) fn get(&self, host: &str, path: &str) -> Answer {
        http::send(self.client.get(format!("http://127.0.0.1:{}{path}", self.port)).header("host", host))
    }

    /// Waits for a condition of a route.
    pub(crate) fn expect(&self, namespace: &str, name: &str, condition: &str, status: &str, reason: &str) {
        eventually(&format!("{namespace}/{name}: {condition}={status} {reason}"), || {
            let route = self.cluster.get("httproute", namespace, name);
            condition_of(&route, condition) == (status.to_owned(), reason.to_owned())
        });
    }

    /// Lets the policy of a tenant's route ask for tokens of the issuer.
    pub(crate) fn protect(&self, namespace: &str, route: &str) {
        let jwks = self.issuer.jwks();
        let issuers =
            format!("issuers: [{{ issuer: {ISSUER}, audiences: [{AUDIENCE}], jwks: {{ inline: '{jwks}' }} }}]");
        self.cluster.apply(&policy(namespace, route, &issuers));
    }
}

/// Timestamps of an API server are whole seconds.
pub(crate) fn next_second() {
    thread::sleep(Duration::from_millis(1100));
}

fn server(namespace: &str, port: u16) -> String {
    format!(
        "apiVersion: v1
kind: Service
metadata: {{ name: math, namespace: {namespace} }}
spec: {{ ports: [{{ port: 80, targetPort: {port} }}] }}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{ name: math-1, namespace: {namespace}, labels: {{ kubernetes.io/service-name: math }} }}
addressType: IPv4
ports: [{{ port: {port} }}]
endpoints: [{{ addresses: ['{}'], conditions: {{ ready: true }} }}]
---
apiVersion: toolward.dev/v1alpha1
kind: MCPBackend
metadata: {{ name: math, namespace: {namespace} }}
spec:
  targets: [{{ name: math, service: {{ name: math, port: 80 }}, path: /mcp }}]
",
        this_machine()
    )
}

pub(crate) fn route(namespace: &str, name: &str, hostname: &str, matches: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{ name: {name}, namespace: {namespace} }}
spec:
  parentRefs: [{{ name: mcp-gateway, namespace: default }}]
  hostnames: ['{hostname}']
  rules:
  - matches: [{matches}]
    backendRefs: [{{ group: toolward.dev, kind: MCPBackend, name: math }}]
"
    )
}

pub(crate) fn policy(namespace: &str, route: &str, authentication: &str) -> String {
    format!(
        "apiVersion: toolward.dev/v1alpha1
kind: MCPAccessPolicy
metadata: {{ name: {route}, namespace: {namespace} }}
spec:
  targetRefs: [{{ group: gateway.networking.k8s.io, kind: HTTPRoute, name: {route} }}]
  authentication: {{ {authentication} }}
"
    )
}

pub(crate) const MCP: &str = "{ path: { type: PathPrefix, value: /mcp } }";
const HOST: &str = "math.example.com";
const OWNS: &str = "toolward.dev/OwnsHostnames";

#[test]
fn a_hostname_belongs_to_the_namespace_that_has_it() {
    let tenants = Tenants::start(&["--hostnames-belong-to-namespaces"]);
    let token = tenants.issuer.of_team("ops");
    // Made before all else, and harmless then.
    tenants.cluster.apply(&route("hostile", "old", "old.example.com", MCP));
    tenants.cluster.apply(&policy("hostile", "old", "passthrough: {}"));
    next_second();
    tenants.cluster.apply(&route("honest", "math", HOST, MCP));
    tenants.protect("honest", "math");
    eventually("the honest tenant's calls pass", || tenants.ask(HOST, "/mcp", &token).text == OK);
    tenants.expect("honest", "math", "toolward.dev/HoldsHostnames", "True", "Held");
    next_second();

    let rows = [
        ("exact", HOST, "{ path: { type: Exact, value: /mcp } }"),
        (
            "header",
            HOST,
            "{ path: { type: PathPrefix, value: /mcp }, headers: [{ name: content-type, value: application/json }] }",
        ),
        ("old", HOST, "{ path: { type: Exact, value: /mcp } }"),
        ("wildcard", "*.example.com", "{ path: { type: Exact, value: /mcp } }"),
    ];
    for (name, hostname, matches) in rows {
        tenants.cluster.apply(&route("hostile", name, hostname, matches));
        tenants.cluster.apply(&policy("hostile", name, "passthrough: {}"));
        if name == "wildcard" {
            tenants.expect("hostile", name, "toolward.dev/HoldsHostnames", "True", "Held");
            eventually("other hosts are the wildcard's", || {
                tenants.ask("other.example.com", "/mcp", "a-token").text == OK
            });
        } else {
            tenants.expect("hostile", name, "Accepted", "False", "HostnameConflict");
        }
        tenants.expect("honest", "math", OWNS, "True", "Contested");
        drop(tenants.hostile.take_recorded());
        for _ in 0..3 {
            assert_eq!(tenants.ask(HOST, "/mcp", &token).text, OK, "{name}");
        }
        assert!(tenants.hostile.take_recorded().is_empty(), "{name}: a call went to the hostile tenant");
    }

    // The owner lets the other one share.
    tenants.cluster.apply(
        "apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: { name: hosts, namespace: honest }
spec:
  from: [{ group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: hostile }]
  to: [{ group: gateway.networking.k8s.io, kind: HTTPRoute, name: math }]
",
    );
    tenants.expect("hostile", "exact", "Accepted", "True", "Accepted");
    tenants.expect("honest", "math", OWNS, "False", "Shared");
    tenants.cluster.kubectl(&["delete", "referencegrant", "-n", "honest", "hosts"]);
    tenants.expect("hostile", "exact", "Accepted", "False", "HostnameConflict");

    // Who has it no more has no claim.
    tenants.cluster.kubectl(&["delete", "httproute", "-n", "honest", "math"]);
    tenants.expect("hostile", "exact", "Accepted", "True", "Accepted");
}
