//! One of several replicas writes to the API server: the one that holds a Lease (coordination.k8s.io). All of them
//! serve Envoys, leader or not.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, ObjectMeta, PostParams};
use kube::{Client, Error};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

/// A leader that has not renewed its Lease for so long is one no more.
const LEASE_FOR: Duration = Duration::from_secs(10);

/// How often the leader renews its Lease, and the others look at it.
const RENEW_EVERY: Duration = Duration::from_secs(2);

/// Name of the Lease.
const LEASE: &str = "toolward";

/// Takes part in the election for ever; the receiver says whether this replica leads.
#[must_use]
pub fn elect(client: Client, namespace: &str, identity: String) -> watch::Receiver<bool> {
    let (sender, receiver) = watch::channel(false);
    let leases: Api<Lease> = Api::namespaced(client, namespace);
    tokio::spawn(async move {
        let mut candidate = Candidate { identity, seen: None, renewed: None };
        loop {
            // An attempt that hangs must not outlive the Lease.
            let attempt = tokio::time::timeout(RENEW_EVERY, candidate.attempt(&leases)).await;
            match attempt {
                Ok(Ok(())) => {}
                Ok(Err(error)) => warn!(%error, "can't read or write the Lease {LEASE}"),
                Err(_) => warn!("no answer about the Lease {LEASE}"),
            }
            let leads = candidate.leads(Instant::now());
            if *sender.borrow() != leads {
                info!(identity = candidate.identity, "{}", if leads { "leading now" } else { "not leading any more" });
                sender.send_replace(leads);
            }
            if sender.is_closed() {
                return;
            }
            sleep(RENEW_EVERY).await;
        }
    });
    receiver
}

/// A replica that takes part.
struct Candidate {
    identity: String,
    /// The Lease as it was seen last, and since when it has been so. Clocks of other machines are not trusted.
    seen: Option<(LeaseSpec, Instant)>,
    /// When this replica asked for the renewal of its Lease that succeeded last.
    renewed: Option<Instant>,
}

/// What to do about a Lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Renew,
    TakeOver,
    Wait,
}

impl Candidate {
    async fn attempt(&mut self, leases: &Api<Lease>) -> Result<(), Error> {
        let asked = Instant::now();
        let current = leases.get_opt(LEASE).await?;
        let Some(mut lease) = current else {
            let metadata = ObjectMeta { name: Some(LEASE.to_owned()), ..Default::default() };
            let lease = Lease { metadata, spec: Some(self.spec(None)) };
            return match leases.create(&PostParams::default(), &lease).await {
                Ok(_) => {
                    self.renewed = Some(asked);
                    Ok(())
                }
                Err(error) if is_conflict(&error) => Ok(()),
                Err(error) => Err(error),
            };
        };
        let spec = lease.spec.clone().unwrap_or_default();
        if self.step(&spec, asked) == Step::Wait {
            return Ok(());
        }
        lease.spec = Some(self.spec(Some(&spec)));
        // With the resourceVersion that was read: of two that take over at once, one fails.
        match leases.replace(LEASE, &PostParams::default(), &lease).await {
            Ok(_) => {
                self.renewed = Some(asked);
                Ok(())
            }
            Err(error) if is_conflict(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Looks at the Lease.
    fn step(&mut self, spec: &LeaseSpec, now: Instant) -> Step {
        if spec.holder_identity.as_ref() == Some(&self.identity) {
            return Step::Renew;
        }
        if spec.holder_identity.as_deref().unwrap_or_default().is_empty() {
            return Step::TakeOver;
        }
        let since = match &self.seen {
            Some((seen, since)) if seen == spec => *since,
            _ => now,
        };
        self.seen = Some((spec.clone(), since));
        let seconds = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        let valid_for = seconds.map_or(LEASE_FOR, Duration::from_secs);
        if now.duration_since(since) >= valid_for { Step::TakeOver } else { Step::Wait }
    }

    /// Whether the Lease that was renewed last still holds; a little less long than others wait.
    fn leads(&self, now: Instant) -> bool {
        self.renewed.is_some_and(|renewed| now.duration_since(renewed) < LEASE_FOR - RENEW_EVERY)
    }

    fn spec(&self, last: Option<&LeaseSpec>) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        let mine = last.filter(|last| last.holder_identity.as_ref() == Some(&self.identity));
        let transitions = last.and_then(|last| last.lease_transitions).unwrap_or(0);
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(LEASE_FOR.as_secs()).ok(),
            acquire_time: mine.and_then(|mine| mine.acquire_time.clone()).or_else(|| Some(now.clone())),
            renew_time: Some(now),
            lease_transitions: Some(if last.is_some() && mine.is_none() { transitions + 1 } else { transitions }),
            ..Default::default()
        }
    }
}

fn is_conflict(error: &Error) -> bool {
    matches!(error, Error::Api(status) if status.code == 409)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate() -> Candidate {
        Candidate { identity: "me".to_owned(), seen: None, renewed: None }
    }

    fn held_by(holder: &str, renewal: i64) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            lease_duration_seconds: Some(10),
            renew_time: Timestamp::from_second(renewal).ok().map(MicroTime),
            ..Default::default()
        }
    }

    #[test]
    fn a_lease_is_taken_over_when_it_has_not_moved_for_its_duration() {
        let mut candidate = candidate();
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(candidate.step(&held_by("other", 1), start), Step::Wait, "its age is not known yet");
        assert_eq!(candidate.step(&held_by("other", 1), after(9)), Step::Wait);
        assert_eq!(candidate.step(&held_by("other", 2), after(9)), Step::Wait, "it was renewed");
        assert_eq!(candidate.step(&held_by("other", 2), after(18)), Step::Wait);
        assert_eq!(candidate.step(&held_by("other", 2), after(19)), Step::TakeOver);
        assert_eq!(candidate.step(&held_by("", 2), after(19)), Step::TakeOver, "it was given up");
        assert_eq!(candidate.step(&held_by("me", 2), after(19)), Step::Renew);
    }

    #[test]
    fn who_can_not_renew_stops_before_another_may_start() {
        let mut candidate = candidate();
        let start = Instant::now();
        assert!(!candidate.leads(start));
        candidate.renewed = Some(start);
        assert!(candidate.leads(start + Duration::from_secs(7)));
        assert!(!candidate.leads(start + Duration::from_secs(8)));
    }

    #[test]
    fn a_takeover_counts() {
        let candidate = candidate();
        assert_eq!(candidate.spec(None).lease_transitions, Some(0));
        assert_eq!(candidate.spec(Some(&held_by("other", 1))).lease_transitions, Some(1));
        assert_eq!(candidate.spec(Some(&held_by("me", 1))).lease_transitions, Some(0));
    }
}
