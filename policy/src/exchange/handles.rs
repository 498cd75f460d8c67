//! What of an exchange works like a bearer token: it leaves sealed, and opens for the caller alone whose it is.

use std::rc::Rc;

use super::HasLength;
use super::Rewritten;
use super::endpoint;
use super::headers::{Edits, Headers};
use super::judge::Judge;
use super::revision::{self, Revision};
use crate::binding::{Binder, Kind, Owner};
use crate::claims::Caller;
use crate::config::Transport;
use crate::mcp::handles::{self, Side};
use crate::mcp::message::{Request, Target};
use crate::mcp::method::Method;
use crate::mcp::sse::{EventId, StreamEnd};
use crate::policy::{CallerAuthentication, Protection, RoutePolicy};

const SESSION: &str = "mcp-session-id";

const LAST_EVENT: &str = "last-event-id";

/// Longest id of an event that is passed on, in bytes: it comes back in a header.
const MAX_EVENT_ID_BYTES: usize = 4096;

/// Seals and opens what belongs to one caller.
#[derive(Debug)]
pub(super) struct Handles {
    binder: Rc<Binder>,
    caller: Rc<Caller>,
    key_source: Rc<str>,
    servers: Rc<str>,
}

/// A header of a request, or its path, names what is not the caller's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotFound {
    Session,
    Event,
}

/// A message names what is not the caller's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UnknownHandle(pub(super) Kind);

impl Handles {
    /// `None`: what there is belongs to whoever knows it.
    pub(super) fn of(
        policy: &RoutePolicy,
        caller: &Rc<Caller>,
        binder: Option<&Rc<Binder>>,
        servers: &Rc<str>,
    ) -> Option<Self> {
        let binder = binder?;
        let RoutePolicy::Protected(Protection { authentication: CallerAuthentication::Jwt(jwt), .. }) = policy else {
            return None;
        };
        // INVARIANT: a verified caller's issuer is one that the policy accepts.
        let key_source = jwt.key_source(caller).unwrap_or_default();
        let (binder, caller, servers) = (Rc::clone(binder), Rc::clone(caller), Rc::clone(servers));
        policy.binds_to_callers().then_some(Self { binder, caller, key_source, servers })
    }

    pub(super) fn into_binder(self) -> Rc<Binder> {
        self.binder
    }

    fn owner(&self) -> Owner<'_> {
        let Caller { issuer, subject, .. } = self.caller.as_ref();
        Owner { issuer, key_source: &self.key_source, subject: subject.as_deref(), servers: &self.servers }
    }

    pub(super) fn seal(&self, kind: Kind, scope: &str, handle: &str) -> Option<String> {
        self.binder.seal(kind, self.owner(), scope, handle)
    }

    fn open(&self, kind: Kind, scope: &str, sealed: &str) -> Option<String> {
        self.binder.open(kind, self.owner(), scope, sealed)
    }
}

/// Handles in headers and paths.
impl Judge {
    /// The changes by which a request's headers name what the server knows.
    pub(super) fn opened(&mut self, headers: &Headers<'_>) -> Result<Edits, NotFound> {
        let mut edits = Edits::default();
        let Some(handles) = &self.handles else { return Ok(edits) };
        match self.transport {
            Transport::StreamableHTTP => {
                if let Some(sealed) = headers.text(SESSION) {
                    let id = sealed.and_then(|sealed| handles.open(Kind::Session, "", sealed));
                    let id = id.ok_or(NotFound::Session)?;
                    edits.set.push((SESSION, id.clone()));
                    self.session = id;
                }
            }
            Transport::HTTPSSE => {
                // The session of this transport is the endpoint's.
                edits.remove.extend(headers.first(SESSION).map(|_| SESSION.to_owned()));
                if headers.http_method() == b"POST" {
                    let path = headers.text(":path").flatten().and_then(endpoint::seal);
                    let opened = path.and_then(|(path, seal)| Some((path, handles.open(Kind::Endpoint, path, seal)?)));
                    let (path, endpoint) = opened.ok_or(NotFound::Session)?;
                    edits.set.extend([(":path", path.to_owned()), (endpoint::ENDPOINT, endpoint)]);
                }
            }
        }
        if let Some(sealed) = headers.text(LAST_EVENT) {
            let id = sealed.and_then(|sealed| handles.open(Kind::Event, &self.session, sealed));
            edits.set.push((LAST_EVENT, id.ok_or(NotFound::Event)?));
        }
        Ok(edits)
    }

    /// The changes by which an answer's headers name what the caller is to see.
    pub(super) fn sealed(&mut self, headers: &Headers<'_>) -> Edits {
        let mut edits = Edits::default();
        let (Some(handles), Some(id)) = (&self.handles, headers.text(SESSION)) else { return edits };
        let sealed = id.filter(|_| self.transport == Transport::StreamableHTTP);
        match sealed.and_then(|id| handles.seal(Kind::Session, "", id)) {
            Some(sealed) => edits.set.push((SESSION, sealed)),
            None => edits.remove.push(SESSION.to_owned()),
        }
        self.session = id.unwrap_or_default().to_owned();
        edits
    }
}

/// Handles in messages.
impl Judge {
    /// The request with the server's own handles, where it has any.
    pub(super) fn opened_message(
        &self,
        body: &[u8],
        request: Option<&Request<'_>>,
        revision: &Revision,
        has_length: HasLength,
    ) -> Result<Option<Rewritten>, UnknownHandle> {
        let (Some(handles), Ok(body)) = (&self.handles, std::str::from_utf8(body)) else { return Ok(None) };
        let mut unknown = UnknownHandle(Kind::Task);
        let mut own = |kind: Kind, sealed: &str| {
            unknown = UnknownHandle(kind);
            handles.open(kind, "", sealed)
        };
        let mut rewritten = match handles::rewrite(body, Side::Client, &mut own) {
            handles::Rewritten::Unchanged => return Ok(None),
            handles::Rewritten::Changed(body) => Rewritten::request(body, has_length),
            handles::Rewritten::Refused => return Err(unknown),
        };
        let named = request.filter(|request| request.method == Method::Task && revision.names_target());
        if let Some(Target::Task(sealed)) = named.and_then(|request| request.targets.first()) {
            let id = handles.open(Kind::Task, "", sealed).ok_or(UnknownHandle(Kind::Task))?;
            rewritten.edits.set.push(("mcp-name", revision::encoded(&id)));
        }
        Ok(Some(rewritten))
    }
}

/// Handles on streams.
impl Judge {
    /// The endpoint to announce in place of this one; `None`: this one.
    pub(super) fn shown_endpoint(&self, uri: &str) -> Result<Option<String>, StreamEnd> {
        match (self.transport, &self.handles) {
            (Transport::StreamableHTTP, _) => Err(StreamEnd::TransportNotAllowed),
            (Transport::HTTPSSE, None) => Ok(None),
            (Transport::HTTPSSE, Some(handles)) => {
                let endpoint = endpoint::announced(uri, &self.authority);
                let seal = endpoint.and_then(|endpoint| handles.seal(Kind::Endpoint, &self.http.path, endpoint));
                seal.map(|seal| Some(endpoint::shown(&self.http.path, &seal))).ok_or(StreamEnd::EndpointNotAllowed)
            }
        }
    }

    /// What becomes of an event's id (WHATWG HTML section 9.2.6): it comes back as `Last-Event-ID`.
    pub(super) fn shown_event_id(&self, id: &str) -> EventId {
        let Some(handles) = &self.handles else { return EventId::Same };
        // HTTP takes blanks around a header's value away.
        let id = id.trim_matches([' ', '\t']);
        if id.is_empty() {
            return EventId::Same;
        }
        let is_header = id.len() <= MAX_EVENT_ID_BYTES && !id.bytes().any(|byte| byte.is_ascii_control());
        let sealed = is_header.then(|| handles.seal(Kind::Event, &self.session, id)).flatten();
        sealed.map_or(EventId::Dropped, EventId::Other)
    }
}
