//! A subscription as the admin port shows it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{Holding, Rejection, Subscription, Wildcard};

/// What one client wants and has of one type, as the admin port shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SubscriptionView {
    /// Whether it wants all resources of the type.
    pub wildcard: bool,
    /// Names that it asked for.
    pub names: BTreeSet<String>,
    /// Versions by name that it has.
    pub accepted: BTreeMap<String, String>,
    /// Versions by name that were sent and not answered yet.
    pub unanswered: BTreeMap<String, String>,
    /// Versions by name that it refused.
    pub rejected: BTreeMap<String, String>,
    /// The last response that it refused; stays after a later one was accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_rejection: Option<Rejection>,
}

impl SubscriptionView {
    /// What it refuses at present.
    #[must_use]
    pub fn standing_rejection(&self) -> Option<&Rejection> {
        self.last_rejection.as_ref().filter(|_| !self.rejected.is_empty())
    }
}

impl Subscription {
    /// What to show of it.
    #[must_use]
    pub fn view(&self) -> SubscriptionView {
        let mut view = SubscriptionView {
            wildcard: self.wildcard != Wildcard::Off,
            names: self.names.clone(),
            last_rejection: self.last_rejection.clone(),
            ..SubscriptionView::default()
        };
        for (name, holding) in &self.holdings {
            let (versions, version) = match holding {
                Holding::Accepted(version) => (&mut view.accepted, version),
                Holding::Rejected(version) | Holding::Doubtful(version) => (&mut view.rejected, version),
            };
            versions.insert(name.clone(), version.to_string());
        }
        for (name, resource) in self.in_flight.iter().flat_map(|in_flight| &in_flight.resources) {
            view.unanswered.insert(name.clone(), resource.version.to_string());
        }
        view
    }
}
