//! Ten thousand events over random chunk borders: what comes out is what a client would have read from the whole stream, with
//! the hidden elements gone, and it comes out with the last byte of each event.

#![expect(clippy::expect_used, reason = "a test fails by panicking, in its helpers too")]

use toolward_policy::mcp::list::{self, Filtered};
use toolward_policy::mcp::sse::{EventFilter, EventId, Rewrite, StreamEnd};
use toolward_policy::policy::Item;

/// Numbers that are the same in each run (xorshift).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).expect("small")
    }

    fn one_of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all.get(self.below(all.len())).expect("not empty")
    }
}

/// An event as it is sent, and the fields that a client is to read of it: event, id, data.
struct Event {
    sent: String,
    read: Option<(String, String, String)>,
    is_changed: bool,
}

fn event(numbers: &mut Numbers) -> Event {
    let end = numbers.one_of(&["\n", "\r\n", "\r"]);
    let name = numbers.one_of(&["", "message", "x"]);
    let id = numbers.below(3).to_string();
    let elements: Vec<(String, bool)> = (0..numbers.below(4))
        .map(|_| {
            let hidden = numbers.below(2) == 0;
            let name = if hidden { "hidden" } else { numbers.one_of(&["a", "\\u0061", "b\\n"]) };
            (format!(r#"{{"x": 1.{} , "name":"{name}"}}"#, numbers.below(100)), hidden)
        })
        .collect();
    let all: Vec<&str> = elements.iter().map(|(text, _)| text.as_str()).collect();
    let kept: Vec<&str> = elements.iter().filter(|(_, hidden)| !hidden).map(|(text, _)| text.as_str()).collect();
    let message =
        |elements: &[&str]| format!(r#"{{"id":7,"result":{{"tools":[{}],"nextCursor":"c"}}}}"#, elements.join(","));
    let (data, wanted) = match numbers.below(5) {
        0 => (r#"{"method":"notifications/progress","params":{"progressToken":"tools"}}"#.to_owned(), None),
        1 => (String::new(), None),
        2 => ("plain text about tools".to_owned(), None),
        _ if kept.len() < all.len() => (message(&all), Some(message(&kept))),
        _ => (message(&all), None),
    };
    let mut lines = vec![format!("id: {id}"), numbers.one_of(&[": tools", "retry: 10", "data-x: 1"]).to_owned()];
    if !name.is_empty() {
        lines.push(format!("event: {name}"));
    }
    // A line end within the data is one of JSON's blanks.
    let cut = data.find(",\"").filter(|_| numbers.below(2) == 0).map_or(data.len(), |comma| comma + 1);
    let (first, second) = data.split_at(cut);
    lines.push(format!("data:{}{first}", numbers.one_of(&[" ", ""])));
    if !second.is_empty() {
        lines.push(format!("data: {second}"));
    }
    let is_changed = wanted.is_some();
    // What is changed keeps its blanks.
    let read = |mut text: String| {
        if !second.is_empty() {
            text.insert(cut, '\n');
        }
        text
    };
    let data = read(wanted.unwrap_or_else(|| data.clone()));
    let sent = format!("{}{end}{end}", lines.join(end));
    Event { sent, read: Some((name.to_owned(), id, data)), is_changed }
}

/// What a client reads (WHATWG HTML, section 9.2.6), of events that are complete.
fn read(stream: &str) -> Vec<(String, String, String)> {
    let mut events = Vec::new();
    let (mut name, mut id, mut data): (String, String, Vec<String>) = Default::default();
    for line in stream.replace("\r\n", "\n").replace('\r', "\n").split('\n') {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value).to_owned();
        match field {
            "" if line.is_empty() && !data.is_empty() => {
                events.push((std::mem::take(&mut name), id.clone(), std::mem::take(&mut data).join("\n")));
            }
            "event" => name = value,
            "id" => id = value,
            "data" => data.push(value),
            _ => {}
        }
    }
    events
}

struct Hides;

impl Rewrite for Hides {
    fn may_change(&self, event: &[u8]) -> bool {
        list::may_change(event)
    }

    fn message(&mut self, text: &str) -> Filtered {
        list::filter(text, list::MAX_TTL_MS, &mut |item| item != Item::Tool("hidden"))
    }

    fn endpoint(&mut self, _: &str) -> Result<Option<String>, StreamEnd> {
        Ok(None)
    }

    fn event_id(&mut self, _: &str) -> EventId {
        EventId::Same
    }
}

#[test]
fn ten_thousand_events_in_random_chunks() {
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let events: Vec<Event> = (0..10_000).map(|_| event(&mut numbers)).collect();
    let stream: String = events.iter().map(|event| event.sent.as_str()).collect();
    let mut ends: Vec<usize> = Vec::new();
    for event in &events {
        ends.push(ends.last().copied().unwrap_or_default() + event.sent.len());
    }
    let (mut filter, mut passed, mut from) = (EventFilter::new(1 << 20), String::new(), 0);
    let mut complete = 0;
    while from < stream.len() {
        let to = (from + 1 + numbers.below(300)).min(stream.len());
        let chunk = stream.as_bytes().get(from..to).expect("within the stream");
        passed.push_str(std::str::from_utf8(&filter.push(chunk, &mut Hides).expect("small")).expect("UTF-8"));
        from = to;
        // Now and then: whatever is complete was passed on, and nothing waits for what comes later. Of an event that ends
        // in CR LF the CR alone is enough.
        let done = ends.partition_point(|end| *end <= to);
        if done >= complete + 500 || to == stream.len() {
            complete = done;
            assert!((complete..=complete + 1).contains(&read(&passed).len()), "{complete} events by {to}");
        }
    }
    assert_eq!(complete, events.len());
    let expected: Vec<_> = events.iter().filter_map(|event| event.read.clone()).collect();
    assert_eq!(read(&passed), expected);
    assert!(!passed.contains("\"hidden\""));
    assert!(events.iter().filter(|event| event.is_changed).count() > 1000, "the test has lost its point");
    let mut rest = passed.as_str();
    for event in events.iter().filter(|event| !event.is_changed) {
        let found = rest.find(&event.sent).unwrap_or_else(|| panic!("not byte for byte: {:?}", event.sent));
        rest = rest.get(found + event.sent.len()..).expect("within the text");
    }
}
