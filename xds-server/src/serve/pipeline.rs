//! From resources to the snapshot in force: translate, render, compare. Without I/O.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use toolward_policy::config::BindingKey;

use super::retired::Retired;
use crate::key_sets::KeySets;
use crate::model::{Endpoints, Model};
use crate::render::{self, RenderOptions, render};
use crate::resources::{Name, Resources};
use crate::snapshot::Snapshot;
use crate::translate::services;
use crate::translate::{TranslateOptions, Translation, translate};

/// Turns resources into snapshots.
#[derive(Debug)]
pub struct Pipeline {
    render_options: RenderOptions,
    translate_options: TranslateOptions,
    retired: Retired,
    model: Model,
    snapshot: Option<Arc<Snapshot>>,
}

/// What a change of endpoints came to.
#[derive(Debug)]
pub enum Moved {
    /// Nothing that is served.
    Nothing,
    /// Endpoints alone; this snapshot has the new ones.
    Endpoints(Arc<Snapshot>),
    /// The change has more to it: everything is to be translated.
    More,
}

impl Pipeline {
    /// Nothing was translated yet.
    #[must_use]
    pub fn new(render_options: RenderOptions, translate_options: TranslateOptions) -> Self {
        let (retired, model) = (Retired::default(), Model::default());
        Self { render_options, translate_options, retired, model, snapshot: None }
    }

    /// From the next translation on, sessions are bound under these keys.
    pub fn bind_under(&mut self, keys: Vec<BindingKey>) {
        self.translate_options.binding_keys = keys;
    }

    /// From the next translation on, these are the key sets that issuers publish.
    pub fn verify_with(&mut self, key_sets: Arc<KeySets>) {
        self.translate_options.key_sets = key_sets;
    }

    /// Translates a new world. The snapshot is there if it differs from the one before.
    pub fn turn(&mut self, resources: &Resources, now: Instant) -> (Translation, Option<Arc<Snapshot>>) {
        let translation = translate(resources, &self.translate_options);
        self.model = translation.model.clone();
        let snapshot = self.render(now);
        (translation, snapshot)
    }

    /// Takes over what changed of the endpoints of these Services, and nothing else.
    pub fn endpoints(&mut self, resources: &Resources, services: &BTreeSet<Name>) -> Moved {
        let Some(last) = &self.snapshot else { return Moved::More };
        let mut next = None;
        for (gateway, model) in &mut self.model.gateways {
            for (cluster_name, cluster) in &mut model.clusters {
                let Some((service, port)) = cluster.service.as_ref().filter(|(name, _)| services.contains(name)) else {
                    continue;
                };
                let Some(endpoints) = services::endpoints(service, *port, resources) else { return Moved::More };
                let endpoints = Endpoints::Addresses(endpoints);
                if cluster.endpoints == endpoints {
                    continue;
                }
                cluster.endpoints = endpoints;
                let next: &mut Snapshot = next.get_or_insert_with(|| Snapshot::clone(last));
                if let Some(gateway) = next.gateways.get_mut(gateway) {
                    render::put_endpoints(cluster_name, cluster, Arc::make_mut(gateway));
                }
            }
        }
        match next.map(Arc::new) {
            Some(next) => {
                self.snapshot = Some(Arc::clone(&next));
                Moved::Endpoints(next)
            }
            None => Moved::Nothing,
        }
    }

    /// When [`Self::expire`] is to be called.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Instant> {
        self.retired.next_expiry()
    }

    /// Drops what is no longer needed of earlier worlds.
    pub fn expire(&mut self, now: Instant) -> Option<Arc<Snapshot>> {
        self.render(now)
    }

    fn render(&mut self, now: Instant) -> Option<Arc<Snapshot>> {
        let mut model = self.model.clone();
        self.retired.extend(&mut model, now);
        let mut next = render(&model, &self.render_options);
        if let Some(last) = &self.snapshot {
            if **last == next {
                return None;
            }
            share_unchanged(&mut next, last);
        }
        let next = Arc::new(next);
        self.snapshot = Some(Arc::clone(&next));
        Some(next)
    }
}

/// Gateways that did not change keep their identity, and the memory of the earlier rendering.
fn share_unchanged(next: &mut Snapshot, last: &Snapshot) {
    for (name, gateway) in &mut next.gateways {
        if let Some(unchanged) = last.gateways.get(name).filter(|last| *last == gateway) {
            *gateway = Arc::clone(unchanged);
        }
    }
}
