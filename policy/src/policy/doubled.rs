//! Names that stand twice in one object. Of a map `serde` takes the last in silence.

use super::{ConfigError, ConfigFault, at};
use crate::scan::{Malformed, Scanner};
use crate::strict::Keys;

/// Looks through JSON that was read already, so that it is well-formed and not too deep.
pub(super) fn refuse(path: &str, json: &[u8]) -> Result<(), ConfigError> {
    let text = std::str::from_utf8(json).unwrap_or_default();
    match value(&mut Scanner::new(text)) {
        Ok(()) => Ok(()),
        Err(Doubled { name, within }) => {
            let inner = within.iter().rev().fold(path.to_owned(), |path, name| format!("{path}.{name}"));
            Err(at(&inner, ConfigFault::NameTwice(name)))
        }
    }
}

struct Doubled {
    name: String,
    /// The members that it is in, the innermost first.
    within: Vec<String>,
}

impl From<Malformed> for Doubled {
    fn from(Malformed: Malformed) -> Self {
        Self { name: String::new(), within: Vec::new() }
    }
}

fn value(scan: &mut Scanner<'_>) -> Result<(), Doubled> {
    match scan.peek()? {
        b'{' => {
            let mut names = Keys::default();
            scan.object(|scan, name| {
                if !names.insert(name.clone()) {
                    return Err(Doubled { name: name.into_owned(), within: Vec::new() });
                }
                value(scan).map_err(|mut doubled| {
                    doubled.within.push(name.into_owned());
                    doubled
                })
            })
        }
        b'[' => {
            let mut is_more = scan.open(b']')?;
            while is_more {
                value(scan)?;
                is_more = scan.next(b']')?;
            }
            Ok(())
        }
        _ => Ok(scan.skip()?),
    }
}
