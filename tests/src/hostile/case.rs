//! One hostile request as data.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::encoding::Encoding;
use super::target::Target;
use super::token;
use super::wire::Ending;
use crate::servers::Era;

/// One hostile request.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// The name of its file.
    #[serde(skip)]
    pub family: String,
    /// What is tried.
    pub name: String,
    /// Also what is granted must not run.
    #[serde(default)]
    pub nothing_runs: bool,
    /// It is no trick: it must run.
    #[serde(default)]
    pub must_run: bool,
    era: Option<String>,
    /// That of its family.
    #[serde(skip)]
    tool: Option<String>,
    /// Arguments of a call of that tool, in place of `params`.
    arguments: Option<String>,
    params: Option<String>,
    body: Option<String>,
    encode: Option<String>,
    #[serde(default)]
    without: Vec<String>,
    #[serde(default)]
    headers: Vec<(String, String)>,
    method: Option<String>,
    path: Option<String>,
    raw: Option<String>,
    token: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Family {
    /// What is called in place of the granted tool.
    tool: Option<String>,
    cases: Vec<Case>,
}

/// All cases of a folder, in the order of their files.
///
/// # Panics
/// When a file can't be read.
#[must_use]
pub fn cases(folder: &Path) -> Vec<Case> {
    let files = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    let read = |path: &Path| {
        let text = std::fs::read_to_string(path).expect("readable");
        let family: Family =
            serde_yaml_ng::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let name = path.file_stem().and_then(|name| name.to_str()).expect("UTF-8").to_owned();
        let Family { tool, cases } = family;
        cases.into_iter().map(move |case| Case { family: name.clone(), tool: tool.clone(), ..case })
    };
    files.iter().flat_map(|path| read(path)).collect()
}

impl Case {
    /// Whether it makes sense in this era.
    #[must_use]
    pub fn is_of(&self, era: Era) -> bool {
        self.era.as_deref().is_none_or(|only| only == era.word())
    }

    /// Whether its answer ends by itself.
    #[must_use]
    pub fn ending(&self) -> Ending {
        let streams = self.method.as_deref().is_some_and(|method| method != "PUT" && method != "PATCH");
        if streams || self.raw.is_some() { Ending::Unsure } else { Ending::Sure }
    }

    /// The request, byte for byte.
    #[must_use]
    pub fn render(&self, target: &Target) -> Vec<u8> {
        let target = &self.target(target);
        match &self.raw {
            Some(raw) => render_raw(raw, target),
            None => self.render_fields(target),
        }
    }

    fn target(&self, target: &Target) -> Target {
        Target { granted: self.tool.clone().unwrap_or_else(|| target.granted.clone()), ..target.clone() }
    }

    /// The body before it is cut into chunks, where the request is not given as a whole.
    #[must_use]
    pub fn body(&self, target: &Target) -> Option<Vec<u8>> {
        let call = |params: &str| format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{{params}}}}}"#);
        let body = match (&self.params, &self.arguments, &self.body) {
            (Some(params), None, None) => call(params),
            (None, Some(arguments), None) => call(&format!(r#""name":"$GRANTED","arguments":{arguments}$META"#)),
            (None, None, body) => body.clone()?,
            _ => panic!("{}: one of params, arguments and body", self.name),
        };
        Some(self.encoding().encode(&filled(&body, &self.target(target))))
    }

    fn encoding(&self) -> Encoding {
        self.encode.as_deref().map_or(Encoding::Utf8, Encoding::named)
    }

    fn render_fields(&self, target: &Target) -> Vec<u8> {
        let body = self.body(target);
        let presented = token::present(&target.token, self.token.as_deref());
        let path = filled(self.path.as_deref().unwrap_or("$PATH"), target) + &presented.query;
        let mut headers = vec![
            ("host".to_owned(), target.host.clone()),
            ("content-type".to_owned(), "application/json".to_owned()),
            ("accept".to_owned(), "application/json, text/event-stream".to_owned()),
            ("connection".to_owned(), "close".to_owned()),
        ];
        headers.extend(presented.authorization.map(|value| ("authorization".to_owned(), value)));
        headers.extend(target.protocol_headers());
        headers.retain(|(name, _)| !self.without.contains(name));
        headers.extend(self.headers.iter().map(|(name, value)| (name.clone(), filled(value, target))));
        let is_coded = headers.iter().any(|(name, _)| name == "transfer-encoding");
        let body = body.map(|body| match self.encoding() {
            Encoding::Chunks => {
                headers.push(("transfer-encoding".to_owned(), "chunked".to_owned()));
                chunked(&body)
            }
            _ => {
                if !is_coded {
                    headers.push(("content-length".to_owned(), body.len().to_string()));
                }
                body
            }
        });
        let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let method = self.method.as_deref().unwrap_or("POST");
        [format!("{method} {path} HTTP/1.1\r\n{lines}\r\n").into_bytes(), body.unwrap_or_default()].concat()
    }
}

fn render_raw(raw: &str, target: &Target) -> Vec<u8> {
    let headers: String = target.protocol_headers().iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
    let text = filled(&raw.replace("$SESSION", &headers), target);
    let body = text.rsplit_once("\n\n").map_or("", |(_, body)| body).trim_end_matches('\n');
    let length = body.len().to_string();
    text.replace("$LENGTH", &length).replace('\n', "\r\n").into_bytes()
}

fn chunked(body: &[u8]) -> Vec<u8> {
    let chunks = body.iter().flat_map(|byte| [b"1\r\n".as_slice(), &[*byte], b"\r\n"].concat());
    chunks.chain(*b"0\r\n\r\n").collect()
}

/// The text with everything that stands for something else.
fn filled(text: &str, target: &Target) -> String {
    let text = expanded(text, "$REPEAT(", |inner| {
        let (what, count) = inner.rsplit_once(',').expect("text and count");
        what.repeat(count.parse().expect("a number"))
    });
    let text = text
        .replace("$GRANTED", &target.granted)
        .replace("$FORBIDDEN", &target.forbidden)
        .replace("$ARGUMENTS", &target.arguments)
        .replace("$META", &target.meta())
        .replace("$HOST", &target.host)
        .replace("$PATH", &target.path)
        .replace("$TOKEN", &target.token);
    expanded(&text, "$BASE64(", |inner| STANDARD.encode(inner))
}

fn expanded(text: &str, opening: &str, make: impl Fn(&str) -> String) -> String {
    let mut parts = text.split(opening);
    let mut filled = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (inner, rest) = part.split_once(')').expect("a closing parenthesis");
        filled += &make(inner);
        filled += rest;
    }
    filled
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::root;

    fn target(era: Era) -> Target {
        Target {
            host: "h:1".into(),
            path: "/mcp".into(),
            token: "a.b.c".into(),
            granted: "add".into(),
            forbidden: "multiply".into(),
            arguments: r#"{"a":6,"b":7}"#.into(),
            era,
            session: Some("s".into()),
        }
    }

    #[test]
    fn every_case_can_be_sent() {
        let cases = cases(&root().join("tests/hostile"));
        assert!(cases.len() >= 300, "{}", cases.len());
        let cases = [cases, super::cases(&root().join("tests/hostile/arguments"))].concat();
        for era in [Era::Legacy, Era::Modern] {
            for case in cases.iter().filter(|case| case.is_of(era)) {
                let request = String::from_utf8_lossy(&case.render(&target(era))).into_owned();
                assert!(request.contains("/mcp") || case.path.is_some() || case.raw.is_some(), "{}", case.name);
                let placeholders =
                    ["$GRANTED", "$FORBIDDEN", "$ARGUMENTS", "$META", "$HOST", "$PATH", "$REPEAT", "$BASE64"];
                assert!(!placeholders.iter().any(|name| request.contains(name)), "{}: {request}", case.name);
            }
        }
    }

    #[test]
    fn texts_are_filled_in() {
        let rows = [
            ("x$REPEAT(ab,2)y", "xababy"),
            ("$BASE64($GRANTED)=", "YWRk="),
            ("$GRANTED$META", "add"),
            ("no dollar", "no dollar"),
        ];
        for (text, expected) in rows {
            assert_eq!(filled(text, &target(Era::Legacy)), expected);
        }
    }
}
