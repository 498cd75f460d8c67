//! `toolward serve`: watches the resources and keeps Envoys up to date.
//!
//! ```text
//! source ─ Result<Resources, Problems> ─> Pipeline (pure) ─ Snapshot ─> watch ─> Ads, Admin
//!                    └─ Report: problems, once in the log and always on the admin port
//! ```
//! Whatever is wrong with the source, the last good snapshot stays in force.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::block_in_place;
use tokio::time::{MissedTickBehavior, interval, sleep_until, timeout};
use tokio_stream::{Stream, StreamExt};
use tracing::{debug, error, info, warn};

use crate::admin::{Admin, Report};
use crate::ads::Ads;
use crate::ads::auth::Authentication;
use crate::ads::clients::Clients;
use crate::ads::tls::Certificate;
use crate::binding_keys::BindingKeys;
use crate::cluster::{self, Meaning};
use crate::metrics::{Load, Metrics};
use crate::networks::BackendNetworks;
use crate::problem::Problem;
use crate::resources::Resources;
use crate::snapshot::Snapshot;
use crate::source::jwks::Fetching;
use crate::source::latest::latest;
use crate::source::{self, Change};
use crate::translate;

mod args;
pub mod key_sets;
pub mod names;
pub mod pipeline;
pub mod retired;
pub mod tenants;
pub mod xds;

pub use args::{ServeArgs, ServeError, Source};

use names::HostNames;
use pipeline::Pipeline;
use tenants::Tenants;
use xds::Protection;

/// Open requests and streams get this long to end after the signal to stop.
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// The API server answers within this time, or is tried again.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// How often the files of certificates and keys are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// How often it is looked at what Envoys have acknowledged, while something is kept for them.
const ACKNOWLEDGED_EVERY: Duration = Duration::from_secs(1);

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// When it can't start: no wasm module, addresses taken.
pub async fn run(args: ServeArgs) -> Result<(), ServeError> {
    let wasm_file = wasm_file(&args.wasm_file)?;
    let binding_keys = BindingKeys::open(args.binding_keys.clone())?;
    let mut translate_options = args.settings.translate_options(binding_keys.keys().to_vec())?;
    if args.source == Source::Kubernetes && translate_options.backend_networks == BackendNetworks::Any {
        // Whoever writes there does not stand where the gateway stands.
        translate_options.backend_networks = BackendNetworks::only(&[]);
    }
    let opened = match &args.source {
        Source::Dir(folder) => {
            translate_options.quotas = translate_options.quotas.of_one_owner();
            Opened::Dir(folder.clone())
        }
        Source::Kubernetes => Opened::Kubernetes(kubernetes().await?),
    };
    let protection = args.xds.protection(opened.api_server())?;
    let metrics = Arc::new(Metrics::default());
    let known = protection.knows_its_clients();
    let (certificate, authentication) = match protection {
        Protection::Clear => (None, Authentication::None),
        Protection::Tls { files, authentication } => {
            (Some(Certificate::load(files, Arc::clone(&metrics))?), authentication)
        }
    };
    let xds = listen(args.xds.xds_address, "--xds-address").await?;
    let admin = listen(args.admin_address, "--admin-address").await?;
    let health = match args.health_address {
        Some(address) => Some(listen(address, "--health-address").await?),
        None => None,
    };
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;

    let (meanings, meaning_receiver) = watch::channel(None);
    let (snapshots, snapshot_receiver) = watch::channel(None);
    let (reports, report_receiver) = watch::channel(None);
    let clients = Clients::default();
    let changes: Pin<Box<dyn Stream<Item = Change> + Send>> = match opened {
        Opened::Dir(folder) => Box::pin(source::dir::watch(folder)),
        Opened::Kubernetes(client) => {
            cluster::write(&client, &args.cluster, &meaning_receiver, clients.clone())?;
            Box::pin(source::kube::watch(client, Arc::clone(&metrics), args.settings.object_quotas().bytes))
        }
    };
    let fetching = args.key_sets.start(args.settings.max_rsa_bits(), &metrics);
    let names = args.names.start(translate_options.backend_networks.clone());
    let ads = Ads::new(snapshot_receiver.clone(), clients.clone(), Arc::clone(&metrics), authentication)
        .with_bounds(args.xds.bounds())
        .with_max_stream_age(args.xds.xds_max_stream_age)
        .with_missing_keys(fetching.missing());
    let shown = Admin {
        snapshots: snapshot_receiver.clone(),
        reports: report_receiver,
        clients: clients.clone(),
        metrics: Arc::clone(&metrics),
    };
    info!(
        version = env!("CARGO_PKG_VERSION"),
        xds = %xds.local_addr()?,
        admin = %admin.local_addr()?,
        source = %args.source,
        "listening"
    );
    for (port, address, known) in [("xDS", xds.local_addr()?, known), ("admin", admin.local_addr()?, false)] {
        if !known && !address.ip().is_loopback() {
            warn!(%address, "the {port} port asks nobody who they are: let only Envoys and operators reach it");
        }
    }
    let stop = closed(snapshot_receiver.clone());
    let mut ads = match certificate {
        None => tokio::spawn(ads.serve(xds, stop)),
        Some(certificate) => {
            let configs = certificate.configs();
            tokio::spawn(renew(certificate, signal(SignalKind::hangup())?));
            tokio::spawn(ads.serve_tls(xds, configs, stop))
        }
    };
    if let Some(health) = health {
        info!(health = %health.local_addr()?, "listening");
        tokio::spawn(shown.clone().serve_health(health, closed(snapshot_receiver.clone())));
    }
    let mut admin = tokio::spawn(shown.serve(admin, closed(snapshot_receiver)));

    let pipeline = Pipeline::new(args.settings.render_options(wasm_file), translate_options);
    let tenants = (args.source == Source::Kubernetes).then(|| Tenants::new(args.settings.object_quotas()));
    let keeper = Keeper {
        pipeline,
        tenants,
        last: None,
        binding_keys,
        fetching,
        names,
        snapshots,
        reports,
        metrics,
        meanings,
        clients,
    };
    let changes = pin!(latest(changes));
    tokio::select! {
        () = keeper.keep(changes) => return Err(ServeError::Ended("the watch over the source")),
        _ = &mut ads => return Err(ServeError::Ended("the discovery service")),
        _ = &mut admin => return Err(ServeError::Ended("the admin port")),
        _ = terminate.recv() => info!("stopping on SIGTERM"),
        _ = interrupt.recv() => info!("stopping on SIGINT"),
    }
    // The keeper held the senders; now that they are gone all streams and both servers end.
    let ended = async { (ads.await, admin.await) };
    if timeout(STOP_WITHIN, ended).await.is_err() {
        info!("some connections did not end in time");
    }
    Ok(())
}

/// A source that is within reach.
enum Opened {
    Dir(PathBuf),
    Kubernetes(kube::Client),
}

impl Opened {
    fn api_server(&self) -> Option<kube::Client> {
        match self {
            Self::Dir(_) => None,
            Self::Kubernetes(client) => Some(client.clone()),
        }
    }
}

/// Reads a certificate again whenever it is told to, and every now and then.
async fn renew(mut certificate: Certificate, mut hangup: Signal) {
    loop {
        // Whichever comes first.
        let _ = timeout(LOOK_EVERY, hangup.recv()).await;
        block_in_place(|| certificate.reload());
    }
}

/// A client for the API server.
async fn kubernetes() -> Result<kube::Client, ServeError> {
    let mut config = kube::Config::infer().await.map_err(|error| ServeError::Kubernetes(error.to_string()))?;
    config.connect_timeout = Some(CONNECT_WITHIN);
    kube::Client::try_from(config).map_err(|error| ServeError::Kubernetes(error.to_string()))
}

/// Keeps what is served up to date.
struct Keeper {
    pipeline: Pipeline,
    /// Of a folder there are none: it is one owner's.
    tenants: Option<Tenants>,
    /// The world as it was told last.
    last: Option<Arc<Resources>>,
    binding_keys: BindingKeys,
    fetching: Fetching,
    names: HostNames,
    snapshots: watch::Sender<Option<Arc<Snapshot>>>,
    reports: watch::Sender<Option<Report>>,
    metrics: Arc<Metrics>,
    meanings: watch::Sender<Option<Meaning>>,
    clients: Clients,
}

impl Keeper {
    /// Until the source ends, which it does not in practice.
    async fn keep(mut self, mut source: impl Stream<Item = Change> + Unpin) {
        let mut looks = interval(LOOK_EVERY);
        let mut acknowledgements = interval(ACKNOWLEDGED_EVERY);
        acknowledgements.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let expiry = self.pipeline.next_expiry();
            tokio::select! {
                change = source.next() => match change {
                    Some(Change::World(resources)) => {
                        let resources = self.admit(resources);
                        self.fetch_keys(&resources).await;
                        self.resolve_names(&resources).await;
                        // A translation may take a while; other tasks of this thread go on elsewhere meanwhile.
                        block_in_place(|| self.translate(&resources));
                    }
                    Some(Change::Statuses(resources)) => {
                        let resources = self.admit(resources);
                        self.learn_statuses(resources);
                    }
                    Some(Change::Broken(problems)) => self.complain(problems),
                    None => return,
                },
                _ = looks.tick() => block_in_place(|| self.look_for_keys()),
                () = self.fetching.changed() => block_in_place(|| self.take_keys()),
                () = self.names.resolving.changed() => block_in_place(|| self.take_names()),
                _ = acknowledgements.tick(), if self.pipeline.keeps_for_envoys() => {
                    let clients = &self.clients;
                    self.pipeline.acknowledge(Instant::now(), |name, snapshot| clients.have_routes_of(name, snapshot));
                }
                () = at(expiry) => {
                    if let Some(snapshot) = block_in_place(|| self.pipeline.expire(Instant::now())) {
                        self.publish(snapshot);
                    }
                }
            }
        }
    }

    /// What tenants may have of a world.
    fn admit(&mut self, resources: Arc<Resources>) -> Arc<Resources> {
        match &mut self.tenants {
            Some(tenants) => block_in_place(|| tenants.admit(resources)),
            None => resources,
        }
    }

    fn look_for_keys(&mut self) {
        if self.binding_keys.reload() {
            self.pipeline.bind_under(self.binding_keys.keys().to_vec());
            self.translate_again();
        }
    }

    /// Has the key sets fetched that are wanted now. At the start, before anything is served, they are waited for.
    async fn fetch_keys(&mut self, resources: &Resources) {
        let places = translate::places(resources);
        self.fetching.want(places.clone());
        if self.snapshots.borrow().is_none() {
            key_sets::first(&mut self.fetching, &places).await;
        }
        self.pipeline.verify_with(self.fetching.known());
    }

    /// The same for the names of hosts.
    async fn resolve_names(&mut self, resources: &Resources) {
        self.names.want(resources);
        if self.snapshots.borrow().is_none() {
            self.names.first().await;
        }
        self.pipeline.reach(self.names.resolving.known());
    }

    fn take_names(&mut self) {
        self.pipeline.reach(self.names.resolving.known());
        self.translate_again();
    }

    fn take_keys(&mut self) {
        self.pipeline.verify_with(self.fetching.known());
        self.translate_again();
    }

    fn translate_again(&mut self) {
        if let Some(resources) = self.last.clone() {
            self.translate(&resources);
        }
    }

    fn translate(&mut self, resources: &Arc<Resources>) {
        self.last = Some(Arc::clone(resources));
        self.metrics.loaded(Load::Ok);
        let start = Instant::now();
        let (translation, snapshot) = self.pipeline.turn(resources, start);
        let translation = Arc::new(translation);
        self.metrics.translated(start.elapsed(), translation.unprotected.len());
        // What is told while a kind can't be read does not say that it can.
        let is_whole = resources.vouched.is_none();
        let source = self.reports.borrow().as_ref().filter(|_| !is_whole).map(|last| last.source.clone());
        self.report(Report {
            source: source.unwrap_or_default(),
            resources: translation.problems.clone(),
            unprotected: translation.unprotected.iter().map(ToString::to_string).collect(),
        });
        let meaning = Meaning { resources: Arc::clone(resources), translation };
        self.meanings.send_if_modified(|last| {
            let is_news = last.as_ref().is_none_or(|last| !meaning.says_the_same(last));
            if is_news {
                *last = Some(meaning);
            }
            is_news
        });
        match snapshot {
            Some(snapshot) => self.publish(snapshot),
            None => debug!("the source changed, what is served did not"),
        }
    }

    /// They change nothing of what the world means.
    fn learn_statuses(&mut self, resources: Arc<Resources>) {
        self.last = Some(Arc::clone(&resources));
        self.meanings.send_if_modified(|meaning| match meaning {
            Some(meaning) => {
                meaning.resources = resources;
                true
            }
            None => false,
        });
    }

    fn complain(&self, problems: Vec<Problem>) {
        self.metrics.loaded(Load::Failed);
        let last = self.reports.borrow().clone().unwrap_or_default();
        self.report(Report { source: problems, ..last });
    }

    /// Logs what is new, once.
    fn report(&self, report: Report) {
        self.metrics.problems(report.source.iter().chain(&report.resources));
        let last = self.reports.send_replace(Some(report.clone())).unwrap_or_default();
        match (last.source.is_empty(), report.source.is_empty()) {
            (true, false) => {
                error!("the source can't be used: what was last good, if anything, stays in force until it can")
            }
            (false, true) => info!("the source can be used again"),
            _ => (),
        }
        for problem in news(&last.source, &report.source) {
            error!(reason = problem.reason, "{problem}");
        }
        for problem in news(&last.resources, &report.resources) {
            warn!(reason = problem.reason, "{problem}");
        }
        for problem in news(&report.resources, &last.resources) {
            info!(reason = problem.reason, "no longer: {problem}");
        }
        for route in news(&last.unprotected, &report.unprotected) {
            warn!("no policy protects {route}");
        }
    }

    fn publish(&self, snapshot: Arc<Snapshot>) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.metrics.published(&snapshot, now.as_secs());
        let gateways = snapshot.gateways.len();
        self.snapshots.send_replace(Some(snapshot));
        info!(gateways, "serving a new snapshot");
    }
}

/// What is in `next` but not in `last`.
fn news<'a, T: Ord>(last: &[T], next: &'a [T]) -> impl Iterator<Item = &'a T> {
    let last: BTreeSet<&T> = last.iter().collect();
    next.iter().filter(move |item| !last.contains(item))
}

/// The module's path in the form in which Envoy, started elsewhere, finds it too.
fn wasm_file(path: &Path) -> Result<String, ServeError> {
    let checked = std::path::absolute(path).and_then(|absolute| {
        let found = std::fs::metadata(&absolute)?;
        if found.is_file() { Ok(absolute) } else { Err(io::Error::other("this is not a file")) }
    });
    let absolute = checked.map_err(|cause| ServeError::WasmFile { path: path.to_owned(), cause })?;
    absolute.into_os_string().into_string().map_err(|_| ServeError::WasmFile {
        path: path.to_owned(),
        cause: io::Error::new(io::ErrorKind::InvalidInput, "Envoy reads only paths in UTF-8"),
    })
}

async fn listen(address: SocketAddr, option: &'static str) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address).await.map_err(|cause| ServeError::Listen { address, option, cause })
}

/// Done when nothing will be served any more.
async fn closed(mut snapshots: watch::Receiver<Option<Arc<Snapshot>>>) {
    while snapshots.changed().await.is_ok() {}
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}
