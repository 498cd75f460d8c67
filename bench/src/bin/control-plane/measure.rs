//! The measurements, in the order of the report's rows.

use std::time::{Duration, Instant};

use toolward_bench::report::Row;

use crate::COMMAND;
use crate::envoy::{Kind, Received};
use crate::figures::{median, ms, p99};
use crate::fleet::Fleet;
use crate::rival::Rival;
use crate::server::Server;
use crate::world::{Part, Size, World};

/// What one change came to.
struct Change {
    /// To the last acknowledgement.
    took: f64,
    /// CPU of the server, in milliseconds.
    cpu: f64,
    /// To each Envoy that heard of it.
    bytes: f64,
}

/// Measures worlds of these sizes, of which the last is the one that has targets.
pub(crate) async fn all(sizes: &[Size], full: bool) -> Vec<Row> {
    let changes = if full { 100 } else { 20 };
    let mut rows = Vec::new();
    let mut costs: Vec<Vec<f64>> = Vec::new();
    for (index, size) in sizes.iter().enumerate() {
        let is_largest = index + 1 == sizes.len();
        let routes = size.routes();
        let mut world = World::new(*size);
        let mut server = Server::start(world.folder());
        let (load_wall, load) = load(&mut server).await;
        let memory = server.memory();
        println!("{routes} routes: loaded in {:.0} ms, {:.0} ms of CPU; {memory:.0} MiB", ms(load_wall), ms(load));
        let address = format!("http://{}", server.xds);
        let begun = Instant::now();
        let mut fleet = Fleet::start(*size, &address).await;
        println!(
            "{} Envoys have everything after {:.0} ms; {:.0} MiB",
            fleet.envoys(),
            ms(begun.elapsed()),
            server.memory()
        );
        let mut cost = Vec::new();
        for part in Part::ALL {
            let mut made = Vec::new();
            // The first one is not counted: caches are cold.
            for number in 0..=changes {
                let change = change(&mut world, &mut server, &mut fleet, part, number).await;
                if number > 0 {
                    made.push(change);
                }
            }
            let took = p99(made.iter().map(|change| change.took).collect());
            let cpu = median(made.iter().map(|change| change.cpu).collect());
            let bytes = median(made.iter().map(|change| change.bytes).collect());
            let middle = median(made.iter().map(|change| change.took).collect());
            println!(
                "{routes} routes, one {} changed: {middle:.1} ms, p99 {took:.1} ms, {cpu:.1} ms of CPU, {bytes} bytes to each",
                part.word()
            );
            if is_largest {
                let target = if part == Part::EndpointSlice { 50.0 } else { 100.0 };
                let name = format!("one {} changed, to last ACK, p99", part.word());
                rows.push(Row::new(&name, "ms", took, Some(target), COMMAND));
            }
            if part == Part::Route {
                let name = format!("bytes to an Envoy for one changed route, of {routes}");
                rows.push(Row::new(&name, "bytes", bytes, None, COMMAND));
            }
            cost.push(cpu);
        }
        costs.push(cost);
        if is_largest {
            rows.push(Row::new("CPU from all loaded to first snapshot", "ms", ms(load), Some(1000.0), COMMAND));
            rows.push(Row::new("RSS with all Envoys", "MiB", server.memory(), Some(300.0), COMMAND));
            let (took, resent) = reconnect(fleet, *size, &address, true).await;
            rows.push(Row::new("all Envoys reconnect at once", "ms", took, Some(5000.0), COMMAND));
            rows.push(Row::new("resources resent after a reconnect", "count", resent as f64, Some(0.0), COMMAND));
            println!("after the reconnect: {:.0} MiB", server.memory());
            rows.extend(beside(*size, &address, changes).await);
        }
    }
    if let (Some(small), Some(large)) = (costs.first(), costs.last()) {
        for ((part, small), large) in Part::ALL.iter().zip(small).zip(large) {
            // The others concern more Gateways where there are more.
            let target = matches!(part, Part::Route | Part::Policy).then_some(3.0);
            let name = format!("CPU of one changed {}, 10,000 routes : 100", part.word());
            rows.push(Row::new(&name, "ratio", large / small, target, COMMAND));
        }
    }
    rows
}

/// Wall time and CPU time from all loaded to the first snapshot.
async fn load(server: &mut Server) -> (Duration, Duration) {
    server.logs("the folder was read").await;
    let (begun, before) = (Instant::now(), server.cpu());
    server.logs("serving a new snapshot").await;
    let cpu = server.cpu() - before;
    let wall = begun.elapsed();
    server.ignore_log();
    (wall, cpu)
}

async fn change(world: &mut World, server: &mut Server, fleet: &mut Fleet, part: Part, number: usize) -> Change {
    let kind = match part {
        Part::Route => Kind::Route,
        Part::Policy | Part::KeySet => Kind::Filter,
        Part::EndpointSlice => Kind::Endpoint,
    };
    let before = server.cpu();
    let begun = Instant::now();
    let gateways = world.change(part, number);
    let expected = gateways.len() * world.size.envoys_each;
    let hears = |received: &Received| received.kind == kind && gateways.contains(&received.gateway);
    let mut received = fleet.count(hears, expected).await;
    let took = ms(Fleet::last(&received, begun));
    received.extend(fleet.quiet().await);
    let cpu = ms(server.cpu() - before);
    let bytes: usize = received.iter().map(|received| received.bytes).sum();
    Change { took, cpu, bytes: bytes as f64 / received.len() as f64 }
}

/// How long all Envoys take to come back, and what they are sent though they have it. Where the server does not answer
/// for names that nothing has, by what it says last.
async fn reconnect(fleet: Fleet, size: Size, address: &str, answers: bool) -> (f64, usize) {
    let envoys = fleet.stop().await;
    let count = if answers { envoys.len() } else { 0 };
    let begun = Instant::now();
    let mut fleet = Fleet::connect(size, envoys, address).await;
    let mut received = fleet.count(|received| received.last, count).await;
    received.extend(fleet.quiet().await);
    let resent = received.iter().map(|received| received.resources).sum();
    (ms(Fleet::last(&received, begun)), resent)
}

/// go-control-plane with the same resources and as many Envoys. A change there is that of a resource, with nothing to read,
/// translate or render before.
async fn beside(size: Size, address: &str, changes: usize) -> Vec<Row> {
    let Some(mut rival) = Rival::start(Fleet::sample(size, address).await).await else {
        println!("go-control-plane can't be built here, and is left out");
        return Vec::new();
    };
    let mut fleet = Fleet::start(size, &rival.address).await;
    let mut took = Vec::new();
    for number in 0..=changes {
        let (gateway, begun) = rival.change(number).await;
        let hears = |received: &Received| received.kind == Kind::Route && received.gateway == gateway;
        let received = fleet.count(hears, size.envoys_each).await;
        took.push(ms(Fleet::last(&received, begun)));
        fleet.quiet().await;
    }
    let (back, resent) = reconnect(fleet, size, &rival.address, false).await;
    let row = |name: &str, unit: &str, value: f64| Row::new(name, unit, value, None, COMMAND);
    vec![
        row("go-control-plane: one resource changed, to last ACK, p99", "ms", p99(took)),
        row("go-control-plane: all Envoys reconnect at once", "ms", back),
        row("go-control-plane: resources resent after a reconnect", "count", resent as f64),
    ]
}
