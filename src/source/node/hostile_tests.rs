//! Logs that are renamed while they are read, and servers that answer wrongly: the right lines or a clear
//! message, with a bounded number of requests.

use std::io::Read;

use super::{
    tests::{FOLDER, PATH, found, lines, put, second, server, text},
    *,
};
use crate::{
    cluster::fake::{Asked, File, Reply, Server},
    decode::Projection,
    filter::Filter,
    pipeline::{Reading, fold},
    source::Opened,
};

/// Counts lines within a window as a command does, and says what failed.
fn counted(server: &Server, window: Window) -> (u64, Vec<String>) {
    let query = NodeQuery { window, ..NodeQuery::default() };
    let mut found = found(server, &query);
    let mut projection = Projection::default();
    let stats = crate::analysis::stats::Stats::new(Default::default(), &mut projection);
    let filter = Filter::within(window);
    let reading = Reading { skip: Some(crate::source::Skip::default()), ..Reading::default() };
    let folded = fold(&found.logs, &reading, &projection, &filter, stats);
    assert_eq!(folded.input.skipped, 0, "whole lines only");
    found.failed.extend(folded.failed);
    (folded.report.total.matched, found.failed.iter().map(ToString::to_string).collect())
}

fn window(since: Option<i64>, until: Option<i64>) -> Window {
    Window { since: since.map(second), until: until.map(second) }
}

fn asked(server: &Server) -> usize {
    server.state.lock().unwrap().asked
}

/// The number of a line.
fn number(line: &[u8]) -> u64 {
    let line = std::str::from_utf8(line).unwrap();
    let (_, rest) = line.split_once(r#""auditID":""#).unwrap();
    rest[..rest.find('"').unwrap()].parse().unwrap()
}

#[test]
fn a_rename_while_planning_changes_no_count() {
    let server = server(&["cp-1"], PATH);
    let old = "audit-2027-01-15T07-59-00.000.log";
    let (log, next) = (lines(1_000..9_000), lines(9_000..9_100));
    for at in 0..200 {
        {
            let mut state = server.state.lock().unwrap();
            state.files.clear();
            state.asked = 0;
            let next = next.clone();
            state.before = Some(Box::new(move |number, files| {
                if number == at % 30 {
                    let live = files.remove(&format!("{FOLDER}audit.log")).unwrap();
                    files.insert(format!("{FOLDER}audit-2027-01-15T10-30-00.000.log"), live);
                    files.insert(format!("{FOLDER}audit.log"), File::Text(next.clone()));
                }
                // And once more, when what was renamed is looked for.
                if number == at % 30 + 1 + at / 30 {
                    let live = files.remove(&format!("{FOLDER}audit.log")).unwrap();
                    files.insert(format!("{FOLDER}audit-2027-01-16T10-03-20.000.log"), live);
                }
            }));
        }
        put(&server, old, lines(0..10));
        put(&server, "audit.log", log.clone());
        let query = NodeQuery { window: window(Some(2_500), Some(8_500)), ..NodeQuery::default() };
        let text = text(&found(&server, &query));
        let numbers = text.chunks(200).map(number).filter(|n| (2_500..=8_500).contains(n));
        assert_eq!(numbers.count(), 6_001, "renamed at request {at}");
        assert!(asked(&server) < 120, "{} requests", asked(&server));
    }
}

#[test]
fn rotation_at_every_request_ends() {
    let server = server(&["cp-1"], PATH);
    put(&server, "audit.log", lines(0..10_000));
    server.state.lock().unwrap().before = Some(Box::new(|number, files| {
        let live = files.remove(&format!("{FOLDER}audit.log")).unwrap();
        files.insert(format!("{FOLDER}audit-2027-01-15T18-{number:02}-20.000.log"), live);
        let next = 10_000 + number as u64;
        files.insert(format!("{FOLDER}audit.log"), File::Text(lines(next..next + 1)));
    }));
    let (count, failed) = counted(&server, window(None, Some(9_999)));
    assert_eq!((count, failed), (10_000, vec![]));
    assert!(asked(&server) < 100, "{} requests", asked(&server));
}

/// A server that changes its answers to requests for the live file, of 1.2 MB: how many lines of it are
/// counted, whether anything failed, and within how many requests.
#[track_caller]
fn check(tamper: fn(Asked<'_>, Reply) -> Reply, count: u64, failure: &str, most: usize) {
    let windows = [Window::default(), window(Some(-5), Some(1_000_000)), window(Some(5_000), None)];
    for (window, whole) in windows.into_iter().zip([true, true, false]) {
        let server = server(&["cp-1"], PATH);
        put(&server, "audit.log", lines(0..6_000));
        server.state.lock().unwrap().tamper = Some(tamper);
        let (counted, failed) = counted(&server, window);
        let count = if whole { count } else { count.saturating_sub(5_000) };
        assert_eq!(counted, count, "{failed:?}");
        assert!(failed.concat().contains(failure), "{failed:?}");
        assert_eq!(failed.is_empty(), failure.is_empty(), "{failed:?}");
        assert!(asked(&server) <= most, "{} requests", asked(&server));
    }
}

fn is_file(asked: &Asked<'_>) -> bool {
    asked.path.ends_with(".log")
}

#[test]
fn an_honest_server() {
    check(|_, reply| reply, 6_000, "", 30);
}

#[test]
fn all_in_place_of_a_range() {
    check(
        |asked, reply| match asked.range {
            Some(_) if is_file(&asked) => Reply::new(200, "", lines(0..6_000)),
            _ => reply,
        },
        6_000,
        "",
        30,
    );
}

#[test]
fn short_bodies() {
    check(
        |asked, mut reply| {
            if is_file(&asked) {
                reply.body.truncate(50_000);
                reply.length = reply.body.len();
            }
            reply
        },
        6_000,
        "",
        200,
    );
}

#[test]
fn a_proxy_that_cuts_at_every_64_kib() {
    check(
        |_, mut reply| {
            reply.is_cut |= reply.body.len() > 64 << 10;
            reply.body.truncate(64 << 10);
            reply
        },
        6_000,
        "",
        120,
    );
}

#[test]
fn a_connection_that_brings_hardly_anything() {
    let server = server(&["cp-1"], PATH);
    put(&server, "audit.log", lines(0..10_000));
    server.state.lock().unwrap().tamper = Some(|_, mut reply| {
        reply.is_cut |= reply.body.len() > 5_000;
        reply.body.truncate(5_000);
        reply
    });
    let (count, failed) = counted(&server, Window::default());
    assert_eq!(count, 6 * 25, "what was read is used");
    assert!(failed[0].contains("the connection to node `cp-1` broke"), "{failed:?}");
    assert!(asked(&server) < 40, "{} requests", asked(&server));
}

#[test]
fn never_a_range() {
    let refuse = |asked: Asked<'_>, reply| match asked.range {
        Some(range) if range.start > 0 => Reply::new(416, "", b"invalid range".to_vec()),
        _ => reply,
    };
    let server = server(&["cp-1"], PATH);
    put(&server, "audit.log", lines(0..10_000));
    server.state.lock().unwrap().tamper = Some(refuse);
    let (count, failed) = counted(&server, window(Some(8_000), None));
    assert_eq!((count, failed), (2_000, vec![]), "it is read from its beginning");
    assert!(asked(&server) < 60, "{} requests", asked(&server));
}

#[test]
fn another_size_each_time() {
    check(
        |asked, mut reply| {
            if is_file(&asked) {
                let size = 1_200_000 - asked.number;
                reply.headers = reply.headers.replace("/1200000", &format!("/{size}"));
            }
            reply
        },
        0,
        "rotated away while it was read",
        200,
    );
}

#[test]
fn another_range_than_asked_for() {
    check(
        |asked, mut reply| {
            if is_file(&asked) {
                reply.headers = reply.headers.replace("bytes ", "bytes 1");
            }
            reply
        },
        0,
        "answers with another range of `/var/log/kubernetes/audit/audit.log`",
        30,
    );
}

#[test]
fn redirects() {
    check(
        |_, _| Reply::new(302, "Location: https://192.0.2.1/\r\n", Vec::new()),
        0,
        "302, a redirect,",
        10,
    );
}

/// Four hundred rotated files that their names put outside the window.
#[test]
fn rotated_files_outside_the_window_cost_no_request() {
    let server = server(&["cp-1"], PATH);
    for n in 1..421 {
        let (hour, minute) = (8 + n / 60, n % 60);
        let name = format!("audit-2027-01-15T{hour:02}-{minute:02}-00.000.log");
        put(&server, &name, lines(60 * n - 10..60 * n));
    }
    put(&server, "audit.log", lines(25_200..30_200));
    let (count, failed) = counted(&server, window(Some(29_200), None));
    assert_eq!((count, failed), (1_000, vec![]));
    assert!(asked(&server) <= 6, "{} requests", asked(&server));

    // The same backwards: only the oldest file may hold something.
    server.state.lock().unwrap().asked = 0;
    let (count, failed) = counted(&server, window(None, Some(-400)));
    assert_eq!((count, failed), (0, vec![]));
    assert!(asked(&server) <= 6, "{} requests", asked(&server));
}

/// The clock was set back by an hour: bisecting would miss what came before.
#[test]
fn lines_out_of_order_are_read_whole() {
    let server = server(&["cp-1"], PATH);
    let mut log = lines(0..20_000);
    log.extend(lines(13_000..33_000));
    put(&server, "audit.log", log);
    for since in [14_000, 19_000, 21_500, 32_000] {
        let (count, failed) = counted(&server, window(Some(since), None));
        let expected = (33_000 - since).max(0) + (20_000 - since).max(0);
        assert_eq!((count, failed), (expected as u64, vec![]), "{since}");
    }
}

/// A line may be four minutes late, as in a file.
#[test]
fn late_lines_are_found() {
    let server = server(&["cp-1"], PATH);
    let late = |n: u64| if n.is_multiple_of(100) { n.saturating_sub(240) } else { n };
    put(&server, "audit.log", (0..20_000).flat_map(|n| lines(late(n)..late(n) + 1)).collect());
    for since in [1_111, 13_337, 19_200] {
        let expected = (0..20_000).filter(|n| late(*n) >= since).count();
        let (count, failed) = counted(&server, window(Some(since as i64), None));
        assert_eq!((count, failed), (expected as u64, vec![]), "{since}");
    }
}

/// The names say that the rotated file is too old, and its neighbour shows that names lie.
#[test]
fn names_that_lie_are_found_out() {
    let server = server(&["cp-1"], PATH);
    put(&server, "audit-2027-01-15T08-00-00.000.log", lines(0..10_000));
    put(&server, "audit.log", lines(5_000..20_000));
    put(&server, "audit-2027-01-15T12-00-00.000.log", lines(10_000..10_100));
    let (count, failed) = counted(&server, window(Some(9_000), None));
    assert_eq!((count, failed), (1_000 + 100 + 11_000, vec![]));
}

#[test]
fn a_hostile_listing() {
    let server = server(&["cp-1"], PATH);
    put(&server, "audit.log", lines(0..10));
    server.state.lock().unwrap().tamper = Some(|asked, reply| {
        if !asked.path.ends_with('/') {
            return reply;
        }
        let names =
            ["../audit.log", "..", "audit.log%0aerror:%20x", "audit.log", "audit.log.1%1b%5b2J"];
        let mut html: String =
            names.iter().map(|name| format!("<a href=\"{name}\">x</a>")).collect();
        for n in 0..10_000 {
            html += &format!("<a href=\"file-{n}.log\">x</a><a href=\"audit.log\">x</a>");
        }
        Reply::new(200, "", html.into_bytes())
    });
    let (count, failed) = counted(&server, Window::default());
    assert_eq!((count, failed), (10, vec![]));
    assert!(asked(&server) < 10, "{} requests", asked(&server));
}

#[test]
fn a_listing_without_end() {
    let server = server(&["cp-1"], PATH);
    server.state.lock().unwrap().tamper =
        Some(|_, _| Reply::new(200, "", b"<a href=\"audit.log\">".repeat(1 << 20)));
    let (_, failed) = counted(&server, Window::default());
    assert!(failed[0].contains("larger than 16 MiB"), "{failed:?}");
}

#[test]
fn node_names_lead_nowhere_else() {
    let server = server(&["..", "cp-1/../x", "cp\u{1b}[2J"], PATH);
    let query = NodeQuery { nodes: vec!["..".into(), "a/b".into()], ..NodeQuery::default() };
    let found = found(&server, &query);
    assert!(found.logs.is_empty());
    let failed: Vec<String> = found.failed.iter().map(ToString::to_string).collect();
    assert_eq!(failed, ["`..` cannot be the name of a node", "`a/b` cannot be the name of a node"]);
    assert_eq!(asked(&server), 0);
}

/// A rotated file is compressed between the listing and the look at it.
#[test]
fn compression_while_planning() {
    let name = "audit-2027-01-15T10-03-20.000.log";
    for at in 0..12 {
        let server = server(&["cp-1"], PATH);
        put(&server, name, lines(0..10_000));
        put(&server, "audit.log", lines(10_000..10_010));
        server.state.lock().unwrap().before = Some(Box::new(move |number, files| {
            if number == at
                && let Some(File::Text(text)) = files.remove(&format!("{FOLDER}{name}"))
            {
                let packed = super::tests::gzip(&text);
                files.insert(format!("{FOLDER}{name}.gz"), File::Text(packed));
            }
        }));
        let (count, failed) = counted(&server, window(Some(2_000), None));
        assert_eq!((count, failed), (8_010, vec![]), "compressed at request {at}");
    }
}

/// What is not within the window is not opened, but can be.
#[test]
fn a_file_outside_the_window_is_read_whole_when_it_must_be() {
    let server = server(&["cp-1"], PATH);
    put(&server, "audit-2027-01-15T08-00-00.000.log", lines(0..10));
    put(&server, "audit.log", lines(10_000..10_010));
    let query = NodeQuery { window: window(Some(9_000), None), ..NodeQuery::default() };
    let found = found(&server, &query);
    let Opened::Stream(mut text) = found.logs[0].inputs[0].open_whole().unwrap() else {
        panic!("a node's file is a stream")
    };
    let mut all = Vec::new();
    text.read_to_end(&mut all).unwrap();
    assert!(all == lines(0..10));
}
