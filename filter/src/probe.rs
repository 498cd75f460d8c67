//! For tests alone: no module that ships has the feature `probe`. A request can have the VM trap, or a signature judged by
//! the host and by ourselves.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use toolward_policy::denial::Answer;
use toolward_policy::exchange::Headers;
use toolward_policy::jwt::TokenFault;
use toolward_policy::jwt::token::Jws;
use toolward_policy::jwt::verify::{Portable, SignatureVerifier};
use toolward_policy::policy::{CallerAuthentication, JwtAuthentication, PolicyTable, RoutePolicy};

use crate::signature::HostVerifier;

/// The trap.
const TRAP: &str = "x-probe-trap";
/// A configuration of the filter in base64, whose policy `probe` accepts the issuer `probe`.
const CONFIG: &str = "x-probe-config";
/// What is to be judged, in base64.
const JWS: &str = "x-probe-jws";

/// The answer to a request for the probe.
pub(crate) fn answer(headers: &[(String, Vec<u8>)], host: HostVerifier) -> Option<Answer> {
    let headers = Headers(headers);
    if headers.first(TRAP).is_some() {
        std::process::abort();
    }
    let decoded = |name| STANDARD.decode(headers.first(name)?).ok();
    let (config, jws) = (decoded(CONFIG)?, decoded(JWS)?);
    let verdict = |verifier: &dyn SignatureVerifier| match judge(&config, &jws, verifier) {
        Ok(()) => "Accepted",
        Err(fault) => fault.map_or("NoConfig", TokenFault::reason),
    };
    let body = json!({ "host": verdict(&host), "portable": verdict(&Portable), "by": host.describe() });
    Some(Answer { status: 200, headers: Vec::new(), body: body.to_string() })
}

fn judge(config: &[u8], jws: &[u8], verifier: &dyn SignatureVerifier) -> Result<(), Option<TokenFault>> {
    let policy = PolicyTable::parse(config).ok().and_then(|table| table.policy("probe")).ok_or(None)?;
    let jwt = authentication(&policy).ok_or(None)?;
    let claims = [("iss".to_owned(), json!("probe"))].into_iter().collect();
    let issuer = jwt.issuer(&claims).ok_or(None)?;
    let jws = Jws::parse(std::str::from_utf8(jws).map_err(|_| TokenFault::Malformed)?)?;
    let key = issuer.key(jws.key_id.as_deref(), jws.algorithm)?;
    if verifier.verify(key, jws.algorithm, jws.signing_input.as_bytes(), &jws.signature) {
        Ok(())
    } else {
        Err(Some(TokenFault::BadSignature))
    }
}

fn authentication(policy: &RoutePolicy) -> Option<&JwtAuthentication> {
    match policy {
        RoutePolicy::Protected(protection) => match &protection.authentication {
            CallerAuthentication::Jwt(jwt) => Some(jwt),
            _ => None,
        },
        _ => None,
    }
}
