//! Sessions of the transport HTTP+SSE (revision 2024-11-05): their id is a query parameter of the URI that the server
//! announces, to which the client sends its messages. A seal beside it says whose session it is.

/// What servers call the parameter, without regard to case, `_` and `-`.
const SESSION: &str = "sessionid";

/// The parameter that is added.
const SEAL: &str = "toolward-seal";

/// Whether the filter may take this query parameter away on the way to the server; see [`super::changes_header`].
#[must_use]
pub fn changes_parameter(name: &str) -> bool {
    name == SEAL
}

/// Whether a request's path names a session, as messages of this transport do.
pub(super) fn names_session(path: &str) -> bool {
    path.split_once('?').is_some_and(|(_, query)| parameters(query).any(|(name, _)| is_session(&name)))
}

/// Whether a request's path carries a token (RFC 6750 section 2.3).
pub(super) fn carries_token(path: &str) -> bool {
    path.split_once('?').is_some_and(|(_, query)| parameters(query).any(|(name, _)| name == "access_token"))
}

/// The announced URI with a seal; `None`: there is no session in it.
pub(super) fn sealed(uri: &str, seal: impl FnOnce(&str) -> Option<String>) -> Option<String> {
    let (_, query) = uri.split_once('?')?;
    let (_, session) = parameters(query).find(|(name, _)| is_session(name))?;
    Some(format!("{uri}&{SEAL}={}", seal(session)?))
}

/// A request's path with query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unsealed {
    /// It names no session.
    NoSession,
    /// It names one that is the caller's; this is what the server announced.
    Path(String),
    /// It names one that is not, or several.
    Refused,
}

/// Takes the seal off a path.
pub(super) fn unsealed(path: &str, is_seal: impl FnOnce(&str, &str) -> bool) -> Unsealed {
    let Some((bare, query)) = path.split_once('?') else { return Unsealed::NoSession };
    let mut sessions = parameters(query).filter(|(name, _)| is_session(name));
    let Some((_, session)) = sessions.next() else { return Unsealed::NoSession };
    let mut seals = parameters(query).filter(|(name, _)| name == SEAL);
    match (sessions.next(), seals.next(), seals.next()) {
        (None, Some((_, seal)), None) if is_seal(session, seal) => {
            let rest: Vec<&str> = query.split('&').filter(|part| part.split('=').next() != Some(SEAL)).collect();
            Unsealed::Path(format!("{bare}?{}", rest.join("&")))
        }
        _ => Unsealed::Refused,
    }
}

/// Names, decoded as a server would, and values as they stand. Some servers separate parameters by semicolons.
fn parameters(query: &str) -> impl Iterator<Item = (String, &str)> {
    query.split(['&', ';']).map(|part| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        (decoded(name), value)
    })
}

fn is_session(name: &str) -> bool {
    name.chars().filter(|each| !matches!(each, '_' | '-')).collect::<String>().eq_ignore_ascii_case(SESSION)
}

fn decoded(name: &str) -> String {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let hex = tail.get(..2).filter(|_| *first == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        match hex.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = tail.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_announced_comes_back() {
        for uri in ["/messages/?session_id=abc", "/message?sessionId=a%2Fb&x=1", "http://h:1/m?x=1&sessionId=abc"] {
            let sealed = sealed(uri, |session| Some(format!("seal-of-{session}"))).expect("a session");
            let is_seal = |session: &str, seal: &str| seal == format!("seal-of-{session}");
            assert_eq!(unsealed(&sealed, is_seal), Unsealed::Path(uri.to_owned()));
        }
        assert_eq!(sealed("/messages", |_| Some(String::new())), None);
        assert_eq!(sealed("/messages?x=1", |_| Some(String::new())), None);
    }

    #[test]
    fn tokens_in_paths() {
        for (path, carries) in [
            ("/mcp?access_token=x", true),
            ("/mcp?a=b&access%5Ftoken", true),
            ("/access_token?a=access_token", false),
            ("/mcp", false),
        ] {
            assert_eq!(carries_token(path), carries, "{path}");
        }
    }

    #[test]
    fn whose_session_it_is() {
        let rows = [
            ("no query", "/m", Unsealed::NoSession),
            ("another query", "/m?x=1", Unsealed::NoSession),
            ("sealed", "/m?session_id=a&toolward-seal=A", Unsealed::Path("/m?session_id=a".to_owned())),
            ("no seal", "/m?session_id=a", Unsealed::Refused),
            ("another seal", "/m?session_id=a&toolward-seal=B", Unsealed::Refused),
            ("two seals", "/m?session_id=a&toolward-seal=A&toolward-seal=A", Unsealed::Refused),
            ("two sessions", "/m?session_id=a&toolward-seal=A&session_id=b", Unsealed::Refused),
            ("two by another name", "/m?session_id=a&toolward-seal=A&sessionId=b", Unsealed::Refused),
            ("an encoded name", "/m?session%5Fid=a", Unsealed::Refused),
            ("another case", "/m?SESSIONID=a", Unsealed::Refused),
            ("behind a semicolon", "/m?x=1;session_id=a", Unsealed::Refused),
        ];
        for (name, path, expected) in rows {
            assert_eq!(unsealed(path, |session, seal| seal == session.to_uppercase()), expected, "{name}");
        }
    }
}
