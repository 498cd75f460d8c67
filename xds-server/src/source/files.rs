//! The files of a folder, of which only those are read that changed.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::documents::{self, File, Parsed};
use crate::problem::Problem;

/// Most files that are read.
const MAX_FILES: usize = 10_000;

/// Deepest folder, so that a link to a folder above does not lead around for ever.
const MAX_DEPTH: usize = 16;

/// The coarsest clock by which a file system dates changes. A file that changed so short a time before it was read may
/// change once more without another date.
const COARSE: Duration = Duration::from_secs(2);

/// What is known of the files of a folder.
#[derive(Debug, Default)]
pub(super) struct Files {
    /// By path.
    known: HashMap<OsString, Known>,
}

#[derive(Debug)]
struct Known {
    stamp: Stamp,
    /// Whether every later change has another stamp.
    settled: bool,
    parsed: Arc<Parsed>,
}

/// What differs between two versions of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Files {
    /// The YAML and JSON files of a folder and those below it, in the order of their paths. Hidden ones are passed over: the
    /// folders in which a mounted ConfigMap keeps its versions are hidden, the links into them are not.
    pub(super) fn read(&mut self, folder: &Path) -> Result<Vec<Arc<Parsed>>, Vec<Problem>> {
        let mut found = Vec::new();
        let collected = match std::fs::metadata(folder) {
            Ok(metadata) if metadata.is_file() => {
                found.push((folder.to_owned(), metadata));
                Ok(())
            }
            _ => collect(folder, 0, &mut found),
        };
        let mut last = std::mem::take(&mut self.known);
        let files = collected.and_then(|()| {
            found.sort_by(|(one, _), (other, _)| one.as_os_str().cmp(other.as_os_str()));
            let read = |(path, metadata)| self.parsed(path, &metadata, &mut last);
            found.into_iter().map(read).collect::<Result<Vec<_>, _>>()
        });
        files.map_err(|(path, error)| {
            vec![Problem {
                file: Some(path),
                resource: None,
                field: String::new(),
                reason: "Unreadable".to_owned(),
                message: error.to_string(),
            }]
        })
    }

    fn parsed(
        &mut self,
        path: PathBuf,
        metadata: &Metadata,
        last: &mut HashMap<OsString, Known>,
    ) -> Result<Arc<Parsed>, (PathBuf, io::Error)> {
        let stamp = Stamp::of(metadata);
        let known = match last.remove(path.as_os_str()) {
            Some(known) if known.settled && known.stamp == stamp => known,
            last => {
                // Before the file is read: a change after this is later than what is read.
                let settled = stamp.is_settled(SystemTime::now());
                let file = read(&path, metadata.len()).map_err(|error| (path.clone(), error))?;
                let unchanged = last.map(|last| last.parsed).filter(|parsed| parsed.is_of(&file));
                Known { stamp, settled, parsed: unchanged.unwrap_or_else(|| Arc::new(Parsed::new(&file))) }
            }
        };
        let parsed = Arc::clone(&known.parsed);
        self.known.insert(path.into_os_string(), known);
        Ok(parsed)
    }
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    fn is_settled(&self, now: SystemTime) -> bool {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let changed = self.changed.max(self.modified).0;
        u64::try_from(changed).is_ok_and(|changed| Duration::from_secs(changed + 1) + COARSE < now)
    }
}

fn collect(folder: &Path, depth: usize, files: &mut Vec<(PathBuf, Metadata)>) -> Result<(), (PathBuf, io::Error)> {
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
            files.push((path, metadata));
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn service(port: u16) -> String {
        format!(
            "{{ apiVersion: v1, kind: Service, metadata: {{ name: s }}, spec: {{ ports: [{{ port: {port} }}] }} }}\n"
        )
    }

    #[test]
    fn a_file_is_read_again_however_soon_it_changes() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("a.yaml"), folder.path().join("b.json"));
        fs::write(&other, service(1).replace("name: s", "name: t")).unwrap();
        let mut files = Files::default();
        let mut last: Option<Vec<Arc<Parsed>>> = None;
        for port in 1000..1020 {
            // Of one size, and within one tick of the file system's clock.
            fs::write(&path, service(port)).unwrap();
            let next = files.read(folder.path()).unwrap();
            let ports: Vec<_> = next.iter().flat_map(|file| file.resources.services.values()).collect();
            let ports = ports.iter().filter_map(|service| service.spec.as_ref()?.ports.as_ref()?.first());
            assert_eq!(ports.map(|port| port.port).collect::<Vec<_>>(), [i32::from(port), 1]);
            if let Some(last) = last {
                assert!(
                    !Arc::ptr_eq(&last[0], &next[0]) && Arc::ptr_eq(&last[1], &next[1]),
                    "only what changed is new"
                );
            }
            last = Some(next);
        }
    }

    #[test]
    fn a_stamp_counts_once_the_clock_has_moved_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.yaml");
        fs::write(&path, service(1)).unwrap();
        let stamp = Stamp::of(&fs::metadata(&path).unwrap());
        let now = SystemTime::now();
        assert!(!stamp.is_settled(now));
        assert!(!stamp.is_settled(now - Duration::from_secs(3600)), "a clock that is behind proves nothing");
        assert!(stamp.is_settled(now + Duration::from_secs(5)));
    }
}
