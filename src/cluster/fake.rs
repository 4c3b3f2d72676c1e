//! A server for tests that answers as a real API server and kubelet were recorded to.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    ops::Range,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use super::{Cluster, Connection};

/// Is called with the number of requests before, and may change the files.
pub type Hook = Box<dyn FnMut(usize, &mut Files) + Send>;

/// What the server holds, and what happens to it while it is asked.
#[derive(Default)]
pub struct State {
    /// API paths (without a query) and what they answer.
    pub answers: BTreeMap<String, (u16, String)>,
    /// Files of nodes: `NODE/PATH` below /var/log.
    pub files: Files,
    /// Cuts the next download after so many bytes, and does something to the files then.
    pub cut: Option<(u64, Mishap)>,
    /// Called before each request for something of a node, with the number of such requests before it.
    pub before: Option<Hook>,
    /// Changes the answers to such requests.
    pub tamper: Option<fn(Asked<'_>, Reply) -> Reply>,
    /// Such requests so far.
    pub asked: usize,
    /// Body bytes sent so far.
    pub sent: u64,
    /// Headers of the requests so far.
    pub requests: Vec<String>,
    /// What begins so is never answered.
    pub hung: Vec<String>,
    /// Sends only so many bytes of the next download, and then nothing more.
    pub stall: Option<u64>,
    /// A file in which each request is recorded, as API servers do: its path, and the text of a line
    /// for a URI and a user agent.
    pub record: Option<(String, Line)>,
}

/// A request for something of a node.
pub struct Asked<'a> {
    pub path: &'a str,
    pub range: Option<Range<u64>>,
    pub number: usize,
}

/// Files by their path.
pub type Files = BTreeMap<String, File>;

/// A line of a log for a request: of its path and user agent.
pub type Line = fn(&str, &str) -> String;

/// What happens to the files while one of them is read.
pub type Mishap = fn(&mut Files);

/// A file, or what stands for one that is too big to keep.
#[derive(Clone)]
pub enum File {
    Text(Vec<u8>),
    Made { size: u64, bytes: fn(Range<u64>) -> Vec<u8> },
}

impl File {
    fn size(&self) -> u64 {
        match self {
            File::Text(text) => text.len() as u64,
            File::Made { size, .. } => *size,
        }
    }

    fn bytes(&self, range: Range<u64>) -> Vec<u8> {
        match self {
            File::Text(text) => text[range.start as usize..range.end as usize].to_vec(),
            File::Made { bytes, .. } => bytes(range),
        }
    }
}

/// A running server; it ends with the test process.
#[derive(Clone)]
pub struct Server {
    pub url: String,
    pub state: Arc<Mutex<State>>,
}

impl Server {
    pub fn start(state: State) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = Server { url, state: Arc::new(Mutex::new(state)) };
        let shared = server.state.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = shared.clone();
                thread::spawn(move || while serve(&stream, &state).is_some() {});
            }
        });
        server
    }

    pub fn cluster(&self) -> Cluster {
        let nothing = std::env::temp_dir().join(format!("no-kubeconfig-{}", std::process::id()));
        std::fs::write(&nothing, "").unwrap();
        let connection = Connection {
            server: Some(self.url.clone()),
            kubeconfig: Some(nothing),
            ..Connection::default()
        };
        Cluster::connect(&connection).unwrap()
    }

    pub fn answer(&self, path: &str, status: u16, body: &str) {
        self.state.lock().unwrap().answers.insert(path.to_owned(), (status, body.to_owned()));
    }
}

/// For so long a node that hangs does nothing.
const HANGING: Duration = Duration::from_secs(20);

/// Answers one request; `None` ends the connection.
fn serve(stream: &TcpStream, state: &Mutex<State>) -> Option<()> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next()?.ok()?;
    let headers: Vec<String> =
        lines.map_while(Result::ok).take_while(|it| !it.is_empty()).collect();
    let header = |name: &str| {
        let line = headers.iter().find(|it| it.to_ascii_lowercase().starts_with(name))?;
        Some(line[name.len()..].trim().to_owned())
    };
    let path = first.split(' ').nth(1)?.split('?').next()?.to_owned();
    let range = header("range: bytes=").and_then(|it| {
        let (from, to) = it.split_once('-')?;
        Some(from.parse().ok()?..to.parse::<u64>().ok()? + 1)
    });
    let mut state = state.lock().unwrap();
    state.requests.push(format!("{first}\n{}", headers.join("\n")));
    if state.hung.iter().any(|it| path.starts_with(it)) {
        drop(state);
        thread::sleep(HANGING);
        return None;
    }
    if let Some((log, line)) = state.record.clone() {
        let agent = header("user-agent: ").unwrap_or_default();
        if let Some(File::Text(text)) = state.files.get_mut(&log) {
            text.extend(line(&path, &agent).bytes());
        }
    }
    let reply = match state.answers.get(&path) {
        Some((status, body)) => Reply::new(*status, "", body.clone().into_bytes()),
        None => node(&mut state, &path, range),
    };
    let mut body = reply.body;
    let mut is_cut = reply.is_cut;
    if reply.is_download
        && let Some((after, then)) = state.cut.take_if(|(after, _)| body.len() as u64 > *after)
    {
        body.truncate(after as usize);
        then(&mut state.files);
        is_cut = true;
    }
    let length = body.len();
    if reply.is_download
        && let Some(after) = state.stall.take_if(|after| body.len() as u64 > *after)
    {
        body.truncate(after as usize);
    }
    state.sent += body.len() as u64;
    drop(state);
    let mut stream = stream;
    let head = format!(
        "HTTP/1.1 {} X\r\nContent-Length: {}\r\n{}\r\n",
        reply.status, reply.length, reply.headers
    );
    // At once: the other side may wait before it acknowledges a first part.
    stream.write_all(&[head.as_bytes(), &body].concat()).ok()?;
    if body.len() < length {
        thread::sleep(HANGING);
    }
    (!is_cut).then_some(())
}

/// An answer, before it is sent.
pub struct Reply {
    pub status: u16,
    pub headers: String,
    /// What the headers say of the length of the body.
    pub length: usize,
    pub body: Vec<u8>,
    /// The connection ends after it.
    pub is_cut: bool,
    is_download: bool,
}

impl Reply {
    pub fn new(status: u16, headers: &str, body: Vec<u8>) -> Reply {
        let length = body.len();
        let headers = headers.to_owned();
        Reply { status, headers, length, body, is_cut: false, is_download: false }
    }
}

/// What is answered to a request for something of a node, with all that happens on the way.
fn node(state: &mut State, path: &str, range: Option<Range<u64>>) -> Reply {
    let number = state.asked;
    state.asked += 1;
    if let Some(before) = &mut state.before {
        before(number, &mut state.files);
    }
    let reply = file(state, path, range.clone());
    match state.tamper {
        Some(tamper) => tamper(Asked { path, range, number }, reply),
        None => reply,
    }
}

/// The kubelet's file server behind the node proxy.
fn file(state: &State, path: &str, range: Option<Range<u64>>) -> Reply {
    let missing = || Reply::new(404, "", b"404 page not found\n".to_vec());
    let below = path.strip_prefix("/api/v1/nodes/").and_then(|it| it.split_once("/proxy/logs/"));
    let Some((node, file)) = below else { return missing() };
    let path = format!("{node}/{file}");
    if path.ends_with('/') {
        let below = state.files.keys().filter_map(|it| it.strip_prefix(&path));
        let mut names: Vec<&str> =
            below.map(|it| &it[..it.find('/').map_or(it.len(), |at| at + 1)]).collect();
        names.dedup();
        let links: String = names.iter().map(|it| format!("<a href=\"{it}\">{it}</a>\n")).collect();
        return Reply::new(200, "", format!("<!doctype html>\n<pre>\n{links}</pre>\n").into());
    }
    let Some(file) = state.files.get(&path) else { return missing() };
    let size = file.size();
    let Some(range) = range else { return Reply::new(200, "", file.bytes(0..size)) };
    if range.start >= size {
        let headers = format!("Content-Range: bytes */{size}\r\n");
        return Reply::new(416, &headers, b"invalid range: failed to overlap\n".to_vec());
    }
    let range = range.start..range.end.min(size);
    let headers = format!("Content-Range: bytes {}-{}/{size}\r\n", range.start, range.end - 1);
    let is_download = range.end - range.start > 4096;
    Reply { is_download, ..Reply::new(206, &headers, file.bytes(range)) }
}
