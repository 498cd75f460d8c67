//! Hostile input, end to end.

mod benign;
mod bodies;
mod capabilities;
mod differential;
mod flood;
mod held;
mod paths;
mod readings;
mod routes;
mod suite;
mod trap;
mod verifiers;

#[path = "../../../policy/tests/signer/mod.rs"]
mod signer;
