//! What a folder said when it was last good, so that one broken file does not hold up what changes in the others.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use super::Change;
use super::documents::{self, File};
use crate::problem::Problem;
use crate::resources::Resources;

/// The files that were last good, in the order of their paths, and the world that they made.
#[derive(Default)]
pub(super) struct LastGood {
    files: Vec<File>,
    world: Option<Arc<Resources>>,
}

impl LastGood {
    /// What there is to tell of these files.
    pub(super) fn read(&mut self, files: Vec<File>) -> Vec<Change> {
        match documents::read(&files) {
            Ok(world) => vec![self.remember(files, world)],
            Err(problems) => {
                let rest = self.with_broken_as_they_were(files, &problems);
                rest.into_iter().chain([Change::Broken(problems)]).collect()
            }
        }
    }

    fn remember(&mut self, files: Vec<File>, world: Resources) -> Change {
        let world = Arc::new(world);
        *self = Self { files, world: Some(Arc::clone(&world)) };
        Change::World(world)
    }

    /// The world in which broken files count as what they last said. In doubt nothing changes: a file that was never
    /// good, or a resource that would be gone, which may have moved into a broken file and be a policy.
    fn with_broken_as_they_were(&mut self, files: Vec<File>, problems: &[Problem]) -> Option<Change> {
        let broken: BTreeSet<&Path> = problems.iter().filter_map(|problem| problem.file.as_deref()).collect();
        let was = |path: &Path| self.files.iter().find(|file| file.path == path).cloned();
        let stands = |file: File| if broken.contains(file.path.as_path()) { was(&file.path) } else { Some(file) };
        let files: Vec<File> = files.into_iter().map(stands).collect::<Option<_>>()?;
        if files == self.files {
            return None;
        }
        let world = documents::read(&files).ok()?;
        let all_there = self.world.as_ref()?.origins.keys().all(|object| world.origins.contains_key(object));
        all_there.then(|| self.remember(files, world))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, content: &str) -> File {
        File { path: path.into(), content: content.as_bytes().to_owned() }
    }

    fn service(name: &str, port: u16) -> String {
        format!(
            "{{ apiVersion: v1, kind: Service, metadata: {{ name: {name} }}, spec: {{ ports: [{{ port: {port} }}] }} }}\n"
        )
    }

    #[test]
    fn a_broken_file_holds_up_no_other() {
        let (one, two, moved) = (service("one", 1), service("two", 2), service("two", 3));
        let both = format!("{one}---\n{two}");
        type Row<'r> = (&'r str, &'r [(&'r str, &'r str)], &'r [&'r str]);
        let rows: [Row<'_>; 7] = [
            ("another file changed", &[("a", "a: ["), ("b", &moved)], &["world", "broken"]),
            ("nothing else changed", &[("a", "a: ["), ("b", &two)], &["broken"]),
            ("a resource is gone", &[("a", "a: [")], &["broken"]),
            ("a new file is broken", &[("a", &one), ("b", &moved), ("c", "a: [")], &["broken"]),
            ("both are broken", &[("a", "a: ["), ("b", "b: [")], &["broken"]),
            ("one name twice", &[("a", &both), ("b", &moved)], &["broken"]),
            ("all is good", &[("a", &one), ("b", &moved)], &["world"]),
        ];
        for (name, files, told) in rows {
            let mut last = LastGood::default();
            assert_eq!(last.read(vec![file("a", &one), file("b", &two)]).len(), 1);
            let changes = last.read(files.iter().map(|(path, content)| file(path, content)).collect());
            let kind = |change: &Change| match change {
                Change::World(_) => "world",
                Change::Broken(_) => "broken",
                Change::Endpoints { .. } | Change::Statuses(_) => "part of a world",
            };
            assert_eq!(changes.iter().map(kind).collect::<Vec<_>>(), told, "{name}");
        }
    }
}
