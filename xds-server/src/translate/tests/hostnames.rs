//! Whose a hostname is, where what one namespace has by a wildcard meets a listener that is for another one.

use crate::translate::{TranslateOptions, translate};

const WORLD: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: { name: toolward }
spec: { controllerName: toolward.dev/gateway-controller }
---
apiVersion: v1
kind: Namespace
metadata: { name: team, labels: { team: 'yes' } }
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: gw, namespace: infra }
spec:
  gatewayClassName: toolward
  listeners:
  - { name: all, port: 80, protocol: HTTP, allowedRoutes: { namespaces: { from: All } } }
  - name: team
    port: 80
    protocol: HTTP
    hostname: '*.team.example.com'
    allowedRoutes: { namespaces: { from: Selector, selector: { matchLabels: { team: 'yes' } } } }
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: wide, namespace: greedy, creationTimestamp: 2026-01-01T00:00:00Z }
spec:
  parentRefs: [{ name: gw, namespace: infra, sectionName: all }]
  hostnames: ['*.example.com', '*.com']
  rules: [{ backendRefs: [{ name: s, port: 80 }] }]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: own, namespace: team, creationTimestamp: 2026-01-02T00:00:00Z }
spec:
  parentRefs: [{ name: gw, namespace: infra, sectionName: team }]
  hostnames: [x.team.example.com, '*.y.team.example.com']
  rules: [{ backendRefs: [{ name: s, port: 80 }] }]
";

/// Else who may use a listener for all would keep a team from its own one.
#[test]
fn a_wildcard_takes_no_names_of_a_listener_that_is_for_others() {
    let resources = super::resources("hostnames", WORLD);
    let options = TranslateOptions { hostnames_belong_to_namespaces: true, ..TranslateOptions::default() };
    let translation = translate(&resources, &options);
    let refused: Vec<_> = translation.problems.iter().filter(|problem| problem.field == "spec.hostnames").collect();
    assert!(refused.is_empty(), "{refused:#?}");
    let hosts = super::listeners(&translation).flat_map(|listener| &listener.virtual_hosts);
    let mut served: Vec<String> = hosts
        .flat_map(|host| host.routes.iter().flat_map(|it| host.domains.iter().map(|at| format!("{} at {at}", it.name))))
        .collect();
    served.sort();
    let expected = [
        "greedy/wide/0/0 at *.com",
        "greedy/wide/0/0 at *.example.com",
        "team/own/0/0 at *.y.team.example.com",
        "team/own/0/0 at x.team.example.com",
    ];
    assert_eq!(served, expected);
}
