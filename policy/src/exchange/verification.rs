//! Who sends a token: remembered, or found out by the signature, as long as there is time for it.

use std::rc::Rc;

use crate::jwt::budget::Budget;
use crate::jwt::cache::TokenCache;
use crate::jwt::verify::SignatureVerifier;
use crate::jwt::{TokenFault, Unsigned, Verified};
use crate::policy::JwtAuthentication;

/// What verifying a token needs from outside.
pub struct Verification<'v> {
    /// Checks signatures.
    pub verifier: &'v dyn SignatureVerifier,
    /// Remembers verified tokens.
    pub cache: &'v mut TokenCache,
    /// Seconds since the epoch.
    pub now: u64,
    /// Bounds the time for wrong signatures.
    pub budget: &'v mut Budget,
    /// Milliseconds of the clock that the budget goes by.
    pub millis: u64,
}

/// Why it is not known who sends a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unverified {
    Bad(TokenFault),
    /// Too many tokens with wrong signatures name the same issuer; whether this one is good was not looked at.
    Busy,
}

impl From<TokenFault> for Unverified {
    fn from(fault: TokenFault) -> Self {
        Self::Bad(fault)
    }
}

impl Verification<'_> {
    /// Who sends this token.
    pub(super) fn verified(
        &mut self,
        token: &str,
        authentication: &JwtAuthentication,
    ) -> Result<Rc<Verified>, Unverified> {
        let Self { verifier, cache, now, budget, millis } = self;
        if let Some(verified) = cache.verified(token, &authentication.content, *now) {
            return Ok(verified);
        }
        let unsigned = Unsigned::judge(token, authentication, *now)?;
        let (key_set, cost) = (*unsigned.key_set(), unsigned.cost(*verifier));
        if !budget.admits(&key_set, *millis) {
            return Err(Unverified::Busy);
        }
        let verified = Rc::new(unsigned.verify(*verifier).inspect_err(|_| budget.spend(&key_set, cost, *millis))?);
        cache.remember(token, &authentication.content, Rc::clone(&verified));
        Ok(verified)
    }
}
