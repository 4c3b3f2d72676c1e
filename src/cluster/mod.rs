//! The connection to a cluster: the only user of `kube`. Nothing here knows of flags or events.
//!
//! The rest of the program is synchronous: the runtime lives here, starts with the first connection,
//! and hands the bytes of a reply over a bounded channel to a `Read`.

use std::{
    fmt,
    future::Future,
    io::{self, Read},
    ops::Range,
    sync::Arc,
    time::Duration,
};

use http_body_util::BodyExt;
use kube::{Client, Config, api::PostParams, client::Body as HttpBody};
use tokio::{runtime::Runtime, sync::mpsc};

mod connection;
mod error;
#[cfg(test)]
pub mod fake;
mod list;
pub mod metrics;
pub mod objects;
mod proxy;
mod rbac;
mod run;

pub use connection::{Connection, Impersonate, Names};
pub use error::ClusterError;
pub use run::Run;

/// How long a download may stand still before it counts as broken.
const STALLED: Duration = Duration::from_secs(60);

/// How long to wait for an API server at its own address: from many places there is no way to it.
const DIRECT: Duration = Duration::from_secs(5);

/// A connection to a cluster; clones share it.
#[derive(Clone)]
pub struct Cluster(Arc<Inner>);

struct Inner {
    config: Config,
    client: Client,
    /// Of its own, without retries: a download that broke is resumed, not replayed.
    downloads: Client,
    server: String,
    default_namespace: String,
    timeout: Option<Duration>,
    run: Run,
    // Last, so that it outlives the clients.
    runtime: Runtime,
}

/// An answer with whatever status, its body still coming.
pub struct Reply {
    pub status: u16,
    /// The size of the whole, also where only a range of it was asked for.
    pub size: Option<u64>,
    /// Where the range begins that the body is.
    pub range_start: Option<u64>,
    /// The server's clock, as it says.
    pub date: Option<String>,
    pub body: Body,
}

/// The bytes of a reply as they come.
pub struct Body {
    chunks: mpsc::Receiver<io::Result<Vec<u8>>>,
    chunk: Vec<u8>,
    at: usize,
}

impl Cluster {
    /// Reads kubeconfig and gets ready; the first request connects.
    ///
    /// ```no_run
    /// use kubectl_audit::cluster::{Cluster, Connection};
    ///
    /// let cluster = Cluster::connect(&Connection::default())?;
    /// println!("{}: {}", cluster.server(), cluster.may("get", "nodes", "proxy", "cp-1")?);
    /// # Ok::<(), kubectl_audit::cluster::ClusterError>(())
    /// ```
    ///
    /// # Errors
    /// If no cluster is configured, or its configuration cannot be used.
    pub fn connect(connection: &Connection) -> Result<Cluster, ClusterError> {
        let runtime = runtime()?;
        let config = runtime.block_on(connection.config())?;
        Cluster::new(config, runtime, connection.run.clone(), connection.request_timeout)
    }

    /// The same user at the API server with this address, which has to prove itself to the authority that
    /// the kubeconfig names. `None` if the kubeconfig names none: then nobody could tell who answers.
    ///
    /// # Errors
    /// If the address cannot be used.
    pub fn at(&self, address: &str) -> Result<Option<Cluster>, ClusterError> {
        let mut config = self.0.config.clone();
        if config.accept_invalid_certs || config.root_cert.is_none() {
            return Ok(None);
        }

        config.cluster_url =
            address.parse::<http::Uri>().map_err(|err| ClusterError::Request(err.into()))?;
        // That name is of the server, or balancer, that the kubeconfig leads to.
        config.tls_server_name = None;
        config.connect_timeout = Some(DIRECT);
        config.default_retry = false;

        let runtime = runtime()?;
        Cluster::new(config, runtime, self.0.run.clone(), Some(DIRECT)).map(Some)
    }

    fn new(
        config: Config,
        runtime: Runtime,
        run: Run,
        timeout: Option<Duration>,
    ) -> Result<Cluster, ClusterError> {
        let kept = config.clone();
        let server = config.cluster_url.to_string().trim_end_matches('/').to_owned();
        let default_namespace = config.default_namespace.clone();
        let mut patient = config.clone();
        patient.default_retry = false;
        let failed = |err| ClusterError::of(err, &server);
        let guard = runtime.enter();
        let client = Client::try_from(config).map_err(failed)?;
        let downloads = Client::try_from(patient).map_err(failed)?;
        drop(guard);
        Ok(Cluster(Arc::new(Inner {
            config: kept,
            client,
            downloads,
            server,
            default_namespace,
            timeout,
            run,
            runtime,
        })))
    }

    /// The run that its requests belong to.
    pub fn run(&self) -> &Run {
        &self.0.run
    }

    /// How long to wait for an answer, if that has an end.
    pub fn timeout(&self) -> Option<Duration> {
        self.0.timeout
    }

    /// The URL of the API server.
    pub fn server(&self) -> &str {
        &self.0.server
    }

    /// The namespace of the context.
    pub fn default_namespace(&self) -> &str {
        &self.0.default_namespace
    }

    /// Asks whether the API server would allow this user a request; `name` is of one object, empty for all.
    ///
    /// # Errors
    /// If it cannot be asked.
    pub fn may(
        &self,
        verb: &str,
        resource: &str,
        subresource: &str,
        name: &str,
    ) -> Result<bool, ClusterError> {
        let review = serde_json::json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {
                "verb": verb, "resource": resource, "subresource": subresource, "name": name,
            }},
        });
        let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        let request = kube::core::Request::new(path)
            .create(&PostParams::default(), review.to_string().into_bytes());
        let answer: serde_json::Value = self.ask(request)?;
        Ok(answer["status"]["allowed"] == true)
    }

    /// GETs a path, or a range of what it leads to. A status that tells of a failure is an answer too,
    /// but not 401: then nobody knows who we are.
    ///
    /// # Errors
    /// If there is no answer.
    pub fn get(&self, path: &str, range: Option<Range<u64>>) -> Result<Reply, ClusterError> {
        self.get_within(path, range, self.0.timeout, STALLED)
    }

    /// The same, but an answer has to begin within `timeout`, and may not stand still for longer than
    /// `stalled`.
    ///
    /// # Errors
    /// If there is no answer.
    pub fn get_within(
        &self,
        path: &str,
        range: Option<Range<u64>>,
        timeout: Option<Duration>,
        stalled: Duration,
    ) -> Result<Reply, ClusterError> {
        let mut request = http::Request::get(path);
        if let Some(range) = range {
            request = request
                .header(http::header::RANGE, format!("bytes={}-{}", range.start, range.end - 1));
        }
        let request = request.body(HttpBody::empty()).map_err(ClusterError::Request)?;
        self.send(&self.0.downloads, request, timeout, stalled)
    }

    fn send(
        &self,
        client: &Client,
        request: http::Request<HttpBody>,
        timeout: Option<Duration>,
        stalled: Duration,
    ) -> Result<Reply, ClusterError> {
        let response = self.wait(timeout, async {
            client.send(request).await.map_err(|err| ClusterError::of(err, self.server()))
        })?;
        if response.status() == http::StatusCode::UNAUTHORIZED {
            return Err(ClusterError::Unauthorized { server: self.server().to_owned() });
        }
        let header = |name| response.headers().get(name).and_then(|it| it.to_str().ok());
        let range = header(http::header::CONTENT_RANGE);
        let whole = range.and_then(|it| it.rsplit('/').next());
        let size = whole.or_else(|| header(http::header::CONTENT_LENGTH));
        let range_start = range.and_then(|it| it.strip_prefix("bytes ")?.split('-').next());
        Ok(Reply {
            status: response.status().as_u16(),
            size: size.and_then(|it| it.parse().ok()),
            range_start: range_start.and_then(|it| it.parse().ok()),
            date: header(http::header::DATE).map(str::to_owned),
            body: self.stream(response.into_body(), stalled),
        })
    }

    fn stream(&self, mut body: HttpBody, stalled: Duration) -> Body {
        let (sender, chunks) = mpsc::channel(8);
        self.0.runtime.spawn(async move {
            loop {
                let chunk = match tokio::time::timeout(stalled, body.frame()).await {
                    Err(_) => Err(io::ErrorKind::TimedOut.into()),
                    Ok(None) => return,
                    Ok(Some(Err(err))) => Err(io::Error::other(err)),
                    Ok(Some(Ok(frame))) => match frame.into_data() {
                        Ok(data) => Ok(Vec::from(data)),
                        Err(_) => continue,
                    },
                };
                let is_over = chunk.is_err();
                // Nobody listens any more: the reader was dropped, and so is the connection.
                if sender.send(chunk).await.is_err() || is_over {
                    return;
                }
            }
        });
        Body { chunks, chunk: Vec::new(), at: 0 }
    }

    fn wait<T>(
        &self,
        timeout: Option<Duration>,
        work: impl Future<Output = Result<T, ClusterError>>,
    ) -> Result<T, ClusterError> {
        self.0.runtime.block_on(async {
            let Some(timeout) = timeout else { return work.await };
            let late = |_| ClusterError::Timeout { server: self.server().to_owned(), timeout };
            tokio::time::timeout(timeout, work).await.map_err(late)?
        })
    }
}

fn runtime() -> Result<Runtime, ClusterError> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("cluster")
        .enable_all()
        .build()
        .map_err(ClusterError::Runtime)
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cluster").field(&self.0.server).finish()
    }
}

impl Reply {
    /// The body as text, at most so many bytes of it.
    ///
    /// # Errors
    /// If the connection breaks.
    pub fn text(self, limit: u64) -> io::Result<String> {
        let mut bytes = Vec::new();
        self.body.take(limit).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.chunk.len() {
            match self.chunks.blocking_recv() {
                None => return Ok(0),
                Some(chunk) => (self.chunk, self.at) = (chunk?, 0),
            }
        }
        let n = buffer.len().min(self.chunk.len() - self.at);
        buffer[..n].copy_from_slice(&self.chunk[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}
