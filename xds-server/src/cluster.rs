//! What the leader writes to the API server: the status of every object, and the objects of our Gateways.
//!
//! ```text
//! Meaning (resources, translation) ─┬─ status::desired ──> statuses ─┐
//! Facts (what Envoys refuse) ───────┘                                ├─> API server, from the leader only
//! Meaning ─ provision::all ──────────────────────────────> objects ──┘
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ::kube::Client;
use clap::Args;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use crate::ads::clients::Clients;
use crate::leader;
use crate::model::GatewayName;
use crate::provision::options::ProvisionArgs;
use crate::resources::Resources;
use crate::status::Facts;
use crate::translate::Translation;

mod objects;
mod statuses;

/// Who the API server is told that writes.
const MANAGER: &str = "toolward";

/// Objects that are written at the same time.
const WRITES: usize = 8;

/// What could not be written is tried again after this.
const RETRY: Duration = Duration::from_secs(2);

/// How often it is looked at what Envoys refuse.
const LOOK: Duration = Duration::from_secs(1);

/// Arguments that matter with a Kubernetes API server.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "In a cluster")]
pub struct ClusterArgs {
    /// The namespace of the Lease by which one replica of several is elected to write
    #[arg(long, value_name = "NAMESPACE", default_value = "toolward-system", env = "POD_NAMESPACE")]
    namespace: String,

    /// The name of this replica in the Lease; without it, one is made up
    #[arg(long, value_name = "NAME", env = "POD_NAME")]
    identity: Option<String>,

    /// Whether each Gateway gets Envoys, a Service and what else they need. Those Envoys ask for their configuration over
    /// TLS. Without, bring your own with a bootstrap of envoy/
    #[arg(long, value_name = "BOOL", default_value_t = false, action = clap::ArgAction::Set, env = "TOOLWARD_PROVISION")]
    provision: bool,

    #[command(flatten)]
    objects: ProvisionArgs,
}

/// A world with what it means.
#[derive(Clone, Debug)]
pub struct Meaning {
    /// The resources.
    pub resources: Arc<Resources>,
    /// What they mean.
    pub translation: Arc<Translation>,
}

/// Writes for as long as somebody tells what the world means.
///
/// # Errors
/// When a file that an argument names can't be read.
pub fn write(
    client: &Client,
    args: &ClusterArgs,
    meanings: &watch::Receiver<Option<Meaning>>,
    clients: Clients,
) -> std::io::Result<()> {
    let identity = args.identity.clone().unwrap_or_else(made_up_identity);
    let leads = leader::elect(client.clone(), &args.namespace, identity);
    let facts = watch_facts(clients, args.provision, meanings.clone());
    tokio::spawn(statuses::write(client.clone(), leads.clone(), meanings.clone(), facts));
    if args.provision {
        let options = args.objects.read()?;
        tokio::spawn(objects::write(client.clone(), leads, meanings.clone(), options));
    }
    Ok(())
}

/// Two replicas never have the same.
fn made_up_identity() -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    format!("toolward-{}-{}", std::process::id(), since.as_nanos())
}

/// Looks at what Envoys refuse, as long as somebody tells what the world means.
fn watch_facts(
    clients: Clients,
    provisioned: bool,
    meanings: watch::Receiver<Option<Meaning>>,
) -> watch::Receiver<Facts> {
    let first = Facts { refusals: BTreeMap::new(), provisioned };
    let (sender, receiver) = watch::channel(first);
    tokio::spawn(async move {
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while meanings.has_changed().is_ok() {
            ticks.tick().await;
            let refusals = refusals(&clients);
            sender.send_if_modified(|facts| {
                let changed = facts.refusals != refusals;
                facts.refusals = refusals;
                changed
            });
        }
    });
    receiver
}

/// By Gateway, what one of its Envoys refuses.
fn refusals(clients: &Clients) -> BTreeMap<GatewayName, String> {
    let mut refusals = BTreeMap::new();
    for client in clients.view() {
        for (kind, subscription) in client.stream.types {
            if let Some(rejection) = subscription.standing_rejection() {
                let text = format!("{kind} {}: {}", rejection.resources.join(", "), rejection.message);
                refusals.entry(client.gateway.clone()).or_insert(text);
            }
        }
    }
    refusals
}
