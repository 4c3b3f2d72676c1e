//! What the API server that wrote a log says of itself.

use super::{ApiServer, own_address};
use crate::cluster::{Cluster, metrics::Own};

/// Asks an API server at its own address. `is_only` is whether the cluster has no other one, so that the
/// kubeconfig's address leads to it as well.
pub fn own(cluster: &Cluster, server: &ApiServer, is_only: bool) -> Own {
    if is_only {
        return cluster.own();
    }
    let unknown = |why: String| Own { unknown: Some(why), ..Own::default() };
    if let Some(why) = &server.unknown {
        return unknown(why.clone());
    }
    let Some(address) = own_address(server) else {
        return unknown("its own address is not in its pod".to_owned());
    };
    match cluster.at(&address) {
        Ok(Some(direct)) => direct.own(),
        Ok(None) => {
            unknown("the kubeconfig names no authority to verify its own address with".into())
        }
        Err(err) => unknown(format!("cannot ask it at its own address: {err}")),
    }
}
