//! A simulated Envoy over random worlds: at no moment does it have a route to something that it does not have.

use std::collections::{BTreeSet, VecDeque};

use proptest::prelude::*;

use super::*;

const CLUSTERS: [&str; 3] = ["a", "b", "c"];

/// Routes of one listener: each names a cluster and a policy of the filter's table.
#[derive(Clone, Debug)]
struct World {
    routes: Vec<(&'static str, u8)>,
    /// Changes clusters and table without changing their names.
    edition: u8,
}

#[derive(Clone, Debug)]
enum Step {
    World(World),
    /// The server sends what it may.
    Send,
    /// Envoy handles the oldest message that arrived, and answers it.
    Handle,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let route = (prop::sample::select(CLUSTERS.to_vec()), 0..3_u8);
    let world = (prop::collection::vec(route, 0..3), 0..3_u8).prop_map(|(routes, edition)| World { routes, edition });
    let step = prop_oneof![1 => world.prop_map(Step::World), 2 => Just(Step::Send), 3 => Just(Step::Handle)];
    prop::collection::vec(step, 1..80)
}

impl World {
    /// The table has all policies that there were, as the server keeps dropped ones for a while.
    fn snapshot(&self, policies: &mut BTreeSet<u8>) -> GatewaySnapshot {
        let mut snapshot = GatewaySnapshot::default();
        let mut put = |kind: ResourceType, name: &str, content: String| {
            let resource = Resource::new(content.into_bytes());
            snapshot.resources.entry(kind).or_default().insert(name.to_owned(), resource);
        };
        for (cluster, _) in &self.routes {
            put(Cluster, cluster, format!("{} {cluster}", self.edition));
        }
        let routes: Vec<String> = self.routes.iter().map(|(cluster, policy)| format!("{cluster}{policy}")).collect();
        put(Route, "web", routes.join(" "));
        policies.extend(self.routes.iter().map(|(_, policy)| *policy));
        let table: Vec<String> = policies.iter().map(u8::to_string).collect();
        put(ExtensionConfig, "web", format!("{} {}", self.edition, table.join(" ")));
        snapshot
    }
}

#[derive(Default)]
struct Envoy {
    clusters: BTreeSet<String>,
    policies: BTreeSet<String>,
    routes: Vec<String>,
}

impl Envoy {
    fn handle(&mut self, push: &Push, protocol: Protocol) {
        let contents = push
            .update
            .resources
            .iter()
            .map(|(name, resource)| (name.clone(), String::from_utf8(resource.bytes.to_vec()).unwrap()));
        match push.kind {
            Cluster => {
                if protocol == Protocol::Sotw {
                    self.clusters.clear();
                }
                self.clusters.extend(contents.map(|(name, _)| name));
                for name in &push.update.removed {
                    self.clusters.remove(name);
                }
            }
            ExtensionConfig => {
                for (_, content) in contents {
                    self.policies = content.split(' ').skip(1).map(str::to_owned).collect();
                }
            }
            _ => {
                for (_, content) in contents {
                    self.routes = content.split_whitespace().map(str::to_owned).collect();
                }
            }
        }
        for route in &self.routes {
            let (cluster, policy) = route.split_at(1);
            assert!(self.clusters.contains(cluster), "no cluster {cluster} after {push:?}");
            assert!(self.policies.contains(policy), "no policy {policy} after {push:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_referred_to_that_is_not_there(
        protocol in prop_oneof![Just(Protocol::Delta), Just(Protocol::Sotw)],
        steps in steps(),
    ) {
        let mut run = Run::new(protocol, &[Cluster, ExtensionConfig, Route]);
        let (mut envoy, mut on_its_way) = (Envoy::default(), VecDeque::new());
        let (mut world, mut policies) = (World { routes: Vec::new(), edition: 0 }, BTreeSet::new());
        let mut snapshot = world.snapshot(&mut policies);
        let settling = [Step::Send, Step::Handle].into_iter().cycle().take(60);
        for step in steps.into_iter().chain(settling) {
            match step {
                Step::World(next) => {
                    snapshot = next.snapshot(&mut policies);
                    world = next;
                }
                Step::Send => on_its_way.extend(std::iter::from_fn(|| run.stream.next(&snapshot, run.now))),
                Step::Handle => {
                    let Some(push) = on_its_way.pop_front() else { continue };
                    envoy.handle(&push, protocol);
                    let request = run.request(&push.nonce, None);
                    run.stream.receive(push.kind, request).unwrap();
                }
            }
        }
        let expected: Vec<String> = world.routes.iter().map(|(cluster, policy)| format!("{cluster}{policy}")).collect();
        prop_assert_eq!(envoy.routes, expected);
        let clusters: BTreeSet<String> = world.routes.iter().map(|(cluster, _)| (*cluster).to_owned()).collect();
        prop_assert_eq!(envoy.clusters, clusters);
    }
}
