//! The server's answer: what of it passes, and how.
//!
//! ```text
//! response_headers ─┬─ Pass
//!                   ├─ Buffer ─> response_json_size ─┬─ Hold ────> response_json
//!                   │                                ├─ Release ─> pass_on ─> response_part …
//!                   │                                └─ Replace
//!                   ├─ Events ─> response_events …
//!                   └─ Answer
//! ```

use std::borrow::Cow;

use super::caching;
use super::headers::{Edits, Headers, MediaType};
use super::held::TooMuch;
use super::judge::AnswerFilter;
use super::{Exchange, ResponseStep, Rewritten, State};
use crate::denial;
use crate::mcp::list::Filtered;
use crate::mcp::passing::{HoldsList, Passing};
use crate::mcp::sse::{EventFilter, StreamEnd};
use crate::record::Outcome;
use crate::remote;

/// What to do with an answer that is held, by its size so far.
#[derive(Debug, PartialEq, Eq)]
pub enum HeldAnswer {
    /// Wait for the rest; [`Exchange::response_json`] judges the whole.
    Hold,
    /// It need not be held if [`Exchange::pass_on`] finds no list in it.
    Release,
    /// It is too large: send this in its place, and drop the rest.
    Replace(Rewritten),
}

/// How much of an answer is held that is not expected to hold a list, in bytes; more passes as it comes.
const HELD_BYTES: usize = 64 * 1024;

impl Exchange {
    /// Whether the server's answer may have to change; where not, its headers need not be looked at.
    #[must_use]
    pub fn filters_answer(&self) -> bool {
        match &self.state {
            // Any answer may be a stream that announces an endpoint.
            State::Upstream(..) | State::Metadata(..) => true,
            _ => self.remote.is_some(),
        }
    }

    /// Says what is to be done with the server's answer.
    pub fn response_headers(&mut self, headers: &Headers<'_>, end_of_stream: bool) -> ResponseStep {
        let (mut judge, answered) = match std::mem::replace(&mut self.state, State::Done) {
            State::Upstream(judge, answered) => (judge, answered),
            State::Metadata(endpoint, server) => return self.told_metadata(endpoint, server, headers, end_of_stream),
            _ => {
                self.state = State::Stream(None);
                return ResponseStep::Pass(self.told_challenge(headers));
            }
        };
        let edits = judge.sealed(headers).with(self.origin.edits(headers)).with(self.told_challenge(headers));
        let edits = if judge.filters() { edits.with(caching::private(headers, self.lifetime_ms())) } else { edits };
        let is_stream = MediaType::of(headers) == MediaType::EventStream;
        if end_of_stream {
            return ResponseStep::Pass(edits);
        }
        if !is_stream && !judge.filters() {
            self.state = State::Stream(Some(judge));
            return ResponseStep::Pass(edits);
        }
        if headers.is_encoded() {
            self.settle(Outcome::Refused, "EncodedAnswer");
            return ResponseStep::Answer(
                self.origin.shown(denial::unreadable_list(answered.id.as_ref(), "EncodedAnswer")),
            );
        }
        if is_stream {
            self.state = State::Events(judge, EventFilter::new(self.limits.sse_event_bytes));
            return ResponseStep::Events(edits.with(Edits::of_changed_body()));
        }
        self.state = State::Upstream(judge, answered);
        ResponseStep::Buffer(edits)
    }

    /// Looks at the size of a held answer so far, in bytes.
    pub fn response_json_size(&mut self, size: usize) -> HeldAnswer {
        if matches!(&self.state, State::Upstream(_, answered) if !answered.is_list && size > HELD_BYTES) {
            return HeldAnswer::Release;
        }
        let too_much = self.hold(size).err();
        let id = match &self.state {
            _ if size <= self.limits.list_response_bytes && too_much.is_none() => return HeldAnswer::Hold,
            State::Upstream(_, answered) => answered.id.as_ref(),
            State::Metadata(..) => None,
            _ => return HeldAnswer::Hold,
        };
        let error = match too_much {
            Some(too_much) => denial::too_much_body(id, too_much),
            None => denial::unreadable_list_body(id, "ListTooLarge"),
        };
        self.state = State::Done;
        self.settle(Outcome::Refused, too_much.map_or("ListTooLarge", TooMuch::reason));
        HeldAnswer::Replace(Rewritten::answer(error))
    }

    /// Looks through what is held of an answer that is not expected to hold a list. If there is none so far, this passes in its
    /// place, and the rest through [`Exchange::response_part`]; otherwise all of it is held.
    pub fn pass_on(&mut self, body: &[u8]) -> Option<Rewritten> {
        let lifetime_ms = self.lifetime_ms();
        let (judge, mut answered) = match std::mem::replace(&mut self.state, State::Done) {
            State::Upstream(judge, answered) => (judge, answered),
            state => {
                self.state = state;
                return None;
            }
        };
        let mut passing = Passing::new(lifetime_ms, judge.binds());
        let Ok(body) = passing.push(body) else {
            answered.is_list = true;
            self.state = State::Upstream(judge, answered);
            return None;
        };
        self.state = State::Passing(judge, passing);
        self.release();
        Some(Rewritten { body: body.into_owned(), edits: Edits::of_changed_body() })
    }

    /// Looks through a part of an answer that passes as it comes; what is borrowed is the part, all of it.
    ///
    /// # Errors
    /// When the answer must end.
    pub fn response_part<'c>(&mut self, part: &'c [u8]) -> Result<Cow<'c, [u8]>, HoldsList> {
        let State::Passing(_, passing) = &mut self.state else { return Ok(Cow::Borrowed(part)) };
        let passed = passing.push(part);
        if passed.is_err() {
            self.state = State::Done;
            self.settle(Outcome::Refused, "UnexpectedList");
        }
        passed
    }

    /// Judges a buffered answer, all of it; gives what to send in its place, if it has to change.
    pub fn response_json(&mut self, body: &[u8]) -> Option<Rewritten> {
        if let State::Metadata(endpoint, _) = &self.state {
            // What is no metadata passes as it is: of it a client makes nothing.
            return remote::metadata(body, &endpoint.url()).map(Rewritten::answer);
        }
        let lifetime_ms = self.lifetime_ms();
        let State::Upstream(judge, answered) = &self.state else { return None };
        match AnswerFilter::new(judge, lifetime_ms, &mut self.record).body(body) {
            Filtered::Unchanged => None,
            Filtered::Changed(text) => Some(Rewritten::answer(text)),
            Filtered::Unreadable(_) | Filtered::Dropped => {
                let error = denial::unreadable_list_body(answered.id.as_ref(), "UnreadableList");
                self.settle(Outcome::Refused, "UnreadableList");
                Some(Rewritten::answer(error))
            }
        }
    }

    /// Filters a chunk of an event stream; what is borrowed is the chunk, all of it.
    ///
    /// # Errors
    /// When the stream must end.
    pub fn response_events<'c>(&mut self, chunk: &'c [u8]) -> Result<Cow<'c, [u8]>, StreamEnd> {
        let lifetime_ms = self.lifetime_ms();
        let State::Events(judge, filter) = &mut self.state else { return Ok(Cow::Borrowed(chunk)) };
        let passed = filter.push(chunk, &mut AnswerFilter::new(judge, lifetime_ms, &mut self.record));
        let carried = filter.held();
        if filter.met_unreadable_list() {
            self.settle(Outcome::Refused, "UnreadableList");
        }
        if let Err(end) = &passed {
            self.settle(Outcome::Refused, end.reason());
            return passed;
        }
        self.hold(carried).map_err(|_| StreamEnd::NoRoom)?;
        passed
    }
}
