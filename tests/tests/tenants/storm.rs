//! Everything at once.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use serde_json::Value;
use toolward_tests::cluster::NAMESPACE;
use toolward_tests::ports;
use toolward_tests::process::eventually;
use toolward_tests::toolward::Toolward;

use crate::attacks::{ATTACKS, Attack};
use crate::honest::{self, Fared, Told, percentile};
use crate::tenant::Tenant;
use crate::world::{ENVOY_MIB, HONEST, HOSTILE, World, control_plane_mib, slice};

/// For how long, in seconds, unless the variable `TENANT_SECONDS` says another number.
const SECONDS: u64 = 120;

/// What the control plane may have after the storm, in MiB, however little it took: 78 were measured, of which some is kept for
/// ten minutes. A storm on a slow machine takes less than twice that, and then there is no half of it to give back.
const CALM_MIB: u64 = 100;

/// What all that run at once share.
pub(crate) struct Storm {
    pub(crate) world: Arc<World>,
    /// A token that the honest team's policy is for. Callers of all teams have one.
    pub(crate) ops: String,
    pub(crate) began: Instant,
    stopped: AtomicBool,
    /// What should not have been possible, with how often it was.
    pub(crate) stolen: Mutex<BTreeMap<String, usize>>,
}

impl Storm {
    pub(crate) fn new(world: &Arc<World>) -> Self {
        Self {
            ops: world.issuer.of_team("ops"),
            world: Arc::clone(world),
            began: Instant::now(),
            stopped: AtomicBool::new(false),
            stolen: Mutex::default(),
        }
    }

    /// Has these attacks done by each of these tenants, again and again while `meanwhile` runs: how the honest team fared, and
    /// how much memory the control plane and Envoy had at most, in MiB.
    pub(crate) fn rages<'a>(
        &self,
        hostile: &[Tenant],
        attacks: impl Iterator<Item = &'a Attack> + Clone,
        meanwhile: impl FnOnce(),
    ) -> (Fared, [u64; 2]) {
        let (fared, told) = (Mutex::<Fared>::default(), Told::default());
        let peaks = [AtomicU64::new(0), AtomicU64::new(0)];
        thread::scope(|scope| {
            for tenant in hostile {
                for attack in attacks.clone() {
                    scope.spawn(move || self.attack(attack, tenant));
                }
            }
            let stop = Stop(&self.stopped);
            scope.spawn(|| watch_memory(self, &peaks));
            scope.spawn(|| honest::calls(self, &fared));
            scope.spawn(|| told.watch(self));
            scope.spawn(|| honest::changes(self, &told, &fared));
            meanwhile();
            drop(stop);
        });
        (fared.into_inner().expect("no panic"), peaks.map(AtomicU64::into_inner))
    }

    fn attack(&self, attack: &Attack, tenant: &Tenant) {
        let mut attacker = Attacker { storm: self, tenant, round: 0 };
        while self.goes_on() {
            (attack.run)(&mut attacker);
            attacker.round += 1;
            sleep(attack.pause);
        }
    }

    pub(crate) fn goes_on(&self) -> bool {
        !self.stopped.load(Ordering::Relaxed)
    }

    pub(crate) fn steals(&self, what: String) {
        *self.stolen.lock().expect("no panic").entry(what).or_default() += 1;
    }
}

/// Ends all of it, also where a test fails in the midst.
struct Stop<'s>(&'s AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// One attack of one tenant.
pub(crate) struct Attacker<'s> {
    pub(crate) storm: &'s Storm,
    pub(crate) tenant: &'s Tenant,
    /// How often it was done before.
    pub(crate) round: usize,
}

#[test]
fn two_hostile_tenants_beside_an_honest_one() {
    let seconds = number("TENANT_SECONDS").unwrap_or(SECONDS);
    let (world, hostile) = start();
    let (storm, mut replica) = (Storm::new(&world), None);
    let (fared, peaks) = storm.rages(&hostile, chosen(), || {
        sleep(Duration::from_secs(seconds / 2));
        // In the midst of it a replica starts, and reads all that is there.
        replica = Some(start_replica(&world));
        sleep(Duration::from_secs(seconds - seconds / 2));
    });
    println!("{}", summary(&fared, peaks));
    let Fared { calls, failed, granted, revoked, .. } = fared;
    let first: Vec<&String> = failed.iter().take(3).collect();
    assert!(failed.is_empty(), "{} of {calls} calls failed, among them {first:#?}", failed.len());
    assert!(calls > 0 && !granted.is_empty() && !revoked.is_empty());
    let replica = replica.expect("it was started");
    eventually("a replica that started meanwhile is ready", || replica.get("/ready").status == 200);
    let stolen = storm.stolen.lock().expect("no panic");
    assert!(stolen.is_empty(), "{stolen:#?}");
    assert!(world.trap.take_recorded().is_empty(), "nobody is led to loopback");
    assert!(peaks[0] < control_plane_mib() && peaks[1] < ENVOY_MIB, "in MiB: {peaks:?}");
    nothing_is_read_or_made(&world);
    hostile.iter().for_each(|tenant| clean_up(&world, tenant));
    let calm = CALM_MIB.max(peaks[0] / 2);
    eventually("most memory is given back", || world.toolward.process.resident_mib() < calm);
}

/// The attacks of which `TENANT_ATTACK` has a word, or all.
pub(crate) fn chosen() -> impl Iterator<Item = &'static Attack> + Clone {
    let only = std::env::var("TENANT_ATTACK").unwrap_or_default();
    ATTACKS.iter().filter(move |attack| only.split(',').any(|only| attack.name.contains(only)))
}

/// What an environment variable says, where it says something.
pub(crate) fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok().filter(|value| !value.is_empty())?;
    Some(value.parse().unwrap_or_else(|_| panic!("{variable} must be a number and is {value:?}")))
}

/// Deletes all that a tenant has made.
pub(crate) fn clean_up(world: &World, tenant: &Tenant) {
    const KINDS: &str = "httproutes,gateways,mcpaccesspolicies,mcpbackends,referencegrants,backendtlspolicies,services,configmaps,secrets";
    world.cluster.kubectl(&["delete", KINDS, "-n", &tenant.namespace, "--all", "--wait=false"]);
}

/// The world with its hostile tenants, and a server of theirs, to which they may lead whomever they can.
pub(crate) fn start() -> (Arc<World>, [Tenant; 2]) {
    let world = World::start(&["platform.yaml", "tenants.yaml"]);
    let hostile = HOSTILE.map(|namespace| Tenant::new(&world.cluster, namespace, &["mcp-gateways"]));
    world.cluster.apply(GATEWAYS);
    hostile.iter().for_each(|tenant| bring_server(&world, tenant));
    (world, hostile)
}

pub(crate) fn bring_server(world: &World, tenant: &Tenant) {
    tenant.applies(&crate::objects::service("evil"));
    tenant.applies(&crate::objects::service_backend("evil", "evil"));
    world.cluster.apply(&slice(&tenant.namespace, "evil", world.evil.port));
}

/// By which a tenant makes Gateways of its own, which the example does not let it.
const GATEWAYS: &str = "apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: mcp-gateways }
rules:
- apiGroups: [gateway.networking.k8s.io]
  resources: [gateways]
  verbs: [get, list, watch, create, update, patch, delete]
";

fn watch_memory(storm: &Storm, [control_plane, envoy]: &[AtomicU64; 2]) {
    while storm.goes_on() {
        control_plane.fetch_max(storm.world.toolward.process.resident_mib(), Ordering::Relaxed);
        envoy.fetch_max(storm.world.envoy.process.resident_mib(), Ordering::Relaxed);
        sleep(Duration::from_millis(200));
    }
}

/// A second replica.
fn start_replica(world: &World) -> Toolward {
    let account = world.cluster.service_account(NAMESPACE, "toolward");
    let arguments = ["--provision", "false", "--namespace", NAMESPACE, "--identity", "two"];
    Toolward::in_cluster_on(&account, ports::free(), ports::free(), &arguments)
}

/// For whoever looks at figures.
fn summary(fared: &Fared, [control_plane, envoy]: [u64; 2]) -> String {
    let span = |spans: &[Duration]| {
        format!("{} (p50 {:?}, p99 {:?})", spans.len(), percentile(spans, 50), percentile(spans, 99))
    };
    format!(
        "{} calls of the honest team, {} failed; {} grants, {} revocations; at most {control_plane} MiB in the control \
         plane, {envoy} MiB in Envoy",
        fared.calls,
        fared.failed.len(),
        span(&fared.granted),
        span(&fared.revoked),
    )
}

/// What is left of it in the cluster.
fn nothing_is_read_or_made(world: &World) {
    let asked_for = world.cluster.secrets_asked_for();
    let of_honest: Vec<&String> = asked_for.iter().filter(|name| name.starts_with(&format!("{HONEST}/"))).collect();
    assert!(of_honest.is_empty(), "nobody's reference reads a Secret of another namespace: {of_honest:#?}");
    for namespace in HOSTILE {
        let made = world.cluster.kubectl(&["get", "deployments", "-n", namespace, "-o", "json"]);
        let made: Value = serde_json::from_str(&made).expect("JSON");
        for deployment in made["items"].as_array().expect("a list") {
            let pod = &deployment["spec"]["template"]["spec"];
            let image = pod["containers"][0]["image"].as_str().expect("an image");
            assert!(!image.contains("evil"), "the platform says which image runs: {image}");
            assert!(deployment["spec"]["replicas"].as_u64().is_some_and(|replicas| replicas < 1000), "{deployment:#}");
            assert!(pod["tolerations"].is_null(), "and where: {deployment:#}");
        }
        // It had nothing to do with us.
        let own = world.cluster.get("service", namespace, "db-toolward");
        assert_eq!(own["metadata"]["labels"], Value::Null, "what a tenant has of such a name stays its own: {own:#}");
    }
    eventually("ready", || world.toolward.get("/ready").status == 200);
}
