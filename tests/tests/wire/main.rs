//! Everything on the MCP wire, with servers and clients on all SDKs and the official conformance suite.

mod clients;
mod conformance;
mod exchange;
mod rows;
