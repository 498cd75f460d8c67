//! A configuration taken apart, so that what is known of it need not be read again.

use std::borrow::Cow;
use std::collections::HashMap;

use super::Entry;
use crate::scan::{Malformed, Scanner};

/// The name of the member with the policies.
const POLICIES: &str = "policies";

/// A configuration in JSON and the policies that were taken out of it.
pub(super) struct Parts<'j, 'b> {
    /// The configuration with no policies.
    pub(super) rest: String,
    /// With their keys.
    pub(super) policies: Vec<(Cow<'j, str>, Policy<'j, 'b>)>,
}

/// A policy in JSON.
#[derive(Clone, Copy, Debug)]
pub(super) enum Policy<'j, 'b> {
    /// What stood under its key before.
    Known(&'b Entry),
    /// Something else.
    New(&'j str),
}

impl<'j, 'b> Parts<'j, 'b> {
    /// Takes a configuration apart that follows these policies; none: it is not JSON, or no object, or has no object of
    /// policies.
    pub(super) fn of(json: &'j [u8], before: &'b HashMap<String, Entry>) -> Option<Self> {
        let json = std::str::from_utf8(json).ok()?;
        let mut scan = Scanner::new(json);
        let mut policies = None;
        scan.object(|scan, key| {
            let start = scan.at();
            if key != POLICIES || policies.is_some() {
                return scan.skip();
            }
            let mut read = Vec::new();
            scan.object(|scan, key| {
                let policy = policy(scan, before.get(&*key))?;
                read.push((key, policy));
                Ok(())
            })?;
            policies = Some((start..scan.at(), read));
            Ok(())
        })
        .ok()?;
        let (place, policies) = policies.filter(|_| scan.is_at_end())?;
        Some(Self { rest: [json.get(..place.start)?, "{}", json.get(place.end..)?].concat(), policies })
    }
}

/// Takes a policy. INVARIANT: an object ends with its own bracket, so that what begins like a known object is that object.
fn policy<'j, 'b>(scan: &mut Scanner<'j>, before: Option<&'b Entry>) -> Result<Policy<'j, 'b>, Malformed> {
    let is_same = |json: &&str| json.starts_with('{') && scan.take(json);
    if let Some(entry) = before.filter(|entry| entry.json.as_deref().filter(is_same).is_some()) {
        return Ok(Policy::Known(entry));
    }
    let start = scan.at();
    scan.skip()?;
    Ok(Policy::New(scan.since(start)))
}
