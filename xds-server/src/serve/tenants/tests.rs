//! Quotas are kept by age, and a change costs what changes.

use std::fmt::Debug;

use proptest::prelude::*;

use super::*;
use crate::networks::BackendNetworks;
use crate::resources::mcp::MCPAccessPolicy;
use crate::test_world::{GATEWAY, world};
use crate::translate::{TranslateOptions, translate};

fn policy(namespace: &str, name: &str, day: u32) -> String {
    format!(
        "apiVersion: toolward.dev/v1alpha1
kind: MCPAccessPolicy
metadata: {{ name: {name}, namespace: {namespace}, creationTimestamp: 2026-01-0{day}T00:00:00Z }}
spec:
  targetRefs: [{{ group: gateway.networking.k8s.io, kind: HTTPRoute, name: {name} }}]
  authentication: {{ anonymous: {{}} }}
---
"
    )
}

fn names(policies: &Objects<ObjectRef, MCPAccessPolicy>) -> Vec<String> {
    policies.keys().map(|object| object.name.to_string()).collect()
}

#[test]
fn the_youngest_of_a_namespace_are_not_read_and_close_what_they_name() {
    let text = [policy("a", "late", 3), policy("a", "early", 1), policy("a", "middle", 2), policy("b", "one", 4)];
    let world = Arc::new(world(&text.concat()));
    let mut tenants = Tenants::new(ObjectQuotas { objects: 2, ..ObjectQuotas::default() });
    let admitted = tenants.admit(Arc::clone(&world));
    assert_eq!(names(&admitted.policies), ["a/early", "a/middle", "b/one"]);
    assert_eq!(admitted.malformed.len(), 1);
    let (object, late) = admitted.malformed.iter().next().expect("one");
    assert_eq!((object.to_string().as_str(), late.problem.reason.as_str()), ("MCPAccessPolicy a/late", QUOTA_EXCEEDED));
    assert!(matches!(&late.protects, Protects::Targets(targets) if targets.len() == 1));
    assert!(late.problem.message.contains("may have 2 objects (--max-namespace-objects)"));

    // What came before makes no difference, and one that goes makes room.
    let again = Tenants::new(ObjectQuotas { objects: 2, ..ObjectQuotas::default() }).admit(Arc::clone(&world));
    assert_eq!((names(&again.policies), &again.malformed), (names(&admitted.policies), &admitted.malformed));
    let mut fewer = Resources::clone(&world);
    let early = fewer.policies.keys().next().expect("a policy").clone();
    fewer.policies.remove(&early);
    let fewer = Arc::new(fewer);
    assert!(Arc::ptr_eq(&tenants.admit(Arc::clone(&fewer)), &fewer), "nothing is past a quota, so nothing is copied");
}

#[test]
fn bytes_count_as_well() {
    let world = Arc::new(world(&[policy("a", "early", 1), policy("a", "late", 2)].concat()));
    let all = Tenants::new(ObjectQuotas::default()).admit(Arc::clone(&world));
    assert!(all.malformed.is_empty());
    let mut tenants = Tenants::new(ObjectQuotas { bytes: 300, ..ObjectQuotas::default() });
    let admitted = tenants.admit(world);
    assert_eq!(names(&admitted.policies), ["a/early"]);
    assert!(
        admitted.malformed.values().all(|late| late.problem.message.contains("may have")),
        "{:?}",
        admitted.malformed
    );
}

/// A route past the quota keeps its matches, a policy past it closes, and a Service is not spoken to in clear because the
/// policy of its TLS is not read.
#[test]
fn what_is_past_a_quota_closes() {
    let text = "apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: r, namespace: a, creationTimestamp: 2026-01-02T00:00:00Z }
spec:
  parentRefs: [{ name: gw, namespace: infra }]
  rules: [{ backendRefs: [{ name: s, port: 80 }] }]
---
apiVersion: v1
kind: Service
metadata: { name: s, namespace: a, creationTimestamp: 2026-01-01T00:00:00Z }
spec: { ports: [{ port: 80 }] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: { name: tls, namespace: a, creationTimestamp: 2026-01-03T00:00:00Z }
spec:
  targetRefs: [{ group: '', kind: Service, name: s }]
  validation: { hostname: s.example.com, wellKnownCACertificates: System }
";
    let world = Arc::new(world(&format!("{GATEWAY}---\n{text}")));
    let served = |objects| {
        let admitted = Tenants::new(ObjectQuotas { objects, ..ObjectQuotas::default() }).admit(Arc::clone(&world));
        let translation = translate(&admitted, &TranslateOptions::default());
        let told: Vec<String> = admitted.malformed.keys().map(|object| object.kind.clone()).collect();
        let model = serde_json::to_string(&translation.model).expect("JSON");
        (told, model.contains("Forward"), model.contains(r#""Respond":{"status":500}"#))
    };
    assert_eq!(served(3), (vec![], true, false));
    let words = |all: &[&str]| -> Vec<String> { all.iter().map(|kind| (*kind).to_owned()).collect() };
    assert_eq!(served(2), (words(&["BackendTLSPolicy"]), false, true), "the Service is not reached");
    assert_eq!(served(1), (words(&["BackendTLSPolicy", "HTTPRoute"]), false, true), "matches stay, and are closed");
}

/// A tenant past its quota tells no less whose its addresses are: they are references to its Service for others, as before,
/// and nobody reaches them.
#[test]
fn addresses_past_a_quota_are_known() {
    let text = "apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: own, namespace: a, creationTimestamp: 2026-01-01T00:00:00Z }
spec:
  parentRefs: [{ name: gw, namespace: infra }]
  hostnames: [own.example.com]
  rules: [{ backendRefs: [{ name: s, port: 80 }] }]
---
apiVersion: v1
kind: Service
metadata: { name: s, namespace: a, creationTimestamp: 2026-01-02T00:00:00Z }
spec: { clusterIP: 10.0.0.1, ports: [{ port: 80 }] }
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: s, namespace: a, labels: { kubernetes.io/service-name: s }, creationTimestamp: 2026-01-03T00:00:00Z }
addressType: IPv4
ports: [{ port: 8080 }]
endpoints: [{ addresses: [10.0.1.1], targetRef: { kind: Pod, name: s } }]
---
apiVersion: toolward.dev/v1alpha1
kind: MCPBackend
metadata: { name: service, namespace: c }
spec: { targets: [{ name: t, static: { host: 10.0.0.1, port: 80 } }] }
---
apiVersion: toolward.dev/v1alpha1
kind: MCPBackend
metadata: { name: pod, namespace: b }
spec: { targets: [{ name: t, static: { host: 10.0.1.1, port: 8080 } }] }
---
apiVersion: toolward.dev/v1alpha1
kind: MCPBackend
metadata: { name: nobodys, namespace: d }
spec: { targets: [{ name: t, static: { host: 10.0.2.1, port: 80 } }] }
";
    let world = Arc::new(world(&format!("{GATEWAY}---\n{text}")));
    let networks = ["10.0.0.0/8".parse().expect("a network")];
    let options =
        TranslateOptions { backend_networks: BackendNetworks::only(&networks), ..TranslateOptions::default() };
    for (objects, reaches) in [(3, true), (2, false), (1, false)] {
        let admitted = Tenants::new(ObjectQuotas { objects, ..ObjectQuotas::default() }).admit(Arc::clone(&world));
        let translation = translate(&admitted, &options);
        let model = serde_json::to_string(&translation.model).expect("JSON");
        assert_eq!(model.contains("10.0.1.1"), reaches, "the tenant itself, with {objects} objects");
        let refused = translation.problems.iter().filter(|problem| problem.reason == "RefNotPermitted");
        let refused: Vec<String> = refused.filter_map(|problem| Some(problem.resource.as_ref()?.to_string())).collect();
        assert_eq!(refused, ["MCPBackend b/pod", "MCPBackend c/service"], "{objects} objects");
    }
}

/// However much a tenant has past its quota, a change is the change of one object.
#[test]
fn what_is_past_a_quota_is_taken_up_once() {
    let text: String = (0..1000).map(|index| policy("a", &format!("p{index}"), 1)).collect();
    let nothing = Resources::default();
    let (other, late) = (world(&policy("b", "one", 1)), world(&policy("a", "p999", 2)));
    let mut now = world(&text);
    let mut tenants = Tenants::new(ObjectQuotas { objects: 10, ..ObjectQuotas::default() });
    let mut last = tenants.admit(Arc::new(now.clone()));
    assert_eq!((last.policies.len(), last.malformed.len()), (10, 990));
    for (row, gone, new, policies, malformed) in [
        ("another one's policy comes", &nothing, &other, 1, 0),
        ("it goes", &other, &nothing, 1, 0),
        ("one past the quota is written", &nothing, &late, 0, 1),
        ("it goes", &late, &nothing, 0, 1),
    ] {
        now.replace(gone, new);
        let next = tenants.admit(Arc::new(now.clone()));
        let differing =
            (next.policies.differing(&last.policies).len(), next.malformed.differing(&last.malformed).len());
        assert_eq!(differing, (policies, malformed), "{row}");
        last = next;
    }
}

/// Group and version, kind and content of all that counts, and a route of which only matches can be read.
const KINDS: [(&str, &str, &str); 11] = [
    (
        "gateway.networking.k8s.io/v1",
        "Gateway",
        "spec: { gatewayClassName: toolward, listeners: [{ name: web, port: 80, protocol: HTTP }] }",
    ),
    ("gateway.networking.k8s.io/v1", "HTTPRoute", "spec: { rules: [{ matches: [{ path: { value: /a } }] }] }"),
    ("gateway.networking.k8s.io/v1", "HTTPRoute", "spec: { x: 1 }"),
    (
        "gateway.networking.k8s.io/v1beta1",
        "ReferenceGrant",
        "spec: { from: [{ group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: b }], to: [{ group: '', kind: Service }] }",
    ),
    (
        "gateway.networking.k8s.io/v1",
        "BackendTLSPolicy",
        "spec: { targetRefs: [{ group: '', kind: Service, name: n0 }], validation: { hostname: a.example.com, wellKnownCACertificates: System } }",
    ),
    ("v1", "Service", "spec: { ports: [{ port: 80 }] }"),
    (
        "discovery.k8s.io/v1",
        "EndpointSlice",
        "addressType: IPv4\nports: [{ port: 80 }]\nendpoints: [{ addresses: [10.0.0.1] }]",
    ),
    ("v1", "ConfigMap", "data: { a: b }"),
    ("v1", "Secret", "data: { a: Yg== }"),
    ("toolward.dev/v1alpha1", "MCPBackend", "spec: { targets: [{ name: t, static: { host: 10.0.0.1, port: 80 } }] }"),
    (
        "toolward.dev/v1alpha1",
        "MCPAccessPolicy",
        "spec: { targetRefs: [{ group: gateway.networking.k8s.io, kind: HTTPRoute, name: n0 }], authentication: { anonymous: {} } }",
    ),
];

fn of_kind((version, kind, content): (&str, &str, &str), namespace: &str, name: &str, day: u32) -> String {
    let metadata = format!("{{ name: {name}, namespace: {namespace}, creationTimestamp: 2026-01-0{day}T00:00:00Z }}");
    format!("apiVersion: {version}\nkind: {kind}\nmetadata: {metadata}\n{content}\n")
}

/// All that quotas decide about.
fn all(world: &Resources) -> impl PartialEq + Debug {
    (
        &world.gateways,
        &world.http_routes,
        &world.reference_grants,
        &world.backend_tls_policies,
        &world.services,
        &world.endpoint_slices,
        &world.config_maps,
        &world.secrets,
        &world.backends,
        &world.policies,
        &world.malformed,
        &world.origins,
    )
}

proptest! {
    #[test]
    fn step_by_step_a_world_is_what_it_is_at_once(
        steps in prop::collection::vec((0..KINDS.len(), 0..2, 0..5, 1..6_u32, any::<bool>()), 0..40)
    ) {
        let quotas = ObjectQuotas { objects: 4, ..ObjectQuotas::default() };
        let (mut tenants, mut now, nothing) = (Tenants::new(quotas), Resources::default(), Resources::default());
        for (kind, namespace, name, day, is_put) in steps {
            let one = world(&of_kind(KINDS[kind], &format!("s{namespace}"), &format!("n{name}"), day));
            now.replace(if is_put { &nothing } else { &one }, if is_put { &one } else { &nothing });
            let next = tenants.admit(Arc::new(now.clone()));
            let at_once = Tenants::new(quotas).admit(Arc::new(now.clone()));
            prop_assert_eq!(all(&next), all(&at_once));
        }
    }
}
