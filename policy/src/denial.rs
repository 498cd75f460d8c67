//! Every answer that is given in place of the server's.

use serde_json::json;

use crate::config::Denial;
use crate::exchange::TooMuch;
use crate::jwt::TokenFault;
use crate::mcp::message::{Id, MessageFault, Request, TASKS_EXTENSION};
use crate::policy::Item;
use crate::protected_resource::Hints;

/// After this time, in seconds, whoever was refused for want of room or time may come again.
const RETRY_AFTER: u32 = 1;

/// An answer in place of the server's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Headers beside `content-type`, which is always `application/json` where there is a body.
    pub headers: Vec<(&'static str, String)>,
    /// JSON, or nothing.
    pub body: String,
}

/// What is wrong with a request before its body is looked at (and its size).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the texts say it")]
pub enum RequestFault {
    #[error("more than one Authorization header")]
    TwoAuthorizations,
    #[error("a header that decides about the request stands twice")]
    DoubledHeader,
    #[error("only POST, GET and DELETE are accepted")]
    HttpMethod,
    #[error("a GET or DELETE request must not have a body")]
    UnexpectedBody,
    #[error("with HTTP+SSE there is nothing to delete: a session ends with its stream")]
    NothingToDelete,
    #[error("a POST request needs a body")]
    NoBody,
    #[error("the content type must be application/json in UTF-8")]
    ContentType,
    #[error("a GET request must accept text/event-stream")]
    NotAcceptable,
    #[error("compressed bodies are not accepted")]
    ContentEncoding,
    #[error("the body is too large")]
    BodyTooLarge,
    #[error("a token must not stand in the URL; send it in the Authorization header")]
    TokenInUrl,
    #[error("pages of this origin may not ask")]
    Origin,
    #[error("the host or the path of the request can't stand in a URL")]
    Unnameable,
    #[error("only GET is accepted")]
    MetadataMethod,
    #[error("only POST is accepted")]
    RegistrationMethod,
    #[error("the headers Mcp-Method, Mcp-Name and MCP-Protocol-Version must say what the body says")]
    HeaderMismatch,
    #[error("params._meta must name the revision, as the header MCP-Protocol-Version does")]
    NoVersion,
    #[error("the host must be a name or an address, with a port or without")]
    Host,
    #[error("the path has a ; or an octet that servers read in different ways")]
    Path,
    #[error("a header by which the route is chosen stands twice, or is a list")]
    RouteHeader,
    #[error("a query parameter by which the route is chosen stands twice, or in another spelling")]
    RouteParameter,
    #[error("the method by which the route is chosen could be read as another one")]
    RouteMethod,
}

impl RequestFault {
    /// The word for answer, metric and log.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::TwoAuthorizations => "TwoAuthorizations",
            Self::DoubledHeader => "DoubledHeader",
            Self::HttpMethod => "HttpMethod",
            Self::UnexpectedBody => "UnexpectedBody",
            Self::NothingToDelete => "NothingToDelete",
            Self::NoBody => "NoBody",
            Self::ContentType => "ContentType",
            Self::NotAcceptable => "NotAcceptable",
            Self::ContentEncoding => "ContentEncoding",
            Self::BodyTooLarge => "BodyTooLarge",
            Self::HeaderMismatch => "HeaderMismatch",
            Self::NoVersion => "NoVersion",
            Self::TokenInUrl => "TokenInUrl",
            Self::Origin => "OriginNotAllowed",
            Self::Unnameable => "Unnameable",
            Self::MetadataMethod => "MetadataMethod",
            Self::RegistrationMethod => "RegistrationMethod",
            Self::Host => "InvalidHost",
            Self::Path => "AmbiguousPath",
            Self::RouteHeader => "AmbiguousHeader",
            Self::RouteParameter => "AmbiguousParameter",
            Self::RouteMethod => "AmbiguousMethod",
        }
    }

    fn status(self) -> u16 {
        match self {
            Self::Origin => 403,
            Self::HttpMethod | Self::NothingToDelete | Self::MetadataMethod | Self::RegistrationMethod => 405,
            Self::NotAcceptable => 406,
            Self::BodyTooLarge => 413,
            Self::ContentType | Self::ContentEncoding => 415,
            _ => 400,
        }
    }

    fn code(self) -> i32 {
        match self {
            Self::NoBody => -32700,
            Self::HeaderMismatch => -32020,
            Self::NoVersion => -32602,
            _ => -32600,
        }
    }
}

/// No token came. RFC 6750 section 3.1: then there is no `error` in the challenge.
#[must_use]
pub fn no_token(hints: &Hints) -> Answer {
    let body = json!({
        "error": "unauthorized",
        "error_description": "a bearer token is needed: send it in the Authorization header as `Bearer TOKEN`",
    });
    Answer { status: 401, headers: vec![("www-authenticate", hints.challenge(None))], body: body.to_string() }
}

/// A token came that is no good.
#[must_use]
pub fn bad_token(fault: TokenFault, hints: &Hints) -> Answer {
    let description = fault.to_string();
    let challenge = hints.challenge(Some(("invalid_token", &description)));
    let body = json!({ "error": "invalid_token", "error_description": description });
    Answer { status: 401, headers: vec![("www-authenticate", challenge)], body: body.to_string() }
}

/// The `Authorization` header is not that of a bearer token.
#[must_use]
pub fn not_bearer(hints: &Hints) -> Answer {
    let description = "the Authorization header is not of the form `Bearer TOKEN`";
    let body = json!({ "error": "unauthorized", "error_description": description });
    Answer { status: 401, headers: vec![("www-authenticate", hints.challenge(None))], body: body.to_string() }
}

/// The token is good, and has too few scopes for the request (RFC 6750 section 3.1; MCP authorization, "Scope Challenge
/// Handling").
#[must_use]
pub fn insufficient_scope(id: &Id, scopes: Vec<String>, hints: Hints) -> Answer {
    let message = format!("More scopes are needed: {}", scopes.join(" "));
    let hints = hints.with_scopes(scopes);
    let challenge = hints.challenge(Some(("insufficient_scope", "the token has too few scopes for this")));
    let body = error(Some(id), -32602, &message, "InsufficientScope");
    Answer { status: 403, headers: vec![("www-authenticate", challenge)], body }
}

/// The metadata of an endpoint, for whoever asks (RFC 9728 section 3.2).
#[must_use]
pub fn metadata(document: String) -> Answer {
    let headers = [("cache-control", "max-age=3600"), ("access-control-allow-origin", "*")];
    Answer { status: 200, headers: headers.map(|(name, value)| (name, value.to_owned())).to_vec(), body: document }
}

/// A client is registered (RFC 7591 section 3.2.1).
#[must_use]
pub fn registered(document: String) -> Answer {
    let headers = [("cache-control", "no-store"), ("access-control-allow-origin", "*")];
    Answer { status: 201, headers: headers.map(|(name, value)| (name, value.to_owned())).to_vec(), body: document }
}

/// Pages of all origins may ask for what is public, with whatever headers they send: MCP Inspector 1.x names a type of content for
/// its lack of a body.
#[must_use]
pub fn preflight_of_all_pages(methods: &str) -> Answer {
    let headers = [
        ("access-control-allow-origin", "*"),
        ("access-control-allow-methods", methods),
        ("access-control-allow-headers", "*"),
        ("access-control-max-age", "7200"),
    ];
    let headers = headers.map(|(name, value)| (name, value.to_owned())).to_vec();
    Answer { status: 204, headers, body: String::new() }
}

/// What protects the route is broken, or nothing protects it. The operator finds the details in status and log; the caller is
/// told `told` at most.
#[must_use]
pub fn closed(reason: &str, told: Option<&str>) -> Answer {
    let message = told.map_or_else(|| "Service unavailable".to_owned(), |told| format!("Service unavailable: {told}"));
    Answer { status: 503, headers: Vec::new(), body: error(None, -32603, &message, reason) }
}

/// The reason of [`verification_busy`].
pub const VERIFICATION_BUSY: &str = "VerificationBusy";

/// So many tokens with wrong signatures name an issuer that no further ones of it are looked at for a moment.
#[must_use]
pub fn verification_busy() -> Answer {
    let headers = vec![("retry-after", RETRY_AFTER.to_string())];
    Answer { headers, ..closed(VERIFICATION_BUSY, None) }
}

/// There is no route, which is what Envoy itself would say.
#[must_use]
pub fn no_route() -> Answer {
    Answer { status: 404, headers: Vec::new(), body: String::new() }
}

/// The request is not acceptable as HTTP.
#[must_use]
pub fn bad_request(fault: RequestFault, id: Option<&Id>) -> Answer {
    let headers = match fault {
        RequestFault::HttpMethod => vec![("allow", "POST, GET, DELETE".to_owned())],
        RequestFault::NothingToDelete => vec![("allow", "POST, GET".to_owned())],
        RequestFault::MetadataMethod => vec![("allow", "GET, OPTIONS".to_owned())],
        RequestFault::RegistrationMethod => vec![("allow", "POST, OPTIONS".to_owned())],
        // RFC 9110 section 15.5.16.
        RequestFault::ContentEncoding => vec![("accept-encoding", "identity".to_owned())],
        _ => Vec::new(),
    };
    Answer { status: fault.status(), headers, body: error(id, fault.code(), &fault.to_string(), fault.reason()) }
}

/// More bodies are held than may be.
#[must_use]
pub fn too_much(too_much: TooMuch) -> Answer {
    let status = match too_much {
        TooMuch::OfCaller => 429,
        TooMuch::OfIssuer | TooMuch::OfAll => 503,
    };
    let headers = vec![("retry-after", RETRY_AFTER.to_string())];
    Answer { status, headers, body: too_much_body(None, too_much) }
}

/// The body of [`too_much`], for where the server's status is already decided.
#[must_use]
pub fn too_much_body(id: Option<&Id>, too_much: TooMuch) -> String {
    let message = match too_much {
        TooMuch::OfCaller => "This caller has too many large requests at a time",
        TooMuch::OfIssuer => "Callers of this issuer have too many large requests at a time",
        TooMuch::OfAll => "There are too many large requests at a time",
    };
    error(id, -32603, message, too_much.reason())
}

/// The body is not acceptable.
#[must_use]
pub fn bad_message(fault: MessageFault, id: Option<&Id>) -> Answer {
    Answer { status: 400, headers: Vec::new(), body: error(id, fault.code(), &fault.to_string(), fault.reason()) }
}

/// The policy denies the call. By default the answer is the one for something that does not exist, with a status that
/// the clients of that revision take for an answer and not for the end of their session.
#[must_use]
pub fn denied(request: &Request<'_>, item: Item<'_>, denial: Denial, by_arguments: bool, modern: bool) -> Answer {
    let (status, error) = match (denial, item) {
        (Denial::Forbidden, _) => {
            (403, json!({ "code": -32602, "message": "Forbidden", "data": { "reason": reason(by_arguments) } }))
        }
        // What the caller may use, and sees in lists, is not denied: these arguments are.
        (Denial::UnknownTool, Item::Tool(name) | Item::Prompt(name)) if by_arguments => {
            let message = format!("Invalid arguments for {name}: these are not allowed");
            (missing_status(modern), json!({ "code": -32602, "message": message }))
        }
        (Denial::UnknownTool, Item::Tool(name)) => {
            (missing_status(modern), json!({ "code": -32602, "message": format!("Unknown tool: {name}") }))
        }
        (Denial::UnknownTool, Item::Prompt(name)) => {
            (missing_status(modern), json!({ "code": -32602, "message": format!("Unknown prompt: {name}") }))
        }
        (Denial::UnknownTool, Item::Resource(uri)) => {
            let code = if modern { -32602 } else { -32002 };
            (missing_status(modern), json!({ "code": code, "message": format!("Resource not found: {uri}") }))
        }
        (Denial::UnknownTool, Item::Method(_)) => return unknown_method(&request.id, modern),
    };
    let body = format!(r#"{{"jsonrpc":"2.0","id":{},"error":{error}}}"#, request.id);
    Answer { status, headers: Vec::new(), body }
}

fn missing_status(modern: bool) -> u16 {
    if modern { 400 } else { 200 }
}

/// The client says nothing of knowing tasks, but asks for one (revision 2026-07-28).
#[must_use]
pub fn unknown_extension(id: &Id) -> Answer {
    let capabilities = json!({ "extensions": { TASKS_EXTENSION: {} } });
    let data = json!({ "requiredCapabilities": capabilities, "reason": "MissingCapability" });
    let error =
        json!({ "code": -32021, "message": "The client does not declare the extension for tasks", "data": data });
    Answer { status: 400, headers: Vec::new(), body: format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#) }
}

/// The word for answer, metric and log.
#[must_use]
pub fn reason(by_arguments: bool) -> &'static str {
    if by_arguments { "ArgumentsNotGranted" } else { "NoRuleMatches" }
}

/// The session is not there for this caller (MCP transports, "Session Management"): clients open a new one.
#[must_use]
pub fn unknown_session() -> Answer {
    Answer { status: 404, headers: Vec::new(), body: error(None, -32001, "Session not found", "SessionNotFound") }
}

/// No event with this id is there for this caller in this session. Clients go on without it: a status of 404 would end their
/// own session.
#[must_use]
pub fn unknown_event() -> Answer {
    Answer { status: 400, headers: Vec::new(), body: error(None, -32600, "Event not found", "EventNotFound") }
}

/// What a request brings back was never given to this caller (revision 2026-07-28, `requestState`): clients ask anew.
#[must_use]
pub fn unknown_request_state(id: Option<&Id>, modern: bool) -> Answer {
    let body = error(id, -32602, "Request state not found", "RequestStateNotFound");
    Answer { status: missing_status(modern), headers: Vec::new(), body }
}

/// A task is not there for this caller. A status of 404 would end the caller's own session.
#[must_use]
pub fn unknown_task(id: Option<&Id>, modern: bool) -> Answer {
    let body = error(id, -32602, "Task not found", "TaskNotFound");
    Answer { status: missing_status(modern), headers: Vec::new(), body }
}

/// The method is not there for anybody.
#[must_use]
pub fn unknown_method(id: &Id, modern: bool) -> Answer {
    let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32601,"message":"Method not found"}}}}"#);
    Answer { status: if modern { 404 } else { 200 }, headers: Vec::new(), body }
}

/// Another message of the same array is denied, and with it this one.
#[must_use]
pub fn denied_with_another(id: &Id) -> String {
    error(Some(id), -32600, "Another message of this array is denied", "Batch")
}

/// The server's list can't be filtered, and so is not shown.
#[must_use]
pub fn unreadable_list(id: Option<&Id>, reason: &str) -> Answer {
    Answer { status: 502, headers: Vec::new(), body: unreadable_list_body(id, reason) }
}

/// The body of [`unreadable_list`], for where the server's status is already decided.
#[must_use]
pub fn unreadable_list_body(id: Option<&Id>, reason: &str) -> String {
    error(id, -32603, "The server's list could not be read", reason)
}

fn error(id: Option<&Id>, code: i32, message: &str, reason: &str) -> String {
    let id = id.map_or_else(|| "null".to_owned(), Id::to_string);
    let error = json!({ "code": code, "message": message, "data": { "reason": reason } });
    format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#)
}
