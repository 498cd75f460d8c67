//! What an exchange stands on, asked again: a decision holds for as long as the policy, the token and the key by which it was taken.

use std::rc::Rc;

use super::judge::Judge;
use super::{Exchange, State};
use crate::claims::Caller;
use crate::config::RouteKey;
use crate::decide::Verdict;
use crate::denial::{self, Answer, RequestFault};
use crate::jwt::{self, TokenFault, Verified};
use crate::mcp::message::Message;
use crate::policy::{CallerAuthentication, PolicyTable, Protection, RoutePolicy};
use crate::protected_resource::Hints;
use crate::record::Outcome;

/// Largest request that is remembered until its answer ends, in bytes. Those of larger ones end as soon as the rules change.
const ASKED_BYTES: usize = 64 * 1024;

/// By what an exchange was let pass.
#[derive(Debug)]
pub(super) struct Standing {
    policy: Rc<RoutePolicy>,
    /// None: nobody asked for one.
    pub(super) token: Option<Rc<Verified>>,
    pub(super) asked: Asked,
    /// The rules changed since that was granted. An answer that is one message is that of a call which has run by then; a stream
    /// goes on.
    rules_changed: bool,
}

/// What was granted.
#[derive(Debug, Default)]
pub(super) enum Asked {
    /// Nothing beside the exchange itself.
    #[default]
    Nothing,
    /// What these messages ask for.
    Messages(Box<[u8]>),
    /// More than is remembered.
    More,
}

/// Why an exchange may not go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The route is gone, or has no policy that is known.
    PolicyRemoved,
    /// Something that protects the route is broken.
    Closed(String),
    /// The policy asks for something that was not looked at when the exchange began.
    PolicyChanged,
    /// The policy asks for a token, of which there was none.
    NoToken,
    /// The token would not be accepted any more.
    Token(TokenFault),
    /// Pages of this origin may not ask any more.
    Origin,
    /// The rules do not grant any more what was asked for.
    NotGranted,
}

impl Ended {
    /// The word for answer, metric and log.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::PolicyRemoved => "PolicyRemoved",
            Self::Closed(_) => "Closed",
            Self::PolicyChanged => "PolicyChanged",
            Self::NoToken => "NoToken",
            Self::Token(fault) => fault.reason(),
            Self::Origin => RequestFault::Origin.reason(),
            Self::NotGranted => "NoRuleMatches",
        }
    }

    fn outcome(&self) -> Outcome {
        match self {
            Self::PolicyRemoved | Self::Closed(_) | Self::PolicyChanged => Outcome::Closed,
            Self::NoToken | Self::Token(_) | Self::Origin => Outcome::Refused,
            Self::NotGranted => Outcome::Denied,
        }
    }

    /// The answer in place of the server's, where that has not begun.
    #[must_use]
    pub fn answer(&self) -> Answer {
        match self {
            Self::Closed(reason) => denial::closed(reason, None),
            Self::NoToken => denial::no_token(&Hints::default()),
            Self::Token(fault) => denial::bad_token(*fault, &Hints::default()),
            Self::Origin => denial::bad_request(RequestFault::Origin, None),
            Self::PolicyRemoved | Self::PolicyChanged | Self::NotGranted => denial::closed(self.reason(), None),
        }
    }
}

impl Standing {
    pub(super) fn new(policy: &Rc<RoutePolicy>) -> Self {
        Self { policy: Rc::clone(policy), token: None, asked: Asked::Nothing, rules_changed: false }
    }
}

impl Standing {
    /// How many bytes are remembered of what was asked for.
    pub(super) fn remembered(&self) -> usize {
        match &self.asked {
            Asked::Messages(body) => body.len(),
            Asked::Nothing | Asked::More => 0,
        }
    }

    /// Where the keys of a caller's issuer come from.
    pub(super) fn key_source(&self, caller: &Caller) -> Option<Rc<str>> {
        match self.policy.as_ref() {
            RoutePolicy::Protected(Protection { authentication: CallerAuthentication::Jwt(jwt), .. }) => {
                jwt.key_source(caller)
            }
            _ => None,
        }
    }
}

impl Asked {
    pub(super) fn by(body: &[u8]) -> Self {
        if body.len() > ASKED_BYTES { Self::More } else { Self::Messages(body.into()) }
    }
}

impl Exchange {
    /// Judges anew whether the exchange may go on, and how: by the policy that its route has now. `policy_key` is what the
    /// route's metadata say, or would say now.
    ///
    /// # Errors
    /// Why it must end. It is over then.
    pub fn renew(&mut self, table: &PolicyTable, policy_key: Option<&[u8]>, now: u64) -> Result<(), Ended> {
        if let Some(ended) = &self.ended {
            return Err(ended.clone());
        }
        let Some(standing) = self.standing.take() else { return Ok(()) };
        self.now = now;
        match self.renewed(standing, table, policy_key) {
            Ok(standing) => {
                self.standing = Some(standing);
                Ok(())
            }
            Err(ended) => {
                self.state = State::Done;
                self.ended = Some(ended.clone());
                self.settle(ended.outcome(), ended.reason());
                if let Ended::Closed(reason) = &ended {
                    self.record.policy = Some(reason.clone());
                }
                Err(ended)
            }
        }
    }

    /// Whether the answer is a stream, which may go on for as long as it is let.
    #[must_use]
    pub fn is_stream(&self) -> bool {
        matches!(self.state, State::Events(..) | State::Stream(_))
    }

    /// The answer to what can't go on, where the server's has not begun.
    #[must_use]
    pub fn ended(&self, ended: &Ended) -> Answer {
        self.origin.shown(ended.answer())
    }

    fn renewed(
        &mut self,
        standing: Standing,
        table: &PolicyTable,
        policy_key: Option<&[u8]>,
    ) -> Result<Standing, Ended> {
        let key = policy_key.and_then(|key| std::str::from_utf8(key).ok()).map(RouteKey::parse);
        let key = key.map(|key| key.policy).ok_or(Ended::PolicyRemoved)?;
        // Requests still come with a key that no route has any more, and are answered; streams would stay.
        let is_stream = self.is_stream();
        if is_stream && table.is_retired(key) {
            return Err(Ended::PolicyRemoved);
        }
        let policy = table.policy(key).ok_or(Ended::PolicyRemoved)?;
        // An answer that is held is one message, for which the token was good when it was asked for. One that passes may take as
        // long as it likes.
        let must_hold = is_stream || matches!(self.state, State::Body(..) | State::Passing(..));
        if Rc::ptr_eq(&policy, &standing.policy) && !(is_stream && standing.rules_changed) {
            let is_over = standing.token.as_ref().is_some_and(|token| !token.validity.holds(self.now));
            return if must_hold && is_over { Err(Ended::Token(TokenFault::Expired)) } else { Ok(standing) };
        }
        let now =
            if must_hold { self.now } else { standing.token.as_ref().map_or(self.now, |token| token.validity.last()) };
        let token = self.admitted(&standing, &policy, now)?;
        let caller = token.as_ref().map_or_else(|| Rc::new(Caller::anonymous()), |token| Rc::clone(&token.caller));
        let passes_unread = matches!(self.state, State::Stream(_));
        let Some(judge) = self.state.judge_mut() else { return Ok(Standing { policy, token, ..standing }) };
        // Whose session it is was not looked at, or messages now travel in another way.
        if (policy.binds_to_callers() && !judge.binds()) || !judge.speaks_as(&policy) {
            return Err(Ended::PolicyChanged);
        }
        judge.renew(&policy, caller);
        if passes_unread && judge.filters() {
            return Err(Ended::PolicyChanged);
        }
        let mut rules_changed = standing.rules_changed || !has_gates_of(&standing.policy, &policy);
        if is_stream && rules_changed {
            still_granted(&standing.asked, judge)?;
            rules_changed = false;
        }
        self.limits = table.limits.clone();
        Ok(Standing { policy, token, asked: standing.asked, rules_changed })
    }

    /// Who asks, as far as the new policy lets it in.
    fn admitted(&self, standing: &Standing, policy: &RoutePolicy, now: u64) -> Result<Option<Rc<Verified>>, Ended> {
        let (was_protected, protection) = match (standing.policy.as_ref(), policy) {
            (_, RoutePolicy::Closed { reason, .. }) => return Err(Ended::Closed(reason.clone())),
            (_, RoutePolicy::Open | RoutePolicy::Remote) => return Ok(standing.token.clone()),
            (old, RoutePolicy::Protected(protection)) => (matches!(old, RoutePolicy::Protected(_)), protection),
            (RoutePolicy::RemoteMetadata { .. }, RoutePolicy::RemoteMetadata { .. }) => return Ok(None),
            _ => return Err(Ended::PolicyRemoved),
        };
        let Protection { authentication, protocol, .. } = protection;
        if !was_protected {
            return Err(Ended::PolicyChanged);
        }
        let public_url = match authentication {
            CallerAuthentication::Passthrough { public_url } => public_url.as_deref(),
            CallerAuthentication::Jwt(jwt) => jwt.resource.as_ref().and_then(|resource| resource.public_url.as_deref()),
            CallerAuthentication::Anonymous => None,
        };
        if !self.origin.is_allowed(public_url, &protocol.allowed_origins) {
            return Err(Ended::Origin);
        }
        let CallerAuthentication::Jwt(authentication) = authentication else { return Ok(None) };
        let token = standing.token.as_ref().ok_or(Ended::NoToken)?;
        let token = jwt::verify_again(token, authentication, now).map_err(Ended::Token)?;
        let judge = self.state.judge();
        let endpoint = |origin: &str| judge.and_then(|judge| judge.endpoint(origin));
        if judge.is_some() && !self.is_for_endpoint(authentication, &token.caller, endpoint) {
            return Err(Ended::Token(TokenFault::WrongAudience));
        }
        Ok(Some(Rc::new(token)))
    }
}

/// Whether two policies have the same rules for sure.
fn has_gates_of(one: &RoutePolicy, other: &RoutePolicy) -> bool {
    match (one, other) {
        (RoutePolicy::Protected(one), RoutePolicy::Protected(other)) => Rc::ptr_eq(&one.gates, &other.gates),
        _ => false,
    }
}

/// Whether what was asked for is granted as before.
fn still_granted(asked: &Asked, judge: &Judge) -> Result<(), Ended> {
    let body = match asked {
        Asked::Nothing => return Ok(()),
        Asked::More => return Err(Ended::PolicyChanged),
        Asked::Messages(body) => body,
    };
    let is_array = body.trim_ascii_start().first() == Some(&b'[');
    let messages = if is_array { Message::parse_array(body) } else { Message::parse(body).map(|one| vec![one]) };
    let messages = messages.map_err(|_| Ended::PolicyChanged)?;
    let mut asked = messages.iter().filter_map(Message::request);
    let is_granted = |verdict: Verdict<'_>| matches!(verdict, Verdict::Allowed(_) | Verdict::DryRunDenied { .. });
    let all = asked.all(|request| request.items().all(|item| is_granted(judge.verdict(item, Some(request)))));
    if all { Ok(()) } else { Err(Ended::NotGranted) }
}
