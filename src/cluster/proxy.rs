//! The proxy on the way to an API server, chosen by the variables as kubectl reads them.

use std::net::IpAddr;

use http::Uri;

/// The proxy for a server; `variable` gives the value of an environment variable.
///
/// Source: Go's `golang.org/x/net/http/httpproxy`: the variable of the server's own scheme, unless
/// `NO_PROXY` names the server, or it is this machine.
pub(super) fn proxy_for(server: &Uri, variable: impl Fn(&str) -> Option<String>) -> Option<Uri> {
    let either = |name: &str| {
        let found = variable(name).filter(|it| !it.is_empty());
        found.or_else(|| variable(&name.to_ascii_lowercase()).filter(|it| !it.is_empty()))
    };
    let is_secure = server.scheme_str() != Some("http");
    let host = server.host()?.trim_matches(['[', ']']).to_ascii_lowercase();
    let port = server.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
    let address: Option<IpAddr> = host.parse().ok();
    if host == "localhost" || address.is_some_and(|it| it.is_loopback()) {
        return None;
    }
    let excluded = either("NO_PROXY").unwrap_or_default();
    if excluded.split(',').any(|it| is_excluded(it.trim(), &host, port, address)) {
        return None;
    }
    let proxy = either(if is_secure { "HTTPS_PROXY" } else { "HTTP_PROXY" })?;
    let proxy = if proxy.contains("://") { proxy } else { format!("http://{proxy}") };
    proxy.parse().ok()
}

/// Whether an entry of `NO_PROXY` means the host: `*`, an address, a network, or a domain and what is
/// below it; with a leading dot only what is below it.
fn is_excluded(entry: &str, host: &str, port: u16, address: Option<IpAddr>) -> bool {
    let entry = entry.to_ascii_lowercase();
    if entry.is_empty() || entry == "*" {
        return entry == "*";
    }
    if let Some((network, bits)) = entry.split_once('/') {
        let network = network.parse().ok().zip(bits.parse().ok());
        return network.zip(address).is_some_and(|((net, bits), it)| is_within(it, net, bits));
    }
    if let Ok(other) = entry.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Some(other) == address;
    }
    let (name, only) = match entry.rsplit_once(':') {
        Some((name, port)) => (name.to_owned(), port.parse().ok()),
        None => (entry, None),
    };
    if only.is_some_and(|it: u16| it != port) {
        return false;
    }
    let name = name.strip_prefix('*').unwrap_or(&name);
    match name.strip_prefix('.') {
        Some(_) => host.ends_with(name),
        None => host == name || host.strip_suffix(name).is_some_and(|it| it.ends_with('.')),
    }
}

fn is_within(address: IpAddr, network: IpAddr, bits: u32) -> bool {
    let same = |a: u128, b: u128, width: u32| {
        bits <= width && (bits == 0 || a >> (width - bits) == b >> (width - bits))
    };
    match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(b)) => same(a.to_bits().into(), b.to_bits().into(), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => same(a.to_bits(), b.to_bits(), 128),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(server: &str, variables: &[(&str, &str)], expected: Option<&str>) {
        let variable = |name: &str| {
            variables.iter().find(|it| it.0 == name).map(|(_, value)| (*value).to_owned())
        };
        let proxy = proxy_for(&server.parse().unwrap(), variable).map(|it| it.to_string());
        assert_eq!(proxy.as_deref(), expected, "{server} {variables:?}");
    }

    const SERVER: &str = "https://api.example.org:6443";

    #[test]
    fn of_the_scheme() {
        check(SERVER, &[("HTTPS_PROXY", "http://p:1/")], Some("http://p:1/"));
        check(SERVER, &[("https_proxy", "p:1")], Some("http://p:1/"));
        check(SERVER, &[("HTTP_PROXY", "http://p:1/")], None);
        check("http://h:80", &[("HTTP_PROXY", "socks5://p:1/")], Some("socks5://p:1/"));
        check(SERVER, &[("HTTPS_PROXY", "")], None);
        check("https://127.0.0.1:6443", &[("HTTPS_PROXY", "p:1")], None);
        check("https://localhost", &[("HTTPS_PROXY", "p:1")], None);
    }

    #[test]
    fn excluded() {
        let is_direct = |server: &str, no_proxy: &str, expected: bool| {
            let variables = [("HTTPS_PROXY", "http://p:1/"), ("no_proxy", no_proxy)];
            check(server, &variables, (!expected).then_some("http://p:1/"));
        };
        for (no_proxy, expected) in [
            ("*", true),
            ("a, EXAMPLE.org", true),
            (".example.org", true),
            ("*.example.org", true),
            ("api.example.org:6443", true),
            ("api.example.org:443", false),
            ("ample.org", false),
            (".api.example.org", false),
            ("", false),
            (",", false),
        ] {
            is_direct(SERVER, no_proxy, expected);
        }
        for (no_proxy, expected) in [
            ("10.77.0.1", true),
            ("10.0.0.0/8", true),
            ("0.0.0.0/0", true),
            ("10.78.0.0/16", false),
            ("10.0.0.0/99", false),
            ("::/0", false),
        ] {
            is_direct("https://10.77.0.1:6443", no_proxy, expected);
        }
        is_direct("https://[fd00::1]:6443", "fd00::/8", true);
        is_direct("https://[fd00::1]:6443", "fd00::1", true);
    }
}
