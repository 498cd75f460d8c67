//! The whole, from outside: real processes, real requests.

mod answers;
mod bad_input;
mod changes;
mod clients;
mod endpoints;
mod events;
mod examples;
mod https;
mod keys;
mod lists;
mod metrics_and_log;
mod narrowing;
mod render;
mod request_states;
mod restart;
mod routes;
mod semantics;
mod sessions;
mod signatures;
mod sotw;
mod static_envoy;
mod streams;
mod unprotected;
mod upstream_tls;
mod xds_tls;
