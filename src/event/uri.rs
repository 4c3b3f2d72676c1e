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
    #[test]
    fn broken_pairs_are_passed_over() {
        check("/x?a=%zz&b=1;c=2&d=3&&e=%4", "/x", "d=3");
    }
}
