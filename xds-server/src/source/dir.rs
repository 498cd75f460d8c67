//! Resources from a folder of YAML files, read again whenever it changes.
//!
//! ```text
//! notify (or every 2 s) ─> Files: those that changed are read ─ any? ─> LastGood ─> World, Broken
//! ```

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

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

/// How often the folder is looked at when nothing was notified: some file systems do not notify.
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
        loop {
            // It watches before the files are read, so that no change falls between.
            let watcher = watching.take().or_else(|| watcher(&folder, notices.clone()));
            let next = files.read(&folder);
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
            watching = if wait(&noticed) { watcher } else { None };
            if worlds.is_closed() {
                return;
            }
        }
    });
    ReceiverStream::new(receiver)
}

/// A folder that can't be watched is polled.
fn watcher(folder: &Path, notices: Sender<()>) -> Option<RecommendedWatcher> {
    let notify = move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|event| !event.kind.is_access()) {
            // The other end is there as long as the thread that waits.
            let _ = notices.send(());
        }
    };
    let mut watcher = notify::recommended_watcher(notify).ok()?;
    watcher.watch(folder, RecursiveMode::Recursive).ok()?;
    Some(watcher)
}

/// Whether there was a notice.
fn wait(noticed: &Receiver<()>) -> bool {
    if noticed.recv_timeout(POLL) == Err(RecvTimeoutError::Timeout) {
        return false;
    }
    while noticed.recv_timeout(SETTLE).is_ok() {}
    true
}
