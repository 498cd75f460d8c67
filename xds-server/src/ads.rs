//! Serves snapshots to Envoys: the Aggregated Discovery Service, delta and state of the world.
//!
//! ```text
//! watch<Snapshot> ─ Gateways ─┐
//!                             ├─> one task per stream ─ drives ─> Stream (pure: what is sent when) ─> Subscription per type (pure)
//! client's messages ──────────┘         └─ responses ─> client
//! ```
//! Here is all of its I/O. Nothing is queued for a client but the responses that it has not acknowledged, of which
//! there is at most one per type; a slow client skips the snapshots between. A stream lives for a bounded time, so that
//! credentials are checked again; a client that comes back with what it has is sent only what it lacks.

use std::future::Future;
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus_client::encoding::EncodeLabelValue;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, sleep_until, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream as Incoming, StreamExt};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::Request;
use tracing::{Instrument, debug, info, info_span, warn};

use crate::metrics::Metrics;
use crate::snapshot::{GatewaySnapshot, ResourceType, Snapshot};
use crate::source::jwks::Missing;

mod accept;
pub mod auth;
pub mod bounds;
mod budget;
pub mod clients;
mod connection;
pub mod delta;
mod gateways;
pub mod identity;
pub mod lobby;
mod missing_keys;
pub mod node;
mod places;
mod receipt;
pub mod refusal;
mod service;
pub mod sotw;
pub mod stream;
pub mod subscription;
pub mod tls;
pub mod token_review;
pub mod wire;

use auth::{Authentication, Credentials, Identity};
use bounds::{Bounds, Pace};
use budget::{Budget, Share};
use clients::{Clients, Conversation};
use connection::{Accepted, Peer};
use gateways::{GatewayView, Gateways};
use lobby::Lobby;
use missing_keys::MissingKeys;
use node::Client;
use places::{Class, Party, Place, Places};
use receipt::{Fault, Messages, Terms};
use refusal::Refusal;
use service::Discovery;
use stream::Stream;
use subscription::Verdict;
use wire::{Message, Wire};

/// Streams of one connection; an Envoy needs one.
const MAX_STREAMS_PER_CONNECTION: u32 = 16;

/// What a client may send before it was read, on a stream and on a connection, in bytes: it is held for whoever it is.
const WINDOW_BYTES: u32 = 65_535;

/// Headers of a request: a token is the largest of them.
const MAX_HEADER_BYTES: u32 = 12 * 1024;

/// Longest part of a client's complaint that is kept and logged, in bytes.
const MAX_COMPLAINT_BYTES: usize = 2048;

/// How long a stream lives where nothing else is said.
pub const MAX_STREAM_AGE: Duration = Duration::from_secs(60 * 60);

const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// The discovery service.
#[derive(Clone, Debug)]
pub struct Ads {
    snapshots: watch::Receiver<Option<Arc<Snapshot>>>,
    gateways: Gateways,
    clients: Clients,
    metrics: Arc<Metrics>,
    bounds: Bounds,
    streams: Places,
    receipt: Budget,
    names: Budget,
    authentication: Arc<Authentication>,
    max_stream_age: Duration,
    missing: Option<Missing>,
}

impl Ads {
    /// Serves these snapshots. As long as there is none, clients are kept waiting; when their sender is dropped, all
    /// streams end.
    #[must_use]
    pub fn new(
        snapshots: watch::Receiver<Option<Arc<Snapshot>>>,
        clients: Clients,
        metrics: Arc<Metrics>,
        authentication: Authentication,
    ) -> Self {
        let (bounds, authentication) = (Bounds::default(), Arc::new(authentication));
        let streams = Places::new(bounds);
        let [receipt, names] = [bounds.bytes_in_receipt(), bounds.bytes_of_names()].map(Budget::new);
        let (gateways, max_stream_age, missing) = (Gateways::default(), MAX_STREAM_AGE, None);
        Self {
            snapshots,
            gateways,
            clients,
            metrics,
            bounds,
            streams,
            receipt,
            names,
            authentication,
            max_stream_age,
            missing,
        }
    }

    /// Bounds clients otherwise.
    #[must_use]
    pub fn with_bounds(self, bounds: Bounds) -> Self {
        let [receipt, names] = [bounds.bytes_in_receipt(), bounds.bytes_of_names()].map(Budget::new);
        Self { bounds, streams: Places::new(bounds), receipt, names, ..self }
    }

    /// Ends streams at this age, some of them a little earlier, so that credentials are checked anew.
    #[must_use]
    pub fn with_max_stream_age(self, max_stream_age: Duration) -> Self {
        Self { max_stream_age, ..self }
    }

    /// Lets filters tell of keys that they miss.
    #[must_use]
    pub fn with_missing_keys(self, missing: Missing) -> Self {
        Self { missing: Some(missing), ..self }
    }

    /// Accepts connections in clear until `stop` is done, and then serves on until all streams have ended.
    ///
    /// # Errors
    /// When the transport can't be set up.
    pub async fn serve(
        self,
        listener: TcpListener,
        stop: impl Future<Output = ()>,
    ) -> Result<(), tonic::transport::Error> {
        let lobby = self.lobby();
        let connections = accept::clear(listener, lobby.clone(), Arc::clone(&self.metrics));
        self.serve_connections(connections, &lobby, stop).await
    }

    /// The same over TLS: each connection has the configuration that is in force when it begins.
    ///
    /// # Errors
    /// When the transport can't be set up.
    pub async fn serve_tls(
        self,
        listener: TcpListener,
        configs: watch::Receiver<Arc<ServerConfig>>,
        stop: impl Future<Output = ()>,
    ) -> Result<(), tonic::transport::Error> {
        let lobby = self.lobby();
        let connections = accept::tls(listener, configs, lobby.clone(), Arc::clone(&self.metrics));
        self.serve_connections(connections, &lobby, stop).await
    }

    fn lobby(&self) -> Lobby {
        Lobby::new(self.bounds.idle_connections, self.bounds.idle_for)
    }

    async fn serve_connections<C>(
        self,
        connections: impl Incoming<Item = io::Result<Accepted<C>>>,
        lobby: &Lobby,
        stop: impl Future<Output = ()>,
    ) -> Result<(), tonic::transport::Error>
    where
        C: AsyncRead + AsyncWrite + Peer + Unpin + Send + 'static,
    {
        // A connection takes no new streams at this age: client certificates are verified when a connection begins.
        let max_connection_age = self.max_stream_age;
        let authentication = Arc::clone(&self.authentication);
        let gateways = self.gateways.clone();
        let missing_keys = self.missing.clone().map(|missing| MissingKeys { missing, authentication, gateways });
        // Ends when the snapshots do.
        tokio::spawn(self.gateways.clone().follow(self.snapshots.clone()));
        let serving = tonic::transport::Server::builder()
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .http2_max_header_list_size(MAX_HEADER_BYTES)
            .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
            .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
            .max_concurrent_streams(MAX_STREAMS_PER_CONNECTION)
            .max_connection_age(max_connection_age)
            .add_service(Discovery(self))
            .add_optional_service(missing_keys)
            .serve_with_incoming_shutdown(connections, stop);
        tokio::select! {
            end = serving => end,
            never = lobby.watch() => match never {},
        }
    }
}

impl Ads {
    async fn open<W: Wire>(
        &self,
        request: Request<Body>,
    ) -> Result<impl Incoming<Item = Result<W::Response, Status>> + use<W>, Status> {
        let (mut head, body) = request.into_parts();
        let from = head.extensions.remove::<connection::Client>().ok_or_else(|| Status::internal("no connection"))?;
        let address = from.address.to_string();
        let credentials = Credentials::of(from.certificate, head.headers);
        let refuse = |refusal| self.refuse(&refusal, &address);
        let identity = self.authentication.identify(credentials, from.address.ip()).await.map_err(refuse)?;
        let party = Party::of(&identity, &lobby::origin(from.address.ip()).to_string());
        let mut place = self.streams.take(&party, self.class(&identity)).map_err(refuse)?;
        let busy = from.presence.stream();
        // In boxes: however few may wait, a channel takes up memory for many.
        let (responses, receiver) = mpsc::channel(1);
        let requests = Messages::new(body, self.terms(place.class()), self.receipt.clone(), party.group);
        let ads = self.clone();
        tokio::spawn(async move {
            if let Err(status) = ads.greet::<W>(requests, &identity, &mut place, &responses, &address).await {
                // Where the client is gone already, or does not read, there is nobody to tell.
                let _ = responses.send_timeout(Box::new(Err(status)), ads.bounds.read_within).await;
            }
            drop((place, busy));
        });
        Ok(ReceiverStream::new(receiver).map(|response: Box<_>| *response))
    }

    /// What is known of a client before it says which Gateway's it is. As long as it is not known which there are, each may be
    /// one's.
    fn class(&self, identity: &Identity) -> Class {
        match (identity, self.gateways.there()) {
            (Identity::Unasked, _) => Class::Unasked,
            (Identity::Account(_), Some(snapshot))
                if !self.authentication.is_of_any(identity, snapshot.gateways.keys()) =>
            {
                Class::Stranger
            }
            (Identity::Account(_), _) => Class::Gateway,
        }
    }

    fn terms(&self, class: Class) -> Terms {
        let most = match class {
            Class::Stranger => self.bounds.stranger_message_bytes,
            Class::Gateway | Class::Unasked => self.bounds.message_bytes,
        };
        Terms { most, within: self.bounds.message_within }
    }

    /// Tells the log and the metric, and makes what the client is told.
    fn refuse(&self, refusal: &Refusal, address: &str) -> Status {
        self.metrics.refused_stream(refusal.reason());
        warn!(address, %refusal, "refused a client");
        Status::from(refusal)
    }

    async fn greet<W: Wire>(
        &self,
        mut requests: Messages,
        identity: &Identity,
        place: &mut Place,
        responses: &mpsc::Sender<Box<Result<W::Response, Status>>>,
        address: &str,
    ) -> Result<(), Status> {
        let first = timeout(self.bounds.first_message_within, requests.next::<W::Request>())
            .await
            .map_err(|_| self.cut(Cut::Silent, Status::deadline_exceeded("no request came on this stream")))?;
        let Some(first) = first else { return Ok(()) };
        let first = W::read(first.map_err(|fault| self.unreadable(fault))?);
        let client =
            Client::try_from(first.node.clone()).map_err(|error| self.refuse(&Refusal::Node(error), address))?;
        self.authentication.admit(identity, &client.gateway).map_err(|refusal| self.refuse(&refusal, address))?;
        let span = info_span!("envoy", id = client.id, gateway = client.gateway.0, protocol = W::PROTOCOL.word());
        let conversation = Arc::new(Conversation::new(Stream::new(W::PROTOCOL)));
        let _connected = self.clients.connect(client.clone(), Arc::clone(&conversation));
        async {
            info!(address, %identity, "connected");
            let end = self.converse::<W>(&client, &conversation, first, requests, place, responses).await;
            match &end {
                Ok(()) => info!("disconnected"),
                Err(status) => info!(reason = status.message(), "disconnected"),
            }
            end
        }
        .instrument(span)
        .await
    }

    async fn converse<W: Wire>(
        &self,
        client: &Client,
        conversation: &Conversation,
        first: Message,
        mut requests: Messages,
        place: &mut Place,
        responses: &mpsc::Sender<Box<Result<W::Response, Status>>>,
    ) -> Result<(), Status> {
        let mut known = self.gateways.watch(&client.gateway);
        let mut view = GatewayView::Unseen;
        // Whether something came in, or a time limit passed, of which it was not looked yet what follows.
        let mut heard = true;
        let end = Instant::now() + somewhat_less(self.max_stream_age);
        let mut pace = Pace::new(&self.bounds, Instant::now());
        let mut room = None;
        self.receive(conversation, first)?;
        self.remember(conversation, place, &mut room)?;
        loop {
            let latest = known.borrow_and_update().clone();
            let next = view.after(latest);
            let is_news = heard || !next.is_same(&view);
            view = next;
            if let Some(is_there) = view.is_there().filter(|_| place.class() != Class::Unasked) {
                let class = if is_there { Class::Gateway } else { Class::Stranger };
                place.change(class).map_err(|refusal| {
                    self.metrics.refused_stream(refusal.reason());
                    Status::from(&refusal)
                })?;
                requests.demand(self.terms(class));
            }
            if let Some(snapshot) = view.snapshot().filter(|_| is_news) {
                self.push::<W>(conversation, snapshot, responses).await?;
            }
            heard = false;
            let deadline = conversation.lock().deadline(Instant::now());
            tokio::select! {
                message = requests.next::<W::Request>() => match message {
                    Some(message) => {
                        heard = true;
                        let message = W::read(message.map_err(|fault| self.unreadable(fault))?);
                        self.receive(conversation, message)?;
                        self.remember(conversation, place, &mut room)?;
                        // Nothing more is read meanwhile: the client's own window fills up.
                        if let Some(pause) = pace.count(requests.last_bytes(), Instant::now()) {
                            self.metrics.slowed();
                            sleep(pause).await;
                        }
                    }
                    None => return Ok(()),
                },
                changed = known.changed() => {
                    changed.map_err(|_| Status::unavailable("the control plane is shutting down"))?;
                }
                // A clean end: the client comes back at once, and says what it has.
                () = sleep_until(end.into()) => return Ok(()),
                () = at(deadline) => {
                    heard = true;
                    conversation.lock().stalled(Instant::now()).map_err(|fault| {
                        warn!(%fault, "gave up on a client");
                        self.cut(Cut::Unanswered, Status::deadline_exceeded(fault.to_string()))
                    })?;
                }
            }
        }
    }

    fn cut(&self, cut: Cut, status: Status) -> Status {
        self.metrics.cut_stream(cut);
        status
    }

    /// Unless the connection just ended, it is counted.
    fn unreadable(&self, fault: Fault) -> Status {
        match &fault {
            Fault::TooLarge { .. } => self.metrics.cut_stream(Cut::MessageTooLarge),
            Fault::TooSlow(_) => self.metrics.cut_stream(Cut::MessageTooSlow),
            Fault::NoRoom(_) => self.metrics.cut_stream(Cut::NoRoom),
            Fault::Unreadable(_) => self.metrics.cut_stream(Cut::BadMessage),
            Fault::Broken(_) => (),
        }
        fault.into()
    }

    /// Finds room for the names that a stream has asked for.
    fn remember(&self, conversation: &Conversation, place: &Place, room: &mut Option<Share>) -> Result<(), Status> {
        let bytes = conversation.lock().held_bytes();
        *room = match room.take() {
            Some(share) => share.resized(bytes),
            None => self.names.take(place.group(), bytes),
        };
        if room.is_some() {
            return Ok(());
        }
        let status = Status::resource_exhausted("there is no room for all names that this namespace's clients ask for");
        Err(self.cut(Cut::TooMuch, status))
    }

    fn receive(&self, conversation: &Conversation, message: Message) -> Result<(), Status> {
        let Some(kind) = ResourceType::from_type_url(&message.type_url) else {
            self.metrics.unknown_type();
            debug!(type_url = message.type_url, "asked for a type that is not served");
            return Ok(());
        };
        let mut request = message.request;
        request.error = request.error.as_deref().map(shorten);
        let verdict = conversation.lock().receive(kind, request).map_err(|fault| {
            warn!(%fault, "gave up on a client");
            self.cut(Cut::TooMuch, Status::resource_exhausted(fault.to_string()))
        })?;
        match verdict {
            Verdict::Acknowledged => {
                self.metrics.acked(kind);
                debug!(r#type = kind.word(), "acknowledged");
            }
            Verdict::Rejected(rejection) => {
                self.metrics.nacked(kind);
                warn!(r#type = kind.word(), resources = ?rejection.resources, message = rejection.message, "refused");
            }
            Verdict::Stale => debug!(r#type = kind.word(), "answered a response that is not the last one"),
            Verdict::None => (),
        }
        Ok(())
    }

    async fn push<W: Wire>(
        &self,
        conversation: &Conversation,
        snapshot: &GatewaySnapshot,
        responses: &mpsc::Sender<Box<Result<W::Response, Status>>>,
    ) -> Result<(), Status> {
        loop {
            // A place for the response first: it is made of the latest state and counts as sent.
            let place = timeout(self.bounds.read_within, responses.reserve())
                .await
                .map_err(|_| self.cut(Cut::NotReading, Status::deadline_exceeded("responses are not read")))?
                .map_err(|_| Status::cancelled("the client is gone"))?;
            let Some(push) = conversation.lock().next(snapshot, Instant::now()) else { return Ok(()) };
            self.metrics.pushed(&push);
            debug!(
                r#type = push.kind.word(),
                version = push.update.version,
                resources = push.update.resources.len(),
                removed = push.update.removed.len(),
                "sent"
            );
            place.send(Box::new(Ok(W::write(push))));
        }
    }
}

/// Why a stream that was served is ended, as the metric shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Cut {
    Silent,
    BadMessage,
    MessageTooLarge,
    MessageTooSlow,
    NoRoom,
    TooMuch,
    NotReading,
    Unanswered,
}

/// 80 to 100 % of it, so that not all clients come back at the same time.
fn somewhat_less(age: Duration) -> Duration {
    let percent = 80 + RandomState::new().hash_one(()) % 21;
    age.mul_f64(percent as f64 / 100.0)
}

async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

/// One line of bounded length: it goes to the log.
fn shorten(complaint: &str) -> String {
    let mut line = complaint.split_whitespace().collect::<Vec<_>>().join(" ");
    line.retain(|character| !character.is_control());
    line.truncate(line.floor_char_boundary(MAX_COMPLAINT_BYTES));
    line
}
