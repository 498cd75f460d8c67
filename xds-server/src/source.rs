//! Where resources come from.

pub mod dir;
