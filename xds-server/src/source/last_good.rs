//! What a folder said when it was last good, so that one broken file does not hold up what changes in the others.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use super::Change;
use super::documents::{self, Parsed};
use crate::problem::Problem;
use crate::resources::Resources;

/// The files that were last good, in the order of their paths, and the world that they made.
#[derive(Default)]
pub(super) struct LastGood {
    files: Vec<Arc<Parsed>>,
    world: Option<Arc<Resources>>,
}

impl LastGood {
    /// What there is to tell of these files.
    pub(super) fn read(&mut self, files: Vec<Arc<Parsed>>) -> Vec<Change> {
        match self.world_of(&files) {
            Ok(world) => vec![self.remember(files, world)],
            Err(problems) => {
                let rest = self.with_broken_as_they_were(files, &problems);
                rest.into_iter().chain([Change::Broken(problems)]).collect()
            }
        }
    }

    /// The last world with what differs, where that is enough; else everything is put together anew.
    fn world_of(&self, files: &[Arc<Parsed>]) -> Result<Resources, Vec<Problem>> {
        self.changed(files).map_or_else(|| documents::world(files.iter().map(|file| &**file)), Ok)
    }

    /// `None`: nothing is known from before, or it takes a look at all files to say what is wrong.
    fn changed(&self, files: &[Arc<Parsed>]) -> Option<Resources> {
        let mut world = Resources::clone(self.world.as_ref()?);
        let (gone, new) = differing(&self.files, files);
        let nothing = Resources::default();
        let mut last: BTreeMap<&Path, &Resources> =
            gone.iter().map(|file| (file.path.as_path(), &file.resources)).collect();
        let changed: Vec<_> =
            new.iter().map(|file| (file, last.remove(file.path.as_path()).unwrap_or(&nothing))).collect();
        last.values().for_each(|gone| world.replace(gone, &nothing));
        for (file, last) in changed {
            let mut objects = file.resources.origins.keys().filter(|object| !last.origins.contains_key(*object));
            if !file.problems.is_empty() || objects.any(|object| world.origins.contains_key(object)) {
                return None;
            }
            world.replace(last, &file.resources);
        }
        (!world.origins.is_empty()).then_some(world)
    }

    fn remember(&mut self, files: Vec<Arc<Parsed>>, world: Resources) -> Change {
        let world = Arc::new(world);
        *self = Self { files, world: Some(Arc::clone(&world)) };
        Change::World(world)
    }

    /// The world in which broken files count as what they last said. In doubt nothing changes: a file that was never
    /// good, or a resource that would be gone, which may have moved into a broken file and be a policy.
    fn with_broken_as_they_were(&mut self, files: Vec<Arc<Parsed>>, problems: &[Problem]) -> Option<Change> {
        let broken: BTreeSet<&Path> = problems.iter().filter_map(|problem| problem.file.as_deref()).collect();
        let was = |path: &Path| self.files.iter().find(|file| file.path == path).cloned();
        let stands =
            |file: Arc<Parsed>| if broken.contains(file.path.as_path()) { was(&file.path) } else { Some(file) };
        let files: Vec<Arc<Parsed>> = files.into_iter().map(stands).collect::<Option<_>>()?;
        if same(&files, &self.files) {
            return None;
        }
        let world = self.world_of(&files).ok()?;
        let all_there = self.world.as_ref()?.origins.keys().all(|object| world.origins.contains_key(object));
        all_there.then(|| self.remember(files, world))
    }
}

/// Whether these are the same files with the same content.
pub(super) fn same(one: &[Arc<Parsed>], other: &[Arc<Parsed>]) -> bool {
    one.len() == other.len() && one.iter().zip(other).all(|(one, other)| one.is_same(other))
}

/// The files that only one list has, or that have another content there; both are in the order of their paths.
fn differing<'f>(one: &'f [Arc<Parsed>], other: &'f [Arc<Parsed>]) -> (Vec<&'f Parsed>, Vec<&'f Parsed>) {
    let (mut gone, mut new) = (Vec::new(), Vec::new());
    let (mut one, mut other) = (one.iter().peekable(), other.iter().peekable());
    loop {
        let order = match (one.peek(), other.peek()) {
            (Some(last), Some(next)) if last.is_same(next) => {
                one.next();
                other.next();
                continue;
            }
            (Some(last), Some(next)) => last.path.as_os_str().cmp(next.path.as_os_str()),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return (gone, new),
        };
        if order.is_le() {
            gone.extend(one.next().map(|file| &**file));
        }
        if order.is_ge() {
            new.extend(other.next().map(|file| &**file));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::documents::File;

    fn file(path: &str, content: &str) -> Arc<Parsed> {
        Arc::new(Parsed::new(&File { path: path.into(), content: content.as_bytes().to_owned() }))
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
                Change::Statuses(_) => "a part of the world",
            };
            assert_eq!(changes.iter().map(kind).collect::<Vec<_>>(), told, "{name}");
            let whole: Vec<_> = last.files.iter().map(|file| &**file).collect();
            let whole = documents::world(whole.into_iter()).expect("a good world");
            let world = last.world.expect("a world");
            assert!(whole.services.iter().eq(&world.services) && whole.origins.iter().eq(&world.origins), "{name}");
        }
    }
}
