//! Whether memory comes back: what tenants add within their quotas and remove again.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::time::sleep;
use toolward_bench::report::Row;

use crate::COMMAND;
use crate::figures::ms;
use crate::fleet::Fleet;
use crate::server::Server;
use crate::world::{Size, World};

/// What goes on meanwhile.
const SIZE: Size = Size { gateways: 10, envoys_each: 10 };

/// How often each comes and goes.
const ROUNDS: usize = 3;

/// What comes and goes.
struct Guest {
    name: &'static str,
    /// How many objects fit into a file.
    in_file: usize,
    objects: fn(round: usize) -> Vec<Value>,
}

const GUESTS: [Guest; 3] = [
    Guest { name: "large routes", in_file: 16, objects: large_routes },
    Guest { name: "10,000 objects", in_file: 1000, objects: many_objects },
    Guest { name: "large policies", in_file: 2, objects: large_policies },
];

/// Memory at the start, while they are there and after they have gone.
pub(crate) async fn all() -> Vec<Row> {
    let world = World::new(SIZE);
    let mut server = Server::start(world.folder());
    server.logs("serving a new snapshot").await;
    server.ignore_log();
    println!("alone: {:.0} MiB", server.memory());
    let mut fleet = Fleet::start(SIZE, &format!("http://{}", server.xds)).await;
    settle(&mut server, &mut fleet).await;
    let start = server.memory();
    println!("before: {start:.0} MiB");
    let mut largest = start;
    for guest in GUESTS {
        server.forget_peak();
        let before = server.cpu();
        for round in 0..ROUNDS {
            let items = (guest.objects)(round);
            let files: Vec<&[Value]> = items.chunks(guest.in_file).collect();
            for (number, objects) in files.iter().enumerate() {
                // JSON is YAML.
                let text = objects.iter().map(Value::to_string).collect::<Vec<_>>().join("\n---\n");
                world.write(&format!("guest-{number}.yaml"), &text);
            }
            settle(&mut server, &mut fleet).await;
            for number in 0..files.len() {
                world.remove(&format!("guest-{number}.yaml"));
            }
            settle(&mut server, &mut fleet).await;
        }
        let cpu = ms(server.cpu() - before);
        let (peak, gone) = (server.peak(), server.memory());
        sleep(Duration::from_secs(10)).await;
        println!(
            "{}: at most {peak:.0} MiB, {gone:.0} when they are gone, {:.0} after 10 s; {cpu:.0} ms of CPU",
            guest.name,
            server.memory()
        );
        largest = peak.max(largest);
    }
    sleep(Duration::from_secs(50)).await;
    let end = server.memory();
    println!("a minute later: {end:.0} MiB");
    vec![
        // The limit of the manifests.
        Row::new("RSS at most, while tenants add and remove", "MiB", largest, Some(512.0), COMMAND),
        Row::new("RSS a minute later : before", "ratio", end / start, Some(2.0), COMMAND),
    ]
}

/// Waits until the server does no more than look at its files, and the Envoys have heard of all.
async fn settle(server: &mut Server, fleet: &mut Fleet) {
    const LOOK: Duration = Duration::from_millis(700);
    loop {
        let (begun, before) = (Instant::now(), server.cpu());
        sleep(LOOK).await;
        fleet.quiet().await;
        if (server.cpu() - before).as_secs_f64() < 0.1 * begun.elapsed().as_secs_f64() {
            return;
        }
    }
}

/// Nearly as much as a Gateway takes: 15 routes of 16 hostnames, 16 matches and 16 backends.
fn large_routes(round: usize) -> Vec<Value> {
    let backends: Vec<Value> = (0..16).map(|number| json!({ "name": format!("s{number}"), "port": 80 })).collect();
    (0..15)
        .map(|route| {
            let path = |path: usize| json!({ "path": { "type": "PathPrefix", "value": format!("/{round}/{path}") } });
            let hosts: Vec<String> = (0..16).map(|host| format!("h{host}-{route}.example.com")).collect();
            route_of(&format!("large-{route}"), 0, &hosts, (0..16).map(path).collect(), &backends)
        })
        .collect()
}

/// 5,000 routes with a policy each.
fn many_objects(round: usize) -> Vec<Value> {
    (0..5_000)
        .flat_map(|number| {
            let name = format!("many-{number}");
            let matches = vec![json!({ "path": { "type": "PathPrefix", "value": format!("/{round}/{number}") } })];
            let hosts = [format!("h{}.example.com", number % 100)];
            let backends = [json!({ "name": format!("s{}", number % 100), "port": 80 })];
            let rules = json!([{ "name": "all", "tools": [format!("t{number}")] }]);
            [route_of(&name, number % SIZE.gateways, &hosts, matches, &backends), policy(&name, &name, &rules)]
        })
        .collect()
}

/// Ten of 0.8 MiB on routes that are there all the time, by other names in each round.
fn large_policies(round: usize) -> Vec<Value> {
    (0..10)
        .map(|number| {
            let rule = |rule: usize| {
                let tool = |tool: usize| format!("{round}-{rule}-{tool}-{}", "x".repeat(90));
                json!({ "name": format!("r{rule}"), "tools": (0..100).map(tool).collect::<Vec<_>>() })
            };
            let rules: Vec<Value> = (0..90).map(rule).collect();
            policy(&format!("large-{round}-{number}"), &format!("r{}", number + 1), &Value::Array(rules))
        })
        .collect()
}

fn route_of(name: &str, gateway: usize, hosts: &[String], matches: Vec<Value>, backends: &[Value]) -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": { "name": name, "namespace": "default" },
        "spec": {
            "parentRefs": [{ "name": format!("g{gateway}") }],
            "hostnames": hosts,
            "rules": [{ "matches": matches, "backendRefs": backends }],
        },
    })
}

fn policy(name: &str, route: &str, rules: &Value) -> Value {
    json!({
        "apiVersion": "toolward.dev/v1alpha1",
        "kind": "MCPAccessPolicy",
        "metadata": { "name": name, "namespace": "default" },
        "spec": {
            "targetRefs": [{ "group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": route }],
            "authorization": { "rules": rules },
        },
    })
}
