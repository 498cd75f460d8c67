//! Translates one world after the other, and of each only what differs from the one before.
//!
//! ```text
//! what differs ─> Gateways ─> Backends ─> routes ─┐
//!                    └─> Policies ────────────────┴─> what each Gateway serves
//! ```
//! Each stage reads its stale parts again and adds what it made to what has changed for the stages after it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::{Gateway, GatewayName, Model, RouteAction};
use crate::objects::Objects;
use crate::problem::Problem;
use crate::resources::{Name, Resources};

use super::attach::{self, Attachments, ListenerId};
use super::backends::Backends;
use super::changing::Changing;
use super::gateways::{Gateways, ListenerState, OwnGateway, Transport};
use super::outcome::{self, RouteOutcome, RouteProtection, UnprotectedRule};
use super::parts::{Part, Parts};
use super::policies::Policies;
use super::problems::{Problems, route_ref};
use super::routes::{self, ParsedRoute};
use super::view::{Sources, View};
use super::virtual_hosts::{self, AttachedListener, AttachedRoute};
use super::{TranslateOptions, Translation};

/// Remembers what the last world meant, part by part.
#[derive(Debug, Default)]
pub struct Translator {
    options: TranslateOptions,
    resources: Resources,
    gateways: Gateways,
    backends: Backends,
    /// `None`: they name no Gateway of ours.
    routes: Parts<Name, Option<Route>>,
    /// The routes of each of our Gateways.
    attached: BTreeMap<Name, BTreeMap<Name, Arc<Option<Route>>>>,
    policies: Policies,
    served: BTreeMap<Name, Part<Served>>,
    model: Objects<GatewayName, Gateway>,
    outcomes: Objects<Name, RouteOutcome>,
    /// Of these outcomes.
    unprotected: (Objects<Name, RouteOutcome>, BTreeSet<UnprotectedRule>),
}

/// A route that names a Gateway of ours.
#[derive(Debug)]
struct Route {
    attachments: Attachments,
    parsed: ParsedRoute,
}

/// What one Gateway serves.
#[derive(Debug)]
struct Served {
    model: Arc<Gateway>,
    /// What protects its routes.
    protection: BTreeMap<Name, Arc<RouteProtection>>,
}

impl Translator {
    /// Translates a world: the result is that of [`super::translate`].
    pub fn translate(&mut self, resources: &Resources, options: &TranslateOptions) -> Translation {
        // What is not among the sources of parts.
        let apart = |options: &TranslateOptions| {
            (options.unprotected_routes, options.limits.clone(), options.access_log, options.binding_keys.clone())
        };
        if apart(&self.options) != apart(options) {
            *self = Self::default();
        }
        let last_options = std::mem::replace(&mut self.options, options.clone());
        let last = std::mem::replace(&mut self.resources, resources.clone());
        let world = Changing {
            last: &last,
            next: resources,
            last_key_sets: &last_options.key_sets,
            key_sets: &options.key_sets,
        };
        self.update(&world);
        self.translation(resources)
    }

    fn update(&mut self, world: &Changing<'_>) {
        let mut changed = world.sources();
        let mut stale: BTreeSet<Name> = self.gateways.update(world, &mut changed).into_iter().collect();
        self.backends.update(world, &mut changed);
        let mut routes = self.update_routes(world, &changed, &mut stale);
        self.policies.update(world, &self.gateways, &mut changed);
        stale.extend(self.served.iter().filter(|(_, part)| part.is_stale(&changed)).map(|(name, _)| name.clone()));
        for name in &stale {
            let gateway = self.gateways.own(name);
            let next = gateway.map(|gateway| world.part(|view, problems| self.serve(gateway, view, problems)));
            let last = match next {
                Some(next) => {
                    self.model.share(GatewayName(name.to_string()), Arc::clone(&next.value.model));
                    routes.extend(next.value.protection.keys().cloned());
                    self.served.insert(name.clone(), next)
                }
                None => {
                    self.model.remove(&GatewayName(name.to_string()));
                    self.served.remove(name)
                }
            };
            routes.extend(last.iter().flat_map(|last| last.value.protection.keys().cloned()));
        }
        routes.iter().for_each(|name| self.update_outcome(name));
        if !self.unprotected.0.is_same(&self.outcomes) {
            self.unprotected = (self.outcomes.clone(), outcome::unprotected(&self.outcomes));
        }
    }

    /// Gives the names of the routes that may be others now; their Gateways are stale.
    fn update_routes(&mut self, world: &Changing<'_>, changed: &Sources, stale: &mut BTreeSet<Name>) -> BTreeSet<Name> {
        let differing = world.next.http_routes.differing(&world.last.http_routes);
        let (gateways, backends) = (&self.gateways, &self.backends);
        let updates = self.routes.update(differing, changed, |name| {
            world
                .next
                .http_routes
                .contains_key(name)
                .then(|| world.part(|view, problems| Route::read(name, gateways, backends, view, problems)))
        });
        let mut names = BTreeSet::new();
        for (name, last) in updates {
            for gateway in last.iter().flat_map(|last| Route::gateways(last)) {
                if let Some(routes) = self.attached.get_mut(gateway) {
                    routes.remove(&name);
                }
                stale.insert(gateway.clone());
            }
            if let Some(next) = self.routes.get(&name) {
                for gateway in Route::gateways(next) {
                    self.attached.entry(gateway.clone()).or_default().insert(name.clone(), Arc::clone(next));
                    stale.insert(gateway.clone());
                }
            }
            names.insert(name);
        }
        self.attached.retain(|_, routes| !routes.is_empty());
        names
    }

    fn update_outcome(&mut self, name: &Name) {
        let Some(route) = self.routes.get(name).and_then(|route| route.as_ref().as_ref()) else {
            self.outcomes.remove(name);
            return;
        };
        let mut outcome = route.parsed.outcome(&route.attachments);
        for gateway in outcome.gateways().cloned().collect::<BTreeSet<_>>() {
            let served = self.served.get(&gateway).and_then(|served| served.value.protection.get(name));
            outcome.protection.extend(served.map(|protection| (gateway, Arc::clone(protection))));
        }
        if self.outcomes.get(name).is_none_or(|last| **last != outcome) {
            self.outcomes.insert(name.clone(), outcome);
        }
    }

    fn translation(&self, resources: &Resources) -> Translation {
        let mut conflicts = Problems::new(&resources.origins);
        self.policies.report_conflicts(&mut conflicts);
        let conflicts = conflicts.into_sorted();
        let malformed = resources.malformed.iter().map(|malformed| &malformed.problem);
        let earlier = self.gateways.problems().chain(self.backends.problems()).chain(self.routes.problems());
        let later = self.policies.problems().chain(self.served.values().flat_map(|part| &part.problems));
        let problems: BTreeSet<&Problem> = malformed.chain(earlier).chain(later).chain(&conflicts).collect();
        let notes = self.routes.notes().chain(self.policies.notes());
        let notes: BTreeSet<&Problem> = notes.chain(self.served.values().flat_map(|part| &part.notes)).collect();
        let parameters = self.gateways.iter();
        let parameters = parameters.filter_map(|(name, gateway)| Some((name.clone(), gateway.parameters.clone()?)));
        Translation {
            model: Model { gateways: self.model.clone() },
            problems: problems.into_iter().cloned().collect(),
            notes: notes.into_iter().cloned().collect(),
            unprotected: self.unprotected.1.clone(),
            parameters: parameters.collect(),
            gateways: self.gateways.iter().map(|(name, gateway)| (name.clone(), gateway.outcome())).collect(),
            routes: self.outcomes.clone(),
        }
    }
}

impl Route {
    fn read(
        name: &Name,
        gateways: &Gateways,
        backends: &Backends,
        view: &View<'_>,
        problems: &mut Problems<'_>,
    ) -> Option<Self> {
        let route = view.route(name)?;
        let object = route_ref(name);
        let mut reporter = problems.of(object.clone());
        let attachments = attach::attach(route, name, gateways, view, &mut reporter);
        if attachments.parents.is_empty() {
            return None;
        }
        let mut parsed = routes::parse(name, route, backends, view, &mut reporter);
        if view.malformed(&object).is_some() {
            parsed.refuse();
        }
        Some(Self { attachments, parsed })
    }

    /// The Gateways of which a listener admits it.
    fn gateways(route: &Option<Self>) -> impl Iterator<Item = &Name> {
        route.iter().flat_map(|route| route.attachments.listeners.keys().map(|listener| &listener.gateway))
    }
}

impl Translator {
    fn serve(&self, gateway: &OwnGateway, view: &View<'_>, problems: &mut Problems<'_>) -> Served {
        let mut ports: BTreeMap<u16, Vec<AttachedListener<'_>>> = BTreeMap::new();
        for (index, listener) in gateway.listeners.iter().enumerate() {
            if let ListenerState::Served(served) = &listener.state {
                let routes = self.attached(&gateway.name, index);
                let attached = AttachedListener { name: &listener.name, served, routes };
                ports.entry(served.port).or_default().push(attached);
            }
        }
        let mut model = Gateway::default();
        let mut protection: BTreeMap<Name, RouteProtection> = BTreeMap::new();
        let world = virtual_hosts::World { policies: &self.policies, options: &self.options, view };
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
            let listener =
                virtual_hosts::listener(&gateway.name, *port, listeners, &refused, &world, &mut protection, problems);
            model.listeners.insert(*port, listener);
        }
        let protection = protection.into_iter().map(|(name, protection)| (name, Arc::new(protection)));
        Served { model: Arc::new(model), protection: protection.collect() }
    }

    fn attached(&self, gateway: &Name, listener: usize) -> Vec<AttachedRoute<'_>> {
        let id = ListenerId { gateway: gateway.clone(), listener };
        let routes = self.attached.get(gateway).into_iter().flat_map(BTreeMap::values);
        let attached = routes.filter_map(|route| {
            let route = route.as_ref().as_ref()?;
            Some(AttachedRoute { route: &route.parsed, hostnames: route.attachments.listeners.get(&id)? })
        });
        attached.collect()
    }
}
