//! What a person gets for input that is not as it should be: the rest is counted, the message says
//! where and what to do, and nothing hangs or grows.
#![cfg(unix)]

use std::{
    fs,
    io::Write,
    os::unix::{
        fs::{PermissionsExt, symlink},
        process::CommandExt,
    },
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use flate2::{Compression, write::GzEncoder};
use tempfile::TempDir;

/// The user that owns nothing.
const NOBODY: u32 = 65534;
const PROGRAM: &str = env!("CARGO_BIN_EXE_kubectl-audit");

/// The first lines of the example, 20 of them.
fn lines() -> Vec<String> {
    let text = fs::read_to_string("examples/audit.log").unwrap();
    text.lines().take(20).map(|it| format!("{it}\n")).collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

/// One block that is not packed, and a checksum that is left out (RFC 8878, section 3.1.1).
fn zstd(bytes: &[u8]) -> Vec<u8> {
    let size = u32::try_from(bytes.len()).unwrap();
    let mut packed = vec![0x28, 0xb5, 0x2f, 0xfd, 0xa0];
    packed.extend(size.to_le_bytes());
    packed.extend(&(size << 3 | 1).to_le_bytes()[..3]);
    packed.extend(bytes);
    packed
}

struct Said {
    status: i32,
    events: u64,
    /// Standard error.
    text: String,
}

/// Counts events of what is at `path` in `folder`.
fn count(folder: &Path, path: &str, flags: &[&str]) -> Said {
    count_by(Command::new(PROGRAM), folder, path, flags)
}

fn count_by(mut program: Command, folder: &Path, path: &str, flags: &[&str]) -> Said {
    program.current_dir(folder).args(["stats", "--events", "-o", "json"]).args(flags).arg(path);
    let start = Instant::now();
    let out = program.output().unwrap();
    assert!(start.elapsed() < Duration::from_secs(30), "{path} takes too long");
    let events = match serde_json::from_slice::<serde_json::Value>(&out.stdout) {
        Ok(report) => report["input"]["events"].as_u64().unwrap(),
        Err(_) => 0,
    };
    let text = String::from_utf8(out.stderr).unwrap();
    Said { status: out.status.code().expect("it ends by itself"), events, text }
}

/// A file with this content: so many events are counted, this is the status, and of each of `words`
/// something is said.
#[track_caller]
fn check(content: &[u8], flags: &[&str], events: u64, status: i32, words: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("audit.log"), content).unwrap();
    let said = count(folder.path(), "audit.log", flags);
    assert_eq!((said.events, said.status), (events, status), "{}", said.text);
    words.iter().for_each(|it| assert!(said.text.contains(it), "no `{it}` in:\n{}", said.text));
}

/// The second line is changed so; the others are counted.
#[track_caller]
fn one_line(from: &str, to: &str, events: u64, words: &[&str]) {
    let mut lines = lines();
    assert!(lines[1].contains(from), "{}", lines[1]);
    lines[1] = lines[1].replacen(from, to, 1);
    check(lines.concat().as_bytes(), &[], events, 0, words);
}

#[test]
fn nothing_there() {
    check(b"", &[], 0, 0, &["0 events from 1 file"]);
    check(b"\n \n\n", &[], 0, 0, &["0 events"]);
    let folder = tempfile::tempdir().unwrap();
    let said = count(folder.path(), "nowhere.log", &[]);
    assert_eq!(said.status, 2);
    assert!(said.text.starts_with("error: there is no `nowhere.log`\nhint: "), "{}", said.text);
    fs::write(folder.path().join("README.md"), "# Notes\n").unwrap();
    let said = count(folder.path(), ".", &[]);
    assert_eq!(said.status, 2);
    assert!(
        said.text.contains("passed over 1 file") && said.text.contains("hint: "),
        "{}",
        said.text
    );
}

#[test]
fn what_is_there_beside_what_is_not() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("audit.log"), lines().concat()).unwrap();
    let said = count(folder.path(), "audit.log", &["nowhere.log"]);
    assert_eq!((said.events, said.status), (20, 2), "{}", said.text);
}

#[test]
fn no_permission() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.log");
    fs::write(&path, lines().concat()).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    let readable = folder.path().join("other.log");
    fs::write(&readable, lines().concat()).unwrap();
    let mut program = Command::new(PROGRAM);
    // Root may read everything: then nobody runs a copy, since the way to the program may be closed.
    if fs::File::open(&path).is_ok() {
        for (of, mode) in [(folder.path(), 0o755), (&readable, 0o644)] {
            fs::set_permissions(of, fs::Permissions::from_mode(mode)).unwrap();
        }
        let copy = folder.path().join("kubectl-audit");
        // By another process: a program that this one has open for writing cannot be run, and a test
        // beside this one may just be forking.
        assert!(Command::new("cp").args([Path::new(PROGRAM), &copy]).status().unwrap().success());
        program = Command::new(copy);
        program.uid(NOBODY).gid(NOBODY);
    }
    let said = count_by(program, folder.path(), "audit.log", &["other.log"]);
    assert_eq!((said.events, said.status), (20, 2), "{}", said.text);
    let hint = "hint: API servers write audit logs for root only";
    assert!(said.text.contains("audit.log") && said.text.contains(hint), "{}", said.text);
}

#[test]
fn other_bytes() {
    let text = lines().concat();
    let mut state = 7_u32;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    });
    let noise: Vec<u8> = [b'x'].into_iter().chain(noise.take(5_000)).collect();
    check(&noise, &[], 0, 0, &["audit.log:1: not a JSON object", "is this the right file?"]);
    let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    check(&[b"\xff\xfe", &*wide].concat(), &[], 0, 2, &["UTF-16", "hint: convert it first: iconv"]);
    check(&wide, &[], 0, 0, &["audit.log:1: UTF-16: convert it"]);
    check(format!("\u{feff}{text}").as_bytes(), &[], 20, 0, &[]);
    check(format!("{}\0\0\0\n{text}", lines()[0]).as_bytes(), &[], 21, 0, &["audit.log:2: "]);
    check(
        format!("# notes\n{text}").as_bytes(),
        &[],
        20,
        0,
        &["audit.log:1: not a JSON object, but `# notes`"],
    );
    check(b"\x1b]0;x\x07\x1b[2J\n", &[], 0, 0, &["\\u001b[2J"]);
    let dos = text.replace('\n', "\r\n");
    check(dos.as_bytes(), &["--strict"], 20, 0, &[]);
}

#[test]
fn odd_values() {
    one_line("\"verb\":\"", "\"verb\":\"\\ud800", 20, &[]);
    one_line("\"verb\":", "\"x\":1e999,\"verb\":", 20, &[]);
    one_line("\"code\":404", "\"code\":1e999", 20, &[]);
    let deep =
        format!("\"requestObject\":{}{},\"verb\":", "[".repeat(100_000), "]".repeat(100_000));
    one_line("\"verb\":", &deep, 20, &[]);
    one_line("{", &"[".repeat(100_000), 19, &["audit.log:2: not a JSON object, but `[[["]);
    one_line("{", &"{\"a\":".repeat(100_000), 19, &["audit.log:2: "]);
    one_line(
        "\"level\":\"",
        "\"level\":\"Most",
        19,
        &["audit.log:2: unknown level `MostMetadata`"],
    );
    one_line("\"stage\":\"", "\"stage\":\"No", 19, &["audit.log:2: unknown stage `No"]);
    for time in ["2026-13-22", "99999999-11-22", "-1-11-22"] {
        let wrong = format!("\"stageTimestamp\":\"{time}");
        // The time of the request takes its place.
        one_line("\"stageTimestamp\":\"2026-11-22", &wrong, 20, &[]);
    }
    let mut bytes = lines().concat().into_bytes();
    let at = bytes.windows(9).position(|it| it == b"\"verb\":\"d").unwrap() + 8;
    bytes[at] = 0xff;
    check(&bytes, &[], 20, 0, &[]);
}

#[test]
fn strictness_ends_at_the_first_bad_line() {
    let text = format!("{}oops\n{}", lines()[0], lines()[1]);
    check(
        text.as_bytes(),
        &["--strict"],
        0,
        2,
        &["error: audit.log:2: not a JSON object, but `oops`", "hint: "],
    );
}

#[test]
fn long_lines() {
    let mut lines = lines();
    lines[1] =
        lines[1].replacen("\"verb\":", &format!("\"x\":\"{}\",\"verb\":", "y".repeat(9_000)), 1);
    let text = lines.concat();
    check(
        text.as_bytes(),
        &["--max-line", "8K"],
        19,
        0,
        &["audit.log:2: longer than 8192 bytes", "--max-line"],
    );
    check(text.as_bytes(), &["--max-line", "10K"], 20, 0, &[]);
    check(&gzip(text.as_bytes()), &["--max-line", "8K"], 19, 0, &["audit.log:2: longer than"]);
}

#[test]
fn half_a_last_line() {
    let text = lines().concat();
    check(&text.as_bytes()[..text.len() - 100], &[], 20, 0, &["1 event cut off", "mid-writing"]);
    let start = text.trim_end().rfind('\n').unwrap() + 30;
    check(&text.as_bytes()[..start], &[], 19, 0, &["audit.log:20: "]);
}

#[test]
fn packed_and_damaged() {
    let text = lines().concat();
    let (gz, zst) = (gzip(text.as_bytes()), zstd(text.as_bytes()));
    check(&gz, &[], 20, 0, &[]);
    check(&zst, &[], 20, 0, &[]);
    let hint = "hint: what could be read before that was used; copy the file again";
    check(&gz[..gz.len() - 4], &[], 20, 2, &["error: `audit.log` ends too early", hint]);
    check(&zst[..zst.len() - 4], &[], 20, 2, &["error: `audit.log` ends too early", hint]);
    let with_more = |packed: &[u8]| [packed, b"more"].concat();
    check(&with_more(&gz), &[], 20, 2, &["bytes follow the end of the compressed data", hint]);
    check(&with_more(&zst), &[], 20, 2, &["bytes follow the end of the compressed data", hint]);
    let mut wrong_sum = gz.clone();
    let at = gz.len() - 6;
    wrong_sum[at] ^= 1;
    check(&wrong_sum, &[], 20, 2, &["error: `audit.log` is damaged", hint]);
    check(b"\xfd7zXZ\0\0\0", &[], 0, 2, &["error: `audit.log` is xz", "hint: unpack it first"]);
}

/// 96 MiB of one line, of empty ones, or of a document that never ends, packed: read in no more memory
/// than is given.
#[test]
fn decompression_bombs() {
    let folder = tempfile::tempdir().unwrap();
    for (filling, events) in [(&b"x"[..], 1), (b"\n", 1), (b"[", 0), (b"{\"a\":", 1)] {
        let mut bomb = GzEncoder::new(Vec::new(), Compression::fast());
        let block = filling.repeat((1 << 20) / filling.len());
        (0..48).for_each(|_| bomb.write_all(&block).unwrap());
        bomb.write_all(format!("\n{}", lines()[0]).as_bytes()).unwrap();
        fs::write(folder.path().join("audit.log.gz"), bomb.finish().unwrap()).unwrap();
        let mut shell = Command::new("sh");
        // Address space, with the program itself and what threads reserve: less than the bomb would take.
        let script = "ulimit -v 64000; exec \"$0\" stats --events --threads 1 --max-line 1M -o json audit.log.gz";
        shell.args(["-c", script, env!("CARGO_BIN_EXE_kubectl-audit")]);
        let out = shell.current_dir(folder.path()).output().unwrap();
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "{said}");
        assert!(said.starts_with(&format!("{events} event")), "{said}");
    }
}

#[test]
fn archives() {
    let text = lines().concat();
    let mut tar = tar::Builder::new(Vec::new());
    for name in ["../../audit.log", "/etc/audit.log"] {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(text.len() as u64);
        header.set_cksum();
        tar.append(&header, text.as_bytes()).unwrap();
    }
    let tar = tar.into_inner().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let below = folder.path().join("a/b/c");
    fs::create_dir_all(&below).unwrap();
    fs::write(below.join("x.tar"), &tar).unwrap();
    let said = count(&below, "x.tar", &[]);
    assert_eq!((said.events, said.status), (40, 0), "{}", said.text);
    assert!(!folder.path().join("a/audit.log").exists(), "names are only shown");
    check(
        &tar[..text.len()],
        &[],
        20,
        2,
        &["error: `audit.log!../../audit.log` ends too early", "1 event cut off"],
    );
}

#[test]
fn links_and_fifos() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("audit.log"), lines().concat()).unwrap();
    symlink(".", at("again")).unwrap();
    symlink("b", at("a")).unwrap();
    symlink("a", at("b")).unwrap();
    symlink("audit.log", at("audit-2.log")).unwrap();
    assert!(Command::new("mkfifo").arg(at("pipe")).status().unwrap().success());
    let said = count(folder.path(), ".", &[]);
    assert_eq!((said.events, said.status), (20, 0), "{}", said.text);
    fifo(&folder);
}

/// A FIFO that is named is read to its end.
fn fifo(folder: &TempDir) {
    let pipe = folder.path().join("pipe");
    let writer = std::thread::spawn(move || fs::write(pipe, lines().concat()).unwrap());
    let said = count(folder.path(), "pipe", &[]);
    writer.join().unwrap();
    assert_eq!((said.events, said.status), (20, 0), "{}", said.text);
}

/// Each shape that collectors and clouds make of a log is found alone in a folder; other files are not.
#[test]
fn logs_in_folders() {
    for entry in fs::read_dir("tests/data/shapes").unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if ["expected.txt", "utf16.log"].contains(&name) {
            continue;
        }
        let folder = tempfile::tempdir().unwrap();
        fs::copy(&path, folder.path().join(name)).unwrap();
        let said = count(folder.path(), ".", &[]);
        assert!(said.status == 0 && said.events > 0, "{name}: {}", said.text);
        let Ok(text) = fs::read_to_string(&path) else { continue };
        // As other tools write the same: a mark at the start, their line ends, quotes by number.
        let other = text.replace("\\\"", "\\u0022").replace('\n', "\r\n");
        fs::write(folder.path().join(name), format!("\u{feff}{other}")).unwrap();
        let again = count(folder.path(), ".", &[]);
        assert_eq!((again.events, again.status), (said.events, 0), "{name}: {}", again.text);
    }
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, content: &[u8]| fs::write(folder.path().join(name), content).unwrap();
    put("manifest.json", br#"{"apiVersion":"kubectl-audit/v1","kind":"FetchManifest","files":[{"file":"cp-1/audit.log","auditID":"1"}]}"#);
    put("picture.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR");
    put(
        "stats.json",
        br#"{"kind":"StatsReport","keys":["auditID","stage","requestURI"],"rows":[]}"#,
    );
    for other in
        ["README.md", "tests/data/policy/policies/p04-docs-example.yaml", "examples/rbac.json"]
    {
        put(other.rsplit('/').next().unwrap(), &fs::read(other).unwrap());
    }
    let said = count(folder.path(), ".", &[]);
    assert_eq!((said.events, said.status), (0, 2), "{}", said.text);
    assert!(said.text.contains("passed over 5 files"), "{}", said.text);
}

#[test]
fn quiet_says_nothing_but_errors() {
    let said = |args: &[&str]| {
        let mut program = Command::new(env!("CARGO_BIN_EXE_kubectl-audit"));
        let out = program.args(args).args(["-q", "tests/data/shapes/cut.log"]).output().unwrap();
        String::from_utf8(out.stderr).unwrap()
    };
    for command in ["stats", "events", "execs"] {
        assert_eq!(said(&[command, "-F", "user.usernam=x", "--user", "ann"]), "", "{command}");
    }
    assert!(said(&["stats", "nowhere.log"]).starts_with("error: there is no `nowhere.log`"));
}
