//! What a tenant tries, each a few lines, by a name.

use std::time::Duration;

use serde_json::{Value, json};
use toolward_tests::ports;

use crate::objects::{
    config_map, gateway, host_backend, object, poisoned, policy, prefix, route, service, service_backend, to_backend,
};
use crate::storm::Attacker;
use crate::world::{GATEWAY, HONEST, OWN_HOST, SHARED_HOST, SHARED_LISTENER, this_machine};
use crate::xds;

pub(crate) struct Attack {
    pub(crate) name: &'static str,
    /// Does it once. What it leaves is there when it is done the next time.
    pub(crate) run: fn(&mut Attacker<'_>),
    pub(crate) pause: Duration,
}

const fn attack(name: &'static str, run: fn(&mut Attacker<'_>), pause_millis: u64) -> Attack {
    Attack { name, run, pause: Duration::from_millis(pause_millis) }
}

pub(crate) const ATTACKS: [Attack; 19] = [
    attack("a backend that is this machine", loopback, 500),
    attack("a backend that is another team's server", foreign_server, 500),
    attack("references to another namespace", foreign_references, 500),
    attack("rights in another namespace", foreign_rights, 2000),
    attack("objects that can't be read", unreadable, 500),
    attack("policies that come and go", policies, 100),
    attack("large routes", large_routes, 500),
    attack("a large policy that is renamed", renamed_policy, 500),
    attack("large ConfigMaps", large_config_maps, 1000),
    attack("Gateways that can't be", impossible_gateways, 500),
    attack("a Gateway beside a Service of its name", taken_names, 1000),
    attack("parameters of the platform", parameters, 1000),
    attack("another team's hostname", hostname, 200),
    attack("another team's metadata", metadata, 500),
    attack("handshakes that never end", xds::handshakes, 500),
    attack("forged tokens on the xDS port", xds::forged_tokens, 500),
    attack("another Gateway's configuration", xds::foreign_gateway, 500),
    attack("large first messages", xds::large_messages, 500),
    attack("many streams", xds::many_streams, 500),
];

/// The tenant's own hostname on the shared listener.
fn host(attacker: &Attacker<'_>) -> String {
    format!("{}.example.com", attacker.tenant.namespace)
}

/// Asks at a path of the tenant's own, by which nothing is to be reached.
fn must_lead_nowhere(attacker: &Attacker<'_>, path: &str, what: &str) {
    let Attacker { storm, .. } = attacker;
    let url = format!("http://127.0.0.1:{}{path}", storm.world.shared);
    let answer = storm.world.try_at(&url, &host(attacker), &storm.ops, "add");
    if let Some(answer) = answer.filter(|answer| answer.status == 200) {
        storm.steals(format!("{what}: {}", answer.text));
    }
}

fn loopback(attacker: &mut Attacker<'_>) {
    const SPELLINGS: [&str; 10] = [
        "127.0.0.1",
        "localhost",
        "127.1",
        "0x7f.1",
        "2130706433",
        "017700000001",
        "::ffff:127.0.0.1",
        "0.0.0.0",
        "localhost.localdomain",
        "127.0.0.1.",
    ];
    let world = &attacker.storm.world;
    let places = [("trap", world.trap.port), ("admin", world.toolward.admin), ("xds", world.toolward.xds)];
    let hostname = host(attacker);
    let mut rules = Vec::new();
    for (number, spelling) in SPELLINGS.iter().enumerate() {
        for (place, port) in places {
            let name = format!("loopback-{number}-{place}");
            attacker.tenant.apply(&host_backend(&name, spelling, port));
            rules.push((name, spelling));
        }
    }
    for (number, chunk) in rules.chunks(15).enumerate() {
        let rules = chunk.iter().map(|(name, _)| prefix(&format!("/{name}"), &to_backend(name))).collect();
        let name = format!("loopback-{number}");
        attacker.tenant.apply(&route(&name, SHARED_LISTENER, &[&hostname], Value::Array(rules)));
    }
    for (name, spelling) in &rules {
        must_lead_nowhere(attacker, &format!("/{name}"), &format!("a server on loopback, spelled {spelling}"));
    }
}

fn foreign_server(attacker: &mut Attacker<'_>) {
    let port = attacker.storm.world.server.port;
    let address = this_machine().to_string();
    let hosts = [
        ("svc", format!("math.{HONEST}.svc"), 80),
        ("local", format!("math.{HONEST}.svc.cluster.local"), 80),
        ("dot", format!("math.{HONEST}.svc.cluster.local."), 80),
        ("upper", format!("MATH.{HONEST}.SVC"), 80),
        ("short", format!("math.{HONEST}"), 80),
        ("pod", address.clone(), port),
        ("mapped", format!("::ffff:{address}"), port),
    ];
    let hostname = host(attacker);
    let mut rules = Vec::new();
    for (name, host, port) in &hosts {
        let name = format!("foreign-{name}");
        attacker.tenant.apply(&host_backend(&name, host, *port));
        rules.push(prefix(&format!("/{name}"), &to_backend(&name)));
    }
    attacker.tenant.apply(&route("foreign", SHARED_LISTENER, &[&hostname], Value::Array(rules)));
    for (name, host, _) in &hosts {
        must_lead_nowhere(attacker, &format!("/foreign-{name}"), &format!("another team's server as {host}"));
    }
}

fn foreign_references(attacker: &mut Attacker<'_>) {
    let mut backend = to_backend("math");
    backend["namespace"] = json!(HONEST);
    let service = json!({ "name": "math", "namespace": HONEST, "port": 80 });
    let rules = json!([prefix("/their-backend", &backend), prefix("/their-service", &service)]);
    attacker.tenant.apply(&route("references", SHARED_LISTENER, &[&host(attacker)], rules));
    // The listener of another team, and one that there is not.
    let rules = json!([prefix("/mcp", &to_backend("evil"))]);
    attacker.tenant.apply(&route("their-listener", HONEST, &[OWN_HOST], rules));
    // A grant that is not theirs to give.
    let from =
        json!([{ "group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": attacker.tenant.namespace }]);
    let to = json!([{ "group": "", "kind": "Service" }, { "group": "toolward.dev", "kind": "MCPBackend" }]);
    let grant = json!({ "spec": { "from": from, "to": to } });
    attacker.tenant.apply(&object("gateway.networking.k8s.io/v1beta1", "ReferenceGrant", "own", grant));
    let tls = json!({ "listeners": [{
        "name": "tls", "port": ports::free(), "protocol": "HTTPS",
        "tls": { "certificateRefs": [{ "name": "own", "namespace": HONEST }] },
    }] });
    attacker.tenant.apply(&gateway("their-secret", ports::free(), &tls));
    for path in ["/their-backend", "/their-service"] {
        must_lead_nowhere(attacker, path, "another team's server without a grant");
    }
}

fn foreign_rights(attacker: &mut Attacker<'_>) {
    let rows = [
        (HONEST, "secrets", "own"),
        (HONEST, "mcpaccesspolicies", "math"),
        (HONEST, "configmaps", ""),
        (GATEWAY.0, "gateways", GATEWAY.1),
        (GATEWAY.0, "mcpaccesspolicies", "guardrail"),
        ("toolward-system", "secrets", "toolward-binding-keys"),
    ];
    for (namespace, kind, name) in rows {
        let status = attacker.tenant.status_of(reqwest::Method::GET, namespace, kind, name);
        if status == 200 {
            attacker.storm.steals(format!("{kind} {namespace}/{name}"));
        }
    }
}

/// Those that `kubectl` would show as well as any other.
fn unreadable(attacker: &mut Attacker<'_>) {
    let rules = json!([prefix("/unreadable", &to_backend("evil"))]);
    let from = json!([{ "group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": HONEST }]);
    let grant = json!({ "spec": { "from": from, "to": [{ "group": "", "kind": "Service" }] } });
    let tls = json!({ "spec": {
        "targetRefs": [{ "group": "", "kind": "Service", "name": "evil" }],
        "validation": { "hostname": "evil.example.com", "wellKnownCACertificates": "System" },
    } });
    let objects = |name: &str| {
        [
            config_map(name, "jwks.json", r#"{"keys":[]}"#),
            object("v1", "Secret", name, json!({ "stringData": { "key": "value" } })),
            service(name),
            host_backend(name, "mcp.example.com", 443),
            policy(name, "HTTPRoute", name, &json!({ "authorization": { "rules": [] } })),
            gateway(name, 3000, &json!({})),
            route(name, SHARED_LISTENER, &["unreadable.example.com"], rules.clone()),
            object("gateway.networking.k8s.io/v1beta1", "ReferenceGrant", name, grant.clone()),
            object("gateway.networking.k8s.io/v1", "BackendTLSPolicy", name, tls.clone()),
        ]
    };
    for (name, deep) in [("deep", true), ("late", false)] {
        for object in objects(&format!("{name}-{}", attacker.round % 4)) {
            attacker.tenant.create(&poisoned(&object, deep));
        }
        if attacker.round >= 4 {
            for kind in ["configmaps", "mcpaccesspolicies", "httproutes", "mcpbackends"] {
                attacker.tenant.delete(kind, &format!("{name}-{}", (attacker.round + 1) % 4));
            }
        }
    }
}

fn policies(attacker: &mut Attacker<'_>) {
    let hostname = host(attacker);
    let rules = json!([prefix("/policies", &to_backend("evil"))]);
    attacker.tenant.apply(&route("policies", SHARED_LISTENER, &[&hostname], rules));
    let odd = [
        json!({ "authentication": { "issuers": [{ "issuer": "https://evil.example.com", "audiences": [],
            "jwks": { "inline": "{}" } }] } }),
        json!({ "authentication": { "anonymous": {} } }),
        json!({ "authorization": { "rules": [] } }),
    ];
    attacker.tenant.apply(&policy("odd", "HTTPRoute", "policies", &odd[attacker.round % odd.len()]));
    // On what is not the tenant's.
    attacker.tenant.apply(&policy("outside", "Gateway", GATEWAY.1, &odd[1]));
    if attacker.round % 2 == 1 {
        attacker.tenant.delete("mcpaccesspolicies", "odd");
        attacker.tenant.delete("httproutes", "policies");
    }
}

/// 16 hosts, 128 matches and 16 backends each: as much as the kind takes.
fn large_routes(attacker: &mut Attacker<'_>) {
    const ROUTES: usize = 12;
    for backend in 0..16 {
        attacker.tenant.apply(&service_backend(&format!("large-{backend}"), "evil"));
    }
    let backends: Vec<Value> = (0..16).map(|backend| to_backend(&format!("large-{backend}"))).collect();
    for number in 0..ROUTES {
        let rule = |rule: usize| {
            let path = |path: usize| json!({ "path": { "type": "PathPrefix", "value": format!("/{rule}/{path}/{}", attacker.round) } });
            let matches: Vec<Value> = (0..8).map(path).collect();
            json!({ "matches": matches, "backendRefs": backends })
        };
        let rules = (0..16).map(rule).collect();
        let hosts: Vec<String> =
            (0..16).map(|host| format!("h{host}-{number}.{}.example.com", attacker.tenant.namespace)).collect();
        let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
        attacker.tenant.apply(&route(&format!("large-{number}"), SHARED_LISTENER, &hosts, Value::Array(rules)));
    }
    if attacker.round % 2 == 1 {
        for number in 0..ROUTES {
            attacker.tenant.delete("httproutes", &format!("large-{number}"));
        }
    }
}

fn renamed_policy(attacker: &mut Attacker<'_>) {
    if attacker.round == 0 {
        let rules = json!([prefix("/renamed", &to_backend("evil"))]);
        attacker.tenant.apply(&route("renamed", SHARED_LISTENER, &[&host(attacker)], rules));
    }
    let rule = |rule: usize| {
        let tools: Vec<String> = (0..100).map(|tool| format!("{rule}-{tool}-{}", "x".repeat(90))).collect();
        json!({ "name": format!("r{rule}"), "tools": tools })
    };
    let rules: Vec<Value> = (0..90).map(rule).collect();
    let spec = json!({ "authorization": { "rules": rules } });
    attacker.tenant.apply(&policy(&format!("renamed-{}", attacker.round), "HTTPRoute", "renamed", &spec));
    if let Some(last) = attacker.round.checked_sub(1) {
        attacker.tenant.delete("mcpaccesspolicies", &format!("renamed-{last}"));
    }
}

fn large_config_maps(attacker: &mut Attacker<'_>) {
    const MAPS: usize = 100;
    let name = format!("large-{}", attacker.round);
    if attacker.round >= MAPS {
        return;
    }
    let mut map = config_map(&name, "jwks.json", r#"{"keys":[]}"#);
    map["data"]["junk"] = json!("x".repeat(1_000 * 1024));
    attacker.tenant.apply(&map);
    let jwks = json!({ "configMapRef": { "name": name } });
    let issuer = json!({ "issuer": "https://login.example.com", "audiences": ["x"], "jwks": jwks });
    let spec = json!({ "authentication": { "issuers": [issuer] } });
    attacker.tenant.apply(&policy(&name, "MCPBackend", "evil", &spec));
}

fn impossible_gateways(attacker: &mut Attacker<'_>) {
    let nowhere = json!({ "nodeSelector": "no: such-node" });
    attacker.tenant.apply(&object("v1", "ConfigMap", "nowhere", json!({ "data": nowhere })));
    let parameters =
        json!({ "infrastructure": { "parametersRef": { "group": "", "kind": "ConfigMap", "name": "nowhere" } } });
    for name in ["my.gateway", &format!("long-{}", "g".repeat(58)), &format!("turn-{}", attacker.round % 8)] {
        attacker.tenant.apply(&gateway(name, 3000, &parameters));
    }
    attacker.tenant.delete("gateways", &format!("turn-{}", (attacker.round + 4) % 8));
}

fn taken_names(attacker: &mut Attacker<'_>) {
    if attacker.round == 0 {
        attacker.tenant.apply(&service("db-toolward"));
    }
    attacker.tenant.apply(&gateway("db", 3000, &json!({})));
    if attacker.round % 3 == 2 {
        attacker.tenant.delete("gateways", "db");
    }
}

/// What only the platform may choose.
fn parameters(attacker: &mut Attacker<'_>) {
    let data = json!({
        "image": "evil.example.com/evil:1",
        "replicas": "1000",
        "tolerations": "[{ operator: Exists }]",
    });
    attacker.tenant.apply(&object("v1", "ConfigMap", "parameters", json!({ "data": data })));
    let reference = json!({ "group": "", "kind": "ConfigMap", "name": "parameters" });
    let annotations = json!({ "eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/admin" });
    let infrastructure = json!({ "parametersRef": reference, "annotations": annotations });
    attacker.tenant.apply(&gateway("privileged", 3000, &json!({ "infrastructure": infrastructure })));
}

/// Rules that the standard puts before the honest team's.
fn hostname(attacker: &mut Attacker<'_>) {
    let to = |matches: Value| json!({ "matches": [matches], "backendRefs": [to_backend("evil")] });
    let exact = json!({ "type": "Exact", "value": "/mcp" });
    let agent = json!([{ "name": "accept", "type": "RegularExpression", "value": ".*" }]);
    let rules = json!([
        to(json!({ "path": exact })),
        to(json!({ "path": { "type": "PathPrefix", "value": "/mcp" }, "headers": agent })),
        to(json!({ "path": { "type": "PathPrefix", "value": "/mcp" }, "method": "POST" })),
    ]);
    for (name, listener, host) in [
        ("hijack", SHARED_LISTENER, SHARED_HOST),
        ("hijack-upper", SHARED_LISTENER, "*.example.com"),
        ("hijack-own", HONEST, OWN_HOST),
        ("hijack-own-shared", SHARED_LISTENER, OWN_HOST),
    ] {
        attacker.tenant.apply(&route(name, listener, &[host], rules.clone()));
    }
    if attacker.round % 4 == 3 {
        attacker.tenant.delete("httproutes", "hijack");
    }
}

/// Where clients learn whom to ask for a token.
fn metadata(attacker: &mut Attacker<'_>) {
    const PATH: &str = "/.well-known/oauth-protected-resource/mcp";
    let exact = json!({ "path": { "type": "Exact", "value": PATH } });
    let rules = json!([{ "matches": [exact], "backendRefs": [to_backend("evil")] }]);
    attacker.tenant.apply(&route("metadata", SHARED_LISTENER, &[SHARED_HOST], rules));
    let url = format!("http://127.0.0.1:{}{PATH}", attacker.storm.world.shared);
    let answer = reqwest::blocking::Client::new().get(url).header("host", SHARED_HOST).send();
    let text = answer.and_then(reqwest::blocking::Response::text).unwrap_or_default();
    if text.contains(r#""ok""#) {
        attacker.storm.steals(format!("the honest team's metadata: {text}"));
    }
}
