//! kubectl's connection flags.

use std::{collections::HashMap, path::PathBuf, time::Duration};

use super::Error;
use crate::cluster::{Cluster, Connection, Impersonate, Run};

/// Which cluster, and as whom; spelled as kubectl spells it.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Cluster")]
pub struct ClusterArgs {
    /// Path of the kubeconfig file [default: $KUBECONFIG or ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Name of the kubeconfig context
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
    /// Name of the kubeconfig cluster
    #[arg(long, value_name = "NAME")]
    pub cluster: Option<String>,
    /// Name of the kubeconfig user
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// Impersonate this user
    #[arg(long = "as", value_name = "USER")]
    pub as_user: Option<String>,
    /// Impersonate this group; repeatable, needs --as
    #[arg(long, value_name = "GROUP", requires = "as_user")]
    pub as_group: Vec<String>,
    /// Impersonate this UID; needs --as
    #[arg(long, value_name = "UID", requires = "as_user")]
    pub as_uid: Option<String>,
    /// Impersonate with this extra; repeatable, needs --as
    #[arg(long, value_name = "KEY=VALUE", requires = "as_user", value_parser = key_value)]
    pub as_user_extra: Vec<(String, String)>,
    /// URL of the API server
    #[arg(long, value_name = "URL")]
    pub server: Option<String>,
    /// Bearer token
    #[arg(long, value_name = "TOKEN")]
    pub token: Option<String>,
    /// Certificate file of the API server's authority
    #[arg(long, value_name = "FILE")]
    pub certificate_authority: Option<String>,
    /// Client certificate file
    #[arg(long, value_name = "FILE")]
    pub client_certificate: Option<String>,
    /// Key file of the client certificate
    #[arg(long, value_name = "FILE")]
    pub client_key: Option<String>,
    /// Name to expect in the API server's certificate
    #[arg(long, value_name = "NAME")]
    pub tls_server_name: Option<String>,
    /// Trust any certificate: whoever is between reads everything
    #[arg(long)]
    pub insecure_skip_tls_verify: bool,
    /// How long to wait for an answer, such as 5s or 1m; 0 waits forever
    #[arg(long, value_name = "D", default_value = "0", value_parser = timeout)]
    pub request_timeout: Duration,
    /// Names all requests of this run.
    #[arg(skip)]
    pub run: Run,
}

impl ClusterArgs {
    /// Gets ready to talk to the cluster.
    ///
    /// # Errors
    /// If no cluster is configured.
    pub fn connect(&self) -> Result<Cluster, Error> {
        Ok(Cluster::connect(&self.connection())?)
    }

    /// What the flags say.
    pub fn connection(&self) -> Connection {
        let mut extra: HashMap<String, Vec<String>> = HashMap::new();
        for (key, value) in &self.as_user_extra {
            extra.entry(key.clone()).or_default().push(value.clone());
        }
        Connection {
            kubeconfig: self.kubeconfig.clone(),
            context: self.context.clone(),
            cluster: self.cluster.clone(),
            user: self.user.clone(),
            server: self.server.clone(),
            token: self.token.clone(),
            certificate_authority: self.certificate_authority.clone(),
            client_certificate: self.client_certificate.clone(),
            client_key: self.client_key.clone(),
            tls_server_name: self.tls_server_name.clone(),
            insecure_skip_tls_verify: self.insecure_skip_tls_verify,
            impersonate: Impersonate {
                user: self.as_user.clone(),
                uid: self.as_uid.clone(),
                groups: self.as_group.clone(),
                extra,
            },
            request_timeout: (!self.request_timeout.is_zero()).then_some(self.request_timeout),
            run: self.run.clone(),
        }
    }
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// A span of time as kubectl takes it: plain numbers are seconds.
pub fn timeout(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse() {
        return Ok(Duration::from_secs(seconds));
    }
    let span = text.parse::<jiff::SignedDuration>().ok().and_then(|it| it.try_into().ok());
    span.ok_or_else(|| "give seconds, or a span of time such as `30s` or `2m`".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts() {
        for (text, seconds) in [("0", 0), ("5", 5), ("5s", 5), ("1m", 60), ("1h30m", 5_400)] {
            assert_eq!(timeout(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "-1s", "x", "5 bananas"] {
            assert!(timeout(text).is_err(), "{text}");
        }
    }
}
