//! Which cluster, and as whom: kubectl's connection flags, laid over the kubeconfig.

use std::{collections::HashMap, path::PathBuf, time::Duration};

use kube::{
    Config,
    config::{
        AuthInfo, Cluster, Context, KubeConfigOptions, Kubeconfig, NamedAuthInfo, NamedCluster,
        NamedContext,
    },
};

use super::{ClusterError, Run, proxy::proxy_for};

/// What kubectl's connection flags say; whatever is absent comes from the kubeconfig.
#[derive(Debug, Clone, Default)]
pub struct Connection {
    /// A file, instead of those that `KUBECONFIG` lists.
    pub kubeconfig: Option<PathBuf>,
    pub context: Option<String>,
    pub cluster: Option<String>,
    pub user: Option<String>,
    pub server: Option<String>,
    pub token: Option<String>,
    pub certificate_authority: Option<String>,
    pub client_certificate: Option<String>,
    pub client_key: Option<String>,
    pub tls_server_name: Option<String>,
    pub insecure_skip_tls_verify: bool,
    pub impersonate: Impersonate,
    /// How long to wait for an answer; not how long a download may take.
    pub request_timeout: Option<Duration>,
    /// The run that the requests belong to.
    pub run: Run,
}

/// What a kubeconfig has names for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    pub contexts: Vec<String>,
    pub clusters: Vec<String>,
    pub users: Vec<String>,
}

/// As whom a request is to be authorized, if not as who we are.
#[derive(Debug, Clone, Default)]
pub struct Impersonate {
    pub user: Option<String>,
    pub uid: Option<String>,
    pub groups: Vec<String>,
    pub extra: HashMap<String, Vec<String>>,
}

/// The name of what the flags alone make, without any kubeconfig.
const FLAGS: &str = "flags";

impl Connection {
    pub(super) async fn config(&self) -> Result<Config, ClusterError> {
        let mut kubeconfig = match self.kubeconfig() {
            Err(ClusterError::NoCluster) if self.server.is_some() => Kubeconfig::default(),
            Err(ClusterError::NoCluster) => {
                let mut config = Config::incluster().map_err(|_| ClusterError::NoCluster)?;
                self.impersonate.apply(&mut config.auth_info);
                return Ok(self.named(config));
            }
            other => other?,
        };
        self.lay_over(&mut kubeconfig);
        let has_proxy = self.has_proxy(&kubeconfig);
        let options = KubeConfigOptions {
            context: self.context.clone(),
            cluster: self.cluster.clone(),
            user: self.user.clone(),
        };
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &options).await?;
        if !has_proxy {
            config.proxy_url = proxy_for(&config.cluster_url, |name| std::env::var(name).ok());
        }
        Ok(self.named(config))
    }

    /// Every request says which run it is of.
    fn named(&self, mut config: Config) -> Config {
        if let Ok(agent) = http::HeaderValue::from_str(self.run.user_agent()) {
            config.headers.push((http::header::USER_AGENT, agent));
        }
        config
    }

    /// Whether the chosen cluster has a proxy of its own: it goes before the variables.
    fn has_proxy(&self, kubeconfig: &Kubeconfig) -> bool {
        let context = self.context.as_ref().or(kubeconfig.current_context.as_ref());
        let context = kubeconfig.contexts.iter().find(|it| Some(&it.name) == context);
        let of_context = context.and_then(|it| it.context.as_ref()).map(|it| &it.cluster);
        let name = self.cluster.as_ref().or(of_context);
        let cluster = kubeconfig.clusters.iter().find(|it| Some(&it.name) == name);
        let proxy = cluster.and_then(|it| it.cluster.as_ref()?.proxy_url.as_deref());
        proxy.is_some_and(|it| !it.is_empty())
    }

    /// The names that the kubeconfig has for contexts, clusters and users.
    ///
    /// # Errors
    /// If there is none, or it cannot be read.
    pub fn names(&self) -> Result<Names, ClusterError> {
        let found = self.read()?;
        Ok(Names {
            contexts: found.contexts.into_iter().map(|it| it.name).collect(),
            clusters: found.clusters.into_iter().map(|it| it.name).collect(),
            users: found.auth_infos.into_iter().map(|it| it.name).collect(),
        })
    }

    /// The namespace of the chosen context, if the kubeconfig has one.
    pub fn namespace(&self) -> Option<String> {
        let found = self.read().ok()?;
        let wanted = self.context.as_ref().or(found.current_context.as_ref())?;
        let context = found.contexts.iter().find(|it| it.name == *wanted)?.context.as_ref()?;
        context.namespace.clone().filter(|it| !it.is_empty())
    }

    fn read(&self) -> Result<Kubeconfig, ClusterError> {
        if let Some(path) = &self.kubeconfig {
            // As kubectl: a file that is named has to be there.
            if let Err(err) = std::fs::metadata(path) {
                let reason = match err.kind() {
                    std::io::ErrorKind::NotFound => "file not found".to_owned(),
                    _ => err.to_string(),
                };
                return Err(ClusterError::KubeconfigFile { path: path.clone(), reason });
            }
            return Ok(Kubeconfig::read_from(path)?);
        }
        let list = std::env::var_os("KUBECONFIG").filter(|it| !it.is_empty());
        let Some(list) = list else { return Ok(Kubeconfig::read()?) };
        // As kubectl: of a list, files that are not there are passed over.
        let mut merged: Option<Kubeconfig> = None;
        for path in std::env::split_paths(&list).filter(|it| it.exists()) {
            let next = Kubeconfig::read_from(path)?;
            merged = Some(match merged {
                Some(before) => before.merge(next)?,
                None => next,
            });
        }
        merged.ok_or(ClusterError::NoCluster)
    }

    fn kubeconfig(&self) -> Result<Kubeconfig, ClusterError> {
        let found = self.read()?;
        if found.current_context.is_none() && self.context.is_none() && self.server.is_none() {
            return Err(ClusterError::NoCluster);
        }
        Ok(found)
    }

    /// Puts the flags into the cluster and the user that will be chosen.
    fn lay_over(&self, kubeconfig: &mut Kubeconfig) {
        let wanted = self.context.clone().or_else(|| kubeconfig.current_context.clone());
        let context = kubeconfig
            .contexts
            .iter()
            .find(|it| Some(&it.name) == wanted.as_ref())
            .and_then(|it| it.context.clone());
        // Without a context the flags make one; a wrong name of one stays wrong.
        if context.is_none() && wanted.is_none() {
            let made = Context {
                cluster: FLAGS.to_owned(),
                user: Some(FLAGS.to_owned()),
                ..Context::default()
            };
            kubeconfig.contexts.push(NamedContext {
                name: FLAGS.to_owned(),
                context: Some(made),
                other: Default::default(),
            });
            kubeconfig.clusters.push(NamedCluster {
                name: FLAGS.to_owned(),
                cluster: Some(Cluster::default()),
                other: Default::default(),
            });
            kubeconfig.auth_infos.push(NamedAuthInfo {
                name: FLAGS.to_owned(),
                auth_info: Some(AuthInfo::default()),
                other: Default::default(),
            });
            kubeconfig.current_context = Some(FLAGS.to_owned());
        }
        let context = context.unwrap_or_else(|| Context {
            cluster: FLAGS.to_owned(),
            user: Some(FLAGS.to_owned()),
            ..Context::default()
        });
        let cluster = self.cluster.as_ref().unwrap_or(&context.cluster);
        let user = self.user.as_ref().or(context.user.as_ref());
        for it in kubeconfig.clusters.iter_mut().filter(|it| it.name == *cluster) {
            self.lay_over_cluster(it.cluster.get_or_insert_default());
        }
        for it in kubeconfig.auth_infos.iter_mut().filter(|it| Some(&it.name) == user) {
            self.lay_over_user(it.auth_info.get_or_insert_default());
        }
    }

    fn lay_over_cluster(&self, cluster: &mut Cluster) {
        let Connection { server, certificate_authority, tls_server_name, .. } = self;
        if server.is_some() {
            cluster.server.clone_from(server);
        }
        if certificate_authority.is_some() {
            cluster.certificate_authority.clone_from(certificate_authority);
            cluster.certificate_authority_data = None;
        }
        if tls_server_name.is_some() {
            cluster.tls_server_name.clone_from(tls_server_name);
        }
        if self.insecure_skip_tls_verify {
            cluster.insecure_skip_tls_verify = Some(true);
            cluster.certificate_authority = None;
            cluster.certificate_authority_data = None;
        }
    }

    fn lay_over_user(&self, user: &mut AuthInfo) {
        if let Some(token) = &self.token {
            user.token = Some(token.clone().into());
            user.token_file = None;
            user.exec = None;
            user.auth_provider = None;
        }
        if self.client_certificate.is_some() {
            user.client_certificate.clone_from(&self.client_certificate);
            user.client_certificate_data = None;
        }
        if self.client_key.is_some() {
            user.client_key.clone_from(&self.client_key);
            user.client_key_data = None;
        }
        self.impersonate.apply(user);
    }
}

impl Impersonate {
    fn apply(&self, user: &mut AuthInfo) {
        if self.user.is_none() {
            return;
        }
        user.impersonate.clone_from(&self.user);
        user.impersonate_uid.clone_from(&self.uid);
        user.impersonate_groups = (!self.groups.is_empty()).then(|| self.groups.clone());
        user.impersonate_user_extra = (!self.extra.is_empty()).then(|| self.extra.clone());
    }
}
