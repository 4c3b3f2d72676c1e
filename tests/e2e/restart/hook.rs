//! A mutating webhook, called over TLS as the API server wants it: openssl holds the connection, this
//! answers what comes out of it.

use std::{
    fs,
    io::{Read, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    thread::spawn,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use super::super::cluster::run;

/// Where it listens.
pub const URL: &str = "https://10.77.0.1:9443/";

/// The webhook while it runs.
pub struct Hook {
    server: Child,
    /// Its certificate, as webhook configurations have it.
    pub bundle: String,
}

impl Hook {
    /// Starts it; key and certificate are written into the folder.
    pub fn start(folder: &Path) -> Hook {
        let (key, certificate) = (folder.join("hook.key"), folder.join("hook.crt"));
        run(Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"])
            .args(["-noenc", "-days", "2", "-subj", "/CN=hook"])
            .args(["-addext", "subjectAltName=IP:10.77.0.1", "-keyout"])
            .arg(&key)
            .arg("-out")
            .arg(&certificate))
        .ok();
        let bundle = fs::read(&certificate).expect("it was written");
        let mut server = Command::new("openssl")
            .args(["s_server", "-quiet", "-accept", "10.77.0.1:9443", "-key"])
            .arg(&key)
            .arg("-cert")
            .arg(&certificate)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl can be started");
        let input = server.stdin.take().expect("it is piped");
        let output = server.stdout.take().expect("it is piped");
        spawn(move || answer(output, input));
        Hook { server, bundle: BASE64_STANDARD.encode(bundle) }
    }
}

impl Drop for Hook {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Adds an annotation to each object that is asked about, until openssl ends.
fn answer(mut requests: ChildStdout, mut answers: ChildStdin) -> Option<()> {
    loop {
        let review: Value = serde_json::from_slice(&body(&mut requests)?).ok()?;
        let patch = r#"[{"op":"add","path":"/metadata/annotations","value":{"hooked":"yes"}}]"#;
        let response = json!({
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "response": {
                "uid": review["request"]["uid"],
                "allowed": true,
                "patchType": "JSONPatch",
                "patch": BASE64_STANDARD.encode(patch),
            },
        });
        let text = response.to_string();
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length:";
        write!(answers, "{head} {}\r\n\r\n{text}", text.len()).ok()?;
        answers.flush().ok()?;
    }
}

/// The body of the next request.
fn body(requests: &mut ChildStdout) -> Option<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        requests.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let length = head.lines().find_map(|it| it.strip_prefix("content-length:"))?;
    let mut body = vec![0; length.trim().parse().ok()?];
    requests.read_exact(&mut body).ok()?;
    Some(body)
}
