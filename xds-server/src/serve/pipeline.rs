//! From resources to the snapshot in force: translate, render, compare. Without I/O.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use toolward_policy::config::BindingKey;

use super::retired::Retired;
use crate::key_sets::KeySets;
use crate::model::{Gateway, GatewayName, Model};
use crate::names::Names;
use crate::render::{RenderOptions, render_after, render_gateway};
use crate::resources::Resources;
use crate::snapshot::{GatewaySnapshot, Snapshot};
use crate::translate::{TranslateOptions, Translation, Translator};

/// Turns resources into snapshots.
#[derive(Debug)]
pub struct Pipeline {
    render_options: RenderOptions,
    translate_options: TranslateOptions,
    translator: Translator,
    retired: Retired,
    model: Model,
    rendered: BTreeMap<GatewayName, Rendered>,
    snapshot: Option<Arc<Snapshot>>,
}

/// A Gateway as it was rendered last.
#[derive(Debug)]
struct Rendered {
    model: Arc<Gateway>,
    /// With what is kept of earlier worlds.
    served: Gateway,
    snapshot: Arc<GatewaySnapshot>,
}

impl Pipeline {
    /// Nothing was translated yet.
    #[must_use]
    pub fn new(render_options: RenderOptions, translate_options: TranslateOptions) -> Self {
        Self {
            render_options,
            translate_options,
            translator: Translator::default(),
            retired: Retired::default(),
            model: Model::default(),
            rendered: BTreeMap::new(),
            snapshot: None,
        }
    }

    /// From the next translation on, sessions are bound under these keys.
    pub fn bind_under(&mut self, keys: Vec<BindingKey>) {
        self.translate_options.binding_keys = keys;
    }

    /// From the next translation on, these are the key sets that issuers publish.
    pub fn verify_with(&mut self, key_sets: Arc<KeySets>) {
        self.translate_options.key_sets = key_sets;
    }

    /// From the next translation on, this is what names of hosts resolve to.
    pub fn reach(&mut self, names: Arc<Names>) {
        self.translate_options.names = names;
    }

    /// Translates a new world. The snapshot is there if it differs from the one before.
    pub fn turn(&mut self, resources: &Resources, now: Instant) -> (Translation, Option<Arc<Snapshot>>) {
        let translation = self.translator.translate(resources, &self.translate_options);
        self.model = translation.model.clone();
        let snapshot = self.render(now);
        (translation, snapshot)
    }

    /// When [`Self::expire`] is to be called.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Instant> {
        self.retired.next_expiry()
    }

    /// Whether it matters what Envoys have acknowledged: something of earlier worlds is kept for them.
    #[must_use]
    pub fn keeps_for_envoys(&self) -> bool {
        self.retired.waiting().next().is_some()
    }

    /// Learns of which Gateways all Envoys have the routes that are served.
    pub fn acknowledge(&mut self, now: Instant, have_routes_of: impl Fn(&GatewayName, &GatewaySnapshot) -> bool) {
        let has_all = |name: &&GatewayName| {
            self.rendered.get(*name).is_some_and(|rendered| have_routes_of(name, &rendered.snapshot))
        };
        let acknowledged: Vec<GatewayName> = self.retired.waiting().filter(has_all).cloned().collect();
        acknowledged.iter().for_each(|name| self.retired.acknowledge(name, now));
    }

    /// Drops what is no longer needed of earlier worlds.
    pub fn expire(&mut self, now: Instant) -> Option<Arc<Snapshot>> {
        self.render(now)
    }

    /// Renders the Gateways that are others now; the rest keep their identity.
    fn render(&mut self, now: Instant) -> Option<Arc<Snapshot>> {
        let mut rendered = std::mem::take(&mut self.rendered);
        for (name, model) in &self.model.gateways {
            let last = rendered.remove(name);
            let next = match last {
                Some(last) if Arc::ptr_eq(&last.model, model) && !self.retired.is_due(name, now) => last,
                last => {
                    let mut served = Gateway::clone(model);
                    self.retired.extend(name, &mut served, now);
                    let snapshot = match &last {
                        Some(last) => render_after(&last.served, &last.snapshot, &served, &self.render_options),
                        None => render_gateway(&served, &self.render_options),
                    };
                    let unchanged = last.map(|last| last.snapshot).filter(|last| **last == snapshot);
                    let snapshot = unchanged.unwrap_or_else(|| Arc::new(snapshot));
                    Rendered { model: Arc::clone(model), served, snapshot }
                }
            };
            self.rendered.insert(name.clone(), next);
        }
        rendered.keys().for_each(|gone| self.retired.forget(gone));
        let gateways = self.rendered.iter().map(|(name, rendered)| (name.clone(), Arc::clone(&rendered.snapshot)));
        let next = Arc::new(Snapshot { gateways: gateways.collect() });
        if self.snapshot.as_ref().is_some_and(|last| last.is_same(&next)) {
            return None;
        }
        self.snapshot = Some(Arc::clone(&next));
        Some(next)
    }
}
