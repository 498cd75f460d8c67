//! Where a browser's page comes from: pages of other origins are refused unless they are allowed (MCP transports, "Security
//! Warning"), and allowed ones may see the answer (Fetch standard, "CORS protocol"). Clients that are no browsers send no
//! origin.

use super::headers::{Edits, Headers};
use crate::denial::Answer;

/// What clients of MCP send; a browser asks before it sends them.
const REQUEST_HEADERS: &str = "Authorization, Content-Type, Accept, MCP-Protocol-Version, Mcp-Session-Id, \
                               Last-Event-ID, Mcp-Method, Mcp-Name, DPoP";

/// Parameters of calls in headers; their names are the server's.
const PARAMETER: &str = "mcp-param-";

/// What a page may read of an answer's headers.
const ANSWER_HEADERS: &str = "WWW-Authenticate, Mcp-Session-Id, MCP-Protocol-Version";

/// How long a browser need not ask again, in seconds; browsers have limits of their own.
const MAX_AGE: &str = "7200";

/// The origin of a page that may ask; none: no page asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Origin(Option<String>);

/// The page may not ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotAllowed;

impl Origin {
    pub(super) fn of(headers: &Headers<'_>, public_url: Option<&str>, allowed: &[String]) -> Result<Self, NotAllowed> {
        let Some(origin) = headers.text("origin") else { return Ok(Self(None)) };
        let origin = origin.ok_or(NotAllowed)?;
        let origin = Self(Some(origin.to_owned()));
        if origin.is_allowed(public_url, allowed) { Ok(origin) } else { Err(NotAllowed) }
    }

    /// Whether a page, if one asks, may. The request's own host is no witness: a name of the attacker's may lead here (DNS
    /// rebinding).
    pub(super) fn is_allowed(&self, public_url: Option<&str>, allowed: &[String]) -> bool {
        let is_allowed = |origin| public_url == Some(origin) || allowed.iter().any(|one| one == "*" || one == origin);
        self.0.as_deref().is_none_or(is_allowed)
    }

    /// The answer to a browser that asks whether a page may send what it wants to; none: this is no such question.
    pub(super) fn preflight(&self, headers: &Headers<'_>) -> Option<Answer> {
        let asked = self.0.is_some() && headers.first("access-control-request-method").is_some();
        if headers.http_method() != b"OPTIONS" || !asked {
            return None;
        }
        let wanted = headers.text("access-control-request-headers").flatten().unwrap_or_default();
        let is_parameter = |name: &&str| {
            let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
            plain && name.get(..PARAMETER.len()).is_some_and(|start| start.eq_ignore_ascii_case(PARAMETER))
        };
        let parameters = wanted.split(',').map(str::trim).filter(is_parameter);
        let request_headers: Vec<&str> = [REQUEST_HEADERS].into_iter().chain(parameters).collect();
        Some(Answer {
            status: 204,
            headers: vec![
                ("access-control-allow-methods", "GET, POST, DELETE, OPTIONS".to_owned()),
                ("access-control-allow-headers", request_headers.join(", ")),
                ("access-control-max-age", MAX_AGE.to_owned()),
            ],
            body: String::new(),
        })
    }

    /// An answer of this gateway's that the page may see.
    pub(super) fn shown(&self, mut answer: Answer) -> Answer {
        answer.headers.extend(self.headers("Origin".to_owned()));
        answer
    }

    /// What makes an answer of the server's visible to the page.
    pub(super) fn edits(&self, headers: &Headers<'_>) -> Edits {
        let vary = headers.all("vary").filter_map(|value| std::str::from_utf8(value).ok());
        let vary: Vec<&str> = vary.chain(["Origin"]).collect();
        Edits { remove: Vec::new(), set: self.headers(vary.join(", ")).collect() }
    }

    fn headers(&self, vary: String) -> impl Iterator<Item = (&'static str, String)> {
        let headers = self.0.clone().map(|origin| {
            [
                ("access-control-allow-origin", origin),
                ("access-control-expose-headers", ANSWER_HEADERS.to_owned()),
                ("vary", vary),
            ]
        });
        headers.into_iter().flatten()
    }
}
