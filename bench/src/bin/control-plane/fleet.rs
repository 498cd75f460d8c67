//! All simulated Envoys of a world.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::envoy::{Contents, Envoy, Kind, Received, Stream};
use crate::world::Size;

/// Longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// Connections that are opened at the same time.
const AT_ONCE: usize = 64;

/// Envoys with their streams.
pub(crate) struct Fleet {
    size: Size,
    streams: JoinSet<Envoy>,
    received: mpsc::UnboundedReceiver<Received>,
    stop: watch::Sender<bool>,
}

impl Fleet {
    /// One Envoy for each Gateway, with what it is served.
    pub(crate) async fn sample(size: Size, address: &str) -> Vec<Envoy> {
        let size = Size { envoys_each: 1, ..size };
        let fleet = Self::begin(size, Some(HashMap::new()), address).await;
        fleet.stop().await
    }

    /// Envoys that have nothing yet; waits until all have everything.
    pub(crate) async fn start(size: Size, address: &str) -> Self {
        Self::begin(size, None, address).await
    }

    async fn begin(size: Size, contents: Option<Contents>, address: &str) -> Self {
        let envoys = (0..size.gateways * size.envoys_each).map(|id| Envoy {
            id,
            gateway: id % size.gateways,
            holdings: HashMap::new(),
            contents: contents.clone(),
        });
        let mut fleet = Self::connect(size, envoys.collect(), address).await;
        // Routes come last, for each Envoy once.
        fleet.count(|received| received.kind == Kind::Route && received.resources > 0, fleet.envoys()).await;
        fleet.quiet().await;
        fleet
    }

    /// Connects all at once.
    pub(crate) async fn connect(size: Size, envoys: Vec<Envoy>, address: &str) -> Self {
        let (sender, received) = mpsc::unbounded_channel();
        let (stop, stopped) = watch::channel(false);
        let mut streams = JoinSet::new();
        let places = std::sync::Arc::new(tokio::sync::Semaphore::new(AT_ONCE));
        for envoy in envoys {
            let (sender, stopped, address) = (sender.clone(), stopped.clone(), address.to_owned());
            let places = std::sync::Arc::clone(&places);
            streams.spawn(async move {
                let place = places.acquire().await.expect("open for ever");
                let stream = Stream::open(envoy, &address).await;
                drop(place);
                stream.run(sender, stopped).await
            });
        }
        Self { size, streams, received, stop }
    }

    /// Disconnects all; gives what they have.
    pub(crate) async fn stop(self) -> Vec<Envoy> {
        self.stop.send_replace(true);
        self.streams.join_all().await
    }

    pub(crate) fn envoys(&self) -> usize {
        self.size.gateways * self.size.envoys_each
    }

    /// Takes what was received until this many fit; gives all of it.
    pub(crate) async fn count(&mut self, fits: impl Fn(&Received) -> bool, count: usize) -> Vec<Received> {
        let mut all = Vec::new();
        let mut fitting = 0;
        while fitting < count {
            let received = timeout(PATIENCE, self.received.recv()).await;
            let received = received.unwrap_or_else(|_| panic!("{fitting} of {count} came")).expect("streams");
            fitting += usize::from(fits(&received));
            all.push(received);
        }
        all
    }

    /// Takes what comes until nothing came for a while.
    pub(crate) async fn quiet(&mut self) -> Vec<Received> {
        let mut all = Vec::new();
        while let Ok(received) = timeout(Duration::from_millis(300), self.received.recv()).await {
            all.push(received.expect("streams"));
        }
        all
    }

    pub(crate) fn last(received: &[Received], since: Instant) -> Duration {
        received.iter().map(|received| received.at.saturating_duration_since(since)).max().unwrap_or_default()
    }
}
