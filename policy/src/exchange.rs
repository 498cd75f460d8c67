//! One HTTP exchange, from the request's headers to the answer's last byte: a state machine that the filter drives.
//!
//! ```text
//! request_headers ─┬─ Continue ────────────────────────┐
//!                  ├─ AwaitBody ─> request_body ─┬─ Ok ─┴─> response_headers ─┬─ Pass
//!                  └─ Answer                     └─ Answer                    ├─ Buffer ─> response_json ─> response_part
//!                                                                             ├─ Events ─> response_events
//!                                                                             └─ Answer
//! ```
//! INVARIANT: nothing of a request goes upstream before `Continue`.
//!
//! A decision holds for as long as that by which it was taken: before each of these steps, and while an answer goes on,
//! [`Exchange::renew`] asks again.

use std::rc::Rc;

use crate::binding::{Binder, Kind};
use crate::claims::Caller;
use crate::config::{BINDING_KEYS_HEADER, Batches, Limits, RouteKey, Transport};
use crate::decide::Verdict;
use crate::denial::{self, Answer, RequestFault};
use crate::jwt::{self, TokenFault, Verified, claims};
use crate::mcp::message::{Id, Message, Request};
use crate::mcp::method::Method;
use crate::mcp::passing::Passing;
use crate::mcp::sse::EventFilter;
use crate::policy::{CallerAuthentication, Item, JwtAuthentication, PolicyTable, Protection, RoutePolicy};
use crate::protected_resource::{Endpoint, Hints};
use crate::record::{Outcome, Reason, Record};
use crate::route_choice::RouteChoice;

mod ambiguous;
mod answer;
mod caching;
mod endpoint;
mod handles;
mod headers;
mod held;
mod judge;
mod metadata;
mod origin;
mod parameters;
mod revision;
mod standing;
mod verification;

pub use answer::HeldAnswer;
pub use endpoint::{ENDPOINT, changes_parameter};
pub use headers::{Edits, Headers, changes_header, decides};
pub use held::{Held, Holding, Payer, SMALL_BYTES, TooMuch};
pub use standing::Ended;
pub use verification::Verification;

use handles::{NotFound, UnknownHandle};
use judge::Judge;
use standing::{Asked, Standing};

use headers::MediaType;
use origin::{NotAllowed, Origin};
use revision::Revision;
use verification::Unverified;

/// The route names no policy, or one that this filter does not know.
const UNKNOWN_POLICY: &str = "UnknownPolicy";

/// Sessions are bound to callers, and Envoy has put no key for that into the request that the configuration knows.
const NO_BINDING_KEYS: &str = "NoBindingKeys";

/// Without what is taken out of the request's headers, another route fits.
const ROUTE_CHANGED: &str = "RouteChanged";

/// What to do after the request's headers.
#[derive(Debug, PartialEq, Eq)]
pub enum RequestStep {
    /// Let the request go upstream with these changes.
    Continue(Edits),
    /// Make these changes, and hold the headers until the body is judged.
    AwaitBody(Edits),
    /// Answer in place of the server.
    Answer(Answer),
}

/// A request's body in place of the one that came, with changes to its headers.
#[derive(Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Rewritten {
    pub body: Vec<u8>,
    pub edits: Edits,
}

/// What to do with the server's answer.
#[derive(Debug, PartialEq, Eq)]
pub enum ResponseStep {
    /// Pass it on with these changes to its headers.
    Pass(Edits),
    /// Hold headers and body; [`Exchange::response_json_size`] says for how long.
    Buffer(Edits),
    /// Pass the headers on with these changes, and the body through [`Exchange::response_events`].
    Events(Edits),
    /// Answer in place of the server.
    Answer(Answer),
}

/// One HTTP exchange.
#[derive(Debug)]
pub struct Exchange {
    limits: Limits,
    /// None: there is nothing that could be asked again.
    standing: Option<Standing>,
    /// Why it may not go on, once that is so.
    ended: Option<Ended>,
    /// When something was asked last, in seconds since the epoch.
    now: u64,
    state: State,
    record: Record,
    origin: Origin,
    /// By which clients know the route's host.
    route_origin: Option<String>,
    /// Names the servers that the route leads to; empty: it is not known.
    servers: Rc<str>,
    /// Where the metadata of a server are told that asks for tokens itself.
    remote: Option<String>,
    /// What it holds of bodies.
    holding: Option<Holding>,
}

#[derive(Debug)]
enum State {
    /// Nothing (more) to judge.
    Done,
    /// A request whose body is to be judged.
    Body(Judge, Revision, HasLength),
    /// A request that went upstream; what its answer tells is to be filtered.
    Upstream(Judge, Answered),
    /// The answer is a stream of events.
    Events(Judge, EventFilter),
    /// The answer, which may be without end, passes as it is.
    Stream(Option<Judge>),
    /// The answer passes as it comes, and is looked through on the way.
    Passing(Judge, Passing),
    /// A request for a server's metadata went upstream, which are to be told of this endpoint.
    Metadata(Endpoint, Option<String>),
}

impl State {
    /// Whoever judges what comes.
    fn judge(&self) -> Option<&Judge> {
        match self {
            Self::Body(judge, ..)
            | Self::Upstream(judge, _)
            | Self::Events(judge, _)
            | Self::Passing(judge, _)
            | Self::Stream(Some(judge)) => Some(judge),
            Self::Done | Self::Stream(None) | Self::Metadata(..) => None,
        }
    }

    fn judge_mut(&mut self) -> Option<&mut Judge> {
        match self {
            Self::Body(judge, ..)
            | Self::Upstream(judge, _)
            | Self::Events(judge, _)
            | Self::Passing(judge, _)
            | Self::Stream(Some(judge)) => Some(judge),
            Self::Done | Self::Stream(None) | Self::Metadata(..) => None,
        }
    }
}

/// Whether a request says how long its body is.
#[derive(Clone, Copy, Debug)]
struct HasLength(bool);

/// The request whose answer is to be judged.
#[derive(Clone, Debug, Default)]
struct Answered {
    /// None: the request was no message, or one that has no answer.
    id: Option<Id>,
    /// Whether a list, or a task, is to be expected.
    is_list: bool,
}

impl Rewritten {
    /// Another body for a request, whose length is told where it was.
    fn request(body: String, HasLength(has_length): HasLength) -> Self {
        let length = has_length.then(|| ("content-length", body.len().to_string()));
        Self { body: body.into_bytes(), edits: Edits { set: length.into_iter().collect(), ..Edits::default() } }
    }

    /// Another body for an answer.
    fn answer(body: String) -> Self {
        Self { body: body.into_bytes(), edits: Edits::of_changed_body() }
    }
}

impl Exchange {
    /// Begins an exchange with the request's headers. `policy_key` is what the route's metadata say.
    pub fn request_headers(
        table: &PolicyTable,
        policy_key: Option<&[u8]>,
        headers: &Headers<'_>,
        end_of_stream: bool,
        verification: &mut Verification<'_>,
    ) -> (Self, RequestStep) {
        let (state, record, origin) = (State::Done, Record::default(), Origin::default());
        let key = policy_key.and_then(|key| std::str::from_utf8(key).ok()).map(RouteKey::parse);
        let route_origin = key.and_then(|key| key.origin).map(str::to_owned);
        let servers = key.and_then(|key| key.servers).unwrap_or_default().into();
        let (limits, now) = (table.limits.clone(), verification.now);
        let (standing, ended, remote, holding) = (None, None, None, None);
        let mut exchange =
            Self { limits, standing, ended, now, state, record, origin, route_origin, servers, remote, holding };
        // In doubt deny: a route without a key, or with one that this filter does not know, is closed.
        let Some(policy) = key.and_then(|key| table.policy(key.policy)) else {
            exchange.settle(Outcome::Closed, UNKNOWN_POLICY);
            return (exchange, RequestStep::Answer(denial::closed(UNKNOWN_POLICY, None)));
        };
        let choice = key.and_then(|key| key.choice).map(RouteChoice::parse);
        if choice == Some(None) {
            exchange.settle(Outcome::Closed, UNKNOWN_POLICY);
            return (exchange, RequestStep::Answer(denial::closed(UNKNOWN_POLICY, None)));
        }
        if let Err(fault) = check_route(&policy, choice.flatten().as_ref(), headers) {
            exchange.record.method_class = headers.http_method_class();
            let refusal = exchange.refuse(fault, None);
            return (exchange, RequestStep::Answer(refusal));
        }
        exchange.standing = Some(Standing::new(&policy));
        let step = match policy.as_ref() {
            RoutePolicy::Open => {
                exchange.settle(Outcome::Open, "Unprotected");
                RequestStep::Continue(Edits::unjudged(headers))
            }
            RoutePolicy::Remote => {
                exchange.settle(Outcome::Open, "Unprotected");
                exchange.remote = exchange.endpoint(None, headers).map(|endpoint| endpoint.metadata_url());
                RequestStep::Continue(Edits::unjudged(headers))
            }
            RoutePolicy::RemoteMetadata { public_url, path, server } => {
                match exchange.remote_metadata(public_url.as_deref(), path.as_deref(), headers) {
                    Ok(endpoint) => {
                        exchange.state = State::Metadata(endpoint, server.clone());
                        RequestStep::Continue(Edits::of_request(headers))
                    }
                    Err(answer) => RequestStep::Answer(answer),
                }
            }
            RoutePolicy::Closed { reason, told } => exchange.close(reason, told.as_deref()),
            RoutePolicy::Metadata { resource, path } => {
                RequestStep::Answer(exchange.metadata(resource, path.as_deref(), headers))
            }
            RoutePolicy::IssuerMetadata { document } => {
                let document = Some(document.clone());
                RequestStep::Answer(exchange.told(headers, || document))
            }
            RoutePolicy::Registration { document } => RequestStep::Answer(exchange.registered(document, headers)),
            RoutePolicy::Protected(protection) => exchange
                .admit(&policy, protection, table, headers, end_of_stream, verification)
                .unwrap_or_else(|answer| RequestStep::Answer(exchange.origin.shown(answer))),
        };
        (exchange, step)
    }

    /// Counts what the exchange holds from now on with its caller's share of this budget.
    pub fn charge(&mut self, held: &Held, policy_key: Option<&[u8]>) {
        let payer = match self.record.caller.as_deref() {
            Some(caller) if !caller.issuer.is_empty() => {
                let key_source = self.standing.as_ref().and_then(|standing| standing.key_source(caller));
                let (issuer, subject) = (caller.issuer.clone(), caller.subject.clone());
                Payer::Caller { issuer, key_source: key_source.unwrap_or_default(), subject }
            }
            _ => {
                let key = policy_key.map(String::from_utf8_lossy).unwrap_or_default();
                Payer::Policy(RouteKey::parse(&key).policy.to_owned())
            }
        };
        self.holding = Some(held.holding(payer));
    }

    /// Looks at the size of the request's body so far, in bytes.
    ///
    /// # Errors
    /// The answer to a body that is too large, or for which there is no room.
    pub fn request_body_size(&mut self, size: usize) -> Result<(), Answer> {
        if size > self.limits.request_body_bytes {
            let refusal = self.refuse(RequestFault::BodyTooLarge, None);
            return Err(self.origin.shown(refusal));
        }
        self.hold(size).map_err(|too_much| self.origin.shown(denial::too_much(too_much)))
    }

    /// Judges the request's whole body; with `Ok`, headers and body may go upstream, as they are or rewritten.
    ///
    /// # Errors
    /// The answer in place of the server's.
    pub fn request_body(&mut self, body: &[u8]) -> Result<Option<Rewritten>, Answer> {
        self.request_body_size(body.len())?;
        match std::mem::replace(&mut self.state, State::Done) {
            State::Body(judge, revision, has_length) => {
                let judged = self.judge_body(body, &judge, &revision, has_length);
                let (answered, rewritten) = judged.map_err(|answer| self.origin.shown(answer))?;
                self.state = State::Upstream(judge, answered);
                if let Some(standing) = &mut self.standing {
                    standing.asked = Asked::by(body);
                }
                Ok(rewritten)
            }
            state => {
                self.state = state;
                Ok(None)
            }
        }
    }

    /// Says that what was held of the request or the answer has gone on, but for what is remembered of it.
    pub fn release(&mut self) {
        // INVARIANT: less is always allowed.
        let _ = self.hold(0);
    }

    /// Says that the request, with the changes made to its headers, took a route with another policy than the one that
    /// judged it. The server has it by then; its answer is withheld.
    pub fn route_changed(&mut self) -> Answer {
        self.settle(Outcome::Closed, ROUTE_CHANGED);
        (self.state, self.standing) = (State::Done, None);
        self.origin.shown(denial::closed(ROUTE_CHANGED, None))
    }

    /// What happened so far.
    #[must_use]
    pub fn record(&self) -> &Record {
        &self.record
    }
}

impl Exchange {
    /// The endpoint that is asked, by the URL that is known of it, or else by the one that the request names.
    fn endpoint(&self, public_url: Option<&str>, headers: &Headers<'_>) -> Option<Endpoint> {
        Endpoint::of(public_url.or(self.route_origin.as_deref()), headers)
    }

    /// Judges all that the headers tell.
    fn admit(
        &mut self,
        policy: &Rc<RoutePolicy>,
        protection: &Protection,
        table: &PolicyTable,
        headers: &Headers<'_>,
        end_of_stream: bool,
        verification: &mut Verification<'_>,
    ) -> Result<RequestStep, Answer> {
        self.record.method_class = headers.http_method_class();
        if headers.is_doubled("authorization") {
            return Err(self.refuse(RequestFault::TwoAuthorizations, None));
        }
        if headers.has_doubled_decisive_header() {
            return Err(self.refuse(RequestFault::DoubledHeader, None));
        }
        let resource = match &protection.authentication {
            CallerAuthentication::Jwt(authentication) => authentication.resource.as_ref(),
            CallerAuthentication::Anonymous | CallerAuthentication::Passthrough { .. } => None,
        };
        let public_url = match &protection.authentication {
            CallerAuthentication::Passthrough { public_url } => public_url.as_deref(),
            _ => resource.and_then(|resource| resource.public_url.as_deref()),
        };
        self.origin = Origin::of(headers, public_url, &protection.protocol.allowed_origins)
            .map_err(|NotAllowed| self.refuse(RequestFault::Origin, None))?;
        if let Some(answer) = self.origin.preflight(headers) {
            self.settle(Outcome::Allowed, "Preflight");
            return Err(answer);
        }
        let caller = match &protection.authentication {
            CallerAuthentication::Anonymous => Rc::new(Caller::anonymous()),
            CallerAuthentication::Passthrough { .. } => {
                self.remote = self.endpoint(public_url, headers).map(|endpoint| endpoint.metadata_url());
                Rc::new(Caller::anonymous())
            }
            CallerAuthentication::Jwt(authentication) => {
                let verified = self.authenticate(authentication, headers, verification)?;
                let caller = Rc::clone(&verified.caller);
                if let Some(standing) = &mut self.standing {
                    standing.token = Some(verified);
                }
                caller
            }
        };
        self.record.caller = Some(Rc::clone(&caller));
        let binder = match policy.binds_to_callers() {
            true => Some(self.binder(table, headers)?),
            false => None,
        };
        let origin = self.route_origin.as_deref();
        let mut judge = Judge::new(policy, caller, binder.as_ref(), &self.servers, origin, headers);
        let opened = judge.opened(headers).map_err(|not_found| match not_found {
            NotFound::Session => {
                self.settle(Outcome::Denied, "SessionNotFound");
                denial::unknown_session()
            }
            NotFound::Event => {
                self.settle(Outcome::Denied, "EventNotFound");
                denial::unknown_event()
            }
        })?;
        let edits = match &protection.authentication {
            CallerAuthentication::Passthrough { .. } => Edits::with_token(headers),
            _ => Edits::of_request(headers),
        };
        let edits = edits.with(opened);
        match headers.http_method() {
            b"POST" => {
                self.check_content(headers, end_of_stream)?;
                let has_length = HasLength(headers.content_length().is_some());
                self.state = State::Body(judge, Revision::of(headers), has_length);
                Ok(RequestStep::AwaitBody(edits))
            }
            b"DELETE" if judge.transport == Transport::HTTPSSE => Err(self.refuse(RequestFault::NothingToDelete, None)),
            b"GET" | b"DELETE" if end_of_stream => {
                self.settle(Outcome::Allowed, "Verified");
                if headers.http_method() == b"GET" && judge.filters() && !headers.accepts_events() {
                    return Err(self.refuse(RequestFault::NotAcceptable, None));
                }
                // What a server tells beside the protocol may be a list as well.
                self.state = State::Upstream(judge, Answered { id: None, is_list: true });
                Ok(RequestStep::Continue(edits))
            }
            b"GET" | b"DELETE" => Err(self.refuse(RequestFault::UnexpectedBody, None)),
            _ => Err(self.refuse(RequestFault::HttpMethod, None)),
        }
    }

    /// What seals handles, of the keys that Envoy put into the request.
    fn binder(&mut self, table: &PolicyTable, headers: &Headers<'_>) -> Result<Rc<Binder>, Answer> {
        headers.first(BINDING_KEYS_HEADER).and_then(|keys| table.binders.of(keys)).ok_or_else(|| {
            self.settle(Outcome::Closed, NO_BINDING_KEYS);
            denial::closed(NO_BINDING_KEYS, None)
        })
    }

    fn authenticate(
        &mut self,
        authentication: &JwtAuthentication,
        headers: &Headers<'_>,
        verification: &mut Verification<'_>,
    ) -> Result<Rc<Verified>, Answer> {
        self.record.policy = Some(authentication.policy.clone());
        let resource = authentication.resource.as_ref();
        let route_origin = self.route_origin.clone();
        let hints = || Hints::new(resource, route_origin.as_deref(), headers);
        // RFC 6750 section 2.3 allows it; OAuth 2.1 and MCP do not.
        if headers.text(":path").flatten().is_some_and(endpoint::carries_token) {
            return Err(self.refuse(RequestFault::TokenInUrl, None));
        }
        let Some(value) = headers.first("authorization") else {
            self.settle(Outcome::Refused, "NoToken");
            return Err(denial::no_token(&hints()));
        };
        let Some(token) = bearer(value) else {
            self.settle(Outcome::Refused, "NotBearer");
            return Err(denial::not_bearer(&hints()));
        };
        let verified = if token.len() > self.limits.token_bytes {
            Err(Unverified::Bad(TokenFault::TooLong))
        } else {
            verification.verified(token, authentication)
        };
        let verified = verified.and_then(|verified| {
            let endpoint = |origin: &str| Endpoint::of(Some(origin), headers);
            let is_for_it = self.is_for_endpoint(authentication, &verified.caller, endpoint);
            if is_for_it { Ok(verified) } else { Err(Unverified::Bad(TokenFault::WrongAudience)) }
        });
        verified.map_err(|unverified| {
            let Unverified::Bad(fault) = unverified else {
                self.settle(Outcome::Refused, denial::VERIFICATION_BUSY);
                return denial::verification_busy();
            };
            self.settle(Outcome::Refused, fault.reason());
            if fault == TokenFault::UnknownKey {
                self.record.missing_key = jwt::missing_key(token, authentication);
            }
            denial::bad_token(fault, &hints())
        })
    }

    /// Whether a caller's token is for the endpoint that is asked, where it must be.
    fn is_for_endpoint(
        &self,
        authentication: &JwtAuthentication,
        caller: &Caller,
        endpoint: impl FnOnce(&str) -> Option<Endpoint>,
    ) -> bool {
        // In doubt deny: which host a request names is its client's choice, and says nothing.
        let resource = authentication.resource.as_ref();
        let known = resource.and_then(|resource| resource.public_url.as_deref()).or(self.route_origin.as_deref());
        let is_for = |endpoint: Endpoint| claims::is_for(caller.claims(), |one| endpoint.is_within(one));
        !authentication.is_for_endpoint(caller) || known.and_then(endpoint).is_some_and(is_for)
    }

    fn check_content(&mut self, headers: &Headers<'_>, end_of_stream: bool) -> Result<(), Answer> {
        if MediaType::of(headers) != MediaType::Json {
            return Err(self.refuse(RequestFault::ContentType, None));
        }
        if headers.is_encoded() {
            return Err(self.refuse(RequestFault::ContentEncoding, None));
        }
        if end_of_stream {
            return Err(self.refuse(RequestFault::NoBody, None));
        }
        if headers.content_length().is_some_and(|length| length > self.limits.request_body_bytes) {
            return Err(self.refuse(RequestFault::BodyTooLarge, None));
        }
        Ok(())
    }

    /// Judges a whole body; gives the request whose answer is to be judged, and the body to send in place of this one.
    fn judge_body(
        &mut self,
        body: &[u8],
        judge: &Judge,
        revision: &Revision,
        has_length: HasLength,
    ) -> Result<(Answered, Option<Rewritten>), Answer> {
        let is_array = body.trim_ascii_start().first() == Some(&b'[')
            && judge.batches() == Batches::Allow
            && revision.knows_batches();
        let messages = if is_array { Message::parse_array(body) } else { Message::parse(body).map(|one| vec![one]) };
        let messages = messages.map_err(|refusal| {
            self.settle(Outcome::Refused, refusal.fault.reason());
            denial::bad_message(refusal.fault, refusal.id.as_ref())
        })?;
        let mut answered = Answered::default();
        for (index, message) in messages.iter().enumerate() {
            let judged = self.judge_message(message, judge, revision);
            if let (Err(_), Outcome::Denied, false, Message::Request(request)) =
                (&judged, self.record.outcome, is_array, message)
                && let Some(substitute) = judge.substitute(request, has_length)
            {
                return Ok((Answered::default(), Some(substitute)));
            }
            let judged = judged.map_err(|answer| if is_array { of_array(&messages, index, answer) } else { answer });
            let next = judged?;
            answered = Answered { id: answered.id.or(next.id), is_list: answered.is_list || next.is_list };
        }
        let first = messages.first().and_then(Message::request);
        let names_none = |message: &Message<'_>| message.request().is_some_and(|request| !request.names_handle);
        if messages.iter().all(names_none) {
            return Ok((answered, None));
        }
        let rewritten = judge.opened_message(body, first, revision, has_length);
        let rewritten = rewritten.map_err(|UnknownHandle(kind)| {
            let modern = revision.is_modern(first.and_then(|request| request.version.as_deref()));
            let id = first.map(|request| &request.id);
            if kind == Kind::RequestState {
                self.settle(Outcome::Denied, "RequestStateNotFound");
                return denial::unknown_request_state(id, modern);
            }
            self.settle(Outcome::Denied, "TaskNotFound");
            match first {
                Some(request) if modern && request.method == Method::Task && !request.may_become_task => {
                    denial::unknown_extension(&request.id)
                }
                _ => denial::unknown_task(id, modern),
            }
        })?;
        Ok((answered, rewritten))
    }

    fn judge_message(&mut self, message: &Message<'_>, judge: &Judge, revision: &Revision) -> Result<Answered, Answer> {
        match message {
            Message::Request(request) => self.judge_request(request, judge, revision),
            Message::Notification { method } => {
                self.record.method_class = Method::Notification.label();
                self.record.method = Some(method.to_string());
                self.settle(Outcome::Allowed, "Verified");
                Ok(Answered::default())
            }
            // The stateless revisions know no requests of the server, so no responses of the client either.
            Message::Response if revision.is_modern(None) => Err(self.refuse(RequestFault::HeaderMismatch, None)),
            Message::Response => {
                self.record.method_class = Method::Response.label();
                self.settle(Outcome::Allowed, "Verified");
                Ok(Answered::default())
            }
        }
    }

    fn judge_request(&mut self, request: &Request<'_>, judge: &Judge, revision: &Revision) -> Result<Answered, Answer> {
        self.record.method_class = request.method.label();
        self.record.method = Some(request.method_name.to_string());
        self.record.name = request.targets.first().map(|target| target.name().to_owned());
        revision.check(request).map_err(|fault| self.refuse(fault, Some(&request.id)))?;
        if request.method == Method::Removed {
            self.settle(Outcome::Refused, "RemovedMethod");
            return Err(denial::unknown_method(&request.id, true));
        }
        if self.record.outcome != Outcome::DryRunDenied {
            self.settle(Outcome::Allowed, "Verified");
        }
        if judge.hides(request) {
            self.settle(Outcome::Denied, "TasksOfAll");
            return Err(denial::unknown_method(&request.id, revision.is_modern(request.version.as_deref())));
        }
        for item in request.items() {
            match judge.verdict(item, Some(request)) {
                Verdict::Allowed(None) => {}
                Verdict::Allowed(Some(grant)) => {
                    if self.record.outcome == Outcome::Allowed {
                        self.settle(Outcome::Allowed, "RuleMatches");
                        self.record.policy = Some(grant.policy.to_owned());
                        self.record.rule = Some(grant.rule.to_owned());
                    }
                }
                Verdict::DryRunDenied { policy } => {
                    self.settle(Outcome::DryRunDenied, "NoRuleMatches");
                    self.record.policy = Some(policy.to_owned());
                    self.record.rule = None;
                }
                Verdict::NeedsScopes { policy } => {
                    self.settle(Outcome::Denied, "InsufficientScope");
                    self.record.policy = Some(policy.to_owned());
                    self.record.rule = None;
                    let scopes = judge.needed_scopes(item, request);
                    return Err(denial::insufficient_scope(&request.id, scopes, judge.hints().clone()));
                }
                Verdict::Denied { policy, denial, by_arguments } => {
                    self.settle(Outcome::Denied, denial::reason(by_arguments));
                    self.record.policy = Some(policy.to_owned());
                    self.record.rule = None;
                    if let Item::Tool(name) | Item::Prompt(name) | Item::Resource(name) = item {
                        self.record.name = Some(name.to_owned());
                    }
                    let modern = revision.is_modern(request.version.as_deref());
                    return Err(denial::denied(request, item, denial, by_arguments, modern));
                }
            }
        }
        let is_list = request.method.may_answer_with_list() || (request.may_become_task && judge.binds());
        Ok(Answered { id: Some(request.id.clone()), is_list })
    }

    /// Counts so many bytes with what the worker holds; where there is no room, the exchange is refused.
    fn hold(&mut self, bytes: usize) -> Result<(), TooMuch> {
        let bytes = bytes + self.standing.as_ref().map_or(0, Standing::remembered);
        let held = self.holding.as_mut().map_or(Ok(()), |holding| holding.hold(bytes));
        if let Err(too_much) = held {
            self.settle(Outcome::Refused, too_much.reason());
        }
        held
    }

    fn settle(&mut self, outcome: Outcome, reason: &'static str) {
        self.record.outcome = outcome;
        self.record.reason = Reason(reason);
    }

    fn refuse(&mut self, fault: RequestFault, id: Option<&Id>) -> Answer {
        self.settle(Outcome::Refused, fault.reason());
        self.state = State::Done;
        denial::bad_request(fault, id)
    }

    fn close(&mut self, reason: &str, told: Option<&str>) -> RequestStep {
        // The reasons of policies come from the configuration, so they are bounded by it and not by this type.
        self.settle(Outcome::Closed, "Closed");
        self.record.policy = Some(reason.to_owned());
        RequestStep::Answer(denial::closed(reason, told))
    }
}

/// Refuses what a server could read as a request for another route. In doubt deny.
fn check_route(policy: &RoutePolicy, choice: Option<&RouteChoice>, headers: &Headers<'_>) -> Result<(), RequestFault> {
    ambiguous::check_host(headers)?;
    if choice.is_some() || matches!(policy, RoutePolicy::Protected(_)) {
        ambiguous::check_path(headers, choice)?;
    }
    choice.map_or(Ok(()), |choice| ambiguous::check_choice(headers, choice))
}

/// The answer to an array of which one message is refused: an array with an error for each request (JSON-RPC 2.0,
/// section 6).
fn of_array(messages: &[Message<'_>], refused: usize, answer: Answer) -> Answer {
    let errors = messages.iter().enumerate().filter_map(|(index, message)| match message {
        _ if index == refused => Some(answer.body.clone()),
        Message::Request(request) => Some(denial::denied_with_another(&request.id)),
        Message::Notification { .. } | Message::Response => None,
    });
    let body = format!("[{}]", errors.collect::<Vec<_>>().join(","));
    Answer { body, ..answer }
}

/// The token of `Bearer TOKEN` (RFC 6750 section 2.1); the scheme's case does not matter (RFC 9110 section 11.1).
fn bearer(value: &[u8]) -> Option<&str> {
    let (scheme, token) = std::str::from_utf8(value).ok()?.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}
