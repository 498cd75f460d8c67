//! From resources to the model: resolves every reference, attaches routes and policies, and says what is wrong.
//!
//! ```text
//! gateways ─> attach <─ HTTPRoute ─> routes ─> matches, filters, backends ─> services, grants
//!                └──────> virtual_hosts <────────┘
//!                               ^
//! policies ─> sections ─> keys  └─ protection, table
//! ```
//! A pure function: what it does not know from the resources it does not ask.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::key_sets::KeySets;
use crate::model::{Gateway, GatewayName, Model, RouteAction};
use crate::problem::Problem;
use crate::provision::Parameters;
use crate::resources::{Name, ObjectRef, Resources};

mod attach;
mod backends;
mod certificates;
mod credentials;
mod expression;
mod filters;
mod gateways;
mod grants;
mod hostname;
mod keys;
mod matches;
mod metadata;
mod notes;
mod oauth;
mod outcome;
mod policies;
mod problems;
mod protection;
mod routes;
mod sections;
mod selector;
pub(crate) mod services;
mod syntax;
mod table;
#[cfg(test)]
mod tests;
mod upstream_tls;
mod virtual_hosts;
mod when;

pub use gateways::CONTROLLER_NAME;
pub use keys::{KEY_SET_PENDING, KEY_SET_STALE, places};
pub use outcome::{ListenerOutcome, ParentOutcome, RouteOutcome, RouteProtection, UnprotectedRule};

use toolward_policy::config::{AccessLog, BindingKey, Limits};

use attach::{Attachments, ListenerId};
use backends::Backends;
use gateways::{ListenerState, OwnGateway, Transport};
use policies::Policies;
use problems::{Problems, route_ref};
use routes::ParsedRoute;
use virtual_hosts::{AttachedListener, AttachedRoute};

/// What does not follow from the resources but from how Toolward is run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TranslateOptions {
    /// Whether a route to a backend may be without any policy.
    pub unprotected_routes: UnprotectedRoutes,
    /// What the filter holds in memory at most.
    pub limits: Limits,
    /// Whether each request gets a line on standard output.
    pub access_log: AccessLog,
    /// Under these sessions and tasks are bound to callers: the first binds, all are recognized. None: they are not bound.
    pub binding_keys: Vec<BindingKey>,
    /// The key sets that issuers publish.
    pub key_sets: Arc<KeySets>,
}

/// Whether a route to a backend may be without any policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum UnprotectedRoutes {
    /// It is open, as users of Gateway API expect.
    #[default]
    Allow,
    /// It is closed: answered 503.
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
    pub routes: BTreeMap<Name, RouteOutcome>,
    /// The Gateways through which MCP servers are reached.
    pub backends: BTreeMap<ObjectRef, BTreeSet<Name>>,
    /// The Gateways through which Services are reached.
    pub services: BTreeMap<Name, BTreeSet<Name>>,
}

/// Translates the whole world.
#[must_use]
pub fn translate(resources: &Resources, options: &TranslateOptions) -> Translation {
    let mut problems = Problems::new(&resources.origins);
    resources.malformed.iter().for_each(|malformed| problems.known(&malformed.problem));
    let malformed: BTreeSet<&ObjectRef> = resources.malformed.iter().map(|malformed| &malformed.object).collect();
    let gateways = gateways::own(resources, &mut problems);
    let backends = Backends::new(resources, &mut problems);
    let mut routes = Vec::new();
    let mut outcomes = BTreeMap::new();
    for (name, route) in &resources.http_routes {
        let mut reporter = problems.of(route_ref(name));
        let attachments = attach::attach(route, name, &gateways, resources, &mut reporter);
        if !attachments.parents.is_empty() {
            let mut parsed = routes::parse(name, route, &backends, &mut reporter);
            if malformed.contains(&route_ref(name)) {
                parsed.refuse();
            }
            outcomes.insert(name.clone(), parsed.outcome(&attachments));
            routes.push((attachments, parsed));
        }
    }
    let policies = Policies::new(resources, &gateways, &options.key_sets, &mut problems);
    let world = World { routes, policies, options };
    let served = gateways.values().map(|gateway| {
        let name = GatewayName(gateway.name.to_string());
        (name, world.serve(gateway, &mut outcomes, &mut problems))
    });
    let model = Model { gateways: served.collect() };
    let parameters = gateways.iter().filter_map(|(name, gateway)| Some((name.clone(), gateway.parameters.clone()?)));
    Translation {
        model,
        unprotected: outcome::unprotected(&outcomes),
        parameters: parameters.collect(),
        backends: world.reached_by(|route| route.backends().cloned().collect()),
        services: world.reached_by(|route| route.services.clone()),
        gateways: gateways.iter().map(|(name, gateway)| (name.clone(), gateway.outcome())).collect(),
        routes: outcomes,
        notes: problems.notes(),
        problems: problems.into_sorted(),
    }
}

/// What all Gateways have in common.
struct World<'o> {
    routes: Vec<(Attachments, ParsedRoute)>,
    policies: Policies,
    options: &'o TranslateOptions,
}

impl World<'_> {
    fn serve(
        &self,
        gateway: &OwnGateway,
        outcomes: &mut BTreeMap<Name, RouteOutcome>,
        problems: &mut Problems<'_>,
    ) -> Gateway {
        let mut ports: BTreeMap<u16, Vec<AttachedListener<'_>>> = BTreeMap::new();
        for (index, listener) in gateway.listeners.iter().enumerate() {
            if let ListenerState::Served(served) = &listener.state {
                let routes = self.attached(&gateway.name, index);
                let attached = AttachedListener { name: &listener.name, served, routes };
                ports.entry(served.port).or_default().push(attached);
            }
        }
        let mut model = Gateway::default();
        for (port, listeners) in &ports {
            let routes = listeners.iter().flat_map(|listener| &listener.routes);
            for rule in routes.flat_map(|attached| &attached.route.rules) {
                if matches!(rule.action, RouteAction::Forward(_)) {
                    model.clusters.extend(rule.clusters.clone());
                }
            }
            for listener in listeners {
                if let Transport::Tls(certificates) = &listener.served.transport {
                    model.certificates.extend(certificates.clone());
                }
            }
            let refused = gateway.refused_hostnames(*port);
            let listener = virtual_hosts::listener(&gateway.name, *port, listeners, &refused, self, outcomes, problems);
            model.listeners.insert(*port, listener);
        }
        model
    }

    fn attached(&self, gateway: &Name, listener: usize) -> Vec<AttachedRoute<'_>> {
        let id = ListenerId { gateway: gateway.clone(), listener };
        let routes = self.routes.iter();
        routes
            .filter_map(|(attachments, route)| {
                Some(AttachedRoute { route, hostnames: attachments.listeners.get(&id)? })
            })
            .collect()
    }

    /// What routes lead to, with the Gateways that lead to the routes.
    fn reached_by<T: Ord>(&self, leads_to: impl Fn(&ParsedRoute) -> BTreeSet<T>) -> BTreeMap<T, BTreeSet<Name>> {
        let mut reached: BTreeMap<T, BTreeSet<Name>> = BTreeMap::new();
        for (attachments, route) in &self.routes {
            for target in leads_to(route) {
                let gateways = attachments.listeners.keys().map(|listener| listener.gateway.clone());
                reached.entry(target).or_default().extend(gateways);
            }
        }
        reached
    }
}
