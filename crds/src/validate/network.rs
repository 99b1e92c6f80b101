//! Addresses and URLs.

/// Whether a text is a host with a port, such as `kafka-0:9093` or `[::1]:514`.
pub(super) fn is_host_and_port(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else {
        return false;
    };
    is_host(host) && is_port(port)
}

/// Whether a text is a URL of http or https with a host and no more than a path behind it.
pub(super) fn is_http_url(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")) else {
        return false;
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let usable = |char: char| char.is_ascii_graphic() && !matches!(char, '?' | '#' | '"' | '<' | '>' | '\\');
    path.chars().all(usable) && (is_host(authority) || is_host_and_port(authority))
}

/// An address for an error: what stands before an `@` may be a password, and errors travel far.
pub(super) fn shown(text: &str) -> String {
    match text.rsplit_once('@') {
        Some((before, host)) => {
            let scheme = before.find("://").map_or("", |at| &before[..at + 3]);
            format!("\"{scheme}…@{}\"", host.escape_debug())
        }
        None => format!("{text:?}"),
    }
}

fn is_port(text: &str) -> bool {
    !text.starts_with('+') && text.parse::<u16>().is_ok_and(|port| port > 0)
}

fn is_host(text: &str) -> bool {
    if let Some(inner) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        return inner.parse::<std::net::Ipv6Addr>().is_ok();
    }
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    text.len() <= 253 && text.strip_suffix('.').unwrap_or(text).split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_have_ports() {
        for text in ["kafka-0.kafka:9093", "127.0.0.1:514", "[::1]:514", "siem.:1", "a_b:65535"] {
            assert!(is_host_and_port(text), "{text}");
        }
        for text in ["", ":1", "a", "a:", "a:0", "a:65536", "a:+1", "::1:514", "a b:1", "-a:1", "a..b:1", "http://a:1"]
        {
            assert!(!is_host_and_port(text), "{text}");
        }
    }

    #[test]
    fn a_login_in_an_address_is_not_shown() {
        assert_eq!(shown("https://u:p/w@x@es:9200"), "\"https://…@es:9200\"");
        assert_eq!(shown("user:word@kafka:9092"), "\"…@kafka:9092\"");
        assert_eq!(shown("es\n"), "\"es\\n\"");
    }

    #[test]
    fn urls_are_plain() {
        for text in ["https://es-0:9200", "http://127.0.0.1", "https://[::1]:9200/es", "https://es.example/a/b-c"] {
            assert!(is_http_url(text), "{text}");
        }
        for text in [
            "",
            "es:9200",
            "ftp://es",
            "https://",
            "https://u:p@es:9200",
            "https://es/?a=b",
            "https://e s",
            "https:///x",
        ] {
            assert!(!is_http_url(text), "{text}");
        }
    }
}
