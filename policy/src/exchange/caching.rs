//! What depends on the caller is kept by its client alone, and no longer than the decision holds (RFC 9111 section 5.2, RFC 9213).
//! Where nothing is said, caches that are shared keep no answer to a request with a token (RFC 9111 section 3.5).

use super::Exchange;
use super::headers::{Edits, Headers};
use crate::mcp::list::MAX_TTL_MS;

/// What else tells shared caches to keep an answer, or for how long.
const OTHERS: [&str; 4] = ["expires", "surrogate-control", "x-accel-expires", "cdn-cache-control"];

/// The headers of an answer such that nobody but the client keeps it, nor for longer than this.
pub(super) fn private(headers: &Headers<'_>, lifetime_ms: u64) -> Edits {
    let is_other = |name: &&str| OTHERS.contains(name) || name.ends_with("-cdn-cache-control");
    let names = headers.0.iter().map(|(name, _)| name.as_str());
    let mut edits = Edits { remove: names.filter(is_other).map(str::to_owned).collect(), set: Vec::new() };
    let said: Vec<String> =
        headers.all("cache-control").map(|value| String::from_utf8_lossy(value).into_owned()).collect();
    if said.is_empty() && edits.remove.is_empty() {
        return edits;
    }
    let said = said.join(", ").to_ascii_lowercase();
    let kept: Vec<String> = said.split(',').filter_map(|one| directive(one.trim(), lifetime_ms / 1000)).collect();
    let says = |directive: &str| kept.iter().any(|one| one == directive);
    let is_kept_by_none = says("no-store") || says("no-cache");
    let mut wanted = if says("private") || is_kept_by_none { Vec::new() } else { vec!["private".to_owned()] };
    wanted.extend(kept);
    let wanted = wanted.join(", ");
    if wanted != said {
        edits.set.push(("cache-control", wanted));
    }
    edits
}

/// A directive as it may stand; none: it may not, or nobody knows what it means.
fn directive(text: &str, lifetime: u64) -> Option<String> {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    match name.trim() {
        known @ ("no-store" | "no-cache" | "private" | "no-transform" | "must-revalidate") => Some(known.to_owned()),
        "max-age" => {
            let age = value.trim().trim_matches('"').parse::<u64>().map_or(lifetime, |age| age.min(lifetime));
            Some(format!("max-age={age}"))
        }
        _ => None,
    }
}

impl Exchange {
    /// For how long a client may keep what it gets, in milliseconds.
    pub(super) fn lifetime_ms(&self) -> u64 {
        let token = self.standing.as_ref().and_then(|standing| standing.token.as_ref());
        token.map_or(MAX_TTL_MS, |token| MAX_TTL_MS.min(token.validity.left(self.now).saturating_mul(1000)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::type_complexity, reason = "a table whose rows have names")]
    fn what_caches_are_told() {
        let rows: [(&str, &[(&str, &str)], &[&str], Option<&str>); 13] = [
            ("nothing", &[], &[], None),
            ("public", &[("cache-control", "public, max-age=86400")], &[], Some("private, max-age=60")),
            ("shared", &[("cache-control", "s-maxage=9, max-age=5")], &[], Some("private, max-age=5")),
            ("private already", &[("cache-control", "private, max-age=60")], &[], None),
            ("private for too long", &[("cache-control", "private, max-age=61")], &[], Some("private, max-age=60")),
            ("a stream", &[("cache-control", "no-cache, no-transform")], &[], None),
            ("not stored", &[("cache-control", "no-store")], &[], None),
            ("not stored, but public", &[("cache-control", "public, no-store")], &[], Some("no-store")),
            ("private in part", &[("cache-control", "private=\"set-cookie\"")], &[], Some("private")),
            ("stale", &[("cache-control", "max-age=1, stale-while-revalidate=99")], &[], Some("private, max-age=1")),
            ("no age", &[("cache-control", "max-age=x")], &[], Some("private, max-age=60")),
            ("twice", &[("cache-control", "private"), ("cache-control", "Public")], &[], Some("private")),
            (
                "others",
                &[("expires", "x"), ("surrogate-control", "x"), ("fast-cdn-cache-control", "x")],
                &["expires", "surrogate-control", "fast-cdn-cache-control"],
                Some("private"),
            ),
        ];
        for (name, headers, removed, wanted) in rows {
            let headers: Vec<_> = headers.iter().map(|(n, v)| ((*n).to_owned(), v.as_bytes().to_vec())).collect();
            let edits = private(&Headers(&headers), 60_000);
            assert_eq!(edits.remove, removed, "{name}");
            assert_eq!(edits.set.first().map(|(_, value)| value.as_str()), wanted, "{name}");
        }
    }
}
