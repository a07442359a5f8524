//! What is answered.

use std::io::{Cursor, Write};

use crossbeam_channel::Sender;
use flate2::{Compression, write::GzEncoder};
use tiny_http::{Header, Method, Request, Response, StatusCode};

use crate::{build_info, event_loop::StateHandle};

/// The text format of Prometheus.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";
const PLAIN: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";
/// A body that fits into one packet does not get smaller on the wire.
const WORTH_COMPRESSING: usize = 1_400;

/// The header by which the guard asks for the body aside: the head goes through tiny_http as ever, and
/// the megabytes of a scrape are handed over in memory instead of through a socket.
pub const ASIDE: &str = "X-Body-Aside";

/// Answers one request. The body goes `aside` where that is asked for; such a request is a HEAD.
pub fn answer(request: Request, owner: &StateHandle, aside: &Sender<Vec<u8>>) {
    let has = |name: &'static str| {
        request
            .headers()
            .iter()
            .any(|header| header.field.equiv(name))
    };
    let mut response = route(
        request.method(),
        request.url(),
        has("Accept-Encoding"),
        owner,
    );
    if has(ASIDE) {
        // There is room: the one who asks takes each before it asks again.
        let _ = aside.try_send(std::mem::take(&mut response.body));
    }
    // It goes to the guard, which is there as long as the process is.
    let _ = request.respond(response.into_tiny_http());
}

/// A response, and how long its body is even when that went another way.
struct Reply {
    status: u16,
    headers: Vec<Header>,
    length: usize,
    body: Vec<u8>,
}

impl Reply {
    fn into_tiny_http(self) -> Response<Cursor<Vec<u8>>> {
        let body = Cursor::new(self.body);
        Response::new(
            StatusCode(self.status),
            self.headers,
            body,
            Some(self.length),
            None,
        )
        // Without a limit here, tiny_http sends anything larger than 32 KiB in chunks.
        .with_chunked_threshold(usize::MAX)
    }

    fn with_header(mut self, name: &str, value: &str) -> Self {
        // Fails for what is not ASCII, and all of this file's are.
        self.headers.extend(Header::from_bytes(name, value));
        self
    }
}

fn route(method: &Method, path: &str, gzip: bool, owner: &StateHandle) -> Reply {
    if !matches!(path, "/" | "/metrics" | "/health") {
        return page(404, PLAIN, "not found; see /metrics\n");
    }
    if !matches!(method, Method::Get | Method::Head) {
        return page(405, PLAIN, "only GET and HEAD\n").with_header("Allow", "GET, HEAD");
    }
    match path {
        "/metrics" => match owner.scrape() {
            Ok(text) => metrics(text, gzip),
            Err(_) => page(503, PLAIN, "busy\n"),
        },
        "/health" => match owner.ping() {
            Ok(()) => page(200, PLAIN, "ok\n"),
            Err(_) => page(503, PLAIN, "the state does not answer\n"),
        },
        _ => page(200, HTML, &index()),
    }
}

fn metrics(text: String, gzip: bool) -> Reply {
    if gzip
        && text.len() > WORTH_COMPRESSING
        && let Some(packed) = pack(&text)
    {
        return response(200, TEXT_FORMAT, packed).with_header("Content-Encoding", "gzip");
    }
    response(200, TEXT_FORMAT, text.into_bytes())
}

fn pack(text: &str) -> Option<Vec<u8>> {
    // Scrapes are full of repetition: the fastest level already makes them ten times smaller.
    let packed = Vec::with_capacity(text.len() / 8);
    let mut encoder = GzEncoder::new(packed, Compression::fast());
    encoder.write_all(text.as_bytes()).ok()?;
    encoder.finish().ok()
}

fn index() -> String {
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>plex-exporter</title>\
         </head><body><h1>plex-exporter {}</h1><p>Prometheus exporter for Plex Media Server</p><ul>\
         <li><a href=\"metrics\">metrics</a></li><li><a href=\"health\">health</a></li>\
         </ul></body></html>\n",
        build_info::VERSION
    )
}

fn page(status: u16, content_type: &str, body: &str) -> Reply {
    response(status, content_type, body.as_bytes().to_vec())
}

fn response(status: u16, content_type: &str, body: Vec<u8>) -> Reply {
    let length = body.len();
    let reply = Reply {
        status,
        headers: Vec::new(),
        length,
        body,
    };
    reply
        .with_header("Content-Type", content_type)
        .with_header("Vary", "Accept-Encoding")
}
