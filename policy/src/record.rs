//! What is remembered of one exchange, for metrics and the access log.

use std::rc::Rc;

use crate::claims::Caller;

/// What happened in one exchange.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The class of the method, a bounded set: that of JSON-RPC, or of HTTP where there is no message.
    pub method_class: &'static str,
    /// What became of the request.
    pub outcome: Outcome,
    /// The one word that says why, a bounded set.
    pub reason: Reason,
    /// Who called, where that was verified.
    pub caller: Option<Rc<Caller>>,
    /// JSON-RPC method as sent, from verified callers only.
    pub method: Option<String>,
    /// Name of the tool or prompt, or URI of the resource; from verified callers only.
    pub name: Option<String>,
    /// The policy that decided.
    pub policy: Option<String>,
    /// Its rule that granted the call.
    pub rule: Option<String>,
    /// Items that were hidden from lists (or would have been, in dry run).
    pub hidden: Hidden,
    /// The place of the key set that does not have the key which the token names.
    pub missing_key: Option<String>,
}

/// Most bytes of names in [`Hidden`]: a server can send lists without end on one stream.
const HIDDEN_NAMES_BYTES: usize = 8 * 1024;

/// Items hidden from lists: all counted, and named as far as there is room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hidden {
    count: u64,
    names: String,
}

impl Hidden {
    pub(crate) fn add(&mut self, name: &str) {
        self.count += 1;
        if self.names.len() + name.len() < HIDDEN_NAMES_BYTES {
            if !self.names.is_empty() {
                self.names.push(',');
            }
            self.names.push_str(name);
        }
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The names with commas between them; those for which there was no room are left out.
    #[must_use]
    pub fn names(&self) -> &str {
        &self.names
    }
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The route is open.
    Open,
    /// It passed.
    Allowed,
    /// It passed, though a policy in dry run would have denied it.
    DryRunDenied,
    /// The policy denies it.
    Denied,
    /// It was not acceptable: no good token, or no good message.
    Refused,
    /// What protects the route is broken.
    Closed,
}

impl Outcome {
    /// The label.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Allowed => "allowed",
            Self::DryRunDenied => "dry_run_denied",
            Self::Denied => "denied",
            Self::Refused => "refused",
            Self::Closed => "closed",
        }
    }
}

/// Why: a word in CamelCase of a bounded set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reason(pub &'static str);

impl Default for Record {
    fn default() -> Self {
        Self {
            method_class: "none",
            outcome: Outcome::Closed,
            reason: Reason("Unjudged"),
            caller: None,
            method: None,
            name: None,
            policy: None,
            rule: None,
            hidden: Hidden::default(),
            missing_key: None,
        }
    }
}
