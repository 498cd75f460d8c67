//! One exchange inside Envoy: drives `toolward_policy::exchange` with what the host gives.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt::Display;
use std::rc::Rc;

use log::warn;
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;
use toolward_policy::config::RouteKey;
use toolward_policy::denial::{self, Answer};
use toolward_policy::exchange::{
    Edits, Exchange, Headers, HeldAnswer, RequestStep, ResponseStep, Rewritten, Verification,
};
use toolward_policy::route_key::key_of_request;

use crate::host::{self, Side};
use crate::metrics;
use crate::missing_keys;
use crate::root::{Configured, with_held, with_tokens_and_budget};
use crate::streams::{self, Judged};

/// One exchange.
pub(crate) struct Http {
    /// The root context that made it.
    root: u32,
    id: u32,
    judged: Rc<RefCell<Judged>>,
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
    /// The answer passes as it comes, and is looked through.
    LookThrough,
    /// The answer was replaced; the rest of the server's is dropped.
    Drop,
}

impl Http {
    pub(crate) fn new(configured: Rc<Configured>, root: u32, id: u32) -> Self {
        let judged = Rc::new(RefCell::new(Judged::new(configured)));
        Self { root, id, judged, edited: false, phase: Phase::Pass }
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

    /// Asks the exchange by what is configured now; with `Err` it may not go on.
    fn renewed<T>(&self, ask: impl FnOnce(&mut Exchange) -> T) -> Result<Option<T>, Answer> {
        let mut judged = self.judged.borrow_mut();
        let renewed = judged.renew();
        let Some(exchange) = &mut judged.exchange else { return Ok(None) };
        match renewed {
            Ok(()) => Ok(Some(ask(exchange))),
            Err(ended) => Err(exchange.ended(&ended)),
        }
    }

    fn judge_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        let sized = self.judged.borrow_mut().exchange.as_mut().map(|exchange| exchange.request_body_size(size));
        let judged = match sized {
            None => return Action::Pause,
            Some(Ok(())) if !end_of_stream => {
                metrics::held();
                return Action::Pause;
            }
            Some(Ok(())) => self.renewed(|exchange| exchange.request_body(&host::body(Side::Request))),
            Some(Err(answer)) => Err(answer),
        };
        match judged.and_then(|judged| judged.unwrap_or(Ok(None))) {
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

    /// Puts another answer in place of the one that is held.
    fn replace_response(&mut self, rewritten: &Rewritten, then: Phase) -> Action {
        host::edit_headers(Side::Response, &rewritten.edits);
        host::replace_body(Side::Response, &rewritten.body);
        self.phase = then;
        Action::Continue
    }

    fn filter_json(&mut self, size: usize, end_of_stream: bool) -> Action {
        let holding = self.judged.borrow_mut().exchange.as_mut().map(|exchange| exchange.response_json_size(size));
        metrics::held();
        match holding {
            Some(HeldAnswer::Replace(error)) => self.replace_response(&error, Phase::Drop),
            Some(HeldAnswer::Release) if !end_of_stream => {
                match self.renewed(|exchange| exchange.pass_on(&host::body(Side::Response))) {
                    Ok(Some(Some(released))) => self.replace_response(&released, Phase::LookThrough),
                    Ok(_) => Action::Pause,
                    Err(answer) => self.answer(&answer),
                }
            }
            Some(_) if end_of_stream => {
                match self.renewed(|exchange| exchange.response_json(&host::body(Side::Response))) {
                    Ok(Some(Some(rewritten))) => self.replace_response(&rewritten, Phase::Pass),
                    Ok(_) => {
                        self.phase = Phase::Pass;
                        Action::Continue
                    }
                    Err(answer) => self.answer(&answer),
                }
            }
            Some(_) | None => Action::Pause,
        }
    }

    /// Passes on what may pass of a part of the answer.
    fn filter_part<E: Display>(
        &mut self,
        filter: impl for<'c> FnOnce(&mut Exchange, &'c [u8]) -> Result<Cow<'c, [u8]>, E>,
    ) -> Action {
        let body = host::body(Side::Response);
        match self.renewed(|exchange| filter(exchange, &body)) {
            Ok(Some(Ok(Cow::Owned(passed)))) => host::replace_body(Side::Response, &passed),
            Ok(None | Some(Ok(Cow::Borrowed(_)))) => {}
            Ok(Some(Err(end))) => {
                let judged = self.judged.borrow();
                let key = String::from_utf8_lossy(judged.policy_key.as_deref().unwrap_or_default());
                warn!("an answer ends early: {end}; {}", RouteKey::parse(&key).policy);
                drop(judged);
                self.end_answer();
            }
            Err(_) => self.end_answer(),
        }
        Action::Continue
    }

    /// Ends an answer that has begun.
    fn end_answer(&mut self) {
        streams::close(self.id);
        host::replace_body(Side::Response, b"");
        self.phase = Phase::Drop;
        host::reset_response();
    }

    /// Has an eye on an answer that may go on for long.
    fn open_stream(&mut self) -> Action {
        match streams::open(self.root, self.id, &self.judged) {
            Ok(()) => Action::Continue,
            Err(ended) => {
                let answer = self.judged.borrow().exchange.as_ref().map(|exchange| exchange.ended(&ended));
                self.answer(&answer.unwrap_or_else(|| ended.answer()))
            }
        }
    }
}

impl Context for Http {}

impl HttpContext for Http {
    fn on_http_request_headers(&mut self, _: usize, end_of_stream: bool) -> Action {
        let policy_key = host::policy_key();
        if policy_key.is_none() && host::has_no_route() {
            return self.answer(&denial::no_route());
        }
        let headers = host::headers(Side::Request);
        let judged = Rc::clone(&self.judged);
        let mut judged = judged.borrow_mut();
        #[cfg(feature = "probe")]
        if let Some(answer) = crate::probe::answer(&headers, judged.configured.verifier) {
            return self.answer(&answer);
        }
        let authority = Headers(&headers).first(":authority").unwrap_or_default();
        let key = policy_key.as_deref().map(|key| key_of_request(key, authority));
        let key = key.as_deref();
        let configured = Rc::clone(&judged.configured);
        let (mut exchange, step) = with_tokens_and_budget(|cache, budget| {
            let (verifier, now, millis) = (&configured.verifier, host::now(), host::now_millis());
            let mut verification = Verification { verifier, cache, now, budget, millis };
            Exchange::request_headers(&configured.table, key, &Headers(&headers), end_of_stream, &mut verification)
        });
        if let Some(place) = &exchange.record().missing_key {
            missing_keys::tell(place, self.root, self.id);
        }
        if let RequestStep::Continue(_) | RequestStep::AwaitBody(_) = step {
            with_held(|held| exchange.charge(held, key));
        }
        judged.takes(exchange, key);
        judged.policy_key = policy_key;
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
        if self.phase != Phase::Pass {
            return Action::Continue;
        }
        if let Some(exchange) = &mut self.judged.borrow_mut().exchange {
            exchange.release();
        }
        metrics::held();
        // Envoy chooses the new route behind this filter, so that it is not known earlier.
        if self.edited && host::policy_key() != self.judged.borrow().policy_key {
            let answer = self.judged.borrow_mut().exchange.as_mut().map(Exchange::route_changed);
            return answer.map_or(Action::Continue, |answer| self.answer(&answer));
        }
        let step = self.renewed(|exchange| {
            let headers = if exchange.filters_answer() { host::headers(Side::Response) } else { Vec::new() };
            exchange.response_headers(&Headers(&headers), end_of_stream)
        });
        match step {
            Ok(None) => Action::Continue,
            Ok(Some(ResponseStep::Pass(edits))) => {
                host::edit_headers(Side::Response, &edits);
                if end_of_stream { Action::Continue } else { self.open_stream() }
            }
            Ok(Some(ResponseStep::Buffer(edits))) => {
                host::edit_headers(Side::Response, &edits);
                self.phase = Phase::FilterJson;
                Action::Pause
            }
            Ok(Some(ResponseStep::Events(edits))) => {
                host::edit_headers(Side::Response, &edits);
                self.phase = Phase::FilterEvents;
                self.open_stream()
            }
            Ok(Some(ResponseStep::Answer(answer))) | Err(answer) => self.answer(&answer),
        }
    }

    fn on_http_response_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        match self.phase {
            Phase::FilterJson => self.filter_json(size, end_of_stream),
            Phase::FilterEvents => self.filter_part(|exchange, body| exchange.response_events(body)),
            Phase::LookThrough => self.filter_part(|exchange, body| exchange.response_part(body)),
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
        let judged = self.judged.borrow();
        if let (Some(exchange), true) = (&judged.exchange, judged.configured.table.access_log.is_on()) {
            metrics::log(exchange.record());
        }
    }
}

/// The end of the exchange.
impl Drop for Http {
    fn drop(&mut self) {
        streams::close(self.id);
        let exchange = self.judged.borrow_mut().exchange.take();
        if let Some(exchange) = exchange {
            metrics::count(exchange.record());
            drop(exchange);
            metrics::held();
        }
    }
}
