//! Lists of objects, page by page.

use kube::{api::ListParams, core};
use serde::{Deserialize, de::DeserializeOwned};

use super::{Cluster, ClusterError, STALLED, objects::Listed};

/// Objects asked for at once: kubectl's own chunk.
const PAGE: u32 = 500;
/// A page that is larger than this is no page.
const MAX_PAGE: u64 = 256 << 20;
/// How often a list may change away under the reader.
const MAX_RESTARTS: u32 = 3;

#[derive(Deserialize)]
struct List<T> {
    #[serde(default)]
    metadata: ListMeta,
    #[serde(default = "Vec::new")]
    items: Vec<T>,
}

#[derive(Default, Deserialize)]
struct ListMeta {
    #[serde(rename = "continue", default)]
    next: Option<String>,
}

/// An object of which nothing but its name was asked for.
#[derive(Deserialize)]
struct OnlyName {
    metadata: super::objects::Metadata,
}

impl Cluster {
    /// All objects of a kind, in all namespaces.
    ///
    /// # Errors
    /// If the API server cannot be asked, or refuses.
    pub fn list<K: Listed + DeserializeOwned>(&self) -> Result<Vec<K>, ClusterError> {
        self.pages(&format!("{}/{}", K::API, K::RESOURCE), None)
    }

    /// All objects of a kind in one namespace, with these labels.
    ///
    /// # Errors
    /// If the API server cannot be asked, or refuses.
    pub fn list_in<K: Listed + DeserializeOwned>(
        &self,
        namespace: &str,
        labels: &str,
    ) -> Result<Vec<K>, ClusterError> {
        self.pages(&format!("{}/namespaces/{namespace}/{}", K::API, K::RESOURCE), Some(labels))
    }

    /// The names of the first 500 objects of a kind.
    ///
    /// # Errors
    /// If the API server cannot be asked, or refuses.
    pub fn names<K: Listed>(&self) -> Result<Vec<String>, ClusterError> {
        let path = format!("{}/{}", K::API, K::RESOURCE);
        let request = core::Request::new(path).list_metadata(&ListParams::default().limit(PAGE));
        let page: List<OnlyName> = self.ask(request)?;
        Ok(page.items.into_iter().map(|it| it.metadata.name).collect())
    }

    /// All objects of the collection at a path. One that changed so much that its pages are gone is
    /// read once more from the start.
    pub(super) fn pages<T: DeserializeOwned>(
        &self,
        path: &str,
        labels: Option<&str>,
    ) -> Result<Vec<T>, ClusterError> {
        let start = ListParams { label_selector: labels.map(str::to_owned), ..Default::default() };
        let start = start.limit(PAGE);
        let (mut all, mut params, mut restarts) = (Vec::new(), start.clone(), 0);
        loop {
            let page: List<T> = match self.ask(core::Request::new(path).list(&params)) {
                Err(ClusterError::Status { code: 410, .. }) if restarts < MAX_RESTARTS => {
                    (all, params, restarts) = (Vec::new(), start.clone(), restarts + 1);
                    continue;
                }
                page => page?,
            };
            all.extend(page.items);
            match page.metadata.next.filter(|it| !it.is_empty()) {
                Some(token) => params.continue_token = Some(token),
                None => return Ok(all),
            }
        }
    }

    /// The answer to a request, where it is one of success.
    pub(super) fn ask<T: DeserializeOwned>(
        &self,
        request: Result<http::Request<Vec<u8>>, core::request::Error>,
    ) -> Result<T, ClusterError> {
        let request = request
            .map_err(|err| ClusterError::of(kube::Error::BuildRequest(err), self.server()))?;
        let broken = |source| ClusterError::Broken { server: self.server().to_owned(), source };
        let reply = self.send(&self.0.client, request.map(Into::into), self.0.timeout, STALLED)?;
        let status = reply.status;
        let text = reply.text(MAX_PAGE).map_err(broken)?;
        if !(200..300).contains(&status) {
            return Err(ClusterError::refused(status, &text));
        }
        serde_json::from_str(&text).map_err(|err| broken(err.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{
        ClusterError,
        fake::{Server, State},
        objects::{Namespace, Node, Pod},
    };

    #[test]
    fn the_place_in_a_namespace_and_the_labels_are_asked_for() {
        let server = Server::start(State::default());
        let pods = r#"{"items":[{"spec":{"nodeName":"cp-1","containers":[{"name":"a"}]}},{}]}"#;
        server.answer("/api/v1/namespaces/kube-system/pods", 200, pods);
        let pods: Vec<Pod> = server.cluster().list_in("kube-system", "a=b,c=d").unwrap();
        assert_eq!(pods[0].spec.node_name.as_deref(), Some("cp-1"));
        let state = server.state.lock().unwrap();
        assert!(state.requests[0].contains("labelSelector=a%3Db%2Cc%3Dd"), "{}", state.requests[0]);
    }

    #[test]
    fn only_names_are_asked_for() {
        let server = Server::start(State::default());
        server.answer("/api/v1/namespaces", 200, r#"{"items":[{"metadata":{"name":"shop"}}]}"#);
        assert_eq!(server.cluster().names::<Namespace>().unwrap(), ["shop"]);
        let state = server.state.lock().unwrap();
        assert!(state.requests[0].contains("PartialObjectMetadataList"), "{}", state.requests[0]);
    }

    #[test]
    fn refusals_tell_what_the_server_says() {
        let server = Server::start(State::default());
        server.answer("/api/v1/nodes", 403, r#"{"kind":"Status","message":"not you"}"#);
        let err = server.cluster().list::<Node>().unwrap_err();
        assert_eq!(err.to_string(), "the API server refuses: not you");
        server.answer("/api/v1/nodes", 500, "<html>");
        let err = server.cluster().list::<Node>().unwrap_err();
        assert!(matches!(err, ClusterError::Status { code: 500, .. }), "{err}");
    }

    #[test]
    fn no_list() {
        let server = Server::start(State::default());
        server.answer("/api/v1/nodes", 200, "<html>");
        let err = server.cluster().list::<Node>().unwrap_err();
        assert!(matches!(err, ClusterError::Broken { .. }), "{err}");
    }
}
