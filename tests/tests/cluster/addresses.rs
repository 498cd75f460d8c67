//! Where a tenant can have the gateway send requests: a namespace of its own, on a Gateway that takes routes of all.

use toolward_tests::http::{self, call};
use toolward_tests::process::eventually;
use toolward_tests::stack::gateway;
use toolward_tests::upstream::{OK, Upstream};

use crate::outages::restart_with;
use crate::world::{World, condition_of, this_machine};

/// An MCPBackend of the tenant at this host, and the route `/<name>` to it.
fn backend(name: &str, host: &str, port: u16) -> String {
    format!(
        "---
apiVersion: toolward.dev/v1alpha1
kind: MCPBackend
metadata: {{ name: {name}, namespace: tenant }}
spec: {{ targets: [{{ name: it, static: {{ host: '{host}', port: {port} }}, path: /quitquitquit }}] }}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{ name: {name}, namespace: tenant }}
spec:
  parentRefs: [{{ name: mcp-gateway, namespace: default }}]
  rules:
  - matches: [{{ path: {{ type: PathPrefix, value: /{name} }} }}]
    backendRefs: [{{ group: toolward.dev, kind: MCPBackend, name: {name} }}]
"
    )
}

/// Lets MCPBackends of the tenant refer to the Service `default/math`.
const GRANT: &str = "apiVersion: gateway.networking.k8s.io/v1
kind: ReferenceGrant
metadata: { name: tenant, namespace: default }
spec:
  from: [{ group: toolward.dev, kind: MCPBackend, namespace: tenant }]
  to: [{ group: '', kind: Service, name: math }]
";

fn said(world: &World, name: &str, condition: &str) -> (String, String) {
    condition_of(&world.cluster.get("mcpbackend", "tenant", name), condition)
}

fn is_refused(world: &World, name: &str, condition: &str, reason: &str) -> bool {
    let (status, said) = said(world, name, condition);
    // How long it takes to know that a name leads nowhere is up to the name server of this machine.
    status == "False" && (said == reason || (said == "NamePending" && reason == "NameNotResolved"))
}

#[test]
fn a_tenants_hosts_lead_to_no_address_that_is_not_allowed_and_to_no_service_of_others() {
    let mut world = World::start();
    let ops = world.issuer.of_team("ops");
    let client = http::client();
    // What only the gateway's own machine can reach.
    let inside = Upstream::start();
    let shared = gateway(world.port)
        .replace("name: mcp-gateway", "name: mcp-gateway, namespace: default")
        .replace("protocol: HTTP", "protocol: HTTP, allowedRoutes: { namespaces: { from: All } }");
    world.cluster.kubectl(&["create", "namespace", "tenant"]);
    world.cluster.apply(&shared);
    let cluster_ip = world.cluster.get("service", "default", "math")["spec"]["clusterIP"].clone();
    let cluster_ip = cluster_ip.as_str().expect("an address");
    let machine = this_machine().to_string();
    let (accepted, resolved) = ("Accepted", "ResolvedRefs");
    let hosts = [
        ("loopback", "127.0.0.1", accepted, "AddressNotAllowed"),
        ("loopback-dot", "127.0.0.1.", accepted, "AddressNotAllowed"),
        ("loopback-six", "::1", accepted, "AddressNotAllowed"),
        ("loopback-mapped", "::ffff:127.0.0.1", accepted, "AddressNotAllowed"),
        ("loopback-hex-mapped", "::FFFF:7f00:1", accepted, "AddressNotAllowed"),
        ("loopback-compatible", "::127.0.0.1", accepted, "AddressNotAllowed"),
        ("loopback-translated", "64:ff9b::7f00:1", accepted, "AddressNotAllowed"),
        ("two-parts", "127.1", accepted, "InvalidHost"),
        ("hexadecimal", "0x7f.1", accepted, "InvalidHost"),
        ("number", "2130706433", accepted, "InvalidHost"),
        ("octal", "0177.0.0.1", accepted, "InvalidHost"),
        ("unspecified", "0.0.0.0", accepted, "AddressNotAllowed"),
        ("localhost", "localhost", accepted, "AddressNotAllowed"),
        ("capitals", "LocalHost", accepted, "AddressNotAllowed"),
        ("below", "admin.localhost", accepted, "AddressNotAllowed"),
        ("metadata", "169.254.169.254", accepted, "AddressNotAllowed"),
        ("machine", &machine, accepted, "AddressNotAllowed"),
        ("api-server", "10.0.0.1", accepted, "AddressNotAllowed"),
        ("cluster-ip", cluster_ip, accepted, "AddressNotAllowed"),
        ("api-server-name", "kubernetes.default.svc", resolved, "RefNotPermitted"),
        ("svc", "math.default.svc", resolved, "RefNotPermitted"),
        ("svc-full", "MATH.default.svc.cluster.local", resolved, "RefNotPermitted"),
        ("svc-elsewhere", "math.default.svc.example.com", resolved, "RefNotPermitted"),
        ("svc-nowhere", "nowhere.default.svc", resolved, "RefNotPermitted"),
        ("pod", "pod-0.math.default.svc", accepted, "InvalidHost"),
        ("pod-address", "10-0-0-1.default.pod.cluster.local", accepted, "InvalidHost"),
        ("short", "math", accepted, "InvalidHost"),
        // With a search path it would be the Service.
        ("two-labels", "math.default", resolved, "NameNotResolved"),
        ("no-such-name", "mcp.toolward.invalid", resolved, "NameNotResolved"),
    ];
    let backends: String = hosts.iter().map(|(name, host, ..)| backend(name, host, inside.port)).collect();
    world.cluster.apply(&backends);
    for (name, host, condition, reason) in hosts {
        eventually(&format!("{name}: {host} is refused"), || is_refused(&world, name, condition, reason));
    }
    let ask = |world: &World, name: &str| {
        http::send(http::post(&client, &world.url(&format!("/{name}")), call("add")).bearer_auth(&ops))
    };
    for (name, host, ..) in hosts {
        eventually(&format!("{name}: {host} is closed"), || ask(&world, name).status == 500);
    }
    assert!(inside.is_idle(), "{:?}", inside.take_recorded());
    let status = world.cluster.get("mcpbackend", "tenant", "loopback")["status"].to_string();
    assert!(status.contains("127.0.0.1") && status.contains("--backend-networks"), "{status}");

    // What the Service's namespace grants is a reference like any other, in each spelling.
    world.cluster.apply(
        &["svc", "svc-full", "cluster-ip"]
            .map(|name| {
                let (_, host, ..) = hosts.iter().find(|(other, ..)| *other == name).expect("a row");
                backend(name, host, 80)
            })
            .concat(),
    );
    world.cluster.apply(GRANT);
    for name in ["svc", "svc-full", "cluster-ip"] {
        eventually(&format!("{name} is granted"), || ask(&world, name).text == OK);
        eventually(&format!("{name}: it is said"), || said(&world, name, "ResolvedRefs").0 == "True");
    }
    world.cluster.kubectl(&["delete", "referencegrant", "-n", "default", "tenant"]);
    for name in ["svc", "svc-full", "cluster-ip"] {
        eventually(&format!("{name} is granted no more"), || ask(&world, name).status == 500);
    }

    // The platform allows a network: what is in it is reached, by name as well, and nothing else is.
    let (xds, admin) = (world.toolward.xds, world.toolward.admin);
    world.toolward.process.kill();
    world.toolward = restart_with(&world, xds, admin, &["--backend-networks", "127.0.0.0/8"]);
    for name in ["loopback", "localhost", "below"] {
        eventually(&format!("{name} is allowed"), || ask(&world, name).text == OK);
    }
    let hosts_seen: Vec<String> = inside
        .take_recorded()
        .into_iter()
        .filter_map(|request| request.headers.into_iter().find(|(name, _)| name == "host").map(|(_, host)| host))
        .collect();
    assert!(hosts_seen.contains(&format!("localhost:{}", inside.port)), "{hosts_seen:?}");
    for (name, condition, reason) in [
        ("two-parts", accepted, "InvalidHost"),
        ("machine", accepted, "AddressNotAllowed"),
        ("svc", resolved, "RefNotPermitted"),
    ] {
        eventually(&format!("{name} is refused still"), || is_refused(&world, name, condition, reason));
        assert_eq!(ask(&world, name).status, 500, "{name}");
    }
    assert!(inside.is_idle(), "{:?}", inside.take_recorded());
}
