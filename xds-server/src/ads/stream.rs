//! One client's whole conversation: which type is sent when. A state machine without I/O and without a clock.
//!
//! Envoy serves traffic all the while, so the order is "make before break":
//!
//! 1. Additions and changes go out in the order of [`ResourceType`]: clusters, endpoints, secrets, listeners, filter
//!    configurations, routes.
//! 2. Routes wait until clusters and filter configurations are acknowledged: Envoy does not warm routes, so one that
//!    names a cluster or a policy that is not there yet would be answered 503. Envoy acknowledges clusters when they
//!    are warm, and hands both to its workers in the order in which it acknowledged them.
//! 3. Clusters and endpoints that are gone stay until the routes and listeners that no longer name them are
//!    acknowledged; as long as Envoy refuses those and runs on older ones, they stay.
//!
//! Both waits end after a time limit, lest one mute client or one slow cluster hold up everything.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::subscription::{Progress, Removals, Subscription, SubscriptionView, Verdict};
use super::wire::{Protocol, Push, Request};
use crate::snapshot::{GatewaySnapshot, Resource, ResourceType};

/// Routes wait this long for clusters and filter configurations to be acknowledged.
pub const ROUTES_WAIT: Duration = Duration::from_secs(15);

/// What is gone stays at most this long while routes and listeners wait to be acknowledged.
pub const REMOVALS_WAIT: Duration = Duration::from_secs(30);

/// A client that neither acknowledges nor refuses a response for this long is disconnected, to start anew.
pub const STALLED_AFTER: Duration = Duration::from_secs(300);

/// Names that a client may ask for, per type, and versions that it may say it has.
pub const MAX_NAMES: usize = 100_000;

/// Longest of these names, in bytes.
pub const MAX_NAME_BYTES: usize = 1024;

static NOTHING: BTreeMap<String, Resource> = BTreeMap::new();

/// Why a client is disconnected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It asks for too many names.
    #[error("more than {MAX_NAMES} names of {} were asked for on one stream", .0.type_url())]
    TooManyNames(ResourceType),
    /// It asks for a name that no resource has.
    #[error("a name of {} is longer than {MAX_NAME_BYTES} bytes", .0.type_url())]
    NameTooLong(ResourceType),
    /// It did not answer.
    #[error("a response of {} was neither acknowledged nor refused for {} s", .0.type_url(), STALLED_AFTER.as_secs())]
    Stalled(ResourceType),
}

/// One client's whole conversation.
#[derive(Debug)]
pub struct Stream {
    protocol: Protocol,
    subscriptions: BTreeMap<ResourceType, Subscription>,
    unanswered_since: BTreeMap<ResourceType, Instant>,
    pushes: u64,
    routes_wait_since: Option<Instant>,
    removals_wait_since: Option<Instant>,
}

impl Stream {
    /// A client that has not said anything yet.
    #[must_use]
    pub fn new(protocol: Protocol) -> Self {
        Self {
            protocol,
            subscriptions: BTreeMap::new(),
            unanswered_since: BTreeMap::new(),
            pushes: 0,
            routes_wait_since: None,
            removals_wait_since: None,
        }
    }

    /// Which variant the client speaks.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Takes in a request for one type.
    ///
    /// # Errors
    /// When the client asks for too much.
    pub fn receive(&mut self, kind: ResourceType, request: Request) -> Result<Verdict, Fault> {
        let protocol = self.protocol;
        if request.names.all().any(|name| name.len() > MAX_NAME_BYTES) {
            return Err(Fault::NameTooLong(kind));
        }
        if request.names.known_count() > MAX_NAMES {
            return Err(Fault::TooManyNames(kind));
        }
        let subscription = self.subscriptions.entry(kind).or_insert_with(|| Subscription::new(protocol, kind));
        let verdict = subscription.receive(request);
        if !subscription.is_in_flight() {
            self.unanswered_since.remove(&kind);
        }
        if subscription.name_count() > MAX_NAMES { Err(Fault::TooManyNames(kind)) } else { Ok(verdict) }
    }

    /// How much memory the client's names take, about, in bytes.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.subscriptions.values().map(Subscription::held_bytes).sum()
    }

    /// The next response to be sent now, which counts as sent; to be called until there is none.
    pub fn next(&mut self, snapshot: &GatewaySnapshot, now: Instant) -> Option<Push> {
        let routes = self.routes(snapshot, now);
        for kind in ResourceType::ALL {
            if kind == ResourceType::Route && routes == Routes::Wait {
                continue;
            }
            if let Some(push) = self.push(kind, snapshot, removals_at_first(kind), now) {
                return Some(push);
            }
        }
        if self.removals(snapshot, now) == Removals::HeldBack {
            return None;
        }
        [ResourceType::Cluster, ResourceType::Endpoint]
            .into_iter()
            .find_map(|kind| self.push(kind, snapshot, Removals::Allowed, now))
    }

    /// When [`Self::next`] and [`Self::stalled`] should be asked again though nothing came in.
    #[must_use]
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        let routes = self.routes_wait_since.map(|since| since + ROUTES_WAIT);
        let removals = self.removals_wait_since.map(|since| since + REMOVALS_WAIT);
        let stalled = self.unanswered_since.values().map(|since| *since + STALLED_AFTER);
        routes.into_iter().chain(removals).chain(stalled).filter(|deadline| *deadline > now).min()
    }

    /// Finds a response that the client leaves unanswered.
    ///
    /// # Errors
    /// When there is one.
    pub fn stalled(&self, now: Instant) -> Result<(), Fault> {
        match self.unanswered_since.iter().find(|(_, since)| now >= **since + STALLED_AFTER) {
            Some((kind, _)) => Err(Fault::Stalled(*kind)),
            None => Ok(()),
        }
    }

    /// Whether the client has the routes and filter configurations that there are, and no others.
    #[must_use]
    pub fn has_routes_of(&self, snapshot: &GatewaySnapshot) -> bool {
        [ResourceType::ExtensionConfig, ResourceType::Route].into_iter().all(|kind| {
            // One that has not asked yet may have others from an earlier stream.
            let has_asked = self.subscriptions.contains_key(&kind) || desired(snapshot, kind).is_empty();
            has_asked && self.progress(snapshot, kind) == Progress::Settled
        })
    }

    /// Whether the client refuses something.
    #[must_use]
    pub fn refuses(&self) -> bool {
        self.subscriptions.values().any(Subscription::refuses)
    }

    /// What to show of it, by the last word of the type URL.
    #[must_use]
    pub fn view(&self) -> StreamView {
        let types = self.subscriptions.iter().map(|(kind, subscription)| (kind.word(), subscription.view())).collect();
        StreamView { protocol: self.protocol, types }
    }
}

/// One client's conversation, as the admin port shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StreamView {
    /// Which variant it speaks.
    pub protocol: Protocol,
    /// By the last word of the type URL, such as `Cluster`.
    pub types: BTreeMap<&'static str, SubscriptionView>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Routes {
    Go,
    Wait,
}

fn removals_at_first(kind: ResourceType) -> Removals {
    match kind {
        ResourceType::Cluster | ResourceType::Endpoint => Removals::HeldBack,
        _ => Removals::Allowed,
    }
}

fn desired(snapshot: &GatewaySnapshot, kind: ResourceType) -> &BTreeMap<String, Resource> {
    snapshot.resources.get(&kind).unwrap_or(&NOTHING)
}

impl Stream {
    fn push(
        &mut self,
        kind: ResourceType,
        snapshot: &GatewaySnapshot,
        removals: Removals,
        now: Instant,
    ) -> Option<Push> {
        let subscription = self.subscriptions.get_mut(&kind)?;
        subscription.recognise(desired(snapshot, kind));
        let update = subscription.pending(desired(snapshot, kind), removals)?;
        // Envoy warms a changed cluster anew and waits for its endpoints, though they are the same and it does not ask.
        let rewarmed: Vec<String> = match kind {
            ResourceType::Cluster => subscription.changed_by(&update).cloned().collect(),
            _ => Vec::new(),
        };
        self.pushes += 1;
        let nonce = self.pushes.to_string();
        subscription.sent(&update, nonce.clone());
        if let Some(endpoints) = self.subscriptions.get_mut(&ResourceType::Endpoint) {
            endpoints.owe(rewarmed.iter());
        }
        self.unanswered_since.insert(kind, now);
        Some(Push { kind, nonce, update })
    }

    fn progress(&self, snapshot: &GatewaySnapshot, kind: ResourceType) -> Progress {
        let progress =
            |subscription: &Subscription| subscription.progress(desired(snapshot, kind), removals_at_first(kind));
        self.subscriptions.get(&kind).map_or(Progress::Settled, progress)
    }

    fn routes(&mut self, snapshot: &GatewaySnapshot, now: Instant) -> Routes {
        let routes = desired(snapshot, ResourceType::Route);
        let pending = self
            .subscriptions
            .get(&ResourceType::Route)
            .is_some_and(|subscription| subscription.pending(routes, Removals::Allowed).is_some());
        // Where Envoy refused them, waiting would not help: routes whose policy is missing are closed by the filter.
        let needed = [ResourceType::Cluster, ResourceType::ExtensionConfig];
        if !pending || needed.iter().all(|kind| self.progress(snapshot, *kind) != Progress::Underway) {
            self.routes_wait_since = None;
            return Routes::Go;
        }
        let since = *self.routes_wait_since.get_or_insert(now);
        if now < since + ROUTES_WAIT { Routes::Wait } else { Routes::Go }
    }

    fn removals(&mut self, snapshot: &GatewaySnapshot, now: Instant) -> Removals {
        let leftovers = [ResourceType::Cluster, ResourceType::Endpoint].into_iter().any(|kind| {
            self.subscriptions
                .get(&kind)
                .is_some_and(|subscription| subscription.has_leftovers(desired(snapshot, kind)))
        });
        if !leftovers {
            self.removals_wait_since = None;
            return Removals::Allowed;
        }
        let referring = [ResourceType::Listener, ResourceType::ExtensionConfig, ResourceType::Route];
        let progress: Vec<Progress> = referring.iter().map(|kind| self.progress(snapshot, *kind)).collect();
        if progress.contains(&Progress::Refused) {
            // It runs on older ones, which may name what is gone; the time counts from when it is sent others.
            self.removals_wait_since = None;
            return Removals::HeldBack;
        }
        let since = *self.removals_wait_since.get_or_insert(now);
        let underway = progress.contains(&Progress::Underway) && now < since + REMOVALS_WAIT;
        if underway { Removals::HeldBack } else { Removals::Allowed }
    }
}

#[cfg(test)]
mod tests;
