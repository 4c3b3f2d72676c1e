//! The kubelet's listing of a folder: HTML with a link per entry, made by Go's file server.

use percent_encoding::percent_decode_str;

/// The names in a listing, as they are on disk; folders end in `/`.
///
/// The `href` is escaped twice, for URLs and then for HTML; the text beside it only for HTML.
/// Source: `dirList` of Go's `net/http/fs.go`.
pub fn names(html: &str) -> Vec<String> {
    html.split("<a href=\"")
        .skip(1)
        .filter_map(|rest| rest.split_once('"'))
        .map(|(href, _)| {
            let url = unescape(href);
            percent_decode_str(url.trim_start_matches("./")).decode_utf8_lossy().into_owned()
        })
        .filter(|name| is_entry(name.strip_suffix('/').unwrap_or(name)))
        .collect()
}

/// Whether a name is one of an entry, and no path that leads elsewhere: on this computer either,
/// where `fetch` writes a file of that name.
fn is_entry(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && !name.contains(['/', '\\', '\0'])
}

/// The characters that Go's `html.EscapeString` and `htmlReplacer` write as entities.
fn unescape(text: &str) -> String {
    // `&amp;` last: what it makes is no entity.
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&#34;", "\"")
        .replace("&quot;", "\"")
        .replace("&#39;", "'")
        .replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(html: &str, expected: &[&str]) {
        assert_eq!(names(html), expected, "{html}");
    }

    #[test]
    fn recorded() {
        check(
            "<!doctype html>\n<meta name=\"viewport\" content=\"width=device-width\">\n<pre>\n\
             <a href=\"a%20b&amp;%3Cc%3E.log\">a b&amp;&lt;c&gt;.log</a>\n\
             <a href=\"containers/\">containers/</a>\n</pre>\n",
            &["a b&<c>.log", "containers/"],
        );
    }
    #[test]
    fn older_go_has_no_doctype() {
        check("<pre>\n<a href=\"audit.log\">audit.log</a>\n</pre>\n", &["audit.log"]);
    }
    #[test]
    fn a_colon_gets_a_dot_before_it() {
        check("<a href=\"./a:b.log\">a:b.log</a>", &["a:b.log"]);
    }
    #[test]
    fn nothing_leads_out_of_the_folder() {
        check(
            "<a href=\"../secret\">x</a><a href=\"%2e%2e%2fsecret\">x</a><a href=\"\">x</a>",
            &[],
        );
        check(
            r#"<a href="..">x</a><a href="../">x</a><a href="%2e%2e/"><a href="./"><a href="//">"#,
            &[],
        );
        check(r#"<a href="a%5C..%5Cb"><a href="a%00b"><a href="..a">"#, &["..a"]);
    }
    #[test]
    fn cut() {
        check("<a href=\"audit.log", &[]);
    }
}
