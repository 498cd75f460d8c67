//! What is to be served, in the words of the field and free of both Kubernetes and Envoy: the value between
//! `translate` (which makes it from resources) and `render` (which makes Envoy's configuration from it).
//!
//! ```text
//! Model ─ gateways ─> Gateway ─┬ listeners ─> Listener ─┬ virtual_hosts ─> VirtualHost ─> Route ─ clusters ─┐
//!                              │                        └ filter (policies by key) <─ Route.policy          │
//!                              └ clusters ─> Cluster ─> Endpoint  <─────────────────────────────────────────┘
//! ```
//! Names are final: `render` copies them into xDS resource names. All collections are sorted, so equal worlds give
//! equal models, byte for byte.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use toolward_policy::config::{BindingKey, FilterConfig, Transport};

use crate::objects::Objects;

/// The cluster that takes the share of invalid backends; never defined, so that Envoy answers 500.
pub const INVALID_BACKEND: &str = "invalid-backend";

/// Everything that is to be served.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Model {
    /// By `namespace/name`, which is also the `node.cluster` of the Envoys that ask for it.
    pub gateways: Objects<GatewayName, Gateway>,
}

/// `namespace/name` of a Gateway.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GatewayName(pub String);

/// One Gateway: what all Envoys with its name get.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Gateway {
    /// One per port; Gateway listeners that share a port differ by hostname and are merged here.
    pub listeners: Objects<u16, Listener>,
    /// By [`Route`]'s cluster names.
    pub clusters: Objects<String, Cluster>,
    /// By `namespace/name` of the Secret, of which a new content changes nothing else.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub certificates: BTreeMap<String, Certificate>,
    /// Under these its filters bind sessions to callers; never shown. A new one changes no listener.
    #[serde(skip_serializing)]
    pub binding_keys: Vec<BindingKey>,
}

/// One port that Envoy listens on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// `namespace/name/port`: the name of the xDS listener, its route configuration and its filter configuration.
    pub name: String,
    /// In the order of their domains; those of a port that speaks HTTP in clear.
    pub virtual_hosts: Vec<VirtualHost>,
    /// The hosts of a port that speaks TLS, by the server name that clients ask for; empty: it speaks HTTP in clear.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tls: Vec<TlsHosts>,
    /// The policies of all routes of this port.
    pub filter: FilterConfig,
}

impl Listener {
    /// The route configurations by name: one, or one for each server name.
    pub fn routes(&self) -> impl Iterator<Item = (&str, &[VirtualHost])> {
        let clear = self.tls.is_empty().then_some((self.name.as_str(), self.virtual_hosts.as_slice()));
        clear.into_iter().chain(self.tls.iter().map(|hosts| (hosts.name.as_str(), hosts.virtual_hosts.as_slice())))
    }
}

/// What is served to clients that ask for one server name over TLS: one Gateway listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsHosts {
    /// `namespace/name/port/listener`: the name of its route configuration.
    pub name: String,
    /// A hostname or `*.suffix`; none: every server name, and clients that ask for none.
    #[serde(default)]
    pub server_name: Option<String>,
    /// Keys in [`Gateway::certificates`].
    pub certificates: Vec<String>,
    /// In the order of their domains.
    pub virtual_hosts: Vec<VirtualHost>,
}

/// A certificate with its chain and its key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// PEM.
    pub chain: String,
    /// PEM; never shown.
    #[serde(skip_serializing)]
    pub key: String,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("chain", &self.chain).finish_non_exhaustive()
    }
}

/// The routes of one hostname, or of several that have the same ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VirtualHost {
    /// `namespace/name/port/domain` with its first domain.
    pub name: String,
    /// Hostnames in order, or one `*.suffix` or `*`; never empty. They stand for all ports.
    pub domains: Vec<String>,
    /// Scheme and port by which clients know its hosts, with [`toolward_policy::route_key::ANY_HOST`] in the place of the host; none: that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// In order of precedence: the first that matches is taken.
    pub routes: Vec<Arc<Route>>,
}

impl VirtualHost {
    /// Tells one of its routes from all others of the listener, for each of its domains; none: nobody will ask.
    pub fn route_ids(&self, route: &Route) -> impl Iterator<Item = String> {
        let domains = self.domains.iter().filter(|_| !route.id.is_empty());
        domains.map(|domain| route_id(&route.id, domain))
    }

    /// The same as the filter is told it, which puts in the host of a request where it is one of several.
    #[must_use]
    pub fn written_route_id(&self, route: &Route) -> Option<String> {
        let domain = self.domains.first().filter(|_| !route.id.is_empty())?;
        Some(route_id(&route.id, if domain.starts_with('*') { domain } else { "" }))
    }

    /// The origin of a route, where clients are told of it.
    #[must_use]
    pub fn origin_of(&self, route: &Route) -> Option<&str> {
        self.origin.as_deref().filter(|_| route.names_host)
    }
}

fn route_id(id: &str, domain: &str) -> String {
    format!("{id}@{domain}")
}

/// One match of one HTTPRoute rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// `namespace/name/rule/match` with indexes from 0.
    pub name: String,
    /// Tells it from all others of its host by what it matches, whatever its place among them; empty: nobody will ask.
    #[serde(skip)]
    pub id: String,
    /// What a request must look like.
    pub matches: RouteMatch,
    /// What is done with it.
    pub action: RouteAction,
    /// Changes to the request's headers.
    #[serde(default)]
    pub request_headers: HeaderChanges,
    /// Changes to the answer's headers.
    #[serde(default)]
    pub response_headers: HeaderChanges,
    /// The key in [`Listener::filter`] that judges requests of this route. Always written to route metadata, so that
    /// a missing key can mean "closed".
    pub policy: String,
    /// Whether its policy tells clients by which host they know it, where that is known.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub names_host: bool,
    /// How messages travel on it, as its policy says.
    #[serde(default, skip_serializing_if = "Transport::is_streamable")]
    pub transport: Transport,
}

/// What a request must look like; all parts must fit.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteMatch {
    /// The path.
    pub path: PathMatch,
    /// The HTTP method, where given.
    #[serde(default)]
    pub method: Option<String>,
    /// Header name and match.
    #[serde(default)]
    pub headers: Vec<(String, StringMatch)>,
    /// Query parameter name and match.
    #[serde(default)]
    pub query: Vec<(String, StringMatch)>,
}

/// A match on the path.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum PathMatch {
    /// The whole path.
    Exact(String),
    /// Whole segments: `/a` fits `/a` and `/a/b`, not `/ab`. `/` fits all.
    Prefix(String),
    /// RE2, anchored at both ends.
    Regex(String),
}

/// A match on a header's or query parameter's value.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum StringMatch {
    /// The whole value.
    Exact(String),
    /// RE2, anchored at both ends.
    Regex(String),
}

/// What is done with a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RouteAction {
    /// Sent to one of the clusters.
    Forward(Forward),
    /// Answered with a redirect.
    Redirect(Redirect),
    /// Answered with this status and nothing else: 500 where every backend of a rule is invalid, as Gateway API asks.
    Respond {
        /// HTTP status.
        status: u16,
    },
}

/// Sends a request to an upstream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Forward {
    /// With weights above zero. The share of invalid backends goes to [`INVALID_BACKEND`], a cluster that is never
    /// defined: Envoy answers it with 500, as Gateway API asks.
    pub clusters: Arc<[WeightedCluster]>,
    /// New path, where it changes.
    #[serde(default)]
    pub path: Option<PathRewrite>,
    /// New host, where it changes.
    #[serde(default)]
    pub host: Option<String>,
    /// Until the answer is complete; `None`: no limit, as long SSE streams need. Zero: no limit by wish of the user.
    #[serde(default)]
    pub request_timeout: Option<Duration>,
    /// Until the answer begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_byte_timeout: Option<Duration>,
    /// Per try; shorter than `request_timeout`.
    #[serde(default)]
    pub backend_timeout: Option<Duration>,
}

/// A share of a route's requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightedCluster {
    /// Key in [`Gateway::clusters`].
    pub cluster: String,
    /// Relative to the sum of weights.
    pub weight: u32,
    /// The path of the MCP server behind it, which takes the place of the request's; a rewrite asked for by the
    /// user wins over it.
    #[serde(default)]
    pub path: Option<String>,
    /// The `Host` that the upstream expects, where it is not the client's.
    #[serde(default)]
    pub host: Option<String>,
    /// Changes asked for by filters on the backendRef.
    #[serde(default)]
    pub request_headers: HeaderChanges,
    /// Changes asked for by filters on the backendRef.
    #[serde(default)]
    pub response_headers: HeaderChanges,
}

/// A new path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PathRewrite {
    /// The whole path (the query string stays).
    Full(String),
    /// What [`PathMatch::Prefix`] matched.
    Prefix(String),
}

/// Answers with a redirect; what is `None` stays as the request has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Redirect {
    /// `http` or `https`.
    #[serde(default)]
    pub scheme: Option<String>,
    /// New host.
    #[serde(default)]
    pub hostname: Option<String>,
    /// New port.
    #[serde(default)]
    pub port: Option<u16>,
    /// New path.
    #[serde(default)]
    pub path: Option<PathRewrite>,
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
}

/// Header changes, applied in the order remove, set, add.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HeaderChanges {
    /// Overwritten or created.
    pub set: Vec<(String, String)>,
    /// Appended.
    pub add: Vec<(String, String)>,
    /// Removed.
    pub remove: Vec<String>,
}

/// An upstream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    /// Where it is.
    pub endpoints: Endpoints,
    /// Time to connect.
    pub connect_timeout: Duration,
    /// TLS towards it; none: it is spoken to in clear.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<UpstreamTls>,
    /// What is shown to it, whoever calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<Credential>,
}

/// TLS towards an upstream, whose certificate is always verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpstreamTls {
    /// The server name that is asked for (SNI); none for an upstream that is known by its address alone.
    #[serde(default)]
    pub server_name: Option<String>,
    /// The certificate must be for one of these; never empty.
    pub subjects: Vec<Subject>,
    /// Who may have signed it.
    pub authorities: Authorities,
    /// What is shown to an upstream that asks who is there: the name of its secret, and the certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<(String, Certificate)>,
}

/// A header with a secret value.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credential {
    /// The name of its secret.
    pub name: String,
    /// The header.
    pub header: String,
    /// What stands before the value.
    pub prefix: String,
    /// The value; never shown.
    #[serde(skip_serializing)]
    pub value: String,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").field("name", &self.name).field("header", &self.header).finish_non_exhaustive()
    }
}

/// A subject alternative name (RFC 5280, section 4.2.1.6).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Subject {
    Dns(String),
    Uri(String),
    Ip(String),
}

/// Certificate authorities.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Authorities {
    /// Those of the system that Envoy runs on.
    System,
    /// These alone.
    Given {
        /// The name of their secret.
        name: String,
        /// Certificates.
        pem: String,
    },
}

/// Where an upstream is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Endpoints {
    /// Known addresses, served over EDS; empty is allowed (the upstream is down).
    Addresses(Vec<Endpoint>),
    /// A name that Envoy resolves.
    Dns {
        /// Host name or IP address.
        host: String,
        /// Port.
        port: u16,
    },
}

/// One address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// IP address.
    pub address: String,
    /// Port.
    pub port: u16,
}
