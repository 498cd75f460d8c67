//! Tells the control plane of keys that tokens name and that their issuer's set does not have.

use std::cell::RefCell;

use toolward_policy::jwt::missing::{MissingKey, Told};

use crate::host;

/// The control plane, as the bootstraps call it. Where there is none of that name, nobody is told, and new keys are found
/// when the control plane looks for them by itself.
const CONTROL_PLANE: &str = "toolward";

/// What it listens to beside discovery.
const PATH: &str = "/toolward.v1alpha1.Keys/Missing";

thread_local! {
    static TOLD: RefCell<Told> = RefCell::default();
}

/// Tells of a key, if that is news. `root` and `own` are the contexts: the request may be over before the answer is there.
pub(crate) fn tell(key: &MissingKey, root: u32, own: u32) {
    if TOLD.with_borrow_mut(|told| told.is_news(key, host::now_millis())) {
        let headers = vec![
            (":method", "POST"),
            (":scheme", "http"),
            (":path", PATH),
            (":authority", CONTROL_PLANE),
            ("content-type", "application/octet-stream"),
            ("toolward-key-set", key.place.as_str()),
        ];
        host::call(CONTROL_PLANE, headers, root, own);
    }
}
