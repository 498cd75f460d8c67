//! Arguments of a call that are repeated in headers (`Mcp-Param-*`; MCP transports, revision 2026-07-28). Which argument a header
//! repeats is said by the tool's schema, which is not known here; but it repeats one. Whoever goes by such a header, on the way or
//! behind it, must not see another value than the one that was judged.

use super::headers::Headers;
use super::revision::decoded;
use crate::arguments::{Argument, Arguments, Given, Number};
use crate::mcp::message::Request;
use crate::mcp::method::Method;

/// How the names of these headers begin.
pub(super) const PREFIX: &str = "mcp-param-";

/// What such headers say: the rest of each name, and the value; none where it is no text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Parameters(Vec<(String, Option<String>)>);

impl Parameters {
    pub(super) fn of(headers: &Headers<'_>) -> Self {
        let said = headers.0.iter().filter_map(|(name, value)| {
            let text = std::str::from_utf8(value).ok().and_then(decoded);
            Some((without_signs(name.strip_prefix(PREFIX)?), text))
        });
        Self(said.collect())
    }

    /// Whether each repeats an argument: the one of its name, where there is one.
    pub(super) fn agree_with(&self, request: &Request<'_>) -> bool {
        if self.0.is_empty() {
            return true;
        }
        let (Method::ToolsCall, Given::Arguments(arguments)) = (request.method, request.arguments()) else {
            return false;
        };
        let mut leaves = Vec::new();
        add_leaves(arguments, &mut leaves);
        self.0.iter().all(|(name, text)| {
            let Some(text) = text else { return false };
            let named = |leaf: &&(&str, &Argument)| without_signs(leaf.0) == *name;
            if leaves.iter().any(|leaf| named(&leaf)) {
                leaves.iter().filter(named).any(|(_, value)| is_shown(value, text))
            } else {
                leaves.iter().any(|(_, value)| is_shown(value, text))
            }
        })
    }
}

/// The strings, numbers and booleans among arguments, with the names of the members that they are.
fn add_leaves<'a>(arguments: &'a Arguments, leaves: &mut Vec<(&'a str, &'a Argument)>) {
    for (name, value) in arguments.members() {
        match value {
            Argument::Object(members) => add_leaves(members, leaves),
            Argument::List(_) | Argument::Null => {}
            Argument::Text(_) | Argument::Number(_) | Argument::Bool(_) => leaves.push((name, value)),
        }
    }
}

/// `tenant_id` and `Tenant-Id` are one name.
fn without_signs(name: &str) -> String {
    name.chars().filter(|each| !matches!(each, '-' | '_')).collect::<String>().to_ascii_lowercase()
}

fn is_shown(value: &Argument, text: &str) -> bool {
    match value {
        Argument::Text(string) => string == text,
        Argument::Bool(bool) => text == if *bool { "true" } else { "false" },
        Argument::Number(Number::Integer(number)) => text.parse() == Ok(*number),
        Argument::Number(Number::Decimal(number)) => text.parse() == Ok(*number),
        // In doubt it says something else.
        Argument::Number(_) | Argument::Null | Argument::List(_) | Argument::Object(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mcp::message::Message;

    fn agree(method: &str, headers: &[(&str, &str)], arguments: &str) -> bool {
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{"name":"t","arguments":{arguments}}}}}"#
        );
        let message = Message::parse(body.as_bytes()).expect("a message");
        let headers: Vec<_> = headers.iter().map(|(n, v)| ((*n).to_owned(), v.as_bytes().to_vec())).collect();
        Parameters::of(&Headers(&headers)).agree_with(message.request().expect("a request"))
    }

    #[test]
    #[expect(clippy::type_complexity, reason = "a table whose rows have names")]
    fn what_headers_repeat() {
        let rows: [(&str, &[(&str, &str)], &str, bool); 15] = [
            ("no header", &[("mcp-name", "t")], r#"{"region":"eu"}"#, true),
            ("the argument of its name", &[("mcp-param-region", "eu")], r#"{"region":"eu","zone":"us"}"#, true),
            ("another value", &[("mcp-param-region", "us")], r#"{"region":"eu"}"#, false),
            ("that of another argument", &[("mcp-param-region", "us")], r#"{"region":"eu","zone":"us"}"#, false),
            ("an argument of another name", &[("mcp-param-place", "us")], r#"{"region":"eu","zone":"us"}"#, true),
            ("deeper", &[("mcp-param-region", "eu")], r#"{"a":{"region":"eu"}}"#, true),
            ("signs", &[("mcp-param-tenant-id", "a")], r#"{"tenant_id":"a","x":"b"}"#, true),
            ("signs, another value", &[("mcp-param-tenant-id", "b")], r#"{"tenant_id":"a","x":"b"}"#, false),
            ("no arguments", &[("mcp-param-region", "eu")], "{}", false),
            ("encoded", &[("mcp-param-region", "=?base64?w6k=?=")], r#"{"region":"é"}"#, true),
            ("encoded wrongly", &[("mcp-param-region", "=?base64?w6?=")], r#"{"region":"é"}"#, false),
            ("a number", &[("mcp-param-n", "12")], r#"{"n":12}"#, true),
            ("a number as text", &[("mcp-param-n", "12")], r#"{"n":"12"}"#, true),
            ("a boolean", &[("mcp-param-b", "true")], r#"{"b":true}"#, true),
            ("nothing", &[("mcp-param-b", "null")], r#"{"b":null}"#, false),
        ];
        for (name, headers, arguments, expected) in rows {
            assert_eq!(agree("tools/call", headers, arguments), expected, "{name}");
        }
        assert!(!agree("prompts/get", &[("mcp-param-region", "eu")], r#"{"region":"eu"}"#), "no call of a tool");
    }
}
