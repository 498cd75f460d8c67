//! When something is tried again that failed, or done again that was just done: later each time.

use std::time::Duration;

use tokio::time::Instant;

/// The time until the next attempt, doubled with each one that follows the last soon.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backoff {
    first: Duration,
    most: Duration,
    /// The last attempt, and the time that was waited for after it.
    last: Option<(Instant, Duration)>,
}

impl Backoff {
    pub(super) const fn new(first: Duration, most: Duration) -> Self {
        Self { first, most, last: None }
    }

    /// How long to wait after an attempt now. It is short again after a while of twice the longest wait without any.
    pub(super) fn next(&mut self, now: Instant) -> Duration {
        let next = match self.last {
            Some((last, wait)) if now.duration_since(last) < self.most * 2 => (wait * 2).min(self.most),
            _ => self.first,
        };
        self.last = Some((now, next));
        next
    }

    /// As if nothing had been tried.
    pub(super) fn reset(&mut self) {
        self.last = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_are_forgotten() {
        let start = Instant::now();
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(5));
        let waits = [0, 1, 3, 7, 12].map(|at| backoff.next(start + Duration::from_secs(at)).as_secs());
        assert_eq!(waits, [1, 2, 4, 5, 5]);
        assert_eq!(backoff.next(start + Duration::from_secs(22)).as_secs(), 1);
        backoff.reset();
        assert_eq!(backoff.next(start + Duration::from_secs(23)).as_secs(), 1);
    }
}
