//! Hostile requests as data, and what becomes of them.
//!
//! ```text
//! tests/hostile/*.yaml ─ Case ─ render(Target) ─> bytes ─ wire ─> any gateway or server ─> Answer
//! ```

mod case;
mod encoding;
mod target;
mod token;
mod wire;

pub use case::{Case, cases};
pub use target::{Era, Target};
pub use wire::{Answer, Ending, exchange};
