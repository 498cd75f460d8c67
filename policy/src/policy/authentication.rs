//! Whose tokens are accepted.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::{ConfigError, ConfigFault, at};
use crate::claims::Caller;
use crate::config::{Algorithm, Audience, Issuer, KeySet, KeySource, ProtectedResource, TokenType};
use crate::jwt::TokenFault;
use crate::jwt::key::PublicKey;
use crate::jwt::token::Type;

/// Largest clock skew, in seconds.
pub(super) const MAX_CLOCK_SKEW: u32 = 60;

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
    pub(super) fn new(
        policy: &str,
        issuers: &[Issuer],
        resource: &Option<ProtectedResource>,
        scope_implies: &BTreeMap<String, Vec<String>>,
        key_sets: &BTreeMap<&str, Rc<Keys>>,
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
            let key_source = match &issuer.key_source {
                Some(KeySource(source)) => Rc::from(source.as_str()),
                None => keys.content.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into(),
            };
            accepted.push(AcceptedIssuer { config: issuer.clone(), keys: Rc::clone(keys), key_source });
        }
        Ok(Self {
            policy: policy.to_owned(),
            content: content.finalize().into(),
            resource: resource.clone(),
            issuers: accepted,
            scope_implies: scope_implies.clone(),
        })
    }

    /// Whether its keys are those that now stand under the names of its key sets.
    pub(super) fn has_keys_of(&self, key_sets: &BTreeMap<&str, Rc<Keys>>) -> bool {
        let is_same = |issuer: &AcceptedIssuer| {
            let keys = key_sets.get(issuer.config.key_set.as_str());
            keys.is_some_and(|keys| keys.content == issuer.keys.content)
        };
        self.issuers.iter().all(is_same)
    }

    /// The same with the keys that now stand under those names.
    pub(super) fn with_keys(&self, key_sets: &BTreeMap<&str, Rc<Keys>>) -> Result<Self, ConfigError> {
        let issuers: Vec<Issuer> = self.issuers.iter().map(|issuer| issuer.config.clone()).collect();
        Self::new(&self.policy, &issuers, &self.resource, &self.scope_implies, key_sets)
    }

    /// Scopes that hold others.
    #[must_use]
    pub fn scope_implies(&self) -> &BTreeMap<String, Vec<String>> {
        &self.scope_implies
    }

    /// Whether a verified caller's token must be for the endpoint that is asked.
    #[must_use]
    pub fn is_for_endpoint(&self, caller: &Caller) -> bool {
        self.named(&caller.issuer).is_none_or(|issuer| issuer.config.audience == Audience::Resource {})
    }

    /// Where the keys of a verified caller's issuer come from.
    pub(crate) fn key_source(&self, caller: &Caller) -> Option<Rc<str>> {
        Some(Rc::clone(&self.named(&caller.issuer)?.key_source))
    }

    /// The issuer that these claims name, if it is accepted.
    #[must_use]
    pub fn issuer(&self, claims: &Map<String, Value>) -> Option<&AcceptedIssuer> {
        self.named(claims.get("iss")?.as_str()?)
    }

    fn named(&self, name: &str) -> Option<&AcceptedIssuer> {
        self.issuers.iter().find(|issuer| issuer.config.issuer == name)
    }
}

/// An issuer with its keys.
#[derive(Debug)]
pub struct AcceptedIssuer {
    config: Issuer,
    keys: Rc<Keys>,
    key_source: Rc<str>,
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
        self.keys.place.as_deref()
    }

    /// Names its key set by the content.
    pub(crate) fn key_set(&self) -> &[u8; 32] {
        &self.keys.content
    }

    /// Whether there is a key with this `kid`.
    #[must_use]
    pub fn has_key(&self, id: &str) -> bool {
        self.keys.keys.iter().any(|key| key.id.as_deref() == Some(id))
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
        let mut named = self.keys.keys.iter().filter(|key| id.is_none() || key.id.as_deref() == id).peekable();
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
#[derive(Debug)]
pub(super) struct Keys {
    keys: Vec<PublicKey>,
    place: Option<String>,
    content: [u8; 32],
}

impl Keys {
    pub(super) fn new(name: &str, set: &KeySet, most_rsa_bits: u32) -> Result<Self, ConfigError> {
        let path = format!("keySets.{name}");
        if set.keys.is_empty() {
            return Err(at(&path, ConfigFault::NoKeys));
        }
        let keys = set
            .keys
            .iter()
            .enumerate()
            .map(|(index, key)| {
                let fault = |fault| at(&format!("{path}.keys[{index}]"), ConfigFault::Key(fault));
                PublicKey::within(key, most_rsa_bits).map_err(fault)
            })
            .collect::<Result<_, _>>()?;
        let canonical = serde_json::to_vec(set).map_err(|error| at(&path, ConfigFault::Json(error)))?;
        Ok(Self { keys, place: set.place.clone(), content: Sha256::digest(canonical).into() })
    }

    pub(super) fn content(&self) -> [u8; 32] {
        self.content
    }
}
