//! One of each in turn, so that nobody waits for all that another one has.

use std::collections::BTreeMap;

/// All of them, one of each holder in turn; those of one holder in their order.
pub(super) fn in_turn<T>(all: impl IntoIterator<Item = T>, holder: impl Fn(&T) -> &str) -> Vec<T> {
    let mut holders: BTreeMap<String, usize> = BTreeMap::new();
    let mut turns = Vec::new();
    for one in all {
        let turn = holders.entry(holder(&one).to_owned()).or_default();
        turns.push((*turn, one));
        *turn += 1;
    }
    turns.sort_by_key(|(turn, _)| *turn);
    turns.into_iter().map(|(_, one)| one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_waits_for_all_of_another() {
        let all = ["a1", "a2", "a3", "b1", "c1", "c2"];
        assert_eq!(in_turn(all, |one| &one[..1]), ["a1", "b1", "c1", "a2", "c2", "a3"]);
    }
}
