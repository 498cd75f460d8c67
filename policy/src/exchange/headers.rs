//! Headers as they come, doubled ones visible, and the changes made to them.

use super::parameters::PREFIX;

/// Headers in the order in which they came, names in lower case, pseudo-headers among them.
#[derive(Clone, Copy, Debug)]
pub struct Headers<'h>(pub &'h [(String, Vec<u8>)]);

/// Headers that decide what a request means; each may stand there once.
const DECISIVE: [&str; 8] = [
    "content-type",
    "content-encoding",
    "origin",
    "mcp-protocol-version",
    "mcp-method",
    "mcp-name",
    "mcp-session-id",
    "last-event-id",
];

/// Headers by which a client could have a server see another method than the one that was judged.
const METHOD_OVERRIDES: [&str; 3] = ["x-http-method-override", "x-http-method", "x-method-override"];

/// Headers of this prefix say what was verified; nobody but the filter may send them.
const OWN_PREFIX: &str = "x-toolward-";

/// Headers of a request that are rewritten where it says more than a server may see.
const REWRITTEN: [&str; 7] = [
    "authorization",
    "accept-encoding",
    "accept-charset",
    "content-length",
    "mcp-session-id",
    "mcp-name",
    "last-event-id",
];

/// Whether the filter may change this header, by its lower-case name, on the way to the server. Envoy then looks for the
/// route anew, so a route that is chosen by such a header is not the one that the request takes in the end.
#[must_use]
pub fn changes_header(name: &str) -> bool {
    REWRITTEN.contains(&name) || METHOD_OVERRIDES.contains(&name) || name.starts_with(OWN_PREFIX)
}

/// Whether a request is judged by this header, by its lower-case name.
#[must_use]
pub fn decides(name: &str) -> bool {
    DECISIVE.contains(&name) || name.starts_with(PREFIX)
}

impl<'h> Headers<'h> {
    /// All values of a header, by its lower-case name.
    pub fn all(self, name: &str) -> impl Iterator<Item = &'h [u8]> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_slice())
    }

    /// The first value of a header.
    #[must_use]
    pub fn first(self, name: &str) -> Option<&'h [u8]> {
        self.all(name).next()
    }

    pub(crate) fn text(self, name: &str) -> Option<Option<&'h str>> {
        self.first(name).map(|value| std::str::from_utf8(value).ok())
    }

    pub(super) fn http_method(self) -> &'h [u8] {
        self.first(":method").unwrap_or_default()
    }

    /// A label of a bounded set.
    pub(super) fn http_method_class(self) -> &'static str {
        match self.http_method() {
            b"POST" => "POST",
            b"GET" => "GET",
            b"DELETE" => "DELETE",
            _ => "none",
        }
    }

    /// Whether a header of which there is to be one came twice. Envoy joins some doubled headers with a comma.
    pub(super) fn is_doubled(self, name: &str) -> bool {
        self.all(name).count() > 1 || self.first(name).is_some_and(|value| value.contains(&b','))
    }

    pub(super) fn has_doubled_decisive_header(self) -> bool {
        self.0.iter().any(|(name, _)| decides(name) && self.all(name).count() > 1)
    }

    pub(super) fn is_encoded(self) -> bool {
        self.all("content-encoding").any(|value| !value.trim_ascii().eq_ignore_ascii_case(b"identity"))
    }

    /// Whether the answer may be a stream of events, as far as `accept` tells (RFC 9110 section 12.5.1).
    pub(super) fn accepts_events(self) -> bool {
        let ranges = ["text/event-stream", "text/*", "*/*"];
        let is_fitting = |value: &[u8]| {
            let value = String::from_utf8_lossy(value).to_ascii_lowercase();
            ranges.iter().any(|range| value.contains(range))
        };
        self.first("accept").is_none() || self.all("accept").any(is_fitting)
    }

    pub(super) fn content_length(self) -> Option<usize> {
        std::str::from_utf8(self.first("content-length")?).ok()?.parse().ok()
    }
}

/// The media type of a body, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MediaType {
    Json,
    EventStream,
    Other,
}

impl MediaType {
    /// Reads `content-type`: type and subtype without regard to case, and no charset but UTF-8.
    pub(super) fn of(headers: &Headers<'_>) -> Self {
        let Some(Some(value)) = headers.text("content-type") else { return Self::Other };
        let mut parts = value.split(';').map(str::trim);
        let essence = parts.next().unwrap_or_default();
        if essence.eq_ignore_ascii_case("text/event-stream") {
            return Self::EventStream;
        }
        let is_utf8 = |parameter: &str| {
            parameter.split_once('=').is_none_or(|(name, charset)| {
                !name.trim().eq_ignore_ascii_case("charset") || charset.trim_matches('"').eq_ignore_ascii_case("utf-8")
            })
        };
        if essence.eq_ignore_ascii_case("application/json") && parts.all(is_utf8) { Self::Json } else { Self::Other }
    }
}

/// Changes to headers: removals first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edits {
    /// Names to remove, all values.
    pub remove: Vec<String>,
    /// Names and values to put in place of what is there.
    pub set: Vec<(&'static str, String)>,
}

impl Edits {
    /// The caller's token is for this gateway and goes no further (MCP authorization, "Access Token Privilege
    /// Restriction"); the answer must come in a form that can be read.
    pub(super) fn of_request(headers: &Headers<'_>) -> Self {
        let token = headers.first("authorization").map(|_| "authorization".to_owned());
        let edits = Self::with_token(headers);
        Self { remove: edits.remove.into_iter().chain(token).collect(), ..edits }
    }

    /// The same for a caller whose token is for the server.
    pub(super) fn with_token(headers: &Headers<'_>) -> Self {
        let Self { mut remove, .. } = Self::unjudged(headers);
        remove.extend(headers.first("accept-charset").map(|_| "accept-charset".to_owned()));
        let set = if headers.first("accept-encoding").is_some() {
            vec![("accept-encoding", "identity".to_owned())]
        } else {
            Vec::new()
        };
        Self { remove, set }
    }

    /// What nobody but the filter may say, and what would make another request of it, on ways where nothing is judged, too.
    pub(super) fn unjudged(headers: &Headers<'_>) -> Self {
        let unwanted = |name: &&String| name.starts_with(OWN_PREFIX) || METHOD_OVERRIDES.contains(&name.as_str());
        let remove = headers.0.iter().map(|(name, _)| name).filter(unwanted).cloned().collect();
        Self { remove, set: Vec::new() }
    }

    /// Both.
    pub(super) fn with(mut self, other: Self) -> Self {
        self.remove.extend(other.remove);
        self.set.extend(other.set);
        self
    }

    /// Pages of all origins may see the answer.
    pub(super) fn for_all_pages() -> Self {
        Self { remove: Vec::new(), set: vec![("access-control-allow-origin", "*".to_owned())] }
    }

    /// A body that may change has no length or digest known beforehand.
    pub(super) fn of_changed_body() -> Self {
        let remove = ["content-length", "etag", "digest", "content-digest", "repr-digest", "content-md5"];
        Self { remove: remove.map(str::to_owned).to_vec(), set: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_changed_is_told() {
        let names =
            [&METHOD_OVERRIDES[..], &["authorization", "accept-encoding", "x-toolward-subject", "host"]].concat();
        let headers: Vec<(String, Vec<u8>)> = names.iter().map(|name| ((*name).to_owned(), b"x".to_vec())).collect();
        let edits = Edits::of_request(&Headers(&headers));
        let changed: Vec<&str> =
            edits.remove.iter().map(String::as_str).chain(edits.set.iter().map(|(name, _)| *name)).collect();
        for name in names {
            assert_eq!(changes_header(name), changed.contains(&name), "{name}");
        }
    }
}
