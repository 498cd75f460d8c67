//! A real API server with the manifests that are shipped; `toolward` as the service account that it has there.

mod changes;
mod deployment;
mod flood;
mod hostnames;
mod identity;
mod key_sets;
mod nulls;
mod outages;
mod refusals;
mod rights;
mod secrets;
mod shared_statuses;
mod statuses;
mod upstream_tls;
mod well_known;
mod world;
