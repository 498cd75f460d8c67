//! Which members of an object a server could take for one another, or for a part of one another.
//!
//! Servers know their arguments by aliases (`forcePush`, `force_push`), fold case, drop blanks and brackets, and make
//! objects of names such as `repo.owner`, `repo[owner]` and `repo/owner`. What is not ASCII may fold to anything.

/// The name by which JavaScript knows the object of which an object inherits.
const PROTOTYPE: &str = "__proto__";

/// Behind each level of a name.
const END: char = '\0';

/// The names of an object's members, sorted by what servers make of them, so that looking one up costs no more where there
/// are a hundred thousand.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    /// How many could be taken for any name.
    unclear: usize,
    /// What is left of each where case and all but letters and digits is dropped.
    letters: Vec<String>,
    /// The same of each of its levels.
    levels: Vec<String>,
}

impl Names {
    pub(super) fn new<'n>(names: impl Iterator<Item = &'n str> + Clone) -> Self {
        let sorted = |of: fn(&str) -> String| {
            let mut all: Vec<String> = names.clone().map(of).collect();
            all.sort_unstable();
            all
        };
        let unclear = names.clone().filter(|name| is_unclear(name)).count();
        Self { unclear, letters: sorted(letters), levels: sorted(levels) }
    }

    /// Whether a member of another name could be taken for the one of this name or for a part of it, or that for a part of
    /// the other; `is_there` says whether this name is among them itself.
    pub(super) fn may_mean(&self, name: &str, is_there: bool) -> bool {
        let (own_letters, own_levels, own) = (letters(name), levels(name), usize::from(is_there));
        let with_fewer_levels = || {
            let mut fewer = own_levels.match_indices(END).map(|(at, _)| own_levels.get(..=at).unwrap_or_default());
            let is_there = |levels: &str| self.levels.binary_search_by(|other| other.as_str().cmp(levels)).is_ok();
            !own_levels.is_empty() && (is_there("") || fewer.any(|levels| levels != own_levels && is_there(levels)))
        };
        self.unclear > usize::from(is_there && is_unclear(name))
            || count(&self.letters, &own_letters, |other| *other == own_letters) > own
            || count(&self.levels, &own_levels, |other| other.starts_with(&own_levels)) > own
            || with_fewer_levels()
    }
}

/// How many there are from `first` on that are wanted, up to two.
fn count(sorted: &[String], first: &str, is_wanted: impl Fn(&String) -> bool) -> usize {
    let at = sorted.partition_point(|other| other.as_str() < first);
    sorted.iter().skip(at).take(2).take_while(|other| is_wanted(other)).count()
}

/// What is left of a name that no server could take for a path; none: it could, or for any other one.
pub(super) fn of_one_level(name: &str) -> Option<String> {
    (!is_unclear(name) && split(name).eq([name])).then(|| letters(name))
}

fn is_unclear(name: &str) -> bool {
    name == PROTOTYPE || !name.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')
}

/// What is left of a name for those who fold case and drop everything but letters and digits.
fn letters(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase()).collect()
}

/// What is left of each level of a name.
fn levels(name: &str) -> String {
    split(name).flat_map(|level| [letters(level), END.into()]).collect()
}

/// What a name is made of for those who take it for a path.
fn split(name: &str) -> impl Iterator<Item = &str> {
    let is_within = |byte: char| byte.is_ascii_alphanumeric() || byte == '_' || byte == '-' || !byte.is_ascii();
    name.split(move |byte| !is_within(byte)).filter(|level| !level.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition, of one other name.
    fn may_mean(key: &str, name: &str) -> bool {
        let fold_alike = |own: &str, other: &str| letters(own) == letters(other);
        is_unclear(key)
            || fold_alike(key, name)
            || split(key).zip(split(name)).all(|(own, other)| fold_alike(own, other))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8192))]

        #[test]
        fn agrees_with_the_definition(
            names in proptest::collection::btree_set("[abA._/-]{0,5}|[ab]|__proto__|a\u{17f}|c[.]a", 0..5),
            asked in "[abA._/-]{0,5}|[ab]|__proto__|a\u{17f}|c[.]a[.]b",
        ) {
            for name in names.iter().chain([&asked]) {
                let others = names.iter().filter(|key| *key != name);
                let expected = others.into_iter().any(|key| may_mean(key, name));
                let index = Names::new(names.iter().map(String::as_str));
                prop_assert_eq!(index.may_mean(name, names.contains(name)), expected, "{} of {:?}", name, names);
            }
        }
    }
}
