//! The world that is served, as a folder of YAML files: routes on Gateways, Services with endpoints, policies, key sets.
//!
//! Everything grows with the number of Gateways: each has 100 routes, to 20 Services of its own and 20 of others, a policy on
//! itself and nine on routes. One in ten Gateways shares a key set.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// Routes of a Gateway.
pub(crate) const ROUTES_EACH: usize = 100;
/// Services for each Gateway.
const SERVICES_EACH: usize = 20;
/// Policies of routes of a Gateway, beside the one on itself.
const ROUTE_POLICIES_EACH: usize = 9;
/// Gateways whose callers have one issuer.
const GATEWAYS_OF_ISSUER: usize = 10;
/// Resources in a file.
const IN_FILE: usize = 10;
/// Endpoints of a Service.
const ENDPOINTS: usize = 3;

/// How large a world is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) gateways: usize,
    /// Envoys of each Gateway.
    pub(crate) envoys_each: usize,
}

impl Size {
    /// 100, 1,000 and 10,000 routes.
    pub(crate) const ALL: [Self; 3] = [
        Self { gateways: 1, envoys_each: 10 },
        Self { gateways: 10, envoys_each: 10 },
        Self { gateways: 100, envoys_each: 10 },
    ];

    pub(crate) fn routes(self) -> usize {
        self.gateways * ROUTES_EACH
    }

    fn services(self) -> usize {
        self.gateways * SERVICES_EACH
    }

    fn policies(self) -> usize {
        self.gateways * (1 + ROUTE_POLICIES_EACH)
    }
}

/// One thing in the world that changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Route,
    Policy,
    KeySet,
    EndpointSlice,
}

impl Part {
    pub(crate) const ALL: [Self; 4] = [Self::Route, Self::Policy, Self::KeySet, Self::EndpointSlice];

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Route => "route",
            Self::Policy => "policy",
            Self::KeySet => "key set",
            Self::EndpointSlice => "EndpointSlice",
        }
    }
}

/// A world in a folder.
pub(crate) struct World {
    pub(crate) size: Size,
    folder: TempDir,
    /// Of resources that have changed, by the first letters of their files and their index.
    versions: HashMap<(&'static str, usize), usize>,
}

impl World {
    pub(crate) fn new(size: Size) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let world = Self { size, folder, versions: HashMap::new() };
        world.write("class.yaml", &class());
        world.write_all("gateway", size.gateways, gateway);
        world.write_all("route", size.routes(), |index| route(index, size, 0));
        world.write_all("service", size.services(), service);
        world.write_all("slice", size.services(), |index| slice(index, 0));
        world.write_all("policy", size.policies(), |index| policy(index, 0));
        world.write_all("keys", size.gateways.div_ceil(GATEWAYS_OF_ISSUER), |index| keys(index, 0));
        world
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The name by which Envoys ask for a Gateway.
    pub(crate) fn gateway(index: usize) -> String {
        format!("default/g{index}")
    }

    /// Changes one part; the `change` says which of them and how. Gives the Gateways whose Envoys are to hear of it.
    pub(crate) fn change(&mut self, part: Part, change: usize) -> Vec<usize> {
        let gateways = self.size.gateways;
        match part {
            Part::Route => {
                // Routes of different Gateways, one after the other.
                let index = (change * 37 % gateways) * ROUTES_EACH + change % ROUTES_EACH;
                let size = self.size;
                self.write_one("route", index, size.routes(), |index, version| route(index, size, version), change);
                vec![index / ROUTES_EACH]
            }
            Part::Policy => {
                let index = (change * 37 % gateways) * (1 + ROUTE_POLICIES_EACH) + change % (1 + ROUTE_POLICIES_EACH);
                self.write_one("policy", index, self.size.policies(), policy, change);
                vec![index / (1 + ROUTE_POLICIES_EACH)]
            }
            Part::KeySet => {
                let count = gateways.div_ceil(GATEWAYS_OF_ISSUER);
                let index = change % count;
                self.write_one("keys", index, count, keys, change);
                (index * GATEWAYS_OF_ISSUER..((index + 1) * GATEWAYS_OF_ISSUER).min(gateways)).collect()
            }
            Part::EndpointSlice => {
                let index = change * 37 % self.size.services();
                self.write_one("slice", index, self.size.services(), slice, change);
                let routes = (0..self.size.routes()).filter(|route| service_of(*route, self.size) == index);
                let mut reached: Vec<usize> = routes.map(|route| route / ROUTES_EACH).collect();
                reached.dedup();
                reached
            }
        }
    }

    /// Files of several resources each.
    fn write_all(&self, kind: &str, count: usize, resource: impl Fn(usize) -> String) {
        for first in (0..count).step_by(IN_FILE) {
            let resources = (first..(first + IN_FILE).min(count)).map(&resource);
            self.write(&file(kind, first), &resources.collect::<Vec<_>>().join("---\n"));
        }
    }

    /// Writes the file of one resource anew, in which that one has a new version.
    fn write_one(
        &mut self,
        kind: &'static str,
        changed: usize,
        count: usize,
        resource: impl Fn(usize, usize) -> String,
        version: usize,
    ) {
        self.versions.insert((kind, changed), version + 1);
        let first = changed / IN_FILE * IN_FILE;
        let resources = (first..(first + IN_FILE).min(count))
            .map(|index| resource(index, self.versions.get(&(kind, index)).copied().unwrap_or_default()));
        self.write(&file(kind, first), &resources.collect::<Vec<_>>().join("---\n"));
    }

    /// As editors write: a new file in place of the old one.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.folder.path().join(name);
        let new: PathBuf = self.folder.path().join(format!(".{name}.new"));
        fs::write(&new, text).expect("the file written");
        fs::rename(&new, &path).expect("the file in place");
    }

    pub(crate) fn remove(&self, name: &str) {
        fs::remove_file(self.folder.path().join(name)).expect("the file removed");
    }
}

fn file(kind: &str, index: usize) -> String {
    format!("{kind}-{index}.yaml")
}

/// Four in five routes of a Gateway lead to Services of its own, the others to those of others: a Service is reached
/// through one Gateway or two.
fn service_of(route: usize, size: Size) -> usize {
    let (gateway, of) = (route / ROUTES_EACH, route % ROUTES_EACH);
    if of % 5 == 4 { route / 5 * 7919 % size.services() } else { gateway * SERVICES_EACH + of % SERVICES_EACH }
}

fn class() -> String {
    "apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: { name: toolward }
spec: { controllerName: toolward.dev/gateway-controller }
"
    .to_owned()
}

fn gateway(index: usize) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{ name: g{index}, namespace: default }}
spec:
  gatewayClassName: toolward
  listeners: [{{ name: mcp, port: 3000, protocol: HTTP }}]
"
    )
}

fn route(index: usize, size: Size, version: usize) -> String {
    let (gateway, host, service) = (index / ROUTES_EACH, index % 10, service_of(index, size));
    // A change is of a header, so that nothing else changes with it.
    format!(
        "apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{ name: r{index}, namespace: default }}
spec:
  parentRefs: [{{ name: g{gateway} }}]
  hostnames: [team{host}.example.com]
  rules:
  - name: mcp
    matches: [{{ path: {{ type: PathPrefix, value: /r{index} }} }}]
    filters:
    - type: RequestHeaderModifier
      requestHeaderModifier: {{ set: [{{ name: x-version, value: \"{version}\" }}] }}
    backendRefs: [{{ name: s{service}, port: 80 }}]
"
    )
}

fn service(index: usize) -> String {
    format!(
        "apiVersion: v1
kind: Service
metadata: {{ name: s{index}, namespace: default }}
spec: {{ ports: [{{ name: http, port: 80, targetPort: 8080 }}] }}
"
    )
}

fn slice(index: usize, version: usize) -> String {
    let mut endpoints = String::new();
    for endpoint in 0..ENDPOINTS {
        let last = 1 + (endpoint + version * ENDPOINTS) % 250;
        writeln!(
            endpoints,
            "- {{ addresses: [10.{}.{}.{last}], conditions: {{ ready: true }} }}",
            index / 256 % 256,
            index % 256
        )
        .expect("text grows");
    }
    format!(
        "apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{ name: s{index}-1, namespace: default, labels: {{ kubernetes.io/service-name: s{index} }} }}
addressType: IPv4
ports: [{{ name: http, port: 8080, protocol: TCP }}]
endpoints:
{endpoints}"
    )
}

/// The first policy of each Gateway is on the Gateway and says whose tokens count; the others are on routes.
fn policy(index: usize, version: usize) -> String {
    let (gateway, of) = (index / (1 + ROUTE_POLICIES_EACH), index % (1 + ROUTE_POLICIES_EACH));
    let issuer = gateway / GATEWAYS_OF_ISSUER;
    let (target, authentication) = if of == 0 {
        let authentication = format!(
            "  authentication:
    issuers:
    - issuer: https://login{issuer}.example.com
      audiences: [https://mcp.example.com/mcp]
      jwks: {{ configMapRef: {{ name: keys{issuer} }} }}
"
        );
        (format!("kind: Gateway, name: g{gateway}"), authentication)
    } else {
        (format!("kind: HTTPRoute, name: r{}", gateway * ROUTES_EACH + of * 10), String::new())
    };
    format!(
        "apiVersion: toolward.dev/v1alpha1
kind: MCPAccessPolicy
metadata: {{ name: p{index}, namespace: default }}
spec:
  targetRefs: [{{ group: gateway.networking.k8s.io, {target} }}]
{authentication}  authorization:
    rules:
    - name: engineers
      tools: [add, multiply, \"read_*\", v{version}]
      claims: [{{ path: team, in: [ops, sre] }}]
    - name: everybody
      tools: [search, \"list_*\"]
"
    )
}

/// Two RSA keys, one of them another one in each version.
fn keys(index: usize, version: usize) -> String {
    let key = |name: &str, number: usize| {
        let modulus = modulus(number);
        format!(r#"{{"kty":"RSA","kid":"{name}","alg":"RS256","use":"sig","e":"AQAB","n":"{modulus}"}}"#)
    };
    let (old, new) = (key("old", index), key(&format!("new{version}"), 1000 + index * 1000 + version));
    format!(
        "apiVersion: v1
kind: ConfigMap
metadata: {{ name: keys{index}, namespace: default }}
data:
  jwks.json: '{{\"keys\":[{old},{new}]}}'
"
    )
}

/// As long as that of an RSA key of 2048 bits; nobody signs with it.
fn modulus(number: usize) -> String {
    use base64::Engine as _;
    let mut state = number as u64 + 1;
    let mut bytes: Vec<u8> = (0..256)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .collect();
    bytes[0] |= 0x80;
    // What has a small factor is left out of key sets.
    let remainder =
        |bytes: &[u8], divisor: u32| bytes.iter().fold(0, |rest, byte| (rest << 8 | u32::from(*byte)) % divisor);
    for low in (1..=u16::MAX).step_by(2) {
        bytes[254..].copy_from_slice(&low.to_be_bytes());
        if (3..256).all(|divisor| remainder(&bytes, divisor) != 0) {
            break;
        }
    }
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}
