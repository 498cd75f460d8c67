//! What the control plane writes and the filter reads: one type for both sides.
//!
//! ```text
//! route metadata "policy": KEY ──> FilterConfig.policies[KEY] ──> Open | Closed | Protected { authentication, gates }
//!                                                                       issuers[].keySet ──> FilterConfig.keySets[NAME]
//! ```
//! The wire form is JSON. Every struct refuses unknown fields: a filter that does not understand a part of its
//! configuration refuses all of it (Envoy then keeps the last good one).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::expression::Expression;
use crate::moved::Moved;

/// The only version of [`FilterConfig`] there is so far.
pub const VERSION: u32 = 1;

/// The namespace of route metadata that carries the policy key.
pub const METADATA_NAMESPACE: &str = "toolward";

/// The field in [`METADATA_NAMESPACE`] whose string value is a [`RouteKey`].
pub const METADATA_POLICY_FIELD: &str = "policy";

/// What a route tells the filter: a string, of two lines where there is an origin, and of more where the routes of its host
/// are told apart. Several fields would have no order, and equal routes are to be equal bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteKey<'r> {
    /// Names an entry of [`FilterConfig::policies`].
    pub policy: &'r str,
    /// Scheme, host and port by which clients know the route's host, which may be [`crate::route_key::ANY_HOST`]; none: the
    /// route is for many hosts, or it does not matter.
    pub origin: Option<&'r str>,
    /// Names the servers that the route leads to: what one of them hands out is good at these alone. None: it is not known,
    /// as in configurations that are written by hand.
    pub servers: Option<&'r str>,
    /// Tells the route from all others of its listener, by what it matches and its host, and not by its place among them; with
    /// nothing behind the `@`, the host is the request's. None: nobody will ask, as nothing changes.
    pub route: Option<&'r str>,
    /// A [`crate::route_choice::RouteChoice`]; none: all routes of the host are protected alike.
    pub choice: Option<&'r str>,
}

impl<'r> RouteKey<'r> {
    /// Reads what [`fmt::Display`] writes.
    #[must_use]
    pub fn parse(text: &'r str) -> Self {
        let mut lines = text.splitn(5, '\n');
        let policy = lines.next().unwrap_or_default();
        let mut line = || lines.next().filter(|line| !line.is_empty());
        Self { policy, origin: line(), servers: line(), route: line(), choice: line() }
    }
}

impl fmt::Display for RouteKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.policy)?;
        let lines = [self.origin, self.servers, self.route, self.choice].map(Option::unwrap_or_default);
        let last = lines.iter().rposition(|line| !line.is_empty()).map_or(0, |last| last + 1);
        lines.iter().take(last).try_for_each(|line| write!(f, "\n{line}"))
    }
}

/// The configuration of one filter: a table of policies for the routes of one listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct FilterConfig {
    /// Must be [`VERSION`].
    pub version: u32,
    /// The listener, by whose name a later configuration of the same one is known: streams that are open go by that. None:
    /// there will be none, as where it is written by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listener: Option<String>,
    /// Bounds on what the filter holds in memory.
    #[serde(default)]
    pub limits: Limits,
    /// Whether there is an access log, whose lines tell of each exchange what the filter knows.
    #[serde(default, skip_serializing_if = "AccessLog::is_on")]
    pub access_log: AccessLog,
    /// The keys under which sessions, tasks, events, endpoints and the state of requests are sealed for callers, by their ids.
    /// Needed as soon as a policy with tokens binds them. The keys themselves are a secret, and stand in no configuration:
    /// Envoy puts them into each request as [`BINDING_KEYS_HEADER`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub binding_key_ids: Vec<BindingKeyId>,
    /// Key sets by name; several issuers of several policies may share one.
    #[serde(default)]
    pub key_sets: BTreeMap<String, KeySet>,
    /// Policies by the key that routes carry in their metadata.
    #[serde(default, with = "shared")]
    pub policies: BTreeMap<String, Arc<RoutePolicy>>,
    /// Keys among them that no route has any more: requests that were on their way are judged by them, streams end.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub retired: BTreeSet<String>,
    /// Routes whose key was another one a while ago, with the one that they have now. Streams that were opened on them follow.
    #[serde(default, skip_serializing_if = "Moved::is_empty")]
    pub moved: Moved,
    /// How often one process served all the rest before, and then replaced it. Envoy takes two configurations with the same
    /// content for one, and would not tell the filter that the first is in force again.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub turn: u32,
}

/// A map whose values others have as well.
mod shared {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer, T: Serialize>(
        map: &BTreeMap<String, Arc<T>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_map(map.iter().map(|(key, value)| (key, &**value)))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<String, Arc<T>>, D::Error> {
        let map = BTreeMap::<String, T>::deserialize(deserializer)?;
        Ok(map.into_iter().map(|(key, value)| (key, Arc::new(value))).collect())
    }
}

/// One without policies.
impl Default for FilterConfig {
    fn default() -> Self {
        Self {
            version: VERSION,
            listener: None,
            limits: Limits::default(),
            access_log: AccessLog::default(),
            binding_key_ids: Vec::new(),
            key_sets: BTreeMap::new(),
            policies: BTreeMap::new(),
            retired: BTreeSet::new(),
            moved: Moved::default(),
            turn: 0,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(turn: &u32) -> bool {
    *turn == 0
}

/// Whether there is an access log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub enum AccessLog {
    #[default]
    On,
    Off,
}

impl AccessLog {
    /// Whether there is one.
    #[must_use]
    pub fn is_on(&self) -> bool {
        *self == Self::On
    }
}

/// Bounds on what the filter holds in memory; each has a defined answer past it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Limits {
    /// Largest request body, in bytes; past it the answer is 413.
    pub request_body_bytes: usize,
    /// Largest JSON answer to a list request, in bytes; past it the list becomes JSON-RPC error -32603.
    pub list_response_bytes: usize,
    /// Largest server-sent event, in bytes; past it the stream ends.
    pub sse_event_bytes: usize,
    /// Largest bearer token, in bytes; past it the answer is 401.
    pub token_bytes: usize,
    /// Verified tokens that each worker remembers; past it the oldest is forgotten.
    pub token_cache_entries: usize,
    /// Largest modulus of an RSA key, in bits, from 2048 to 8192; a key that is larger is refused.
    #[serde(skip_serializing_if = "is_default_rsa_bits")]
    pub rsa_bits: u32,
    /// Milliseconds of each second that each worker spends at most on signatures that turn out to be wrong; past it the
    /// answer to tokens that it does not remember is 503. At most 1000.
    #[serde(skip_serializing_if = "is_default_signature_millis")]
    pub signature_millis: u32,
    /// Bytes of bodies that each worker holds at a time, of all callers, and three quarters of that of one issuer's; past it
    /// the answer is 503.
    pub held_bytes: usize,
    /// The same of one caller, or of all callers of a policy where nobody verifies them; past it the answer is 429.
    pub held_bytes_per_caller: usize,
}

fn is_default_rsa_bits(bits: &u32) -> bool {
    *bits == Limits::default().rsa_bits
}

fn is_default_signature_millis(millis: &u32) -> bool {
    *millis == Limits::default().signature_millis
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_body_bytes: 4 * 1024 * 1024,
            list_response_bytes: 4 * 1024 * 1024,
            sse_event_bytes: 4 * 1024 * 1024,
            token_bytes: 16 * 1024,
            token_cache_entries: 1024,
            rsa_bits: 4096,
            signature_millis: 200,
            held_bytes: 64 * 1024 * 1024,
            held_bytes_per_caller: 16 * 1024 * 1024,
        }
    }
}

/// The header by which Envoy tells the filter the keys, separated by commas: the first seals, all open. What clients send in it
/// is overwritten, and no key is believed whose id is not in the configuration. The filter takes it out at once.
pub const BINDING_KEYS_HEADER: &str = "x-toolward-binding-keys";

/// Most keys; more would be forgotten ones.
pub const MAX_BINDING_KEYS: usize = 16;

/// Length of a [`BindingKey`] and of its id, in bytes.
pub const BINDING_KEY_BYTES: usize = 32;

/// Names a [`BindingKey`] without telling it. As text it is in base64url without padding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BindingKeyId(pub [u8; BINDING_KEY_BYTES]);

/// A secret key. As text it is in base64url without padding.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BindingKey(pub [u8; BINDING_KEY_BYTES]);

/// A text that is no [`BindingKey`], nor the id of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key for binding, and the id of one, is 32 bytes in base64url without padding")]
pub struct NoBindingKey;

impl fmt::Debug for BindingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BindingKey")
    }
}

/// The keys of one JWK Set that are fit for use, in canonical form (RFC 7517, RFC 7518 section 6).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct KeySet {
    /// Public keys; never private or symmetric ones.
    pub keys: Vec<Key>,
    /// The id of the place where they are fetched, by which they can be asked for anew; none: they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
}

/// One public key with the algorithms that it may verify.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Key {
    /// `kid` of the JWK, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kid: Option<String>,
    /// What this key may verify: the JWK's `alg`, or all algorithms that its type and curve allow. Never empty.
    pub algorithms: Vec<Algorithm>,
    /// The key itself.
    pub material: KeyMaterial,
}

/// Public key values as RFC 7518 section 6 encodes them: base64url without padding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, tag = "kty")]
pub enum KeyMaterial {
    /// RSA, modulus of 2048 bits up to the limit.
    #[serde(rename = "RSA")]
    Rsa {
        /// Modulus.
        n: String,
        /// Exponent.
        e: String,
    },
    /// NIST curve P-256 or P-384.
    #[serde(rename = "EC")]
    Ec {
        /// Curve.
        crv: Curve,
        /// X coordinate.
        x: String,
        /// Y coordinate.
        y: String,
    },
    /// Ed25519 (RFC 8037).
    #[serde(rename = "OKP")]
    Ed25519 {
        /// Public key.
        x: String,
    },
}

/// An elliptic curve of [`KeyMaterial::Ec`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Curve {
    /// secp256r1.
    #[serde(rename = "P-256")]
    P256,
    /// secp384r1.
    #[serde(rename = "P-384")]
    P384,
}

/// A JWS signature algorithm (RFC 7518 section 3.1, RFC 8037) that the filter can verify.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[expect(missing_docs, reason = "the names are those of the JWA registry")]
pub enum Algorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
}

/// The reason of a route that no policy protects.
pub const UNPROTECTED: &str = "Unprotected";

/// The reason of a route that no policy protects, while one may have been meant for it that names nothing.
pub const POLICY_TARGET_NOT_FOUND: &str = "PolicyTargetNotFound";

/// Reasons of which callers are told the message as well: it names policies and what to do, and nothing that fails inside.
pub const TOLD_REASONS: [&str; 2] = [UNPROTECTED, POLICY_TARGET_NOT_FOUND];

/// What a route's policy key stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum RoutePolicy {
    /// Meant to be open: requests and answers pass untouched.
    Open {},
    /// Something that protects this route is broken: every request is answered 503.
    Closed {
        /// A word in CamelCase for status, metric and log, such as `InvalidKeySet`.
        reason: String,
        /// A sentence for the operator; sent to callers with [`TOLD_REASONS`] alone.
        message: String,
    },
    /// Meant to be open, and leads to a server that may ask for tokens of its own: it asks for them as the gateway.
    Remote {},
    /// No MCP endpoint: the metadata of a server that has an authorization server of its own, told as the gateway's.
    RemoteMetadata {
        /// Scheme, host and port by which clients reach the gateway; none: those of each request.
        #[serde(default, rename = "publicURL", skip_serializing_if = "Option::is_none")]
        public_url: Option<String>,
        /// Path of the endpoint; none: it is the rest of the request's own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        path: Option<String>,
        /// Scheme, host and port of the server, which is its own authorization server where it has no metadata; none: it is
        /// not known by a URL.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        server: Option<String>,
    },
    /// No MCP endpoint: says of one who issues tokens for it (RFC 9728).
    Metadata {
        /// What is said.
        resource: ProtectedResource,
        /// Path of the endpoint; none: it is the rest of the request's own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        path: Option<String>,
    },
    /// No MCP endpoint: the metadata of an issuer (RFC 8414), for clients that look for them at the gateway (MCP authorization,
    /// revision 2025-03-26).
    IssuerMetadata {
        /// JSON.
        document: String,
    },
    /// No MCP endpoint: tells whoever would register as a client (RFC 7591) which one that the issuer knows it is to be. The
    /// answer is the same for all, and nothing of a request is in it.
    Registration {
        /// JSON.
        document: String,
    },
    /// Callers are verified and every gate must let the call pass.
    Protected {
        /// Who may come in at all.
        authentication: Authentication,
        /// All policies with an authorization section that are attached along the way, in the order Gateway, listener,
        /// route, rule, backend. Each must let the call pass. Empty: every verified caller may call everything.
        #[serde(default)]
        gates: Vec<Gate>,
        /// How the protocol is spoken.
        #[serde(default)]
        protocol: Protocol,
    },
}

/// How MCP is spoken on a route.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Protocol {
    /// Whether a body may be an array of messages.
    #[serde(default)]
    pub batches: Batches,
    /// To whom sessions, tasks, events and the state of requests belong.
    #[serde(default)]
    pub session_binding: SessionBinding,
    /// How messages travel.
    #[serde(default, skip_serializing_if = "Transport::is_streamable")]
    pub transport: Transport,
    /// From which other origins pages may ask, `https://app.example.com` or `*` for all (Fetch standard).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_origins: Vec<String>,
}

/// How messages travel. `StreamableHTTP`, the default: answers come in the response to each POST; a stream that announces an
/// endpoint ends. `HTTPSSE`, for servers of revision 2024-11-05: a GET opens a stream that announces where to POST messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Transport {
    /// Answers come in the response to each POST. A stream that announces an endpoint, as HTTP+SSE does, ends.
    #[default]
    StreamableHTTP,
    /// HTTP+SSE of revision 2024-11-05: a GET opens a stream, which announces where to POST messages; answers come on it.
    HTTPSSE,
}

impl Transport {
    /// Whether it is the one that needs no mention.
    #[must_use]
    pub fn is_streamable(&self) -> bool {
        *self == Self::StreamableHTTP
    }
}

/// To whom sessions, tasks, events and the state of requests belong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum SessionBinding {
    /// To the issuer and subject of the token that opened them, and to the servers of the route; to everybody else they do not
    /// exist.
    #[default]
    Subject,
    /// To whoever knows their ids.
    None,
}

/// Whether a body may be an array of messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Batches {
    /// Arrays are refused.
    #[default]
    Refuse,
    /// Where revision 2025-03-26 is spoken, which alone knows them, each message is judged; one that is denied fails all.
    Allow,
}

/// Who may come in at all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Authentication {
    /// No policy on the way asks for a token: callers have no claims and no scopes.
    Anonymous {},
    /// The server itself asks for tokens and gets them; to the policy callers have no claims and no scopes.
    Passthrough {
        /// Scheme, host and port by which clients reach the gateway; none: those of each request.
        #[serde(default, rename = "publicURL", skip_serializing_if = "Option::is_none")]
        public_url: Option<String>,
    },
    /// A bearer token of one of these issuers is necessary.
    Jwt {
        /// Name of the policy that asks for it, `namespace/name`, for the log.
        policy: String,
        /// Accepted issuers; never empty. The same `iss` may stand here only once.
        issuers: Vec<Issuer>,
        /// What clients are told that have no token yet.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        resource: Option<ProtectedResource>,
        /// Scopes that hold others: whoever has the first has the others as well.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        scope_implies: BTreeMap<String, Vec<String>>,
    },
}

/// What clients learn from an OAuth 2.0 protected resource (RFC 9728 section 2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ProtectedResource {
    /// Scheme, host and port by which clients reach the gateway; none: those of the route, or else of each request.
    #[serde(default, rename = "publicURL", skip_serializing_if = "Option::is_none")]
    pub public_url: Option<String>,
    /// Issuers of tokens; empty where clients take the gateway for the issuer. Many clients use the first alone.
    pub authorization_servers: Vec<String>,
    /// Scopes to ask for at first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// URL of a page for developers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub documentation: Option<String>,
}

/// For whom a token must be (RFC 9068 section 4, RFC 8707).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub enum Audience {
    /// Not checked.
    Any {},
    /// Its `aud` must hold one of these, byte for byte; never empty.
    OneOf(Vec<String>),
    /// Its `aud` must hold the URL of the endpoint, or of a part of the gateway that the endpoint is in. The host that a
    /// request names is none of it: its client chose that, and could choose one for which a stolen token is.
    Resource {},
}

/// One accepted issuer of tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Issuer {
    /// Compared byte for byte with the claim `iss`.
    pub issuer: String,
    /// For whom its tokens must be.
    pub audience: Audience,
    /// Narrows what the keys allow; empty: what the keys say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub algorithms: Vec<Algorithm>,
    /// Name of an entry of [`FilterConfig::key_sets`].
    pub key_set: String,
    /// Where its key set comes from: two issuers of one name and with different sources are two. None: the set itself says it,
    /// so that what belongs to callers is lost with each new key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_source: Option<KeySource>,
    /// Allowed difference of clocks, in seconds, at most 60.
    #[serde(default = "default_clock_skew")]
    pub clock_skew_seconds: u32,
    /// Which `typ` headers pass.
    #[serde(default)]
    pub token_type: TokenType,
}

/// Where a key set comes from, in words that stay the same when its keys change: `uri https://…`, `discovery https://…`,
/// `configMapRef NAMESPACE/NAME KEY`, `inline NAMESPACE/POLICY`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeySource(pub String);

fn default_clock_skew() -> u32 {
    30
}

/// Which `typ` headers of a token pass (RFC 8725 section 3.11, RFC 9068 section 4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum TokenType {
    /// Absent, `JWT` or `at+jwt`; every other type is refused.
    #[default]
    Jwt,
    /// Only `at+jwt` (also as `application/at+jwt`).
    AccessToken,
}

/// One policy's authorization section: rules of which one must match.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Gate {
    /// Name of the policy, `namespace/name`.
    pub policy: String,
    /// Whether a denial is carried out.
    #[serde(default)]
    pub mode: Mode,
    /// What a denied caller is told.
    #[serde(default)]
    pub denial: Denial,
    /// Whether a caller is asked for more scopes where these would help.
    #[serde(default)]
    pub step_up: StepUp,
    /// Alternatives; when none matches the call is denied.
    #[serde(default)]
    pub rules: Vec<Rule>,
}

/// Whether a denial is carried out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Mode {
    /// Denied calls are refused.
    #[default]
    Enforce,
    /// Decide and record, let pass.
    DryRun,
}

/// What a denied caller is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Denial {
    /// As if the tool did not exist: JSON-RPC error -32602 with HTTP 200 (400 from revision 2026-07-28 on).
    #[default]
    UnknownTool,
    /// HTTP 403 with a JSON-RPC error.
    Forbidden,
}

/// Whether a caller is asked for more scopes (MCP authorization, "Scope Challenge Handling").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum StepUp {
    /// What needs a scope that the token has not is denied as everything else is.
    #[default]
    Never,
    /// The answer is 403 with `insufficient_scope` and the scopes that are needed; lists show what they would grant.
    Challenge,
}

// In a resource `when` is a text; the control plane makes an [`Expression`] of it.
/// Grants what it names to the callers it describes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Rule<When = Expression> {
    /// For the log; unique within its policy.
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = 253)))]
    pub name: String,
    /// Tools that this rule grants: exact names, or globs where `*` stands for any run of characters without dot segments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schemars(length(max = 256), inner(length(min = 1, max = 512))))]
    pub tools: Vec<String>,
    /// Prompts that this rule grants, as exact names or globs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schemars(length(max = 256), inner(length(min = 1, max = 512))))]
    pub prompts: Vec<String>,
    /// Resources that this rule grants, as URIs or globs over URIs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schemars(length(max = 256), inner(length(min = 1, max = 2048))))]
    pub resources: Vec<String>,
    /// Methods beyond the protocol's own housekeeping that this rule grants, as exact names or globs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schemars(length(max = 64), inner(length(min = 1, max = 256))))]
    pub methods: Vec<String>,
    /// All of these must match the caller's claims. The names in a `path` may have dots themselves, such as
    /// `https://example.com/roles`: the longest name wins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schemars(length(max = 32)))]
    pub claims: Vec<ValueMatch>,
    /// All of these must match the arguments of the call: for tools and prompts. In a `path` a dot is a level and nothing
    /// else; a member's name that has a dot itself is written in brackets, such as `repo["a.b"].c`. An argument of another
    /// type than the value it is compared with does not match, nor does one for which a server could take another
    /// (`Repo`, `repo.owner` beside `repo`). What is granted is still shown in lists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schemars(length(max = 32)))]
    pub arguments: Vec<ValueMatch>,
    /// The caller must have all of these scopes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schemars(length(max = 64), inner(length(min = 1, max = 256))))]
    pub scopes: Vec<String>,
    /// It must hold: a CEL expression over `jwt` (the claims), `mcp` (method, tool, prompt, resource, arguments) and
    /// `request` (path, host), such as `jwt.team == mcp.arguments.team`. What can't be evaluated does not hold, also behind
    /// `!`; so does an argument that is compared with a value of another type, with whichever sign.
    #[serde(default = "Option::<When>::default", skip_serializing_if = "Option::<When>::is_none")]
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = 2048)))]
    pub when: Option<When>,
}

impl<When> Rule<When> {
    /// The same rule with another form of its expression.
    #[must_use]
    pub fn with<Other>(&self, when: Option<Other>) -> Rule<Other> {
        let Self { name, tools, prompts, resources, methods, claims, arguments, scopes, when: _ } = self;
        Rule {
            name: name.clone(),
            tools: tools.clone(),
            prompts: prompts.clone(),
            resources: resources.clone(),
            methods: methods.clone(),
            claims: claims.clone(),
            arguments: arguments.clone(),
            scopes: scopes.clone(),
            when,
        }
    }
}

/// A condition on one claim, or on one argument. What is missing, or of a type that the test does not read, does not
/// match.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "ValueMatchFields", into = "ValueMatchFields")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(with = "ValueMatchFields"))]
pub struct ValueMatch {
    /// Where the value stands: a [`ClaimPath`](crate::path::ClaimPath) or an [`ArgumentPath`](crate::path::ArgumentPath).
    pub path: String,
    /// What it must be.
    pub test: ValueTest,
}

/// What a value must be. Where a claim is an array, one element must fit; where an argument is one, all must, except for
/// [`ValueTest::Contains`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueTest {
    /// Equal to one of these.
    In(Vec<Scalar>),
    /// An array that has this element (or a scalar equal to it).
    Contains(Scalar),
    /// A string that fits this glob.
    Matches(String),
    /// A number that is not larger.
    AtMost(i64),
    /// A number that is not smaller.
    AtLeast(i64),
}

/// A value to compare with: same type, same value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[expect(missing_docs, reason = "the variants are JSON's own types")]
pub enum Scalar {
    Bool(bool),
    Integer(i64),
    String(String),
}

/// The fields of [`ValueMatch`] as written: exactly one of the tests.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(extend("oneOf" = [{ "required": ["in"] }, { "required": ["contains"] }, { "required": ["matches"] }, { "required": ["atMost"] }, { "required": ["atLeast"] }]))
)]
struct ValueMatchFields {
    /// Where the value stands: names of members joined by dots, such as `realm_access.roles`.
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = 512)))]
    path: String,
    /// It must be equal to one of these values: strings, integers or booleans.
    #[serde(default, rename = "in", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = 256)))]
    any_of: Option<Vec<Scalar>>,
    /// It must be an array that has this value: a string, an integer or a boolean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    contains: Option<Scalar>,
    /// It must be a string that fits this glob, where `*` stands for any run of characters; in an argument, for none with dot
    /// segments (`..`), encodings of them, backslashes or empty segments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(length(max = 1024)))]
    matches: Option<String>,
    /// It must be a number that is not larger than this; in an argument one of at most 15 digits, or an integer up to
    /// 2^53 - 1, and a fraction is rounded up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = -9_007_199_254_740_991_i64, max = 9_007_199_254_740_991_i64)))]
    at_most: Option<i64>,
    /// It must be a number that is not smaller than this; in an argument one of at most 15 digits, or an integer up to
    /// 2^53 - 1, and a fraction is rounded down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = -9_007_199_254_740_991_i64, max = 9_007_199_254_740_991_i64)))]
    at_least: Option<i64>,
}

impl TryFrom<ValueMatchFields> for ValueMatch {
    type Error = &'static str;

    fn try_from(fields: ValueMatchFields) -> Result<Self, Self::Error> {
        let test = match (fields.any_of, fields.contains, fields.matches, fields.at_most, fields.at_least) {
            (Some(values), None, None, None, None) => ValueTest::In(values),
            (None, Some(value), None, None, None) => ValueTest::Contains(value),
            (None, None, Some(glob), None, None) => ValueTest::Matches(glob),
            (None, None, None, Some(number), None) => ValueTest::AtMost(number),
            (None, None, None, None, Some(number)) => ValueTest::AtLeast(number),
            _ => return Err("a condition needs exactly one of `in`, `contains`, `matches`, `atMost` and `atLeast`"),
        };
        Ok(Self { path: fields.path, test })
    }
}

impl From<ValueMatch> for ValueMatchFields {
    fn from(claim: ValueMatch) -> Self {
        let mut fields = Self { path: claim.path, ..Self::default() };
        match claim.test {
            ValueTest::In(values) => fields.any_of = Some(values),
            ValueTest::Contains(value) => fields.contains = Some(value),
            ValueTest::Matches(glob) => fields.matches = Some(glob),
            ValueTest::AtMost(number) => fields.at_most = Some(number),
            ValueTest::AtLeast(number) => fields.at_least = Some(number),
        }
        fields
    }
}

impl ValueTest {
    /// Whether nothing could ever fit.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::In(values) if values.is_empty())
    }
}
