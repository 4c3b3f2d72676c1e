//! `--resolve`: the flag, and the RBAC that it asks.

use super::{Error, cluster_args::ClusterArgs, rbac_args::RbacArgs};
use crate::{
    analysis::access::Known,
    rbac::{self, Snapshot},
    report::{Cell, Column},
};

/// Whether to say what each user is today.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Which RBAC")]
pub struct ResolveArgs {
    /// Say what each user is today, and whether RBAC would still allow it
    #[arg(long)]
    pub resolve: bool,
    #[command(flatten)]
    pub rbac: RbacArgs,
}

impl ResolveArgs {
    /// The RBAC to resolve against, if anybody wants to know.
    ///
    /// # Errors
    /// If it cannot be had.
    pub fn snapshot(&self, cluster: &ClusterArgs) -> Result<Option<Snapshot>, Error> {
        // Who names a dump wants it used.
        let is_wanted = self.resolve || !self.rbac.rbac.is_empty();
        is_wanted.then(|| self.rbac.snapshot(cluster)).transpose()
    }
}

/// The columns of an identity in a table of single requests.
pub fn columns() -> [Column; 3] {
    [Column::text("IDENTITY"), Column::text("NOW"), Column::text("ROLES").wide()]
}

/// Their cells; `was_allowed` is what was decided then.
pub fn cells(
    known: &Known,
    allowed_now: Option<bool>,
    was_allowed: Option<bool>,
    is_wide: bool,
) -> impl Iterator<Item = Cell> {
    let now = rbac::now(allowed_now, was_allowed);
    let roles = is_wide.then(|| Cell::from(known.held.as_str()));
    [Cell::from(known.label.as_str()), Cell::from(now)].into_iter().chain(roles)
}
