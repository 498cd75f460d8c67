//! What only the running system knows, for statuses: what Envoys refuse, here and elsewhere, and which release of Gateway
//! API is installed.

use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tracing::warn;

use super::objects::Faults;
use super::refusals::{Leases, Peers, Steady, local};
use crate::ads::clients::Clients;
use crate::status::{DEFINITION, Facts};

/// How often it is looked at what Envoys refuse.
const LOOK: Duration = Duration::from_secs(1);

/// An API server that has not answered by then is asked again.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// How often it is looked at which release of Gateway API is installed.
const LOOK_FOR_RELEASE: Duration = Duration::from_secs(10);

/// The annotation that says it.
const BUNDLE_VERSION: &str = "gateway.networking.k8s.io/bundle-version";

/// Looks for as long as somebody listens. Nothing is told before all is known. `faults` is there where Gateways get objects
/// from us.
pub(super) fn watch(
    client: Client,
    mut leases: Leases,
    clients: Clients,
    leads: watch::Receiver<bool>,
    faults: Option<watch::Receiver<Faults>>,
) -> watch::Receiver<Option<Facts>> {
    let (sender, receiver) = watch::channel(None);
    let definitions: Api<CustomResourceDefinition> = Api::all(client);
    tokio::spawn(async move {
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut release, mut peers, mut steady) = (Release::default(), Peers::default(), Steady::default());
        while !sender.is_closed() {
            ticks.tick().await;
            let here = steady.take(local(&clients), Instant::now());
            let leading = *leads.borrow();
            if !leading {
                peers = Peers::default();
            }
            let asked = timeout(ANSWER_WITHIN, async {
                leases.say(&here).await;
                if leading {
                    release.look(&definitions).await;
                    leases.read(&mut peers).await;
                }
            });
            if asked.await.is_err() {
                warn!("no answer from the API server about what other replicas know");
            }
            let Some(bundle_version) = release.version.clone().filter(|_| leading) else { continue };
            let mut refusals = peers.refusals();
            refusals.extend(here);
            let unwritten = faults.as_ref().map(|faults| faults.borrow().clone());
            let facts = Some(Facts {
                refusals,
                provisioned: faults.is_some(),
                unwritten: unwritten.unwrap_or_default(),
                bundle_version,
            });
            sender.send_if_modified(|last| {
                let changed = *last != facts;
                *last = facts;
                changed
            });
        }
    });
    receiver
}

/// The release of Gateway API that is installed.
#[derive(Default)]
struct Release {
    looked: Option<Instant>,
    /// Not known yet; not said by the definitions themselves; said.
    version: Option<Option<String>>,
}

impl Release {
    async fn look(&mut self, definitions: &Api<CustomResourceDefinition>) {
        if self.looked.is_some_and(|looked| looked.elapsed() < LOOK_FOR_RELEASE) {
            return;
        }
        match definitions.get_metadata(DEFINITION).await {
            Ok(definition) => {
                self.version = Some(definition.metadata.annotations.and_then(|mut all| all.remove(BUNDLE_VERSION)));
                self.looked = Some(Instant::now());
            }
            Err(error) => {
                warn!(%error, "can't read the CustomResourceDefinition {DEFINITION}");
                // Not allowed to: what is not known is not supported. Other reasons pass.
                if matches!(&error, kube::Error::Api(answer) if answer.code == 403) {
                    self.version = Some(None);
                    self.looked = Some(Instant::now());
                }
            }
        }
    }
}
