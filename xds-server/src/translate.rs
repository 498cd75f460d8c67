//! From resources to the model: resolves every reference, attaches routes and policies, and says what is wrong.
//!
//! ```text
//! gateways ─> attach <─ HTTPRoute ─> routes ─> matches, filters, backends ─> services, grants
//!                └──────> virtual_hosts <────────┘
//!                               ^
//! policies ─> sections ─> keys  └─ protection, table
//! ```
//! A pure function: what it does not know from the resources it does not ask. A [`Translator`] remembers the parts of the
//! last world, and reads those again of which something has changed; the result is the same.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::key_sets::KeySets;
use crate::model::Model;
use crate::names::Names;
use crate::networks::BackendNetworks;
use crate::objects::Objects;
use crate::problem::Problem;
use crate::provision::Parameters;
use crate::resources::{Name, ObjectRef, Resources};

mod attach;
mod backends;
mod candidates;
mod certificates;
mod changing;
mod credentials;
mod expression;
mod filters;
mod gateways;
mod grants;
mod holders;
mod host;
mod hostname;
mod in_place;
mod keys;
mod matches;
mod metadata;
mod narrowing;
mod notes;
mod oauth;
mod outcome;
mod outside;
mod ownership;
mod parts;
mod policies;
mod posture;
mod problems;
mod protection;
mod quotas;
mod routes;
mod same_server;
mod sections;
mod selector;
mod services;
mod shared_hosts;
mod suggest;
mod syntax;
mod table;
mod targets;
#[cfg(test)]
mod tests;
mod translator;
mod upstream_tls;
mod view;
mod virtual_hosts;
mod vouched;
mod well_known;
mod when;

pub use gateways::CONTROLLER_NAME;
pub(crate) use grants::granted;
pub use keys::{KEY_LEFT_OUT, KEY_REMOVED, KEY_SET_EMPTY, KEY_SET_PENDING, KEY_SET_STALE, places};
pub use narrowing::{NOT_NARROWER, TOO_SPECIFIC};
pub use outcome::{HostnameOutcome, ListenerOutcome, ParentOutcome, RouteOutcome, RouteProtection, UnprotectedRule};
pub use outside::{NAME_PENDING, host_names};
pub(crate) use posture::WRITTEN_BY;
pub use protection::HOST_UNKNOWN;
pub use quotas::{QUOTA_EXCEEDED, Quotas, TOO_LARGE};
pub use translator::Translator;

use toolward_policy::config::{AccessLog, BindingKey, Limits};

/// What does not follow from the resources but from how Toolward is run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TranslateOptions {
    /// What becomes of routes that no policy protects.
    pub unprotected_routes: UnprotectedRoutes,
    /// Whether a hostname of a Gateway is for the routes of one namespace alone.
    pub hostnames_belong_to_namespaces: bool,
    /// What the filter holds in memory at most.
    pub limits: Limits,
    /// Whether each request gets a line on standard output.
    pub access_log: AccessLog,
    /// Of these come the keys under which sessions and tasks are bound to callers: the first binds, all are recognized. None:
    /// they are not bound.
    pub binding_keys: Vec<BindingKey>,
    /// What one tenant may ask of all.
    pub quotas: Quotas,
    /// The key sets that issuers publish.
    pub key_sets: Arc<KeySets>,
    /// Where backends may be that are named by host.
    pub backend_networks: BackendNetworks,
    /// What names of hosts resolve to; of use where `backend_networks` are restricted.
    pub names: Arc<Names>,
}

impl TranslateOptions {
    /// The keys under which one Gateway binds sessions: whoever runs its Envoys learns them, and no other's.
    fn binding_keys_of(&self, gateway: &Name) -> Vec<BindingKey> {
        self.binding_keys.iter().map(|key| key.of_gateway(&gateway.to_string())).collect()
    }
}

/// What becomes of routes that no policy protects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum UnprotectedRoutes {
    /// Those to an MCPBackend are closed, whose kind is there to be protected; those to Services and to kinds of others are
    /// open, as their users expect.
    #[default]
    #[value(skip)]
    ByKind,
    /// All are open
    Allow,
    /// All are closed: answered 503
    Deny,
}

/// What resources mean.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Translation {
    /// What is to be served.
    pub model: Model,
    /// Everything wrong with the resources, sorted. What a broken resource protects is closed in the model.
    pub problems: Vec<Problem>,
    /// What is right and may yet be other than it was meant, sorted.
    pub notes: Vec<Problem>,
    /// Rules of routes that no policy protects.
    pub unprotected: BTreeSet<UnprotectedRule>,
    /// How the Envoys of our Gateways are to be run. A Gateway whose parameters can't be used is not here.
    pub parameters: BTreeMap<Name, Parameters>,
    /// The listeners of our Gateways, in their order.
    pub gateways: BTreeMap<Name, Vec<ListenerOutcome>>,
    /// The routes that name one of our Gateways.
    pub routes: Objects<Name, RouteOutcome>,
}

impl Translation {
    /// The Gateways through which MCP servers are reached.
    #[must_use]
    pub fn backends(&self) -> BTreeMap<&ObjectRef, BTreeSet<&Name>> {
        self.reached(|route| &route.backends)
    }

    /// The Gateways through which Services are reached.
    #[must_use]
    pub fn services(&self) -> BTreeMap<&Name, BTreeSet<&Name>> {
        self.reached(|route| &route.services)
    }

    fn reached<T: Ord>(&self, leads_to: impl Fn(&RouteOutcome) -> &[T]) -> BTreeMap<&T, BTreeSet<&Name>> {
        let mut reached: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for route in self.routes.values() {
            for target in leads_to(route) {
                reached.entry(target).or_default().extend(route.gateways());
            }
        }
        reached
    }
}

/// Translates the whole world.
#[must_use]
pub fn translate(resources: &Resources, options: &TranslateOptions) -> Translation {
    Translator::default().translate(resources, options)
}
