//! What one tenant may ask of Envoys: lists that are each bounded multiply, so that their products are bounded as well.
//!
//! A tenant is a namespace. What is past a quota is closed, and never left to something looser; the oldest objects come first,
//! as in the standard's precedence, so that a tenant who asks for more loses nothing that it has.

pub(super) mod routes;
mod size;

pub(super) use size::Size;

/// The reason of what is past a quota.
pub const QUOTA_EXCEEDED: &str = "QuotaExceeded";

/// The reason of a route that is too large by itself.
pub const TOO_LARGE: &str = "TooLarge";

/// What one tenant may ask of Envoys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quotas {
    /// Entries of one route: its hostnames x matches x backends.
    pub route: usize,
    /// Entries of all routes of a namespace, on all Gateways. As many again may be those of routes that are closed.
    pub namespace_routes: usize,
    /// Entries of all routes of a Gateway.
    pub gateway_routes: usize,
}

impl Default for Quotas {
    fn default() -> Self {
        Self { route: 4096, namespace_routes: 16_384, gateway_routes: 65_536 }
    }
}

impl Quotas {
    /// Those of a folder, which is one owner's: its namespaces are no tenants.
    #[must_use]
    pub fn of_one_owner(self) -> Self {
        Self { namespace_routes: usize::MAX, ..self }
    }
}
