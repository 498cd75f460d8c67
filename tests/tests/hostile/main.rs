//! Hostile input, end to end.

mod differential;
