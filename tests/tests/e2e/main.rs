//! The whole, from outside: real processes, real requests.

mod answers;
mod bad_input;
mod changes;
mod clients;
mod examples;
mod lists;
mod metrics_and_log;
mod render;
mod restart;
mod static_envoy;
mod xds_tls;
