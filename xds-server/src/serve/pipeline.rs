//! From resources to the snapshot in force: translate, render, compare. Without I/O.

use std::sync::Arc;
use std::time::Instant;

use toolward_policy::config::RoutePolicy;

use super::retired::Retired;
use crate::model::Model;
use crate::render::{RenderOptions, render};
use crate::resources::Resources;
use crate::snapshot::Snapshot;
use crate::translate::{Translation, translate};

/// What becomes of routes that no policy protects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum UnprotectedRoutes {
    /// They are open, as users of the Gateway API expect.
    Allow,
    /// They are answered 503.
    Deny,
}

/// Turns resources into snapshots.
#[derive(Debug)]
pub struct Pipeline {
    options: RenderOptions,
    unprotected_routes: UnprotectedRoutes,
    retired: Retired,
    model: Model,
    snapshot: Option<Arc<Snapshot>>,
}

impl Pipeline {
    /// Nothing was translated yet.
    #[must_use]
    pub fn new(options: RenderOptions, unprotected_routes: UnprotectedRoutes) -> Self {
        Self { options, unprotected_routes, retired: Retired::default(), model: Model::default(), snapshot: None }
    }

    /// Translates a new world. The snapshot is there if it differs from the one before.
    pub fn turn(&mut self, resources: &Resources, now: Instant) -> (Translation, Option<Arc<Snapshot>>) {
        let mut translation = translate(resources);
        if self.unprotected_routes == UnprotectedRoutes::Deny {
            close_open_routes(&mut translation.model);
        }
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
        let mut next = render(&model, &self.options);
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

/// In doubt deny, where the operator asked for it: open means that no policy is attached.
fn close_open_routes(model: &mut Model) {
    let listeners = model.gateways.values_mut().flat_map(|gateway| gateway.listeners.values_mut());
    for policy in listeners.flat_map(|listener| listener.filter.policies.values_mut()) {
        if matches!(policy, RoutePolicy::Open {}) {
            *policy = RoutePolicy::Closed {
                reason: "UnprotectedRoute".to_owned(),
                message: "no policy protects this route, and the control plane runs with --unprotected-routes deny"
                    .to_owned(),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use toolward_policy::config::{FilterConfig, Limits, VERSION};

    use super::*;
    use crate::model::{Gateway, GatewayName, Listener};

    #[test]
    fn open_routes_can_be_closed() {
        let closed = RoutePolicy::Closed { reason: "InvalidKeySet".into(), message: "broken".into() };
        let policies = BTreeMap::from([("open".into(), RoutePolicy::Open {}), ("broken".into(), closed.clone())]);
        let filter = FilterConfig { version: VERSION, limits: Limits::default(), key_sets: BTreeMap::new(), policies };
        let listener = Listener { name: "ns/gw/80".into(), virtual_hosts: Vec::new(), filter };
        let gateway = Gateway { listeners: BTreeMap::from([(80, listener)]), clusters: BTreeMap::new() };
        let mut model = Model { gateways: BTreeMap::from([(GatewayName("ns/gw".into()), gateway)]) };
        close_open_routes(&mut model);
        let policies = &model.gateways[&GatewayName("ns/gw".into())].listeners[&80].filter.policies;
        assert!(matches!(&policies["open"], RoutePolicy::Closed { reason, .. } if reason == "UnprotectedRoute"));
        assert_eq!(policies["broken"], closed);
    }
}
