//! What the control plane counts of itself, in OpenMetrics. Every label has few values: names that clients claim are
//! counted as `unknown` unless a Gateway of that name is served.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::ads::Cut;
use crate::ads::lobby::ClosedConnection;
use crate::ads::refusal::RefusalReason;
use crate::ads::wire::{Protocol, Push};
use crate::model::GatewayName;
use crate::problem::Problem;
use crate::snapshot::{ResourceType, Snapshot};

/// Everything that is counted.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    loads: Family<LoadLabels, Counter>,
    source_stale_seconds: Gauge<f64, AtomicU64>,
    source_failing_since: Mutex<Option<Instant>>,
    unknown_kinds: Family<KindLabels, Gauge>,
    translations: Counter,
    translation_seconds: Histogram,
    publications: Counter,
    published: Gauge,
    problems: Family<ReasonLabels, Gauge>,
    unprotected_routes: Gauge,
    resources: Family<ResourceLabels, Gauge>,
    streams: Family<StreamLabels, Gauge>,
    refused_streams: Family<RefusalLabels, Counter>,
    closed_connections: Family<ConnectionLabels, Counter>,
    cut_streams: Family<CutLabels, Counter>,
    slowed_requests: Counter,
    certificate_loads: Family<LoadLabels, Counter>,
    key_set_fetches: Family<LoadLabels, Counter>,
    key_set_ages: Family<KeySetLabels, Gauge<f64, AtomicU64>>,
    key_sets_fetched: Mutex<BTreeMap<String, Option<Instant>>>,
    failed_handshakes: Counter,
    pushes: Family<TypeLabels, Counter>,
    resources_sent: Family<TypeLabels, Counter>,
    removals_sent: Family<TypeLabels, Counter>,
    acks: Family<TypeLabels, Counter>,
    nacks: Family<TypeLabels, Counter>,
    unknown_types: Counter,
}

/// How reading the source went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Load {
    Ok,
    Failed,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LoadLabels {
    result: Load,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KeySetLabels {
    place: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusalLabels {
    reason: RefusalReason,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ConnectionLabels {
    reason: ClosedConnection,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CutLabels {
    reason: Cut,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResourceLabels {
    gateway: String,
    r#type: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StreamLabels {
    gateway: String,
    protocol: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TypeLabels {
    r#type: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("toolward");
        let metrics = Self {
            loads: Family::default(),
            source_stale_seconds: Gauge::default(),
            source_failing_since: Mutex::new(None),
            unknown_kinds: Family::default(),
            translations: Counter::default(),
            translation_seconds: Histogram::new(exponential_buckets(0.001, 2.0, 14)),
            publications: Counter::default(),
            published: Gauge::default(),
            problems: Family::default(),
            unprotected_routes: Gauge::default(),
            resources: Family::default(),
            streams: Family::default(),
            refused_streams: Family::default(),
            closed_connections: Family::default(),
            cut_streams: Family::default(),
            slowed_requests: Counter::default(),
            certificate_loads: Family::default(),
            key_set_fetches: Family::default(),
            key_set_ages: Family::default(),
            key_sets_fetched: Mutex::default(),
            failed_handshakes: Counter::default(),
            pushes: Family::default(),
            resources_sent: Family::default(),
            removals_sent: Family::default(),
            acks: Family::default(),
            nacks: Family::default(),
            unknown_types: Counter::default(),
            registry: Registry::default(),
        };
        registry.register("source_loads", "How often the source was read, by result", metrics.loads.clone());
        registry.register(
            "source_stale_seconds",
            "For how long the source, or a part of it, could not be read; 0 while it can",
            metrics.source_stale_seconds.clone(),
        );
        registry.register(
            "unknown_kinds",
            "Kinds that can't be read now; while there is one, routes that are new or changed are closed",
            metrics.unknown_kinds.clone(),
        );
        registry.register(
            "translations",
            "How often resources were translated and rendered",
            metrics.translations.clone(),
        );
        registry.register(
            "translation_seconds",
            "How long a translation with its rendering took",
            metrics.translation_seconds.clone(),
        );
        registry.register(
            "snapshots_published",
            "How often a translation differed from what was served, and was published",
            metrics.publications.clone(),
        );
        registry.register(
            "snapshot_published_timestamp_seconds",
            "When the snapshot in force was published, as Unix time",
            metrics.published.clone(),
        );
        registry.register("problems", "What is wrong with the resources, by reason", metrics.problems.clone());
        registry.register(
            "unprotected_routes",
            "Rules of routes that no policy protects",
            metrics.unprotected_routes.clone(),
        );
        registry.register("resources", "xDS resources in force, by Gateway and type", metrics.resources.clone());
        registry.register("xds_streams", "Connected Envoys, by Gateway and protocol", metrics.streams.clone());
        registry.register("xds_streams_refused", "Streams turned away, by reason", metrics.refused_streams.clone());
        registry.register(
            "xds_connections_closed",
            "Connections closed on which no stream was served, by reason",
            metrics.closed_connections.clone(),
        );
        registry.register(
            "xds_streams_cut",
            "Streams ended for what the client did, by reason",
            metrics.cut_streams.clone(),
        );
        registry.register(
            "xds_requests_slowed",
            "Requests after which their stream had to wait",
            metrics.slowed_requests.clone(),
        );
        registry.register(
            "xds_certificate_loads",
            "How often new content of the xDS port's certificate files was read, by result",
            metrics.certificate_loads.clone(),
        );
        registry.register(
            "key_set_fetches",
            "Attempts to fetch the key set of an issuer, by result",
            metrics.key_set_fetches.clone(),
        );
        registry.register(
            "key_set_age_seconds",
            "Time since a key set was last fetched with success, by place; -1: never",
            metrics.key_set_ages.clone(),
        );
        registry.register(
            "xds_handshakes_failed",
            "TLS handshakes that clients began and that failed",
            metrics.failed_handshakes.clone(),
        );
        registry.register("xds_responses", "Responses sent, by type", metrics.pushes.clone());
        registry.register("xds_resources_sent", "Resources sent, by type", metrics.resources_sent.clone());
        registry.register("xds_removals_sent", "Names sent as removed, by type", metrics.removals_sent.clone());
        registry.register("xds_acks", "Responses that Envoys took over, by type", metrics.acks.clone());
        registry.register("xds_nacks", "Responses that Envoys refused, by type", metrics.nacks.clone());
        registry.register(
            "xds_unknown_type_requests",
            "Requests for a type that is not served",
            metrics.unknown_types.clone(),
        );
        Self { registry, ..metrics }
    }
}

impl Metrics {
    /// The source was read.
    pub fn loaded(&self, result: Load) {
        self.loads.get_or_create(&LoadLabels { result }).inc();
    }

    /// Since when the source, or a part of it, can't be read.
    pub fn source_failing_since(&self, since: Option<Instant>) {
        *self.source_failing_since.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    /// These kinds can't be read.
    pub fn unknown_kinds(&self, kinds: impl Iterator<Item = &'static str>) {
        self.unknown_kinds.clear();
        for kind in kinds {
            self.unknown_kinds.get_or_create(&KindLabels { kind }).set(1);
        }
    }

    /// Resources were translated and rendered.
    pub fn translated(&self, took: Duration, unprotected_routes: usize) {
        self.translations.inc();
        self.translation_seconds.observe(took.as_secs_f64());
        self.unprotected_routes.set(saturate(unprotected_routes));
    }

    /// These problems stand now.
    pub fn problems<'a>(&self, problems: impl Iterator<Item = &'a Problem>) {
        self.problems.clear();
        for problem in problems {
            self.problems.get_or_create(&ReasonLabels { reason: problem.reason.clone() }).inc();
        }
    }

    /// This snapshot came into force at this Unix time, in seconds.
    pub fn published(&self, snapshot: &Snapshot, unix_seconds: u64) {
        self.publications.inc();
        self.published.set(i64::try_from(unix_seconds).unwrap_or(i64::MAX));
        self.resources.clear();
        for (gateway, resources) in &snapshot.gateways {
            for (kind, resources) in &resources.resources {
                let labels = ResourceLabels { gateway: gateway.0.clone(), r#type: kind.word() };
                self.resources.get_or_create(&labels).set(saturate(resources.len()));
            }
        }
    }

    /// A stream was turned away.
    pub fn refused_stream(&self, reason: RefusalReason) {
        self.refused_streams.get_or_create(&RefusalLabels { reason }).inc();
    }

    /// A connection on which no stream was served was closed.
    pub fn closed_connection(&self, reason: ClosedConnection) {
        self.closed_connections.get_or_create(&ConnectionLabels { reason }).inc();
    }

    /// A stream was ended for what the client did.
    pub fn cut_stream(&self, reason: Cut) {
        self.cut_streams.get_or_create(&CutLabels { reason }).inc();
    }

    /// A stream had to wait before its next request was read.
    pub fn slowed(&self) {
        self.slowed_requests.inc();
    }

    /// The certificate of the xDS port has new content.
    pub fn loaded_certificate(&self, result: Load) {
        self.certificate_loads.get_or_create(&LoadLabels { result }).inc();
    }

    /// A key set was fetched, or not.
    pub fn fetched_key_set(&self, result: Load) {
        self.key_set_fetches.get_or_create(&LoadLabels { result }).inc();
    }

    /// These are the places of key sets, and when each was last fetched with success.
    pub fn key_sets(&self, fetched: BTreeMap<String, Option<Instant>>) {
        *self.key_sets_fetched.lock().unwrap_or_else(PoisonError::into_inner) = fetched;
    }

    /// A TLS handshake failed.
    pub fn failed_handshake(&self) {
        self.failed_handshakes.inc();
    }

    /// A response was sent.
    pub fn pushed(&self, push: &Push) {
        let labels = TypeLabels { r#type: push.kind.word() };
        self.pushes.get_or_create(&labels).inc();
        self.resources_sent.get_or_create(&labels).inc_by(push.update.resources.len() as u64);
        self.removals_sent.get_or_create(&labels).inc_by(push.update.removed.len() as u64);
    }

    /// A client took a response over.
    pub fn acked(&self, kind: ResourceType) {
        self.acks.get_or_create(&TypeLabels { r#type: kind.word() }).inc();
    }

    /// A client refused a response.
    pub fn nacked(&self, kind: ResourceType) {
        self.nacks.get_or_create(&TypeLabels { r#type: kind.word() }).inc();
    }

    /// A client asked for a type that is not served.
    pub fn unknown_type(&self) {
        self.unknown_types.inc();
    }

    /// Everything in the OpenMetrics text format, with these clients connected while this is served.
    ///
    /// # Errors
    /// Never in practice: writing to memory can't fail.
    pub fn render(
        &self,
        clients: &[(GatewayName, Protocol)],
        snapshot: Option<&Snapshot>,
    ) -> Result<String, fmt::Error> {
        let mut streams: BTreeMap<(&str, Protocol), i64> = BTreeMap::new();
        for (gateway, protocol) in clients {
            let known = snapshot.is_some_and(|snapshot| snapshot.gateways.contains_key(gateway));
            *streams.entry((if known { &gateway.0 } else { "unknown" }, *protocol)).or_default() += 1;
        }
        self.streams.clear();
        for ((gateway, protocol), count) in streams {
            self.streams
                .get_or_create(&StreamLabels { gateway: gateway.to_owned(), protocol: protocol.word() })
                .set(count);
        }
        let since = *self.source_failing_since.lock().unwrap_or_else(PoisonError::into_inner);
        self.source_stale_seconds.set(since.map_or(0.0, |since| since.elapsed().as_secs_f64()));
        self.key_set_ages.clear();
        for (place, fetched) in self.key_sets_fetched.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let age = fetched.map_or(-1.0, |fetched| fetched.elapsed().as_secs_f64());
            self.key_set_ages.get_or_create(&KeySetLabels { place: place.clone() }).set(age);
        }
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

fn saturate(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
