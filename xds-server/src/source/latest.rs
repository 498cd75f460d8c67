//! The latest that a source has said, for whoever is slower than the source.
//!
//! ```text
//! source ─ each change ─> Unread ─ take ─> what is in force by now
//! ```
//! Worlds that nobody has looked at yet are passed over: whoever looks gets the newest, and waits for no older one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::stream::unfold;
use tokio::sync::Notify;
use tokio_stream::{Stream, StreamExt as _};

use super::Change;
use crate::problem::Problem;

/// What a source says, less what it said meanwhile to the contrary. Ends with the source.
pub fn latest(mut source: impl Stream<Item = Change> + Send + Unpin + 'static) -> impl Stream<Item = Change> {
    let letters = Arc::new(Letters::default());
    // Without a reader there is nothing to bring.
    let letterbox = Arc::downgrade(&letters);
    tokio::spawn(async move {
        while let Some(change) = source.next().await {
            let Some(letters) = letterbox.upgrade() else { return };
            letters.unread().add(change);
            letters.news.notify_one();
        }
        if let Some(letters) = letterbox.upgrade() {
            letters.unread().is_last = true;
            letters.news.notify_one();
        }
    });
    unfold((letters, None), |(letters, next)| async move {
        if let Some(change) = next {
            return Some((change, (letters, None)));
        }
        loop {
            let (world, broken, is_last) = letters.unread().take();
            match (world, broken) {
                (Some(world), broken) => return Some((world, (letters, broken))),
                (None, Some(broken)) => return Some((broken, (letters, None))),
                (None, None) if is_last => return None,
                (None, None) => letters.news.notified().await,
            }
        }
    })
}

#[derive(Debug, Default)]
struct Letters {
    unread: Mutex<Unread>,
    news: Notify,
}

impl Letters {
    fn unread(&self) -> MutexGuard<'_, Unread> {
        self.unread.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was said since somebody looked last.
#[derive(Debug, Default)]
struct Unread {
    /// Never [`Change::Broken`].
    world: Option<Change>,
    /// What is wrong with the source since that world.
    broken: Option<Vec<Problem>>,
    /// Nothing more will be said.
    is_last: bool,
}

impl Unread {
    fn add(&mut self, change: Change) {
        match change {
            Change::Broken(problems) => self.broken = Some(problems),
            // Of a world that nobody has looked at, more than statuses is new.
            Change::Statuses(resources) if matches!(self.world, Some(Change::World(_))) => {
                self.world = Some(Change::World(resources));
            }
            Change::Statuses(_) => self.world = Some(change),
            Change::World(resources) => {
                // A world of which nothing is missing says that the source can be read.
                if resources.vouched.is_none() {
                    self.broken = None;
                }
                self.world = Some(Change::World(resources));
            }
        }
    }

    /// The world, and what is to be looked at right after it: what is wrong with its source. And whether nothing more will be
    /// said.
    fn take(&mut self) -> (Option<Change>, Option<Change>, bool) {
        (self.world.take(), self.broken.take().map(Change::Broken), self.is_last)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;
    use crate::resources::Resources;

    fn problem(reason: &str) -> Problem {
        let (message, field) = (String::new(), String::new());
        Problem { file: None, resource: None, field, reason: reason.to_owned(), message }
    }

    fn world() -> Arc<Resources> {
        Arc::new(Resources::default())
    }

    fn all(changes: Vec<Change>) -> Vec<Change> {
        let mut unread = Unread::default();
        changes.into_iter().for_each(|change| unread.add(change));
        let (world, broken, _) = unread.take();
        world.into_iter().chain(broken).collect()
    }

    #[test]
    fn an_older_world_is_passed_over() {
        let (first, second) = (world(), world());
        let left = all(vec![Change::World(first), Change::World(Arc::clone(&second))]);
        assert!(matches!(&left[..], [Change::World(world)] if Arc::ptr_eq(world, &second)), "{left:?}");
    }

    #[test]
    fn a_world_that_nobody_has_seen_is_more_than_its_statuses() {
        let (first, second) = (world(), world());
        let left = all(vec![Change::World(first), Change::Statuses(Arc::clone(&second))]);
        assert!(matches!(&left[..], [Change::World(world)] if Arc::ptr_eq(world, &second)), "{left:?}");
        let left = all(vec![Change::Statuses(world()), Change::Statuses(Arc::clone(&second))]);
        assert!(matches!(&left[..], [Change::Statuses(world)] if Arc::ptr_eq(world, &second)), "{left:?}");
        let left = all(vec![Change::Statuses(world()), Change::World(Arc::clone(&second))]);
        assert!(matches!(&left[..], [Change::World(world)] if Arc::ptr_eq(world, &second)), "{left:?}");
    }

    #[test]
    fn what_is_wrong_stands_until_a_whole_world_comes() {
        let left = all(vec![
            Change::Broken(vec![problem("First")]),
            Change::World(world()),
            Change::Broken(vec![problem("Second")]),
        ]);
        let [Change::World(_), Change::Broken(problems)] = &left[..] else { panic!("{left:?}") };
        assert_eq!(problems[0].reason, "Second");

        let left = all(vec![Change::Broken(vec![problem("First")]), Change::World(world())]);
        assert!(matches!(&left[..], [Change::World(_)]), "{left:?}");

        let partial = Arc::new(Resources { vouched: Some(world()), ..Resources::default() });
        let left = all(vec![Change::Broken(vec![problem("First")]), Change::World(partial)]);
        assert!(matches!(&left[..], [Change::World(_), Change::Broken(_)]), "{left:?}");
    }

    /// However fast the worlds come.
    #[tokio::test]
    async fn what_is_wrong_is_looked_at_right_after_its_world() {
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        let mut read = pin!(latest(tokio_stream::wrappers::ReceiverStream::new(receiver)));
        let says = async |reason: &str| {
            for change in [Change::World(world()), Change::Broken(vec![problem(reason)])] {
                sender.send(change).await.unwrap();
            }
            // Until it lies there to be read.
            sender.reserve().await.unwrap();
            tokio::task::yield_now().await;
        };
        says("First").await;
        assert!(matches!(read.next().await, Some(Change::World(_))));
        says("Second").await;
        let next = read.next().await;
        assert!(matches!(&next, Some(Change::Broken(problems)) if problems[0].reason == "First"), "{next:?}");
        assert!(matches!(read.next().await, Some(Change::World(_))));
        let next = read.next().await;
        assert!(matches!(&next, Some(Change::Broken(problems)) if problems[0].reason == "Second"), "{next:?}");
    }

    #[tokio::test]
    async fn it_ends_with_its_source_and_loses_nothing_before() {
        let changes = [Change::World(world()), Change::Broken(vec![problem("Last")])];
        let left: Vec<Change> = latest(tokio_stream::iter(changes)).collect().await;
        assert!(matches!(&left[..], [Change::World(_), Change::Broken(_)]), "{left:?}");
    }
}
