//! The filter's configuration: read as a whole or refused as a whole.

use std::cell::RefCell;
use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::rc::{Rc, Weak};

use log::{error, info};
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::ContextType;
use toolward_policy::exchange::Budget;
use toolward_policy::jwt::cache::TokenCache;
use toolward_policy::policy::{ConfigError, PolicyTable};

use crate::host;
use crate::http::Http;
use crate::signature::HostVerifier;

thread_local! {
    /// One for all configurations of this VM, so that verified tokens outlive a change of policy. What the tokens were
    /// verified against is part of the entries' keys.
    static TOKENS: RefCell<TokenCache> = RefCell::new(TokenCache::new(NonZeroUsize::MIN));

    /// What all exchanges of this VM hold of bodies.
    static HELD: Budget = Budget::default();

    /// What the host proved once for all.
    static VERIFIER: HostVerifier = HostVerifier::prove();

    /// What was configured last under each name of a plugin: the next configuration takes over what did not change.
    static LAST: RefCell<HashMap<Vec<u8>, Weak<Configured>>> = RefCell::default();
}

/// Asks the worker's cache of verified tokens.
pub(crate) fn with_tokens<T>(ask: impl FnOnce(&mut TokenCache) -> T) -> T {
    TOKENS.with(|tokens| ask(&mut tokens.borrow_mut()))
}

/// The worker's budget of held bytes.
pub(crate) fn with_budget<T>(ask: impl FnOnce(&Budget) -> T) -> T {
    HELD.with(ask)
}

/// What one configuration says, shared by its exchanges.
#[derive(Debug)]
pub(crate) struct Configured {
    pub(crate) table: PolicyTable,
    /// The id of this configuration's context.
    pub(crate) root: u32,
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

fn read(name: &[u8], json: &[u8]) -> Result<PolicyTable, ConfigError> {
    match LAST.with_borrow(|last| last.get(name).and_then(Weak::upgrade)) {
        Some(last) => last.table.followed_by(json),
        None => PolicyTable::parse(json),
    }
}

impl Context for Root {}

impl RootContext for Root {
    /// With `false` Envoy refuses the configuration and keeps the last good one; where there is none it answers 500.
    fn on_configure(&mut self, _: usize) -> bool {
        let json = self.get_plugin_configuration().unwrap_or_default();
        let name = host::plugin_name();
        match read(&name, &json) {
            Ok(table) => {
                let entries = NonZeroUsize::new(table.limits.token_cache_entries).unwrap_or(NonZeroUsize::MIN);
                with_tokens(|tokens| tokens.resize(entries));
                with_budget(|budget| budget.resize(&table.limits));
                let verifier = VERIFIER.with(|verifier| *verifier);
                info!("configured; {}", verifier.describe());
                let configured = Rc::new(Configured { table, root: self.id, verifier });
                LAST.with_borrow_mut(|last| {
                    last.retain(|_, configured| configured.strong_count() > 0);
                    last.insert(name, Rc::downgrade(&configured));
                });
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
        Some(Box::new(Http::new(Rc::clone(configured), id)))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}
