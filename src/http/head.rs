//! The head of a request, read out of a buffer. Pure.

/// The longest head that is taken, in bytes.
pub const MAX_HEAD: usize = 8 * 1024;
/// As many header fields as a head may have; browsers send some twenty.
const MAX_FIELDS: usize = 128;

/// What of a request matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The method.
    pub method: String,
    /// The path without its query.
    pub path: String,
    /// Whether the client takes gzip.
    pub gzip: bool,
}

/// What a buffer holds so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parsed {
    /// The beginning of a head.
    Partial,
    /// A whole head.
    Whole(Head),
    /// Nothing that could become a head; the status that says so.
    Refused(u16),
}

/// Reads a head from the beginning of `buffer`.
#[must_use]
pub fn parse(buffer: &[u8]) -> Parsed {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    match request.parse(buffer) {
        Ok(httparse::Status::Complete(length)) if length <= MAX_HEAD => {}
        Ok(httparse::Status::Partial) if buffer.len() < MAX_HEAD => return Parsed::Partial,
        Ok(_) | Err(httparse::Error::TooManyHeaders) => return Parsed::Refused(431),
        Err(_) => return Parsed::Refused(400),
    }
    let (Some(method), Some(target)) = (request.method, request.path) else {
        return Parsed::Refused(400);
    };
    // `GET http://host/metrics` is how a proxy is asked, and RFC 9112 wants servers to take it too.
    let target = match target.strip_prefix("http://") {
        Some(rest) => rest.find('/').map_or("/", |path| &rest[path..]),
        None => target,
    };
    let path = target.split(['?', '#']).next().unwrap_or_default();
    if !path.starts_with('/') || !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Parsed::Refused(400);
    }
    let gzip = request
        .headers
        .iter()
        .filter(|field| field.name.eq_ignore_ascii_case("accept-encoding"))
        .any(|field| accepts_gzip(field.value));
    Parsed::Whole(Head {
        method: method.to_owned(),
        path: path.to_owned(),
        gzip,
    })
}

/// Whether an `Accept-Encoding` names gzip with a weight that is not 0.
fn accepts_gzip(value: &[u8]) -> bool {
    String::from_utf8_lossy(value).split(',').any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let named = parts
            .next()
            .is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        let weight = parts
            .find_map(|part| part.strip_prefix("q="))
            .map(str::parse::<f64>);
        named && !matches!(weight, Some(Ok(weight)) if weight <= 0.0)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn whole(text: &str) -> Head {
        match parse(text.as_bytes()) {
            Parsed::Whole(head) => head,
            other => panic!("{text:?}: {other:?}"),
        }
    }

    #[test]
    fn a_scrape_is_understood() {
        let head = whole(
            "GET /metrics?x=1 HTTP/1.1\r\nHost: x\r\naccept-encoding: br, GZIP;q=0.5\r\n\r\nrest",
        );
        assert_eq!(
            head,
            Head {
                method: "GET".into(),
                path: "/metrics".into(),
                gzip: true
            }
        );
        assert_eq!(
            whole("GET http://nas:9594/metrics HTTP/1.1\r\n\r\n").path,
            "/metrics"
        );
        assert_eq!(whole("GET http://nas:9594 HTTP/1.1\r\n\r\n").path, "/");
        // Bare line feeds are tolerated, as RFC 9112 allows.
        assert!(!whole("HEAD / HTTP/1.0\nAccept-Encoding: gzip;q=0\n\n").gzip);
    }

    #[test]
    fn rubbish_is_refused() {
        for (text, status) in [
            (&b"GET /m\xc3\xa9trics HTTP/1.1\r\n\r\n"[..], 400),
            (b"GET metrics HTTP/1.1\r\n\r\n", 400),
            (b"* / HTTP/9.9\r\n\r\n", 400),
            (b"\x16\x03\x01\x02\x00\x01\x00", 400),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nx\xffy: 1\r\n\r\n", 400),
        ] {
            assert_eq!(parse(text), Parsed::Refused(status), "{text:?}");
        }
    }

    #[test]
    fn a_head_that_does_not_end_is_too_large_at_the_limit_and_not_before() {
        let mut text = b"GET / HTTP/1.1\r\nX: ".to_vec();
        text.resize(MAX_HEAD - 1, b'a');
        assert_eq!(parse(&text), Parsed::Partial);
        text.push(b'a');
        assert_eq!(parse(&text), Parsed::Refused(431));
        text.truncate(MAX_HEAD - 4);
        text.extend(b"\r\n\r\n");
        assert!(matches!(parse(&text), Parsed::Whole(_)));
    }

    proptest! {
        /// No bytes make it panic, and nothing unprintable gets through.
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..9_000)) {
            if let Parsed::Whole(head) = parse(&bytes) {
                prop_assert!(head.path.bytes().all(|byte| byte.is_ascii_graphic()));
            }
        }

        /// A head is understood the same way however it is cut into pieces.
        #[test]
        fn a_prefix_is_partial(cut in 1usize..60) {
            let text = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n";
            prop_assert_eq!(parse(&text[..cut.min(text.len() - 1)]), Parsed::Partial);
        }
    }
}
