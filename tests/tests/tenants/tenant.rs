//! Somebody with rights in one namespace.

use std::io::{BufRead, BufReader};
use std::time::Duration;

use reqwest::Method;
use reqwest::blocking::{Client, RequestBuilder};
use serde_json::Value;
use toolward_tests::cluster::Cluster;

/// A service account of a namespace, as a client of the API server.
#[derive(Clone)]
pub(crate) struct Tenant {
    pub(crate) namespace: String,
    /// For the xDS port.
    pub(crate) token: String,
    server: String,
    client: Client,
}

impl Tenant {
    /// The service account `tenant` of a namespace, which is made, with the rights of a team and those of `more`.
    pub(crate) fn new(cluster: &Cluster, namespace: &str, more: &[&str]) -> Self {
        cluster.kubectl(&["create", "serviceaccount", "-n", namespace, "tenant"]);
        let account = format!("{namespace}:tenant");
        for role in ["mcp-tenant"].iter().chain(more) {
            let name = format!("{role}-of-tests");
            let role = format!("--clusterrole={role}");
            cluster.kubectl(&["create", "rolebinding", "-n", namespace, &name, &role, "--serviceaccount", &account]);
        }
        let own = cluster.kubectl(&["create", "token", "-n", namespace, "tenant"]);
        Self {
            token: cluster.token(namespace, "tenant", "toolward.dev/xds"),
            client: cluster.client_of(own.trim()),
            server: cluster.url(""),
            namespace: namespace.to_owned(),
        }
    }

    /// Applies an object; the status of the answer.
    pub(crate) fn apply(&self, object: &Value) -> u16 {
        let path = self.path(kind(object), name(object));
        let request = self.client.patch(format!("{path}?fieldManager=tenant&force=true"));
        send(request.header("content-type", "application/apply-patch+yaml").body(object.to_string()))
    }

    /// Applies an object that is good.
    ///
    /// # Panics
    /// When it is refused.
    pub(crate) fn applies(&self, object: &Value) {
        let status = self.apply(object);
        assert!((200..300).contains(&status), "{status} for {object}");
    }

    /// Makes an object as it is, what it says of its managers included.
    pub(crate) fn create(&self, object: &Value) -> u16 {
        let path = self.path(kind(object), "");
        send(self.client.post(path).header("content-type", "application/json").body(object.to_string()))
    }

    pub(crate) fn delete(&self, kind: &str, name: &str) -> u16 {
        send(self.client.delete(self.path(kind, name)))
    }

    /// What happens to objects of a kind, a line of JSON each, for so many seconds; none: the API server is too busy to answer.
    pub(crate) fn watch(&self, kind: &str, seconds: u64) -> Option<impl BufRead + use<>> {
        let path = format!("{}?watch=true&timeoutSeconds={seconds}", self.path(kind, ""));
        let answer = self.client.get(path).timeout(Duration::from_secs(seconds + 30)).send().ok()?;
        answer.status().is_success().then(|| BufReader::new(answer))
    }

    /// The status of a request for something of another namespace.
    pub(crate) fn status_of(&self, method: Method, namespace: &str, kind: &str, name: &str) -> u16 {
        let other = Self { namespace: namespace.to_owned(), ..self.clone() };
        send(self.client.request(method, other.path(kind, name)))
    }

    fn path(&self, kind: &str, name: &str) -> String {
        let group = match kind {
            "configmaps" | "secrets" | "services" => "api/v1",
            "mcpbackends" | "mcpaccesspolicies" => "apis/toolward.dev/v1alpha1",
            "referencegrants" => "apis/gateway.networking.k8s.io/v1beta1",
            "endpointslices" => "apis/discovery.k8s.io/v1",
            _ => "apis/gateway.networking.k8s.io/v1",
        };
        let Self { server, namespace, .. } = self;
        format!("{server}/{group}/namespaces/{namespace}/{kind}/{name}").trim_end_matches('/').to_owned()
    }
}

/// Zero: the API server is too busy to answer.
fn send(request: RequestBuilder) -> u16 {
    request.timeout(Duration::from_secs(30)).send().map_or(0, |answer| answer.status().as_u16())
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().expect("a name")
}

fn kind(object: &Value) -> &'static str {
    match object["kind"].as_str().expect("a kind") {
        "ConfigMap" => "configmaps",
        "Secret" => "secrets",
        "Service" => "services",
        "MCPBackend" => "mcpbackends",
        "MCPAccessPolicy" => "mcpaccesspolicies",
        "Gateway" => "gateways",
        "HTTPRoute" => "httproutes",
        "ReferenceGrant" => "referencegrants",
        "BackendTLSPolicy" => "backendtlspolicies",
        other => panic!("{other}"),
    }
}
