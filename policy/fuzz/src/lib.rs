//! What fuzz targets share: servers and clients that read JSON less strictly than we do, and a policy.

mod json;
mod policy;

pub use json::{Json, Reader};
pub use policy::{GRANTED, ask, is_granted, table};
