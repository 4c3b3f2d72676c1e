//! What happens to inputs of every kind, good and bad, as a user sees it.

use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
};

use flate2::{Compression, write::GzEncoder};

/// A log of this many events, each of them different.
fn log(events: usize) -> Vec<u8> {
    let event = |n| {
        format!(
            r#"{{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"{n}","stage":"ResponseComplete","requestURI":"/api/v1/pods","verb":"list","user":{{"username":"ann"}},"stageTimestamp":"2026-11-22T10:00:{:02}.{:06}Z"}}"#,
            n / 1000 % 60,
            n * 7919 % 1_000_000
        ) + "\n"
    };
    (0..events).map(event).collect::<String>().into_bytes()
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn zstd(text: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).expect("an encoder");
    // As the `zstd` program does.
    encoder.include_checksum(true).expect("a parameter");
    encoder.write_all(text).expect("memory can be written");
    encoder.finish().expect("memory can be written")
}

fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        // The builder refuses names that an attacker would write.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(content.len() as u64);
        header.set_cksum();
        builder.append(&header, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

fn run(folder: &Path, args: &str, stdin: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_kubectl-audit"))
        .args(["stats", "-o", "json"])
        .args(args.split_whitespace())
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that has enough closes its end.
    let _ = child.stdin.take().unwrap().write_all(stdin);
    child.wait_with_output().unwrap()
}

/// `EVENTS events of FILES files in LOGS logs`, then standard error, then `exit STATUS`.
fn shown(output: &Output) -> String {
    let mut lines = Vec::new();
    if !output.stdout.is_empty() {
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let input = &report["input"];
        lines.push(format!(
            "{} events of {} files in {} logs",
            input["events"], input["files"], input["logs"]
        ));
    }
    // What was read is told in JSON already: the summary for people is left out.
    let is_told =
        |it: &&str| ["note: ", "error: ", "hint: "].iter().any(|kind| it.starts_with(kind));
    let stderr = String::from_utf8(output.stderr.clone()).unwrap();
    lines.extend(stderr.lines().filter(is_told).map(str::to_owned));
    lines.push(format!("exit {}", output.status.code().unwrap()));
    lines.join("\n")
}

/// Runs `stats` in a folder of these files.
#[track_caller]
fn check(files: &[(&str, &[u8])], args: &str, expected: &str) {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    assert_eq!(shown(&run(folder.path(), args, b"")), expected, "{args}");
}

#[track_caller]
fn check_stdin(content: &[u8], expected: &str) {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(shown(&run(folder.path(), "-", content)), expected);
}

/// What stands behind samples of skipped lines.
const SKIPPED: &str = "hint: all other lines are used; --strict makes such a line an error";
const COPY_AGAIN: &str =
    "hint: what could be read before that was used; copy the file again to have all of it";
const MISSING: &str =
    "hint: check the path; on a kubeadm node audit logs are often under /var/log/kubernetes/audit/";

#[test]
fn every_packing() {
    let text = log(500);
    let members = [gzip(&text[..]), gzip(&text[..])].concat();
    let archive =
        tar(&[("a/audit.log", &text), ("a/audit.log.1", &gzip(&text)), ("README", b"no")]);
    let files: &[(&str, &[u8])] = &[
        ("plain", &text),
        ("members", &members),
        ("zstd", &zstd(&text)),
        ("tar", &archive),
        ("tgz", &gzip(&archive)),
        ("tar.zst", &zstd(&archive)),
        ("nested", &gzip(&tar(&[("inner.tgz", &gzip(&archive))]))),
    ];
    check(files, "plain", "500 events of 1 files in 1 logs\nexit 0");
    check(files, "members", "1000 events of 1 files in 1 logs\nexit 0");
    check(files, "zstd", "500 events of 1 files in 1 logs\nexit 0");
    for name in ["tar", "tgz", "tar.zst"] {
        check(
            files,
            name,
            &format!(
                "1000 events of 2 files in 1 logs\nnote: passed over 1 file that is no audit log: {name}!README\nexit 0"
            ),
        );
    }
    check(
        files,
        "nested",
        "1000 events of 2 files in 1 logs\nnote: passed over 1 file that is no audit log: nested!inner.tgz!README\nexit 0",
    );
    check(files, "plain zstd --threads 2", "1000 events of 2 files in 2 logs\nexit 0");
    check(
        files,
        ". --threads 2",
        "6000 events of 11 files in 7 logs\nnote: passed over 4 files that are no audit logs: ./nested!inner.tgz!README, ./tar!README, ./tar.zst!README, ...\nexit 0",
    );
}

#[test]
fn standard_input() {
    let text = log(3);
    check_stdin(&text, "3 events of 1 files in 1 logs\nexit 0");
    check_stdin(&gzip(&text), "3 events of 1 files in 1 logs\nexit 0");
    check_stdin(&zstd(&text), "3 events of 1 files in 1 logs\nexit 0");
    check_stdin(&gzip(&tar(&[("audit.log", &text)])), "3 events of 1 files in 1 logs\nexit 0");
    check_stdin(b"", "0 events of 1 files in 1 logs\nexit 0");
}

#[test]
fn nothing_named() {
    check(
        &[],
        "--kubeconfig=none",
        "error: cannot read the kubeconfig `none`: file not found\nhint: name another file with \
         --kubeconfig, or leave the flag out for $KUBECONFIG or ~/.kube/config\nexit 2",
    );
}

#[test]
fn empty_file() {
    check(&[("audit.log", b"")], "audit.log", "0 events of 1 files in 1 logs\nexit 0");
    check(&[("audit.log", b""), ("a.log", &log(1))], ".", "1 events of 1 files in 1 logs\nexit 0");
}

#[test]
fn folder_without_logs() {
    check(
        &[("x/README.md", b"# Events")],
        "x",
        "note: passed over 1 file that is no audit log: x/README.md\n\
         error: no audit log in `x`\n\
         hint: nothing there looks like audit events; a file named itself is always read\n\
         exit 2",
    );
}

#[test]
fn archive_without_logs() {
    check(
        &[("x.tar", &tar(&[("README.md", b"# Events")])), ("audit.log", &log(2))],
        "x.tar audit.log",
        "2 events of 1 files in 1 logs\n\
         note: passed over 1 file that is no audit log: x.tar!README.md\n\
         error: no audit log in `x.tar`\n\
         hint: nothing there looks like audit events; a file named itself is always read\n\
         exit 2",
    );
}

#[test]
fn missing_path() {
    check(&[], "none", &format!("error: there is no `none`\n{MISSING}\nexit 2"));
    check(
        &[("audit.log", &log(2))],
        "none audit.log",
        &format!("2 events of 1 files in 1 logs\nerror: there is no `none`\n{MISSING}\nexit 2"),
    );
}

#[test]
fn truncated() {
    // Numbers that do not repeat, so that what is cut off is far from the start.
    let text = log(5_000);
    for packed in [gzip(&text), zstd(&text)] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("audit.log"), &packed[..packed.len() * 9 / 10]).unwrap();
        let output = run(folder.path(), "audit.log", b"");
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(report["input"]["events"].as_u64().unwrap() > 3_000);
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.starts_with(&format!("error: `audit.log` ends too early\n{COPY_AGAIN}\n")));
        assert_eq!(output.status.code(), Some(2));
    }
}

#[test]
fn truncated_archive() {
    let text = log(1_000);
    let archive = tar(&[("a.log", &text), ("b.log", &text)]);
    let events = 1_000 + 7;
    check(
        &[("x.tar", &archive[..text.len() + 3_000])],
        "x.tar",
        &format!(
            "{events} events of 2 files in 2 logs\nerror: `x.tar!b.log` ends too early\n{COPY_AGAIN}\n{SKIPPED}\nexit 2"
        ),
    );
}

#[test]
fn garbage_after_gzip() {
    let packed = [gzip(&log(10)), b"garbage".to_vec()].concat();
    check(
        &[("audit.log.gz", &packed)],
        "audit.log.gz",
        &format!(
            "10 events of 1 files in 1 logs\n\
             error: `audit.log.gz` is damaged: bytes follow the end of the compressed data that belong to no gzip member\n\
             {COPY_AGAIN}\nexit 2"
        ),
    );
}

#[test]
fn hostile_names_in_an_archive() {
    let text = log(1);
    let archive =
        tar(&[("../../../etc/passwd", &text), ("/etc/shadow", &text), ("a\x1b[2Jb", b"x")]);
    check(
        &[("x.tar", &archive)],
        "x.tar",
        "2 events of 2 files in 2 logs\n\
         note: passed over 1 file that is no audit log: x.tar!a\\u001b[2Jb\nexit 0",
    );
}

#[test]
fn foreign_packing() {
    check(
        &[("a.log", &log(1)), ("x.zip", b"PK\x03\x04rest"), ("u.log", b"\xff\xfe{\0")],
        "x.zip u.log a.log",
        "1 events of 1 files in 1 logs\n\
         error: `x.zip` is zip, which is not read here\n\
         hint: unpack it first; plain text, gzip, zstd and tar are read as they are\n\
         error: `u.log` is UTF-16 text, which is not read here\n\
         hint: convert it first: iconv -f UTF-16 -t UTF-8 'u.log'\nexit 2",
    );
}

#[test]
fn the_same_file_twice() {
    let files: &[(&str, &[u8])] = &[("audit.log", &log(5)), ("audit.log.1.gz", &gzip(&log(5)))];
    check(files, "audit.log audit.log", "10 events of 2 files in 1 logs\nexit 0");
    check(files, ".", "10 events of 2 files in 1 logs\nexit 0");
    check(files, ". --unique", "5 events of 2 files in 1 logs\nexit 0");
}

/// Rotated files outside the window are passed over: plain ones by their lines, packed ones by name.
#[test]
fn windows_of_time() {
    let day = |n: u8| {
        let text = String::from_utf8(log(500)).unwrap();
        text.replace("2026-11-22", &format!("2026-11-{n:02}")).into_bytes()
    };
    let folder = tempfile::tempdir().unwrap();
    let packed = gzip(&day(20));
    fs::write(folder.path().join("audit-2026-11-21T00-00-00.000.log.gz"), &packed).unwrap();
    fs::write(folder.path().join("audit-2026-11-22T00-00-00.000.log"), day(21)).unwrap();
    fs::write(folder.path().join("audit.log"), day(22)).unwrap();
    let unread = |args: &str| {
        let output = run(folder.path(), args, b"");
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        (report["total"]["matched"].clone(), report["input"]["unreadBytes"].as_u64().unwrap())
    };
    let (old, middle) = (packed.len() as u64, day(21).len() as u64);
    assert_eq!(unread(". --since 2026-11-22"), (500.into(), old + middle));
    assert_eq!(
        unread(". --since 2026-11-21T01:00:00Z --until 2026-11-21T23:00:00Z"),
        (500.into(), old + middle)
    );
    assert_eq!(unread(". --since 2026-11-22 --no-skip"), (500.into(), 0));
    assert_eq!(unread(". --since 2026-11-22 --strict"), (500.into(), 0));
    assert_eq!(unread("."), (1500.into(), 0));
}

/// Which files are opened, as the kernel counts it.
#[cfg(target_os = "linux")]
mod opened {
    use std::{collections::BTreeSet, mem::MaybeUninit};

    use rustix::fs::inotify;

    use super::*;

    /// Files as an API server rotates them, one a day; every second one packed.
    fn rotated() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let day = |n: u8| {
            let text = String::from_utf8(log(50)).unwrap();
            text.replace("2026-11-22", &format!("2026-11-{n:02}")).into_bytes()
        };
        for n in 1..22 {
            let name = format!("audit-2026-11-{:02}T00-00-00.000.log", n + 1);
            let path = folder.path().join(name);
            if n % 2 == 0 {
                fs::write(path.with_extension("log.gz"), gzip(&day(n))).unwrap();
            } else {
                fs::write(path, day(n)).unwrap();
            }
        }
        fs::write(folder.path().join("audit.log"), day(22)).unwrap();
        folder
    }

    /// The count, and the names of the files of the folder that were opened for it.
    fn counted(folder: &Path, args: &str) -> (serde_json::Value, BTreeSet<String>) {
        let watch =
            inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC).unwrap();
        inotify::add_watch(&watch, folder, inotify::WatchFlags::OPEN).unwrap();
        let output = run(folder, args, b"");
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();

        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(watch, &mut buffer);
        let mut names = BTreeSet::new();
        while let Ok(event) = events.next() {
            assert!(!event.events().contains(inotify::ReadFlags::QUEUE_OVERFLOW));
            // The folder itself has no name here.
            names.extend(event.file_name().map(|name| name.to_string_lossy().into_owned()));
        }
        (report["total"]["matched"].clone(), names)
    }

    #[track_caller]
    fn check(args: &str, matched: u64, expected: &[&str]) {
        let folder = rotated();
        let (count, names) = counted(folder.path(), args);
        assert_eq!(count, matched, "{args}");
        assert_eq!(names.iter().map(String::as_str).collect::<Vec<_>>(), expected, "{args}");
    }

    #[test]
    fn a_window_opens_no_file_outside_of_it() {
        check(". --since 2026-11-22T01:00:00Z", 50, &["audit.log"]);
        check(
            ". --since 2026-11-21T01:00:00Z",
            100,
            &["audit-2026-11-22T00-00-00.000.log", "audit.log"],
        );
        check(
            ". --since 2026-11-10T01:00:00Z --until 2026-11-10T23:00:00Z",
            50,
            &["audit-2026-11-11T00-00-00.000.log.gz"],
        );
        check(
            ". --until 2026-11-02T23:00:00Z",
            100,
            &["audit-2026-11-02T00-00-00.000.log", "audit-2026-11-03T00-00-00.000.log.gz"],
        );
    }

    #[test]
    fn without_a_window_every_file_is_opened() {
        let folder = rotated();
        for args in [".", ". --since 2026-11-22 --no-skip"] {
            assert_eq!(counted(folder.path(), args).1.len(), 22, "{args}");
        }
    }
}

#[test]
fn a_folder_of_unfinished_copies_says_how_to_resume() {
    let text = log(3);
    let files: &[(&str, &[u8])] = &[("copy/cp-1/audit.log.part", &text)];
    check(
        files,
        "copy",
        "error: no finished copy of an audit log in `copy`: `copy/cp-1/audit.log.part` is not complete\n\
         hint: run the same `kubectl audit fetch -o copy` again to resume the copy, or name the .part file itself\n\
         exit 2",
    );
    // Named itself it is a log like any other.
    check(files, "copy/cp-1/audit.log.part", "3 events of 1 files in 1 logs\nexit 0");
}

#[cfg(unix)]
mod unix {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn no_permission() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret.log");
        fs::write(&path, log(1)).unwrap();
        fs::write(folder.path().join("audit.log"), log(2)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o0)).unwrap();
        if fs::File::open(&path).is_ok() {
            return; // Root may read everything.
        }
        let expected = "2 events of 1 files in 1 logs\n\
             error: no permission to read `secret.log`\n\
             hint: API servers write audit logs for root only: read as root, or copy the file first\nexit 2";
        assert_eq!(shown(&run(folder.path(), "secret.log audit.log", b"")), expected);
    }

    #[test]
    fn symbolic_links() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("audit.log"), log(5)).unwrap();
        symlink("audit.log", folder.path().join("current.log")).unwrap();
        symlink(".", folder.path().join("loop")).unwrap();
        assert_eq!(shown(&run(folder.path(), ".", b"")), "5 events of 1 files in 1 logs\nexit 0");
    }

    #[test]
    fn fifo() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("audit.log"), log(5)).unwrap();
        let path = folder.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        assert_eq!(
            shown(&run(folder.path(), ".", b"")),
            "5 events of 1 files in 1 logs\nnote: passed over 1 file that is no audit log: ./pipe\nexit 0"
        );
        let writer = std::thread::spawn(move || fs::write(path, gzip(&log(7))).unwrap());
        assert_eq!(
            shown(&run(folder.path(), "pipe", b"")),
            "7 events of 1 files in 1 logs\nexit 0"
        );
        writer.join().unwrap();
    }

    #[test]
    fn device() {
        check(
            &[],
            "/dev/zero",
            "error: `/dev/zero` is a device\n\
             hint: to read from it nevertheless, redirect it: `- < /dev/zero`\nexit 2",
        );
    }
}

/// A gigabyte of zeros, and of one line, in a megabyte: read to the end in bounded memory.
#[cfg(target_os = "linux")]
#[test]
fn bomb() {
    for byte in [0, b'x'] {
        let folder = tempfile::tempdir().unwrap();
        let member = gzip(&vec![byte; 16 << 20]);
        let start = gzip(&log(1));
        fs::write(folder.path().join("bomb.gz"), [start, member.repeat(64)].concat()).unwrap();
        let mut command = Command::new("sh");
        // The limit is on address space, of which threads' stacks take a part.
        let line = format!(
            "ulimit -v 600000; exec '{}' stats --threads 1 -o json bomb.gz",
            env!("CARGO_BIN_EXE_kubectl-audit")
        );
        let output = command.args(["-c", &line]).current_dir(folder.path()).output().unwrap();
        assert_eq!(shown(&output), format!("1 events of 1 files in 1 logs\n{SKIPPED}\nexit 0"));
    }
}
