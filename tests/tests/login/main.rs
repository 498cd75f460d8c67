//! OAuth 2.1 for MCP clients: real clients log in at a real authorization server, and each answer is what its specification
//! asks for.

mod answers;
mod credentials;
mod example;
mod flows;
mod issuers;
mod key_sets;
mod pages;
mod remote;
mod world;
