//! 30,000 changes, as a thousand a second for half a minute would come: what is served in the end is what there is, in a
//! few steps and without more memory than before. Without an API server, which would not be as fast.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use toolward_xds_server::render::RenderOptions;
use toolward_xds_server::serve::pipeline::Pipeline;
use toolward_xds_server::snapshot::Snapshot;
use toolward_xds_server::source::Change;
use toolward_xds_server::source::kube::kinds::{KINDS, Kind};
use toolward_xds_server::source::kube::store::{Event, Store};
use toolward_xds_server::translate::TranslateOptions;

const EVENTS: u64 = 30_000;

/// Changes that are told together: no change waits longer than 100 ms, in which a hundred come.
const TOGETHER: u64 = 100;

/// Objects of each kind.
const OBJECTS: u64 = 128;

/// Services that the objects lead to.
const SERVICES: u64 = 8;

/// How often each kind is changed, in a hundred.
const SHARES: [(&str, u64); 4] = [("EndpointSlice", 44), ("ConfigMap", 44), ("HTTPRoute", 6), ("MCPAccessPolicy", 6)];

#[test]
fn thirty_thousand_changes() {
    let (mut world, mut control_plane) = (World::new(), ControlPlane::new());
    for (kind, object) in world.all() {
        control_plane.store.apply(kind, Event::Applied(object));
    }
    control_plane.complete();
    control_plane.tell();
    let start = Instant::now();
    let mut memory = 0;
    for event in 0..EVENTS {
        let (kind, event_of_store) = world.change(event + 1);
        control_plane.store.apply(kind, event_of_store);
        if (event + 1) % TOGETHER == 0 {
            control_plane.tell();
        }
        // Once all has grown to its size.
        if event == EVENTS / 10 {
            memory = resident_mib();
        }
    }
    let Steps { translations, snapshots } = control_plane.steps;
    println!("{EVENTS} changes in {:?}: {translations} translations, {snapshots} snapshots", start.elapsed());
    println!("{memory} MiB after a tenth, {} after all", resident_mib());
    let most = EVENTS / TOGETHER + 1;
    assert!(translations <= most && snapshots <= most, "{translations} translations, {snapshots} snapshots");
    assert!(resident_mib() <= (memory * 5 / 4).max(memory + 32), "memory is flat");

    // Policies stay for a while after the last route that named them.
    let later = Instant::now() + Duration::from_secs(3600);
    let last = control_plane.snapshot.clone().unwrap();
    let served = control_plane.pipeline.expire(later).unwrap_or(last);
    let mut fresh = ControlPlane::new();
    for (kind, object) in world.all() {
        fresh.store.apply(kind, Event::Applied(object));
    }
    fresh.complete();
    fresh.tell();
    let expected = fresh.snapshot.unwrap();
    assert!(expected.gateways.values().next().unwrap().resources.values().map(BTreeMap::len).sum::<usize>() > 10);
    assert_eq!(served, expected, "what is served is what there is");
}

fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

/// What stands between the API server and the streams of Envoys.
struct ControlPlane {
    store: Store,
    pipeline: Pipeline,
    snapshot: Option<Arc<Snapshot>>,
    steps: Steps,
}

#[derive(Default)]
struct Steps {
    translations: u64,
    snapshots: u64,
}

impl ControlPlane {
    fn new() -> Self {
        let render_options = RenderOptions {
            wasm_file: "/toolward.wasm".to_owned(),
            listener_address: "127.0.0.1".to_owned(),
            system_ca_file: "/ca.crt".to_owned(),
        };
        let pipeline = Pipeline::new(render_options, TranslateOptions::default());
        Self { store: Store::new(usize::MAX), pipeline, snapshot: None, steps: Steps::default() }
    }

    fn complete(&mut self) {
        for kind in &KINDS {
            self.store.apply(kind, Event::Complete);
        }
    }

    /// As the control plane does whenever changes have settled.
    fn tell(&mut self) {
        assert_eq!(self.store.wanted(), [], "nothing refers to a ConfigMap");
        while let Some(change) = self.store.take_change() {
            let next = match change {
                Change::World(resources) => self.translate(&resources),
                other => panic!("{other:?}"),
            };
            if let Some(next) = next {
                self.steps.snapshots += 1;
                self.snapshot = Some(next);
            }
        }
    }

    fn translate(&mut self, resources: &toolward_xds_server::resources::Resources) -> Option<Arc<Snapshot>> {
        self.steps.translations += 1;
        self.pipeline.turn(resources, Instant::now()).1
    }
}

/// What there is at the API server.
struct World {
    random: u64,
    /// Version and object by kind and number; what never changes has the number zero.
    there: BTreeMap<(&'static str, String), Value>,
}

impl World {
    fn new() -> Self {
        let mut world = Self { random: 1, there: BTreeMap::new() };
        let class = json!({ "spec": { "controllerName": "toolward.dev/gateway-controller" } });
        world.put("GatewayClass", "toolward", 0, class);
        let listener = json!({ "name": "mcp", "port": 3000, "protocol": "HTTP" });
        let gateway = json!({ "spec": { "gatewayClassName": "toolward", "listeners": [listener] } });
        world.put("Gateway", "gw", 0, gateway);
        for number in 0..SERVICES {
            let service = json!({ "spec": { "ports": [{ "port": 80, "targetPort": 8000 }] } });
            world.put("Service", &format!("flood-{number}"), 0, service);
        }
        for (kind, _) in SHARES {
            for number in 0..OBJECTS {
                world.put(kind, &format!("flood-{number}"), 0, content(kind, number, 0));
            }
        }
        world
    }

    fn all(&self) -> impl Iterator<Item = (&'static Kind, Value)> {
        self.there.iter().map(|((name, _), object)| (kind(name), object.clone()))
    }

    fn put(&mut self, kind: &'static str, name: &str, version: u64, mut object: Value) -> Value {
        let metadata = &mut object["metadata"];
        metadata["name"] = name.into();
        metadata["resourceVersion"] = version.to_string().into();
        if kind != "GatewayClass" {
            metadata["namespace"] = "default".into();
        }
        if !matches!(kind, "EndpointSlice" | "ConfigMap" | "Service") {
            metadata["generation"] = (version + 1).into();
        }
        self.there.insert((kind, name.to_owned()), object.clone());
        object
    }

    /// Something is created, changed or deleted.
    fn change(&mut self, version: u64) -> (&'static Kind, Event) {
        let (mut share, number) = (self.below(100), self.below(OBJECTS));
        let chosen = SHARES.iter().find(|(_, percent)| {
            let is_it = share < *percent;
            share = share.saturating_sub(*percent);
            is_it
        });
        let (name, _) = chosen.unwrap();
        let key = (*name, format!("flood-{number}"));
        if self.below(4) == 0 && self.there.contains_key(&key) {
            return (kind(name), Event::Deleted(self.there.remove(&key).unwrap()));
        }
        (kind(name), Event::Applied(self.put(name, &key.1, version, content(name, number, version))))
    }

    /// A number below this one, by a generator that gives the same ones each time.
    fn below(&mut self, limit: u64) -> u64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % limit
    }
}

fn kind(name: &str) -> &'static Kind {
    KINDS.iter().find(|kind| kind.kind == name).unwrap()
}

/// Everything in which an object's versions differ is served.
fn content(kind: &str, number: u64, version: u64) -> Value {
    let service = format!("flood-{}", number % SERVICES);
    match kind {
        "EndpointSlice" => {
            let address = format!("10.{number}.{}.{}", version / 250 % 250, version % 250 + 1);
            json!({ "metadata": { "labels": { "kubernetes.io/service-name": service } }, "addressType": "IPv4",
                "ports": [{ "port": 8000 }], "endpoints": [{ "addresses": [address], "conditions": { "ready": true } }] })
        }
        // Only its metadata is watched.
        "ConfigMap" => json!({ "metadata": {} }),
        "HTTPRoute" => {
            let version = json!({ "name": "x-version", "value": version.to_string() });
            let sign = json!({ "type": "RequestHeaderModifier", "requestHeaderModifier": { "set": [version] } });
            let path = json!({ "type": "PathPrefix", "value": format!("/flood-{number}") });
            let rule = json!({ "matches": [{ "path": path }], "filters": [sign],
                "backendRefs": [{ "name": service, "port": 80 }] });
            json!({ "spec": { "parentRefs": [{ "name": "gw" }], "rules": [rule] } })
        }
        "MCPAccessPolicy" => {
            let target =
                json!({ "group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": format!("flood-{number}") });
            let rule = json!({ "name": "some", "tools": [format!("tool-{version}")] });
            json!({ "spec": { "targetRefs": [target], "authorization": { "rules": [rule] } } })
        }
        other => panic!("{other}"),
    }
}
