//! One exchange inside Envoy: drives `toolward_policy::exchange` with what the host gives.

use std::borrow::Cow;
use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;
use toolward_policy::denial::{self, Answer};
use toolward_policy::exchange::{Edits, Exchange, Headers, RequestStep, ResponseStep, Rewritten, Verification};

use crate::host::{self, Side};
use crate::metrics;
use crate::missing_keys;
use crate::root::{Configured, with_budget, with_tokens};

/// One exchange.
pub(crate) struct Http {
    configured: Rc<Configured>,
    id: u32,
    exchange: Option<Exchange>,
    /// Names the policy that judges the request.
    policy_key: Option<Vec<u8>>,
    /// Whether the request's headers were changed, upon which Envoy chooses the route anew.
    edited: bool,
    phase: Phase,
}

/// What the next body callbacks are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Bytes pass.
    Pass,
    /// The request's headers and body are held until the body is judged.
    JudgeBody,
    /// The filter has answered; nothing goes on.
    Answered,
    /// The answer's headers and body are held until the list in it is filtered.
    FilterJson,
    /// The answer's events are filtered one by one.
    FilterEvents,
    /// The answer was replaced; the rest of the server's is dropped.
    Drop,
}

impl Http {
    pub(crate) fn new(configured: Rc<Configured>, id: u32) -> Self {
        Self { configured, id, exchange: None, policy_key: None, edited: false, phase: Phase::Pass }
    }

    fn answer(&mut self, answer: &Answer) -> Action {
        self.phase = Phase::Answered;
        host::answer(answer);
        Action::Pause
    }

    fn edit_request(&mut self, edits: &Edits) {
        self.edited |= *edits != Edits::default();
        host::edit_headers(Side::Request, edits);
    }

    fn judge_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        let Some(exchange) = &mut self.exchange else { return Action::Pause };
        let judged = match exchange.request_body_size(size) {
            Ok(()) if !end_of_stream => {
                metrics::held();
                return Action::Pause;
            }
            Ok(()) => exchange.request_body(&host::body(Side::Request)),
            Err(answer) => Err(answer),
        };
        match judged {
            Ok(rewritten) => {
                if let Some(Rewritten { body, edits }) = rewritten {
                    self.edit_request(&edits);
                    host::replace_body(Side::Request, &body);
                }
                self.phase = Phase::Pass;
                Action::Continue
            }
            Err(answer) => self.answer(&answer),
        }
    }

    fn filter_json(&mut self, size: usize, end_of_stream: bool) -> Action {
        let Some(exchange) = &mut self.exchange else { return Action::Pause };
        if let Some(error) = exchange.response_json_size(size) {
            host::replace_body(Side::Response, &error);
            self.phase = Phase::Drop;
            return Action::Continue;
        }
        metrics::held();
        if !end_of_stream {
            return Action::Pause;
        }
        if let Some(body) = exchange.response_json(&host::body(Side::Response)) {
            host::replace_body(Side::Response, &body);
        }
        self.phase = Phase::Pass;
        Action::Continue
    }

    fn filter_events(&mut self) -> Action {
        let Some(exchange) = &mut self.exchange else { return Action::Pause };
        match exchange.response_events(&host::body(Side::Response)) {
            Ok(Cow::Borrowed(_)) => {}
            Ok(Cow::Owned(events)) => host::replace_body(Side::Response, &events),
            Err(_) => {
                host::replace_body(Side::Response, b"");
                self.phase = Phase::Drop;
                host::reset_response();
            }
        }
        Action::Continue
    }
}

impl Context for Http {}

impl HttpContext for Http {
    fn on_http_request_headers(&mut self, _: usize, end_of_stream: bool) -> Action {
        self.policy_key = host::policy_key();
        let key = self.policy_key.as_deref();
        if key.is_none() && host::has_no_route() {
            return self.answer(&denial::no_route());
        }
        let headers = host::headers(Side::Request);
        #[cfg(feature = "probe")]
        if let Some(answer) = crate::probe::answer(&headers, self.configured.verifier) {
            return self.answer(&answer);
        }
        let configured = Rc::clone(&self.configured);
        let (mut exchange, step) = with_tokens(|cache| {
            let mut verification = Verification { verifier: &configured.verifier, cache, now: host::now() };
            let headers = Headers(&headers);
            Exchange::request_headers(&configured.table, key, &headers, end_of_stream, &mut verification)
        });
        if let Some(key) = &exchange.record().missing_key {
            missing_keys::tell(key, self.configured.root, self.id);
        }
        if let RequestStep::Continue(_) | RequestStep::AwaitBody(_) = step {
            with_budget(|budget| exchange.charge(budget, key));
        }
        self.exchange = Some(exchange);
        match step {
            RequestStep::Continue(edits) => {
                self.edit_request(&edits);
                Action::Continue
            }
            RequestStep::AwaitBody(edits) => {
                self.edit_request(&edits);
                self.phase = Phase::JudgeBody;
                Action::Pause
            }
            RequestStep::Answer(answer) => self.answer(&answer),
        }
    }

    fn on_http_request_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        match self.phase {
            Phase::JudgeBody => self.judge_body(size, end_of_stream),
            Phase::Answered => Action::Pause,
            _ => Action::Continue,
        }
    }

    /// A body with trailers has no last chunk that says so.
    fn on_http_request_trailers(&mut self, _: usize) -> Action {
        match self.phase {
            Phase::JudgeBody => self.judge_body(0, true),
            Phase::Answered => Action::Pause,
            _ => Action::Continue,
        }
    }

    fn on_http_response_headers(&mut self, _: usize, end_of_stream: bool) -> Action {
        let (Some(exchange), Phase::Pass) = (&mut self.exchange, self.phase) else { return Action::Continue };
        exchange.release();
        metrics::held();
        // Envoy chooses the new route behind this filter, so that it is not known earlier.
        if self.edited && host::policy_key() != self.policy_key {
            let answer = exchange.route_changed();
            return self.answer(&answer);
        }
        if !exchange.filters_answer() {
            return Action::Continue;
        }
        let headers = host::headers(Side::Response);
        match exchange.response_headers(&Headers(&headers), end_of_stream) {
            ResponseStep::Pass(edits) => {
                host::edit_headers(Side::Response, &edits);
                Action::Continue
            }
            ResponseStep::Buffer(edits) => {
                host::edit_headers(Side::Response, &edits);
                self.phase = Phase::FilterJson;
                Action::Pause
            }
            ResponseStep::Events(edits) => {
                host::edit_headers(Side::Response, &edits);
                self.phase = Phase::FilterEvents;
                Action::Continue
            }
            ResponseStep::Answer(answer) => self.answer(&answer),
        }
    }

    fn on_http_response_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        match self.phase {
            Phase::FilterJson => self.filter_json(size, end_of_stream),
            Phase::FilterEvents => self.filter_events(),
            Phase::Drop => {
                host::replace_body(Side::Response, b"");
                Action::Continue
            }
            Phase::Pass | Phase::JudgeBody | Phase::Answered => Action::Continue,
        }
    }

    fn on_http_response_trailers(&mut self, _: usize) -> Action {
        match self.phase {
            Phase::FilterJson => self.filter_json(0, true),
            _ => Action::Continue,
        }
    }

    fn on_log(&mut self) {
        if let (Some(exchange), true) = (&self.exchange, self.configured.table.access_log.is_on()) {
            metrics::log(exchange.record());
        }
    }
}

/// The end of the exchange.
impl Drop for Http {
    fn drop(&mut self) {
        if let Some(exchange) = self.exchange.take() {
            metrics::count(exchange.record());
            drop(exchange);
            metrics::held();
        }
    }
}
