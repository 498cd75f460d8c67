//! The files of a folder, of which only those are read that changed.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
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
    known: BTreeMap<OsString, Known>,
    /// Whether these are all, and each is where its path says: none is a link, or behind one.
    is_plain: bool,
}

/// What is found in a folder.
#[derive(Default)]
struct Found {
    files: Vec<(PathBuf, Metadata)>,
    /// Whether there is a link among them or on the way to them, or the folder is no folder.
    has_links: bool,
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

/// Whether a folder, or one that it is in, is or may be a link.
fn is_behind_link(folder: &Path) -> bool {
    !matches!((folder.canonicalize(), std::path::absolute(folder)), (Ok(real), Ok(named)) if real == named)
}

impl Files {
    /// The YAML and JSON files of a folder and those below it, in the order of their paths. Hidden ones are passed over: the
    /// folders in which a mounted ConfigMap keeps its versions are hidden, the links into them are not.
    pub(super) fn read(&mut self, folder: &Path) -> Result<Vec<Arc<Parsed>>, Vec<Problem>> {
        let mut found = Found { has_links: is_behind_link(folder), ..Found::default() };
        let collected = match std::fs::metadata(folder) {
            Ok(metadata) if metadata.is_file() => {
                found = Found { files: vec![(folder.to_owned(), metadata)], has_links: true };
                Ok(())
            }
            _ => collect(folder, 0, &mut found),
        };
        let mut last = std::mem::take(&mut self.known);
        let read = collected.and_then(|()| {
            found.files.sort_by(|(one, _), (other, _)| one.as_os_str().cmp(other.as_os_str()));
            found.files.into_iter().try_for_each(|(path, metadata)| {
                let last = last.remove(path.as_os_str());
                self.take_in(path, &metadata, last)
            })
        });
        self.is_plain = read.is_ok() && !found.has_links;
        self.files(read)
    }

    /// The same where nothing is known to have changed but what is at these paths. Nothing where that does not tell which
    /// files are others now.
    pub(super) fn read_again(
        &mut self,
        folder: &Path,
        paths: &BTreeSet<PathBuf>,
    ) -> Option<Result<Vec<Arc<Parsed>>, Vec<Problem>>> {
        if !self.is_plain {
            return None;
        }
        let mut touched = Vec::new();
        for path in paths {
            // No link leads to what is hidden.
            if path.strip_prefix(folder).ok()?.iter().any(is_hidden) {
                continue;
            }
            let metadata = path.symlink_metadata().ok().filter(Metadata::is_file)?;
            self.known.contains_key(path.as_os_str()).then(|| touched.push((path.clone(), metadata)))?;
        }
        let read = touched.into_iter().try_for_each(|(path, metadata)| {
            let last = self.known.remove(path.as_os_str());
            self.take_in(path, &metadata, last)
        });
        self.is_plain = read.is_ok();
        Some(self.files(read))
    }

    fn files(&self, read: Result<(), (PathBuf, io::Error)>) -> Result<Vec<Arc<Parsed>>, Vec<Problem>> {
        read.map(|()| self.known.values().map(|known| Arc::clone(&known.parsed)).collect()).map_err(|(path, error)| {
            vec![Problem {
                file: Some(path),
                resource: None,
                field: String::new(),
                reason: "Unreadable".to_owned(),
                message: error.to_string(),
            }]
        })
    }

    fn take_in(&mut self, path: PathBuf, metadata: &Metadata, last: Option<Known>) -> Result<(), (PathBuf, io::Error)> {
        let stamp = Stamp::of(metadata);
        let known = match last {
            Some(known) if known.settled && known.stamp == stamp => known,
            last => {
                // Before the file is read: a change after this is later than what is read.
                let settled = stamp.is_settled(SystemTime::now());
                let file = read(&path, metadata.len()).map_err(|error| (path.clone(), error))?;
                let unchanged = last.map(|last| last.parsed).filter(|parsed| parsed.is_of(&file));
                Known { stamp, settled, parsed: unchanged.unwrap_or_else(|| Arc::new(Parsed::new(&file))) }
            }
        };
        self.known.insert(path.into_os_string(), known);
        Ok(())
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

fn collect(folder: &Path, depth: usize, found: &mut Found) -> Result<(), (PathBuf, io::Error)> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |error| (path, error)
    };
    for entry in std::fs::read_dir(folder).map_err(at(folder))? {
        let entry = entry.map_err(at(folder))?;
        if is_hidden(&entry.file_name()) {
            continue;
        }
        let path = entry.path();
        found.has_links |= entry.file_type().map_or(true, |kind| kind.is_symlink());
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
            collect(&path, depth + 1, found)?;
        } else if metadata.is_file() && is_manifest(&path) {
            if found.files.len() >= MAX_FILES {
                return Err((folder.to_owned(), io::Error::other(format!("more than {MAX_FILES} files"))));
            }
            found.files.push((path, metadata));
        }
    }
    Ok(())
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
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
    fn what_was_touched_is_read_again_alone_where_its_path_is_all_it_has() {
        type Row<'r> = (&'r str, fn(&Path), &'r [&'r str], Option<&'r [u16]>);
        fn write(folder: &Path, name: &str, text: &str) {
            fs::write(folder.join(name), text).unwrap();
        }
        let rows: [Row<'_>; 9] = [
            ("a file", |folder| write(folder, "a.yaml", &service(7)), &["a.yaml"], Some(&[7, 2])),
            ("nothing of it", |folder| write(folder, "a.yaml", &service(1)), &["a.yaml"], Some(&[1, 2])),
            ("one below", |folder| write(folder, "b/b.yaml", &service(7)), &["b/b.yaml"], Some(&[1, 7])),
            ("one that was not named", |folder| write(folder, "a.yaml", &service(7)), &["b/b.yaml"], Some(&[1, 2])),
            ("one that is hidden", |folder| write(folder, ".a.yaml", "a: ["), &[".a.yaml"], Some(&[1, 2])),
            ("a new one", |folder| write(folder, "c.yaml", &service(7)), &["c.yaml"], None),
            ("one that is gone", |folder| fs::remove_file(folder.join("a.yaml")).unwrap(), &["a.yaml"], None),
            ("a folder", |_| (), &["b"], None),
            (
                "one that is a link now",
                |folder| {
                    write(folder, ".a.yaml", &service(7));
                    fs::remove_file(folder.join("a.yaml")).unwrap();
                    std::os::unix::fs::symlink(".a.yaml", folder.join("a.yaml")).unwrap();
                },
                &["a.yaml"],
                None,
            ),
        ];
        let ports = |files: &[Arc<Parsed>]| -> Vec<u16> {
            let services = files.iter().flat_map(|file| file.resources.services.values());
            services.map(|service| service.spec.as_ref().unwrap().ports.as_ref().unwrap()[0].port as u16).collect()
        };
        for (row, change, named, expected) in rows {
            let temporary = tempfile::tempdir().unwrap();
            let folder = temporary.path();
            fs::create_dir(folder.join("b")).unwrap();
            write(folder, "a.yaml", &service(1));
            write(folder, "b/b.yaml", &service(2));
            let mut files = Files::default();
            files.read(folder).unwrap();
            change(folder);
            let named = named.iter().map(|name| folder.join(name)).collect();
            let again = files.read_again(folder, &named);
            assert_eq!(again.map(|again| ports(&again.unwrap())).as_deref(), expected, "{row}");
        }
    }

    #[test]
    fn behind_links_everything_is_looked_at() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = temporary.path();
        fs::create_dir(folder.join("..1")).unwrap();
        fs::write(folder.join("..1/a.yaml"), service(1)).unwrap();
        std::os::unix::fs::symlink("..1", folder.join("..data")).unwrap();
        std::os::unix::fs::symlink("..data/a.yaml", folder.join("a.yaml")).unwrap();
        let mut files = Files::default();
        files.read(folder).unwrap();
        assert!(files.read_again(folder, &BTreeSet::from([folder.join("..data")])).is_none());
    }

    #[test]
    fn a_folder_behind_a_link_is_looked_at_whole() {
        let temporary = tempfile::tempdir().unwrap();
        let release = temporary.path().join("release");
        fs::create_dir_all(release.join("manifests")).unwrap();
        fs::write(release.join("manifests/a.yaml"), service(1)).unwrap();
        let link = temporary.path().join("current");
        std::os::unix::fs::symlink("release", &link).unwrap();
        for (folder, is_behind_link) in [(release, false), (link.clone(), true), (link.join("manifests"), true)] {
            let mut files = Files::default();
            files.read(&folder).unwrap();
            let manifest = folder.join(if folder.ends_with("manifests") { "a.yaml" } else { "manifests/a.yaml" });
            assert_eq!(files.read_again(&folder, &BTreeSet::from([manifest])).is_none(), is_behind_link, "{folder:?}");
        }
    }

    #[test]
    fn after_a_failure_everything_is_looked_at() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = temporary.path();
        fs::write(folder.join("a.yaml"), service(1)).unwrap();
        let mut files = Files::default();
        files.read(folder).unwrap();
        fs::write(folder.join("a.yaml"), vec![b'#'; documents::MAX_FILE_BYTES + 1]).unwrap();
        let named = BTreeSet::from([folder.join("a.yaml")]);
        assert!(files.read_again(folder, &named).unwrap().is_err());
        assert!(files.read_again(folder, &named).is_none());
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
