use super::super::wire::Names;
use super::*;
use ResourceType::{Cluster, Endpoint, ExtensionConfig, Listener, Route, Secret};

mod ordering;

/// A Gateway's resources from `(type, name, content)`.
fn snapshot(resources: &[(ResourceType, &str, &str)]) -> GatewaySnapshot {
    let mut snapshot = GatewaySnapshot::default();
    for (kind, name, content) in resources {
        let resource = Resource::new(content.as_bytes().to_vec());
        snapshot.resources.entry(*kind).or_default().insert((*name).to_owned(), resource);
    }
    snapshot
}

/// An Envoy that wants everything of every type, and a clock that only moves when told.
struct Run {
    stream: Stream,
    now: Instant,
    nonces: BTreeMap<ResourceType, String>,
}

impl Run {
    fn new(protocol: Protocol, kinds: &[ResourceType]) -> Self {
        let mut run = Self { stream: Stream::new(protocol), now: Instant::now(), nonces: BTreeMap::new() };
        for kind in kinds {
            run.stream.receive(*kind, run.request("", None)).unwrap();
        }
        run
    }

    fn request(&self, nonce: &str, error: Option<&str>) -> Request {
        let everything = vec!["*".to_owned()];
        let names = match self.stream.protocol() {
            Protocol::Delta if nonce.is_empty() => {
                Names::Change { subscribe: everything, unsubscribe: Vec::new(), known: BTreeMap::new() }
            }
            Protocol::Delta => Names::default(),
            Protocol::Sotw => Names::All { names: everything, version: String::new() },
        };
        Request { nonce: nonce.to_owned(), error: error.map(str::to_owned), names }
    }

    /// All that goes out now: type, names, and removed names with a minus.
    fn sends(&mut self, snapshot: &GatewaySnapshot) -> Vec<(ResourceType, String)> {
        let mut sent = Vec::new();
        while let Some(push) = self.stream.next(snapshot, self.now) {
            self.nonces.insert(push.kind, push.nonce);
            let names = push.update.resources.iter().map(|(name, _)| name.clone());
            let removed = push.update.removed.iter().map(|name| format!("-{name}"));
            sent.push((push.kind, names.chain(removed).collect::<Vec<_>>().join(" ")));
        }
        sent
    }

    fn answers(&mut self, kind: ResourceType, error: Option<&str>) {
        let nonce = self.nonces.remove(&kind).expect("nothing of this type is unanswered");
        let request = self.request(&nonce, error);
        self.stream.receive(kind, request).unwrap();
    }

    fn acks(&mut self, kind: ResourceType) {
        self.answers(kind, None);
    }

    fn acks_all(&mut self, snapshot: &GatewaySnapshot) {
        loop {
            self.sends(snapshot);
            let Some(kind) = self.nonces.keys().next().copied() else { return };
            self.acks(kind);
        }
    }

    fn waits(&mut self, time: Duration) {
        self.now += time;
    }
}

fn sent(kind: ResourceType, names: &str) -> (ResourceType, String) {
    (kind, names.to_owned())
}

fn first_world() -> GatewaySnapshot {
    snapshot(&[
        (Cluster, "old", "1"),
        (Endpoint, "old", "1"),
        (Secret, "cert", "1"),
        (Listener, "web", "1"),
        (ExtensionConfig, "web", "1"),
        (Route, "web", "to old"),
    ])
}

fn second_world() -> GatewaySnapshot {
    snapshot(&[
        (Cluster, "new", "1"),
        (Endpoint, "new", "1"),
        (Secret, "cert", "1"),
        (Listener, "web", "1"),
        (ExtensionConfig, "web", "2"),
        (Route, "web", "to new"),
    ])
}

#[test]
fn types_go_out_in_their_order_and_routes_after_acknowledgements() {
    for protocol in [Protocol::Delta, Protocol::Sotw] {
        let mut run = Run::new(protocol, &[Route, Listener, ExtensionConfig, Secret, Endpoint, Cluster]);
        let world = first_world();
        let expected = [
            sent(Cluster, "old"),
            sent(Endpoint, "old"),
            sent(Secret, "cert"),
            sent(Listener, "web"),
            sent(ExtensionConfig, "web"),
        ];
        assert_eq!(run.sends(&world), expected, "{protocol:?}");
        run.acks(Cluster);
        assert_eq!(run.sends(&world), [], "{protocol:?}: the filter's configuration is not acknowledged yet");
        run.acks(ExtensionConfig);
        assert_eq!(run.sends(&world), [sent(Route, "web")], "{protocol:?}");
    }
}

#[test]
fn routes_do_not_wait_for_ever() {
    let mut run = Run::new(Protocol::Delta, &[Cluster, Route]);
    let world = first_world();
    assert_eq!(run.sends(&world), [sent(Cluster, "old")]);
    assert_eq!(run.stream.deadline(run.now), Some(run.now + ROUTES_WAIT));
    run.waits(ROUTES_WAIT);
    assert_eq!(run.sends(&world), [sent(Route, "web")]);
}

#[test]
fn routes_go_out_though_filter_configurations_are_refused() {
    let mut run = Run::new(Protocol::Delta, &[ExtensionConfig, Route]);
    let world = first_world();
    assert_eq!(run.sends(&world), [sent(ExtensionConfig, "web")]);
    run.answers(ExtensionConfig, Some("can't read it"));
    assert_eq!(run.sends(&world), [sent(Route, "web")]);
}

#[test]
fn clusters_are_taken_away_after_the_routes_to_them() {
    let kinds = [Cluster, Endpoint, ExtensionConfig, Route];
    let mut run = Run::new(Protocol::Delta, &kinds);
    run.acks_all(&first_world());
    let world = second_world();
    assert_eq!(run.sends(&world), [sent(Cluster, "new"), sent(Endpoint, "new"), sent(ExtensionConfig, "web")]);
    for kind in [Cluster, Endpoint, ExtensionConfig] {
        run.acks(kind);
    }
    assert_eq!(run.sends(&world), [sent(Route, "web")]);
    run.acks(Route);
    assert_eq!(run.sends(&world), [sent(Cluster, "-old"), sent(Endpoint, "-old")]);
    run.acks_all(&world);
    assert_eq!(run.stream.deadline(run.now), None, "at rest");
}

#[test]
fn full_sets_keep_clusters_until_the_routes_to_them_are_gone() {
    let mut run = Run::new(Protocol::Sotw, &[Cluster, Route]);
    run.acks_all(&first_world());
    let world = second_world();
    assert_eq!(run.sends(&world), [sent(Cluster, "new old")]);
    run.acks(Cluster);
    assert_eq!(run.sends(&world), [sent(Route, "web")]);
    run.acks(Route);
    assert_eq!(run.sends(&world), [sent(Cluster, "new")]);
}

#[test]
fn a_returning_client_keeps_clusters_until_the_routes_to_them_are_gone() {
    let mut first = Run::new(Protocol::Sotw, &[Cluster]);
    let version = first.stream.next(&first_world(), first.now).unwrap().update.version;
    let mut run = Run::new(Protocol::Sotw, &[Route]);
    let names = Names::All { names: vec!["*".into()], version };
    run.stream.receive(Cluster, Request { names, ..Request::default() }).unwrap();
    assert_eq!(run.sends(&first_world()), [sent(Route, "web")], "it has the clusters");
    run.acks(Route);
    assert_eq!(run.sends(&second_world()), [sent(Cluster, "new old")]);
}

#[test]
fn clusters_are_taken_away_at_last_from_a_client_that_does_not_answer() {
    let mut run = Run::new(Protocol::Delta, &[Cluster, Route]);
    run.acks_all(&first_world());
    let world = second_world();
    assert_eq!(run.sends(&world), [sent(Cluster, "new")]);
    run.acks(Cluster);
    assert_eq!(run.sends(&world), [sent(Route, "web")]);
    run.waits(REMOVALS_WAIT - Duration::from_millis(1));
    assert_eq!(run.sends(&world), []);
    run.waits(Duration::from_millis(1));
    assert_eq!(run.sends(&world), [sent(Cluster, "-old")]);
}

#[test]
fn clusters_stay_as_long_as_older_routes_are_in_force() {
    let mut run = Run::new(Protocol::Delta, &[Cluster, Route]);
    run.acks_all(&first_world());
    let world = second_world();
    run.sends(&world);
    run.acks(Cluster);
    run.sends(&world);
    run.answers(Route, Some("no such cluster"));
    assert_eq!(run.sends(&world), []);
    run.waits(REMOVALS_WAIT);
    assert_eq!(run.sends(&world), [], "Envoy still runs on the routes to it");
    assert_eq!(run.stream.deadline(run.now), None, "nothing to wake up for");
    let mut mended = world;
    mended.resources.entry(Route).or_default().insert("web".into(), Resource::new(b"mended".to_vec()));
    assert_eq!(run.sends(&mended), [sent(Route, "web")]);
    run.acks(Route);
    assert_eq!(run.sends(&mended), [sent(Cluster, "-old")]);
}

#[test]
fn endpoints_of_a_changed_cluster_are_sent_again() {
    for protocol in [Protocol::Delta, Protocol::Sotw] {
        let mut run = Run::new(protocol, &[Cluster]);
        let endpoints = match protocol {
            Protocol::Delta => {
                Names::Change { subscribe: vec!["old".into()], unsubscribe: Vec::new(), known: BTreeMap::new() }
            }
            Protocol::Sotw => Names::All { names: vec!["old".into()], version: String::new() },
        };
        run.stream.receive(Endpoint, Request { names: endpoints, ..Request::default() }).unwrap();
        let mut world = first_world();
        assert_eq!(run.sends(&world), [sent(Cluster, "old"), sent(Endpoint, "old")]);
        run.acks(Cluster);
        let nonce = run.nonces.remove(&Endpoint).unwrap();
        let names = match protocol {
            Protocol::Delta => Names::default(),
            Protocol::Sotw => Names::All { names: vec!["old".into()], version: String::new() },
        };
        run.stream.receive(Endpoint, Request { nonce, names, error: None }).unwrap();
        world.resources.entry(Cluster).or_default().insert("old".into(), Resource::new(b"2".to_vec()));
        let expected = [sent(Cluster, "old"), sent(Endpoint, "old")];
        assert_eq!(run.sends(&world), expected, "{protocol:?}: Envoy warms the cluster anew");
    }
}

#[test]
fn a_client_that_never_answers_is_found_out() {
    let mut run = Run::new(Protocol::Delta, &[Listener]);
    run.sends(&first_world());
    assert_eq!(run.stream.deadline(run.now), Some(run.now + STALLED_AFTER));
    assert_eq!(run.stream.stalled(run.now), Ok(()));
    run.waits(STALLED_AFTER);
    assert_eq!(run.stream.stalled(run.now), Err(Fault::Stalled(Listener)));
    run.acks(Listener);
    assert_eq!(run.stream.stalled(run.now), Ok(()));
}

#[test]
fn a_client_may_not_ask_for_everything_one_by_one() {
    let mut stream = Stream::new(Protocol::Delta);
    let subscribe = (0..=MAX_NAMES).map(|index| index.to_string()).collect();
    let names = Names::Change { subscribe, unsubscribe: Vec::new(), known: BTreeMap::new() };
    let fault = stream.receive(Endpoint, Request { names, ..Request::default() });
    assert_eq!(fault, Err(Fault::TooManyNames(Endpoint)));
}

#[test]
fn no_more_is_sent_of_a_type_that_was_not_asked_for() {
    let mut run = Run::new(Protocol::Delta, &[Listener]);
    assert_eq!(run.sends(&first_world()), [sent(Listener, "web")]);
}
