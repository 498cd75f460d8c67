//! Where a request's arguments stand, by its method.

use std::cell::OnceCell;

use super::method::Method;
use crate::arguments::{Argument, Arguments, Given};
use crate::scan::{Malformed, Scanner};

/// The arguments of a request, which are read when a rule asks for them.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct LazyArguments<'m> {
    message: &'m [u8],
    read: OnceCell<Given>,
}

/// Where in `params` arguments stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// `arguments`.
    Call,
    /// `argument`, of which one is completed, and `context.arguments`, which are known already.
    Completion,
    Nowhere,
}

impl<'m> LazyArguments<'m> {
    /// Those of a message that was read already.
    pub(super) fn of(message: &'m [u8]) -> Self {
        Self { message, read: OnceCell::new() }
    }

    pub(super) fn get(&self, method: Method) -> &Given {
        // A message that can't be read twice is none that anybody should act on.
        self.read.get_or_init(|| read(self.message, Place::of(method)).unwrap_or(Given::Unclear))
    }
}

impl Place {
    fn of(method: Method) -> Self {
        match method {
            // What we don't know may well have arguments.
            Method::ToolsCall | Method::PromptsGet | Method::Other => Self::Call,
            Method::Complete => Self::Completion,
            Method::Initialize
            | Method::Ping
            | Method::Discover
            | Method::SetLevel
            | Method::ToolsList
            | Method::PromptsList
            | Method::ResourcesList
            | Method::ResourceTemplatesList
            | Method::ResourcesRead
            | Method::ResourcesSubscribe
            | Method::ResourcesUnsubscribe
            | Method::DirectoryRead
            | Method::SkillsList
            | Method::SkillsGet
            | Method::Listen
            | Method::Task
            | Method::Notification
            | Method::Response
            | Method::Removed => Self::Nowhere,
        }
    }
}

/// What stands in `params`.
#[derive(Default)]
struct Params {
    arguments: Option<Argument>,
    argument: Option<Argument>,
    context: Option<Argument>,
}

fn read(message: &[u8], place: Place) -> Result<Given, Malformed> {
    if place == Place::Nowhere {
        return Ok(Given::None);
    }
    let mut scanner = Scanner::new(std::str::from_utf8(message).map_err(|_| Malformed)?);
    let mut params = Params::default();
    scanner.object(|scanner, name| {
        if name != "params" || scanner.peek()? != b'{' {
            return scanner.skip();
        }
        scanner.object(|scanner, name| {
            let slot = match (name.as_ref(), place) {
                ("arguments", Place::Call) => &mut params.arguments,
                ("argument", Place::Completion) => &mut params.argument,
                ("context", Place::Completion) => &mut params.context,
                _ => return scanner.skip(),
            };
            *slot = Some(Argument::read(scanner)?);
            Ok::<(), Malformed>(())
        })
    })?;
    Ok(match place {
        Place::Call => params.arguments.map_or(Given::None, |arguments| match arguments {
            Argument::Object(arguments) => Given::Arguments(arguments),
            _ => Given::Unclear,
        }),
        Place::Completion => params.of_completion().map_or(Given::Unclear, Given::Arguments),
        Place::Nowhere => Given::None,
    })
}

impl Params {
    /// The arguments that are known already, and the one that is completed among them; none: that is not said in the one way
    /// in which it should be.
    fn of_completion(self) -> Option<Arguments> {
        let mut arguments = match self.context {
            None => Arguments::default(),
            Some(Argument::Object(context)) => match context.member("arguments").ok()? {
                None => Arguments::default(),
                Some(Argument::Object(arguments)) => arguments.clone(),
                Some(_) => return None,
            },
            Some(_) => return None,
        };
        let Some(Argument::Object(argument)) = self.argument else { return None };
        let (name, value) = (argument.member("name").ok()??, argument.member("value").ok()??);
        match (name, value) {
            (Argument::Text(name), Argument::Text(value)) => {
                arguments.insert(name.clone(), Argument::Text(value.clone())).then_some(arguments)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_stand_where_the_method_has_them() {
        let call = r#""arguments":{"a":1}"#;
        let completion = r#""argument":{"name":"a","value":"x"}"#;
        let rows = [
            ("a call", Method::ToolsCall, call.to_owned(), Some(Some(r#"{"a":1}"#))),
            ("a prompt", Method::PromptsGet, call.to_owned(), Some(Some(r#"{"a":1}"#))),
            ("an unknown method", Method::Other, call.to_owned(), Some(Some(r#"{"a":1}"#))),
            ("none", Method::ToolsCall, completion.to_owned(), Some(None)),
            ("null", Method::ToolsCall, r#""arguments":null"#.to_owned(), None),
            ("a list", Method::ToolsCall, r#""arguments":[{"a":1}]"#.to_owned(), None),
            ("a text", Method::ToolsCall, r#""arguments":"{\"a\":1}""#.to_owned(), None),
            ("a resource", Method::ResourcesRead, call.to_owned(), Some(None)),
            ("a task", Method::Task, call.to_owned(), Some(None)),
            ("a completion", Method::Complete, completion.to_owned(), Some(Some(r#"{"a":"x"}"#))),
            ("its extra member", Method::Complete, format!("{call},{completion}"), Some(Some(r#"{"a":"x"}"#))),
            ("its extra member alone", Method::Complete, call.to_owned(), None),
            (
                "its context",
                Method::Complete,
                format!(r#"{completion},"context":{{"arguments":{{"b":"y"}}}}"#),
                Some(Some(r#"{"a":"x","b":"y"}"#)),
            ),
            (
                "an empty context",
                Method::Complete,
                format!(r#"{completion},"context":{{}}"#),
                Some(Some(r#"{"a":"x"}"#)),
            ),
            (
                "the same twice",
                Method::Complete,
                format!(r#"{completion},"context":{{"arguments":{{"a":"y"}}}}"#),
                None,
            ),
            ("no context", Method::Complete, format!(r#"{completion},"context":null"#), None),
            ("no value", Method::Complete, r#""argument":{"name":"a"}"#.to_owned(), None),
            ("no text", Method::Complete, r#""argument":{"name":"a","value":1}"#.to_owned(), None),
        ];
        for (row, method, params, expected) in rows {
            let message = format!(r#"{{"arguments":{{"top":1}},"params":{{{params}}}}}"#);
            let expected = match expected {
                None => Given::Unclear,
                Some(None) => Given::None,
                Some(Some(json)) => Given::Arguments(Arguments::parse(json.as_bytes()).expect("an object")),
            };
            assert_eq!(LazyArguments::of(message.as_bytes()).get(method), &expected, "{row}");
        }
    }
}
