//! How many Gateways are seen to at a time: some of each namespace, and not too many in all. Who waits is served in turn.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

use super::super::WRITES;

/// Gateways of one namespace that are seen to at the same time.
const OF_A_NAMESPACE: usize = 2;

/// The turns of all Gateways.
#[derive(Debug)]
pub(super) struct Turns {
    all: Arc<Semaphore>,
    namespaces: BTreeMap<String, Arc<Semaphore>>,
}

impl Default for Turns {
    fn default() -> Self {
        Self { all: Arc::new(Semaphore::new(WRITES)), namespaces: BTreeMap::new() }
    }
}

/// The turns of the Gateways of one namespace.
#[derive(Clone, Debug)]
pub(super) struct Turn {
    all: Arc<Semaphore>,
    namespace: Arc<Semaphore>,
}

impl Turns {
    /// Those of a namespace.
    pub(super) fn of(&mut self, namespace: &str) -> Turn {
        let new = || Arc::new(Semaphore::new(OF_A_NAMESPACE));
        let namespace = self.namespaces.entry(namespace.to_owned()).or_insert_with(new);
        Turn { all: Arc::clone(&self.all), namespace: Arc::clone(namespace) }
    }

    /// Forgets the namespaces that have no Gateway any more.
    pub(super) fn forget_idle(&mut self) {
        self.namespaces.retain(|_, namespace| Arc::strong_count(namespace) > 1);
    }
}

impl Turn {
    /// Waits, first for those of the same namespace.
    pub(super) async fn wait(&self) -> Result<[OwnedSemaphorePermit; 2], AcquireError> {
        let own = Arc::clone(&self.namespace).acquire_owned().await?;
        Ok([own, Arc::clone(&self.all).acquire_owned().await?])
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn one_namespace_never_has_all_turns() {
        let mut turns = Turns::default();
        let (greedy, other) = (turns.of("greedy"), turns.of("other"));
        let mut held = Vec::new();
        while let Ok(turn) = timeout(Duration::from_millis(20), greedy.wait()).await {
            held.push(turn.unwrap());
        }
        assert_eq!(held.len(), OF_A_NAMESPACE);
        assert!(timeout(Duration::from_secs(5), other.wait()).await.is_ok());
        drop((greedy, held));
        turns.forget_idle();
        assert_eq!(turns.namespaces.keys().collect::<Vec<_>>(), ["other"]);
    }
}
