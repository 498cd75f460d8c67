//! What is counted and what the access log is told of an exchange.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;

use toolward_policy::exchange::SMALL_BYTES;
use toolward_policy::record::Record;

use crate::host;
use crate::root::with_held;

thread_local! {
    /// Ids of counters by what they count: members of bounded sets only, never what callers send.
    static COUNTERS: RefCell<HashMap<Counted, Option<u32>>> = RefCell::default();

    /// What was last told of the bytes that this worker holds.
    static HELD: Cell<usize> = const { Cell::new(0) };

    static HELD_GAUGE: Option<u32> = host::define_gauge("toolward_held_bytes");
}

/// What a counter counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Counted {
    Requests { class: &'static str, decision: &'static str, reason: &'static str },
    ItemsHidden { class: &'static str },
    Signatures { verifier: &'static str },
}

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Requests { class, decision, reason } => write!(f, "toolward_requests.{class}.{decision}.{reason}"),
            Self::ItemsHidden { class } => write!(f, "toolward_items_hidden.{class}"),
            Self::Signatures { verifier } => write!(f, "toolward_signatures.{verifier}"),
        }
    }
}

/// Longest value of a field in the access log, in bytes.
const LOG_FIELD_BYTES: usize = 8 * 1024;

/// Counts an exchange: `toolward_requests.METHOD.DECISION.REASON`, and the items hidden from lists.
pub(crate) fn count(record: &Record) {
    let (class, decision, reason) = (record.method_class, record.outcome.label(), record.reason.0);
    increment(Counted::Requests { class, decision, reason }, 1);
    if record.hidden.count() > 0 {
        let hidden = u32::try_from(record.hidden.count()).unwrap_or(u32::MAX);
        increment(Counted::ItemsHidden { class }, hidden);
    }
}

/// Tells how many bytes of bodies are held, `toolward_held_bytes`, by steps that are no small call's: those need not be told.
pub(crate) fn held() {
    let now = with_held(|held| held.bytes());
    let told = HELD.get();
    if now.abs_diff(told) < SMALL_BYTES && (now > 0 || told == 0) {
        return;
    }
    let signed = |bytes: usize| i64::try_from(bytes).unwrap_or(i64::MAX);
    if let Some(gauge) = HELD_GAUGE.with(|gauge| *gauge) {
        host::add(gauge, signed(now) - signed(told));
    }
    HELD.set(now);
}

/// Counts a signature that was verified, by whom: `toolward_signatures.VERIFIER`.
pub(crate) fn count_signature(verifier: &'static str) {
    increment(Counted::Signatures { verifier }, 1);
}

fn increment(counted: Counted, by: u32) {
    COUNTERS.with_borrow_mut(|counters| {
        let counter = *counters.entry(counted).or_insert_with(|| host::define_counter(&counted.to_string()));
        if let Some(counter) = counter {
            host::count(counter, by);
        }
    });
}

/// Tells the access log, as fields that `%FILTER_STATE(wasm.toolward.FIELD:PLAIN)%` reads.
pub(crate) fn log(record: &Record) {
    host::set_log_field("toolward.decision", record.outcome.label());
    host::set_log_field("toolward.reason", record.reason.0);
    let caller = record.caller.as_deref();
    let fields = [
        ("toolward.method", record.method.as_deref()),
        ("toolward.name", record.name.as_deref()),
        ("toolward.issuer", caller.map(|caller| caller.issuer.as_str())),
        ("toolward.subject", caller.and_then(|caller| caller.subject.as_deref())),
        ("toolward.policy", record.policy.as_deref()),
        ("toolward.rule", record.rule.as_deref()),
        ("toolward.hidden", Some(record.hidden.names())),
    ];
    for (name, value) in fields {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            // At most so many bytes: a name may be as long as a request's body.
            host::set_log_field(name, &value[..value.floor_char_boundary(LOG_FIELD_BYTES)]);
        }
    }
}
