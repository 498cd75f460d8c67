//! The protocol's revision, and what its headers must say (MCP transports, revision 2026-07-28).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::headers::Headers;
use super::parameters::Parameters;
use crate::denial::RequestFault;
use crate::mcp::message::{Request, Target};

/// The revisions with an `initialize` handshake. Every other one, also one that we don't know yet, must keep the rules
/// of the stateless era, which are the stricter ones.
const LEGACY: [&str; 4] = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"];

/// What the headers say about revision, method and name.
#[derive(Clone, Debug, Default)]
pub(super) struct Revision {
    version: Said,
    method: Said,
    name: Said,
    parameters: Parameters,
}

/// What one header says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Said {
    #[default]
    Nothing,
    Text(String),
    /// It is there but is no text.
    Garbage,
}

impl Said {
    fn by(headers: &Headers<'_>, name: &str) -> Self {
        match headers.text(name) {
            None => Self::Nothing,
            Some(None) => Self::Garbage,
            Some(Some(text)) => Self::Text(text.to_owned()),
        }
    }

    fn is(&self, text: &str) -> bool {
        matches!(self, Self::Text(said) if said == text)
    }
}

impl Revision {
    pub(super) fn of(headers: &Headers<'_>) -> Self {
        let name = match Said::by(headers, "mcp-name") {
            Said::Text(text) => decoded(&text).map_or(Said::Garbage, Said::Text),
            said => said,
        };
        let (version, method) = (Said::by(headers, "mcp-protocol-version"), Said::by(headers, "mcp-method"));
        Self { version, method, name, parameters: Parameters::of(headers) }
    }

    /// Whether the rules of the stateless era apply: when either the header or the message says so.
    pub(super) fn is_modern(&self, message_version: Option<&str>) -> bool {
        let by_header = match &self.version {
            Said::Nothing => false,
            Said::Text(version) => !LEGACY.contains(&version.as_str()),
            Said::Garbage => true,
        };
        by_header || message_version.is_some()
    }

    /// Whether a header says what the method is applied to.
    pub(super) fn names_target(&self) -> bool {
        self.name != Said::Nothing
    }

    /// Whether arrays of messages may be sent: by the old revision 2025-03-26, which is also what no header means.
    pub(super) fn knows_batches(&self) -> bool {
        let version = matches!(&self.version, Said::Nothing) || self.version.is("2025-03-26");
        version && self.method == Said::Nothing && self.name == Said::Nothing
    }

    /// Checks that the headers say what the message says. In the old era they may be absent, but not say something else.
    pub(super) fn check(&self, request: &Request<'_>) -> Result<(), RequestFault> {
        // The headers alone don't make a request of the stateless era.
        if self.is_modern(None) && request.version.is_none() {
            return Err(RequestFault::NoVersion);
        }
        if self.agrees_with(request) { Ok(()) } else { Err(RequestFault::HeaderMismatch) }
    }

    fn agrees_with(&self, request: &Request<'_>) -> bool {
        if !self.parameters.agree_with(request) {
            return false;
        }
        // What completion/complete and subscriptions/listen name has no header.
        let target = request.targets.first().filter(|_| request.method.has_name_header()).map(Target::name);
        let method_agrees = self.method.is(&request.method_name);
        let name_agrees = target.is_none_or(|name| self.name.is(name));
        if self.is_modern(request.version.as_deref()) {
            let version_agrees = request.version.as_deref().is_some_and(|version| self.version.is(version));
            return version_agrees && method_agrees && name_agrees;
        }
        (self.method == Said::Nothing || method_agrees) && (self.name == Said::Nothing || name_agrees)
    }
}

/// What the header `Mcp-Name` says for this name.
pub(super) fn encoded(name: &str) -> String {
    let plain = name.bytes().all(|byte| byte.is_ascii_graphic()) && !name.starts_with("=?");
    if plain { name.to_owned() } else { format!("=?base64?{}?=", STANDARD.encode(name)) }
}

/// `=?base64?…?=` carries what a header can't; everything else is itself.
pub(super) fn decoded(text: &str) -> Option<String> {
    match text.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?=")) {
        None => Some(text.to_owned()),
        Some(encoded) => String::from_utf8(STANDARD.decode(encoded).ok()?).ok(),
    }
}
