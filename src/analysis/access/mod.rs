//! What RBAC says of recorded requests: allowed or not, used or not, and what would be needed.

pub mod evaluation;
mod requests;
mod uses;

pub use requests::Requests;
pub use uses::{Use, Uses};
