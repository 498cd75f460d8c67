//! More changes than anybody could follow one by one: what is served in the end is what there is, in a few steps and
//! without more memory than before.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use toolward_tests::cluster::Cluster;
use toolward_tests::folder::Folder;
use toolward_tests::process::eventually;
use toolward_tests::tools::tools;
use toolward_tests::toolward::{self, Toolward};
use toolward_tests::upstream::OK;

use crate::world::World;

/// How many changes a second are tried. Where the API server can't take so many, as many as it can; a test of the control
/// plane alone, beside its sources, always has all of them.
const RATE: u64 = 1000;
const SPAN: Duration = Duration::from_secs(30);
/// Changes that are under way at the same time.
const WORKERS: usize = 32;
/// Objects of each kind.
const OBJECTS: usize = 128;
/// Services that the objects lead to.
const SERVICES: usize = 8;

const GATEWAY: &str = "default/mcp-gateway";

/// How often each kind is changed, in a hundred.
const KINDS: [(Kind, u64); 4] = [(Kind::Slice, 44), (Kind::ConfigMap, 44), (Kind::Route, 6), (Kind::Policy, 6)];

#[test]
fn a_thousand_changes_a_second() {
    let world = World::start();
    let (cluster, toolward) = (&world.cluster, &world.toolward);
    let services: Vec<Value> = (0..SERVICES).map(service).collect();
    cluster.apply(&json!({ "apiVersion": "v1", "kind": "List", "items": services }).to_string());
    let runtime = Runtime::new().expect("a runtime");
    let flood = Arc::new(Flood { client: cluster.client(), server: cluster.url(""), next: AtomicU64::new(0) });

    // Memory is compared with a world in which every object is there.
    let mut workers: Vec<Worker> = (0..WORKERS).map(|number| Worker::new(Arc::clone(&flood), number)).collect();
    workers = run(&runtime, workers, Worker::create_all);
    wait_until_exact(cluster, toolward);
    let memory = toolward.process.resident_mib();
    let [responses, translations] = counters(toolward);

    let start = Instant::now();
    workers = run(&runtime, workers, move |worker| worker.flood(start));
    assert_eq!(versions(cluster), workers.iter().flat_map(Worker::versions).collect(), "nothing is lost on the way");
    let events: u64 = workers.iter().map(|worker| worker.events).sum();
    let rate = events / start.elapsed().as_secs().max(1);
    let late = Instant::now();
    wait_until_exact(cluster, toolward);
    let late = late.elapsed();
    let [responses, translations] = [counters(toolward)[0] - responses, counters(toolward)[1] - translations];
    println!("{events} events, {rate} a second; {translations} translations, {responses} responses to Envoy;");
    println!("exact {late:?} after the last; {memory} MiB before, {} after", toolward.process.resident_mib());

    let (wanted, waits) = (RATE * SPAN.as_secs(), workers.iter().map(|worker| worker.waits).sum::<u64>());
    let as_many_as_it_takes = waits * 10 < events;
    assert!(
        events == wanted || as_many_as_it_takes,
        "{events} of {wanted} changes, though {waits} could have come sooner"
    );
    assert!(events > 1000, "{events} changes are no flood");
    assert!(responses * 3.0 < events as f64, "{responses} responses for {events} changes");
    assert!(translations * 5.0 < events as f64, "{translations} translations for {events} changes");
    let flat = || toolward.process.resident_mib() <= (memory * 5 / 4).max(memory + 32);
    eventually("memory is flat", flat);
    assert_eq!(world.ask(&world.issuer.of_team("ops"), "add").text, OK);
}

/// The version of each object that the API server has.
fn versions(cluster: &Cluster) -> BTreeMap<String, String> {
    let kinds = "endpointslices,configmaps,httproutes,mcpaccesspolicies";
    let list = cluster.kubectl(&["get", kinds, "-n", "default", "-l", "version", "-o", "json"]);
    let list: Value = serde_json::from_str(&list).expect("JSON");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let versions = list["items"].as_array().expect("items").iter().map(|object| {
        let name = format!("{} {}", text(&object["kind"]), text(&object["metadata"]["name"]));
        (name, text(&object["metadata"]["labels"]["version"]))
    });
    versions.collect()
}

/// Has all workers do something at once.
fn run<F: Future<Output = Worker> + Send + 'static>(
    runtime: &Runtime,
    workers: Vec<Worker>,
    work: impl Fn(Worker) -> F,
) -> Vec<Worker> {
    let tasks: Vec<_> = workers.into_iter().map(|worker| runtime.spawn(work(worker))).collect();
    tasks.into_iter().map(|task| runtime.block_on(task).expect("no panic")).collect()
}

fn counters(toolward: &Toolward) -> [f64; 2] {
    ["toolward_xds_responses_total", "toolward_translations_total"].map(|name| toolward.metric(name))
}

/// Waits until what is served is what `toolward render` makes of what the API server has, and Envoy has taken it over.
fn wait_until_exact(cluster: &Cluster, toolward: &Toolward) {
    let kinds = "gatewayclasses,gateways,httproutes,mcpbackends,mcpaccesspolicies,services,endpointslices,configmaps,namespaces";
    let folder = Folder::new();
    folder.write("world.json", &cluster.kubectl(&["get", kinds, "--all-namespaces", "-o", "json"]));
    let keys = Folder::new();
    keys.write("keys", &String::from_utf8_lossy(&toolward::run(&["binding-keys", "--key"]).stdout));
    let text = |path: &Path| path.to_str().expect("UTF-8").to_owned();
    let (wasm, keys, path) = (text(&tools().wasm), text(&keys.path().join("keys")), text(folder.path()));
    let arguments = ["--listener-address", "127.0.0.1", "--wasm-file", &wasm, "--binding-keys", &keys, &path];
    let output = toolward::run(&[&["render"], &arguments[..]].concat());
    let rendered: Value = serde_yaml_ng::from_slice(&output.stdout).expect("YAML");
    let expected = comparable(&rendered[GATEWAY], &rendered[GATEWAY]);
    assert!(expected["RouteConfiguration"].is_object(), "{expected:#}");
    let mut said = None;
    eventually("what there is is what is served", || {
        let served = toolward.get(&format!("/snapshot?gateway={GATEWAY}")).json();
        let difference = difference(&comparable(&served, &expected), &expected);
        if difference != said {
            println!("{}", difference.as_deref().unwrap_or("exact"));
            said.clone_from(&difference);
        }
        difference.is_none()
    });
    eventually("Envoy has it", || {
        let served = toolward.get("/snapshot").json()[GATEWAY].clone();
        let types = toolward.get("/clients").json()[0]["types"].clone();
        let has = |(kind, versions): (&String, &Value)| types[kind]["accepted"] == *versions;
        served.as_object().expect("types").iter().all(has)
    });
}

/// What is served, without what only a running control plane has: its binding keys, where routes went, and the policies that stay for a
/// while after the last route that named them.
fn comparable(served: &Value, expected: &Value) -> Value {
    let (Value::Object(served), Value::Object(expected)) = (served, expected) else { return served.clone() };
    let mut kept = serde_json::Map::new();
    for (name, value) in served {
        let value = match (name.as_str(), value, expected.get(name)) {
            ("policies" | "keySets", Value::Object(all), Some(Value::Object(expected))) => {
                all.iter().filter(|(key, _)| expected.contains_key(*key)).map(|(k, v)| (k.clone(), v.clone())).collect()
            }
            ("bindingKeyIds" | "moved" | "retired" | "turn", ..) => continue,
            (_, value, Some(expected)) => comparable(value, expected),
            (_, value, None) => value.clone(),
        };
        kept.insert(name.clone(), value);
    }
    Value::Object(kept)
}

/// Where two values differ first, and how.
fn difference(served: &Value, expected: &Value) -> Option<String> {
    let deeper = |step: &str, served: Option<&Value>, expected: Option<&Value>| match (served, expected) {
        (Some(served), Some(expected)) => difference(served, expected).map(|below| format!("/{step}{below}")),
        (served, expected) => Some(format!("/{step}: served {}, expected {}", served.is_some(), expected.is_some())),
    };
    match (served, expected) {
        _ if served == expected => None,
        (Value::Object(served), Value::Object(expected)) => {
            served.keys().chain(expected.keys()).find_map(|key| deeper(key, served.get(key), expected.get(key)))
        }
        (Value::Array(served), Value::Array(expected)) => (0..served.len().max(expected.len()))
            .find_map(|index| deeper(&index.to_string(), served.get(index), expected.get(index))),
        _ => Some(format!(": served {served}, expected {expected}")),
    }
}

/// What all workers share.
struct Flood {
    client: Client,
    server: String,
    /// How many changes were begun.
    next: AtomicU64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Slice,
    ConfigMap,
    Route,
    Policy,
}

/// One of those who change objects; each has objects of its own.
struct Worker {
    flood: Arc<Flood>,
    number: usize,
    random: u64,
    /// The version of each object that is there.
    there: BTreeMap<(Kind, usize), Option<u64>>,
    events: u64,
    /// How many of them waited for their time: the API server had time as well.
    waits: u64,
}

impl Worker {
    fn new(flood: Arc<Flood>, number: usize) -> Self {
        let random = u64::try_from(number).expect("small").wrapping_mul(0x9E37_79B9_7F4A_7C15) + 1;
        Self { flood, number, random, there: BTreeMap::new(), events: 0, waits: 0 }
    }

    /// As [`versions`] has them.
    fn versions(&self) -> impl Iterator<Item = (String, String)> {
        let there = self.there.iter().filter_map(|(object, version)| Some((object, (*version)?)));
        there.map(|((kind, number), version)| (format!("{} flood-{number}", kind.name()), version.to_string()))
    }

    async fn create_all(mut self) -> Self {
        for (kind, _) in KINDS {
            for number in (self.number..OBJECTS).step_by(WORKERS) {
                self.create(kind, number, 0).await;
            }
        }
        self
    }

    async fn flood(mut self, start: Instant) -> Self {
        loop {
            let event = self.flood.next.fetch_add(1, Ordering::Relaxed);
            let due = Duration::from_millis(event * 1000 / RATE);
            if due.max(start.elapsed()) >= SPAN {
                return self;
            }
            if due > start.elapsed() {
                self.waits += 1;
                tokio::time::sleep(due.saturating_sub(start.elapsed())).await;
            }
            let (kind, number) = self.choose();
            let (is_there, is_to_go) = (self.there[&(kind, number)].is_some(), self.below(4) == 0);
            match (is_there, is_to_go) {
                (false, _) => self.create(kind, number, event).await,
                (true, true) => self.delete(kind, number).await,
                (true, false) => self.update(kind, number, event).await,
            }
            self.events += 1;
        }
    }

    fn choose(&mut self) -> (Kind, usize) {
        let mut share = self.below(100);
        let number = self.number + WORKERS * usize::try_from(self.below(4)).expect("small");
        for (kind, percent) in KINDS {
            if share < percent {
                return (kind, number);
            }
            share -= percent;
        }
        (Kind::Slice, number)
    }

    /// A number below this one, by a generator that gives the same ones each time.
    fn below(&mut self, limit: u64) -> u64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % limit
    }

    async fn create(&mut self, kind: Kind, number: usize, version: u64) {
        let object = kind.object(number, version);
        self.flood.send(Method::POST, &kind.path(), Some(&object)).await;
        self.there.insert((kind, number), Some(version));
    }

    async fn update(&mut self, kind: Kind, number: usize, version: u64) {
        let object = kind.object(number, version);
        self.flood.send(Method::PATCH, &kind.path_of(number), Some(&object)).await;
        self.there.insert((kind, number), Some(version));
    }

    async fn delete(&mut self, kind: Kind, number: usize) {
        self.flood.send(Method::DELETE, &kind.path_of(number), None).await;
        self.there.insert((kind, number), None);
    }
}

impl Flood {
    async fn send(&self, method: Method, path: &str, object: Option<&Value>) {
        loop {
            let mut request = self.client.request(method.clone(), format!("{}{path}", self.server));
            if let Some(object) = object {
                let merged = method == Method::PATCH;
                let content_type = if merged { "application/merge-patch+json" } else { "application/json" };
                request = request.header("content-type", content_type).body(object.to_string());
            }
            let answer = request.send().await.expect("an answer");
            let status = answer.status();
            let text = answer.text().await.expect("a body");
            // The status was written at the same time.
            if status == StatusCode::CONFLICT && method == Method::PATCH {
                continue;
            }
            assert!(status.is_success(), "{method} {path}: {status} {text}");
            return;
        }
    }
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Slice => "EndpointSlice",
            Self::ConfigMap => "ConfigMap",
            Self::Route => "HTTPRoute",
            Self::Policy => "MCPAccessPolicy",
        }
    }

    fn path(self) -> String {
        let (group, plural) = match self {
            Self::Slice => ("apis/discovery.k8s.io/v1", "endpointslices"),
            Self::ConfigMap => ("api/v1", "configmaps"),
            Self::Route => ("apis/gateway.networking.k8s.io/v1", "httproutes"),
            Self::Policy => ("apis/toolward.dev/v1alpha1", "mcpaccesspolicies"),
        };
        format!("/{group}/namespaces/default/{plural}")
    }

    fn path_of(self, number: usize) -> String {
        format!("{}/flood-{number}", self.path())
    }

    /// Everything in which an object's versions differ is served.
    fn object(self, number: usize, version: u64) -> Value {
        let (name, service) = (format!("flood-{number}"), format!("flood-{}", number % SERVICES));
        let labels = json!({ "version": version.to_string(), "kubernetes.io/service-name": service });
        let metadata = json!({ "name": name, "labels": labels });
        let object = |version: &str| json!({ "apiVersion": version, "kind": self.name(), "metadata": metadata });
        match self {
            Self::Slice => {
                let address = format!("10.{number}.{}.{}", version / 250 % 250, version % 250 + 1);
                let mut slice = object("discovery.k8s.io/v1");
                slice["addressType"] = json!("IPv4");
                slice["ports"] = json!([{ "port": 8000 }]);
                slice["endpoints"] = json!([{ "addresses": [address], "conditions": { "ready": true } }]);
                slice
            }
            Self::ConfigMap => {
                let mut config_map = object("v1");
                config_map["data"] = json!({ "text": format!("{version} ").repeat(100) });
                config_map
            }
            Self::Route => {
                let mut route = object("gateway.networking.k8s.io/v1");
                let version = json!({ "name": "x-version", "value": version.to_string() });
                let sign = json!({ "type": "RequestHeaderModifier", "requestHeaderModifier": { "set": [version] } });
                let rule = json!({ "matches": [{ "path": { "type": "PathPrefix", "value": format!("/{name}") } }],
                    "filters": [sign], "backendRefs": [{ "name": service, "port": 80 }] });
                route["spec"] = json!({ "parentRefs": [{ "name": "mcp-gateway" }], "rules": [rule] });
                route
            }
            Self::Policy => {
                let mut policy = object("toolward.dev/v1alpha1");
                let target = json!({ "group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": name });
                let rule = json!({ "name": "some", "tools": [format!("tool-{version}")] });
                policy["spec"] = json!({ "targetRefs": [target], "authorization": { "rules": [rule] } });
                policy
            }
        }
    }
}

fn service(number: usize) -> Value {
    let metadata = json!({ "name": format!("flood-{number}"), "namespace": "default" });
    json!({ "apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": { "ports": [{ "port": 80, "targetPort": 8000 }] } })
}
