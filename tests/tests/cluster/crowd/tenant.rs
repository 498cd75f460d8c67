//! The tenant, and what it has.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::time::sleep;
use tonic::transport::Channel;
use toolward_tests::ports;
use toolward_tests::toolward::{AUDIENCE, ISSUER};

use crate::world::World;
use crate::xds_clients::Stream;

/// Its namespace, which comes before the others where they stand in order.
pub(super) const NAMESPACE: &str = "crowd";

/// How many routes it has, each with a policy and a ConfigMap.
pub(super) const SIZE: usize = 80;

/// For how long Envoys that refuse are there, and away.
const TURN: Duration = Duration::from_millis(700);

/// Longer than what is told of a refusal.
const WORDS: usize = 4096;

pub(super) struct Tenant {
    runtime: Runtime,
    api: Api,
}

impl Tenant {
    /// With a namespace whose routes the Gateway takes.
    pub(super) fn new(world: &World) -> Self {
        let cluster = &world.cluster;
        let listener = json!({ "name": "mcp", "port": world.port, "protocol": "HTTP",
            "allowedRoutes": { "namespaces": { "from": "All" } } });
        let all = json!({ "spec": { "listeners": [listener] } }).to_string();
        cluster.kubectl(&["patch", "gateway", "mcp-gateway", "--type=merge", "-p", &all]);
        cluster.kubectl(&["create", "namespace", NAMESPACE]);
        let api = Api { client: cluster.client(), server: cluster.url("") };
        let tenant = Self { runtime: Runtime::new().expect("a runtime"), api };
        tenant.creates(vec![service(), backend()]);
        tenant
    }

    /// Makes objects, all at once.
    pub(super) fn creates(&self, objects: Vec<Value>) {
        let create = |object: Value| {
            let api = self.api.clone();
            self.runtime.spawn(async move {
                let (status, text) = api.send(Method::POST, kind(&object), "", Some(&object)).await;
                assert!(status.is_success(), "{status} {text}");
            })
        };
        for created in objects.into_iter().map(create).collect::<Vec<_>>() {
            self.runtime.block_on(created).expect("no panic");
        }
    }

    pub(super) fn get(&self, kind: &str, name: &str) -> Value {
        serde_json::from_str(&self.runtime.block_on(self.api.send(Method::GET, kind, name, None)).1).expect("JSON")
    }

    /// All that it has of a kind.
    pub(super) fn list(&self, kind: &str) -> Vec<Value> {
        self.get(kind, "")["items"].as_array().cloned().expect("a list")
    }

    /// Begins to edit a route, so that what its status has to say is another thing each time.
    pub(super) fn edits(&self, name: &str, count: &Arc<AtomicUsize>, stopped: &Arc<AtomicBool>) {
        let (api, name) = (self.api.clone(), name.to_owned());
        let (count, stopped) = (Arc::clone(count), Arc::clone(stopped));
        self.runtime.spawn(async move {
            while !stopped.load(Ordering::Relaxed) {
                let backend = if count.fetch_add(1, Ordering::Relaxed) % 2 == 0 { "nowhere" } else { "math" };
                let spec = json!({ "spec": { "rules": [rule(&name, backend)] } });
                let (status, text) = api.send(Method::PATCH, "httproutes", &name, Some(&spec)).await;
                // The status was written at the same time.
                assert!(status.is_success() || status == StatusCode::CONFLICT, "{status} {text}");
            }
        });
    }

    /// Begins to be Envoys of its Gateway that come and go, and refuse all that they are sent, each time in other words.
    pub(super) fn refuses(&self, xds: u16, count: &Arc<AtomicUsize>, stopped: &Arc<AtomicBool>) {
        let (count, stopped) = (Arc::clone(count), Arc::clone(stopped));
        self.runtime.spawn(async move {
            let endpoint = Channel::from_shared(format!("http://127.0.0.1:{xds}")).expect("a URL");
            let channel = endpoint.connect().await.expect("a connection");
            let gateway = format!("{NAMESPACE}/gateway");
            while !stopped.load(Ordering::Relaxed) {
                let mut stream = Stream::open(channel.clone(), "none", &gateway).await.expect("a stream");
                let opened = Instant::now();
                while opened.elapsed() < TURN && !stopped.load(Ordering::Relaxed) {
                    let number = count.fetch_add(1, Ordering::Relaxed);
                    stream.refuse(format!("{number} {}", "x".repeat(WORDS))).await.expect("a response");
                }
                drop(stream);
                sleep(TURN).await;
            }
        });
    }
}

/// The API server.
#[derive(Clone)]
struct Api {
    client: Client,
    server: String,
}

impl Api {
    async fn send(&self, method: Method, kind: &str, name: &str, body: Option<&Value>) -> (StatusCode, String) {
        let group = match kind {
            "configmaps" | "services" => "api/v1",
            "mcpbackends" | "mcpaccesspolicies" => "apis/toolward.dev/v1alpha1",
            _ => "apis/gateway.networking.k8s.io/v1",
        };
        let path = format!("{}/{group}/namespaces/{NAMESPACE}/{kind}/{name}", self.server);
        let content = if method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
        let mut request = self.client.request(method, path.trim_end_matches('/')).header("content-type", content);
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        let answer = request.send().await.expect("an answer");
        (answer.status(), answer.text().await.expect("a body"))
    }
}

fn kind(object: &Value) -> &'static str {
    match object["kind"].as_str().expect("a kind") {
        "ConfigMap" => "configmaps",
        "Service" => "services",
        "MCPBackend" => "mcpbackends",
        "MCPAccessPolicy" => "mcpaccesspolicies",
        "HTTPRoute" => "httproutes",
        "Gateway" => "gateways",
        other => panic!("{other}"),
    }
}

fn object(version: &str, kind: &str, name: &str, member: &str, value: Value) -> Value {
    let metadata = json!({ "name": name, "namespace": NAMESPACE });
    json!({ "apiVersion": version, "kind": kind, "metadata": metadata, member: value })
}

pub(super) fn config_map(name: &str, data: Value) -> Value {
    object("v1", "ConfigMap", name, "data", data)
}

/// The policy for the route of its name, by the keys of the ConfigMap of its name.
pub(super) fn keyed(name: &str) -> Value {
    let jwks = json!({ "configMapRef": { "name": name } });
    let issuer = json!({ "issuer": ISSUER, "audiences": [AUDIENCE], "jwks": jwks });
    let target = json!({ "group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": name });
    let spec = json!({ "targetRefs": [target], "authentication": { "issuers": [issuer] } });
    object("toolward.dev/v1alpha1", "MCPAccessPolicy", name, "spec", spec)
}

/// The route from `/NAME`.
pub(super) fn route(name: &str) -> Value {
    let parents = json!([{ "name": "mcp-gateway", "namespace": "default" }]);
    let spec = json!({ "parentRefs": parents, "rules": [rule(name, "math")] });
    object("gateway.networking.k8s.io/v1", "HTTPRoute", name, "spec", spec)
}

fn rule(name: &str, backend: &str) -> Value {
    let path = json!({ "type": "PathPrefix", "value": format!("/{name}") });
    let backend = json!({ "group": "toolward.dev", "kind": "MCPBackend", "name": backend, "port": 80 });
    json!({ "matches": [{ "path": path }], "backendRefs": [backend] })
}

fn service() -> Value {
    object("v1", "Service", "math", "spec", json!({ "ports": [{ "port": 80 }] }))
}

fn backend() -> Value {
    let target = json!({ "name": "math", "service": { "name": "math", "port": 80 } });
    object("toolward.dev/v1alpha1", "MCPBackend", "math", "spec", json!({ "targets": [target] }))
}

/// A Gateway of its own, with two listeners.
pub(super) fn gateway() -> Value {
    let listener = |name: &str| json!({ "name": name, "port": ports::free(), "protocol": "HTTP" });
    let spec = json!({ "gatewayClassName": "toolward", "listeners": [listener("one"), listener("two")] });
    object("gateway.networking.k8s.io/v1", "Gateway", "gateway", "spec", spec)
}
