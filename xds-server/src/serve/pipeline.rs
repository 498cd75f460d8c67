//! From resources to the snapshot in force: translate, render, compare. Without I/O.

use std::sync::Arc;
use std::time::Instant;

use super::retired::Retired;
use crate::model::Model;
use crate::render::{RenderOptions, render};
use crate::resources::Resources;
use crate::snapshot::Snapshot;
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

impl Pipeline {
    /// Nothing was translated yet.
    #[must_use]
    pub fn new(render_options: RenderOptions, translate_options: TranslateOptions) -> Self {
        let (retired, model) = (Retired::default(), Model::default());
        Self { render_options, translate_options, retired, model, snapshot: None }
    }

    /// Translates a new world. The snapshot is there if it differs from the one before.
    pub fn turn(&mut self, resources: &Resources, now: Instant) -> (Translation, Option<Arc<Snapshot>>) {
        let translation = translate(resources, &self.translate_options);
        self.model = translation.model.clone();
        let snapshot = self.render(now);
        (translation, snapshot)
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
