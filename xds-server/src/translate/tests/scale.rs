//! What a change of one tenant costs beside another one with as much as it may have: figures, not a test.
//!
//! `cargo test --release -p toolward-xds-server --lib -- --ignored --nocapture scale`

use std::time::{Duration, Instant};

use crate::objects::Objects;
use crate::render::RenderOptions;
use crate::resources::{Name, Resources};
use crate::serve::pipeline::Pipeline;
use crate::translate::{Quotas, TranslateOptions};

const ROUNDS: usize = 20;

fn world(routes: usize, gateways: usize) -> Resources {
    let mut text = String::from(
        "apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: { name: toolward }
spec: { controllerName: toolward.dev/gateway-controller }
",
    );
    for gateway in 0..gateways {
        text += &format!(
            "---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{ name: g{gateway}, namespace: infra }}
spec:
  gatewayClassName: toolward
  listeners: [{{ name: web, port: 80, protocol: HTTP, allowedRoutes: {{ namespaces: {{ from: All }} }} }}]
"
        );
    }
    let all = (0..routes).map(|index| ("big", index)).chain([("small", 0)]);
    for (namespace, index) in all {
        let gateway = if namespace == "small" { 0 } else { index % gateways };
        text += &format!(
            "---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{ name: r{index}, namespace: {namespace} }}
spec:
  parentRefs: [{{ name: g{gateway}, namespace: infra }}]
  hostnames: [{namespace}{index}.example.com]
  rules:
  - matches: [{{ path: {{ type: PathPrefix, value: /r{index} }} }}]
    backendRefs: [{{ group: toolward.dev, kind: MCPBackend, name: s{index}, port: 80 }}]
---
apiVersion: toolward.dev/v1alpha1
kind: MCPBackend
metadata: {{ name: s{index}, namespace: {namespace} }}
spec:
  targets: [{{ name: s, service: {{ name: s{index}, port: 80 }}, path: /mcp }}]
---
apiVersion: v1
kind: Service
metadata: {{ name: s{index}, namespace: {namespace} }}
spec: {{ ports: [{{ name: http, port: 80, targetPort: 8080 }}] }}
---
apiVersion: toolward.dev/v1alpha1
kind: MCPAccessPolicy
metadata: {{ name: p{index}, namespace: {namespace} }}
spec:
  targetRefs: [{{ group: gateway.networking.k8s.io, kind: HTTPRoute, name: r{index} }}]
  authentication: {{ anonymous: {{}} }}
  authorization: {{ rules: [{{ name: all, tools: [add, t{index}] }}] }}
"
        );
    }
    super::resources("scale", &text)
}

/// The median of what one change costs.
fn change(pipeline: &mut Pipeline, world: &mut Resources, change: impl Fn(&mut Resources, usize)) -> Duration {
    let mut took: Vec<Duration> = (0..ROUNDS)
        .map(|round| {
            change(world, round);
            let begun = Instant::now();
            pipeline.turn(world, begun);
            begun.elapsed()
        })
        .collect();
    took.sort();
    took[ROUNDS / 2]
}

fn pipeline() -> Pipeline {
    let options = RenderOptions {
        wasm_file: "/toolward.wasm".to_owned(),
        listener_address: "0.0.0.0".to_owned(),
        system_ca_file: "/ca.pem".to_owned(),
    };
    let quotas = Quotas::default().of_one_owner();
    Pipeline::new(options, TranslateOptions { quotas, ..TranslateOptions::default() })
}

#[test]
#[ignore = "figures of a release build"]
fn others_changes_beside_a_tenant_with_many_objects() {
    for (routes, gateways) in [(10, 1), (1000, 1), (1000, 10), (10_000, 100)] {
        let mut world = world(routes, gateways);
        let mut pipeline = pipeline();
        let begun = Instant::now();
        pipeline.turn(&world, begun);
        println!("{} objects of a tenant, {gateways} Gateways: first {:?}", routes * 4, begun.elapsed());
        let name = Name::new("small", "r0");
        let route = change(&mut pipeline, &mut world, |world, round| {
            let route = world.http_routes.get_mut(&name).unwrap();
            let matches = route.spec.rules.as_mut().unwrap()[0].matches.as_mut().unwrap();
            matches[0].path.as_mut().unwrap().value = Some(format!("/r{round}"));
        });
        let policy = change(&mut pipeline, &mut world, |world, round| {
            let object = world.policies.keys().find(|object| object.name.namespace == "small").unwrap().clone();
            let policy = world.policies.get_mut(&object).unwrap();
            policy.spec.authorization.as_mut().unwrap().rules[0].tools = vec![format!("t{round}")];
        });
        println!("  another one's route {route:?}, policy {policy:?}");
    }
}

#[test]
#[ignore = "figures of a release build"]
fn others_changes_beside_many_objects_that_can_not_be_read() {
    for count in [0, 1000, 10_000] {
        let mut world = world(1, 1);
        let unreadable = |index: usize| {
            format!(
                "---
apiVersion: toolward.dev/v1alpha1
kind: MCPAccessPolicy
metadata: {{ name: u{index}, namespace: big }}
spec: {{ targetRefs: [{{ group: gateway.networking.k8s.io, kind: HTTPRoute, name: u{index} }}], unknown: {{}} }}
"
            )
        };
        let nothing = Resources::default();
        if count > 0 {
            let all: String = (0..count).map(unreadable).collect();
            world.replace(&nothing, &super::resources("unreadable", &all));
        }
        assert_eq!(world.malformed.len(), count);
        // Of an API server nothing is known that files tell.
        world.origins = Objects::default();
        let mut pipeline = pipeline();
        pipeline.turn(&world, Instant::now());
        let name = Name::new("small", "r0");
        let route = change(&mut pipeline, &mut world, |world, round| {
            let route = world.http_routes.get_mut(&name).unwrap();
            let matches = route.spec.rules.as_mut().unwrap()[0].matches.as_mut().unwrap();
            matches[0].path.as_mut().unwrap().value = Some(format!("/r{round}"));
        });
        let mut one = super::resources("one", &unreadable(0));
        one.origins = Objects::default();
        let readable = change(&mut pipeline, &mut world, |world, round| match round % 2 {
            0 => world.replace(&one, &nothing),
            _ => world.replace(&nothing, &one),
        });
        println!("{count} that can't be read: another one's route {route:?}, one of them {readable:?}");
    }
}
