//! Random worlds of three namespaces on a Gateway that takes routes of all, in which one of them does whatever it likes: what the
//! other two serve stays what it was, but where their status says that they share a hostname with it.
//!
//! Where hostnames belong to namespaces, they share one by a ReferenceGrant alone. The status of all is written and read again
//! after each edit, as it is in a cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;

use serde_json::{Value, json};
use toolward_policy::config::{Algorithm, RouteKey};
use toolward_policy::exchange::{Exchange, Headers, RequestStep, Verification};
use toolward_policy::jwt::budget::{Budget, Cost};
use toolward_policy::jwt::cache::TokenCache;
use toolward_policy::jwt::key::PublicKey;
use toolward_policy::jwt::verify::SignatureVerifier;
use toolward_policy::policy::PolicyTable;
use toolward_policy::route_key::key_of_request;

use crate::model::{Gateway, PathMatch, Route, RouteAction, StringMatch, VirtualHost};
use crate::resources::Name;
use crate::status::{Facts, desired, merged};
use crate::translate::{TranslateOptions, Translation, translate};

/// How many worlds are made up, with hostnames that belong to namespaces and without.
const WORLDS: u64 = 40;

/// How many edits each of them sees, one after the other.
const EDITS: usize = 3;

const NAMESPACES: [&str; 3] = ["a", "b", "c"];
const HOSTS: [&str; 5] = ["x.example.com", "y.example.com", "z.x.example.com", "c.example.com", "other.org"];
const HOSTNAMES: [&str; 7] = [
    "x.example.com",
    "y.example.com",
    "z.x.example.com",
    "c.example.com",
    "other.org",
    "*.example.com",
    "*.x.example.com",
];
const PATHS: [&str; 8] = [
    "/",
    "/mcp",
    "/mcp/deep",
    "/.well-known/oauth-protected-resource",
    "/.well-known/oauth-protected-resource/mcp",
    "/.well-known/oauth-authorization-server/mcp",
    "/.well-known/openid-configuration",
    "/mcp/.well-known/openid-configuration",
];

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let random = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(random).unwrap() % bound
    }

    fn of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())].clone()
    }

    fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }
}

/// Objects by kind, namespace and name.
type Objects = BTreeMap<(String, String, String), Value>;

fn put(objects: &mut Objects, version: &str, kind: &str, (namespace, name): (&str, &str), day: usize, spec: Value) {
    let key = (kind.to_owned(), namespace.to_owned(), name.to_owned());
    let metadata =
        json!({ "name": name, "namespace": namespace, "creationTimestamp": format!("2026-01-{day:02}T00:00:00Z") });
    objects.insert(key, json!({ "apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec }));
}

const GATEWAY_API: &str = "gateway.networking.k8s.io";

fn put_route(objects: &mut Objects, namespace: &str, name: &str, day: usize, random: &mut Random) {
    let section = random.of(&["web", "web", "apps", "team-c"]);
    let hostnames: Vec<&str> = (0..random.below(3)).map(|_| random.of(&HOSTNAMES)).collect();
    let rules: Vec<Value> = (0..=random.below(2))
        .map(|_| {
            let mut matches = json!({ "path": { "type": random.of(&["Exact", "PathPrefix", "PathPrefix"]), "value": random.of(&PATHS) } });
            if random.one_in(4) {
                matches["headers"] = json!([{ "name": "x-special", "value": "yes" }]);
            }
            if random.one_in(5) {
                matches["method"] = random.of(&["GET", "POST"]).into();
            }
            let backend = match random.below(5) {
                0 => json!({ "name": "web", "port": 80 }),
                1 => json!({ "group": "toolward.dev", "kind": "MCPBackend", "name": "mcp", "namespace": random.of(&NAMESPACES) }),
                2 => json!({ "group": "toolward.dev", "kind": "MCPBackend", "name": "outside" }),
                _ => json!({ "group": "toolward.dev", "kind": "MCPBackend", "name": "mcp" }),
            };
            json!({ "matches": [matches], "backendRefs": [backend] })
        })
        .collect();
    let mut spec =
        json!({ "parentRefs": [{ "name": "gw", "namespace": "infra", "sectionName": section }], "rules": rules });
    if !hostnames.is_empty() {
        spec["hostnames"] = json!(hostnames);
    }
    put(objects, "gateway.networking.k8s.io/v1", "HTTPRoute", (namespace, name), day, spec);
}

fn put_policy(objects: &mut Objects, namespace: &str, name: &str, day: usize, random: &mut Random) {
    let target = match random.below(6) {
        0 => json!({ "group": "toolward.dev", "kind": "MCPBackend", "name": "mcp" }),
        1 => json!({ "group": GATEWAY_API, "kind": "Gateway", "name": "gw" }),
        _ => json!({ "group": GATEWAY_API, "kind": "HTTPRoute", "name": format!("r{}", random.below(3)) }),
    };
    let keys =
        json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" }] });
    let issuer = json!({ "issuer": format!("https://{namespace}.org"), "audiences": ["x"], "jwks": { "inline": keys.to_string() } });
    let authentication = match random.below(6) {
        0 | 1 => json!({ "passthrough": {} }),
        2 => json!({ "anonymous": {} }),
        3 => json!({ "issuers": "none" }),
        _ => json!({ "issuers": [issuer] }),
    };
    let spec = json!({ "targetRefs": [target], "authentication": authentication });
    put(objects, "toolward.dev/v1alpha1", "MCPAccessPolicy", (namespace, name), day, spec);
}

fn put_grant(objects: &mut Objects, namespace: &str, day: usize, random: &mut Random) {
    let (group, kind) = random.of(&[
        (GATEWAY_API, "HTTPRoute"),
        (GATEWAY_API, "HTTPRoute"),
        ("toolward.dev", "MCPBackend"),
        ("", "Service"),
    ]);
    let from = json!([{ "group": GATEWAY_API, "kind": "HTTPRoute", "namespace": random.of(&NAMESPACES) }]);
    let spec = json!({ "from": from, "to": [{ "group": group, "kind": kind }] });
    put(objects, "gateway.networking.k8s.io/v1beta1", "ReferenceGrant", (namespace, "grant"), day, spec);
}

fn world(random: &mut Random) -> Objects {
    let mut objects = Objects::new();
    let all = json!({ "namespaces": { "from": "All" } });
    let one = json!({ "namespaces": { "from": "Selector", "selector": { "matchLabels": { "kubernetes.io/metadata.name": "c" } } } });
    let listeners = json!([
        { "name": "web", "port": 80, "protocol": "HTTP", "allowedRoutes": all },
        { "name": "apps", "port": 81, "protocol": "HTTP", "hostname": "*.example.com", "allowedRoutes": all },
        { "name": "team-c", "port": 82, "protocol": "HTTP", "hostname": "c.example.com", "allowedRoutes": one },
    ]);
    let version = "gateway.networking.k8s.io/v1";
    put(
        &mut objects,
        version,
        "GatewayClass",
        ("", "toolward"),
        1,
        json!({ "controllerName": "toolward.dev/gateway-controller" }),
    );
    put(
        &mut objects,
        version,
        "Gateway",
        ("infra", "gw"),
        1,
        json!({ "gatewayClassName": "toolward", "listeners": listeners }),
    );
    for namespace in NAMESPACES {
        put(&mut objects, "v1", "Service", (namespace, "web"), 1, json!({ "ports": [{ "port": 80 }] }));
        let target = |target: Value| json!({ "targets": [target] });
        let inside = target(json!({ "name": "t", "service": { "name": "web", "port": 80 }, "path": "/mcp" }));
        put(&mut objects, "toolward.dev/v1alpha1", "MCPBackend", (namespace, "mcp"), 1, inside);
        let outside =
            target(json!({ "name": "t", "static": { "host": format!("{namespace}.net"), "port": 443 }, "tls": {} }));
        put(&mut objects, "toolward.dev/v1alpha1", "MCPBackend", (namespace, "outside"), 1, outside);
        for index in 0..=random.below(3) {
            put_route(&mut objects, namespace, &format!("r{index}"), 2 + random.below(9), random);
        }
        for index in 0..=random.below(3) {
            put_policy(&mut objects, namespace, &format!("p{index}"), 2, random);
        }
        if random.one_in(3) {
            put_grant(&mut objects, namespace, 2, random);
        }
    }
    objects
}

/// One namespace does something. What it makes anew is younger than all else.
fn edit(objects: &mut Objects, namespace: &str, day: usize, random: &mut Random) -> String {
    let own: Vec<_> = objects.keys().filter(|(_, other, _)| other == namespace).cloned().collect();
    let key = random.of(&own);
    let (kind, _, name) = &key;
    // The API server keeps it.
    let created =
        |object: &Value| -> usize { object["metadata"]["creationTimestamp"].as_str().unwrap()[8..10].parse().unwrap() };
    match random.below(8) {
        0 => drop(objects.remove(&key)),
        1 => {
            objects.get_mut(&key).unwrap()["spec"] =
                json!({ "rules": 1, "targetRefs": 1, "targets": 1, "ports": 1, "from": 1 })
        }
        2 => put_route(objects, namespace, &format!("new{day}"), day, random),
        3 => put_policy(objects, namespace, &format!("new{day}"), day, random),
        4 => put_grant(objects, namespace, day, random),
        _ => {
            let (day, status) = (created(&objects[&key]), objects[&key].get("status").cloned());
            match kind.as_str() {
                "HTTPRoute" => put_route(objects, namespace, name, day, random),
                "MCPAccessPolicy" => put_policy(objects, namespace, name, day, random),
                _ => put_grant(objects, namespace, day, random),
            }
            if let (Some(status), Some(object)) = (status, objects.get_mut(&key)) {
                object["status"] = status;
            }
        }
    }
    format!("{kind} {name}")
}

fn read(objects: &Objects) -> crate::resources::Resources {
    let text: Vec<String> = objects.values().map(Value::to_string).collect();
    let mut resources = super::resources("world", &text.join("\n---\n"));
    // As of an API server: in a folder a policy may have been meant for another namespace.
    resources.origins = crate::objects::Objects::default();
    resources
}

/// Translates, and writes what every route should say of itself until that stays what it is.
fn settle(objects: &mut Objects, options: &TranslateOptions) -> Translation {
    let mut last = None;
    for _ in 0..4 {
        let resources = read(objects);
        let translation = translate(&resources, options);
        if last.as_ref().is_some_and(|last: &Translation| last.model == translation.model) {
            return translation;
        }
        let facts = Facts { provisioned: true, ..Default::default() };
        for wanted in desired(&resources, &translation, &facts) {
            let Name { namespace, name } = wanted.object.name.clone();
            let key = (wanted.object.kind.clone(), namespace, name);
            if let Some(object) = objects.get_mut(&key).filter(|object| object["kind"] == "HTTPRoute") {
                object["status"] = merged(&wanted, None, "2026-02-01T00:00:00Z").unwrap_or_default();
            }
        }
        last = Some(translation);
    }
    panic!("what is served goes by a status that goes by what is served");
}

/// Nobody's tokens are good.
struct Nobody;

impl SignatureVerifier for Nobody {
    fn verify(&self, _: &PublicKey, _: Algorithm, _: &[u8], _: &[u8]) -> bool {
        false
    }

    fn cost(&self, _: &PublicKey, _: Algorithm) -> Cost {
        Cost(0)
    }
}

/// A request by port, host, path, method, and whether it has the header that some routes ask for.
type Request = (u16, &'static str, &'static str, &'static str, bool);

fn requests() -> impl Iterator<Item = Request> {
    let ports = [80, 81, 82].into_iter();
    let hosts = ports.flat_map(|port| HOSTS.into_iter().map(move |host| (port, host)));
    let paths = hosts.flat_map(|(port, host)| PATHS.into_iter().map(move |path| (port, host, path)));
    paths.flat_map(|(port, host, path)| {
        let kinds = [("POST", false), ("POST", true), ("GET", false)];
        kinds.into_iter().map(move |(method, special)| (port, host, path, method, special))
    })
}

/// The most specific virtual host, as Envoy finds it.
fn host<'m>(hosts: &'m [VirtualHost], host: &str) -> Option<&'m VirtualHost> {
    let rank = |domain: &str| match domain.strip_prefix('*') {
        Some(suffix) => host.ends_with(suffix).then_some(suffix.len()),
        None => (domain == host).then_some(usize::MAX),
    };
    let best = |host: &VirtualHost| host.domains.iter().filter_map(|domain| rank(domain)).max();
    let ranked = hosts.iter().filter_map(|host| Some((best(host)?, host)));
    ranked.max_by_key(|(rank, _)| *rank).map(|(_, host)| host)
}

fn fits(route: &Route, (.., path, method, special): Request) -> bool {
    let fits_path = match &route.matches.path {
        PathMatch::Exact(exact) => exact == path,
        PathMatch::Prefix(prefix) => {
            let rest = path.strip_prefix(prefix.trim_end_matches('/'));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        }
        PathMatch::Regex(_) => panic!("there are none in these worlds"),
    };
    let is_special = |(_, value): &(String, StringMatch)| *value == StringMatch::Exact("yes".to_owned()) && special;
    fits_path
        && route.matches.method.as_deref().is_none_or(|wanted| wanted == method)
        && route.matches.headers.iter().all(is_special)
}

/// What a namespace serves: its route, where it leads, and what the filter says to a stranger with a token.
fn served(gateway: &Gateway, namespace: &str) -> BTreeMap<Request, (Name, String)> {
    let mut all = BTreeMap::new();
    let tables = gateway.listeners.iter().map(|(port, listener)| (*port, PolicyTable::new(&listener.filter).unwrap()));
    let tables: BTreeMap<u16, PolicyTable> = tables.collect();
    for request in requests() {
        let (port, name, path, method, special) = request;
        let Some(listener) = gateway.listeners.get(&port) else { continue };
        let Some(found) = host(&listener.virtual_hosts, name) else { continue };
        let Some(route) = found.routes.iter().find(|route| fits(route, request)) else { continue };
        let mut parts = route.name.split('/');
        let owner = Name::new(parts.next().unwrap(), parts.next().unwrap());
        if owner.namespace != namespace {
            continue;
        }
        let mut leads = Vec::new();
        if let RouteAction::Forward(forward) = &route.action {
            leads.extend(
                forward
                    .clusters
                    .iter()
                    .map(|share| format!("{}: {:?}", share.cluster, gateway.clusters.get(&share.cluster))),
            );
        }
        let said = decide(&tables[&port], found.origin_of(route), route, (name, path, method, special));
        all.insert(request, (owner, format!("{} {leads:?} {said}", route.id)));
    }
    all
}

fn decide(
    table: &PolicyTable,
    origin: Option<&str>,
    route: &Route,
    (host, path, method, special): (&str, &str, &str, bool),
) -> String {
    let pairs = [
        (":method", method),
        (":path", path),
        (":authority", host),
        (":scheme", "http"),
        ("authorization", "Bearer e30.e30.AA"),
    ];
    let json = [("content-type", "application/json"), ("accept", "application/json, text/event-stream")];
    let special = special.then_some(("x-special", "yes"));
    let headers = pairs.into_iter().chain(json).chain(special);
    let headers: Vec<(String, Vec<u8>)> = headers.map(|(name, value)| (name.to_owned(), value.into())).collect();
    let key = RouteKey { policy: &route.policy, origin, servers: None, route: None, choice: None }.to_string();
    let key = key_of_request(key.as_bytes(), host.as_bytes());
    let mut cache = TokenCache::new(NonZeroUsize::MIN);
    let budget = &mut Budget::default();
    budget.set(table.limits.signature_millis, 1);
    let mut verification = Verification { verifier: &Nobody, cache: &mut cache, now: 1_800_000_000, budget, millis: 0 };
    let (_, step) =
        Exchange::request_headers(table, Some(&key), &Headers(&headers), method == "GET", &mut verification);
    let is_withheld = route.request_headers.remove.iter().any(|name| name == "authorization");
    let said = match step {
        RequestStep::Answer(answer) => format!("{answer:?}"),
        RequestStep::Continue(edits) => format!("{edits:?}"),
        RequestStep::AwaitBody(_) => "is judged".to_owned(),
    };
    format!("{said} {is_withheld}")
}

/// The namespaces with which a route shares a hostname, as its status says.
fn shares(translation: &Translation, route: &Name) -> BTreeSet<String> {
    let protection = translation.routes.get(route).and_then(|route| route.protection_on(&Name::new("infra", "gw")));
    protection.iter().flat_map(|protection| protection.hostnames.shared.values().flatten().cloned()).collect()
}

/// Gives how much was compared, how often something else was served, and how many routes were refused.
fn run(hostnames_belong_to_namespaces: bool) -> (usize, usize, usize) {
    let options = TranslateOptions { hostnames_belong_to_namespaces, ..TranslateOptions::default() };
    let (mut compared, mut shared, mut refused) = (0, 0, 0);
    for seed in 0..WORLDS {
        let mut random = Random((seed + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        let mut objects = world(&mut random);
        let tenant = random.of(&NAMESPACES);
        let mut before = settle(&mut objects, &options);
        let mut done = Vec::new();
        for step in 0..EDITS {
            done.push(edit(&mut objects, tenant, 20 + step, &mut random));
            let after = settle(&mut objects, &options);
            let what = format!("world {seed}, by {tenant}: {done:?}");
            let gateways = [&before, &after].map(|one| one.model.gateways.values().next().unwrap());
            for other in NAMESPACES.into_iter().filter(|other| *other != tenant) {
                let [last, next] = gateways.map(|gateway| served(gateway, other));
                for (request, (route, was)) in &last {
                    // A backend of that namespace's, which lets others use it.
                    let is = next.get(request).map(|(_, is)| is);
                    let leads_there =
                        [Some(was), is].into_iter().flatten().any(|what| what.contains(&format!("/{tenant}/")));
                    let mut shares = [&before, &after].into_iter().flat_map(|one| shares(one, route));
                    // Whom it shares a hostname with may lead to that namespace's servers.
                    let tells = shares.any(|other| !hostnames_belong_to_namespaces || other == tenant);
                    if leads_there || tells {
                        shared += usize::from(is != Some(was));
                    } else {
                        assert_eq!(is, Some(was), "{what}: {request:?} of {route}");
                        compared += 1;
                    }
                }
            }
            let hostnames = after.routes.values().flat_map(|route| &route.protection).map(|(_, it)| &it.hostnames);
            let hostnames: Vec<_> = hostnames.collect();
            refused += hostnames.iter().filter(|hostnames| !hostnames.refused.is_empty()).count();
            let is_granted = objects.keys().any(|(kind, ..)| kind == "ReferenceGrant");
            if hostnames_belong_to_namespaces && !is_granted {
                assert!(
                    hostnames.iter().all(|hostnames| hostnames.shared.is_empty()),
                    "{what}: shared without a grant"
                );
            }
            before = after;
        }
    }
    (compared, shared, refused)
}

#[test]
fn what_a_namespace_does_on_hosts_that_belong_to_namespaces_changes_nothing_for_others() {
    let (compared, _, refused) = run(true);
    assert!(compared > 1500 && refused > 100, "the worlds say nothing: {compared} compared, {refused} refused");
}

#[test]
fn what_a_namespace_does_on_shared_hosts_is_told() {
    let (compared, shared, refused) = run(false);
    assert!(compared > 100 && shared > 20, "the worlds say nothing: {compared} compared, {shared} told");
    assert_eq!(refused, 0, "hostnames are everybody's");
}
