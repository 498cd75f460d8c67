//! Exchanges whose answers go on: while there are any, each root context looks every second whether its own may, also when nothing
//! passes on them.
//!
//! ```text
//! Http ── Rc ──> Judged <── Rc ── STREAMS[context] <── tick of the root context that made it
//! ```
//! A root context lives as long as its exchanges: each of them has one that ticks for it, however often its configuration was
//! replaced since.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::time::Duration;

use toolward_policy::config::RouteKey;
use toolward_policy::exchange::{Ended, Exchange};

use crate::host;
use crate::root::{self, Configured};

/// How long a stream on which nothing passes may outlive what it stands on.
const LOOK_EVERY: Duration = Duration::from_secs(1);

thread_local! {
    /// By their contexts.
    static STREAMS: RefCell<HashMap<u32, Stream>> = RefCell::default();

    /// The root contexts that tick.
    static TICKING: RefCell<HashSet<u32>> = RefCell::default();
}

#[derive(Debug)]
struct Stream {
    root: u32,
    judged: Rc<RefCell<Judged>>,
}

/// An exchange and what judges it.
#[derive(Debug)]
pub(crate) struct Judged {
    pub(crate) configured: Rc<Configured>,
    pub(crate) exchange: Option<Exchange>,
    /// What the metadata of the route that was taken say.
    pub(crate) policy_key: Option<Vec<u8>>,
    /// Tells that route from all others.
    route: Option<String>,
    /// Names the one that this route has now, where that is another one.
    moved: Option<Option<Vec<u8>>>,
}

impl Judged {
    pub(crate) fn new(configured: Rc<Configured>) -> Self {
        Self { configured, exchange: None, policy_key: None, route: None, moved: None }
    }

    /// An exchange on a route of which this is the key, for the host that was asked.
    pub(crate) fn takes(&mut self, exchange: Exchange, key: Option<&[u8]>) {
        self.exchange = Some(exchange);
        let key = key.and_then(|key| std::str::from_utf8(key).ok());
        self.route = key.and_then(|key| RouteKey::parse(key).route).map(str::to_owned);
    }

    /// Judges anew by what is configured now. Asked in the context of the exchange.
    pub(crate) fn renew(&mut self) -> Result<(), Ended> {
        let current = root::current(&self.configured);
        if !Rc::ptr_eq(&current, &self.configured) {
            self.configured = current;
            self.follow_route();
        }
        let Some(exchange) = &mut self.exchange else { return Ok(()) };
        let key = match &self.moved {
            // The route is gone. Streams end; what was asked for by then is answered.
            Some(None) if !exchange.is_stream() => &self.policy_key,
            Some(moved) => moved,
            None => &self.policy_key,
        };
        exchange.renew(&self.configured.table, key.as_deref(), host::now())
    }

    /// Finds the policy that the route has now: it may have got another one since Envoy chose the route.
    fn follow_route(&mut self) {
        if let Some(key) = self.route.as_deref().and_then(|route| self.configured.table.moved(route)) {
            self.moved = Some(key.map(|key| key.as_bytes().to_vec()));
        }
    }
}

/// An answer has begun that may go on for long.
pub(crate) fn open(root: u32, context: u32, judged: &Rc<RefCell<Judged>>) -> Result<(), Ended> {
    let mut opened = judged.borrow_mut();
    opened.follow_route();
    opened.renew()?;
    STREAMS.with_borrow_mut(|streams| streams.insert(context, Stream { root, judged: Rc::clone(judged) }));
    if TICKING.with_borrow_mut(|ticking| ticking.insert(root)) {
        host::tick(Some(LOOK_EVERY), root, context);
    }
    Ok(())
}

/// It has ended.
pub(crate) fn close(context: u32) {
    STREAMS.with_borrow_mut(|streams| streams.remove(&context));
}

/// Ends those of a root context that may not go on.
pub(crate) fn look(root: u32) {
    let own = |(context, stream): (&u32, &Stream)| (stream.root == root).then(|| (*context, Rc::clone(&stream.judged)));
    let own: Vec<_> = STREAMS.with_borrow(|streams| streams.iter().filter_map(own).collect());
    if own.is_empty() {
        forget(root);
        host::tick(None, root, root);
    }
    for (context, judged) in own {
        let is_there = host::within(context, root, || {
            if judged.borrow_mut().renew().is_err() {
                close(context);
                host::reset_response();
            }
        });
        if !is_there {
            close(context);
        }
    }
}

/// A root context ticks no more.
pub(crate) fn forget(root: u32) {
    TICKING.with_borrow_mut(|ticking| ticking.remove(&root));
}
