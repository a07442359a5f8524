//! The head of a request, parsed from a buffer. Pure.

/// The longest accepted head, in bytes.
pub const MAX_HEAD: usize = 8 * 1024;
/// The most header fields a head may have; browsers send about twenty.
const MAX_FIELDS: usize = 128;

/// What of a request the server uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHead {
    /// A token of RFC 9110: ASCII without spaces.
    pub method: String,
    /// The path without its query: printable ASCII without spaces.
    pub path: String,
    /// Whether the client accepts gzip.
    pub gzip: bool,
    /// Whether the client sends more than the head: a body, or another request.
    pub more_follows: bool,
}

/// What a buffer holds so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parsed {
    /// The beginning of a head.
    Partial,
    /// A complete head.
    Complete(RequestHead),
    /// Nothing that could become an acceptable head; the status that says so.
    Rejected(u16),
}

/// Parses the head at the beginning of `buffer`.
#[must_use]
pub fn parse(buffer: &[u8]) -> Parsed {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    let length = match request.parse(buffer) {
        Ok(httparse::Status::Complete(length)) if length <= MAX_HEAD => length,
        Ok(httparse::Status::Partial) if buffer.len() < MAX_HEAD => return Parsed::Partial,
        Ok(_) | Err(httparse::Error::TooManyHeaders) => return Parsed::Rejected(431),
        Err(_) => return Parsed::Rejected(400),
    };
    let (Some(method), Some(target)) = (request.method, request.path) else {
        return Parsed::Rejected(400);
    };
    let Some(path) = path_of(target) else {
        return Parsed::Rejected(400);
    };
    let values = |name: &'static str| {
        let fields = request.headers.iter();
        fields
            .filter(move |field| field.name.eq_ignore_ascii_case(name))
            .map(|field| field.value)
    };
    let has_body = values("transfer-encoding").next().is_some()
        || values("content-length").any(|length| length != b"0");
    Parsed::Complete(RequestHead {
        method: method.to_owned(),
        path: path.to_owned(),
        gzip: values("accept-encoding").any(accepts_gzip),
        more_follows: has_body || buffer.len() > length,
    })
}

/// The path of a request target, without its query.
fn path_of(target: &str) -> Option<&str> {
    // `GET http://host/metrics` is a request to a proxy, but RFC 9112 requires servers to accept it
    // too.
    let absolute = target
        .get(..7)
        .filter(|scheme| scheme.eq_ignore_ascii_case("http://"));
    let target = match absolute {
        Some(scheme) => {
            let rest = &target[scheme.len()..];
            rest.find(['/', '?']).map_or("/", |path| &rest[path..])
        }
        None => target,
    };
    let path = target.split(['?', '#']).next()?;
    let path = if absolute.is_some() && path.is_empty() {
        "/"
    } else {
        path
    };
    let printable = path.bytes().all(|byte| byte.is_ascii_graphic());
    (path.starts_with('/') && printable).then_some(path)
}

/// Whether an `Accept-Encoding` names gzip with a weight that is not 0.
fn accepts_gzip(value: &[u8]) -> bool {
    String::from_utf8_lossy(value).split(',').any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let named = parts
            .next()
            .is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        let weight = parts
            .find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")))
            .map(str::parse::<f64>);
        named && !matches!(weight, Some(Ok(weight)) if weight <= 0.0)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn complete(text: &str) -> RequestHead {
        match parse(text.as_bytes()) {
            Parsed::Complete(head) => head,
            other => panic!("{text:?}: {other:?}"),
        }
    }

    #[test]
    fn a_scrape_is_parsed() {
        let head = complete(
            "GET /metrics?x=1 HTTP/1.1\r\nHost: x\r\naccept-encoding: br, GZIP;q=0.5\r\n\r\n",
        );
        assert_eq!(
            head,
            RequestHead {
                method: "GET".into(),
                path: "/metrics".into(),
                gzip: true,
                more_follows: false,
            }
        );
        // Bare line feeds are accepted, as RFC 9112 allows.
        assert!(!complete("HEAD / HTTP/1.0\nAccept-Encoding: gzip;Q=0.0\n\n").gzip);
    }

    #[test]
    fn an_absolute_target_is_read_for_its_path() {
        for (target, path) in [
            ("http://nas:9594/metrics", "/metrics"),
            ("HTTP://nas/metrics?x", "/metrics"),
            ("http://nas:9594", "/"),
            ("http://nas?x=1", "/"),
            ("http://nas//", "//"),
        ] {
            let head = complete(&format!("GET {target} HTTP/1.1\r\n\r\n"));
            assert_eq!(head.path, path, "{target}");
        }
    }

    #[test]
    fn a_body_or_a_second_request_is_noticed() {
        for (fields, more) in [
            ("", false),
            ("Content-Length: 0\r\n", false),
            ("Content-Length: 7\r\n", true),
            ("Content-Length: 0\r\nContent-Length: 7\r\n", true),
            ("Transfer-Encoding: chunked\r\n", true),
        ] {
            let head = complete(&format!("POST /metrics HTTP/1.1\r\n{fields}\r\n"));
            assert_eq!(head.more_follows, more, "{fields:?}");
        }
        assert!(complete("GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n").more_follows);
    }

    #[test]
    fn invalid_requests_are_rejected() {
        for (text, status) in [
            (&b"GET /m\xc3\xa9trics HTTP/1.1\r\n\r\n"[..], 400),
            (b"GET metrics HTTP/1.1\r\n\r\n", 400),
            (b"GET http:/metrics HTTP/1.1\r\n\r\n", 400),
            (b"OPTIONS * HTTP/1.1\r\n\r\n", 400),
            (b"* / HTTP/9.9\r\n\r\n", 400),
            (b"\x16\x03\x01\x02\x00\x01\x00", 400),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nx\xffy: 1\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nHost : x\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nX: a\r\n folded\r\n\r\n", 400),
        ] {
            assert_eq!(parse(text), Parsed::Rejected(status), "{text:?}");
        }
    }

    #[test]
    fn a_head_that_does_not_end_is_too_large_at_the_limit_and_not_before() {
        let mut text = b"GET / HTTP/1.1\r\nX: ".to_vec();
        text.resize(MAX_HEAD - 1, b'a');
        assert_eq!(parse(&text), Parsed::Partial);
        text.push(b'a');
        assert_eq!(parse(&text), Parsed::Rejected(431));
        text.truncate(MAX_HEAD - 4);
        text.extend(b"\r\n\r\n");
        assert!(matches!(parse(&text), Parsed::Complete(_)));
    }

    proptest! {
        /// No bytes make it panic, and what gets through is safe to write into another head.
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..9_000)) {
            if let Parsed::Complete(head) = parse(&bytes) {
                prop_assert!(head.path.bytes().all(|byte| byte.is_ascii_graphic()));
                prop_assert!(head.method.bytes().all(|byte| byte.is_ascii_graphic()));
            }
        }

        #[test]
        fn every_prefix_of_a_head_is_partial(cut in 1usize..55) {
            let text = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n";
            prop_assert_eq!(parse(&text[..cut.min(text.len() - 1)]), Parsed::Partial);
        }
    }
}
