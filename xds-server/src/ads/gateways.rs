//! Tells each client what its own Gateway's clients are to have, so that a change wakes nobody whom it does not concern.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tracing::warn;

use crate::model::GatewayName;
use crate::snapshot::{GatewaySnapshot, Snapshot};

/// What is known of each Gateway.
#[derive(Clone, Debug, Default)]
pub(super) struct Gateways(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    latest: Option<Arc<Snapshot>>,
    /// Those that somebody asked for.
    told: BTreeMap<GatewayName, watch::Sender<Known>>,
    /// Whether there will be no more news.
    is_over: bool,
}

/// What is known of a Gateway.
#[derive(Clone, Debug)]
pub(super) enum Known {
    /// Nothing: there is no snapshot yet.
    Nothing,
    /// There is no such Gateway.
    Absent,
    /// It is there.
    Served(Arc<GatewaySnapshot>),
}

impl Gateways {
    /// Passes on what comes, until nothing will come any more.
    pub(super) async fn follow(self, mut snapshots: watch::Receiver<Option<Arc<Snapshot>>>) {
        loop {
            let latest = snapshots.borrow_and_update().clone();
            self.tell(latest);
            if snapshots.changed().await.is_err() {
                // Whoever listens hears that it is over.
                let mut table = self.table();
                table.is_over = true;
                table.told.clear();
                return;
            }
        }
    }

    /// What is known of a Gateway, now and later.
    pub(super) fn watch(&self, gateway: &GatewayName) -> watch::Receiver<Known> {
        let mut table = self.table();
        let now = Known::of(gateway, table.latest.as_deref());
        if let Some(sender) = table.told.get(gateway) {
            return sender.subscribe();
        }
        let (sender, receiver) = watch::channel(now);
        // Clients may name whatever they like; what nobody waits for is forgotten.
        table.told.retain(|_, sender| sender.receiver_count() > 0);
        if !table.is_over {
            table.told.insert(gateway.clone(), sender);
        }
        receiver
    }

    /// Those that are there; none: nothing is known yet.
    pub(super) fn there(&self) -> Option<Arc<Snapshot>> {
        self.table().latest.clone()
    }

    fn tell(&self, latest: Option<Arc<Snapshot>>) {
        let mut table = self.table();
        table.latest = latest;
        for (gateway, sender) in &table.told {
            let next = Known::of(gateway, table.latest.as_deref());
            sender.send_if_modified(|last| {
                let is_news = !next.is_same(last);
                *last = next;
                is_news
            });
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn of(gateway: &GatewayName, latest: Option<&Snapshot>) -> Self {
        let Some(latest) = latest else { return Self::Nothing };
        latest.gateways.get(gateway).map_or(Self::Absent, |snapshot| Self::Served(Arc::clone(snapshot)))
    }

    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Nothing, Self::Nothing) | (Self::Absent, Self::Absent) => true,
            (Self::Served(one), Self::Served(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

/// What a client knows of its Gateway.
#[derive(Clone)]
pub(super) enum GatewayView {
    /// There was no such Gateway so far: the client is told nothing, and keeps what it may have from earlier.
    Unseen,
    /// As [`Self::Unseen`], and the log says so.
    Missed,
    /// It is there.
    Served(Arc<GatewaySnapshot>),
    /// It was deleted: the client is to have nothing.
    Deleted(Arc<GatewaySnapshot>),
}

impl GatewayView {
    pub(super) fn after(&self, latest: Known) -> Self {
        match (self, latest) {
            (view, Known::Nothing) => view.clone(),
            (_, Known::Served(snapshot)) => Self::Served(snapshot),
            (Self::Unseen, Known::Absent) => {
                warn!("there is no such Gateway (node.cluster names it): nothing is sent until it appears");
                Self::Missed
            }
            (Self::Served(_), Known::Absent) => {
                warn!("the Gateway is gone: all of its resources are withdrawn");
                Self::Deleted(Arc::default())
            }
            (view @ (Self::Missed | Self::Deleted(_)), Known::Absent) => view.clone(),
        }
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Served(one), Self::Served(other)) | (Self::Deleted(one), Self::Deleted(other)) => {
                Arc::ptr_eq(one, other)
            }
            (Self::Unseen | Self::Missed, Self::Unseen | Self::Missed) => true,
            _ => false,
        }
    }

    /// Whether there is such a Gateway; none: nothing is known yet, or it is gone and the client has yet to hear so.
    pub(super) fn is_there(&self) -> Option<bool> {
        match self {
            Self::Unseen | Self::Deleted(_) => None,
            Self::Missed => Some(false),
            Self::Served(_) => Some(true),
        }
    }

    pub(super) fn snapshot(&self) -> Option<&GatewaySnapshot> {
        match self {
            Self::Unseen | Self::Missed => None,
            Self::Served(snapshot) | Self::Deleted(snapshot) => Some(snapshot),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> GatewayName {
        GatewayName(name.to_owned())
    }

    fn snapshot(gateways: &[(&str, &Arc<GatewaySnapshot>)]) -> Arc<Snapshot> {
        let gateways = gateways.iter().map(|(gateway, snapshot)| (name(gateway), Arc::clone(snapshot)));
        Arc::new(Snapshot { gateways: gateways.collect() })
    }

    #[tokio::test]
    async fn only_those_concerned_are_told() {
        let (one, other) = (Arc::default(), Arc::default());
        let gateways = Gateways::default();
        let [mut a, mut b, mut c] = ["a", "b", "c"].map(|gateway| gateways.watch(&name(gateway)));
        assert!(matches!(*a.borrow_and_update(), Known::Nothing));
        gateways.tell(Some(snapshot(&[("a", &one), ("b", &one)])));
        assert!(matches!(*a.borrow_and_update(), Known::Served(_)));
        assert!(matches!(*b.borrow_and_update(), Known::Served(_)));
        assert!(matches!(*c.borrow_and_update(), Known::Absent));
        gateways.tell(Some(snapshot(&[("a", &one), ("b", &other)])));
        assert_eq!([&a, &b, &c].map(|watch| watch.has_changed().unwrap()), [false, true, false]);
        gateways.tell(Some(snapshot(&[("b", &other)])));
        assert!(matches!(*a.borrow_and_update(), Known::Absent));
    }

    #[tokio::test]
    async fn names_are_kept_as_long_as_somebody_waits() {
        let gateways = Gateways::default();
        for index in 0..100 {
            drop(gateways.watch(&name(&index.to_string())));
        }
        assert_eq!(gateways.table().told.len(), 1);
    }

    #[tokio::test]
    async fn all_hear_that_it_is_over() {
        let (sender, receiver) = watch::channel(Some(snapshot(&[("a", &Arc::default())])));
        let gateways = Gateways::default();
        let following = tokio::spawn(gateways.clone().follow(receiver));
        let mut early = gateways.watch(&name("a"));
        drop(sender);
        following.await.unwrap();
        while early.changed().await.is_ok() {}
        let mut late = gateways.watch(&name("a"));
        assert!(matches!(*late.borrow_and_update(), Known::Served(_)));
        assert!(late.changed().await.is_err());
    }
}
