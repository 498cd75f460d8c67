//! Who may do what in one exchange, and what is whose.

use std::rc::Rc;

use super::endpoint::{self, Unsealed};
use super::headers::{Edits, Headers};
use super::revision::{self, Revision};
use super::{HasLength, Rewritten};
use crate::binding::{Binder, Kind};
use crate::claims::Caller;
use crate::config::{Batches, StepUp};
use crate::decide::{Verdict, decide, needed_scopes};
use crate::mcp::list::{self, Filtered};
use crate::mcp::members;
use crate::mcp::message::{Request, Target};
use crate::mcp::method::Method;
use crate::mcp::sse::Rewrite;
use crate::mcp::tasks;
use crate::policy::{Call, CallerAuthentication, Gate, HttpRequest, Item, Protection, RoutePolicy};
use crate::protected_resource::{Endpoint, Hints};
use crate::record::{Outcome, Record};

const SESSION: &str = "mcp-session-id";

/// The caller of an exchange before the policy.
#[derive(Debug)]
pub(super) struct Judge {
    policy: Rc<RoutePolicy>,
    caller: Rc<Caller>,
    /// None: sessions and tasks belong to whoever knows their ids.
    binder: Option<Rc<Binder>>,
    transport: Transport,
    http: HttpRequest,
    /// Nothing where no caller is asked for more scopes.
    hints: Hints,
}

/// How messages travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transport {
    /// Answers come in the response.
    StreamableHttp,
    /// Answers come on a stream that another exchange opened (revision 2024-11-05).
    HttpSse,
}

/// The method of what is sent to a server in place of a denied request, where only the server can answer. None has it.
const DENIED: &str = "toolward/denied";

/// The method that asks for all tasks.
const LIST_OF_TASKS: &str = "tasks/list";

/// A request names a task that is not the caller's.
#[derive(Clone, Copy, Debug)]
pub(super) struct UnknownTask;

impl Judge {
    pub(super) fn new(
        policy: &Rc<RoutePolicy>,
        caller: Rc<Caller>,
        binder: &Rc<Binder>,
        route_origin: Option<&str>,
        headers: &Headers<'_>,
    ) -> Self {
        let binder = policy.binds_to_callers().then(|| Rc::clone(binder));
        let path = headers.text(":path").flatten().unwrap_or_default();
        let transport = if endpoint::names_session(path) { Transport::HttpSse } else { Transport::StreamableHttp };
        let bare = path.split_once('?').map_or(path, |(bare, _)| bare);
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
        Self { policy: Rc::clone(policy), caller, binder, transport, http, hints }
    }

    /// What to send in place of a denied request, where its client waits on another stream for an answer that only the
    /// server can put there: one that every server answers with an error.
    pub(super) fn substitute(&self, request: &Request<'_>, HasLength(has_length): HasLength) -> Option<Rewritten> {
        if self.transport == Transport::StreamableHttp {
            return None;
        }
        let body = format!(r#"{{"jsonrpc":"2.0","id":{},"method":"{DENIED}"}}"#, request.id);
        let mut edits = Edits::default();
        if has_length {
            edits.set.push(("content-length", body.len().to_string()));
        }
        Some(Rewritten { body: body.into_bytes(), edits })
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

    /// Whether sessions and tasks belong to callers.
    pub(super) fn binds(&self) -> bool {
        self.binder.is_some()
    }

    /// Judges by another policy from now on.
    pub(super) fn renew(&mut self, policy: &Rc<RoutePolicy>, caller: Rc<Caller>, binder: &Rc<Binder>) {
        self.binder = policy.binds_to_callers().then(|| Rc::clone(binder));
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

/// The host of an authority in the one spelling in which rules name it: in lower case, without port and final dot.
fn host(authority: &str) -> String {
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    let host = authority.rsplit_once(':').filter(|(_, port)| is_port(port)).map_or(authority, |(host, _)| host);
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

/// Sessions.
impl Judge {
    /// The request's headers with the server's own id of the session; `None`: the session is not the caller's.
    pub(super) fn unbound_session(&self, headers: &Headers<'_>) -> Option<Edits> {
        let mut edits = Edits::default();
        let Some(binder) = &self.binder else { return Some(edits) };
        if let Some(bound) = headers.text(SESSION) {
            let id = binder.unbind(Kind::Session, &self.caller, bound?)?;
            edits.set.push((SESSION, id.to_owned()));
        }
        let path = headers.text(":path").flatten().unwrap_or_default();
        let is_seal = |session: &str, seal: &str| binder.is_mac(Kind::Session, &self.caller, session, seal);
        match endpoint::unsealed(path, is_seal) {
            Unsealed::NoSession => {}
            Unsealed::Path(path) => edits.set.push((":path", path)),
            Unsealed::Refused => return None,
        }
        Some(edits)
    }

    /// The answer's headers with the id of the session as the caller is to see it.
    pub(super) fn bound_session(&self, headers: &Headers<'_>) -> Edits {
        let mut edits = Edits::default();
        if let (Some(binder), Some(id)) = (&self.binder, headers.text(SESSION)) {
            match id.and_then(|id| binder.bind(Kind::Session, &self.caller, id)) {
                Some(bound) => edits.set.push((SESSION, bound)),
                None => edits.remove.push(SESSION.to_owned()),
            }
        }
        edits
    }
}

/// Tasks.
impl Judge {
    /// The request with the server's own ids of tasks, where it names any.
    pub(super) fn unbound_tasks(
        &self,
        body: &[u8],
        request: Option<&Request<'_>>,
        revision: &Revision,
        HasLength(has_length): HasLength,
    ) -> Result<Option<Rewritten>, UnknownTask> {
        let (Some(binder), Ok(body)) = (&self.binder, std::str::from_utf8(body)) else { return Ok(None) };
        let own = |id: &str| binder.unbind(Kind::Task, &self.caller, id).map(str::to_owned);
        let body = match tasks::rewrite(body, &mut |id| own(id)) {
            tasks::Rewritten::Unchanged => return Ok(None),
            tasks::Rewritten::Changed(body) => body.into_bytes(),
            tasks::Rewritten::Refused => return Err(UnknownTask),
        };
        let mut edits = Edits::default();
        if has_length {
            edits.set.push(("content-length", body.len().to_string()));
        }
        let named = request.filter(|request| request.method == Method::Task && revision.names_target());
        if let Some(Target::Task(id)) = named.and_then(|request| request.targets.first()) {
            edits.set.push(("mcp-name", revision::encoded(&own(id).ok_or(UnknownTask)?)));
        }
        Ok(Some(Rewritten { body, edits }))
    }
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
            || (self.judge.binds() && (members::holds(event, "endpoint") || tasks::may_name_task(event)))
            || std::str::from_utf8(event).is_err()
    }

    fn message(&mut self, text: &str) -> Filtered {
        let Self { judge, lifetime_ms, record } = self;
        let filtered = list::filter(text, *lifetime_ms, &mut |item| judge.sees(item, record));
        let Some(binder) = &judge.binder else { return filtered };
        let current = match &filtered {
            Filtered::Unchanged => Some(text),
            Filtered::Changed(text) => Some(text.as_str()),
            Filtered::Unreadable(_) | Filtered::Dropped => None,
        };
        let bound = |id: &str| binder.bind(Kind::Task, &judge.caller, id);
        match current.map(|current| tasks::rewrite(current, &mut |id| bound(id))) {
            Some(tasks::Rewritten::Changed(text)) => Filtered::Changed(text),
            Some(tasks::Rewritten::Refused) => Filtered::Unreadable(current.and_then(list::message_id)),
            Some(tasks::Rewritten::Unchanged) | None => filtered,
        }
    }

    fn endpoint(&mut self, uri: &str) -> Option<String> {
        let binder = self.judge.binder.as_ref()?;
        endpoint::sealed(uri, |session| binder.seal(Kind::Session, &self.judge.caller, session))
    }
}
