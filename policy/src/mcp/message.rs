//! One JSON-RPC message from a client, read in the one way in which all servers read it (or refused).

use std::borrow::Cow;
use std::fmt;

use serde_json::Value;
use serde_json::value::RawValue;

use super::arguments::LazyArguments;
use super::handles;
use super::method::Method;
use crate::arguments::Given;
use crate::policy::Item;
use crate::strict::{self, Fault, Reader, Scalar};

/// Integers past this are not the same number for all parsers (RFC 8259 section 6).
const LARGEST_ID: u64 = (1 << 53) - 1;
/// Longest string id, in bytes.
const MAX_ID_BYTES: usize = 1024;
/// Longest name of a method, tool or prompt, in bytes.
const MAX_NAME_BYTES: usize = 256;
/// Longest URI of a resource, in bytes.
const MAX_URI_BYTES: usize = 8192;
/// Longest id of a task, in bytes.
const MAX_TASK_BYTES: usize = 2048;
/// Most resources and tasks that one request may name.
const MAX_TARGETS: usize = 1024;
/// Most messages in an array.
const MAX_BATCH: usize = 64;

/// The key in `params._meta` that carries the revision since 2026-07-28.
const META_VERSION: &str = "io.modelcontextprotocol/protocolVersion";

/// The key in `params._meta` that carries what the client can do, since 2026-07-28.
const META_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";

/// The extension by which a request may become a task.
pub(crate) const TASKS_EXTENSION: &str = "io.modelcontextprotocol/tasks";

/// A message from a client.
#[derive(Clone, Debug, PartialEq)]
pub enum Message<'m> {
    /// Wants an answer.
    Request(Request<'m>),
    /// Wants none.
    Notification {
        /// Its method, which begins with `notifications/`.
        method: Cow<'m, str>,
    },
    /// Answers a request of the server.
    Response,
}

/// A request.
#[derive(Clone, Debug, PartialEq)]
pub struct Request<'m> {
    /// Repeated in the answer.
    pub id: Id,
    /// What is asked for.
    pub method: Method,
    /// The method's name as sent.
    pub method_name: Cow<'m, str>,
    /// What the method is to be applied to.
    pub targets: Vec<Target<'m>>,
    /// The revision that the message itself names.
    pub version: Option<Cow<'m, str>>,
    /// Whether the answer may be a task: the caller asks for one, or says that it knows them.
    pub may_become_task: bool,
    /// Whether any member, wherever it stands, is named as one that is a handle.
    pub names_handle: bool,
    arguments: LazyArguments<'m>,
}

/// One thing that a method is to be applied to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of MCP")]
pub enum Target<'m> {
    Tool(Cow<'m, str>),
    Prompt(Cow<'m, str>),
    Resource(Cow<'m, str>),
    Task(Cow<'m, str>),
}

impl Target<'_> {
    /// Its name or URI.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Tool(name) | Self::Prompt(name) | Self::Resource(name) | Self::Task(name) => name,
        }
    }

    /// What a policy must grant; none for what belongs to a caller and not to a policy.
    fn item(&self) -> Option<Item<'_>> {
        match self {
            Self::Tool(name) => Some(Item::Tool(name)),
            Self::Prompt(name) => Some(Item::Prompt(name)),
            Self::Resource(uri) => Some(Item::Resource(uri)),
            Self::Task(_) => None,
        }
    }
}

impl Request<'_> {
    /// What a policy must grant for this request to pass, all of it; none for the protocol's own housekeeping and for
    /// lists, which are filtered on their way back.
    pub fn items(&self) -> impl Iterator<Item = Item<'_>> {
        let method = (self.method == Method::Other).then_some(Item::Method(&self.method_name));
        self.targets.iter().filter_map(Target::item).chain(method)
    }

    /// What it is to be done with: of a completion the argument that is completed and those that are known already, of
    /// everything else `params.arguments`; what is about resources has none.
    #[must_use]
    pub fn arguments(&self) -> &Given {
        self.arguments.get(self.method)
    }
}

/// The id of a request: a string, or an integer on which all parsers agree. Shown as JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants are JSON's own types")]
pub enum Id {
    Integer(i64),
    String(String),
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(number) => number.fmt(f),
            Self::String(text) => Value::from(text.as_str()).fmt(f),
        }
    }
}

/// Why a body is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What is wrong.
    pub fault: MessageFault,
    /// The request's id, where it could be read.
    pub id: Option<Id>,
}

/// What is wrong with a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the texts say it")]
pub enum MessageFault {
    #[error("the body is not JSON in UTF-8")]
    Syntax,
    #[error("the body is nested deeper than {} levels", strict::MAX_DEPTH)]
    Depth,
    #[error("the body has more than {} values", strict::MAX_VALUES)]
    Values,
    #[error("a member of an object stands twice")]
    DuplicateMember,
    #[error("a member looks like one of the protocol but is not spelled like it")]
    LookAlikeMember,
    #[error("a member has a name that is kept for parsers")]
    ReservedMember,
    #[error("arrays of messages are not accepted")]
    Batch,
    #[error("the body is not a JSON-RPC 2.0 message")]
    Envelope,
    #[error("the id of a request must be a string or an integer")]
    Id,
    #[error("a notification has no id")]
    NotificationWithId,
    #[error("params must be an object")]
    Params,
    #[error("the name or uri of what is asked for is missing or not acceptable")]
    Target,
}

impl MessageFault {
    /// The JSON-RPC error code.
    #[must_use]
    pub fn code(self) -> i32 {
        match self {
            Self::Syntax | Self::Depth => -32700,
            Self::Target => -32602,
            _ => -32600,
        }
    }

    /// The word for answer, metric and log.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Syntax => "NotJson",
            Self::Depth => "TooDeep",
            Self::Values => "TooManyValues",
            Self::DuplicateMember => "DuplicateMember",
            Self::LookAlikeMember => "LookAlikeMember",
            Self::ReservedMember => "ReservedMember",
            Self::Batch => "Batch",
            Self::Envelope => "NotJsonRpc",
            Self::Id => "BadId",
            Self::NotificationWithId => "NotificationWithId",
            Self::Params => "BadParams",
            Self::Target => "BadTarget",
        }
    }
}

impl<'m> Message<'m> {
    /// The request, if it is one.
    #[must_use]
    pub fn request(&self) -> Option<&Request<'m>> {
        match self {
            Self::Request(request) => Some(request),
            Self::Notification { .. } | Self::Response => None,
        }
    }

    /// Reads a body, all of it.
    ///
    /// # Errors
    /// When it is not exactly one message, or two parsers could read two messages in it.
    pub fn parse(body: &'m [u8]) -> Result<Self, Refusal> {
        let mut members = Members::default();
        let read = strict::read(body, Place::Root, &mut members);
        let id = members.id.clone();
        let refuse = |fault| Refusal { fault, id: id.as_ref().and_then(|id| id.clone().ok()) };
        read.map_err(|fault| refuse(message_fault(&fault)))?;
        members.message(body).map_err(refuse)
    }

    /// Reads a body that is an array of messages.
    ///
    /// # Errors
    /// When one of them is not acceptable, or the array is empty or too long.
    pub fn parse_array(body: &'m [u8]) -> Result<Vec<Self>, Refusal> {
        let refuse = |fault| Refusal { fault, id: None };
        strict::check(body).map_err(|fault| refuse(message_fault(&fault)))?;
        let elements: Vec<&RawValue> = serde_json::from_slice(body).map_err(|_| refuse(MessageFault::Syntax))?;
        if elements.is_empty() || elements.len() > MAX_BATCH {
            return Err(refuse(MessageFault::Batch));
        }
        elements.into_iter().map(|element| Self::parse(element.get().as_bytes())).collect()
    }
}

fn message_fault(fault: &Fault) -> MessageFault {
    match fault {
        Fault::Syntax => MessageFault::Syntax,
        Fault::Depth => MessageFault::Depth,
        Fault::Values => MessageFault::Values,
        Fault::Duplicate => MessageFault::DuplicateMember,
        Fault::LookAlike => MessageFault::LookAlikeMember,
        Fault::Reserved => MessageFault::ReservedMember,
    }
}

/// Where in a message a value stands, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Root,
    JsonRpc,
    Id,
    Method,
    Result,
    Params,
    Name,
    Uri,
    Argument,
    Context,
    Ref,
    RefType,
    RefName,
    RefUri,
    Meta,
    Version,
    TaskId,
    Notifications,
    Subscriptions,
    Subscription,
    TaskIds,
    ListedTask,
    Task,
    Capabilities,
    Extensions,
    TasksExtension,
    Elsewhere,
}

/// The members that the protocol knows at the places where a name decides what happens. A member that is not one of
/// these but would be to a parser that folds case, normalizes or drops characters is refused.
const ROOT: [(&str, Place); 6] = [
    ("jsonrpc", Place::JsonRpc),
    ("id", Place::Id),
    ("method", Place::Method),
    ("params", Place::Params),
    ("result", Place::Result),
    ("error", Place::Result),
];
const PARAMS: [(&str, Place); 13] = [
    ("name", Place::Name),
    ("uri", Place::Uri),
    ("ref", Place::Ref),
    ("_meta", Place::Meta),
    ("arguments", Place::Elsewhere),
    ("argument", Place::Argument),
    ("context", Place::Context),
    ("task", Place::Task),
    ("taskId", Place::TaskId),
    ("notifications", Place::Notifications),
    ("cursor", Place::Elsewhere),
    ("inputResponses", Place::Elsewhere),
    ("requestState", Place::Elsewhere),
];
const NOTIFICATIONS: [(&str, Place); 2] =
    [("resourceSubscriptions", Place::Subscriptions), ("taskIds", Place::TaskIds)];
const ARGUMENT: [(&str, Place); 2] = [("name", Place::Elsewhere), ("value", Place::Elsewhere)];
const CONTEXT: [(&str, Place); 1] = [("arguments", Place::Elsewhere)];
const REF: [(&str, Place); 3] = [("type", Place::RefType), ("name", Place::RefName), ("uri", Place::RefUri)];
const META: [(&str, Place); 2] = [(META_VERSION, Place::Version), (META_CAPABILITIES, Place::Capabilities)];

/// What matters of a message.
#[derive(Debug, Default)]
struct Members<'m> {
    root: Option<Scalar<'m>>,
    jsonrpc: Option<Scalar<'m>>,
    id: Option<Result<Id, ()>>,
    method: Option<Scalar<'m>>,
    results: usize,
    params: Option<Scalar<'m>>,
    name: Option<Scalar<'m>>,
    uri: Option<Scalar<'m>>,
    ref_type: Option<Scalar<'m>>,
    ref_name: Option<Scalar<'m>>,
    ref_uri: Option<Scalar<'m>>,
    version: Option<Scalar<'m>>,
    task_id: Option<Scalar<'m>>,
    may_become_task: bool,
    names_handle: bool,
    subscriptions: Listed<'m>,
    task_ids: Listed<'m>,
}

/// The elements of an array, as far as there is one.
#[derive(Debug, Default)]
struct Listed<'m> {
    array: Option<Scalar<'m>>,
    elements: Vec<Scalar<'m>>,
}

impl<'m> Reader<'m> for Members<'m> {
    type Place = Place;

    fn member(&mut self, object: Place, key: &str) -> Result<Place, Fault> {
        self.names_handle |= handles::is_handle(key);
        let known: &[(&str, Place)] = match object {
            Place::Root => &ROOT,
            Place::Params => &PARAMS,
            Place::Argument => &ARGUMENT,
            Place::Context => &CONTEXT,
            Place::Ref => &REF,
            Place::Meta => &META,
            Place::Notifications => &NOTIFICATIONS,
            Place::Capabilities if key == "extensions" => return Ok(Place::Extensions),
            Place::Extensions if key == TASKS_EXTENSION => return Ok(Place::TasksExtension),
            _ => return Ok(Place::Elsewhere),
        };
        if let Some((_, place)) = known.iter().find(|(name, _)| *name == key) {
            return Ok(*place);
        }
        // The protocol's own names and the form of `_meta` keys are printable ASCII. What is not could become a known
        // name by folding (U+017F, U+212A), by normalization, or by dropping NUL and zero-width characters.
        let plain = key.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
        if !plain || known.iter().any(|(name, _)| name.eq_ignore_ascii_case(key.trim())) {
            return Err(Fault::LookAlike);
        }
        Ok(Place::Elsewhere)
    }

    fn element(&mut self, array: Place) -> Place {
        match array {
            Place::Subscriptions => Place::Subscription,
            Place::TaskIds => Place::ListedTask,
            _ => Place::Elsewhere,
        }
    }

    fn value(&mut self, place: Place, value: Scalar<'m>) {
        let slot = match place {
            Place::Root => &mut self.root,
            Place::JsonRpc => &mut self.jsonrpc,
            Place::Method => &mut self.method,
            Place::Params => &mut self.params,
            Place::Name => &mut self.name,
            Place::Uri => &mut self.uri,
            Place::RefType => &mut self.ref_type,
            Place::RefName => &mut self.ref_name,
            Place::RefUri => &mut self.ref_uri,
            Place::Version => &mut self.version,
            Place::TaskId => &mut self.task_id,
            Place::Subscriptions => &mut self.subscriptions.array,
            Place::TaskIds => &mut self.task_ids.array,
            Place::Subscription => return self.subscriptions.push(value),
            Place::ListedTask => return self.task_ids.push(value),
            Place::Id => {
                self.id = Some(id(value));
                return;
            }
            Place::Result => {
                self.results += 1;
                return;
            }
            Place::Task | Place::TasksExtension => {
                self.may_become_task = true;
                return;
            }
            Place::Argument
            | Place::Context
            | Place::Ref
            | Place::Meta
            | Place::Notifications
            | Place::Capabilities
            | Place::Extensions
            | Place::Elsewhere => return,
        };
        *slot = Some(value);
    }
}

impl<'m> Listed<'m> {
    fn push(&mut self, value: Scalar<'m>) {
        // One too many is enough to refuse them.
        if self.elements.len() <= MAX_TARGETS {
            self.elements.push(value);
        }
    }

    fn texts(self, longest: usize) -> Result<Vec<Cow<'m, str>>, MessageFault> {
        if !matches!(self.array, None | Some(Scalar::Array)) || self.elements.len() > MAX_TARGETS {
            return Err(MessageFault::Target);
        }
        self.elements.into_iter().map(|element| text(Some(element), longest)).collect()
    }
}

fn id(value: Scalar<'_>) -> Result<Id, ()> {
    match value {
        Scalar::Integer(number) if number.unsigned_abs() <= LARGEST_ID => Ok(Id::Integer(number)),
        Scalar::String(text) if text.len() <= MAX_ID_BYTES => Ok(Id::String(text.into_owned())),
        _ => Err(()),
    }
}

impl<'m> Members<'m> {
    fn message(self, body: &'m [u8]) -> Result<Message<'m>, MessageFault> {
        match self.root {
            Some(Scalar::Object) => {}
            Some(Scalar::Array) => return Err(MessageFault::Batch),
            _ => return Err(MessageFault::Envelope),
        }
        if !matches!(&self.jsonrpc, Some(Scalar::String(version)) if version == "2.0") {
            return Err(MessageFault::Envelope);
        }
        match self.method {
            None => self.response(),
            Some(Scalar::String(_)) if self.results == 0 => self.call(body),
            Some(_) => Err(MessageFault::Envelope),
        }
    }

    fn response(self) -> Result<Message<'m>, MessageFault> {
        if self.results != 1 || self.params.is_some() {
            return Err(MessageFault::Envelope);
        }
        match self.id {
            Some(Ok(_)) => Ok(Message::Response),
            _ => Err(MessageFault::Id),
        }
    }

    fn call(self, body: &'m [u8]) -> Result<Message<'m>, MessageFault> {
        let Some(Scalar::String(method_name)) = self.method else { return Err(MessageFault::Envelope) };
        if method_name.is_empty()
            || method_name.len() > MAX_NAME_BYTES
            || !method_name.bytes().all(|byte| byte.is_ascii_graphic())
        {
            return Err(MessageFault::Envelope);
        }
        if self.params.as_ref().is_some_and(|params| *params != Scalar::Object) {
            return Err(MessageFault::Params);
        }
        if method_name.starts_with("notifications/") {
            return match self.id {
                None => Ok(Message::Notification { method: method_name }),
                Some(_) => Err(MessageFault::NotificationWithId),
            };
        }
        // Some servers run a request without an id, or with a bad one, all the same.
        let Some(Ok(id)) = self.id else { return Err(MessageFault::Id) };
        let version = match self.version {
            None => None,
            Some(Scalar::String(version)) => Some(version),
            Some(_) => return Err(MessageFault::Params),
        };
        let method = if version.is_some() {
            Method::of_stateless_request(&method_name)
        } else {
            Method::of_request(&method_name)
        };
        let targets = match method {
            Method::ToolsCall => vec![Target::Tool(text(self.name, MAX_NAME_BYTES)?)],
            Method::PromptsGet => vec![Target::Prompt(text(self.name, MAX_NAME_BYTES)?)],
            Method::ResourcesRead
            | Method::ResourcesSubscribe
            | Method::ResourcesUnsubscribe
            | Method::DirectoryRead
            | Method::SkillsGet => vec![Target::Resource(text(self.uri, MAX_URI_BYTES)?)],
            Method::Complete => match text(self.ref_type, MAX_NAME_BYTES)?.as_ref() {
                "ref/prompt" => vec![Target::Prompt(text(self.ref_name, MAX_NAME_BYTES)?)],
                "ref/resource" => vec![Target::Resource(text(self.ref_uri, MAX_URI_BYTES)?)],
                _ => return Err(MessageFault::Target),
            },
            Method::Task => vec![Target::Task(text(self.task_id, MAX_TASK_BYTES)?)],
            Method::Listen => {
                let resources = self.subscriptions.texts(MAX_URI_BYTES)?.into_iter().map(Target::Resource);
                let tasks = self.task_ids.texts(MAX_TASK_BYTES)?.into_iter().map(Target::Task);
                resources.chain(tasks).collect()
            }
            _ => Vec::new(),
        };
        let arguments = LazyArguments::of(body);
        Ok(Message::Request(Request {
            id,
            method,
            method_name,
            targets,
            version,
            may_become_task: self.may_become_task,
            names_handle: self.names_handle,
            arguments,
        }))
    }
}

fn text(value: Option<Scalar<'_>>, longest: usize) -> Result<Cow<'_, str>, MessageFault> {
    match value {
        Some(Scalar::String(text))
            if !text.is_empty() && text.len() <= longest && !text.chars().any(char::is_control) =>
        {
            Ok(text)
        }
        _ => Err(MessageFault::Target),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(rest: &str) -> String {
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call",{rest}}}"#)
    }

    #[test]
    fn requests() {
        let text =
            r#"{"jsonrpc":"2.0","id":"a\"b","method":"tools/call","params":{"name":"add","arguments":{"Name":1}}}"#;
        let Ok(Message::Request(request)) = Message::parse(text.as_bytes()) else { panic!("a request") };
        assert_eq!(request.id.to_string(), r#""a\"b""#);
        assert_eq!(request.items().collect::<Vec<_>>(), [Item::Tool("add")]);
        assert_eq!(request.version, None);
    }

    #[test]
    fn faults() {
        use MessageFault as F;
        let rows: Vec<(&str, String, Option<MessageFault>)> = vec![
            ("tool", call(r#""params":{"name":"add"}"#), None),
            ("escaped key alone", call(r#""params":{"n\u0061me":"add"}"#), None),
            ("name twice", call(r#""params":{"name":"add","name":"x"}"#), Some(F::DuplicateMember)),
            ("name twice by escape", call(r#""params":{"name":"add","n\u0061me":"x"}"#), Some(F::DuplicateMember)),
            ("Name", call(r#""params":{"name":"add","Name":"x"}"#), Some(F::LookAlikeMember)),
            ("long s in params", call(r#""params":{"name":"add"},"paramſ":{"name":"x"}"#), Some(F::LookAlikeMember)),
            ("NUL behind", call(r#""params":{"name":"add","name\u0000":"x"}"#), Some(F::LookAlikeMember)),
            ("zero width", call("\"params\":{\"name\":\"add\",\"na\u{200b}me\":\"x\"}"), Some(F::LookAlikeMember)),
            ("full width", call(r#""params":{"name":"add","ｎａｍｅ":"x"}"#), Some(F::LookAlikeMember)),
            ("blank behind", call(r#""params":{"name":"add","name ":"x"}"#), Some(F::LookAlikeMember)),
            ("look-alike in arguments", call(r#""params":{"name":"add","arguments":{"Name":"x","ſ":1}}"#), None),
            ("METHOD", call(r#""METHOD":"ping","params":{"name":"add"}"#), Some(F::LookAlikeMember)),
            ("no name", call(r#""params":{}"#), Some(F::Target)),
            ("name a number", call(r#""params":{"name":1}"#), Some(F::Target)),
            ("name empty", call(r#""params":{"name":""}"#), Some(F::Target)),
            ("name with control", call(r#""params":{"name":"a\u0000"}"#), Some(F::Target)),
            ("params an array", call(r#""params":["add"]"#), Some(F::Params)),
            ("method and result", call(r#""params":{"name":"add"},"result":{}"#), Some(F::Envelope)),
            ("array", "[]".to_owned(), Some(F::Batch)),
            ("batch", format!("[{}]", call(r#""params":{"name":"add"}"#)), Some(F::Batch)),
            ("scalar", "1".to_owned(), Some(F::Envelope)),
            ("garbage", "hello".to_owned(), Some(F::Syntax)),
            ("empty", String::new(), Some(F::Syntax)),
            ("no version", r#"{"id":1,"method":"ping"}"#.to_owned(), Some(F::Envelope)),
            ("version 1.0", r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#.to_owned(), Some(F::Envelope)),
            ("no id", r#"{"jsonrpc":"2.0","method":"tools/list"}"#.to_owned(), Some(F::Id)),
            ("id null", r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#.to_owned(), Some(F::Id)),
            ("id float", r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#.to_owned(), Some(F::Id)),
            ("id object", r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#.to_owned(), Some(F::Id)),
            ("id 2^53", r#"{"jsonrpc":"2.0","id":9007199254740992,"method":"ping"}"#.to_owned(), Some(F::Id)),
            ("id negative", r#"{"jsonrpc":"2.0","id":-1,"method":"ping"}"#.to_owned(), None),
            ("method with blank", r#"{"jsonrpc":"2.0","id":1,"method":"ping "}"#.to_owned(), Some(F::Envelope)),
            ("method a number", r#"{"jsonrpc":"2.0","id":1,"method":1}"#.to_owned(), Some(F::Envelope)),
            ("notification", r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#.to_owned(), None),
            (
                "notification with id",
                r#"{"jsonrpc":"2.0","id":1,"method":"notifications/x"}"#.to_owned(),
                Some(F::NotificationWithId),
            ),
            ("response", r#"{"jsonrpc":"2.0","id":1,"result":{}}"#.to_owned(), None),
            ("error response", r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"x"}}"#.to_owned(), None),
            ("result and error", r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{}}"#.to_owned(), Some(F::Envelope)),
            ("response without id", r#"{"jsonrpc":"2.0","result":{}}"#.to_owned(), Some(F::Id)),
            (
                "unknown ref",
                r#"{"jsonrpc":"2.0","id":1,"method":"completion/complete","params":{"ref":{"type":"ref/x"}}}"#
                    .to_owned(),
                Some(F::Target),
            ),
        ];
        for (name, body, expected) in rows {
            assert_eq!(Message::parse(body.as_bytes()).err().map(|refusal| refusal.fault), expected, "{name}");
        }
    }
}
