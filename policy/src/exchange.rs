//! One HTTP exchange, from the request's headers to the answer's last byte: a state machine that the filter drives.
//!
//! ```text
//! request_headers ─┬─ Continue ────────────────────────┐
//!                  ├─ AwaitBody ─> request_body ─┬─ Ok ─┴─> response_headers ─┬─ Pass
//!                  └─ Answer                     └─ Answer                    ├─ Buffer ─> response_json
//!                                                                             ├─ Events ─> response_events
//!                                                                             └─ Answer
//! ```
//! INVARIANT: nothing of a request goes upstream before `Continue`.

use std::borrow::Cow;
use std::rc::Rc;

use crate::claims::Caller;
use crate::config::{Batches, Limits, RouteKey};
use crate::decide::Verdict;
use crate::denial::{self, Answer, RequestFault};
use crate::jwt::cache::TokenCache;
use crate::jwt::verify::SignatureVerifier;
use crate::jwt::{self, TokenFault, claims};
use crate::mcp::list::Filtered;
use crate::mcp::message::{Id, Message, Request};
use crate::mcp::method::Method;
use crate::mcp::sse::{EventFilter, TooLarge};
use crate::policy::{CallerAuthentication, Item, JwtAuthentication, PolicyTable, Protection, RoutePolicy};
use crate::protected_resource::{Endpoint, Hints};
use crate::record::{Outcome, Reason, Record};
use crate::remote;
use crate::route_choice::RouteChoice;

mod ambiguous;
mod endpoint;
mod headers;
mod held;
mod judge;
mod metadata;
mod origin;
mod revision;

pub use endpoint::changes_parameter;
pub use headers::{Edits, Headers, changes_header};
pub use held::{Budget, Holding, Payer, SMALL_BYTES, TooMuch};

use judge::{AnswerFilter, Judge, UnknownTask};

use headers::MediaType;
use origin::{NotAllowed, Origin};
use revision::Revision;

/// The route names no policy, or one that this filter does not know.
const UNKNOWN_POLICY: &str = "UnknownPolicy";

/// Without what is taken out of the request's headers, another route fits.
const ROUTE_CHANGED: &str = "RouteChanged";

/// What verifying a token needs from outside.
pub struct Verification<'v> {
    /// Checks signatures.
    pub verifier: &'v dyn SignatureVerifier,
    /// Remembers verified tokens.
    pub cache: &'v mut TokenCache,
    /// Seconds since the epoch.
    pub now: u64,
}

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
    /// Hold headers and body; [`Exchange::response_json`] judges the whole.
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
    state: State,
    record: Record,
    origin: Origin,
    /// By which clients know the route's host.
    route_origin: Option<String>,
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
    Upstream(Judge, Option<Answered>),
    /// The answer is a stream of events.
    Events(Judge, EventFilter),
    /// A request for a server's metadata went upstream, which are to be told of this endpoint.
    Metadata(Endpoint, Option<String>),
}

/// Whether a request says how long its body is.
#[derive(Clone, Copy, Debug)]
struct HasLength(bool);

/// A request whose JSON answer is to be judged.
#[derive(Debug)]
struct Answered {
    /// None: the request was no message.
    id: Option<Id>,
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
        let mut exchange =
            Self { limits: table.limits.clone(), state, record, origin, route_origin, remote: None, holding: None };
        // In doubt deny: a route without a key, or with one that this filter does not know, is closed.
        let Some(policy) = key.and_then(|key| table.policy(key.policy)) else {
            exchange.settle(Outcome::Closed, UNKNOWN_POLICY);
            return (exchange, RequestStep::Answer(denial::closed(UNKNOWN_POLICY)));
        };
        if let Err(fault) = exchange.check_route(&policy, key.and_then(|key| key.choice), headers) {
            exchange.record.method_class = headers.http_method_class();
            let refusal = exchange.refuse(fault, None);
            return (exchange, RequestStep::Answer(refusal));
        }
        let step = match policy.as_ref() {
            RoutePolicy::Open => {
                exchange.settle(Outcome::Open, "Unprotected");
                RequestStep::Continue(Edits::default())
            }
            RoutePolicy::Remote => {
                exchange.settle(Outcome::Open, "Unprotected");
                exchange.remote = exchange.endpoint(None, headers).map(|endpoint| endpoint.metadata_url());
                RequestStep::Continue(Edits::default())
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
            RoutePolicy::Closed { reason } => exchange.close(reason),
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
    pub fn charge(&mut self, budget: &Budget, policy_key: Option<&[u8]>) {
        let payer = match self.record.caller.as_deref() {
            Some(caller) if !caller.issuer.is_empty() => {
                Payer::Caller { issuer: caller.issuer.clone(), subject: caller.subject.clone() }
            }
            _ => {
                let key = policy_key.map(String::from_utf8_lossy).unwrap_or_default();
                Payer::Policy(RouteKey::parse(&key).policy.to_owned())
            }
        };
        self.holding = Some(budget.holding(payer));
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
                Ok(rewritten)
            }
            state => {
                self.state = state;
                Ok(None)
            }
        }
    }

    /// Whether the server's answer may have to change; where not, its headers need not be looked at.
    #[must_use]
    pub fn filters_answer(&self) -> bool {
        match &self.state {
            State::Upstream(judge, _) => self.remote.is_some() || self.origin.is_page() || judge.filters(),
            State::Metadata(..) => true,
            State::Done | State::Body(..) | State::Events(..) => self.remote.is_some(),
        }
    }

    /// Says what is to be done with the server's answer.
    pub fn response_headers(&mut self, headers: &Headers<'_>, end_of_stream: bool) -> ResponseStep {
        let (judge, answered) = match std::mem::replace(&mut self.state, State::Done) {
            State::Upstream(judge, answered) => (judge, answered),
            State::Metadata(endpoint, server) => return self.told_metadata(endpoint, server, headers, end_of_stream),
            State::Done | State::Body(..) | State::Events(..) => {
                return ResponseStep::Pass(self.told_challenge(headers));
            }
        };
        let edits = judge.bound_session(headers).with(self.origin.edits(headers)).with(self.told_challenge(headers));
        let is_stream = MediaType::of(headers) == MediaType::EventStream;
        if end_of_stream || !judge.filters() || (!is_stream && answered.is_none()) {
            return ResponseStep::Pass(edits);
        }
        if headers.is_encoded() {
            let id = answered.as_ref().and_then(|answered| answered.id.as_ref());
            self.settle(Outcome::Refused, "EncodedAnswer");
            return ResponseStep::Answer(self.origin.shown(denial::unreadable_list(id, "EncodedAnswer")));
        }
        let edits = edits.with(Edits::of_changed_body());
        if is_stream {
            self.state = State::Events(judge, EventFilter::new(self.limits.sse_event_bytes));
            return ResponseStep::Events(edits);
        }
        self.state = State::Upstream(judge, answered);
        ResponseStep::Buffer(edits)
    }

    /// Looks at the size of a buffered answer so far, in bytes; gives the body to send in place of one that is too large.
    pub fn response_json_size(&mut self, size: usize) -> Option<Vec<u8>> {
        let too_much = self.hold(size).err();
        if size <= self.limits.list_response_bytes && too_much.is_none() {
            return None;
        }
        let id = match &self.state {
            State::Upstream(_, Some(answered)) => answered.id.as_ref(),
            State::Metadata(..) => None,
            _ => return None,
        };
        let error = match too_much {
            Some(too_much) => denial::too_much_body(id, too_much),
            None => denial::unreadable_list_body(id, "ListTooLarge"),
        };
        self.state = State::Done;
        self.settle(Outcome::Refused, too_much.map_or("ListTooLarge", TooMuch::reason));
        Some(error.into_bytes())
    }

    /// Judges a buffered answer, all of it; gives the body to send in its place, if it has to change.
    pub fn response_json(&mut self, body: &[u8]) -> Option<Vec<u8>> {
        if let State::Metadata(endpoint, _) = &self.state {
            // What is no metadata passes as it is: of it a client makes nothing.
            return remote::metadata(body, &endpoint.url()).map(String::into_bytes);
        }
        let State::Upstream(judge, Some(answered)) = &self.state else { return None };
        match AnswerFilter::new(judge, &mut self.record).body(body) {
            Filtered::Unchanged => None,
            Filtered::Changed(text) => Some(text.into_bytes()),
            Filtered::Unreadable(_) => {
                let error = denial::unreadable_list_body(answered.id.as_ref(), "UnreadableList");
                self.settle(Outcome::Refused, "UnreadableList");
                Some(error.into_bytes())
            }
        }
    }

    /// Filters a chunk of an event stream; what is borrowed is the chunk, all of it.
    ///
    /// # Errors
    /// When the stream must end.
    pub fn response_events<'c>(&mut self, chunk: &'c [u8]) -> Result<Cow<'c, [u8]>, TooLarge> {
        let State::Events(judge, filter) = &mut self.state else { return Ok(Cow::Borrowed(chunk)) };
        let passed = filter.push(chunk, &mut AnswerFilter::new(judge, &mut self.record));
        let carried = filter.held();
        if filter.met_unreadable_list() {
            self.settle(Outcome::Refused, "UnreadableList");
        }
        if passed.is_err() {
            self.settle(Outcome::Refused, "EventTooLarge");
            return passed;
        }
        self.hold(carried).map_err(|_| TooLarge)?;
        passed
    }

    /// Says that what was held of the request or the answer has gone on.
    pub fn release(&mut self) {
        if let Some(holding) = &mut self.holding {
            holding.release();
        }
    }

    /// Says that the request, with the changes made to its headers, took a route with another policy than the one that
    /// judged it. The server has it by then; its answer is withheld.
    pub fn route_changed(&mut self) -> Answer {
        self.settle(Outcome::Closed, ROUTE_CHANGED);
        self.state = State::Done;
        self.origin.shown(denial::closed(ROUTE_CHANGED))
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

    /// Refuses what a server could read as a request for another route. In doubt deny.
    fn check_route(
        &mut self,
        policy: &RoutePolicy,
        choice: Option<&str>,
        headers: &Headers<'_>,
    ) -> Result<(), RequestFault> {
        let choice = choice.map(RouteChoice::parse);
        ambiguous::check_host(headers)?;
        if choice.is_some() || matches!(policy, RoutePolicy::Protected(_)) {
            ambiguous::check_path(headers, choice.as_ref())?;
        }
        choice.map_or(Ok(()), |choice| ambiguous::check_choice(headers, &choice))
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
            CallerAuthentication::Jwt(authentication) => self.authenticate(authentication, headers, verification)?,
        };
        self.record.caller = Some(Rc::clone(&caller));
        let judge = Judge::new(policy, caller, &table.binder, self.route_origin.as_deref(), headers);
        let Some(session) = judge.unbound_session(headers) else {
            self.settle(Outcome::Denied, "SessionNotFound");
            return Err(denial::unknown_session());
        };
        let edits = match &protection.authentication {
            CallerAuthentication::Passthrough { .. } => Edits::with_token(headers),
            _ => Edits::of_request(headers),
        };
        let edits = edits.with(session);
        match headers.http_method() {
            b"POST" => {
                self.check_content(headers, end_of_stream)?;
                let has_length = HasLength(headers.content_length().is_some());
                self.state = State::Body(judge, Revision::of(headers), has_length);
                Ok(RequestStep::AwaitBody(edits))
            }
            b"GET" | b"DELETE" if end_of_stream => {
                self.settle(Outcome::Allowed, "Verified");
                if headers.http_method() == b"GET" && judge.filters() && !headers.accepts_events() {
                    return Err(self.refuse(RequestFault::NotAcceptable, None));
                }
                // What a server tells beside the protocol may be a list as well.
                self.state = State::Upstream(judge, Some(Answered { id: None }));
                Ok(RequestStep::Continue(edits))
            }
            b"GET" | b"DELETE" => Err(self.refuse(RequestFault::UnexpectedBody, None)),
            _ => Err(self.refuse(RequestFault::HttpMethod, None)),
        }
    }

    fn authenticate(
        &mut self,
        authentication: &JwtAuthentication,
        headers: &Headers<'_>,
        verification: &mut Verification<'_>,
    ) -> Result<Rc<Caller>, Answer> {
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
        let caller = self.verified(token, authentication, verification);
        let caller = caller.and_then(|caller| {
            let is_for_endpoint = |endpoint: Endpoint| claims::is_for(caller.claims(), |one| endpoint.is_within(one));
            // In doubt deny: which host a request names is its client's choice, and says nothing.
            let known = resource.and_then(|resource| resource.public_url.as_deref()).or(route_origin.as_deref());
            let is_for_it = !authentication.is_for_endpoint(&caller)
                || known.and_then(|origin| Endpoint::of(Some(origin), headers)).is_some_and(is_for_endpoint);
            if is_for_it { Ok(caller) } else { Err(TokenFault::WrongAudience) }
        });
        caller.map_err(|fault| {
            self.settle(Outcome::Refused, fault.reason());
            if fault == TokenFault::UnknownKey {
                self.record.missing_key = jwt::missing_key(token, authentication);
            }
            denial::bad_token(fault, &hints())
        })
    }

    fn verified(
        &self,
        token: &str,
        authentication: &JwtAuthentication,
        Verification { verifier, cache, now }: &mut Verification<'_>,
    ) -> Result<Rc<Caller>, TokenFault> {
        if token.len() > self.limits.token_bytes {
            return Err(TokenFault::TooLong);
        }
        if let Some(caller) = cache.caller(token, &authentication.content, *now) {
            return Ok(caller);
        }
        let (caller, validity) = jwt::verify(token, authentication, *now, *verifier)?;
        let caller = Rc::new(caller);
        cache.remember(token, &authentication.content, Rc::clone(&caller), validity);
        Ok(caller)
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
    ) -> Result<(Option<Answered>, Option<Rewritten>), Answer> {
        let is_array = body.trim_ascii_start().first() == Some(&b'[')
            && judge.batches() == Batches::Allow
            && revision.knows_batches();
        let messages = if is_array { Message::parse_array(body) } else { Message::parse(body).map(|one| vec![one]) };
        let messages = messages.map_err(|refusal| {
            self.settle(Outcome::Refused, refusal.fault.reason());
            denial::bad_message(refusal.fault, refusal.id.as_ref())
        })?;
        let mut answered = None;
        for (index, message) in messages.iter().enumerate() {
            let judged = self.judge_message(message, judge, revision);
            if let (Err(_), Outcome::Denied, false, Message::Request(request)) =
                (&judged, self.record.outcome, is_array, message)
                && let Some(substitute) = judge.substitute(request, has_length)
            {
                return Ok((None, Some(substitute)));
            }
            let judged = judged.map_err(|answer| if is_array { of_array(&messages, index, answer) } else { answer });
            answered = answered.or(judged?);
        }
        let first = messages.first().and_then(Message::request);
        let names_none = |message: &Message<'_>| message.request().is_some_and(|request| !request.names_task);
        if messages.iter().all(names_none) {
            return Ok((answered, None));
        }
        let rewritten = judge.unbound_tasks(body, first, revision, has_length);
        let rewritten = rewritten.map_err(|UnknownTask| {
            self.settle(Outcome::Denied, "TaskNotFound");
            let modern = revision.is_modern(first.and_then(|request| request.version.as_deref()));
            match first {
                Some(request) if modern && request.method == Method::Task && !request.may_become_task => {
                    denial::unknown_extension(&request.id)
                }
                first => denial::unknown_task(first.map(|request| &request.id), modern),
            }
        })?;
        Ok((answered, rewritten))
    }

    fn judge_message(
        &mut self,
        message: &Message<'_>,
        judge: &Judge,
        revision: &Revision,
    ) -> Result<Option<Answered>, Answer> {
        match message {
            Message::Request(request) => self.judge_request(request, judge, revision),
            Message::Notification { method } => {
                self.record.method_class = Method::Notification.label();
                self.record.method = Some(method.to_string());
                self.settle(Outcome::Allowed, "Verified");
                Ok(None)
            }
            // The stateless revisions know no requests of the server, so no responses of the client either.
            Message::Response if revision.is_modern(None) => Err(self.refuse(RequestFault::HeaderMismatch, None)),
            Message::Response => {
                self.record.method_class = Method::Response.label();
                self.settle(Outcome::Allowed, "Verified");
                Ok(None)
            }
        }
    }

    fn judge_request(
        &mut self,
        request: &Request<'_>,
        judge: &Judge,
        revision: &Revision,
    ) -> Result<Option<Answered>, Answer> {
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
        let is_judged = request.method.may_answer_with_list() || (request.may_become_task && judge.binds());
        Ok(is_judged.then(|| Answered { id: Some(request.id.clone()) }))
    }

    /// Counts so many bytes with what the worker holds; where there is no room, the exchange is refused.
    fn hold(&mut self, bytes: usize) -> Result<(), TooMuch> {
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

    fn close(&mut self, reason: &str) -> RequestStep {
        // The reasons of policies come from the configuration, so they are bounded by it and not by this type.
        self.settle(Outcome::Closed, "Closed");
        self.record.policy = Some(reason.to_owned());
        RequestStep::Answer(denial::closed(reason))
    }
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
