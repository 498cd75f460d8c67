//! One HTTP exchange, from the request's headers to the answer's last byte: a state machine that the filter drives.
//!
//! ```text
//! request_headers ─┬─ Continue ────────────────────────┐
//!                  ├─ AwaitBody ─> request_body ─┬─ Ok ─┴─> response_headers ─┬─ Untouched
//!                  └─ Answer                     └─ Answer                    ├─ Buffer ─> response_json
//!                                                                             ├─ Events ─> response_events
//!                                                                             └─ Answer
//! ```
//! INVARIANT: nothing of a request goes upstream before `Continue`.

use std::rc::Rc;

use crate::claims::Caller;
use crate::config::Limits;
use crate::decide::{Verdict, decide};
use crate::denial::{self, Answer, RequestFault};
use crate::jwt::cache::TokenCache;
use crate::jwt::verify::SignatureVerifier;
use crate::jwt::{self, TokenFault};
use crate::mcp::list::{self, Filtered};
use crate::mcp::message::{Id, Message, Request};
use crate::mcp::method::Method;
use crate::mcp::sse::{EventFilter, TooLarge};
use crate::policy::{CallerAuthentication, Gate, Item, JwtAuthentication, PolicyTable, RoutePolicy};
use crate::record::{Outcome, Reason, Record};

mod headers;
mod revision;

pub use headers::{Edits, Headers};

use headers::MediaType;
use revision::Revision;

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

/// What to do with the server's answer.
#[derive(Debug, PartialEq, Eq)]
pub enum ResponseStep {
    /// Pass it on as it is.
    Untouched,
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
}

#[derive(Debug)]
enum State {
    /// Nothing (more) to judge.
    Done,
    /// A request whose body is to be judged.
    Body(Judge, Revision),
    /// A request that went upstream; lists in its answer are to be filtered.
    Upstream(Judge, Option<ListRequest>),
    /// The answer is a stream of events.
    Events(Judge, EventFilter),
}

/// Who judges what, for this exchange.
#[derive(Debug)]
struct Judge {
    policy: Rc<RoutePolicy>,
    caller: Rc<Caller>,
}

/// A request whose JSON answer is a list.
#[derive(Debug)]
struct ListRequest {
    id: Id,
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
        let mut exchange = Self { limits: table.limits.clone(), state: State::Done, record: Record::default() };
        // In doubt deny: a route without a key, or with one that this filter does not know, is closed.
        let key = policy_key.and_then(|key| std::str::from_utf8(key).ok());
        let Some(policy) = key.and_then(|key| table.policy(key)) else {
            let step = exchange.close("UnknownPolicy");
            return (exchange, step);
        };
        let step = match policy.as_ref() {
            RoutePolicy::Open => {
                exchange.settle(Outcome::Open, "Unprotected");
                RequestStep::Continue(Edits::default())
            }
            RoutePolicy::Closed { reason } => exchange.close(reason),
            RoutePolicy::Protected(_) => match exchange.admit(&policy, headers, end_of_stream, verification) {
                Ok(step) => step,
                Err(answer) => RequestStep::Answer(answer),
            },
        };
        (exchange, step)
    }

    /// Looks at the size of the request's body so far, in bytes.
    ///
    /// # Errors
    /// The answer to a body that is too large.
    pub fn request_body_size(&mut self, size: usize) -> Result<(), Answer> {
        if size > self.limits.request_body_bytes { Err(self.refuse(RequestFault::BodyTooLarge, None)) } else { Ok(()) }
    }

    /// Judges the request's whole body; with `Ok`, headers and body may go upstream as they are.
    ///
    /// # Errors
    /// The answer in place of the server's.
    pub fn request_body(&mut self, body: &[u8]) -> Result<(), Answer> {
        self.request_body_size(body.len())?;
        match std::mem::replace(&mut self.state, State::Done) {
            State::Body(judge, revision) => {
                let list = self.judge_body(body, &judge, &revision)?;
                self.state = State::Upstream(judge, list);
            }
            state => self.state = state,
        }
        Ok(())
    }

    /// Whether the server's answer may have to change; where not, its headers need not be looked at.
    #[must_use]
    pub fn filters_answer(&self) -> bool {
        matches!(&self.state, State::Upstream(judge, _) if !judge.gates().is_empty())
    }

    /// Says what is to be done with the server's answer.
    pub fn response_headers(&mut self, headers: &Headers<'_>, end_of_stream: bool) -> ResponseStep {
        let State::Upstream(judge, list) = std::mem::replace(&mut self.state, State::Done) else {
            return ResponseStep::Untouched;
        };
        if end_of_stream || judge.gates().is_empty() {
            return ResponseStep::Untouched;
        }
        let media_type = MediaType::of(headers);
        if media_type != MediaType::EventStream && list.is_none() {
            return ResponseStep::Untouched;
        }
        if headers.is_encoded() {
            let id = list.as_ref().map(|list| &list.id);
            self.settle(Outcome::Refused, "EncodedAnswer");
            return ResponseStep::Answer(denial::unreadable_list(id, "EncodedAnswer"));
        }
        if media_type == MediaType::EventStream {
            self.state = State::Events(judge, EventFilter::new(self.limits.sse_event_bytes));
            return ResponseStep::Events(Edits::of_changed_body());
        }
        self.state = State::Upstream(judge, list);
        ResponseStep::Buffer(Edits::of_changed_body())
    }

    /// Looks at the size of a buffered answer so far, in bytes; gives the body to send in place of one that is too large.
    pub fn response_json_size(&mut self, size: usize) -> Option<Vec<u8>> {
        let State::Upstream(_, Some(list)) = &self.state else { return None };
        if size <= self.limits.list_response_bytes {
            return None;
        }
        let error = denial::unreadable_list_body(Some(&list.id), "ListTooLarge");
        self.state = State::Done;
        self.settle(Outcome::Refused, "ListTooLarge");
        Some(error.into_bytes())
    }

    /// Judges a buffered answer, all of it; gives the body to send in its place, if it has to change.
    pub fn response_json(&mut self, body: &[u8]) -> Option<Vec<u8>> {
        let State::Upstream(judge, Some(list)) = &self.state else { return None };
        let record = &mut self.record;
        match list::filter(body, &mut |item| judge.sees(item, record)) {
            Filtered::Unchanged => None,
            Filtered::Changed(text) => Some(text.into_bytes()),
            Filtered::Unreadable(_) => {
                let error = denial::unreadable_list_body(Some(&list.id), "UnreadableList");
                self.settle(Outcome::Refused, "UnreadableList");
                Some(error.into_bytes())
            }
        }
    }

    /// Filters a chunk of an event stream.
    ///
    /// # Errors
    /// When the stream must end.
    pub fn response_events(&mut self, chunk: &[u8]) -> Result<Vec<u8>, TooLarge> {
        let State::Events(judge, filter) = &mut self.state else { return Ok(chunk.to_vec()) };
        let record = &mut self.record;
        let passed = filter.push(chunk, &mut |item| judge.sees(item, record));
        if filter.met_unreadable_list() {
            self.settle(Outcome::Refused, "UnreadableList");
        }
        if passed.is_err() {
            self.settle(Outcome::Refused, "EventTooLarge");
        }
        passed
    }

    /// What happened so far.
    #[must_use]
    pub fn record(&self) -> &Record {
        &self.record
    }
}

impl Exchange {
    /// Judges all that the headers tell.
    fn admit(
        &mut self,
        policy: &Rc<RoutePolicy>,
        headers: &Headers<'_>,
        end_of_stream: bool,
        verification: &mut Verification<'_>,
    ) -> Result<RequestStep, Answer> {
        let RoutePolicy::Protected(protection) = policy.as_ref() else { return Err(denial::closed("UnknownPolicy")) };
        self.record.method_class = headers.http_method_class();
        if headers.is_doubled("authorization") {
            return Err(self.refuse(RequestFault::TwoAuthorizations, None));
        }
        if headers.has_doubled_decisive_header() {
            return Err(self.refuse(RequestFault::DoubledHeader, None));
        }
        let caller = match &protection.authentication {
            CallerAuthentication::Anonymous => Rc::new(Caller::anonymous()),
            CallerAuthentication::Jwt(authentication) => self.authenticate(authentication, headers, verification)?,
        };
        self.record.caller = Some(Rc::clone(&caller));
        let judge = Judge { policy: Rc::clone(policy), caller };
        let edits = Edits::of_request(headers);
        match headers.http_method() {
            b"POST" => {
                self.check_content(headers, end_of_stream)?;
                self.state = State::Body(judge, Revision::of(headers));
                Ok(RequestStep::AwaitBody(edits))
            }
            b"GET" | b"DELETE" if end_of_stream => {
                self.settle(Outcome::Allowed, "Verified");
                self.state = State::Upstream(judge, None);
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
        let Some(value) = headers.first("authorization") else {
            self.settle(Outcome::Refused, "NoToken");
            return Err(denial::no_token());
        };
        let Some(token) = bearer(value) else {
            self.settle(Outcome::Refused, "NotBearer");
            return Err(denial::not_bearer());
        };
        if token.len() > self.limits.token_bytes {
            return Err(self.refuse_token(TokenFault::TooLong));
        }
        let Verification { verifier, cache, now } = verification;
        if let Some(caller) = cache.caller(token, &authentication.content, *now) {
            return Ok(caller);
        }
        let (caller, validity) =
            jwt::verify(token, authentication, *now, *verifier).map_err(|fault| self.refuse_token(fault))?;
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

    /// Judges a whole body; gives the list that is asked for, if any.
    fn judge_body(&mut self, body: &[u8], judge: &Judge, revision: &Revision) -> Result<Option<ListRequest>, Answer> {
        let message = Message::parse(body).map_err(|refusal| {
            self.settle(Outcome::Refused, refusal.fault.reason());
            denial::bad_message(refusal.fault, refusal.id.as_ref())
        })?;
        match message {
            Message::Request(request) => self.judge_request(&request, judge, revision),
            Message::Notification { method } => {
                self.record.method_class = Method::Notification.label();
                self.record.method = Some(method.into_owned());
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
    ) -> Result<Option<ListRequest>, Answer> {
        self.record.method_class = request.method.label();
        self.record.method = Some(request.method_name.to_string());
        self.record.name = request.target.name().map(str::to_owned);
        if !revision.agrees_with(request) {
            return Err(self.refuse(RequestFault::HeaderMismatch, Some(&request.id)));
        }
        if let Some(item) = request.item() {
            match judge.verdict(item) {
                Verdict::Allowed(grant) => {
                    self.settle(Outcome::Allowed, grant.map_or("Verified", |_| "RuleMatches"));
                    if let Some(grant) = grant {
                        self.record.policy = Some(grant.policy.to_owned());
                        self.record.rule = Some(grant.rule.to_owned());
                    }
                }
                Verdict::DryRunDenied { policy } => {
                    self.settle(Outcome::DryRunDenied, "NoRuleMatches");
                    self.record.policy = Some(policy.to_owned());
                }
                Verdict::Denied { policy, denial } => {
                    self.settle(Outcome::Denied, "NoRuleMatches");
                    self.record.policy = Some(policy.to_owned());
                    let modern = revision.is_modern(request.version.as_deref());
                    return Err(denial::denied(request, denial, modern));
                }
            }
        } else {
            self.settle(Outcome::Allowed, "Verified");
        }
        Ok(request.method.is_list().then(|| ListRequest { id: request.id.clone() }))
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

    fn refuse_token(&mut self, fault: TokenFault) -> Answer {
        self.settle(Outcome::Refused, fault.reason());
        denial::bad_token(fault)
    }

    fn close(&mut self, reason: &str) -> RequestStep {
        // The reasons of policies come from the configuration, so they are bounded by it and not by this type.
        self.settle(Outcome::Closed, "Closed");
        self.record.policy = Some(reason.to_owned());
        RequestStep::Answer(denial::closed(reason))
    }
}

impl Judge {
    fn gates(&self) -> &[Gate] {
        match self.policy.as_ref() {
            RoutePolicy::Protected(protection) => &protection.gates,
            RoutePolicy::Open | RoutePolicy::Closed { .. } => &[],
        }
    }

    fn verdict(&self, item: Item<'_>) -> Verdict<'_> {
        decide(self.gates(), &self.caller, item)
    }

    /// Whether the caller sees this element of a list; what it does not see leaves a trace.
    fn sees(&self, item: Item<'_>, record: &mut Record) -> bool {
        let verdict = self.verdict(item);
        if matches!(verdict, Verdict::Allowed(_)) {
            return true;
        }
        let (Item::Tool(name) | Item::Prompt(name) | Item::Resource(name) | Item::Method(name)) = item;
        record.hidden.add(name);
        match verdict {
            Verdict::DryRunDenied { policy } => {
                record.outcome = Outcome::DryRunDenied;
                record.policy = Some(policy.to_owned());
                true
            }
            Verdict::Denied { policy, .. } => {
                record.policy = Some(policy.to_owned());
                false
            }
            Verdict::Allowed(_) => true,
        }
    }
}

/// The token of `Bearer TOKEN` (RFC 6750 section 2.1); the scheme's case does not matter (RFC 9110 section 11.1).
fn bearer(value: &[u8]) -> Option<&str> {
    let (scheme, token) = std::str::from_utf8(value).ok()?.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}
