//! Where resources come from.

pub mod dir;
pub mod documents;
mod object;
