//! What one client wants and has of one resource type on one stream: a state machine without I/O, for both protocols.
//!
//! ```text
//! Request ─ receive ─> interest, holdings ─ pending(desired) ─> Update ─ sent ─> in flight ─ receive(ACK | NACK) ─┐
//!                           └────────────────────────<──────────────────────────────────────────────────────────┘
//! ```
//! Nothing is queued: what is owed follows from comparing what the client has with what it is to have, so a client that
//! is slow gets the latest state, never the states between. At most one response is on its way at a time.
//! The rules are those of <https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol>.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::wire::{Names, Protocol, Request, Update};
use crate::snapshot::{Resource, ResourceType};

mod view;

pub use view::SubscriptionView;

/// What an entry of a map takes beside its texts, about, in bytes.
const ENTRY_BYTES: usize = 64;

/// The name that stands for all resources of a type.
const WILDCARD: &str = "*";

/// What a request meant for the response before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It answered no response.
    None,
    /// The client took the response over.
    Acknowledged,
    /// The client refused the response.
    Rejected(Rejection),
    /// It answered a response that is not the last one.
    Stale,
}

/// A refused response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rejection {
    /// What the client says about it.
    pub message: String,
    /// The resources that were in it; not all of them need be at fault.
    pub resources: Vec<String>,
}

/// Whether resources that are gone may be taken from the client by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removals {
    /// They may.
    Allowed,
    /// Something that the client has may still refer to them.
    HeldBack,
}

/// How far a client is from what it is to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It has all, as far as it asked.
    Settled,
    /// A response waits to be sent or answered.
    Underway,
    /// It refused something and runs on what it had before.
    Refused,
}

/// How answers are made up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// Delta: what changed, and the names of what is gone.
    Changes,
    /// SotW for all types but LDS and CDS: what changed. A name that is absent is not thereby gone.
    Partial,
    /// SotW for LDS and CDS: always everything. A name that is absent is gone.
    Everything,
}

/// Whether all resources of the type are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wildcard {
    /// Only those named.
    Off,
    /// All: the first request named nothing (the older way to say `*`).
    Implied,
    /// All: `*` was named.
    Named,
}

/// What is known of a resource at the client.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Holding {
    /// It has this version.
    Accepted(Arc<str>),
    /// It refused this version, sent by itself. Whether it has an older one is not certain.
    Rejected(Arc<str>),
    /// It refused a response with this version and others in it: to be tried once more by itself.
    Doubtful(Arc<str>),
}

impl Holding {
    fn version(&self) -> &str {
        match self {
            Self::Accepted(version) | Self::Rejected(version) | Self::Doubtful(version) => version,
        }
    }

    fn is_accepted(&self) -> bool {
        matches!(self, Self::Accepted(_))
    }
}

/// Whether the client has been answered at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// No request came yet.
    New,
    /// It asked and waits for its first answer, even if that is empty.
    Waiting,
    /// It has been answered, or came back with what it had.
    Answered,
}

/// The last full set that was sent, or that the client says it has from an earlier stream.
#[derive(Clone, Debug, Default)]
struct Set {
    /// Empty where there is none.
    version: String,
    /// Kept so that the next set can still have what is held back; empty for a set from an earlier stream.
    resources: BTreeMap<String, Resource>,
    /// Whether the client took it over.
    accepted: bool,
}

#[derive(Clone, Debug)]
struct InFlight {
    nonce: String,
    resources: Vec<(String, Resource)>,
}

/// What one client wants and has of one resource type on one stream.
#[derive(Clone, Debug)]
pub struct Subscription {
    kind: ResourceType,
    shape: Shape,
    stage: Stage,
    wildcard: Wildcard,
    names: BTreeSet<String>,
    holdings: BTreeMap<String, Holding>,
    /// Names to be answered even if the client has them, since it may have dropped them meanwhile.
    owed: BTreeSet<String>,
    in_flight: Option<InFlight>,
    last_nonce: String,
    /// [`Shape::Everything`]: the last set.
    set: Set,
    last_rejection: Option<Rejection>,
}

impl Subscription {
    /// A client that has not asked for anything yet.
    #[must_use]
    pub fn new(protocol: Protocol, kind: ResourceType) -> Self {
        let shape = match (protocol, kind) {
            (Protocol::Delta, _) => Shape::Changes,
            (Protocol::Sotw, ResourceType::Listener | ResourceType::Cluster) => Shape::Everything,
            (Protocol::Sotw, _) => Shape::Partial,
        };
        Self {
            kind,
            shape,
            stage: Stage::New,
            wildcard: Wildcard::Off,
            names: BTreeSet::new(),
            holdings: BTreeMap::new(),
            owed: BTreeSet::new(),
            in_flight: None,
            last_nonce: String::new(),
            set: Set::default(),
            last_rejection: None,
        }
    }

    /// Takes in a request.
    pub fn receive(&mut self, request: Request) -> Verdict {
        match request.names {
            Names::Change { subscribe, unsubscribe, known } => {
                // The nonce only pairs ACKs and NACKs; what the client wants counts with a stale one as well.
                let verdict = self.settle(&request.nonce, request.error);
                self.change(subscribe, &unsubscribe, known);
                verdict
            }
            Names::All { names, version } => {
                // INVARIANT: with a nonce that is not the last one the client has yet to see our last response, and
                // will speak again after it.
                if self.stage != Stage::New && request.nonce != self.last_nonce {
                    return Verdict::Stale;
                }
                let verdict =
                    if self.stage == Stage::New { Verdict::None } else { self.settle(&request.nonce, request.error) };
                self.replace(names, version);
                verdict
            }
        }
    }

    /// Finds out that the set which the client says it has from an earlier stream is the one that is served.
    pub fn recognise(&mut self, desired: &BTreeMap<String, Resource>) {
        let from_earlier = self.set.accepted && !self.set.version.is_empty() && self.set.resources.is_empty();
        if from_earlier && self.set.version == version_of(self.wanted(desired)) {
            let resources: BTreeMap<_, _> =
                self.wanted(desired).map(|(name, resource)| (name.clone(), resource.clone())).collect();
            for (name, resource) in &resources {
                self.holdings.insert(name.clone(), Holding::Accepted(Arc::clone(&resource.version)));
            }
            self.set.resources = resources;
        }
    }

    /// What is to be sent now, if anything; `desired` is what exists of this type.
    #[must_use]
    pub fn pending(&self, desired: &BTreeMap<String, Resource>, removals: Removals) -> Option<Update> {
        if self.in_flight.is_some() || self.stage == Stage::New {
            return None;
        }
        match self.shape {
            Shape::Everything => self.pending_set(desired, removals),
            Shape::Changes | Shape::Partial => self.pending_changes(desired, removals),
        }
    }

    /// Notes that an update of [`Self::pending`] went out.
    pub fn sent(&mut self, update: &Update, nonce: String) {
        self.stage = Stage::Answered;
        for name in update.resources.iter().map(|(name, _)| name).chain(&update.removed) {
            self.owed.remove(name);
        }
        for name in &update.removed {
            self.holdings.remove(name);
        }
        if self.shape == Shape::Everything {
            self.owed.clear();
            let resources: BTreeMap<_, _> = update.resources.iter().cloned().collect();
            self.holdings.retain(|name, _| resources.contains_key(name));
            self.set = Set { version: update.version.clone(), resources, accepted: false };
        }
        self.last_nonce.clone_from(&nonce);
        self.in_flight = Some(InFlight { nonce, resources: update.resources.clone() });
    }

    /// Has these names, as far as the client wants them, answered once more though they did not change.
    pub fn owe<'a>(&mut self, names: impl Iterator<Item = &'a String>) {
        self.owed.extend(names.filter(|name| self.names.contains(*name)).cloned());
    }

    /// The resources of an update that differ from what the client had of them.
    pub fn changed_by<'a>(&self, update: &'a Update) -> impl Iterator<Item = &'a String> {
        let changed = |name: &String, resource: &Resource| match self.holdings.get(name) {
            Some(Holding::Accepted(version)) => *version != resource.version,
            Some(Holding::Rejected(_) | Holding::Doubtful(_)) => true,
            None => false,
        };
        update.resources.iter().filter(move |(name, resource)| changed(name, resource)).map(|(name, _)| name)
    }

    /// Whether the client has resources that are gone.
    #[must_use]
    pub fn has_leftovers(&self, desired: &BTreeMap<String, Resource>) -> bool {
        match self.shape {
            Shape::Changes => self.holdings.keys().any(|name| !desired.contains_key(name)),
            Shape::Everything => self.set.resources.keys().any(|name| self.wants(name) && !desired.contains_key(name)),
            Shape::Partial => false,
        }
    }

    /// How far the client is; what is held back does not count.
    #[must_use]
    pub fn progress(&self, desired: &BTreeMap<String, Resource>, removals: Removals) -> Progress {
        if self.in_flight.is_some() || self.pending(desired, removals).is_some() {
            Progress::Underway
        } else if self.holdings.values().all(Holding::is_accepted) {
            Progress::Settled
        } else {
            Progress::Refused
        }
    }

    /// Whether a response waits for its ACK or NACK.
    #[must_use]
    pub fn is_in_flight(&self) -> bool {
        self.in_flight.is_some()
    }

    /// Whether the client refuses something that it was sent, and nothing else was accepted in its place.
    #[must_use]
    pub fn refuses(&self) -> bool {
        self.last_rejection.is_some() && !self.holdings.values().all(Holding::is_accepted)
    }

    /// How much memory its names take, about, in bytes.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let names = self.names.iter().chain(&self.owed).map(|name| name.len() + ENTRY_BYTES);
        let holdings = self.holdings.iter().map(|(name, holding)| name.len() + holding.version().len() + ENTRY_BYTES);
        names.chain(holdings).sum()
    }

    /// How many names the client asked for, `*` apart.
    #[must_use]
    pub fn name_count(&self) -> usize {
        self.names.len()
    }
}

impl Subscription {
    fn wants(&self, name: &str) -> bool {
        self.wildcard != Wildcard::Off || self.names.contains(name)
    }

    fn settle(&mut self, nonce: &str, error: Option<String>) -> Verdict {
        if nonce.is_empty() {
            return Verdict::None;
        }
        let Some(in_flight) = self.in_flight.take_if(|in_flight| in_flight.nonce == nonce) else {
            // SotW repeats the last nonce whenever the client changes what it wants.
            return if nonce == self.last_nonce { Verdict::None } else { Verdict::Stale };
        };
        self.set.accepted = error.is_none();
        let Some(message) = error else {
            for (name, resource) in in_flight.resources {
                if self.wants(&name) {
                    self.holdings.insert(name, Holding::Accepted(resource.version));
                }
            }
            return Verdict::Acknowledged;
        };
        let by_itself = in_flight.resources.len() == 1 || self.shape == Shape::Everything;
        let rejection =
            Rejection { message, resources: in_flight.resources.iter().map(|(name, _)| name.clone()).collect() };
        for (name, Resource { version, .. }) in in_flight.resources {
            let already_judged = match self.holdings.get(&name) {
                Some(Holding::Accepted(judged) | Holding::Rejected(judged)) => *judged == version,
                _ => false,
            };
            if already_judged || !self.wants(&name) {
                continue;
            }
            let holding = if by_itself { Holding::Rejected(version) } else { Holding::Doubtful(version) };
            self.holdings.insert(name, holding);
        }
        self.last_rejection = Some(rejection.clone());
        Verdict::Rejected(rejection)
    }

    fn change(&mut self, subscribe: Vec<String>, unsubscribe: &[String], known: BTreeMap<String, String>) {
        let first = self.stage == Stage::New;
        if first {
            self.stage = if known.is_empty() { Stage::Waiting } else { Stage::Answered };
            if subscribe.is_empty() {
                self.wildcard = self.implied_wildcard();
            }
            self.holdings =
                known.into_iter().map(|(name, version)| (name, Holding::Accepted(version.into()))).collect();
        }
        for name in unsubscribe {
            if name == WILDCARD {
                self.wildcard = Wildcard::Off;
            } else if self.names.remove(name) && self.wildcard != Wildcard::Off {
                // The wildcard still covers it: the client must hear whether it is there.
                self.owed.insert(name.clone());
            }
        }
        for name in subscribe {
            if name == WILDCARD {
                self.wildcard = Wildcard::Named;
                continue;
            }
            if !(first && self.holdings.contains_key(&name)) {
                self.owed.insert(name.clone());
            }
            self.names.insert(name);
        }
        self.forget_unwanted();
    }

    fn replace(&mut self, names: Vec<String>, version: String) {
        let first = self.stage == Stage::New;
        let mut wanted: BTreeSet<String> = names.into_iter().collect();
        let named_wildcard = wanted.remove(WILDCARD);
        let never_named = first || self.wildcard == Wildcard::Implied;
        self.wildcard = match (named_wildcard, wanted.is_empty() && never_named) {
            (true, _) => Wildcard::Named,
            (false, true) => self.implied_wildcard(),
            (false, false) => Wildcard::Off,
        };
        if first {
            self.stage = Stage::Waiting;
            // Only for wildcards the version proves what the client has: with names it may have dropped some since.
            if self.wildcard != Wildcard::Off && wanted.is_empty() && !version.is_empty() {
                self.set = Set { version, resources: BTreeMap::new(), accepted: true };
            }
        }
        self.owed.extend(wanted.difference(&self.names).cloned());
        self.names = wanted;
        self.forget_unwanted();
    }

    fn implied_wildcard(&self) -> Wildcard {
        match self.kind {
            ResourceType::Listener | ResourceType::Cluster => Wildcard::Implied,
            _ => Wildcard::Off,
        }
    }

    fn forget_unwanted(&mut self) {
        if self.wildcard == Wildcard::Off {
            self.holdings.retain(|name, _| self.names.contains(name));
            self.owed.retain(|name| self.names.contains(name));
            let before = self.set.resources.len();
            self.set.resources.retain(|name, _| self.names.contains(name));
            if self.set.resources.len() < before && self.set.accepted {
                // The client knows that it wants less; the rest of the set is not news.
                self.set.version = version_of(self.set.resources.iter());
            }
        }
    }

    fn pending_set(&self, desired: &BTreeMap<String, Resource>, removals: Removals) -> Option<Update> {
        let mut set: BTreeMap<&String, &Resource> = self.wanted(desired).collect();
        if removals == Removals::HeldBack {
            for (name, resource) in self.set.resources.iter().filter(|(name, _)| self.wants(name)) {
                set.entry(name).or_insert(resource);
            }
        }
        let version = version_of(set.iter().map(|(name, resource)| (*name, *resource)));
        if self.set.version == version && !self.owed.iter().any(|name| set.contains_key(name)) {
            return None;
        }
        let resources = set.into_iter().map(|(name, resource)| (name.clone(), resource.clone())).collect();
        Some(Update { version, resources, removed: Vec::new() })
    }

    fn pending_changes(&self, desired: &BTreeMap<String, Resource>, removals: Removals) -> Option<Update> {
        let mut resources = Vec::new();
        let mut doubtful = None;
        for (name, resource) in self.wanted(desired) {
            let due = self.owed.contains(name)
                || match self.holdings.get(name) {
                    None => true,
                    Some(Holding::Accepted(version) | Holding::Rejected(version)) => *version != resource.version,
                    Some(Holding::Doubtful(version)) if *version != resource.version => true,
                    Some(Holding::Doubtful(_)) => {
                        doubtful.get_or_insert((name, resource));
                        false
                    }
                };
            if due {
                resources.push((name.clone(), resource.clone()));
            }
        }
        let removed = self.removed(desired, removals);
        if resources.is_empty() && removed.is_empty() {
            match doubtful {
                Some((name, resource)) => resources.push((name.clone(), resource.clone())),
                // A wildcard that matches nothing: the client waits to hear that.
                None if self.stage == Stage::Waiting && self.wildcard != Wildcard::Off => (),
                None => return None,
            }
        }
        Some(Update { version: version_of(self.wanted(desired)), resources, removed })
    }

    fn removed(&self, desired: &BTreeMap<String, Resource>, removals: Removals) -> Vec<String> {
        if self.shape != Shape::Changes {
            return Vec::new();
        }
        let leftovers = self.holdings.keys().filter(|_| removals == Removals::Allowed);
        let names: BTreeSet<&String> =
            leftovers.chain(&self.owed).filter(|name| !desired.contains_key(*name)).collect();
        names.into_iter().cloned().collect()
    }

    fn wanted<'a>(
        &'a self,
        desired: &'a BTreeMap<String, Resource>,
    ) -> Box<dyn Iterator<Item = (&'a String, &'a Resource)> + 'a> {
        match self.wildcard {
            Wildcard::Off => Box::new(self.names.iter().filter_map(|name| desired.get_key_value(name))),
            Wildcard::Implied | Wildcard::Named => Box::new(desired.iter()),
        }
    }
}

/// A version for a set of resources: equal sets have equal versions.
fn version_of<'a>(resources: impl Iterator<Item = (&'a String, &'a Resource)>) -> String {
    let mut hash = Sha256::new();
    for (name, resource) in resources {
        for part in [name.as_bytes(), resource.version.as_bytes()] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
    }
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
