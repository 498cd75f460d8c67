//! Resources from a folder of YAML files, read again whenever it changes.
//!
//! ```text
//! notify (or every 2 s) ─> Files: those that changed are read ─ any? ─> LastGood ─> World, Broken
//! ```
//! Where the kernel names all files that changed, only those are looked at; all of them every 2 s, whatever it names.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tracing::debug;

use super::Change;
use super::documents::{self, Parsed};
use super::files::Files;
use super::last_good::{LastGood, same};
use crate::problem::Problem;
use crate::resources::Resources;

/// How often all of the folder is looked at, whatever was notified: some file systems do not notify.
const POLL: Duration = Duration::from_secs(2);

/// Several writes of one save come within this time.
const SETTLE: Duration = Duration::from_millis(20);

/// Reads a folder, all of it, or a single file.
///
/// # Errors
/// When the folder as a whole can't be trusted: it is gone or empty, a file is not YAML, two objects have one name.
/// An object that is readable as YAML but wrong in itself is no error here; it lands in [`Resources::malformed`].
pub fn load(folder: &Path) -> Result<Resources, Vec<Problem>> {
    documents::world(Files::default().read(folder)?.iter().map(|file| &**file))
}

/// Reads a folder now and whenever its content has changed. Ends when nobody listens any more.
pub fn watch(folder: PathBuf) -> impl Stream<Item = Change> {
    let (worlds, receiver) = tokio::sync::mpsc::channel(1);
    std::thread::spawn(move || {
        let (notices, noticed) = channel();
        let mut files = Files::default();
        let mut last: Option<Result<Vec<Arc<Parsed>>, Vec<Problem>>> = None;
        let mut last_good = LastGood::default();
        let mut watching = None;
        let mut seen = Noticed::Something;
        let mut looked = Instant::now();
        loop {
            // It watches before the files are read, so that no change falls between.
            let watcher = watching.take().or_else(|| watcher(&folder, notices.clone()));
            let again = match &seen {
                Noticed::Paths(paths) if looked.elapsed() < POLL => files.read_again(&folder, paths),
                _ => None,
            };
            let next = again.unwrap_or_else(|| {
                looked = Instant::now();
                files.read(&folder)
            });
            let unchanged = match (&last, &next) {
                (Some(Ok(last)), Ok(next)) => same(last, next),
                (Some(Err(last)), Err(next)) => last == next,
                _ => false,
            };
            if !unchanged {
                last = Some(next.clone());
                let changes =
                    next.map_or_else(|problems| vec![Change::Broken(problems)], |files| last_good.read(files));
                debug!("the folder was read");
                if changes.into_iter().any(|change| worlds.blocking_send(change).is_err()) {
                    return;
                }
            }
            // A new watcher when nothing was noticed for a while: a folder that was replaced by another one is another
            // folder to the kernel.
            seen = wait(&noticed);
            watching = if matches!(seen, Noticed::Nothing) { None } else { watcher };
            if worlds.is_closed() {
                return;
            }
        }
    });
    ReceiverStream::new(receiver)
}

/// What was noticed.
#[derive(Debug)]
enum Noticed {
    Nothing,
    /// Something at these paths.
    Paths(BTreeSet<PathBuf>),
    /// Something somewhere.
    Something,
}

impl Noticed {
    /// At the paths as the folder was named.
    fn of(event: notify::Result<notify::Event>, watched: &Path, folder: &Path) -> Self {
        let event = match event {
            Ok(event) if event.kind.is_access() => return Self::Nothing,
            Ok(event) if !event.need_rescan() && !event.paths.is_empty() => event,
            _ => return Self::Something,
        };
        let below = |path: &PathBuf| Some(folder.join(path.strip_prefix(watched).ok()?));
        event.paths.iter().map(below).collect::<Option<_>>().map_or(Self::Something, Self::Paths)
    }

    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Nothing, noticed) | (noticed, Self::Nothing) => noticed,
            (Self::Paths(mut paths), Self::Paths(others)) => {
                paths.extend(others);
                Self::Paths(paths)
            }
            _ => Self::Something,
        }
    }
}

/// A folder that can't be watched is polled.
fn watcher(folder: &Path, notices: Sender<Noticed>) -> Option<RecommendedWatcher> {
    let watched = std::path::absolute(folder).ok()?;
    let (below, folder) = (watched.clone(), folder.to_owned());
    let notify = move |event: notify::Result<notify::Event>| match Noticed::of(event, &below, &folder) {
        Noticed::Nothing => (),
        // The other end is there as long as the thread that waits.
        noticed => drop(notices.send(noticed)),
    };
    let mut watcher = notify::recommended_watcher(notify).ok()?;
    watcher.watch(&watched, RecursiveMode::Recursive).ok()?;
    Some(watcher)
}

/// Waits until something is noticed and then nothing more for a while, or for a long time in any case.
fn wait(notices: &Receiver<Noticed>) -> Noticed {
    let mut all = match notices.recv_timeout(POLL) {
        Ok(noticed) => noticed,
        Err(RecvTimeoutError::Timeout) => return Noticed::Nothing,
        Err(RecvTimeoutError::Disconnected) => return Noticed::Something,
    };
    let end = Instant::now() + POLL;
    while let Ok(noticed) = notices.recv_timeout(SETTLE) {
        all = all.and(noticed);
        if Instant::now() > end {
            break;
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_folder_that_never_rests_is_looked_at() {
        let (notices, noticed) = channel();
        thread::spawn(move || {
            let log = || Noticed::Paths([PathBuf::from(".log")].into());
            while notices.send(log()).is_ok() {
                thread::sleep(SETTLE / 10);
            }
        });
        assert!(matches!(wait(&noticed), Noticed::Paths(paths) if paths.len() == 1));
    }
}
