//! Which clients are connected, for the admin port and the metrics.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use super::node::Client;
use super::stream::{Stream, StreamView};
use crate::model::GatewayName;
use crate::snapshot::GatewaySnapshot;

/// A conversation that its task drives and the admin port looks at.
#[derive(Debug)]
pub struct Conversation(Mutex<Stream>);

impl Conversation {
    /// Shares a conversation.
    #[must_use]
    pub fn new(stream: Stream) -> Self {
        Self(Mutex::new(stream))
    }

    /// Exclusive access, for as short as possible.
    pub fn lock(&self) -> MutexGuard<'_, Stream> {
        // A panic elsewhere leaves at worst an update marked as sent that was not; its stream ends with it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All connected clients.
#[derive(Clone, Debug, Default)]
pub struct Clients(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    next: u64,
    connected: BTreeMap<u64, (Client, Arc<Conversation>)>,
}

/// One connected client, as the admin port shows it.
#[derive(Clone, Debug, Serialize)]
pub struct ClientView {
    /// `node.id`.
    pub id: String,
    /// `node.cluster`.
    pub gateway: GatewayName,
    /// What it wants and has.
    #[serde(flatten)]
    pub stream: StreamView,
}

/// Keeps a client in the table until dropped.
#[derive(Debug)]
pub struct Connected {
    clients: Clients,
    key: u64,
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.clients.table().connected.remove(&self.key);
    }
}

impl Clients {
    /// Adds a client until the returned value is dropped.
    #[must_use]
    pub fn connect(&self, client: Client, conversation: Arc<Conversation>) -> Connected {
        let mut table = self.table();
        let key = table.next;
        table.next += 1;
        table.connected.insert(key, (client, conversation));
        Connected { clients: self.clone(), key }
    }

    /// All connected clients, in the order in which they came.
    #[must_use]
    pub fn view(&self) -> Vec<ClientView> {
        self.views_where(|_| true).collect()
    }

    /// Those that refuse something, each looked at when it is asked for: what clients ask for takes much more room than what
    /// they refuse.
    pub fn refusing(&self) -> impl Iterator<Item = ClientView> + use<> {
        self.views_where(Stream::refuses)
    }

    fn views_where(&self, is_shown: fn(&Stream) -> bool) -> impl Iterator<Item = ClientView> + use<> {
        let connected: Vec<_> = self.table().connected.values().cloned().collect();
        connected.into_iter().filter_map(move |(client, conversation)| {
            let stream = conversation.lock();
            let stream = is_shown(&stream).then(|| stream.view())?;
            Some(ClientView { id: client.id, gateway: client.gateway, stream })
        })
    }

    /// Whether this Gateway has clients, and all of them have its routes and filter configurations as they are.
    #[must_use]
    pub fn have_routes_of(&self, gateway: &GatewayName, snapshot: &GatewaySnapshot) -> bool {
        let table = self.table();
        let own = table.connected.values().filter(|(client, _)| client.gateway == *gateway);
        let own: Vec<_> = own.map(|(_, conversation)| Arc::clone(conversation)).collect();
        drop(table);
        !own.is_empty() && own.iter().all(|conversation| conversation.lock().has_routes_of(snapshot))
    }

    /// Gateway and protocol of each.
    #[must_use]
    pub fn gateways(&self) -> Vec<(GatewayName, super::wire::Protocol)> {
        let table = self.table();
        table.connected.values().map(|(client, stream)| (client.gateway.clone(), stream.lock().protocol())).collect()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
