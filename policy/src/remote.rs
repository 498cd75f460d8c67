//! Servers that have an authorization server of their own. Clients know them by the gateway's URL, and strict ones want that
//! URL from all that they are told: so what such a server says of itself is said in the gateway's name.

use serde_json::{Value, json};

use crate::strict;

/// A `WWW-Authenticate` value of the server's in which the metadata are at the gateway (RFC 9728 section 5.1). Challenges of
/// schemes other than Bearer stay; of Bearer there is one, in the form in which clients of all kinds read it.
#[must_use]
pub fn challenge(value: &str, metadata_url: &str) -> String {
    let mut challenges = Vec::new();
    for (scheme, parameters) in parse(value) {
        if !scheme.eq_ignore_ascii_case("bearer") {
            challenges.push(written(scheme, &parameters));
            continue;
        }
        let kept = parameters.into_iter().filter(|(name, _)| !name.eq_ignore_ascii_case("resource_metadata"));
        let kept: Vec<_> = kept.chain([("resource_metadata", metadata_url.to_owned())]).collect();
        // Some clients read the first challenge alone.
        challenges.insert(0, written("Bearer", &kept));
    }
    challenges.join(", ")
}

/// Metadata of the server's, told of the endpoint at this URL (RFC 9728 section 3.3); none: these are no metadata.
#[must_use]
pub fn metadata(text: &[u8], url: &str) -> Option<String> {
    let mut metadata = strict::object(text).ok()?;
    let servers = metadata.get("authorization_servers").and_then(Value::as_array)?;
    if servers.is_empty() {
        return None;
    }
    // It would say otherwise, and count for more (RFC 9728 section 2.2).
    metadata.remove("signed_metadata");
    metadata.insert("resource".to_owned(), json!(url));
    Some(Value::Object(metadata).to_string())
}

/// What is said for a server that has no metadata: until revision 2025-03-26 it was its own authorization server.
#[must_use]
pub fn stand_in(url: &str, server: &str) -> String {
    json!({ "resource": url, "authorization_servers": [server], "bearer_methods_supported": ["header"] }).to_string()
}

type Parameters<'v> = Vec<(&'v str, String)>;

fn written(scheme: &str, parameters: &Parameters<'_>) -> String {
    let parameters = parameters.iter().map(|(name, value)| match (*name, value) {
        // A token68, which has no name.
        ("", value) => value.clone(),
        (name, value) => {
            let plain: String =
                value.chars().filter(|each| !matches!(each, '"' | '\\') && !each.is_control()).collect();
            format!("{name}=\"{plain}\"")
        }
    });
    format!("{scheme} {}", parameters.collect::<Vec<_>>().join(", ")).trim_end().to_owned()
}

/// Challenges with their parameters (RFC 9110 section 11.6.1). What does not fit the grammar is left out.
fn parse(value: &str) -> Vec<(&str, Parameters<'_>)> {
    let mut challenges: Vec<(&str, Parameters<'_>)> = Vec::new();
    let mut rest = value;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let end = rest.find(|each: char| !is_token(each)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        if word.is_empty() {
            return challenges;
        }
        let next = after.trim_start_matches([' ', '\t']);
        match (next.strip_prefix('='), challenges.last_mut()) {
            // `a=b`, and not the `==` at the end of a token68.
            (Some(next), Some((_, parameters))) if !next.starts_with('=') => {
                let (value, next) = parameter_value(next.trim_start_matches([' ', '\t']));
                parameters.push((word, value));
                rest = next;
            }
            _ => {
                challenges.push((word, Vec::new()));
                rest = next;
                if let (Some((token, next)), Some((_, parameters))) = (token68(rest), challenges.last_mut()) {
                    parameters.push(("", token.to_owned()));
                    rest = next;
                }
            }
        }
    }
}

/// A token or a quoted string, and what follows.
fn parameter_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end =
            text.find(|each: char| !is_token(each) && !matches!(each, '/' | ':' | '?' | '=')).unwrap_or(text.len());
        let (value, rest) = text.split_at(end);
        return (value.to_owned(), rest);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((index, each)) = characters.next() {
        match each {
            '"' => return (value, quoted.get(index + 1..).unwrap_or_default()),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, "")
}

/// What a scheme such as Negotiate says in place of parameters.
fn token68(text: &str) -> Option<(&str, &str)> {
    let is_part = |each: char| each.is_ascii_alphanumeric() || "-._~+/".contains(each);
    let end = text.find(|each: char| !is_part(each)).unwrap_or(text.len());
    let (_, rest) = text.split_at(end);
    let equals = rest.len() - rest.trim_start_matches('=').len();
    let (token, rest) = text.split_at_checked(end + equals)?;
    // `a="b"` is a parameter, and what is followed by another word is a scheme.
    let ends = rest.trim_start().is_empty() || rest.trim_start().starts_with(',');
    (!token.is_empty() && ends && (equals != 1 || rest.trim_start().is_empty())).then_some((token, rest))
}

fn is_token(each: char) -> bool {
    each.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(each)
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "https://gw/.well-known/oauth-protected-resource/mcp";

    #[test]
    fn challenges() {
        let ours = format!("resource_metadata=\"{URL}\"");
        for (row, value, expected) in [
            ("nothing but the scheme", "Bearer", format!("Bearer {ours}")),
            ("with metadata", r#"Bearer resource_metadata="https://s/x""#, format!("Bearer {ours}")),
            (
                "among others",
                r#"Bearer realm="a, b", resource_metadata="https://s/x", error="invalid_token""#,
                format!("Bearer realm=\"a, b\", error=\"invalid_token\", {ours}"),
            ),
            ("another case", r#"bearer Resource_Metadata="https://s/x""#, format!("Bearer {ours}")),
            (
                "without quotes",
                "Bearer resource_metadata=https://s/x?a=b, scope=a",
                format!("Bearer scope=\"a\", {ours}"),
            ),
            (
                "escaped quotes",
                r#"Bearer error_description="a \"b\" c""#,
                format!("Bearer error_description=\"a b c\", {ours}"),
            ),
            (
                "after another scheme",
                r#"Basic realm="x", Bearer scope="a b""#,
                format!("Bearer scope=\"a b\", {ours}, Basic realm=\"x\""),
            ),
            ("a token68", "Negotiate abc==, Bearer", format!("Bearer {ours}, Negotiate abc==")),
            ("no Bearer", r#"Basic realm="x""#, r#"Basic realm="x""#.to_owned()),
            ("an open quote", r#"Bearer realm="x"#, format!("Bearer realm=\"x\", {ours}")),
            ("not of the grammar", "\u{1}", String::new()),
        ] {
            assert_eq!(challenge(value, URL), expected, "{row}");
        }
    }

    #[test]
    fn metadata_of_servers() {
        let told = |text: &str| metadata(text.as_bytes(), "https://gw/mcp");
        let text = r#"{"resource":"https://s/mcp","authorization_servers":["https://s"],"signed_metadata":"x","scopes_supported":["a"]}"#;
        let expected =
            r#"{"authorization_servers":["https://s"],"resource":"https://gw/mcp","scopes_supported":["a"]}"#;
        let told_text: Value = serde_json::from_str(&told(text).expect("metadata")).expect("JSON");
        assert_eq!(told_text, serde_json::from_str::<Value>(expected).expect("JSON"));
        for text in ["", "[]", "{}", r#"{"authorization_servers":[]}"#, r#"{"authorization_servers":"https://s"}"#] {
            assert_eq!(told(text), None, "{text}");
        }
    }
}
