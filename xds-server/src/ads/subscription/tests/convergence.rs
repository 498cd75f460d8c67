//! A simulated client over random histories: it always ends with what is served, and is told nothing twice.

use proptest::prelude::*;
use proptest::sample::subsequence;

use super::*;

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// What a client without the wildcard always wants.
const ALWAYS: &str = "a";

/// A content that the client refuses.
const BAD: u8 = 0;

#[derive(Clone, Debug)]
enum Step {
    /// The world becomes this.
    World(BTreeMap<String, u8>),
    /// The client wants these (as well).
    Subscribe(Vec<&'static str>),
    /// The client wants these no longer.
    Unsubscribe(Vec<&'static str>),
    /// The server sends what is due, perhaps without removals.
    Send(Removals),
    /// The client answers what it was sent.
    Answer,
    /// The stream breaks and the client comes back.
    Reconnect,
}

fn worlds() -> impl Strategy<Value = BTreeMap<String, u8>> {
    prop::collection::btree_map(prop::sample::select(NAMES.to_vec()).prop_map(str::to_owned), 0..4_u8, 0..=4)
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let names = || subsequence(NAMES.to_vec(), 0..=4);
    let step = prop_oneof![
        3 => worlds().prop_map(Step::World),
        1 => names().prop_map(Step::Subscribe),
        1 => names().prop_map(Step::Unsubscribe),
        4 => prop_oneof![Just(Removals::Allowed), Just(Removals::HeldBack)].prop_map(Step::Send),
        4 => Just(Step::Answer),
        1 => Just(Step::Reconnect),
    ];
    prop::collection::vec(step, 1..60)
}

/// What a client that keeps to the protocol holds.
struct Client {
    protocol: Protocol,
    kind: ResourceType,
    wildcard: bool,
    names: BTreeSet<String>,
    has: BTreeMap<String, u8>,
    version: String,
    last_nonce: String,
    unanswered: Option<(Update, String)>,
    /// Names that the server owes an answer even if they are unchanged.
    owed: BTreeSet<String>,
}

impl Client {
    fn wants(&self, name: &str) -> bool {
        self.wildcard || self.names.contains(name)
    }

    fn all_names(&self) -> Vec<String> {
        let wildcard = self.wildcard.then(|| "*".to_owned());
        self.names.iter().cloned().chain(wildcard).collect()
    }

    /// The first request on a stream. What it names must be answered, except (delta) what it has.
    fn opening(&mut self) -> Request {
        self.owed = match self.protocol {
            Protocol::Delta => self.names.iter().filter(|name| !self.has.contains_key(*name)).cloned().collect(),
            Protocol::Sotw => strings(&NAMES).into_iter().collect(),
        };
        let names = match self.protocol {
            Protocol::Delta => Names::Change {
                subscribe: self.all_names(),
                unsubscribe: Vec::new(),
                known: self.has.iter().map(|(name, content)| (name.clone(), content_version(*content))).collect(),
            },
            Protocol::Sotw => Names::All { names: self.all_names(), version: self.version.clone() },
        };
        Request { names, ..Request::default() }
    }

    fn change(&mut self, subscribe: &[&str], unsubscribe: &[&str]) -> Request {
        let given_up = unsubscribe.iter().filter(|name| self.wildcard || **name != ALWAYS);
        let unsubscribe: Vec<&str> = given_up.copied().collect();
        for name in &unsubscribe {
            if self.names.remove(*name) && self.wildcard {
                self.owed.insert((*name).to_owned());
            }
        }
        for name in subscribe {
            let new = self.names.insert((*name).to_owned());
            if new || self.protocol == Protocol::Delta {
                self.owed.insert((*name).to_owned());
            }
        }
        let names = match self.protocol {
            Protocol::Delta => Names::Change {
                subscribe: strings(subscribe),
                unsubscribe: strings(&unsubscribe),
                known: BTreeMap::new(),
            },
            Protocol::Sotw => Names::All { names: self.all_names(), version: self.version.clone() },
        };
        self.forget();
        let nonce = if self.protocol == Protocol::Sotw { self.last_nonce.clone() } else { String::new() };
        Request { nonce, error: None, names }
    }

    fn forget(&mut self) {
        let (wildcard, names) = (self.wildcard, &self.names);
        self.has.retain(|name, _| wildcard || names.contains(name));
        self.owed.retain(|name| wildcard || names.contains(name));
    }

    /// Takes a response over, or refuses it whole.
    fn answer(&mut self) -> Option<Request> {
        let (update, nonce) = self.unanswered.take()?;
        self.last_nonce.clone_from(&nonce);
        let refused = update.resources.iter().any(|(_, resource)| content(resource) == BAD);
        let full =
            self.protocol == Protocol::Sotw && matches!(self.kind, ResourceType::Cluster | ResourceType::Listener);
        if !refused {
            if full {
                self.has.clear();
            }
            for (name, resource) in &update.resources {
                if self.wants(name) {
                    self.has.insert(name.clone(), content(resource));
                }
            }
            self.version.clone_from(&update.version);
        }
        for name in &update.removed {
            self.has.remove(name);
        }
        let names = match self.protocol {
            Protocol::Delta => Names::default(),
            Protocol::Sotw => Names::All { names: self.all_names(), version: self.version.clone() },
        };
        Some(Request { nonce, error: refused.then(|| "bad".to_owned()), names })
    }
}

fn content(resource: &Resource) -> u8 {
    resource.bytes[0]
}

fn content_version(content: u8) -> String {
    Resource::new(vec![content]).version.to_string()
}

fn resources(world: &BTreeMap<String, u8>) -> BTreeMap<String, Resource> {
    world.iter().map(|(name, content)| (name.clone(), Resource::new(vec![*content]))).collect()
}

/// Server and client, with the checks that hold at every response.
struct Simulation {
    client: Client,
    server: Subscription,
    world: BTreeMap<String, u8>,
    pushes: u32,
    /// Refused content by name that must not come again while it is the world's.
    refused: BTreeMap<String, u8>,
}

impl Simulation {
    fn new(protocol: Protocol, kind: ResourceType, wildcard: bool) -> Self {
        // A client that opens with no name at all would be taken to want everything.
        let names = if wildcard { BTreeSet::new() } else { BTreeSet::from([ALWAYS.to_owned()]) };
        let mut client = Client {
            protocol,
            kind,
            wildcard,
            names,
            has: BTreeMap::new(),
            version: String::new(),
            last_nonce: String::new(),
            unanswered: None,
            owed: BTreeSet::new(),
        };
        let mut server = Subscription::new(protocol, kind);
        server.receive(client.opening());
        Self { client, server, world: BTreeMap::new(), pushes: 0, refused: BTreeMap::new() }
    }

    fn full_sets(&self) -> bool {
        self.client.protocol == Protocol::Sotw
            && matches!(self.client.kind, ResourceType::Cluster | ResourceType::Listener)
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::World(world) => {
                self.refused.retain(|name, content| world.get(name) == Some(content));
                self.world = world;
            }
            Step::Subscribe(names) => {
                // SotW: a request with an outdated nonce is ignored, so this client changes its mind only between.
                if self.client.protocol == Protocol::Delta || self.client.unanswered.is_none() {
                    let request = self.client.change(&names, &[]);
                    self.refused.retain(|name, _| !names.contains(&name.as_str()));
                    self.server.receive(request);
                }
            }
            Step::Unsubscribe(names) => {
                if self.client.protocol == Protocol::Delta || self.client.unanswered.is_none() {
                    let request = self.client.change(&[], &names);
                    self.refused.retain(|name, _| !names.contains(&name.as_str()));
                    self.server.receive(request);
                }
            }
            Step::Send(removals) => drop(self.send(removals)),
            Step::Answer => self.answer(),
            Step::Reconnect => {
                self.client.unanswered = None;
                self.client.last_nonce.clear();
                self.refused.clear();
                self.server = Subscription::new(self.client.protocol, self.client.kind);
                self.server.receive(self.client.opening());
            }
        }
    }

    fn send(&mut self, removals: Removals) -> bool {
        let Some(update) = self.server.pending(&resources(&self.world), removals) else { return false };
        assert!(self.client.unanswered.is_none(), "one response at a time");
        let names: BTreeSet<&String> = update.resources.iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), update.resources.len(), "no name twice");
        for (name, resource) in &update.resources {
            assert!(self.client.wants(name), "{name} is not wanted");
            if self.full_sets() {
                continue;
            }
            assert_eq!(self.world.get(name), Some(&content(resource)), "{name} is not of this world");
            let owed = self.client.owed.contains(name);
            // After a refused response the server can't know what the client has.
            let certain = self.server.holdings.get(name).is_none_or(|holding| matches!(holding, Holding::Accepted(_)));
            assert!(owed || !certain || self.client.has.get(name) != Some(&content(resource)), "{name} is no news");
            assert!(owed || self.refused.get(name) != Some(&content(resource)), "{name} was refused like that");
        }
        for name in &update.removed {
            assert!(!self.world.contains_key(name), "{name} is there");
            assert!(removals == Removals::Allowed || self.client.owed.contains(name), "{name} is held back");
            self.client.owed.remove(name);
        }
        for (name, _) in &update.resources {
            self.client.owed.remove(name);
        }
        self.pushes += 1;
        let nonce = self.pushes.to_string();
        self.server.sent(&update, nonce.clone());
        self.client.unanswered = Some((update, nonce));
        true
    }

    fn answer(&mut self) {
        if let Some((update, _)) = &self.client.unanswered
            && let [(name, resource)] = update.resources.as_slice()
            && content(resource) == BAD
            && self.world.get(name) == Some(&BAD)
        {
            self.refused.insert(name.clone(), BAD);
        }
        if let Some(request) = self.client.answer() {
            self.server.receive(request);
        }
    }

    fn settle(&mut self) {
        for _ in 0..40 {
            self.answer();
            if !self.send(Removals::Allowed) {
                return;
            }
        }
        panic!("never comes to rest");
    }

    /// The client has what is served, except for what it refused.
    fn check(&self) {
        let bad = |name: &str| self.world.get(name) == Some(&BAD);
        if self.full_sets() && self.world.iter().any(|(name, content)| self.client.wants(name) && *content == BAD) {
            return;
        }
        for (name, content) in self.world.iter().filter(|(name, _)| self.client.wants(name) && !bad(name)) {
            assert_eq!(self.client.has.get(name), Some(content), "{name}");
        }
        let deletes = self.client.protocol == Protocol::Delta || self.full_sets();
        for name in self.client.has.keys().filter(|_| deletes) {
            assert!(self.world.contains_key(name), "{name} should be gone");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn clients_converge(
        protocol in prop_oneof![Just(Protocol::Delta), Just(Protocol::Sotw)],
        kind in prop_oneof![Just(ResourceType::Cluster), Just(ResourceType::Route)],
        wildcard in any::<bool>(),
        steps in steps(),
    ) {
        let mut simulation = Simulation::new(protocol, kind, wildcard);
        for step in steps {
            simulation.step(step);
        }
        simulation.settle();
        simulation.check();
    }
}
