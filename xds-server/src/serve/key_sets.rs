//! How key sets that issuers publish are fetched.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use ipnet::IpNet;

use crate::key_sets::Place;
use crate::key_sets::cached::Holds;
use crate::metrics::Metrics;
use crate::source::jwks::networks::Networks;
use crate::source::jwks::{Fetching, Terms};

/// At the start nothing is served before this time is over, or something is known of each key set: an Envoy that is there
/// already has keys, which a policy without any would take from it.
const FIRST_FETCHES_WITHIN: Duration = Duration::from_secs(8);

/// Arguments about key sets that issuers publish.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Key sets of issuers")]
pub struct KeySetArgs {
    /// Networks that are not public and from which key sets may be fetched all the same, such as 10.0.0.0/8
    #[arg(long, value_name = "CIDR,…", value_delimiter = ',', env = "TOOLWARD_KEY_SET_NETWORKS")]
    pub key_set_networks: Vec<IpNet>,

    /// A key set that could not be fetched for so many hours is good no more, and what it protects is closed
    #[arg(long, value_name = "HOURS", value_parser = clap::value_parser!(u32).range(1..=720), default_value_t = 24, env = "TOOLWARD_KEY_SET_MAX_AGE")]
    pub key_set_max_age: u32,

    /// A key that its issuer removes from the key set is accepted for so many seconds after the fetch that shows it. Key sets
    /// are fetched every 5 minutes at least
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(0..=86400), default_value_t = 300, env = "TOOLWARD_REMOVED_KEY_GRACE")]
    pub removed_key_grace: u32,
}

impl KeySetArgs {
    /// Starts fetching.
    #[must_use]
    pub fn start(&self, most_rsa_bits: u32, metrics: &Arc<Metrics>) -> Fetching {
        let holds = Holds {
            max_age: Duration::from_secs(u64::from(self.key_set_max_age) * 60 * 60),
            removed_key_grace: Duration::from_secs(u64::from(self.removed_key_grace)),
        };
        let terms = Terms { holds, most_rsa_bits };
        Fetching::start(Networks::with(&self.key_set_networks), terms, Arc::clone(metrics))
    }
}

/// Waits for the first attempts.
pub(super) async fn first(fetching: &mut Fetching, places: &BTreeSet<Place>) {
    fetching.settle(places, FIRST_FETCHES_WITHIN).await;
}
