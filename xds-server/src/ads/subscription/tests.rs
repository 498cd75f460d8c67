use super::*;

mod convergence;

/// Resources by `name=content`.
fn world(resources: &[&str]) -> BTreeMap<String, Resource> {
    resources
        .iter()
        .map(|entry| {
            let (name, content) = entry.split_once('=').unwrap();
            (name.to_owned(), Resource::new(content.as_bytes().to_vec()))
        })
        .collect()
}

fn version(content: &str) -> String {
    Resource::new(content.as_bytes().to_vec()).version.to_string()
}

fn strings(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn delta(subscribe: &[&str], unsubscribe: &[&str]) -> Request {
    let names =
        Names::Change { subscribe: strings(subscribe), unsubscribe: strings(unsubscribe), known: BTreeMap::new() };
    Request { names, ..Request::default() }
}

fn returning(subscribe: &[&str], known: &[&str]) -> Request {
    let known = known.iter().map(|entry| entry.split_once('=').unwrap());
    let known = known.map(|(name, content)| (name.to_owned(), version(content))).collect();
    Request {
        names: Names::Change { subscribe: strings(subscribe), unsubscribe: Vec::new(), known },
        ..Request::default()
    }
}

fn sotw(names: &[&str], nonce: &str) -> Request {
    let names = Names::All { names: strings(names), version: String::new() };
    Request { nonce: nonce.to_owned(), names, error: None }
}

/// A subscription with the responses that went out, as `+name=content -name`.
struct Run {
    subscription: Subscription,
    nonce: u32,
}

impl Run {
    fn new(protocol: Protocol, kind: ResourceType) -> Self {
        Self { subscription: Subscription::new(protocol, kind), nonce: 0 }
    }

    fn says(&mut self, request: Request) -> Verdict {
        self.subscription.receive(request)
    }

    fn answers_with(&mut self, error: Option<&str>) -> Verdict {
        let request = match self.subscription.shape {
            Shape::Changes => delta(&[], &[]),
            Shape::Partial | Shape::Everything => {
                let mut names: Vec<&str> = self.subscription.names.iter().map(String::as_str).collect();
                if self.subscription.wildcard == Wildcard::Named {
                    names.push("*");
                }
                sotw(&names, "")
            }
        };
        let nonce = self.nonce.to_string();
        let request = Request { nonce, error: error.map(str::to_owned), ..request };
        self.subscription.receive(request)
    }

    fn acks(&mut self) {
        assert_eq!(self.answers_with(None), Verdict::Acknowledged);
    }

    fn nacks(&mut self) {
        assert!(matches!(self.answers_with(Some("no good")), Verdict::Rejected(_)));
    }

    fn gets(&mut self, world: &BTreeMap<String, Resource>) -> Option<String> {
        self.gets_with(world, Removals::Allowed)
    }

    fn gets_with(&mut self, world: &BTreeMap<String, Resource>, removals: Removals) -> Option<String> {
        let update = self.subscription.pending(world, removals)?;
        self.nonce += 1;
        self.subscription.sent(&update, self.nonce.to_string());
        let content = |resource: &Resource| String::from_utf8(resource.bytes.to_vec()).unwrap();
        let resources = update.resources.iter().map(|(name, resource)| format!("+{name}={}", content(resource)));
        let removed = update.removed.iter().map(|name| format!("-{name}"));
        Some(resources.chain(removed).collect::<Vec<_>>().join(" "))
    }
}

fn text(expected: &str) -> Option<String> {
    Some(expected.to_owned())
}

#[test]
fn the_first_request_decides_what_is_sent() {
    use Protocol::{Delta, Sotw};
    use ResourceType::{Cluster, Endpoint, Listener, Route};
    let world = world(&["a=1", "b=1"]);
    let known = |version: &str| Names::All { names: Vec::new(), version: version.to_owned() };
    let set = version_of(world.iter());
    let rows = [
        ("delta: nothing named is all of LDS", Delta, Listener, delta(&[], &[]), text("+a=1 +b=1")),
        ("delta: nothing named is all of CDS", Delta, Cluster, delta(&[], &[]), text("+a=1 +b=1")),
        ("delta: nothing named is none of EDS", Delta, Endpoint, delta(&[], &[]), None),
        ("delta: the wildcard is all", Delta, Route, delta(&["*"], &[]), text("+a=1 +b=1")),
        ("delta: one name", Delta, Cluster, delta(&["b"], &[]), text("+b=1")),
        ("delta: a name that is not there", Delta, Route, delta(&["b", "x"], &[]), text("+b=1 -x")),
        ("delta: back with all", Delta, Cluster, returning(&[], &["a=1", "b=1"]), None),
        ("delta: back with all, by name", Delta, Route, returning(&["a", "b"], &["a=1", "b=1"]), None),
        ("delta: back with an older one", Delta, Cluster, returning(&[], &["a=0", "b=1"]), text("+a=1")),
        ("delta: back with one too few", Delta, Route, returning(&["a", "b"], &["a=1"]), text("+b=1")),
        ("delta: back with one too many", Delta, Cluster, returning(&["*"], &["a=1", "b=1", "c=1"]), text("-c")),
        ("delta: back with what it does not want", Delta, Route, returning(&["a"], &["a=1", "c=1"]), None),
        ("SotW: nothing named is all of LDS", Sotw, Listener, sotw(&[], ""), text("+a=1 +b=1")),
        ("SotW: nothing named is none of RDS", Sotw, Route, sotw(&[], ""), None),
        ("SotW: the wildcard is all", Sotw, Cluster, sotw(&["*"], ""), text("+a=1 +b=1")),
        ("SotW: one name", Sotw, Route, sotw(&["a"], ""), text("+a=1")),
        ("SotW: a name that is not there stays open", Sotw, Route, sotw(&["x"], ""), None),
        ("SotW: a cluster that is not there is told", Sotw, Cluster, sotw(&["x"], ""), text("")),
        ("SotW: back with all", Sotw, Cluster, Request { names: known(&set), ..Request::default() }, None),
        (
            "SotW: back with an older set",
            Sotw,
            Cluster,
            Request { names: known("older"), ..Request::default() },
            text("+a=1 +b=1"),
        ),
    ];
    for (name, protocol, kind, request, expected) in rows {
        let mut run = Run::new(protocol, kind);
        assert_eq!(run.gets(&world), None, "{name}: before it asks");
        run.says(request);
        assert_eq!(run.gets(&world), expected, "{name}");
        assert_eq!(run.gets(&world), None, "{name}: once only");
    }
}

#[test]
fn an_empty_world_is_told_to_those_who_want_all() {
    for protocol in [Protocol::Delta, Protocol::Sotw] {
        let mut run = Run::new(protocol, ResourceType::Listener);
        run.says(if protocol == Protocol::Delta { delta(&["*"], &[]) } else { sotw(&["*"], "") });
        assert_eq!(run.gets(&world(&[])), text(""), "{protocol:?}");
        run.acks();
        assert_eq!(run.gets(&world(&[])), None, "{protocol:?}: once only");
        assert_eq!(run.gets(&world(&["a=1"])), text("+a=1"), "{protocol:?}");
    }
}

#[test]
fn delta_sends_differences_after_each_acknowledgement() {
    let mut run = Run::new(Protocol::Delta, ResourceType::Cluster);
    run.says(delta(&[], &[]));
    assert_eq!(run.gets(&world(&["a=1", "b=1"])), text("+a=1 +b=1"));
    assert_eq!(run.gets(&world(&["a=2"])), None, "waits for the acknowledgement");
    run.acks();
    assert_eq!(run.gets(&world(&["a=3", "c=1"])), text("+a=3 +c=1 -b"), "skips what lay between");
    run.acks();
    assert_eq!(run.gets(&world(&["a=3", "c=1"])), None);
    assert_eq!(run.gets_with(&world(&["a=3"]), Removals::HeldBack), None);
    assert!(run.subscription.has_leftovers(&world(&["a=3"])));
    assert_eq!(run.gets(&world(&["a=3"])), text("-c"));
    assert_eq!(run.gets(&world(&["a=3"])), None);
}

#[test]
fn delta_answers_every_name_asked_for() {
    let all = world(&["a=1", "b=1"]);
    let mut run = Run::new(Protocol::Delta, ResourceType::Endpoint);
    run.says(delta(&["a"], &[]));
    assert_eq!(run.gets(&all), text("+a=1"));
    run.says(delta(&["a"], &[]));
    assert_eq!(run.gets(&all), None, "one response at a time");
    run.acks();
    assert_eq!(run.gets(&all), text("+a=1"), "asked for again while it was on its way");
    run.acks();
    assert_eq!(run.gets(&all), None);
    run.says(delta(&["x"], &[]));
    assert_eq!(run.gets_with(&all, Removals::HeldBack), text("-x"), "not there: told at once");
    run.acks();
    assert_eq!(run.gets(&world(&["a=1", "x=1"])), text("+x=1"), "and sent when it appears");
    run.acks();
    run.says(delta(&[], &["a", "never"]));
    assert_eq!(run.gets(&world(&["a=2", "x=1"])), None, "no longer wanted");
    run.says(delta(&["a"], &["a"]));
    assert_eq!(run.gets(&world(&["a=2", "x=1"])), text("+a=2"));
}

#[test]
fn delta_names_and_the_wildcard_go_together() {
    let all = world(&["a=1", "b=1"]);
    let mut run = Run::new(Protocol::Delta, ResourceType::Cluster);
    run.says(delta(&["*", "a", "x"], &[]));
    assert_eq!(run.gets(&all), text("+a=1 +b=1 -x"));
    run.acks();
    run.says(delta(&[], &["a", "x"]));
    assert_eq!(run.gets(&all), text("+a=1 -x"), "the wildcard still covers them");
    run.acks();
    run.says(delta(&[], &["b"]));
    assert_eq!(run.gets(&all), None, "it was never named");
    run.says(delta(&["b"], &["*"]));
    assert_eq!(run.gets(&all), text("+b=1"));
    run.acks();
    assert_eq!(run.gets(&world(&["a=2", "b=2"])), text("+b=2"), "only the name is left");
}

#[test]
fn delta_honours_names_with_a_stale_nonce() {
    let all = world(&["a=1", "b=1"]);
    let mut run = Run::new(Protocol::Delta, ResourceType::Route);
    run.says(delta(&["a"], &[]));
    assert_eq!(run.gets(&all), text("+a=1"));
    assert_eq!(run.says(Request { nonce: "stale".into(), ..delta(&["b"], &[]) }), Verdict::Stale);
    assert_eq!(run.gets(&all), None, "the response is still unanswered");
    run.acks();
    assert_eq!(run.gets(&all), text("+b=1"));
}

#[test]
fn a_refused_version_is_not_sent_again() {
    for protocol in [Protocol::Delta, Protocol::Sotw] {
        let mut run = Run::new(protocol, ResourceType::Route);
        run.says(if protocol == Protocol::Delta { delta(&["a"], &[]) } else { sotw(&["a"], "") });
        assert_eq!(run.gets(&world(&["a=1"])), text("+a=1"));
        run.acks();
        assert_eq!(run.gets(&world(&["a=bad"])), text("+a=bad"));
        assert!(!run.subscription.refuses(), "{protocol:?}");
        run.nacks();
        assert!(run.subscription.refuses(), "{protocol:?}");
        let rejection = Rejection { message: "no good".into(), resources: strings(&["a"]) };
        let view = run.subscription.view();
        assert_eq!(view.standing_rejection().is_some(), run.subscription.refuses(), "{protocol:?}");
        assert_eq!(view.last_rejection, Some(rejection), "{protocol:?}");
        assert_eq!(run.subscription.progress(&world(&["a=bad"]), Removals::Allowed), Progress::Refused);
        assert_eq!(run.gets(&world(&["a=bad"])), None, "{protocol:?}");
        assert_eq!(run.gets(&world(&["a=1"])), text("+a=1"), "{protocol:?}: what it has now is not certain");
        run.acks();
        assert_eq!(run.subscription.progress(&world(&["a=1"]), Removals::Allowed), Progress::Settled);
        assert_eq!(run.gets(&world(&["a=bad"])), text("+a=bad"), "{protocol:?}: the content changed in between");
    }
}

#[test]
fn the_innocent_of_a_refused_response_are_sent_by_themselves() {
    for protocol in [Protocol::Delta, Protocol::Sotw] {
        let all = world(&["a=1", "bad=1", "c=1"]);
        let names = ["a", "bad", "c"];
        let mut run = Run::new(protocol, ResourceType::Route);
        run.says(if protocol == Protocol::Delta { delta(&names, &[]) } else { sotw(&names, "") });
        assert_eq!(run.gets(&all), text("+a=1 +bad=1 +c=1"));
        run.nacks();
        assert_eq!(run.gets(&all), text("+a=1"), "{protocol:?}");
        run.acks();
        assert_eq!(run.gets(&all), text("+bad=1"), "{protocol:?}");
        run.nacks();
        assert_eq!(run.gets(&all), text("+c=1"), "{protocol:?}");
        run.acks();
        assert_eq!(run.gets(&all), None, "{protocol:?}");
        assert_eq!(run.gets(&world(&["a=1", "bad=2", "c=1"])), text("+bad=2"), "{protocol:?}");
    }
}

#[test]
fn a_refused_removal_is_not_repeated() {
    let mut run = Run::new(Protocol::Delta, ResourceType::Cluster);
    run.says(returning(&["*"], &["a=1"]));
    assert_eq!(run.gets(&world(&[])), text("-a"));
    run.nacks();
    assert_eq!(run.gets(&world(&[])), None);
}

#[test]
fn sotw_sends_the_full_set_of_clusters_at_any_change() {
    let mut run = Run::new(Protocol::Sotw, ResourceType::Cluster);
    run.says(sotw(&[], ""));
    assert_eq!(run.gets(&world(&["a=1", "b=1"])), text("+a=1 +b=1"));
    run.acks();
    assert_eq!(run.gets(&world(&["a=1", "b=2"])), text("+a=1 +b=2"));
    run.acks();
    assert_eq!(run.gets_with(&world(&["c=1"]), Removals::HeldBack), text("+a=1 +b=2 +c=1"));
    run.acks();
    assert_eq!(run.gets_with(&world(&["c=1"]), Removals::HeldBack), None);
    assert!(run.subscription.has_leftovers(&world(&["c=1"])));
    assert_eq!(run.gets(&world(&["c=1"])), text("+c=1"));
    run.nacks();
    assert_eq!(run.gets(&world(&["c=1"])), None, "refused as it is");
    assert_eq!(run.gets(&world(&[])), text(""), "an empty set takes all away");
}

#[test]
fn sotw_goes_by_the_last_nonce() {
    let all = world(&["a=1", "b=1"]);
    let mut run = Run::new(Protocol::Sotw, ResourceType::Endpoint);
    assert_eq!(run.says(sotw(&["a"], "from an earlier stream")), Verdict::None, "no response is out yet");
    assert_eq!(run.gets(&all), text("+a=1"));
    assert_eq!(run.says(sotw(&["a", "b"], "")), Verdict::Stale, "it has not seen the response yet");
    assert_eq!(run.says(sotw(&["a", "b"], "0")), Verdict::Stale);
    assert_eq!(run.says(sotw(&["a", "b"], "1")), Verdict::Acknowledged);
    assert_eq!(run.gets(&all), text("+b=1"), "newly asked for, the other is unchanged");
    run.acks();
    assert_eq!(run.says(sotw(&["b"], "2")), Verdict::None);
    assert_eq!(run.gets(&world(&["a=2", "b=1"])), None, "no longer wanted");
    assert_eq!(run.says(sotw(&["a", "b"], "2")), Verdict::None);
    assert_eq!(run.gets(&all), text("+a=1"));
    run.acks();
    assert_eq!(run.gets(&world(&["a=1"])), None, "absence means nothing here");
    assert_eq!(run.gets(&all), None, "it still has it");
}

#[test]
fn sotw_leaves_the_wildcard_by_naming() {
    let all = world(&["a=1", "b=1"]);
    let mut run = Run::new(Protocol::Sotw, ResourceType::Listener);
    run.says(sotw(&[], ""));
    assert_eq!(run.gets(&all), text("+a=1 +b=1"));
    run.says(sotw(&["a"], "1"));
    assert_eq!(run.gets(&all), text("+a=1"), "newly named");
    run.says(sotw(&[], "2"));
    assert_eq!(run.gets(&world(&["a=2", "b=2"])), None, "nothing named after a name is nothing wanted");
    run.says(sotw(&["*"], "2"));
    assert_eq!(run.gets(&all), text("+a=1 +b=1"));
}

#[test]
fn endpoints_can_be_owed_again() {
    let all = world(&["a=1", "b=1"]);
    let mut run = Run::new(Protocol::Delta, ResourceType::Endpoint);
    run.says(delta(&["a"], &[]));
    assert_eq!(run.gets(&all), text("+a=1"));
    run.acks();
    run.subscription.owe(strings(&["a", "b"]).iter());
    assert_eq!(run.gets(&all), text("+a=1"), "only what is wanted");
}

#[test]
fn changes_are_told_apart_from_news() {
    let mut run = Run::new(Protocol::Sotw, ResourceType::Cluster);
    run.says(sotw(&[], ""));
    assert_eq!(run.gets(&world(&["a=1", "b=1"])), text("+a=1 +b=1"));
    run.acks();
    let update = run.subscription.pending(&world(&["a=1", "b=2", "c=1"]), Removals::Allowed).unwrap();
    assert_eq!(run.subscription.changed_by(&update).collect::<Vec<_>>(), ["b"]);
}
