//! Hostile requests as data, and what becomes of them.
//!
//! ```text
//! tests/hostile/*.yaml ─ Case ─ render(Target) ─> bytes ─ wire ─> any gateway or server ─> Answer
//! ```

mod case;
mod encoding;
mod flood;
mod session;
mod target;
mod token;
mod wire;

pub use case::{Case, cases};
pub use flood::{Flood, flood};
pub use session::{good_call, open};
pub use target::Target;
pub use wire::{Answer, Ending, exchange};
