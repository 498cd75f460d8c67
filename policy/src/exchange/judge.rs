//! Who may do what in one exchange, and what is whose.

use std::rc::Rc;

use super::endpoint;
use super::handles::Handles;
use super::headers::Headers;
use super::{HasLength, Rewritten};
use crate::binding::Binder;
use crate::claims::Caller;
use crate::config::{Batches, StepUp, Transport};
use crate::decide::{Verdict, decide, needed_scopes};
use crate::mcp::handles::{self, Side};
use crate::mcp::list::{self, Filtered};
use crate::mcp::members;
use crate::mcp::message::Request;
use crate::mcp::sse::{self, EventId, Rewrite, StreamEnd};
use crate::policy::{Call, CallerAuthentication, Gate, HttpRequest, Item, Protection, RoutePolicy};
use crate::protected_resource::{Endpoint, Hints};
use crate::record::{Outcome, Record};

/// The caller of an exchange before the policy.
#[derive(Debug)]
pub(super) struct Judge {
    policy: Rc<RoutePolicy>,
    caller: Rc<Caller>,
    /// None: handles belong to whoever knows them.
    pub(super) handles: Option<Handles>,
    /// Names the servers of the route that was taken.
    servers: Rc<str>,
    pub(super) transport: Transport,
    /// The server's own id of the session; empty where there is none.
    pub(super) session: String,
    pub(super) http: HttpRequest,
    /// By which the request names the gateway.
    pub(super) authority: String,
    /// Nothing where no caller is asked for more scopes.
    hints: Hints,
}

/// The method of what is sent to a server in place of a denied request, where only the server can answer. None has it.
const DENIED: &str = "toolward/denied";

/// The method that asks for all tasks.
const LIST_OF_TASKS: &str = "tasks/list";

impl Judge {
    pub(super) fn new(
        policy: &Rc<RoutePolicy>,
        caller: Rc<Caller>,
        binder: Option<&Rc<Binder>>,
        servers: &Rc<str>,
        route_origin: Option<&str>,
        headers: &Headers<'_>,
    ) -> Self {
        let handles = Handles::of(policy, &caller, binder, servers);
        let bare = endpoint::bare(headers.text(":path").flatten().unwrap_or_default());
        let authority = headers.text(":authority").flatten().unwrap_or_default();
        let http = HttpRequest { path: bare.to_owned(), host: host(authority) };
        let hints = match policy.as_ref() {
            RoutePolicy::Protected(Protection { authentication: CallerAuthentication::Jwt(jwt), gates, .. })
                if gates.iter().any(|gate| gate.step_up == StepUp::Challenge) =>
            {
                Hints::new(jwt.resource.as_ref(), route_origin, headers)
            }
            _ => Hints::default(),
        };
        let (session, authority) = (String::new(), authority.to_owned());
        Self {
            policy: Rc::clone(policy),
            caller,
            handles,
            servers: Rc::clone(servers),
            transport: transport(policy),
            session,
            http,
            authority,
            hints,
        }
    }

    /// What to send in place of a denied request, where its client waits on another stream for an answer that only the
    /// server can put there: one that every server answers with an error.
    pub(super) fn substitute(&self, request: &Request<'_>, has_length: HasLength) -> Option<Rewritten> {
        if self.transport == Transport::StreamableHTTP {
            return None;
        }
        let body = format!(r#"{{"jsonrpc":"2.0","id":{},"method":"{DENIED}"}}"#, request.id);
        Some(Rewritten::request(body, has_length))
    }

    pub(super) fn batches(&self) -> Batches {
        self.protection().map_or(Batches::Refuse, |protection| protection.protocol.batches)
    }

    fn protection(&self) -> Option<&Protection> {
        match self.policy.as_ref() {
            RoutePolicy::Protected(protection) => Some(protection),
            RoutePolicy::Open
            | RoutePolicy::Closed { .. }
            | RoutePolicy::Metadata { .. }
            | RoutePolicy::IssuerMetadata { .. }
            | RoutePolicy::Registration { .. }
            | RoutePolicy::Remote
            | RoutePolicy::RemoteMetadata { .. } => None,
        }
    }

    /// Whether handles belong to callers.
    pub(super) fn binds(&self) -> bool {
        self.handles.is_some()
    }

    /// Whether messages travel under another policy as they did.
    pub(super) fn speaks_as(&self, policy: &RoutePolicy) -> bool {
        self.transport == transport(policy)
    }

    /// Judges by another policy from now on.
    pub(super) fn renew(&mut self, policy: &Rc<RoutePolicy>, caller: Rc<Caller>) {
        let binder = self.handles.take().map(Handles::into_binder);
        self.handles = Handles::of(policy, &caller, binder.as_ref(), &self.servers);
        (self.policy, self.caller) = (Rc::clone(policy), caller);
    }

    /// The endpoint that is asked, where clients know the gateway by this origin.
    pub(super) fn endpoint(&self, origin: &str) -> Option<Endpoint> {
        Endpoint::at(origin, &self.http.path)
    }

    /// Whether anything in an answer may have to change: it depends on who asks, or on rules.
    pub(super) fn filters(&self) -> bool {
        let is_by_caller = |one: &Protection| !matches!(one.authentication, CallerAuthentication::Anonymous);
        !self.gates().is_empty() || self.protection().is_some_and(is_by_caller)
    }

    /// `request`: none where what is asked is whether the item could be granted.
    pub(super) fn verdict(&self, item: Item<'_>, request: Option<&Request<'_>>) -> Verdict<'_> {
        decide(self.gates(), &Call { caller: &self.caller, http: &self.http, request }, item)
    }

    /// All scopes that a request takes which has too few of them.
    pub(super) fn needed_scopes(&self, item: Item<'_>, request: &Request<'_>) -> Vec<String> {
        let call = Call { caller: &self.caller, http: &self.http, request: Some(request) };
        needed_scopes(self.gates(), &call, item)
    }

    /// Whether the method asks for the tasks of all callers: a server's list does not say whose they are.
    pub(super) fn hides(&self, request: &Request<'_>) -> bool {
        self.binds() && request.method_name == LIST_OF_TASKS
    }

    /// What a challenge tells.
    pub(super) fn hints(&self) -> &Hints {
        &self.hints
    }

    fn gates(&self) -> &[Gate] {
        self.protection().map_or(&[], |protection| &protection.gates)
    }

    /// Whether the caller sees this element of a list; what it does not see leaves a trace.
    fn sees(&self, item: Item<'_>, record: &mut Record) -> bool {
        let verdict = self.verdict(item, None);
        if matches!(verdict, Verdict::Allowed(_) | Verdict::NeedsScopes { .. }) {
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
            Verdict::Allowed(_) | Verdict::NeedsScopes { .. } => true,
        }
    }
}

/// How messages travel.
fn transport(policy: &RoutePolicy) -> Transport {
    match policy {
        RoutePolicy::Protected(protection) => protection.protocol.transport,
        _ => Transport::default(),
    }
}

/// The host of an authority in the one spelling in which rules name it: in lower case, without port and final dot.
fn host(authority: &str) -> String {
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    let host = authority.rsplit_once(':').filter(|(_, port)| is_port(port)).map_or(authority, |(host, _)| host);
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

/// What is done with what an answer carries.
pub(super) struct AnswerFilter<'j> {
    judge: &'j Judge,
    /// For how long a client may keep what it gets.
    lifetime_ms: u64,
    record: &'j mut Record,
}

impl<'j> AnswerFilter<'j> {
    pub(super) fn new(judge: &'j Judge, lifetime_ms: u64, record: &'j mut Record) -> Self {
        Self { judge, lifetime_ms, record }
    }

    /// Judges a whole body.
    pub(super) fn body(&mut self, body: &[u8]) -> Filtered {
        match std::str::from_utf8(body) {
            Ok(_) if !self.may_change(body) => Filtered::Unchanged,
            Ok(text) => self.message(text),
            // In doubt deny: a list in another encoding, or with bytes in whose place each reader puts something else.
            Err(_) => Filtered::Unreadable(None),
        }
    }
}

impl Rewrite for AnswerFilter<'_> {
    fn may_change(&self, event: &[u8]) -> bool {
        list::may_change(event)
            || members::holds(event, "endpoint")
            || (self.judge.binds() && (sse::may_have_id(event) || handles::may_hold_handle(event)))
            || std::str::from_utf8(event).is_err()
    }

    fn message(&mut self, text: &str) -> Filtered {
        let Self { judge, lifetime_ms, record } = self;
        let filtered = list::filter(text, *lifetime_ms, &mut |item| judge.sees(item, record));
        let Some(own) = &judge.handles else { return filtered };
        let current = match &filtered {
            Filtered::Unchanged => Some(text),
            Filtered::Changed(text) => Some(text.as_str()),
            Filtered::Unreadable(_) | Filtered::Dropped => None,
        };
        let mut sealed = |kind, handle: &str| own.seal(kind, "", handle);
        match current.map(|current| handles::rewrite(current, Side::Server, &mut sealed)) {
            Some(handles::Rewritten::Changed(text)) => Filtered::Changed(text),
            Some(handles::Rewritten::Refused) => Filtered::Unreadable(current.and_then(list::message_id)),
            Some(handles::Rewritten::Unchanged) | None => filtered,
        }
    }

    fn endpoint(&mut self, uri: &str) -> Result<Option<String>, StreamEnd> {
        self.judge.shown_endpoint(uri)
    }

    fn event_id(&mut self, id: &str) -> EventId {
        self.judge.shown_event_id(id)
    }
}
