//! The filter's configuration: read as a whole or refused as a whole.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::num::NonZeroUsize;
use std::rc::{Rc, Weak};

use log::{error, info};
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::ContextType;
use toolward_policy::config::Limits;
use toolward_policy::exchange::Held;
use toolward_policy::jwt::budget::Budget;
use toolward_policy::jwt::cache::TokenCache;
use toolward_policy::policy::{ConfigError, PolicyTable};

use crate::host;
use crate::http::Http;
use crate::signature::HostVerifier;
use crate::streams;

thread_local! {
    /// One for all configurations of this VM, so that verified tokens outlive a change of policy. What the tokens were
    /// verified against is part of the entries' keys.
    static TOKENS: RefCell<TokenCache> = RefCell::new(TokenCache::new(NonZeroUsize::MIN));

    /// Bounds the time for wrong signatures, of all configurations together.
    static BUDGET: RefCell<Budget> = RefCell::default();

    /// What all exchanges of this VM hold of bodies.
    static HELD: Held = Held::default();

    /// What the host proved once for all.
    static VERIFIER: HostVerifier = HostVerifier::prove();

    /// What was configured last under each name of a plugin: the next configuration takes over what did not change.
    static LAST: RefCell<HashMap<Vec<u8>, Weak<Configured>>> = RefCell::default();

    /// What is in force for each listener: exchanges that began under an earlier configuration are judged by it.
    static IN_FORCE: RefCell<HashMap<String, InForce>> = RefCell::default();
}

/// For how long after a change requests may still come by the configuration before: Envoy changes its filter chains one after
/// the other.
const SETTLED_AFTER_SECONDS: u64 = 5;

#[derive(Debug)]
struct InForce {
    configured: Weak<Configured>,
    /// In seconds since the epoch.
    since: u64,
}

/// Asks the worker's cache of verified tokens.
fn with_tokens<T>(ask: impl FnOnce(&mut TokenCache) -> T) -> T {
    TOKENS.with(|tokens| ask(&mut tokens.borrow_mut()))
}

/// What is in force now, in place of this: the same where nothing says which listener it is of. Where the listener is gone,
/// Envoy ends what is left of it.
pub(crate) fn current(configured: &Rc<Configured>) -> Rc<Configured> {
    let of = |listener: &String| IN_FORCE.with_borrow(|in_force| in_force.get(listener)?.configured.upgrade());
    let listener = configured.table.listener.as_ref();
    listener.and_then(of).unwrap_or_else(|| Rc::clone(configured))
}

/// Says that this is in force: it is new, or a request came by it.
fn put_in_force(configured: &Rc<Configured>, is_new: bool) {
    let Some(listener) = &configured.table.listener else { return };
    IN_FORCE.with_borrow_mut(|in_force| {
        let last = in_force.get(listener);
        if last.is_some_and(|last| std::ptr::eq(last.configured.as_ptr(), Rc::as_ptr(configured))) {
            return;
        }
        let now = host::now();
        let is_changing = last.is_some_and(|last| now < last.since.saturating_add(SETTLED_AFTER_SECONDS));
        if is_new || !is_changing {
            in_force.insert(listener.clone(), InForce { configured: Rc::downgrade(configured), since: now });
        }
    });
}

/// Asks the worker's cache of verified tokens, and its budget for signatures.
pub(crate) fn with_tokens_and_budget<T>(ask: impl FnOnce(&mut TokenCache, &mut Budget) -> T) -> T {
    with_tokens(|tokens| BUDGET.with_borrow_mut(|budget| ask(tokens, budget)))
}

/// The worker's budget of held bytes.
pub(crate) fn with_held<T>(ask: impl FnOnce(&Held) -> T) -> T {
    HELD.with(ask)
}

/// What one configuration says, shared by its exchanges.
#[derive(Debug)]
pub(crate) struct Configured {
    pub(crate) table: PolicyTable,
    pub(crate) verifier: HostVerifier,
}

/// One configuration of the filter.
#[derive(Debug)]
pub(crate) struct Root {
    id: u32,
    configured: Option<Rc<Configured>>,
}

impl Root {
    pub(crate) fn new(id: u32) -> Self {
        Self { id, configured: None }
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        streams::forget(self.id);
    }
}

fn read(name: &[u8], json: &[u8]) -> Result<PolicyTable, ConfigError> {
    match LAST.with_borrow(|last| last.get(name).and_then(Weak::upgrade)) {
        Some(last) => last.table.followed_by(json),
        None => PolicyTable::parse(json),
    }
}

/// What all configurations of this VM share is as large as the smallest says; the budget is for the key sets of all.
fn share(configured: &HashMap<Vec<u8>, Weak<Configured>>) {
    let configured: Vec<Rc<Configured>> = configured.values().filter_map(Weak::upgrade).collect();
    let smallest = |limit: fn(&Limits) -> usize| configured.iter().map(|it| limit(&it.table.limits)).min();
    let entries = smallest(|limits| limits.token_cache_entries).and_then(NonZeroUsize::new);
    with_tokens(|tokens| tokens.resize(entries.unwrap_or(NonZeroUsize::MIN)));
    let of_all = smallest(|limits| limits.held_bytes).unwrap_or_default();
    let of_caller = smallest(|limits| limits.held_bytes_per_caller).unwrap_or_default();
    with_held(|held| {
        held.resize(&Limits { held_bytes: of_all, held_bytes_per_caller: of_caller, ..Limits::default() })
    });
    let key_sets: BTreeSet<&[u8; 32]> = configured.iter().flat_map(|it| it.table.key_sets()).collect();
    let millis = configured.iter().map(|it| it.table.limits.signature_millis).min().unwrap_or_default();
    BUDGET.with_borrow_mut(|budget| budget.set(millis, key_sets.len()));
}

impl Context for Root {}

impl RootContext for Root {
    /// With `false` Envoy refuses the configuration and keeps the last good one; where there is none it answers 500.
    fn on_configure(&mut self, _: usize) -> bool {
        let json = self.get_plugin_configuration().unwrap_or_default();
        let name = host::plugin_name();
        match read(&name, &json) {
            Ok(table) => {
                let verifier = VERIFIER.with(|verifier| *verifier);
                info!("configured; {}", verifier.describe());
                let configured = Rc::new(Configured { table, verifier });
                // Whoever lacks the right to tick is told now, and not when a stream is to end.
                host::tick(None, self.id, self.id);
                LAST.with_borrow_mut(|last| {
                    last.retain(|_, configured| configured.strong_count() > 0);
                    last.insert(name, Rc::downgrade(&configured));
                    share(last);
                });
                IN_FORCE.with_borrow_mut(|in_force| in_force.retain(|_, last| last.configured.strong_count() > 0));
                put_in_force(&configured, true);
                self.configured = Some(configured);
                true
            }
            Err(error) => {
                error!("the configuration is refused: {error}");
                false
            }
        }
    }

    fn create_http_context(&self, id: u32) -> Option<Box<dyn HttpContext>> {
        let configured = self.configured.as_ref()?;
        // Envoy may have gone back to a configuration that it still had, and then tells nobody.
        put_in_force(configured, false);
        Some(Box::new(Http::new(Rc::clone(configured), self.id, id)))
    }

    fn on_tick(&mut self) {
        streams::look(self.id);
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}
