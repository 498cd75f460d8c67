//! A [`FilterConfig`] checked and indexed: the form in which the filter asks it.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::binding::{BadKey, Binder};
use crate::claims::Caller;
use crate::condition::Condition;
use crate::config::{
    AccessLog, Algorithm, Audience, Authentication, Denial, FilterConfig, Gate as GateConfig, Issuer, Key, KeySet,
    Limits, Mode, ProtectedResource, Protocol, RoutePolicy as RoutePolicyConfig, Rule as RuleConfig, SessionBinding,
    StepUp, TokenType, VERSION,
};
use crate::expression::{Expression, Fit, Scope};
use crate::glob::Glob;
use crate::jwt::TokenFault;
use crate::jwt::key::{KeyFault, PublicKey};
use crate::jwt::token::Type;
use crate::mcp::message::Request;

/// Largest clock skew, in seconds.
const MAX_CLOCK_SKEW: u32 = 60;

/// All policies of one listener.
#[derive(Debug)]
pub struct PolicyTable {
    /// Bounds on memory.
    pub limits: Limits,
    /// Whether anybody reads what is remembered of exchanges.
    pub access_log: AccessLog,
    /// Binds sessions and tasks to callers.
    pub(crate) binder: Rc<Binder>,
    policies: HashMap<String, Rc<RoutePolicy>>,
}

/// Why a configuration is refused, as a whole.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {fault}")]
pub struct ConfigError {
    /// Where in the JSON.
    pub path: String,
    /// What is wrong there.
    pub fault: ConfigFault,
}

/// What is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the texts say it")]
pub enum ConfigFault {
    #[error("not a configuration that this filter understands: {0}")]
    Json(serde_json::Error),
    #[error("version {0} is not understood; this filter reads version {VERSION}")]
    Version(u32),
    #[error("a limit must not be zero")]
    ZeroLimit,
    #[error("a key for binding is 32 bytes in base64url without padding")]
    BindingKey,
    #[error("a policy binds sessions to callers, for which a key is needed; `sessionBinding: None` does without")]
    NoBindingKeys,
    #[error("no key set has the name {0:?}")]
    NoSuchKeySet(String),
    #[error("a key set needs at least one key")]
    NoKeys,
    #[error(transparent)]
    Key(KeyFault),
    #[error("at least one issuer is needed")]
    NoIssuers,
    #[error("at least one audience is needed")]
    NoAudiences,
    #[error("the issuer {0:?} stands twice")]
    IssuerTwice(String),
    #[error("the issuer must not be empty")]
    EmptyIssuer,
    #[error("a clock skew of {0} s is too much; at most {MAX_CLOCK_SKEW} s are accepted")]
    ClockSkew(u32),
    #[error("the rule name {0:?} stands twice")]
    RuleTwice(String),
    #[error("a rule needs a name")]
    RuleWithoutName,
    #[error("a condition needs a path and something to compare with")]
    EmptyCondition,
    #[error("only tools and prompts have arguments; give resources and methods a rule without them")]
    ArgumentsOfOthers,
}

impl PolicyTable {
    /// Reads a configuration from JSON.
    ///
    /// # Errors
    /// When any part of it is not understood; nothing of it is used then.
    pub fn parse(json: &[u8]) -> Result<Self, ConfigError> {
        let config: FilterConfig = serde_json::from_slice(json).map_err(|error| at("$", ConfigFault::Json(error)))?;
        Self::new(&config)
    }

    /// Checks and indexes a configuration.
    ///
    /// # Errors
    /// When any part of it does not hold.
    pub fn new(config: &FilterConfig) -> Result<Self, ConfigError> {
        if config.version != VERSION {
            return Err(at("version", ConfigFault::Version(config.version)));
        }
        check_limits(&config.limits)?;
        let key_sets: BTreeMap<&str, Keys> = config
            .key_sets
            .iter()
            .map(|(name, set)| Ok((name.as_str(), Keys::new(name, set)?)))
            .collect::<Result<_, ConfigError>>()?;
        let policies: HashMap<String, Rc<RoutePolicy>> = config
            .policies
            .iter()
            .map(|(key, policy)| {
                let policy =
                    RoutePolicy::new(policy, &key_sets).map_err(|error| error.within(&format!("policies.{key}")))?;
                Ok((key.clone(), Rc::new(policy)))
            })
            .collect::<Result<_, ConfigError>>()?;
        let binder = Binder::new(&config.binding_keys).map_err(|BadKey| at("bindingKeys", ConfigFault::BindingKey))?;
        if !binder.has_keys() && policies.values().any(|policy| policy.binds_to_callers()) {
            return Err(at("bindingKeys", ConfigFault::NoBindingKeys));
        }
        Ok(Self { limits: config.limits.clone(), access_log: config.access_log, binder: Rc::new(binder), policies })
    }

    /// The policy with this key.
    #[must_use]
    pub fn policy(&self, key: &str) -> Option<Rc<RoutePolicy>> {
        self.policies.get(key).map(Rc::clone)
    }
}

fn check_limits(limits: &Limits) -> Result<(), ConfigError> {
    let all = [
        limits.request_body_bytes,
        limits.list_response_bytes,
        limits.sse_event_bytes,
        limits.token_bytes,
        limits.token_cache_entries,
    ];
    if all.contains(&0) { Err(at("limits", ConfigFault::ZeroLimit)) } else { Ok(()) }
}

fn at(path: &str, fault: ConfigFault) -> ConfigError {
    ConfigError { path: path.to_owned(), fault }
}

impl ConfigError {
    fn within(mut self, outer: &str) -> Self {
        self.path = format!("{outer}.{}", self.path);
        self
    }
}

/// What a route's policy key stands for.
#[derive(Debug)]
pub enum RoutePolicy {
    /// Requests and answers pass untouched.
    Open,
    /// Every request is answered 503.
    Closed {
        /// A word in CamelCase.
        reason: String,
    },
    /// Requests pass untouched; the server may ask for tokens of its own.
    Remote,
    /// The metadata of an issuer.
    IssuerMetadata {
        /// JSON.
        document: String,
    },
    /// Which client whoever would register is to be.
    Registration {
        /// JSON.
        document: String,
    },
    /// The metadata of a server with an authorization server of its own.
    RemoteMetadata {
        /// How clients reach the gateway; none: as each request says.
        public_url: Option<String>,
        /// Path of the endpoint; none: it is the rest of the request's own.
        path: Option<String>,
        /// Scheme, host and port of the server.
        server: Option<String>,
    },
    /// Says of an endpoint who issues tokens for it.
    Metadata {
        /// What is said.
        resource: ProtectedResource,
        /// Path of the endpoint; none: it is the rest of the request's own.
        path: Option<String>,
    },
    /// Callers are verified and every gate must let the call pass.
    Protected(Protection),
}

/// Who may come in, and what they may do.
#[derive(Debug)]
pub struct Protection {
    /// Who may come in.
    pub authentication: CallerAuthentication,
    /// Each must let a call pass; none: every caller may call everything.
    pub gates: Vec<Gate>,
    /// How the protocol is spoken.
    pub protocol: Protocol,
}

/// Who may come in.
#[derive(Debug)]
pub enum CallerAuthentication {
    /// Anybody.
    Anonymous,
    /// Anybody, with a token for the server or without.
    Passthrough {
        /// How clients reach the gateway; none: as each request says.
        public_url: Option<String>,
    },
    /// Whoever has a token.
    Jwt(Box<JwtAuthentication>),
}

impl RoutePolicy {
    /// Whether sessions and tasks belong to the callers that opened them, which takes callers that can be told apart.
    #[must_use]
    pub fn binds_to_callers(&self) -> bool {
        matches!(self, Self::Protected(Protection { authentication: CallerAuthentication::Jwt(_), protocol, .. })
            if protocol.session_binding == SessionBinding::Subject)
    }

    fn new(config: &RoutePolicyConfig, key_sets: &BTreeMap<&str, Keys>) -> Result<Self, ConfigError> {
        match config {
            RoutePolicyConfig::Open {} => Ok(Self::Open),
            RoutePolicyConfig::Closed { reason, .. } => Ok(Self::Closed { reason: reason.clone() }),
            RoutePolicyConfig::Remote {} => Ok(Self::Remote),
            RoutePolicyConfig::IssuerMetadata { document } => Ok(Self::IssuerMetadata { document: document.clone() }),
            RoutePolicyConfig::Registration { document } => Ok(Self::Registration { document: document.clone() }),
            RoutePolicyConfig::RemoteMetadata { public_url, path, server } => {
                Ok(Self::RemoteMetadata { public_url: public_url.clone(), path: path.clone(), server: server.clone() })
            }
            RoutePolicyConfig::Metadata { resource, path } => {
                Ok(Self::Metadata { resource: resource.clone(), path: path.clone() })
            }
            RoutePolicyConfig::Protected { authentication, gates, protocol } => {
                let authentication = match authentication {
                    Authentication::Anonymous {} => CallerAuthentication::Anonymous,
                    Authentication::Passthrough { public_url } => {
                        CallerAuthentication::Passthrough { public_url: public_url.clone() }
                    }
                    Authentication::Jwt { policy, issuers, resource, scope_implies } => {
                        let authentication = JwtAuthentication::new(policy, issuers, scope_implies, key_sets)
                            .map_err(|error| error.within("protected.authentication"))?;
                        CallerAuthentication::Jwt(Box::new(JwtAuthentication {
                            resource: resource.clone(),
                            ..authentication
                        }))
                    }
                };
                let gates = gates
                    .iter()
                    .enumerate()
                    .map(|(index, gate)| {
                        Gate::new(gate).map_err(|error| error.within(&format!("protected.gates[{index}]")))
                    })
                    .collect::<Result<_, _>>()?;
                Ok(Self::Protected(Protection { authentication, gates, protocol: protocol.clone() }))
            }
        }
    }
}

/// Whose tokens are accepted.
#[derive(Debug)]
pub struct JwtAuthentication {
    /// Name of the policy that asks for them.
    pub policy: String,
    /// Hash of everything that decides whether a token is accepted.
    pub content: [u8; 32],
    /// What clients are told that have no token yet.
    pub resource: Option<ProtectedResource>,
    issuers: Vec<AcceptedIssuer>,
    scope_implies: BTreeMap<String, Vec<String>>,
}

impl JwtAuthentication {
    fn new(
        policy: &str,
        issuers: &[Issuer],
        scope_implies: &BTreeMap<String, Vec<String>>,
        key_sets: &BTreeMap<&str, Keys>,
    ) -> Result<Self, ConfigError> {
        if issuers.is_empty() {
            return Err(at("issuers", ConfigFault::NoIssuers));
        }
        let mut accepted: Vec<AcceptedIssuer> = Vec::new();
        let implied =
            serde_json::to_vec(scope_implies).map_err(|error| at("scopeImplies", ConfigFault::Json(error)))?;
        let mut content = Sha256::new_with_prefix((implied.len() as u64).to_be_bytes()).chain_update(implied);
        for (index, issuer) in issuers.iter().enumerate() {
            let path = format!("issuers[{index}]");
            if issuer.issuer.is_empty() {
                return Err(at(&path, ConfigFault::EmptyIssuer));
            }
            if accepted.iter().any(|other| other.config.issuer == issuer.issuer) {
                return Err(at(&path, ConfigFault::IssuerTwice(issuer.issuer.clone())));
            }
            if matches!(&issuer.audience, Audience::OneOf(audiences) if audiences.is_empty()) {
                return Err(at(&path, ConfigFault::NoAudiences));
            }
            if issuer.clock_skew_seconds > MAX_CLOCK_SKEW {
                return Err(at(&path, ConfigFault::ClockSkew(issuer.clock_skew_seconds)));
            }
            let keys = key_sets
                .get(issuer.key_set.as_str())
                .ok_or_else(|| at(&path, ConfigFault::NoSuchKeySet(issuer.key_set.clone())))?;
            // INVARIANT: two sections with equal content accept the same tokens; key sets count by content, not by name.
            let unnamed = Issuer { key_set: String::new(), ..issuer.clone() };
            let canonical = serde_json::to_vec(&unnamed).map_err(|error| at(&path, ConfigFault::Json(error)))?;
            content.update((canonical.len() as u64).to_be_bytes());
            content.update(canonical);
            content.update(keys.content);
            let (keys, place) = (Rc::clone(&keys.keys), keys.place.clone());
            accepted.push(AcceptedIssuer { config: issuer.clone(), keys, place });
        }
        Ok(Self {
            policy: policy.to_owned(),
            content: content.finalize().into(),
            resource: None,
            issuers: accepted,
            scope_implies: scope_implies.clone(),
        })
    }

    /// Scopes that hold others.
    #[must_use]
    pub fn scope_implies(&self) -> &BTreeMap<String, Vec<String>> {
        &self.scope_implies
    }

    /// Whether a verified caller's token must be for the endpoint that is asked.
    #[must_use]
    pub fn is_for_endpoint(&self, caller: &Caller) -> bool {
        let issuer = self.issuers.iter().find(|issuer| issuer.config.issuer == caller.issuer);
        issuer.is_none_or(|issuer| issuer.config.audience == Audience::Resource {})
    }

    /// The issuer that these claims name, if it is accepted.
    #[must_use]
    pub fn issuer(&self, claims: &Map<String, Value>) -> Option<&AcceptedIssuer> {
        let name = claims.get("iss")?.as_str()?;
        self.issuers.iter().find(|issuer| issuer.config.issuer == name)
    }
}

/// An issuer with its keys.
#[derive(Debug)]
pub struct AcceptedIssuer {
    config: Issuer,
    keys: Rc<[PublicKey]>,
    place: Option<String>,
}

impl AcceptedIssuer {
    /// For whom tokens must be.
    #[must_use]
    pub fn audience(&self) -> &Audience {
        &self.config.audience
    }

    /// Allowed difference of clocks, in seconds.
    #[must_use]
    pub fn clock_skew(&self) -> u32 {
        self.config.clock_skew_seconds
    }

    /// Whether tokens of this type are accepted.
    #[must_use]
    pub fn token_type_allowed(&self, token_type: Type) -> bool {
        self.config.token_type == TokenType::Jwt || token_type == Type::AccessToken
    }

    /// The id of the place where its keys are fetched.
    #[must_use]
    pub fn place(&self) -> Option<&str> {
        self.place.as_deref()
    }

    /// Whether there is a key with this `kid`.
    #[must_use]
    pub fn has_key(&self, id: &str) -> bool {
        self.keys.iter().any(|key| key.id.as_deref() == Some(id))
    }

    /// The key that must have signed a token with this `kid` and `alg`. A key with an id is for tokens that name it; a
    /// token that names none is for the issuer's only fitting key.
    ///
    /// # Errors
    /// When there is no such key, or the algorithm is not one that the issuer and the key allow.
    pub fn key(&self, id: Option<&str>, algorithm: Algorithm) -> Result<&PublicKey, TokenFault> {
        if !self.config.algorithms.is_empty() && !self.config.algorithms.contains(&algorithm) {
            return Err(TokenFault::AlgorithmNotAllowed);
        }
        let mut named = self.keys.iter().filter(|key| id.is_none() || key.id.as_deref() == id).peekable();
        if named.peek().is_none() {
            return Err(TokenFault::UnknownKey);
        }
        let mut fitting = named.filter(|key| key.algorithms.contains(&algorithm));
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Ok(key),
            // Several would fit: nothing says which one is meant.
            (Some(_), Some(_)) => Err(TokenFault::UnknownKey),
            (None, _) => Err(TokenFault::AlgorithmNotAllowed),
        }
    }
}

/// A key set, decoded.
struct Keys {
    keys: Rc<[PublicKey]>,
    place: Option<String>,
    content: [u8; 32],
}

impl Keys {
    fn new(name: &str, set: &KeySet) -> Result<Self, ConfigError> {
        let path = format!("keySets.{name}");
        if set.keys.is_empty() {
            return Err(at(&path, ConfigFault::NoKeys));
        }
        let keys = set
            .keys
            .iter()
            .enumerate()
            .map(|(index, key)| Self::key(key).map_err(|fault| at(&format!("{path}.keys[{index}]"), fault)))
            .collect::<Result<_, _>>()?;
        let canonical = serde_json::to_vec(set).map_err(|error| at(&path, ConfigFault::Json(error)))?;
        Ok(Self { keys, place: set.place.clone(), content: Sha256::digest(canonical).into() })
    }

    fn key(key: &Key) -> Result<PublicKey, ConfigFault> {
        PublicKey::new(key).map_err(ConfigFault::Key)
    }
}

/// One policy's rules, of which one must match.
#[derive(Debug)]
pub struct Gate {
    /// Name of the policy.
    pub policy: String,
    /// Whether a denial is carried out.
    pub mode: Mode,
    /// What a denied caller is told.
    pub denial: Denial,
    /// Whether a caller is asked for more scopes.
    pub step_up: StepUp,
    tools: Names,
    prompts: Names,
    resources: Names,
    methods: Names,
    rules: Vec<Rule>,
}

/// What a call is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of MCP")]
pub enum Item<'a> {
    Tool(&'a str),
    Prompt(&'a str),
    Resource(&'a str),
    Method(&'a str),
}

impl Gate {
    fn new(config: &GateConfig) -> Result<Self, ConfigError> {
        let mut gate = Self {
            policy: config.policy.clone(),
            mode: config.mode,
            denial: config.denial,
            step_up: config.step_up,
            tools: Names::default(),
            prompts: Names::default(),
            resources: Names::default(),
            methods: Names::default(),
            rules: Vec::new(),
        };
        for (index, rule) in config.rules.iter().enumerate() {
            let path = format!("rules[{index}]");
            if gate.rules.iter().any(|other| other.name == rule.name) {
                return Err(at(&path, ConfigFault::RuleTwice(rule.name.clone())));
            }
            gate.rules.push(Rule::new(rule).map_err(|fault| at(&path, fault))?);
            gate.tools.add(&rule.tools, index);
            gate.prompts.add(&rule.prompts, index);
            gate.resources.add(&rule.resources, index);
            gate.methods.add(&rule.methods, index);
        }
        Ok(gate)
    }

    /// The name of a rule that grants this.
    #[must_use]
    pub fn granting_rule(&self, call: &Call<'_, '_>, item: Item<'_>) -> Option<&str> {
        let granting = |rule: &&Rule| rule.has_scopes(call.caller) && rule.fits(call, item);
        self.rules(item).find(granting).map(|rule| rule.name.as_str())
    }

    /// The scopes of a rule that would grant this to a token which had them: those of the rule that asks for the fewest
    /// more.
    #[must_use]
    pub fn sufficient_scopes(&self, call: &Call<'_, '_>, item: Item<'_>) -> Option<&[String]> {
        let fitting = self.rules(item).filter(|rule| rule.fits(call, item));
        let missing = |rule: &&Rule| rule.scopes.iter().filter(|scope| !call.caller.has_scope(scope)).count();
        fitting.min_by_key(missing).map(|rule| rule.scopes.as_slice())
    }

    /// The rules that name this.
    fn rules<'g>(&'g self, item: Item<'_>) -> impl Iterator<Item = &'g Rule> {
        let (names, name) = match item {
            Item::Tool(name) => (&self.tools, name),
            Item::Prompt(name) => (&self.prompts, name),
            Item::Resource(name) => (&self.resources, name),
            Item::Method(name) => (&self.methods, name),
        };
        names.rules(name).filter_map(|index| self.rules.get(index))
    }
}

/// Who asks, and how.
#[derive(Clone, Copy, Debug)]
pub struct Call<'c, 'm> {
    /// Who.
    pub caller: &'c Caller,
    /// By which HTTP request.
    pub http: &'c HttpRequest,
    /// With which message; none: that is not known yet, and what could be granted is.
    pub request: Option<&'c Request<'m>>,
}

/// What rules can ask of an HTTP request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpRequest {
    /// Path without query.
    pub path: String,
    /// Authority, as the client named it.
    pub host: String,
}

/// Which rules name what: exact names by hash, patterns one by one after them.
#[derive(Debug, Default)]
struct Names {
    exact: HashMap<String, Vec<usize>>,
    patterns: Vec<(Glob, usize)>,
}

impl Names {
    fn add(&mut self, names: &[String], rule: usize) {
        for name in names {
            let glob = Glob::new(name);
            match glob.literal() {
                Some(_) => self.exact.entry(name.clone()).or_default().push(rule),
                None => self.patterns.push((glob, rule)),
            }
        }
    }

    fn rules(&self, name: &str) -> impl Iterator<Item = usize> {
        let exact = self.exact.get(name).into_iter().flatten().copied();
        exact.chain(self.patterns.iter().filter(|(glob, _)| glob.matches(name)).map(|(_, rule)| *rule))
    }
}

/// Whom a rule is for.
#[derive(Debug)]
struct Rule {
    name: String,
    claims: Vec<Condition>,
    arguments: Vec<Condition>,
    scopes: Vec<String>,
    when: Option<Expression>,
}

impl Rule {
    fn new(config: &RuleConfig) -> Result<Self, ConfigFault> {
        if config.name.is_empty() {
            return Err(ConfigFault::RuleWithoutName);
        }
        let conditions = config.claims.iter().chain(&config.arguments);
        if conditions.clone().any(|condition| condition.path.is_empty() || condition.test.is_empty()) {
            return Err(ConfigFault::EmptyCondition);
        }
        let has_others = !config.resources.is_empty() || !config.methods.is_empty();
        if has_others && !config.arguments.is_empty() {
            return Err(ConfigFault::ArgumentsOfOthers);
        }
        Ok(Self {
            name: config.name.clone(),
            claims: config.claims.iter().map(Condition::new).collect(),
            arguments: config.arguments.iter().map(Condition::new).collect(),
            scopes: config.scopes.clone(),
            when: config.when.clone(),
        })
    }

    /// Whether all holds but for the scopes.
    fn fits(&self, call: &Call<'_, '_>, item: Item<'_>) -> bool {
        let Call { caller, http, request } = call;
        self.claims.iter().all(|claim| claim.fits_claims(caller.claims()))
            && (self.arguments.is_empty() || request.is_none_or(|request| self.fits_arguments(request)))
            && self.when.as_ref().is_none_or(|when| match when.fit(&scope(caller, http, *request, item)) {
                Fit::Yes => true,
                Fit::No => false,
                Fit::Unknown => request.is_none(),
            })
    }

    fn has_scopes(&self, caller: &Caller) -> bool {
        self.scopes.iter().all(|scope| caller.has_scope(scope))
    }

    fn fits_arguments(&self, request: &Request<'_>) -> bool {
        let arguments = request.arguments();
        arguments.is_some_and(|arguments| self.arguments.iter().all(|each| each.fits_arguments(arguments)))
    }
}

fn scope<'s>(caller: &'s Caller, http: &'s HttpRequest, request: Option<&'s Request<'_>>, item: Item<'s>) -> Scope<'s> {
    let (mut tool, mut prompt, mut resource) = (None, None, None);
    match item {
        Item::Tool(name) => tool = Some(name),
        Item::Prompt(name) => prompt = Some(name),
        Item::Resource(uri) => resource = Some(uri),
        Item::Method(_) => {}
    }
    let call = request.map(|request| (request.method_name.as_ref(), request.arguments()));
    Scope { jwt: caller.claims(), path: &http.path, host: &http.host, tool, prompt, resource, call }
}
