//! Connections on which no stream is served: those that are accepted and not yet known, and those whose streams have ended.
//! They cost memory for nobody that is known, so there is a number of them, of which the oldest of the address that has most
//! goes first, and each has a time to have a stream served.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::encoding::EncodeLabelValue;
use tokio::sync::oneshot;
use tokio::time::sleep;

/// Why a connection is closed, as the metric shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum ClosedConnection {
    /// There were too many without a stream, most of them of its address.
    Crowded,
    /// No stream was served on it for too long.
    Idle,
}

/// All connections, of which some are here.
#[derive(Clone, Debug)]
pub(super) struct Lobby {
    most: usize,
    patience: Duration,
    table: Arc<Mutex<Table>>,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    connections: HashMap<u64, Connection>,
    /// Those that are here, the one that came first is first.
    idle: BTreeMap<u64, (u64, Instant)>,
    /// The same by where they come from.
    crowds: HashMap<IpAddr, BTreeSet<u64>>,
}

#[derive(Debug)]
struct Connection {
    origin: IpAddr,
    streams: usize,
    /// Its place in [`Table::idle`].
    turn: Option<u64>,
    /// None: it was told.
    end: Option<oneshot::Sender<ClosedConnection>>,
}

/// A connection until dropped.
#[derive(Debug)]
pub(super) struct Present(Presence);

/// Names a connection, which may be gone.
#[derive(Clone, Debug)]
pub(super) struct Presence {
    lobby: Lobby,
    id: u64,
}

/// A stream that is served on a connection, until dropped.
#[derive(Debug)]
pub(super) struct Busy(Presence);

impl Lobby {
    pub(super) fn new(most: usize, patience: Duration) -> Self {
        Self { most, patience, table: Arc::default() }
    }

    /// A connection comes. The receiver hears when it has to go.
    pub(super) fn enter(&self, address: IpAddr) -> (Present, oneshot::Receiver<ClosedConnection>) {
        let (end, ends) = oneshot::channel();
        let mut table = self.table();
        table.next += 1;
        let id = table.next;
        table.connections.insert(id, Connection { origin: origin(address), streams: 0, turn: None, end: Some(end) });
        table.wait(id, Instant::now());
        while table.idle.len() > self.most && table.close_greediest() {}
        drop(table);
        (Present(Presence { lobby: self.clone(), id }), ends)
    }

    /// Closes whatever waits for too long, for ever.
    pub(super) async fn watch(&self) -> Infallible {
        loop {
            sleep(self.patience / 20).await;
            self.table().close_before(Instant::now().checked_sub(self.patience));
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Present {
    pub(super) fn presence(&self) -> Presence {
        self.0.clone()
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        let mut table = self.0.lobby.table();
        table.stop_waiting(self.0.id);
        table.connections.remove(&self.0.id);
    }
}

impl Presence {
    /// A stream is served on it.
    pub(super) fn stream(&self) -> Busy {
        let mut table = self.lobby.table();
        table.stop_waiting(self.id);
        if let Some(connection) = table.connections.get_mut(&self.id) {
            connection.streams += 1;
        }
        Busy(self.clone())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let Presence { lobby, id } = &self.0;
        let mut table = lobby.table();
        let Some(connection) = table.connections.get_mut(id) else { return };
        connection.streams = connection.streams.saturating_sub(1);
        if connection.streams == 0 {
            table.wait(*id, Instant::now());
        }
    }
}

impl Table {
    fn wait(&mut self, id: u64, now: Instant) {
        self.next += 1;
        let turn = self.next;
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.turn = Some(turn);
            self.crowds.entry(connection.origin).or_default().insert(turn);
            self.idle.insert(turn, (id, now));
        }
    }

    fn stop_waiting(&mut self, id: u64) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let Some(turn) = connection.turn.take() else { return };
        self.idle.remove(&turn);
        if let Some(crowd) = self.crowds.get_mut(&connection.origin) {
            crowd.remove(&turn);
            if crowd.is_empty() {
                self.crowds.remove(&connection.origin);
            }
        }
    }

    /// Of addresses with as many, the one whose oldest is oldest.
    fn close_greediest(&mut self) -> bool {
        let crowds = self.crowds.values().filter_map(|crowd| Some((crowd.len(), std::cmp::Reverse(*crowd.first()?))));
        let Some((_, std::cmp::Reverse(turn))) = crowds.max() else { return false };
        let Some((id, _)) = self.idle.get(&turn).copied() else { return false };
        self.close(id, ClosedConnection::Crowded);
        true
    }

    fn close_before(&mut self, time: Option<Instant>) {
        while let Some((id, since)) = self.idle.first_key_value().map(|(_, waiting)| *waiting) {
            if time.is_none_or(|time| since > time) {
                return;
            }
            self.close(id, ClosedConnection::Idle);
        }
    }

    fn close(&mut self, id: u64, why: ClosedConnection) {
        self.stop_waiting(id);
        let end = self.connections.get_mut(&id).and_then(|connection| connection.end.take());
        // Whoever does not listen any more is gone.
        let _ = end.map(|end| end.send(why));
    }
}

/// Addresses that one machine may choose from count as one.
pub(super) fn origin(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() & !u128::from(u64::MAX)).into()),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn ended(end: &mut oneshot::Receiver<ClosedConnection>) -> Option<ClosedConnection> {
        end.try_recv().ok()
    }

    #[test]
    fn the_oldest_of_the_greediest_goes_first() {
        let lobby = Lobby::new(3, PATIENCE);
        let (_honest, mut honest) = lobby.enter(address("10.0.0.1"));
        let mut greedy: Vec<_> = (0..5).map(|_| lobby.enter(address("10.0.0.2"))).collect();
        assert_eq!(ended(&mut honest), None);
        let closed: Vec<_> = greedy.iter_mut().map(|(_, end)| ended(end)).collect();
        let crowded = Some(ClosedConnection::Crowded);
        assert_eq!(closed, [crowded, crowded, crowded, None, None]);
    }

    #[test]
    fn one_that_is_served_is_not_here() {
        let lobby = Lobby::new(1, PATIENCE);
        let (served, mut end) = lobby.enter(address("10.0.0.1"));
        let streams = [served.presence().stream(), served.presence().stream()];
        let (_second, mut second) = lobby.enter(address("10.0.0.1"));
        assert_eq!((ended(&mut end), ended(&mut second)), (None, None));
        let [first, last] = streams;
        drop(first);
        lobby.table().close_before(Some(Instant::now()));
        assert_eq!((ended(&mut end), ended(&mut second)), (None, Some(ClosedConnection::Idle)));
        drop(last);
        lobby.table().close_before(Some(Instant::now()));
        assert_eq!(ended(&mut end), Some(ClosedConnection::Idle), "its last stream has ended");
    }

    #[test]
    fn nothing_is_remembered_of_who_is_gone() {
        let lobby = Lobby::new(1, PATIENCE);
        let (present, _end) = lobby.enter(address("fe80::1"));
        let stream = present.presence().stream();
        drop(present);
        drop(stream);
        let (present, _end) = lobby.enter(address("fe80::1"));
        drop(present);
        let table = lobby.table();
        assert!(table.connections.is_empty() && table.idle.is_empty() && table.crowds.is_empty());
    }

    #[test]
    fn addresses_of_one_machine_are_one() {
        assert_eq!(origin(address("2001:db8::1")), origin(address("2001:db8::2")));
        assert_ne!(origin(address("2001:db8::1")), origin(address("2001:db8:0:1::1")));
        assert_eq!(origin(address("::ffff:10.0.0.1")), address("10.0.0.1"));
        assert_ne!(origin(address("10.0.0.1")), origin(address("10.0.0.2")));
    }
}
