//! A [`FilterConfig`] checked and indexed: the form in which the filter asks it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use serde::Deserialize;

use crate::binding::Binders;
use crate::config::{
    AccessLog, Authentication, FilterConfig, Limits, ProtectedResource, Protocol, RoutePolicy as RoutePolicyConfig,
    SessionBinding, TOLD_REASONS, VERSION,
};
use crate::expression::ExpressionFault;
use crate::jwt::key::{KeyFault, RSA_BITS};
use crate::moved::Moved;
use crate::path::PathFault;

mod authentication;
mod doubled;
mod gate;
mod parts;

pub use authentication::{AcceptedIssuer, JwtAuthentication};
pub use gate::{Call, Gate, HttpRequest, Item};

use authentication::{Keys, MAX_CLOCK_SKEW};
use parts::{Parts, Policy};

/// All policies of one listener.
#[derive(Debug)]
pub struct PolicyTable {
    /// The listener that it is of, by which a later one is known; none: there is none later.
    pub listener: Option<String>,
    /// Bounds on memory.
    pub limits: Limits,
    /// Whether anybody reads what is remembered of exchanges.
    pub access_log: AccessLog,
    /// Binds sessions, tasks, events, endpoints and the state of requests to callers.
    pub(crate) binders: Binders,
    /// Its key sets, by content.
    key_sets: BTreeSet<[u8; 32]>,
    policies: HashMap<String, Entry>,
    /// Keys of policies that no route has any more.
    retired: BTreeSet<String>,
    /// Routes that have another policy since a while ago.
    moved: Moved,
}

/// A policy with the JSON that it was read from; none: it was not read from JSON.
#[derive(Debug)]
struct Entry {
    json: Option<Rc<str>>,
    policy: Rc<RoutePolicy>,
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
    #[error("a limit of RSA keys is from 2048 to 8192 bits; {0} is not")]
    RsaLimit(u32),
    #[error("of a second there are 1000 milliseconds; {0} is not a part of them")]
    SignatureLimit(u32),
    #[error("the name {0:?} stands twice")]
    NameTwice(String),
    #[error("a policy binds sessions to callers, for which a key is needed; `sessionBinding: None` does without")]
    NoBindingKeys,
    #[error("no key set has the name {0:?}")]
    NoSuchKeySet(String),
    #[error("a key set needs at least one key")]
    NoKeys,
    #[error(transparent)]
    Key(KeyFault),
    #[error("the policy {0:?} stands twice")]
    PolicyTwice(String),
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
    #[error("a condition needs something to compare with")]
    EmptyCondition,
    #[error("the path {path:?} can't be read: {fault}")]
    Path { path: String, fault: PathFault },
    #[error(transparent)]
    Expression(ExpressionFault),
    #[error("only tools and prompts have arguments; give resources and methods a rule without them")]
    ArgumentsOfOthers,
}

impl PolicyTable {
    /// Reads a configuration from JSON.
    ///
    /// # Errors
    /// When any part of it is not understood; nothing of it is used then.
    pub fn parse(json: &[u8]) -> Result<Self, ConfigError> {
        Self::read(json, &HashMap::new())
    }

    /// Reads a configuration that follows this one: policies that stand there as before are taken over.
    ///
    /// # Errors
    /// As those of [`PolicyTable::parse`].
    pub fn followed_by(&self, json: &[u8]) -> Result<Self, ConfigError> {
        Self::read(json, &self.policies)
    }

    fn read(json: &[u8], before: &HashMap<String, Entry>) -> Result<Self, ConfigError> {
        let Some(Parts { rest, policies }) = Parts::of(json, before) else {
            // The words for what is wrong.
            let config: FilterConfig = parsed("$", json)?;
            return Self::new(&config);
        };
        let rest: FilterConfig = parsed("$", rest.as_bytes())?;
        Self::with_policies(&rest, |key_sets| {
            let mut entries = HashMap::with_capacity(policies.len());
            for (key, policy) in policies {
                let entry = match policy {
                    Policy::Known(Entry { json, policy }) => {
                        Entry { json: json.clone(), policy: policy.with_keys(&key, key_sets)? }
                    }
                    Policy::New(json) => {
                        let config = parsed(&format!("policies.{key}"), json.as_bytes())?;
                        Entry { json: Some(json.into()), policy: RoutePolicy::new(&key, &config, key_sets)? }
                    }
                };
                if entries.insert(key.clone().into_owned(), entry).is_some() {
                    return Err(at("policies", ConfigFault::PolicyTwice(key.into_owned())));
                }
            }
            Ok(entries)
        })
    }

    /// Checks and indexes a configuration.
    ///
    /// # Errors
    /// When any part of it does not hold.
    pub fn new(config: &FilterConfig) -> Result<Self, ConfigError> {
        Self::with_policies(config, |key_sets| {
            let policies = config.policies.iter();
            let entry = |key, policy| Ok(Entry { json: None, policy: RoutePolicy::new(key, policy, key_sets)? });
            policies.map(|(key, policy)| Ok((key.clone(), entry(key, policy)?))).collect()
        })
    }

    /// A table of a configuration with policies that may stand elsewhere.
    fn with_policies(
        config: &FilterConfig,
        policies: impl FnOnce(&BTreeMap<&str, Rc<Keys>>) -> Result<HashMap<String, Entry>, ConfigError>,
    ) -> Result<Self, ConfigError> {
        if config.version != VERSION {
            return Err(at("version", ConfigFault::Version(config.version)));
        }
        check_limits(&config.limits)?;
        let key_set = |(name, set)| Ok((String::as_str(name), Rc::new(Keys::new(name, set, config.limits.rsa_bits)?)));
        let key_sets = config.key_sets.iter().map(key_set).collect::<Result<_, ConfigError>>()?;
        let policies = policies(&key_sets)?;
        let binders = Binders::new(&config.binding_key_ids);
        if binders.is_empty() && policies.values().any(|entry| entry.policy.binds_to_callers()) {
            return Err(at("bindingKeyIds", ConfigFault::NoBindingKeys));
        }
        let key_sets = key_sets.values().map(|keys| keys.content()).collect();
        Ok(Self {
            listener: config.listener.clone(),
            limits: config.limits.clone(),
            access_log: config.access_log,
            binders,
            key_sets,
            policies,
            retired: config.retired.clone(),
            moved: config.moved.clone(),
        })
    }

    /// Whether no route has this key any more.
    #[must_use]
    pub fn is_retired(&self, key: &str) -> bool {
        self.retired.contains(key)
    }

    /// The key that this route has now, by [`crate::config::RouteKey::route`]; none: it is as it was, `Some(None)`: it is gone.
    #[must_use]
    pub fn moved(&self, route: &str) -> Option<Option<&str>> {
        self.moved.get(route)
    }

    /// Its key sets, by content.
    #[must_use]
    pub fn key_sets(&self) -> &BTreeSet<[u8; 32]> {
        &self.key_sets
    }

    /// The policy with this key.
    #[must_use]
    pub fn policy(&self, key: &str) -> Option<Rc<RoutePolicy>> {
        self.policies.get(key).map(|entry| Rc::clone(&entry.policy))
    }
}

fn parsed<'j, T: Deserialize<'j>>(path: &str, json: &'j [u8]) -> Result<T, ConfigError> {
    let parsed = serde_json::from_slice(json).map_err(|error| at(path, ConfigFault::Json(error)))?;
    doubled::refuse(path, json)?;
    Ok(parsed)
}

fn check_limits(limits: &Limits) -> Result<(), ConfigError> {
    let all = [
        limits.request_body_bytes,
        limits.list_response_bytes,
        limits.sse_event_bytes,
        limits.token_bytes,
        limits.token_cache_entries,
        limits.held_bytes,
        limits.held_bytes_per_caller,
    ];
    if all.contains(&0) {
        return Err(at("limits", ConfigFault::ZeroLimit));
    }
    if !RSA_BITS.contains(&limits.rsa_bits) {
        return Err(at("limits", ConfigFault::RsaLimit(limits.rsa_bits)));
    }
    if !(1..=1000).contains(&limits.signature_millis) {
        return Err(at("limits", ConfigFault::SignatureLimit(limits.signature_millis)));
    }
    Ok(())
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
        /// What callers are told beside it.
        told: Option<String>,
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
    pub gates: Rc<[Gate]>,
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
    /// Whether sessions, tasks, events, endpoints and the state of requests belong to the callers that they were given to,
    /// which takes callers that can be told apart.
    #[must_use]
    pub fn binds_to_callers(&self) -> bool {
        matches!(self, Self::Protected(Protection { authentication: CallerAuthentication::Jwt(_), protocol, .. })
            if protocol.session_binding == SessionBinding::Subject)
    }

    fn new(
        key: &str,
        config: &RoutePolicyConfig,
        key_sets: &BTreeMap<&str, Rc<Keys>>,
    ) -> Result<Rc<Self>, ConfigError> {
        let policy = match config {
            RoutePolicyConfig::Open {} => Self::Open,
            RoutePolicyConfig::Closed { reason, message } => {
                let told = TOLD_REASONS.contains(&reason.as_str()).then(|| message.clone());
                Self::Closed { reason: reason.clone(), told }
            }
            RoutePolicyConfig::Remote {} => Self::Remote,
            RoutePolicyConfig::IssuerMetadata { document } => Self::IssuerMetadata { document: document.clone() },
            RoutePolicyConfig::Registration { document } => Self::Registration { document: document.clone() },
            RoutePolicyConfig::RemoteMetadata { public_url, path, server } => {
                Self::RemoteMetadata { public_url: public_url.clone(), path: path.clone(), server: server.clone() }
            }
            RoutePolicyConfig::Metadata { resource, path } => {
                Self::Metadata { resource: resource.clone(), path: path.clone() }
            }
            RoutePolicyConfig::Protected { authentication, gates, protocol } => {
                let authentication = match authentication {
                    Authentication::Anonymous {} => CallerAuthentication::Anonymous,
                    Authentication::Passthrough { public_url } => {
                        CallerAuthentication::Passthrough { public_url: public_url.clone() }
                    }
                    Authentication::Jwt { policy, issuers, resource, scope_implies } => {
                        let issuers = JwtAuthentication::new(policy, issuers, resource, scope_implies, key_sets);
                        CallerAuthentication::jwt(issuers.map_err(|error| within_policy(error, key))?)
                    }
                };
                let gate = |(index, gate)| {
                    let place = format!("policies.{key}.protected.gates[{index}]");
                    Gate::new(gate).map_err(|error| error.within(&place))
                };
                let gates = gates.iter().enumerate().map(gate).collect::<Result<_, _>>()?;
                Self::Protected(Protection { authentication, gates, protocol: protocol.clone() })
            }
        };
        Ok(Rc::new(policy))
    }

    /// The same where other keys may stand under the names of its key sets.
    fn with_keys(self: &Rc<Self>, key: &str, key_sets: &BTreeMap<&str, Rc<Keys>>) -> Result<Rc<Self>, ConfigError> {
        match self.as_ref() {
            Self::Protected(Protection { authentication: CallerAuthentication::Jwt(jwt), gates, protocol })
                if !jwt.has_keys_of(key_sets) =>
            {
                let jwt = jwt.with_keys(key_sets).map_err(|error| within_policy(error, key))?;
                Ok(Rc::new(Self::Protected(Protection {
                    authentication: CallerAuthentication::jwt(jwt),
                    gates: Rc::clone(gates),
                    protocol: protocol.clone(),
                })))
            }
            _ => Ok(Rc::clone(self)),
        }
    }
}

impl CallerAuthentication {
    fn jwt(authentication: JwtAuthentication) -> Self {
        Self::Jwt(Box::new(authentication))
    }
}

fn within_policy(error: ConfigError, key: &str) -> ConfigError {
    error.within(&format!("policies.{key}.protected.authentication"))
}
