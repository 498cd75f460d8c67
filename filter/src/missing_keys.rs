//! Tells the control plane of keys that tokens name and that their issuer's set does not have.

use std::cell::RefCell;

use toolward_policy::jwt::missing::Told;

use crate::host;

/// The control plane, as the bootstraps call it. Where there is none of that name, nobody is told, and new keys are found
/// when the control plane looks for them by itself.
const CONTROL_PLANE: &str = "toolward";

/// What it listens to beside discovery.
const PATH: &str = "/toolward.v1alpha1.Keys/Missing";

thread_local! {
    static TOLD: RefCell<Told> = RefCell::default();
}

/// A key is missing from the set of this place, which is told if that is news. `root` and `own` are the contexts: the request
/// may be over before the answer is there.
pub(crate) fn tell(place: &str, root: u32, own: u32) {
    let Some(places) = TOLD.with_borrow_mut(|told| told.missing(place, host::now_millis())) else { return };
    let places = places.join(",");
    let headers = vec![
        (":method", "POST"),
        (":scheme", "http"),
        (":path", PATH),
        (":authority", CONTROL_PLANE),
        ("content-type", "application/octet-stream"),
        ("toolward-key-sets", places.as_str()),
    ];
    host::call(CONTROL_PLANE, headers, root, own);
}
