//! What the leader writes to the API server: the status of every object, and the objects of our Gateways.
//!
//! ```text
//! Meaning (resources, translation) ─┬─ status::desired ──> statuses ─┐
//! Facts (what Envoys refuse…) ──────┘                                ├─> API server, from the leader only
//! Meaning ─ provision::objects ──────────────────────────> objects ──┘
//!                                                           └─ what can't be written ─> Facts
//! ```

use std::sync::Arc;

use ::kube::Client;
use clap::Args;
use tokio::sync::watch;

use crate::ads::clients::Clients;
use crate::leader;
use crate::provision::options::ProvisionArgs;
use crate::resources::Resources;
use crate::translate::Translation;

mod backoff;
mod facts;
mod fair;
pub(crate) mod lenient;
mod objects;
mod refusals;
mod statuses;

/// Who the API server is told that writes.
const MANAGER: &str = crate::provision::names::MANAGER;

/// Objects that are written at the same time.
const WRITES: usize = 8;

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

impl Meaning {
    /// Whether nothing has to be written that had not to be written before: where only endpoints moved.
    #[must_use]
    pub fn says_the_same(&self, last: &Self) -> bool {
        let (next, last_one) = (&self.translation, &last.translation);
        self.resources.is_same_but_for_endpoints(&last.resources)
            && next.routes.is_same(&last_one.routes)
            && (&next.problems, &next.gateways, &next.parameters)
                == (&last_one.problems, &last_one.gateways, &last_one.parameters)
    }
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
    let leases = refusals::Leases::new(client.clone(), &args.namespace, &identity);
    let options = args.provision.then(|| args.objects.read()).transpose()?;
    let leads = leader::elect(client.clone(), &args.namespace, identity);
    let faults = options.map(|options| objects::keep(client.clone(), leads.clone(), meanings.clone(), options));
    let facts = facts::watch(client.clone(), leases, clients, leads.clone(), faults);
    tokio::spawn(statuses::write(client.clone(), leads, meanings.clone(), facts));
    Ok(())
}

/// Two replicas never have the same.
fn made_up_identity() -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    format!("toolward-{}-{}", std::process::id(), since.as_nanos())
}
