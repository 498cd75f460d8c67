//! Translates one world after the other, and of each only what differs from the one before.
//!
//! ```text
//! what differs ─> Gateways ─> Backends ─> routes ─┐
//!                    └─> Policies ────────────────┴─> what each Gateway serves
//! ```
//! Each stage reads its stale parts again and adds what it made to what has changed for the stages after it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::model::{Certificate, Cluster, Gateway, GatewayName, Listener, Model};
use crate::objects::Objects;
use crate::problem::Problem;
use crate::resources::{Name, Resources};

use super::attach::{self, Attachments};
use super::backends::Backends;
use super::changing::Changing;
use super::gateways::{Gateways, ListenerState, OwnGateway, ServedListener, Transport};
use super::outcome::{self, RouteOutcome, RouteProtection, UnprotectedRule};
use super::ownership::{Claim, Ownership};
use super::parts::{Part, Parts};
use super::policies::Policies;
use super::problems::{Fault, Problems, route_ref};
use super::quotas::Size;
use super::quotas::routes::{self as route_quotas, Candidate, Refused, Sharing};
use super::routes::{self, ParsedRoute};
use super::same_server;
use super::view::{Sources, View};
use super::virtual_hosts::{self, AttachedListener, AttachedRoute};
use super::vouched::Vouched;
use super::{TranslateOptions, Translation};

/// Remembers what the last world meant, part by part.
#[derive(Debug, Default)]
pub struct Translator {
    options: TranslateOptions,
    resources: Resources,
    pub(super) gateways: Gateways,
    backends: Backends,
    /// `None`: they name no Gateway of ours.
    routes: Parts<Name, Option<Route>>,
    /// Routes that are past a quota.
    refused: BTreeMap<Arc<Name>, Refused>,
    /// The routes of each of our Gateways, as they are served.
    pub(super) attached: BTreeMap<Name, BTreeMap<Arc<Name>, Arc<Option<Route>>>>,
    policies: Policies,
    served: BTreeMap<Name, Part<Served>>,
    model: Objects<GatewayName, Gateway>,
    outcomes: Objects<Name, RouteOutcome>,
    /// Of these outcomes.
    unprotected: (Objects<Name, RouteOutcome>, BTreeSet<UnprotectedRule>),
    /// Of the last world of which all was known, while that is not the case.
    vouched: Option<Vouched>,
    /// Of the same outcomes, without the files of objects, which change without them.
    same_server: Vec<Problem>,
}

/// A route that names a Gateway of ours.
#[derive(Clone, Debug)]
pub(super) struct Route {
    pub(super) attachments: Attachments,
    pub(super) parsed: ParsedRoute,
    size: Size,
    /// What its actions need, by name.
    clusters: Box<[(String, Arc<Cluster>)]>,
}

/// What the listeners of one Gateway serve.
#[derive(Debug, Default)]
struct Served {
    listeners: Objects<u16, Listener>,
    certificates: BTreeMap<String, Certificate>,
    /// What protects its routes.
    protection: Objects<Arc<Name>, RouteProtection>,
}

/// Gateways that are to be put together anew.
#[derive(Debug, Default)]
struct Stale {
    /// Of these, nothing but the clusters.
    clusters: BTreeSet<Name>,
    /// All of these.
    wholly: BTreeSet<Name>,
}

impl Translator {
    /// Translates a world: the result is that of [`super::translate`].
    pub fn translate(&mut self, resources: &Resources, options: &TranslateOptions) -> Translation {
        // What is not among the sources of parts.
        let apart = |options: &TranslateOptions| TranslateOptions {
            key_sets: Arc::default(),
            names: Arc::default(),
            ..TranslateOptions::clone(options)
        };
        if apart(&self.options) != apart(options) {
            *self = Self { vouched: self.vouched.take(), ..Self::default() };
        }
        let doubts_changed = self.update_vouched(resources, options);
        let last_options = std::mem::replace(&mut self.options, options.clone());
        let last = std::mem::replace(&mut self.resources, resources.clone());
        let world = Changing { last: &last, next: resources, last_options: &last_options, options };
        self.update(&world, doubts_changed);
        self.translation(resources)
    }

    /// Whether other ways are vouched for than before.
    fn update_vouched(&mut self, resources: &Resources, options: &TranslateOptions) -> bool {
        let last = self.vouched.as_ref().map(|vouched| &vouched.world);
        let is_same = match (last, &resources.vouched) {
            (Some(last), Some(next)) => Arc::ptr_eq(last, next),
            (last, next) => last.is_none() && next.is_none(),
        };
        if !is_same {
            let vouched = resources.vouched.as_ref().map(|known| {
                if self.resources.is_same_but_for_endpoints(known) {
                    return Vouched::new(known, self);
                }
                let mut translator = Self::default();
                translator.translate(known, options);
                Vouched::new(known, &translator)
            });
            self.vouched = vouched;
        }
        !is_same
    }

    fn update(&mut self, world: &Changing<'_>, doubts_changed: bool) {
        let mut changed = world.sources();
        let gateways = self.gateways.update(world, &mut changed);
        let wholly = gateways.iter().map(|name| Name::clone(name)).collect();
        let mut stale = Stale { wholly, ..Stale::default() };
        self.backends.update(world, &mut changed);
        let mut routes = self.update_routes(world, &changed, &mut stale);
        self.policies.update(world, &self.gateways, &mut changed);
        let served = self.served.iter();
        stale
            .wholly
            .extend(served.filter(|(_, part)| doubts_changed || part.is_stale(&changed)).map(|(name, _)| name.clone()));
        for name in &stale.wholly {
            let gateway = self.gateways.own(name);
            let next = gateway.map(|gateway| world.part(|view, problems| self.serve(gateway, view, problems)));
            let protection = |part: Option<&Part<Served>>| part.map(|part| part.value.protection.clone());
            let last = protection(self.served.get(name)).unwrap_or_default();
            routes.extend(last.differing(&protection(next.as_ref()).unwrap_or_default()).into_iter().cloned());
            match next {
                Some(next) => drop(self.served.insert(name.clone(), next)),
                None => drop(self.served.remove(name)),
            }
        }
        stale.wholly.union(&stale.clusters).for_each(|name| self.update_model(name));
        routes.iter().for_each(|name| self.update_outcome(name));
        if !self.unprotected.0.is_same(&self.outcomes) {
            self.unprotected = (self.outcomes.clone(), outcome::unprotected(&self.outcomes));
            self.same_server = same_server::notes(&self.outcomes);
        }
    }

    /// Puts a Gateway together; what stays what it was is shared with the last one.
    fn update_model(&mut self, name: &Name) {
        let model_name = GatewayName(name.to_string());
        let Some((gateway, served)) = self.gateways.own(name).zip(self.served.get(name)) else {
            self.model.remove(&model_name);
            return;
        };
        let Served { listeners, certificates, .. } = &*served.value;
        let mut clusters = Objects::default();
        for (name, cluster) in self.clusters(gateway, &served.value) {
            clusters.share(name.clone(), Arc::clone(cluster));
        }
        let last = self.model.get(&model_name);
        last.into_iter().for_each(|last| clusters.share_unchanged(&last.clusters));
        let (listeners, certificates) = (listeners.clone(), certificates.clone());
        let binding_keys = self.options.binding_keys_of(name);
        let model = Gateway { listeners, clusters, certificates, binding_keys };
        if last.is_none_or(|last| **last != model) {
            self.model.insert(model_name, model);
        }
    }

    /// Gives the names of the routes that may be others now; their Gateways are stale.
    fn update_routes(&mut self, world: &Changing<'_>, changed: &Sources, stale: &mut Stale) -> BTreeSet<Arc<Name>> {
        let differing = world.next.http_routes.differing(&world.last.http_routes);
        let (gateways, backends) = (&self.gateways, &self.backends);
        let updates = self.routes.update(differing, changed, |name| {
            world
                .next
                .http_routes
                .contains_key(name)
                .then(|| world.part(|view, problems| Route::read(name, gateways, backends, view, problems)))
        });
        let mut names: BTreeSet<Arc<Name>> = BTreeSet::new();
        let mut was_at: BTreeMap<Arc<Name>, BTreeSet<Name>> = BTreeMap::new();
        let mut asks_otherwise = false;
        for (name, last) in updates {
            let last = last.as_deref().and_then(Option::as_ref);
            let next = self.routes.get(&name).and_then(|route| route.as_ref().as_ref());
            asks_otherwise |= last.map(Route::asks) != next.map(Route::asks);
            was_at.insert(Arc::clone(&name), last.into_iter().flat_map(Route::gateways).cloned().collect());
            names.insert(name);
        }
        let are_shared_otherwise = self.options.hostnames_belong_to_namespaces
            && !world.next.reference_grants.is_same(&world.last.reference_grants);
        if asks_otherwise || are_shared_otherwise {
            names.extend(self.refuse());
        }
        for name in &names {
            self.attach(name, was_at.remove(name), stale);
        }
        self.attached.retain(|_, routes| !routes.is_empty());
        names
    }

    /// Finds out which routes are past a quota. Gives the names of those of which that is new, or no longer so.
    fn refuse(&mut self) -> Vec<Arc<Name>> {
        let routes = self.routes.entries().filter_map(|(name, route)| Some(route.as_ref().as_ref()?.candidate(name)));
        let grants = self.resources.reference_grants.iter().map(|(name, grant)| (name.namespace.as_str(), &**grant));
        let sharing = self.options.hostnames_belong_to_namespaces.then(|| Sharing::of(grants));
        let refused = route_quotas::refused(routes.collect(), &self.options.quotas, sharing.as_ref());
        let last = std::mem::replace(&mut self.refused, refused);
        let is_left_out = |refused: Option<&Refused>| refused.map(|refused| refused.is_left_out);
        let names = last.keys().chain(self.refused.keys());
        names.filter(|name| is_left_out(last.get(*name)) != is_left_out(self.refused.get(*name))).cloned().collect()
    }

    /// Attaches a route to its Gateways, as it is to be served, in the place of what it was; those are stale.
    fn attach(&mut self, name: &Arc<Name>, was_at: Option<BTreeSet<Name>>, stale: &mut Stale) {
        let next = self.routes.get(name).filter(|route| route.is_some()).cloned();
        let gateways: BTreeSet<Name> =
            next.iter().flat_map(|route| Option::as_ref(route)).flat_map(Route::gateways).cloned().collect();
        let next = match self.refused.get(name) {
            None => next,
            Some(Refused { is_left_out: true, .. }) => None,
            Some(_) => next.map(|route| Arc::new(route.as_ref().as_ref().map(Route::closed))),
        };
        let was_at = was_at.unwrap_or_else(|| gateways.clone());
        let mut last = None;
        for gateway in &was_at {
            let routes = self.attached.get_mut(gateway);
            last = routes.and_then(|routes| routes.remove(name)).or(last);
        }
        fn read(route: &Option<Arc<Option<Route>>>) -> Option<&Route> {
            route.as_ref().and_then(|route| Option::as_ref(route))
        }
        let is_alike = read(&last).zip(read(&next)).is_some_and(|(last, next)| next.is_alike(last));
        let stale = if is_alike { &mut stale.clusters } else { &mut stale.wholly };
        stale.extend(was_at);
        stale.extend(gateways.iter().cloned());
        if let Some(next) = next {
            for gateway in gateways {
                self.attached.entry(gateway).or_default().insert(Arc::clone(name), Arc::clone(&next));
            }
        }
    }

    fn update_outcome(&mut self, name: &Arc<Name>) {
        let Some(route) = self.routes.get(name).and_then(|route| route.as_ref().as_ref()) else {
            self.outcomes.remove(name);
            return;
        };
        let mut outcome = route.parsed.outcome(&route.attachments);
        if self.refused.contains_key(name) {
            outcome.invalid = (0..outcome.rules).collect();
        }
        let gateways: BTreeSet<&Name> = outcome.gateways().collect();
        let protection = gateways.into_iter().filter_map(|gateway| {
            let protection = self.served.get(gateway)?.value.protection.get(name)?;
            Some((gateway.clone(), Arc::clone(protection)))
        });
        outcome.protection = protection.collect();
        if self.outcomes.get(name).is_none_or(|last| **last != outcome) {
            self.outcomes.insert(Name::clone(name), outcome);
        }
    }

    fn translation(&self, resources: &Resources) -> Translation {
        let mut conflicts = Problems::new(&resources.origins);
        self.policies.report_conflicts(&mut conflicts);
        for (name, refused) in &self.refused {
            conflicts.of(route_ref(name)).report("spec.rules", refused.fault.clone());
        }
        let conflicts = conflicts.into_sorted();
        let malformed = resources.malformed.values().flat_map(|malformed| malformed.problems());
        let earlier = self.gateways.problems().chain(self.backends.problems()).chain(self.routes.problems());
        let later = self.policies.problems().chain(self.served.values().flat_map(|part| &part.problems));
        let problems: BTreeSet<&Problem> = malformed.chain(earlier).chain(later).chain(&conflicts).collect();
        let notes = self.routes.notes().chain(self.policies.notes());
        let same_server = self.same_server.iter().map(|note| {
            let file = note.resource.as_ref().and_then(|route| resources.origins.get(route));
            Problem { file: file.map(|path| PathBuf::clone(path)), ..note.clone() }
        });
        let same_server: Vec<Problem> = same_server.collect();
        let notes = notes.chain(self.served.values().flat_map(|part| &part.notes)).chain(&same_server);
        let notes: BTreeSet<&Problem> = notes.collect();
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
        name: &Arc<Name>,
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
        let (mut parsed, mut clusters) = routes::parse(name, route, backends, view, &mut reporter);
        if view.malformed(&object).is_some() {
            parsed.refuse();
            clusters.clear();
        }
        let size = Size::of(&parsed);
        Some(Self { attachments, parsed, size, clusters: clusters.into() })
    }

    /// The same as it is served that is past a quota.
    fn closed(&self) -> Self {
        Self { parsed: self.parsed.closed(), clusters: Box::default(), ..self.clone() }
    }

    /// Two that ask for the same are served alike.
    fn asks(&self) -> (&Attachments, Option<&Time>, Size) {
        (&self.attachments, self.parsed.created.as_ref(), self.size)
    }

    /// On what quotas look.
    fn candidate<'a>(&'a self, name: &'a Arc<Name>) -> Candidate<'a> {
        let Self { attachments, size, parsed, .. } = self;
        Candidate { name, created: parsed.created.as_ref(), attachments, size: *size }
    }

    /// Whether both are the same but for their clusters.
    fn is_alike(&self, other: &Self) -> bool {
        (&self.attachments, &self.parsed) == (&other.attachments, &other.parsed)
    }

    /// The Gateways of which a listener admits it.
    fn gateways(&self) -> impl Iterator<Item = &Name> {
        self.attachments.listeners.iter().map(|(listener, _)| &listener.gateway)
    }
}

impl Translator {
    /// INVARIANT: of routes it reads what [`Route::is_alike`] compares. What is the same as the last time is shared with it.
    fn serve(&self, gateway: &OwnGateway, view: &View<'_>, problems: &mut Problems<'_>) -> Served {
        let claims = self.claims(gateway);
        let ownership = Ownership::new(gateway, &claims, self.options.hostnames_belong_to_namespaces, view);
        let mut ports: BTreeMap<u16, Vec<AttachedListener<'_>>> = BTreeMap::new();
        for (index, name, served) in served_listeners(gateway) {
            let attached = self.attached(gateway, index).filter_map(|route| {
                let all = route.attachments.hostnames(&gateway.name, index)?;
                let vouched = self.vouched.as_ref().map(|vouched| vouched.rules(gateway, name, served, route, all));
                let admitted = all.iter().filter(|hostname| ownership.admits(&route.parsed.name, hostname));
                AttachedRoute::new(&route.parsed, admitted.collect(), vouched)
            });
            ports.entry(served.port).or_default().push(AttachedListener { name, served, routes: attached.collect() });
        }
        let mut all = Served::default();
        let mut protection: BTreeMap<Arc<Name>, RouteProtection> = BTreeMap::new();
        for (name, hostnames) in ownership.outcomes() {
            for (reason, message) in hostnames.refused.values() {
                problems.of(route_ref(&name)).report("spec.hostnames", Fault::new(reason, message.clone()));
            }
            protection.entry(name).or_default().hostnames = hostnames;
        }
        let ownership = &ownership;
        let world = virtual_hosts::World { policies: &self.policies, options: &self.options, ownership, view };
        for (port, listeners) in &ports {
            for listener in listeners {
                if let Transport::Tls(certificates) = &listener.served.transport {
                    all.certificates.extend(certificates.clone());
                }
            }
            let refused = gateway.refused_hostnames(*port);
            let listener =
                virtual_hosts::listener(&gateway.name, *port, listeners, &refused, &world, &mut protection, problems);
            all.listeners.insert(*port, listener);
        }
        let last = self.served.get(&gateway.name).map(|last| &last.value);
        // Most routes have the same.
        let mut shared: BTreeSet<Arc<RouteProtection>> =
            last.iter().flat_map(|last| last.protection.values()).cloned().collect();
        for (name, protection) in protection {
            let protection = shared.get(&protection).cloned().unwrap_or_else(|| Arc::new(protection));
            shared.insert(Arc::clone(&protection));
            all.protection.share(name, protection);
        }
        last.into_iter().for_each(|last| all.listeners.share_unchanged(&last.listeners));
        all
    }

    /// The routes of a Gateway with their hostnames, the oldest first.
    fn claims<'s>(&'s self, gateway: &OwnGateway) -> BTreeSet<Claim<'s>> {
        let routes = self.attached.get(&gateway.name).into_iter().flat_map(BTreeMap::values);
        let claim = |route: &'s Route| {
            let listeners = route.attachments.listeners.iter().filter(|(id, _)| id.gateway == gateway.name);
            let hostnames = listeners.flat_map(|(_, hostnames)| hostnames).collect();
            Claim::new(&route.parsed, &gateway.name, hostnames)
        };
        routes.filter_map(|route| route.as_ref().as_ref()).map(claim).collect()
    }

    /// The clusters of all routes that a Gateway serves.
    fn clusters<'s>(
        &'s self,
        gateway: &'s OwnGateway,
        served: &'s Served,
    ) -> impl Iterator<Item = &'s (String, Arc<Cluster>)> {
        let routes = served_listeners(gateway).flat_map(|(index, ..)| self.attached(gateway, index));
        let is_refused = |route: &&Route| {
            served.protection.get(&route.parsed.name).is_some_and(|protection| protection.hostnames.is_refused())
        };
        routes.filter(move |route| !is_refused(route)).flat_map(|route| &route.clusters)
    }

    /// The routes that a listener of a Gateway admits.
    fn attached(&self, gateway: &OwnGateway, listener: usize) -> impl Iterator<Item = &Route> {
        let routes = self.attached.get(&gateway.name).into_iter().flat_map(BTreeMap::values);
        let routes = routes.filter_map(|route| route.as_ref().as_ref());
        let gateway = &gateway.name;
        routes.filter(move |route| route.attachments.hostnames(gateway, listener).is_some())
    }
}

/// The listeners of a Gateway that are served, with their indexes and names.
pub(super) fn served_listeners(gateway: &OwnGateway) -> impl Iterator<Item = (usize, &str, &ServedListener)> {
    gateway.listeners.iter().enumerate().filter_map(|(index, listener)| match &listener.state {
        ListenerState::Served(served) => Some((index, listener.name.as_str(), served)),
        ListenerState::Refused => None,
    })
}
