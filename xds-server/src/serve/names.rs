//! How names of hosts are resolved that backends are at.

use std::time::Duration;

use clap::Args;

use crate::networks::BackendNetworks;
use crate::resources::Resources;
use crate::source::names::Resolving;
use crate::translate::host_names;

/// At the start nothing is served before this time is over, or something is known of each name: an Envoy that is there already
/// has addresses, which a backend without any would take from it.
const FIRST_ANSWERS_WITHIN: Duration = Duration::from_secs(5);

/// Arguments about names of hosts.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Names of hosts that backends are at")]
pub struct NameArgs {
    /// Names that are resolved for one namespace; of more the oldest backends come first, and the others are closed
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=10_000), default_value_t = 64, env = "TOOLWARD_BACKEND_NAMES_PER_NAMESPACE")]
    pub backend_names_per_namespace: u32,

    /// A name that could not be resolved for so many hours leads nowhere any more. Until then its last addresses are used
    #[arg(long, value_name = "HOURS", value_parser = clap::value_parser!(u32).range(1..=720), default_value_t = 24, env = "TOOLWARD_BACKEND_NAME_MAX_AGE")]
    pub backend_name_max_age: u32,
}

impl NameArgs {
    /// Starts resolving, where networks are restricted.
    #[must_use]
    pub fn start(&self, networks: BackendNetworks) -> HostNames {
        let max_age = Duration::from_secs(u64::from(self.backend_name_max_age) * 60 * 60);
        let most = usize::try_from(self.backend_names_per_namespace).unwrap_or(usize::MAX);
        HostNames { resolving: Resolving::start(max_age), networks, most }
    }
}

/// The names of hosts, as they are resolved.
#[derive(Debug)]
pub struct HostNames {
    /// What is known of them.
    pub resolving: Resolving,
    networks: BackendNetworks,
    most: usize,
}

impl HostNames {
    /// Has those resolved that these resources name.
    pub fn want(&self, resources: &Resources) {
        self.resolving.want(host_names(resources, &self.networks, self.most));
    }

    /// Waits for the first answers.
    pub async fn first(&mut self) {
        self.resolving.settle(FIRST_ANSWERS_WITHIN).await;
    }
}
