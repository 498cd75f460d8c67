//! In which other spellings a text may be read: without percent-encoding (RFC 3986 section 2.1), normalized (NFKC, Unicode
//! Standard Annex #15), without case, accents and characters that are not seen.

use std::borrow::Cow;

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use crate::detours;
use crate::percent::MAX_ROUNDS;

/// How many times as much as ASCII other text costs to fold.
const BEYOND_ASCII: usize = 4;

/// A text as those read it who fold it, and decode it once, twice and so on, up to where nothing is left to decode.
#[derive(Clone, Debug)]
pub(crate) struct Readings {
    /// Never empty.
    stages: Vec<String>,
}

impl Readings {
    /// Those of a text; none: it never stands still. Without `folds` it is decoded alone.
    pub(crate) fn of(text: &str, folds: bool) -> Option<Self> {
        let read = |text: Cow<'_, str>| if folds { folded(&text) } else { text.into_owned() };
        let mut stages = vec![read(Cow::Borrowed(text))];
        for _ in 0..MAX_ROUNDS {
            let next = match detours::decoded(stages.last()?) {
                Cow::Borrowed(_) => return Some(Self { stages }),
                decoded @ Cow::Owned(_) => read(decoded),
            };
            stages.push(next);
        }
        None
    }

    /// The two texts as they are read alike: each as it is folded, then each decoded once, and so on.
    pub(crate) fn pairs<'r>(&'r self, other: &'r Self) -> impl Iterator<Item = (&'r str, &'r str)> {
        let count = self.stages.len().max(other.stages.len());
        (0..count).filter_map(move |at| Some((self.stage(at)?, other.stage(at)?)))
    }

    fn stage(&self, at: usize) -> Option<&str> {
        self.stages.get(at).or(self.stages.last()).map(String::as_str)
    }
}

/// What is left of a text for those to whom neither case, form nor accents matter, and who drop what is not seen. Blanks
/// stay, but for those that URL parsers drop.
pub(crate) fn folded(text: &str) -> String {
    if text.is_ascii() {
        return text.chars().filter(|character| !is_dropped(*character)).map(|own| own.to_ascii_lowercase()).collect();
    }
    let mut is_behind_ascii = true;
    let normalized = text.nfkd().map(detours::plain).filter(|character| !is_dropped(*character));
    // Both ways, since some characters have ASCII for their capital alone.
    let lower = normalized.flat_map(char::to_uppercase).flat_map(char::to_lowercase);
    // Those of other scripts are no accents but parts of words.
    let seen = lower.filter(|character| {
        let is_accent = is_combining_mark(*character);
        is_behind_ascii = if is_accent { is_behind_ascii } else { character.is_ascii() };
        !(is_accent && is_behind_ascii)
    });
    seen.collect()
}

/// What folding costs, in bytes of ASCII.
pub(crate) fn cost(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.len() * BEYOND_ASCII }
}

/// Whether a character is none that is seen: the default ignorable code points (Unicode Standard, section 5.21), and those
/// that annotate.
pub(crate) fn is_ignorable(character: char) -> bool {
    matches!(
        character,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

fn is_dropped(character: char) -> bool {
    character.is_control() || is_ignorable(character)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_folded() {
        let rows = [
            ("ASCII", "Prod 1", "prod 1"),
            ("a tab within", "pr\tod", "prod"),
            ("a byte order mark", "prod\u{feff}", "prod"),
            ("zero width", "pr\u{200b}\u{200d}od", "prod"),
            ("a soft hyphen", "pr\u{ad}od", "prod"),
            ("a mark of direction", "\u{202e}prod\u{61c}", "prod"),
            ("a selector of form", "prod\u{fe0f}\u{e0100}", "prod"),
            ("long s", "\u{17f}tage", "stage"),
            ("Kelvin's sign", "\u{212a}ey", "key"),
            ("i without a dot", "pr\u{131}vate", "private"),
            ("I with a dot", "PR\u{130}VATE", "private"),
            ("full width", "\u{ff30}\u{ff52}od", "prod"),
            ("a ligature", "\u{fb01}le", "file"),
            ("bold", "\u{1d429}rod", "prod"),
            ("in a circle", "\u{24df}rod", "prod"),
            ("raised", "x\u{b2}", "x2"),
            ("sharp s", "Stra\u{df}e", "strasse"),
            ("an accent", "pr\u{f3}d", "prod"),
            ("an accent behind", "pro\u{301}d", "prod"),
            ("a wide blank", "prod\u{3000}", "prod "),
            ("a slash of another kind", "a\u{2215}b", "a/b"),
            ("umlauts", "Z\u{fc}rich", "zurich"),
            ("another script", "\u{65e5}\u{672c}", "\u{65e5}\u{672c}"),
            ("signs of another script", "\u{939}\u{93f}", "\u{939}\u{93f}"),
        ];
        for (row, text, expected) in rows {
            assert_eq!(folded(text), expected, "{row}");
        }
    }

    #[test]
    fn how_often_a_text_is_decoded() {
        let rows = [
            ("nothing to decode", "100% a", Some(vec!["100% a"])),
            ("once", "s%65cret", Some(vec!["s%65cret", "secret"])),
            ("twice", "s%2565cret", Some(vec!["s%2565cret", "s%65cret", "secret"])),
            ("a wide percent sign", "s\u{ff05}65cret", Some(vec!["s%65cret", "secret"])),
            ("what is folded once it is decoded", "%C5%BFtage", Some(vec!["%c5%bftage", "stage"])),
            ("too often", "%252525252525252541", None),
        ];
        for (row, text, expected) in rows {
            let stages = Readings::of(text, true).map(|readings| readings.stages);
            assert_eq!(stages, expected.map(|stages| stages.into_iter().map(str::to_owned).collect()), "{row}");
        }
    }
}
