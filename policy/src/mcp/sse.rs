//! Server-sent events (WHATWG HTML section 9.2), filtered one by one as they arrive.
//!
//! An event that needs no change is passed on at once and byte for byte; nothing is held back for later events. What a
//! client would discard (an event that the stream's end cuts off) is not passed on either.

use std::borrow::Cow;

use memchr::{memchr2, memmem};

use super::list::Filtered;
use crate::denial;

/// Cuts a stream into events, wherever the chunks' borders are, and filters each.
#[derive(Debug)]
pub struct EventFilter {
    limit: usize,
    /// The bytes of the event that is not complete yet.
    carry: Vec<u8>,
    /// How many of them were looked at.
    seen: usize,
    /// Whether the line that is being looked at has any bytes yet.
    line: Line,
    /// The last byte looked at was a CR; an LF behind it belongs to the same line end.
    after_cr: bool,
    /// At the stream's beginning a byte order mark is allowed.
    first_event: bool,
    /// Some event held a list that could not be read.
    unreadable: bool,
}

/// What is done with what a stream carries.
pub trait Rewrite {
    /// Whether an event with these bytes, or one of several, might have to change; where not, none need be read.
    fn may_change(&self, event: &[u8]) -> bool;

    /// Judges the message (or the messages) of an event.
    fn message(&mut self, text: &str) -> Filtered;

    /// The URI to announce in place of this one (transport HTTP+SSE, revision 2024-11-05); none: this one.
    ///
    /// # Errors
    /// When it may not be announced.
    fn endpoint(&mut self, uri: &str) -> Result<Option<String>, StreamEnd>;

    /// What becomes of the id of an event.
    fn event_id(&mut self, id: &str) -> EventId;
}

/// What becomes of the id of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventId {
    /// It stays.
    Same,
    /// It is this one.
    Other(String),
    /// The event has none.
    Dropped,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Empty,
    Begun,
}

/// Why a stream must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamEnd {
    /// An event grew past the limit.
    #[error("an event is too large")]
    TooLarge,
    /// Too much is held of this caller's bodies, or of all.
    #[error("there is no room for an event that is not complete yet")]
    NoRoom,
    /// It announces an endpoint, where no policy says `protocol: { transport: HTTPSSE }`.
    #[error("the server speaks HTTP+SSE; `protocol: {{ transport: HTTPSSE }}` in the policies of this way allows it")]
    TransportNotAllowed,
    /// It announces an endpoint that leads elsewhere, or could be read in two ways.
    #[error("the server announces an endpoint that is no path of its own")]
    EndpointNotAllowed,
}

impl StreamEnd {
    /// The word for metric and log.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::TooLarge => "EventTooLarge",
            Self::NoRoom => "TooMuchHeld",
            Self::TransportNotAllowed => "TransportNotAllowed",
            Self::EndpointNotAllowed => "EndpointNotAllowed",
        }
    }
}

impl EventFilter {
    /// A filter for one stream, with the size of the largest event in bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            carry: Vec::new(),
            seen: 0,
            line: Line::Empty,
            after_cr: false,
            first_event: true,
            unreadable: false,
        }
    }

    /// Takes in a chunk and gives what can be passed on by now: mostly the chunk as it is.
    ///
    /// # Errors
    /// When the stream must end.
    pub fn push<'c>(&mut self, chunk: &'c [u8], rewrite: &mut dyn Rewrite) -> Result<Cow<'c, [u8]>, StreamEnd> {
        let mut carried = std::mem::take(&mut self.carry);
        let is_alone = carried.is_empty();
        let bytes = if is_alone {
            chunk
        } else {
            carried.extend_from_slice(chunk);
            carried.as_slice()
        };
        let mut may_change = None;
        let mut passed = Vec::new();
        // Up to where what passes is in `passed`; behind it, it is in `bytes` as it came.
        let mut placed = 0;
        let mut start = 0;
        loop {
            // The second half of the line end that ended the event before.
            if self.seen == start && self.after_cr && bytes.get(start) == Some(&b'\n') {
                start += 1;
                self.seen = start;
                self.after_cr = false;
            }
            let Some(end) = self.next_event_end(bytes) else { break };
            let event = bytes.get(start..end).unwrap_or_default();
            let first = std::mem::take(&mut self.first_event);
            // Of many small events none is looked at by itself, where none may change.
            let looked_at = *may_change.get_or_insert_with(|| rewrite.may_change(bytes))
                && (event.len() == bytes.len() || rewrite.may_change(event));
            let changed = if looked_at { self.changed(event, first, rewrite)? } else { None };
            if let Some(changed) = changed {
                passed.extend_from_slice(bytes.get(placed..start).unwrap_or_default());
                if passed.is_empty() {
                    passed = changed.into_bytes();
                } else {
                    passed.extend_from_slice(changed.as_bytes());
                }
                placed = end;
            }
            start = end;
        }
        let rest = bytes.get(start..).unwrap_or_default();
        self.seen -= start;
        if rest.len() > self.limit {
            return Err(StreamEnd::TooLarge);
        }
        if is_alone && placed == 0 && rest.is_empty() {
            return Ok(Cow::Borrowed(chunk));
        }
        passed.extend_from_slice(bytes.get(placed..start).unwrap_or_default());
        // What is carried stays where it is: an event that comes in many chunks is not copied for each.
        if is_alone {
            carried = rest.to_vec();
        } else {
            carried.drain(..start);
        }
        self.carry = carried;
        Ok(Cow::Owned(passed))
    }

    /// The event to send in place of this one; none: this one.
    fn changed(&mut self, event: &[u8], first: bool, rewrite: &mut dyn Rewrite) -> Result<Option<String>, StreamEnd> {
        Ok(match filter_event(event, first, rewrite)? {
            Judged::Same => None,
            Judged::Other(text) => Some(text),
            Judged::Unreadable(text) => {
                self.unreadable = true;
                Some(text)
            }
        })
    }

    /// How many bytes of an event are held that is not complete yet.
    #[must_use]
    pub fn held(&self) -> usize {
        self.carry.len()
    }

    /// Whether some list so far could not be read; the client got an error in its place.
    #[must_use]
    pub fn met_unreadable_list(&self) -> bool {
        self.unreadable
    }

    /// Looks at the bytes not seen yet, up to the end of the blank line that ends an event.
    fn next_event_end(&mut self, bytes: &[u8]) -> Option<usize> {
        while let Some(byte) = bytes.get(self.seen).copied() {
            if byte != b'\n' && byte != b'\r' {
                (self.line, self.after_cr) = (Line::Begun, false);
                let line = bytes.get(self.seen..).unwrap_or_default();
                self.seen += memchr2(b'\n', b'\r', line).unwrap_or(line.len());
                continue;
            }
            self.seen += 1;
            let second_half = byte == b'\n' && std::mem::take(&mut self.after_cr);
            self.after_cr = byte == b'\r';
            if second_half {
                continue;
            }
            if std::mem::replace(&mut self.line, Line::Empty) == Line::Empty {
                return Some(self.seen);
            }
        }
        None
    }
}

/// What became of an event.
enum Judged {
    Same,
    Other(String),
    /// The client gets an error in its place.
    Unreadable(String),
}

fn filter_event(event: &[u8], first: bool, rewrite: &mut dyn Rewrite) -> Result<Judged, StreamEnd> {
    // Not UTF-8: clients put U+FFFD in place of the bad bytes, so that is what is judged.
    let text = std::str::from_utf8(event).map_or_else(|_| String::from_utf8_lossy(event), Cow::Borrowed);
    let text = if first { text.strip_prefix('\u{feff}').unwrap_or(&text) } else { &text };
    let data = data(text);
    // In doubt it is one: not every client takes the last of several names.
    let is_endpoint = lines(text).filter_map(|line| field(line, "event")).any(|name| name.trim() == "endpoint");
    if is_endpoint && let Some(uri) = rewrite.endpoint(&data)? {
        return Ok(rebuilt(text, &Data::Other(&uri), rewrite).map_or(Judged::Same, Judged::Other));
    }
    let filtered = match data.trim_start().as_bytes().first() {
        Some(b'{' | b'[') => rewrite.message(&data),
        _ => Filtered::Unchanged,
    };
    Ok(match filtered {
        Filtered::Unchanged => rebuilt(text, &Data::Same, rewrite).map_or(Judged::Same, Judged::Other),
        Filtered::Changed(data) => rebuilt(text, &Data::Other(&data), rewrite).map_or(Judged::Same, Judged::Other),
        // An event without data is none to clients, but its id counts.
        Filtered::Dropped => rebuilt(text, &Data::None, rewrite).map_or(Judged::Same, Judged::Other),
        Filtered::Unreadable(id) => {
            let error = denial::unreadable_list_body(id.as_ref(), "UnreadableList");
            rebuilt(text, &Data::Other(&error), rewrite).map_or(Judged::Same, Judged::Unreadable)
        }
    })
}

/// Whether some event in these bytes may have an id; a line of that name begins somewhere.
#[must_use]
pub fn may_have_id(events: &[u8]) -> bool {
    let is_line = |start: usize| start.checked_sub(1).is_none_or(|before| !is_within_line(events.get(before)));
    memmem::find_iter(events, b"id").any(is_line)
}

/// Whether a line goes on behind this byte; at the stream's beginning there may be a byte order mark.
fn is_within_line(byte: Option<&u8>) -> bool {
    !matches!(byte, Some(b'\n' | b'\r' | 0xbf))
}

/// The lines of an event, and what stands behind the last end of a line.
fn lines(event: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(event);
    std::iter::from_fn(move || {
        let text = rest?;
        let Some((line, behind)) = memchr2(b'\n', b'\r', text.as_bytes()).and_then(|end| text.split_at_checked(end))
        else {
            return rest.take();
        };
        rest = behind.strip_prefix("\r\n").or_else(|| behind.get(1..));
        Some(line)
    })
}

/// The value of a line, if its field has this name.
fn field<'l>(line: &'l str, name: &str) -> Option<&'l str> {
    match line.strip_prefix(name)?.strip_prefix(':') {
        Some(value) => Some(value.strip_prefix(' ').unwrap_or(value)),
        None => (line == name).then_some(""),
    }
}

fn data(event: &str) -> Cow<'_, str> {
    let mut lines = lines(event).filter_map(|line| field(line, "data"));
    let mut data = Cow::Borrowed(lines.next().unwrap_or_default());
    for line in lines {
        let data = data.to_mut();
        data.push('\n');
        data.push_str(line);
    }
    data
}

/// What becomes of an event's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Data<'d> {
    Same,
    Other(&'d str),
    None,
}

/// The event with its id, and with this data; its other fields stay as they are, in their order. `None`: nothing of it changes.
fn rebuilt(event: &str, data: &Data<'_>, rewrite: &mut dyn Rewrite) -> Option<String> {
    let mut text = String::with_capacity(event.len());
    let mut placed = false;
    let mut changed = *data != Data::Same;
    for line in lines(event).filter(|line| !line.is_empty()) {
        // Of several ids the last counts; each is one that could.
        let id = field(line, "id").map_or(EventId::Same, |id| rewrite.event_id(id));
        match (id, data) {
            (EventId::Same, Data::Other(_) | Data::None) if field(line, "data").is_some() => {
                let data = if let Data::Other(data) = data { Some(*data) } else { None };
                for line in data.into_iter().flat_map(lines).filter(|_| !placed) {
                    text.push_str("data: ");
                    text.push_str(line);
                    text.push('\n');
                }
                placed = true;
                continue;
            }
            (EventId::Same, _) => text.push_str(line),
            (EventId::Other(id), _) => {
                text.push_str("id: ");
                text.push_str(&id);
                changed = true;
            }
            (EventId::Dropped, _) => {
                changed = true;
                continue;
            }
        }
        text.push('\n');
    }
    // A CR may have its LF in the next chunk.
    text.push(if event.ends_with('\r') { '\r' } else { '\n' });
    changed.then_some(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    use crate::mcp::list;
    use crate::policy::Item;

    struct HidesB;

    impl Rewrite for HidesB {
        fn may_change(&self, event: &[u8]) -> bool {
            list::may_change(event) || event.windows(8).any(|part| part == b"endpoint") || may_have_id(event)
        }

        fn message(&mut self, text: &str) -> Filtered {
            list::filter(text, list::MAX_TTL_MS, &mut |item| item != Item::Tool("b"))
        }

        fn endpoint(&mut self, uri: &str) -> Result<Option<String>, StreamEnd> {
            if uri.starts_with("http:") {
                return Err(StreamEnd::EndpointNotAllowed);
            }
            Ok(uri.contains("session").then(|| format!("{uri}&x")))
        }

        fn event_id(&mut self, id: &str) -> EventId {
            match id.strip_prefix('s') {
                Some("") => EventId::Dropped,
                Some(id) => EventId::Other(id.to_uppercase()),
                None => EventId::Same,
            }
        }
    }

    fn filtered(chunks: &[&[u8]]) -> Vec<u8> {
        let mut filter = EventFilter::new(1 << 20);
        chunks.iter().flat_map(|chunk| filter.push(chunk, &mut HidesB).expect("small").into_owned()).collect()
    }

    const LIST: &str = r#"{"id":1,"result":{"tools":[{"name":"a"},{"name":"b"}]}}"#;
    const KEPT: &str = r#"{"id":1,"result":{"tools":[{"name":"a"}]}}"#;

    #[test]
    fn events() {
        let rows = [
            ("untouched", "event: message\r\ndata: {\"x\":1}\r\n\r\n".to_owned(), None),
            ("comment", ": tools\n\n".to_owned(), None),
            ("priming event", "id: 1\nretry: 10\ndata:\n\n".to_owned(), None),
            ("endpoint", "event: endpoint\ndata: /messages?tools=1\n\n".to_owned(), None),
            (
                "endpoint with a session",
                "event: endpoint\ndata: /m?session=1\n\n".to_owned(),
                Some("event: endpoint\ndata: /m?session=1&x\n\n".to_owned()),
            ),
            ("another event with a session", "event: x\ndata: endpoint?session=1\n\n".to_owned(), None),
            ("an id", "id: sab\r\ndata: 1\r\n\r\n".to_owned(), Some("id: AB\ndata: 1\n\r\n".to_owned())),
            ("an id alone", "id:sab\n\n".to_owned(), Some("id: AB\n\n".to_owned())),
            (
                "several ids",
                "id: sa\nid: x\nid: s\nid\nid: sc\ndata:\n\n".to_owned(),
                Some("id: A\nid: x\nid\nid: C\ndata:\n\n".to_owned()),
            ),
            ("an id behind others' names", "idx: sa\ndata: id: sa\n\n".to_owned(), None),
            (
                "an id and a list",
                format!("id: sa\ndata: {LIST}\nretry: 1\n\n"),
                Some(format!("id: A\ndata: {KEPT}\nretry: 1\n\n")),
            ),
            (
                "an endpoint by the first of several names",
                "event: endpoint\nevent: x\ndata: /m?session=1\n\n".to_owned(),
                Some("event: endpoint\nevent: x\ndata: /m?session=1&x\n\n".to_owned()),
            ),
            ("list", format!("data: {LIST}\n\n"), Some(format!("data: {KEPT}\n\n"))),
            ("CRLF", format!("id: 7\r\ndata: {LIST}\r\n\r\n"), Some(format!("id: 7\ndata: {KEPT}\n\r\n"))),
            ("CR", format!("data: {LIST}\r\r"), Some(format!("data: {KEPT}\n\r"))),
            ("other event name", format!("event: x\ndata:{LIST}\n\n"), Some(format!("event: x\ndata: {KEPT}\n\n"))),
            (
                "several data lines",
                format!("data: {}\nid: 3\ndata: {}\n\n", &LIST[..8], &LIST[8..]),
                Some(format!("data: {}\ndata: {}\nid: 3\n\n", &KEPT[..8], &KEPT[8..])),
            ),
            ("byte order mark", format!("\u{feff}data: {LIST}\n\n"), Some(format!("data: {KEPT}\n\n"))),
            ("unfinished at the end", format!("data: {LIST}\n"), Some(String::new())),
        ];
        for (name, stream, expected) in rows {
            let expected = expected.unwrap_or_else(|| stream.clone());
            assert_eq!(String::from_utf8_lossy(&filtered(&[stream.as_bytes()])), expected, "{name}");
        }
    }

    #[test]
    fn an_event_is_passed_on_with_its_last_byte() {
        let mut filter = EventFilter::new(100);
        assert_eq!(filter.push(b"data: 1\r\n", &mut HidesB), Ok(Cow::Owned(Vec::new())));
        assert_eq!(filter.push(b"\r", &mut HidesB), Ok(Cow::Owned(b"data: 1\r\n\r".to_vec())));
        assert_eq!(filter.push(b"\ndata: 2\n\n", &mut HidesB), Ok(Cow::Borrowed(b"\ndata: 2\n\n".as_slice())));
    }

    #[test]
    fn an_unreadable_list_is_an_error_and_no_leak() {
        let out = filtered(&[b"data: {\"id\":3,\"result\":{\"tools\":[{\"name\":\"b\"},{}]}}\n\n"]);
        let out = String::from_utf8(out).expect("UTF-8");
        assert!(out.contains("-32603") && out.contains("\"id\":3") && !out.contains("\"b\""), "{out}");
    }

    #[test]
    fn a_large_event_may_come_byte_by_byte() {
        let mut filter = EventFilter::new(1 << 20);
        let event = format!("data: {}{LIST}\n\n", " ".repeat(1 << 19));
        let passed = |chunk: &[u8]| filter.push(chunk, &mut HidesB).expect("small").into_owned();
        let passed: Vec<u8> = event.as_bytes().chunks(1).flat_map(passed).collect();
        assert!(passed.ends_with(format!("{KEPT}\n\n").as_bytes()));
    }

    #[test]
    fn an_event_past_the_limit_ends_the_stream() {
        let mut filter = EventFilter::new(10);
        assert_eq!(filter.push(b"data: 12\n\n", &mut HidesB), Ok(Cow::Borrowed(b"data: 12\n\n".as_slice())));
        assert_eq!(filter.push(b"data: 123456", &mut HidesB), Err(StreamEnd::TooLarge));
    }

    #[test]
    fn an_endpoint_that_is_not_allowed_ends_the_stream() {
        let mut filter = EventFilter::new(100);
        let events = b"data: 1\n\nevent: endpoint\ndata: http://evil/\n\n";
        assert_eq!(filter.push(events, &mut HidesB), Err(StreamEnd::EndpointNotAllowed));
    }

    #[test]
    fn many_events_in_one_chunk() {
        let blank = vec![b'\n'; 1 << 20];
        assert_eq!(filtered(&[&blank]), blank);
    }

    proptest! {
        #[test]
        fn chunk_borders_do_not_matter(
            events in proptest::collection::vec(
                prop_oneof![
                    Just(format!("data: {LIST}")), Just("event: x".to_owned()), Just(": c".to_owned()), Just("id: 4".to_owned()),
                    Just(String::new()), Just("data: {\"tools\":".to_owned()),
                ], 0..12),
            ends in proptest::collection::vec(prop_oneof![Just("\n"), Just("\r\n"), Just("\r"), Just("\n\n"), Just("\r\r\n")], 12),
            cuts in proptest::collection::vec(0usize..1000, 0..8),
        ) {
            let stream: String = events.iter().zip(&ends).map(|(line, end)| format!("{line}{end}")).collect();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (stream.len() + 1)).collect();
            cuts.extend([0, stream.len()]);
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|cut| &stream.as_bytes()[cut[0]..cut[1]]).collect();
            let text = |chunks: &[&[u8]]| String::from_utf8(filtered(chunks)).expect("UTF-8");
            let whole = text(&[stream.as_bytes()]);
            prop_assert_eq!(text(&chunks), whole.as_str());
            prop_assert!(!whole.contains("\"name\":\"b\""));
        }
    }
}
