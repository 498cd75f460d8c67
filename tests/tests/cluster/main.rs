//! A real API server with the manifests that are shipped; `toolward` as the service account that it has there.

mod addresses;
mod changes;
mod deleted;
mod deployment;
mod flood;
mod identity;
mod key_sets;
mod malformed;
mod nulls;
mod outages;
mod parameters;
mod provisioning;
mod quotas;
mod refusals;
mod retired;
mod rights;
mod secrets;
mod shared_statuses;
mod statuses;
mod takeover;
mod unknown;
mod upstream_tls;
mod world;
mod xds_clients;
mod xds_port;
