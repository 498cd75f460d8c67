//! Resources from a folder of YAML files, read again whenever it changes.
//!
//! ```text
//! notify (or every 2 s) ─> files ─ changed? ─> documents::read ─> Ok(Resources) | Err(Problems)
//! ```

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use sha2::{Digest, Sha256};
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tracing::debug;

use super::Change;
use super::documents::{self, File};
use super::last_good::LastGood;
use crate::problem::Problem;
use crate::resources::Resources;

/// How often the folder is looked at when nothing was notified: some file systems do not notify.
const POLL: Duration = Duration::from_secs(2);

/// Several writes of one save come within this time.
const SETTLE: Duration = Duration::from_millis(20);

/// Most files that are read.
const MAX_FILES: usize = 10_000;

/// Deepest folder, so that a link to a folder above does not lead around for ever.
const MAX_DEPTH: usize = 16;

/// Reads a folder, all of it, or a single file.
///
/// # Errors
/// When the folder as a whole can't be trusted: it is gone or empty, a file is not YAML, two objects have one name.
/// An object that is readable as YAML but wrong in itself is no error here; it lands in [`Resources::malformed`].
pub fn load(folder: &Path) -> Result<Resources, Vec<Problem>> {
    documents::read(&files(folder)?)
}

/// Reads a folder now and whenever its content has changed. Ends when nobody listens any more.
pub fn watch(folder: PathBuf) -> impl Stream<Item = Change> {
    let (worlds, receiver) = tokio::sync::mpsc::channel(1);
    std::thread::spawn(move || {
        let (notices, noticed) = channel();
        let mut last = None;
        let mut last_good = LastGood::default();
        loop {
            // A new watcher each time: a folder that was replaced by another one is another folder to the kernel. It
            // watches before the files are read, so that no change falls between.
            let watcher = watcher(&folder, notices.clone());
            let files = files(&folder);
            let content = content(&files);
            if last.as_ref() != Some(&content) {
                last = Some(content);
                let changes =
                    files.map_or_else(|problems| vec![Change::Broken(problems)], |files| last_good.read(files));
                debug!("the folder was read");
                if changes.into_iter().any(|change| worlds.blocking_send(change).is_err()) {
                    return;
                }
            }
            wait(&noticed);
            drop(watcher);
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

fn wait(noticed: &Receiver<()>) {
    if noticed.recv_timeout(POLL) == Err(RecvTimeoutError::Timeout) {
        return;
    }
    while noticed.recv_timeout(SETTLE).is_ok() {}
}

/// Says whether what was read is the same as before.
fn content(files: &Result<Vec<File>, Vec<Problem>>) -> Result<[u8; 32], Vec<Problem>> {
    let files = files.as_ref().map_err(Clone::clone)?;
    let mut hash = Sha256::new();
    for file in files {
        let path = file.path.as_os_str().as_encoded_bytes();
        for part in [path, &file.content] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
    }
    Ok(hash.finalize().into())
}

/// The YAML and JSON files of a folder and those below it, in the order of their paths. Hidden ones are passed over: the
/// folders in which a mounted ConfigMap keeps its versions are hidden, the links into them are not.
fn files(folder: &Path) -> Result<Vec<File>, Vec<Problem>> {
    let mut files = Vec::new();
    let collected = match std::fs::metadata(folder) {
        Ok(metadata) if metadata.is_file() => {
            read(folder, metadata.len()).map(|file| files.push(file)).map_err(|error| (folder.to_owned(), error))
        }
        _ => collect(folder, 0, &mut files),
    };
    collected.map_err(|(path, error)| {
        vec![Problem {
            file: Some(path),
            resource: None,
            field: String::new(),
            reason: "Unreadable".to_owned(),
            message: error.to_string(),
        }]
    })?;
    files.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(files)
}

fn collect(folder: &Path, depth: usize, files: &mut Vec<File>) -> Result<(), (PathBuf, io::Error)> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |error| (path, error)
    };
    for entry in std::fs::read_dir(folder).map_err(at(folder))? {
        let path = entry.map_err(at(folder))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with('.') {
            continue;
        }
        let metadata = match std::fs::metadata(&path) {
            Ok(metadata) => metadata,
            // Gone since the folder was listed. A link that is still there and leads nowhere could lead to a policy.
            Err(error) if error.kind() == io::ErrorKind::NotFound && path.symlink_metadata().is_err() => continue,
            Err(error) => return Err((path, error)),
        };
        if metadata.is_dir() {
            if depth == MAX_DEPTH {
                return Err((path, io::Error::other(format!("folders are read {MAX_DEPTH} deep; this one is deeper"))));
            }
            collect(&path, depth + 1, files)?;
        } else if metadata.is_file() && is_manifest(&path) {
            if files.len() >= MAX_FILES {
                return Err((folder.to_owned(), io::Error::other(format!("more than {MAX_FILES} files"))));
            }
            files.push(read(&path, metadata.len()).map_err(at(&path))?);
        }
    }
    Ok(())
}

fn is_manifest(path: &Path) -> bool {
    let is = |known: &&str| path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case(known));
    ["yaml", "yml", "json"].iter().any(is)
}

fn read(path: &Path, size: u64) -> io::Result<File> {
    if size > documents::MAX_FILE_BYTES as u64 {
        return Err(io::Error::other(format!("{size} bytes; {} are accepted", documents::MAX_FILE_BYTES)));
    }
    Ok(File { path: path.to_owned(), content: std::fs::read(path)? })
}
