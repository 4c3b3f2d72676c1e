//! A `requestURI`: its path and its query, read as Go's `net/url` reads them.

use std::borrow::Cow;

use percent_encoding::percent_decode;

/// The path, percent-decoded once, and the raw query (empty if there is none).
pub fn split(request_uri: &str) -> (Cow<'_, str>, &str) {
    let Some(at) = memchr::memchr2(b'?', b'%', request_uri.as_bytes()) else {
        return (Cow::Borrowed(request_uri), "");
    };
    if let (path, Some(query)) = (&request_uri[..at], request_uri[at..].strip_prefix('?')) {
        return (Cow::Borrowed(path), query);
    }
    let (path, query) = request_uri.split_once('?').unwrap_or((request_uri, ""));
    (decode(path.as_bytes(), false), query)
}

/// Returns the path of a request URI as the server behind the last proxy resolves it: percent escapes
/// decoded until none is left, `.`, `..` and empty segments resolved. It begins with `/`; a trailing
/// slash stays. A path that escapes hide (`logs/%2e%2e/exec`, `logs/%252e%252e/exec`) is judged by
/// where it leads.
///
/// Runs in linear time: no escape overlaps another, so the order of decoding does not matter.
///
/// Source: `cleanPath` of Go's `net/http/server.go`, which the kubelet applies to each request.
pub fn canonical_path(request_uri: &str) -> Cow<'_, str> {
    let path = raw_path(request_uri);
    let bytes = path.as_bytes();
    let has_dot_segment = || memchr::memmem::find(bytes, b"/.").is_some();
    let has_empty_segment = || memchr::memmem::find(bytes, b"//").is_some();
    let has_escape = || memchr::memchr(b'%', bytes).is_some();
    if path.starts_with('/') && !has_escape() && !has_dot_segment() && !has_empty_segment() {
        return Cow::Borrowed(path);
    }

    let decoded = decode_fully(bytes);
    let mut segments: Vec<&[u8]> = Vec::new();
    for segment in decoded.split(|&byte| byte == b'/') {
        match segment {
            b"" | b"." => {}
            b".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }

    let mut clean = Vec::with_capacity(decoded.len() + 1);
    for segment in &segments {
        clean.push(b'/');
        clean.extend_from_slice(segment);
    }
    if segments.is_empty() || decoded.ends_with(b"/") {
        clean.push(b'/');
    }
    Cow::Owned(String::from_utf8_lossy(&clean).into_owned())
}

/// Returns the path of a request URI with percent escapes decoded until none is left, and nothing
/// resolved.
pub fn decoded_path(request_uri: &str) -> Cow<'_, str> {
    let path = raw_path(request_uri);
    if memchr::memchr(b'%', path.as_bytes()).is_none() {
        return Cow::Borrowed(path);
    }
    Cow::Owned(String::from_utf8_lossy(&decode_fully(path.as_bytes())).into_owned())
}

fn raw_path(request_uri: &str) -> &str {
    request_uri.split_once('?').map_or(request_uri, |(path, _)| path)
}

/// Decodes percent escapes, also those that decoding makes (`%2565` is `%65` is `e`).
fn decode_fully(text: &[u8]) -> Vec<u8> {
    let mut decoded: Vec<u8> = Vec::with_capacity(text.len());
    let digit = |byte: u8| char::from(byte).to_digit(16);
    for &byte in text {
        decoded.push(byte);
        while let [.., b'%', high, low] = decoded[..]
            && let (Some(high), Some(low)) = (digit(high), digit(low))
        {
            decoded.truncate(decoded.len() - 3);
            decoded.push((high * 16 + low) as u8);
        }
    }
    decoded
}

/// The parameters of a raw query in their order, names and values decoded (`+` is a space).
///
/// As Go does, a pair with a semicolon or with a broken percent escape is passed over.
pub fn parameters(query: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    query.split('&').filter(|pair| !pair.is_empty() && !pair.contains(';')).filter_map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let is_sound = is_sound(name) && is_sound(value);
        is_sound.then(|| (decode(name.as_bytes(), true), decode(value.as_bytes(), true)))
    })
}

/// The first value of this parameter.
pub fn parameter<'a>(query: &'a str, name: &str) -> Option<Cow<'a, str>> {
    parameters(query).find(|(it, _)| it == name).map(|(_, value)| value)
}

fn is_sound(text: &str) -> bool {
    let bytes = text.as_bytes();
    memchr::memchr_iter(b'%', bytes)
        .all(|at| bytes.get(at + 1..at + 3).is_some_and(|it| it.iter().all(u8::is_ascii_hexdigit)))
}

fn decode(text: &[u8], plus_is_space: bool) -> Cow<'_, str> {
    if plus_is_space && text.contains(&b'+') {
        let spaced: Vec<u8> = text.iter().map(|&it| if it == b'+' { b' ' } else { it }).collect();
        return Cow::Owned(percent_decode(&spaced).decode_utf8_lossy().into_owned());
    }
    percent_decode(text).decode_utf8_lossy()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(uri: &str, path: &str, expected: &str) {
        let (decoded, query) = split(uri);
        let shown: Vec<String> =
            parameters(query).map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!((&*decoded, &*shown.join("|")), (path, expected), "{uri}");
    }

    #[test]
    fn command() {
        check(
            "/x?command=sh&command=-c&command=a+b%2Bc&tty",
            "/x",
            "command=sh|command=-c|command=a b+c|tty=",
        );
    }
    #[test]
    fn path_is_decoded_and_plus_stays() {
        check("/api/v1/namespaces/a%3Ab/pods/c+d", "/api/v1/namespaces/a:b/pods/c+d", "");
    }

    #[track_caller]
    fn check_path(uri: &str, expected: &str) {
        assert_eq!(canonical_path(uri), expected, "{uri}");
    }

    #[test]
    fn canonical_paths_stay() {
        check_path("/", "/");
        check_path("/api/v1/nodes/cp-1/proxy/logs/?a=%2e", "/api/v1/nodes/cp-1/proxy/logs/");
        check_path("/apis/apps/v1/a..b/c", "/apis/apps/v1/a..b/c");
    }
    #[test]
    fn resolves_dot_segments_as_go_does() {
        check_path("", "/");
        check_path("a/./b//c", "/a/b/c");
        check_path("/a/b/..", "/a");
        check_path("/a/b/../", "/a/");
        check_path("/a/b/.", "/a/b");
        check_path("/../../a", "/a");
        check_path("//a///..//", "/");
    }
    #[test]
    fn decodes_until_stable() {
        check_path("/logs/%2e%2E/exec", "/exec");
        check_path("/logs/%252e%25252e/exec", "/exec");
        check_path("/logs%2f..%2fexec", "/exec");
        check_path("/logs/%2%65%2e/exec", "/exec");
        check_path("/a%3fb", "/a?b");
        check_path("/a+b", "/a+b");
        check_path("/a%/%zz/%4", "/a%/%zz/%4");
        check_path("/%ff", "/\u{fffd}");
    }
    #[test]
    fn long_escapes_take_linear_time() {
        let uri = format!("/%{}2e", "25".repeat(1 << 20));
        check_path(&uri, "/");
    }

    proptest::proptest! {
        /// However a path is escaped, and however often, it is the same path.
        #[test]
        fn escaping_changes_nothing(
            segments in proptest::collection::vec("\\.\\.|\\.||[a-z%/.]{1,4}", 0..6),
            escaped in proptest::collection::vec(proptest::num::u8::ANY, 64),
        ) {
            let path = format!("/{}", segments.join("/"));
            let encoded: String = path.bytes().enumerate().map(|(at, byte)| {
                match escaped[at % escaped.len()] % 4 {
                    0 => format!("%{byte:02x}"),
                    1 => format!("%25{byte:02X}"),
                    2 => format!("%2525{byte:02x}"),
                    _ => char::from(byte).to_string(),
                }
            }).collect();
            let clean = canonical_path(&path);
            proptest::prop_assert_eq!(&canonical_path(&encoded), &clean);
            proptest::prop_assert_eq!(&canonical_path(&clean), &clean);
            proptest::prop_assert!(!clean.split('/').any(|segment| matches!(segment, "." | "..")));
            proptest::prop_assert!(!clean.contains("//"));
        }
    }
    #[test]
    fn broken_pairs_are_passed_over() {
        check("/x?a=%zz&b=1;c=2&d=3&&e=%4", "/x", "d=3");
    }
}
