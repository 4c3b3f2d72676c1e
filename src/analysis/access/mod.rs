//! What RBAC says of recorded requests: allowed or not, used or not, and what would be needed.

mod answers;
pub mod coverage;
pub mod evaluation;
pub mod left_out;
pub mod needs;
pub mod patch;
pub mod portrait;
mod requests;
mod resolver;
pub mod unused;
pub mod usage;
mod users;
mod uses;

pub use requests::Requests;
pub use resolver::{Known, Resolver};
pub use users::{UserGroups, Users};
pub use uses::{Use, Uses};

#[cfg(test)]
mod tests;
