//! Random worlds of Gateways, routes, servers and policies, as they are and with one policy broken, misspelt, emptied or gone:
//! who gets through is asked of the filter's own library, and of a reading of the policies that knows nothing of tables.
//!
//! Three properties:
//! 1. In every world a call passes only where each policy on its way lets it pass by itself: its authentication section
//!    admits the caller (unless it says `override: Allow` and a more specific one stands in its place), and so does its
//!    enforcing gate; a gate that judges callers trusts only those whom a section as general as itself accepts, unless its
//!    own owner says `override: Allow`.
//! 2. Where a policy is broken, no call passes that did not pass before.
//! 3. Where a policy is gone, or its target is misspelt, what is left of the policies holds as in 1. To have removed a gate is
//!    its owner's will; to have removed the last one leaves the way to an MCPBackend closed, and a misspelt one leaves every
//!    way closed that nobody else protects. Only what a policy opens on purpose is open.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use toolward_policy::config::{Algorithm, RouteKey};
use toolward_policy::exchange::{Exchange, Headers, RequestStep, Verification};
use toolward_policy::jwt::budget::{Budget, Cost};
use toolward_policy::jwt::cache::TokenCache;
use toolward_policy::jwt::key::PublicKey;
use toolward_policy::jwt::verify::SignatureVerifier;
use toolward_policy::policy::PolicyTable;
use toolward_policy::route_key::key_of_request;

use crate::model::RouteAction;
use crate::translate::{NOT_NARROWER, TOO_SPECIFIC, TranslateOptions, translate};

/// How many worlds are made up.
const WORLDS: u64 = 100;

/// How many edits each of them sees.
const EDITS: usize = 8;

const NOW: u64 = 1_800_000_000;
const GATEWAY_API: &str = "gateway.networking.k8s.io";
const TOOLS: [&str; 2] = ["add", "delete"];
const PORTS: [u16; 2] = [80, 81];

/// What a token says; the key is that which signed it.
#[derive(Clone, Copy, Debug)]
struct Token {
    issuer: &'static str,
    key: &'static str,
    audience: &'static str,
    team: &'static str,
    scope: &'static str,
    form: Form,
}

/// What else there is about a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Plain,
    /// Its type is `at+jwt`.
    AccessToken,
    /// It expired 40 s ago.
    Late,
}

const fn token(
    issuer: &'static str,
    key: &'static str,
    audience: &'static str,
    team: &'static str,
    scope: &'static str,
    form: Form,
) -> Option<Token> {
    Some(Token { issuer, key, audience, team, scope, form })
}

/// Issuer `a` is the platform's, `b` another one; `evil` signs in the name of `a`.
const CALLERS: [Option<Token>; 9] = [
    None,
    token("a", "a", "x", "ops", "use", Form::Plain),
    token("a", "a", "y", "dev", "", Form::Plain),
    token("a", "a", "x", "ops", "use", Form::AccessToken),
    token("a", "a", "x", "ops", "admin", Form::Late),
    token("b", "b", "x", "ops", "admin", Form::Plain),
    token("b", "b", "y", "dev", "use", Form::AccessToken),
    token("a", "evil", "x", "ops", "use", Form::Plain),
    token("c", "c", "x", "ops", "use", Form::Plain),
];

impl Token {
    fn text(self) -> String {
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let kind = if self.form == Form::AccessToken { "at+jwt" } else { "JWT" };
        let header = part(json!({ "alg": "EdDSA", "kid": self.key, "typ": kind }));
        let Self { issuer, audience, team, scope, form, .. } = self;
        let expires = if form == Form::Late { NOW - 40 } else { NOW + 60 };
        let claims =
            json!({ "iss": issuer, "aud": audience, "sub": "bob", "exp": expires, "team": team, "scope": scope });
        format!("{header}.{}.{}", part(claims), URL_SAFE_NO_PAD.encode(self.key))
    }
}

/// Whoever knows the name of a key can sign.
struct Names;

impl SignatureVerifier for Names {
    fn verify(&self, key: &PublicKey, _: Algorithm, _: &[u8], signature: &[u8]) -> bool {
        key.id.as_ref().is_some_and(|id| id.as_bytes() == signature)
    }

    fn cost(&self, _: &PublicKey, _: Algorithm) -> Cost {
        Cost(0)
    }
}

/// What a policy is attached to, from the least to the most specific.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    Gateway(usize),
    Listener(usize, usize),
    Backend(usize),
    Route(usize),
    Rule(usize, usize),
}

#[derive(Clone, Debug)]
struct Issuer {
    name: &'static str,
    key: &'static str,
    audiences: Vec<&'static str>,
    clock_skew: &'static str,
    access_tokens: bool,
}

#[derive(Clone, Debug)]
enum Asked {
    Token {
        issuers: Vec<Issuer>,
        /// Whether the scope `use` holds `admin`.
        implies: bool,
    },
    Passthrough,
}

#[derive(Clone, Debug)]
struct Rule {
    tools: Vec<&'static str>,
    team: Option<&'static str>,
    scope: Option<&'static str>,
}

#[derive(Clone, Debug)]
struct Policy {
    name: String,
    target: Target,
    authentication: Option<(Asked, bool)>,
    /// Whether it opens on purpose what nobody protects.
    opens: bool,
    /// Whether it is a dry run, and its rules.
    gate: Option<(bool, Vec<Rule>)>,
}

/// A way by Gateway, listener, route, rule and servers; a server is an MCPBackend by number, or a Service.
#[derive(Clone, Debug)]
struct Way {
    targets: BTreeSet<Target>,
    servers: BTreeSet<Option<usize>>,
}

/// A route with the Gateways that are its parents, and the servers of each of its rules.
#[derive(Clone, Debug)]
struct Route {
    parents: Vec<usize>,
    rules: Vec<Vec<Option<usize>>>,
}

#[derive(Clone, Debug, Default)]
struct World {
    /// How many listeners each Gateway has.
    gateways: Vec<usize>,
    routes: Vec<Route>,
    backends: usize,
    policies: Vec<Policy>,
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let random = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(random).unwrap() % bound
    }

    fn of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())].clone()
    }

    fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }
}

impl World {
    fn random(random: &mut Random) -> Self {
        let gateways: Vec<usize> = (0..=random.below(2)).map(|_| 1 + random.below(2)).collect();
        let backends = 2;
        let servers = [Some(0), Some(0), Some(1), Some(1), None];
        let mut routes = Vec::new();
        for _ in 0..=random.below(3) {
            let mut parents: Vec<usize> = (0..gateways.len()).filter(|_| !random.one_in(3)).collect();
            if parents.is_empty() {
                parents.push(0);
            }
            let mut rules = Vec::new();
            for _ in 0..=random.below(2) {
                let count = 1 + usize::from(random.one_in(3));
                rules.push((0..count).map(|_| random.of(&servers)).collect());
            }
            routes.push(Route { parents, rules });
        }
        let mut world = Self { gateways, routes, backends, policies: Vec::new() };
        for index in 0..=1 + random.below(4) {
            let policy = world.random_policy(index, random);
            world.policies.push(policy);
        }
        world
    }

    fn random_policy(&self, index: usize, random: &mut Random) -> Policy {
        let target = match random.below(6) {
            0 | 1 => Target::Gateway(random.below(self.gateways.len())),
            2 => {
                let gateway = random.below(self.gateways.len());
                Target::Listener(gateway, random.below(self.gateways[gateway]))
            }
            3 => Target::Backend(random.below(self.backends)),
            4 => Target::Route(random.below(self.routes.len())),
            _ => {
                let route = random.below(self.routes.len());
                Target::Rule(route, random.below(self.routes[route].rules.len()))
            }
        };
        let audiences = [vec!["x"], vec!["x"], vec!["x", "y"], vec!["y"]];
        let issuer = |name, key, random: &mut Random| Issuer {
            name,
            key,
            audiences: random.of(&audiences),
            clock_skew: random.of(&["30s", "30s", "60s"]),
            access_tokens: random.one_in(6),
        };
        let issuers = |random: &mut Random| {
            let key = random.of(&["a", "a", "a", "evil"]);
            let mut issuers = vec![issuer("a", key, random)];
            match random.below(4) {
                0 => issuers.push(issuer("b", "b", random)),
                1 => issuers = vec![issuer("b", "b", random)],
                _ => {}
            }
            Asked::Token { issuers, implies: random.one_in(4) }
        };
        let authentication = match random.below(8) {
            0..=3 => Some((issuers(random), random.one_in(5))),
            4 | 5 => Some((Asked::Passthrough, random.one_in(5))),
            _ => None,
        };
        let rule = |random: &mut Random| Rule {
            tools: random.of(&[vec!["add"], vec!["add", "delete"], vec!["*"], vec!["delete"]]),
            team: random.of(&[None, None, Some("ops"), Some("dev")]),
            scope: random.of(&[None, None, Some("use"), Some("admin")]),
        };
        let opens = authentication.is_none() && random.one_in(4);
        let has_gate = (authentication.is_none() && !opens) || random.one_in(2);
        let gate = has_gate.then(|| (random.one_in(5), (0..=random.below(2)).map(|_| rule(random)).collect()));
        Policy { name: format!("p{index}"), target, authentication, opens, gate }
    }

    /// All ways by the Gateway's port and the name of the route in the model.
    fn ways(&self) -> BTreeMap<(usize, u16, String), Way> {
        let mut ways = BTreeMap::new();
        for (route, Route { parents, rules }) in self.routes.iter().enumerate() {
            for (rule, servers) in rules.iter().enumerate() {
                for &gateway in parents {
                    for (listener, port) in PORTS.into_iter().enumerate().take(self.gateways[gateway]) {
                        let servers: BTreeSet<_> = servers.iter().copied().collect();
                        let backends = servers.iter().flatten().map(|backend| Target::Backend(*backend));
                        let others = [
                            Target::Gateway(gateway),
                            Target::Listener(gateway, listener),
                            Target::Route(route),
                            Target::Rule(route, rule),
                        ];
                        let targets = others.into_iter().chain(backends).collect();
                        ways.insert((gateway, port, format!("apps/r{route}/{rule}/0")), Way { targets, servers });
                    }
                }
            }
        }
        ways
    }

    fn documents(&self) -> Vec<Value> {
        let named = |kind: &str, name: String| json!({ "apiVersion": "gateway.networking.k8s.io/v1", "kind": kind, "metadata": { "name": name, "namespace": "apps" } });
        let with = |mut object: Value, spec: Value| {
            object["spec"] = spec;
            object
        };
        let class = with(
            named("GatewayClass", "toolward".to_owned()),
            json!({ "controllerName": "toolward.dev/gateway-controller" }),
        );
        let mut documents = vec![class];
        documents
            .push(json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "web", "namespace": "apps" },
            "spec": { "ports": [{ "port": 80 }] } }));
        for (index, listeners) in self.gateways.iter().enumerate() {
            let listeners: Vec<Value> = (0..*listeners)
                .map(|one| json!({ "name": format!("l{one}"), "port": PORTS[one], "protocol": "HTTP" }))
                .collect();
            let spec = json!({ "gatewayClassName": "toolward", "listeners": listeners });
            documents.push(with(named("Gateway", format!("g{index}")), spec));
        }
        for (index, Route { parents, rules }) in self.routes.iter().enumerate() {
            let parents: Vec<Value> = parents.iter().map(|one| json!({ "name": format!("g{one}") })).collect();
            let server = |server: &Option<usize>| match server {
                Some(backend) => {
                    json!({ "group": "toolward.dev", "kind": "MCPBackend", "name": format!("b{backend}") })
                }
                None => json!({ "name": "web", "port": 80 }),
            };
            let rule = |(rule, servers): (usize, &Vec<Option<usize>>)| {
                json!({
                    "name": format!("rule{rule}"),
                    "matches": [{ "path": { "value": format!("/r{index}/{rule}") } }],
                    "backendRefs": servers.iter().map(server).collect::<Vec<_>>(),
                })
            };
            let rules: Vec<Value> = rules.iter().enumerate().map(rule).collect();
            documents
                .push(with(named("HTTPRoute", format!("r{index}")), json!({ "parentRefs": parents, "rules": rules })));
        }
        for backend in 0..self.backends {
            let spec = json!({ "targets": [{ "name": "t", "static": { "host": format!("b{backend}.example.com"), "port": 80 } }] });
            let mut document = with(named("MCPBackend", format!("b{backend}")), spec);
            document["apiVersion"] = "toolward.dev/v1alpha1".into();
            documents.push(document);
        }
        documents.extend(self.policies.iter().map(Policy::document));
        documents
    }
}

impl Policy {
    fn document(&self) -> Value {
        let reference = |group: &str, kind: &str, name: String| json!({ "group": group, "kind": kind, "name": name });
        let target = match self.target {
            Target::Gateway(gateway) => reference(GATEWAY_API, "Gateway", format!("g{gateway}")),
            Target::Listener(gateway, listener) => {
                let mut target = reference(GATEWAY_API, "Gateway", format!("g{gateway}"));
                target["sectionName"] = format!("l{listener}").into();
                target
            }
            Target::Route(route) => reference(GATEWAY_API, "HTTPRoute", format!("r{route}")),
            Target::Rule(route, rule) => {
                let mut target = reference(GATEWAY_API, "HTTPRoute", format!("r{route}"));
                target["sectionName"] = format!("rule{rule}").into();
                target
            }
            Target::Backend(backend) => reference("toolward.dev", "MCPBackend", format!("b{backend}")),
        };
        let mut spec = json!({ "targetRefs": [target] });
        if let Some((asked, allows)) = &self.authentication {
            let mut section = match asked {
                Asked::Passthrough => json!({ "passthrough": {} }),
                Asked::Token { issuers, implies } => {
                    let issuer = |Issuer { name, key, audiences, clock_skew, access_tokens }: &Issuer| {
                        let keys = json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": key,
                            "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" }] });
                        let kind = if *access_tokens { "AccessToken" } else { "Jwt" };
                        json!({ "issuer": name, "audiences": audiences, "clockSkew": clock_skew, "tokenType": kind,
                            "jwks": { "inline": keys.to_string() } })
                    };
                    let mut section = json!({ "issuers": issuers.iter().map(issuer).collect::<Vec<_>>() });
                    if *implies {
                        section["scopeImplies"] = json!([{ "scope": "use", "implies": ["admin"] }]);
                    }
                    section
                }
            };
            if *allows {
                section["override"] = "Allow".into();
            }
            spec["authentication"] = section;
        }
        if self.opens {
            spec["authentication"] = json!({ "anonymous": {} });
        }
        if let Some((is_dry_run, rules)) = &self.gate {
            let rule = |(index, Rule { tools, team, scope }): (usize, &Rule)| {
                let mut rule = json!({ "name": format!("r{index}"), "tools": tools });
                if let Some(team) = team {
                    rule["claims"] = json!([{ "path": "team", "in": [team] }]);
                }
                if let Some(scope) = scope {
                    rule["scopes"] = json!([scope]);
                }
                rule
            };
            let mode = if *is_dry_run { "DryRun" } else { "Enforce" };
            spec["authorization"] =
                json!({ "mode": mode, "rules": rules.iter().enumerate().map(rule).collect::<Vec<_>>() });
        }
        json!({ "apiVersion": "toolward.dev/v1alpha1", "kind": "MCPAccessPolicy",
            "metadata": { "name": self.name, "namespace": "apps" }, "spec": spec })
    }

    fn admits(asked: &Asked, token: Option<Token>) -> bool {
        match (asked, token) {
            (Asked::Passthrough, _) => true,
            (Asked::Token { .. }, None) => false,
            (Asked::Token { issuers, .. }, Some(token)) => issuers.iter().any(|issuer| {
                issuer.name == token.issuer
                    && issuer.key == token.key
                    && issuer.audiences.contains(&token.audience)
                    && (token.form != Form::Late || issuer.clock_skew == "60s")
                    && (token.form == Form::AccessToken || !issuer.access_tokens)
            }),
        }
    }
}

/// Whether each policy on a way lets a call pass by itself.
fn may_pass(way: &Way, policies: &[Policy], caller: Option<Token>, tool: &str) -> bool {
    let mut on_way: Vec<&Policy> = policies.iter().filter(|policy| way.targets.contains(&policy.target)).collect();
    on_way.sort_by(|one, other| one.target.cmp(&other.target));
    let section = |policy: &&Policy| policy.authentication.is_some();
    let applying = on_way.iter().copied().rfind(section).and_then(|policy| policy.authentication.as_ref());
    let known = caller.filter(|_| matches!(applying, Some((Asked::Token { .. }, _))));
    let level = |policy: &Policy| match policy.target {
        Target::Gateway(_) => 0_usize,
        Target::Listener(..) => 1,
        Target::Backend(_) => 2,
        Target::Route(_) => 3,
        Target::Rule(..) => 4,
    };
    let innermost = on_way.iter().copied().filter(section).map(level).max();
    on_way.iter().copied().all(|policy| {
        let is_replaced = |allows: bool| allows && innermost.is_some_and(|innermost| level(policy) < innermost);
        let admits = policy
            .authentication
            .as_ref()
            .is_none_or(|(asked, allows)| is_replaced(*allows) || Policy::admits(asked, caller));
        // By each section that is not replaced.
        let has = |scope: &str| {
            known.is_some_and(|token| {
                let sections = on_way.iter().filter_map(|other| Some((level(other), other.authentication.as_ref()?)));
                let mut held = sections
                    .filter(|(at, (_, allows))| !(*allows && innermost.is_some_and(|innermost| *at < innermost)));
                held.all(|(_, (asked, _))| match asked {
                    Asked::Token { implies, .. } => {
                        token.scope == scope || (*implies && token.scope == "use" && scope == "admin")
                    }
                    Asked::Passthrough => true,
                })
            })
        };
        // A section tells the rules who calls that is as general as they are and accepts the caller, with the scope that is asked
        // for; or one of the same owner leaves it to more specific ones.
        let is_told = |scope: Option<&str>| {
            // Policies for one object are in one hand.
            let owner = |policy: &Policy| [0, 0, 1, 2, 2][level(policy)];
            let is_own =
                |other: &Policy| owner(other) == owner(policy) && (owner(policy) != 1 || other.target == policy.target);
            on_way.iter().any(|other| {
                let Some((asked, allows)) = &other.authentication else { return false };
                let holds = |implies: bool| {
                    scope.is_none_or(|scope| {
                        known.is_some_and(|token| {
                            token.scope == scope || (implies && token.scope == "use" && scope == "admin")
                        })
                    })
                };
                let tells = match asked {
                    Asked::Token { implies, .. } => Policy::admits(asked, caller) && holds(*implies),
                    Asked::Passthrough => false,
                };
                (is_own(other) && *allows) || ((is_own(other) || owner(other) < owner(policy)) && tells)
            })
        };
        let grants = policy.gate.as_ref().is_none_or(|(is_dry_run, rules)| {
            *is_dry_run
                || rules.iter().any(|rule| {
                    let names = rule.tools.iter().any(|one| *one == "*" || *one == tool);
                    let of_team = rule.team.is_none_or(|team| known.is_some_and(|token| token.team == team));
                    let has_scope = rule.scope.is_none_or(has);
                    let judges = rule.team.is_some() || rule.scope.is_some();
                    names && of_team && has_scope && (!judges || is_told(rule.scope))
                })
        });
        admits && grants
    })
}

/// A call by way, caller and tool, each by what tells it apart.
type CallName = ((usize, u16, String), usize, &'static str);

/// What a world does.
#[derive(Default)]
struct Outcome {
    passing: BTreeSet<CallName>,
    reasons: BTreeSet<String>,
}

fn outcome(documents: &[Value]) -> Outcome {
    let text: Vec<String> = documents.iter().map(Value::to_string).collect();
    let resources = super::resources("world", &text.join("\n---\n"));
    let translation = translate(&resources, &TranslateOptions::default());
    let mut outcome = Outcome::default();
    outcome.reasons.extend(translation.problems.iter().map(|problem| problem.reason.clone()));
    for (gateway, model) in &translation.model.gateways {
        let gateway: usize = gateway.0.trim_start_matches("apps/g").parse().unwrap();
        for (port, listener) in &model.listeners {
            let table = PolicyTable::new(&listener.filter).unwrap();
            let routes = listener
                .routes()
                .flat_map(|(_, hosts)| hosts)
                .flat_map(|host| host.routes.iter().map(move |route| (host, route)));
            let ways = routes.filter(|(_, route)| matches!(route.action, RouteAction::Forward(_)));
            for (host, route) in
                ways.filter(|(_, route)| !route.name.ends_with("/metadata") && !route.name.ends_with("/root"))
            {
                let key = RouteKey {
                    policy: &route.policy,
                    origin: host.origin_of(route),
                    servers: None,
                    route: None,
                    choice: None,
                }
                .to_string();
                let key = key_of_request(key.as_bytes(), b"mcp.example.com");
                for (index, caller) in CALLERS.into_iter().enumerate() {
                    for tool in TOOLS {
                        if passes(&table, &key, caller, tool) {
                            outcome.passing.insert(((gateway, *port, route.name.clone()), index, tool));
                        }
                    }
                }
            }
        }
    }
    outcome
}

fn passes(table: &PolicyTable, key: &[u8], caller: Option<Token>, tool: &str) -> bool {
    let mut headers: Vec<(String, Vec<u8>)> = [
        (":method", "POST"),
        (":path", "/mcp"),
        (":authority", "mcp.example.com"),
        (":scheme", "http"),
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
    ]
    .map(|(name, value)| (name.to_owned(), value.into()))
    .into();
    headers.extend(caller.map(|token| ("authorization".to_owned(), format!("Bearer {}", token.text()).into_bytes())));
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": tool } }).to_string();
    let mut cache = TokenCache::new(NonZeroUsize::MIN);
    let budget = &mut Budget::default();
    budget.set(table.limits.signature_millis, 1);
    let mut verification = Verification { verifier: &Names, cache: &mut cache, now: NOW, budget, millis: 0 };
    let (mut exchange, step) =
        Exchange::request_headers(table, Some(key), &Headers(&headers), false, &mut verification);
    match step {
        RequestStep::Answer(_) => false,
        RequestStep::Continue(_) => true,
        RequestStep::AwaitBody(_) => exchange.request_body(body.as_bytes()).is_ok(),
    }
}

/// What is done to a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Edit {
    UnknownField,
    WrongType,
    NoKeys,
    BadExpression,
    RuleWithoutName,
    NoSuchSection,
    NoSuchName,
    NoSuchKind,
    NullSection,
    Remove,
}

const ALL_EDITS: [Edit; 10] = [
    Edit::UnknownField,
    Edit::WrongType,
    Edit::NoKeys,
    Edit::BadExpression,
    Edit::RuleWithoutName,
    Edit::NoSuchSection,
    Edit::NoSuchName,
    Edit::NoSuchKind,
    Edit::NullSection,
    Edit::Remove,
];

impl Edit {
    /// Whether the policy is there no more, or nowhere.
    fn takes_away(self) -> bool {
        matches!(self, Self::NoSuchName | Self::NoSuchKind | Self::Remove)
    }

    /// Edits the document; none: that can't be done to it.
    fn apply(self, mut document: Value) -> Option<Option<Value>> {
        let spec = &mut document["spec"];
        match self {
            Self::UnknownField => spec["authorisation"] = json!({}),
            Self::WrongType => spec["authorization"] = json!([]),
            Self::NoKeys => {
                *spec.pointer_mut("/authentication/issuers/0/jwks")? = json!({ "inline": "{\"keys\":[]}" });
            }
            Self::BadExpression => spec.pointer_mut("/authorization/rules/0")?["when"] = "jwt.team ==".into(),
            Self::RuleWithoutName => spec.pointer_mut("/authorization/rules/0")?["name"] = "".into(),
            Self::NoSuchSection => {
                let target = &mut spec["targetRefs"][0];
                target["sectionName"] = "elsewhere".into();
            }
            Self::NoSuchName => spec["targetRefs"][0]["name"] = "elsewhere".into(),
            Self::NoSuchKind => {
                let kind = spec["targetRefs"][0]["kind"].as_str()?.to_lowercase();
                spec["targetRefs"][0]["kind"] = kind.into();
            }
            Self::NullSection => {
                let name = ["authentication", "authorization"].into_iter().find(|name| spec.get(*name).is_some())?;
                spec[name] = Value::Null;
            }
            Self::Remove => return Some(None),
        }
        Some(Some(document))
    }
}

/// What becomes of a way to a Service alone for which no policy decides.
#[derive(Clone, Copy, PartialEq, Eq)]
enum NobodyElse {
    Opens,
    /// A policy is lost that may have been meant for it.
    Closes,
}

/// Property 1.
fn each_policy_lets_pass(world: &World, policies: &[Policy], nobody_else: NobodyElse, outcome: &Outcome, what: &str) {
    let ways = world.ways();
    for (way, caller, tool) in &outcome.passing {
        let found = &ways[way];
        let token = CALLERS[*caller];
        assert!(
            may_pass(found, policies, token, tool),
            "{what}: {tool} passes for {token:?} on {way:?}\n{policies:#?}"
        );
        let decides = |policy: &Policy| {
            let enforces = policy.gate.as_ref().is_some_and(|(is_dry_run, _)| !is_dry_run);
            found.targets.contains(&policy.target) && (policy.authentication.is_some() || policy.opens || enforces)
        };
        if nobody_else == NobodyElse::Closes || found.servers.iter().any(Option::is_some) {
            assert!(policies.iter().any(decides), "{what}: nobody protects or opens {way:?}");
        }
        let goes_through = |policy: &&Policy| matches!(policy.authentication, Some((Asked::Passthrough, _)));
        let last =
            policies.iter().filter(|policy| found.targets.contains(&policy.target) && policy.authentication.is_some());
        let applying = last.max_by(|one, other| one.target.cmp(&other.target));
        let shared = found.servers.len() > 1 && applying.as_ref().is_some_and(goes_through);
        assert!(!shared, "{what}: a token goes through to several servers on {way:?}");
    }
}

#[test]
fn no_edit_of_one_policy_lets_a_call_pass_that_the_world_denied() {
    let (mut passing, mut closed, mut lost) = (0, BTreeMap::<String, usize>::new(), BTreeMap::<Edit, usize>::new());
    for seed in 0..WORLDS {
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        let world = World::random(&mut random);
        let documents = world.documents();
        let whole = outcome(&documents);
        each_policy_lets_pass(&world, &world.policies, NobodyElse::Opens, &whole, &format!("world {seed}"));
        passing += whole.passing.len();
        for reason in &whole.reasons {
            *closed.entry(reason.clone()).or_default() += 1;
        }
        let first = documents.len() - world.policies.len();
        for _ in 0..EDITS {
            let (index, edit) = (random.below(world.policies.len()), random.of(&ALL_EDITS));
            let Some(edited) = edit.apply(documents[first + index].clone()) else { continue };
            let what = format!("world {seed}, {edit:?} of p{index}");
            let mut documents = documents.clone();
            match edited {
                Some(document) => documents[first + index] = document,
                None => drop(documents.remove(first + index)),
            }
            let after = outcome(&documents);
            if edit.takes_away() {
                let mut left = world.policies.clone();
                left.remove(index);
                let nobody_else = if edit == Edit::Remove { NobodyElse::Opens } else { NobodyElse::Closes };
                each_policy_lets_pass(&world, &left, nobody_else, &after, &what);
            } else {
                let new: Vec<_> = after.passing.difference(&whole.passing).collect();
                assert!(new.is_empty(), "{what}: {new:?} pass now\n{:#?}", world.policies);
                *lost.entry(edit).or_default() += usize::from(after.passing != whole.passing);
            }
        }
    }
    // The worlds are such that the properties say something.
    assert!(passing > 500, "only {passing} calls pass");
    for reason in [NOT_NARROWER, TOO_SPECIFIC, "Conflicted", "PassthroughToSeveralServers"] {
        assert!(closed.get(reason).is_some_and(|worlds| *worlds >= 2), "{reason} in few worlds: {closed:?}");
    }
    for edit in ALL_EDITS.into_iter().filter(|edit| !edit.takes_away()) {
        assert!(lost.get(&edit).is_some_and(|worlds| *worlds >= 2), "{edit:?} changes little: {lost:?}");
    }
}
