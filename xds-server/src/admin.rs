//! The admin port: whether the control plane is ready, what it serves to whom, and what is wrong with its input.
//!
//! It shows policies and, to those who can reach it, nothing secret; by default only this machine can.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::ads::clients::{ClientView, Clients};
use crate::metrics::Metrics;
use crate::model::GatewayName;
use crate::problem::Problem;
use crate::render::view;
use crate::snapshot::{GatewaySnapshot, Snapshot};

const INDEX: &str = "\
/ready     200 once a good snapshot is served, 503 with the reason before
/metrics   OpenMetrics
/problems  what is wrong with the resources, and which routes no policy protects
/snapshot  what Envoys are to have: versions by Gateway, type and name; ?gateway=NAMESPACE/NAME for the content of one
/clients   connected Envoys: what each has, what it was sent, what it refused
";

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What the last look at the source came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Why the source as a whole can't be used; the last good snapshot stays in force meanwhile. Empty: it can.
    pub source: Vec<Problem>,
    /// What is wrong with single resources.
    pub resources: Vec<Problem>,
    /// Rules of routes that no policy protects.
    pub unprotected: Vec<String>,
}

/// What the admin port shows.
#[derive(Clone, Debug)]
pub struct Admin {
    /// What is served.
    pub snapshots: watch::Receiver<Option<Arc<Snapshot>>>,
    /// What is wrong; `None` before the source was read.
    pub reports: watch::Receiver<Option<Report>>,
    /// Who is connected.
    pub clients: Clients,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

impl Admin {
    /// Serves until `stop` is done.
    ///
    /// # Errors
    /// When connections can't be accepted any more.
    pub async fn serve(self, listener: TcpListener, stop: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
        axum::serve(listener, self.router()).with_graceful_shutdown(stop).await
    }

    /// Serves only what may be known outside of this machine: /ready and /metrics.
    ///
    /// # Errors
    /// When connections can't be accepted any more.
    pub async fn serve_health(
        self,
        listener: TcpListener,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<()> {
        axum::serve(listener, health().with_state(self)).with_graceful_shutdown(stop).await
    }

    fn router(self) -> Router {
        health()
            .route("/", get(async || INDEX))
            .route("/problems", get(problems))
            .route("/snapshot", get(snapshot))
            .route("/clients", get(clients))
            .with_state(self)
    }
}

fn health() -> Router<Admin> {
    Router::new().route("/ready", get(ready)).route("/metrics", get(metrics))
}

async fn ready(State(admin): State<Admin>) -> Response {
    if admin.snapshots.borrow().is_some() {
        return still_ready(admin.reports.borrow().as_ref()).into_response();
    }
    let reason = match &*admin.reports.borrow() {
        None => "not ready: the source was not read yet\n".to_owned(),
        Some(report) if report.source.is_empty() => "not ready: the first snapshot is being made\n".to_owned(),
        Some(report) => {
            let problems: Vec<String> = report.source.iter().map(|problem| format!("  {problem}\n")).collect();
            format!("not ready: the source can't be used:\n{}", problems.concat())
        }
    };
    (StatusCode::SERVICE_UNAVAILABLE, reason).into_response()
}

/// Envoys are served what was last good; what can't be read is said.
fn still_ready(report: Option<&Report>) -> String {
    let source = report.map(|report| report.source.as_slice()).unwrap_or_default();
    if source.is_empty() {
        return "ready\n".to_owned();
    }
    let problems: Vec<String> = source.iter().map(|problem| format!("  {problem}\n")).collect();
    format!("ready, but the source can't be read as a whole, and what is new may be closed:\n{}", problems.concat())
}

async fn metrics(State(admin): State<Admin>) -> Response {
    let snapshot = admin.snapshots.borrow().clone();
    match admin.metrics.render(&admin.clients.gateways(), snapshot.as_deref()) {
        Ok(text) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn problems(State(admin): State<Admin>) -> Json<Report> {
    Json(admin.reports.borrow().clone().unwrap_or_default())
}

async fn clients(State(admin): State<Admin>) -> Json<Vec<ClientView>> {
    Json(admin.clients.view())
}

/// The query of `/snapshot`.
#[derive(Debug, Deserialize)]
struct Selection {
    /// `namespace/name`; all Gateways without it.
    gateway: Option<GatewayName>,
}

async fn snapshot(State(admin): State<Admin>, Query(selection): Query<Selection>) -> Response {
    let Some(snapshot) = admin.snapshots.borrow().clone() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "there is no snapshot yet: see /ready\n").into_response();
    };
    match selection.gateway {
        None => {
            let all: BTreeMap<_, _> =
                snapshot.gateways.iter().map(|(name, gateway)| (name, versions(gateway))).collect();
            Json(all).into_response()
        }
        Some(name) => match snapshot.gateways.get(&name) {
            Some(gateway) => match view::gateway(gateway) {
                Ok(content) => Json(content).into_response(),
                Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
            },
            None => (StatusCode::NOT_FOUND, format!("there is no Gateway {}\n", name.0)).into_response(),
        },
    }
}

/// Version by type and name.
fn versions(gateway: &GatewaySnapshot) -> BTreeMap<&'static str, BTreeMap<&str, &str>> {
    let mut versions: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
    for (kind, resources) in &gateway.resources {
        let named = resources.iter().map(|(name, resource)| (name.as_str(), &*resource.version));
        versions.insert(kind.word(), named.collect());
    }
    versions
}
