//! The response of each path.

use std::{borrow::Cow, io, net::TcpStream, sync::Arc};

use tiny_http::{Header, Method, Request, Response, StatusCode};

use super::{response_budget::Permit, scrapes::Scrapes};
use crate::{build_info, health::PLEX_RESPONDED, state_handle::StateHandle};

/// The text format of Prometheus.
const EXPOSITION: &str = "text/plain; version=0.0.4; charset=utf-8";
const PLAIN: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";

/// A response.
#[derive(Debug)]
pub struct Reply {
    status: u16,
    content_type: &'static str,
    /// A header that only this response has.
    header: Option<(&'static str, &'static str)>,
    body: Body,
}

#[derive(Debug)]
enum Body {
    Text(Cow<'static, str>),
    Scrape(Permit),
}

impl Reply {
    fn text(status: u16, text: &'static str) -> Self {
        Self {
            status,
            content_type: PLAIN,
            header: None,
            body: Body::Text(text.into()),
        }
    }

    /// The permit to hold the body, if it is a scrape.
    pub fn permit(&self) -> Option<&Permit> {
        match &self.body {
            Body::Scrape(permit) => Some(permit),
            Body::Text(_) => None,
        }
    }

    /// The bytes of the body.
    pub fn body(&self) -> &[u8] {
        match &self.body {
            Body::Text(text) => text.as_bytes(),
            Body::Scrape(permit) => &permit.body().bytes,
        }
    }

    /// The response as tiny_http writes it.
    pub fn to_response(&self) -> Response<&[u8]> {
        let body = self.body();
        let mut response = Response::new(
            StatusCode(self.status),
            Vec::new(),
            body,
            Some(body.len()),
            None,
        );
        let mut add = |name: &'static str, value: &'static str| {
            // Fails for what is not ASCII, and all of these are.
            if let Ok(header) = Header::from_bytes(name, value) {
                response.add_header(header);
            }
        };
        add("Content-Type", self.content_type);
        if self.permit().is_some_and(|permit| permit.body().gzip) {
            add("Content-Encoding", "gzip");
        }
        if let Some((name, value)) = self.header {
            add(name, value);
        }
        // tiny_http drops a `Connection` header from responses, but not from within another one's
        // value.
        add("Vary", "Accept-Encoding\r\nConnection: close");
        response
    }
}

/// Responds to a request of the client at `stream`.
pub fn route(
    request: &Request,
    state: &StateHandle,
    scrapes: &Scrapes,
    stream: &Arc<TcpStream>,
) -> Reply {
    let path = request.url();
    if !matches!(path, "/" | "/metrics" | "/health") {
        return Reply::text(404, "not found; see /metrics\n");
    }
    if !matches!(request.method(), Method::Get | Method::Head) {
        return Reply {
            header: Some(("Allow", "GET, HEAD")),
            ..Reply::text(405, "only GET and HEAD\n")
        };
    }
    match path {
        "/metrics" => metrics(request, scrapes, stream),
        "/health" => match state.ping() {
            Ok(()) => health(200, "ok\n", state.has_plex_responded()),
            Err(_) => Reply::text(503, "the event loop does not respond\n"),
        },
        _ => index(),
    }
}

/// The health probe requires that Plex has responded at least once.
fn health(status: u16, text: &'static str, plex_responded: bool) -> Reply {
    Reply {
        header: Some((PLEX_RESPONDED, if plex_responded { "yes" } else { "no" })),
        ..Reply::text(status, text)
    }
}

fn metrics(request: &Request, scrapes: &Scrapes, stream: &Arc<TcpStream>) -> Reply {
    let mut headers = request.headers().iter();
    let gzip = headers.any(|header| header.field.equiv("Accept-Encoding"));
    match scrapes.get(gzip, stream) {
        Ok(permit) => Reply {
            status: 200,
            content_type: EXPOSITION,
            header: None,
            body: Body::Scrape(permit),
        },
        Err(_) => Reply::text(503, "the event loop does not respond\n"),
    }
}

fn index() -> Reply {
    let text = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>plex-exporter</title>\
         </head><body><h1>plex-exporter {}</h1><p>Prometheus exporter for Plex Media Server</p><ul>\
         <li><a href=\"metrics\">metrics</a></li><li><a href=\"health\">health</a></li>\
         </ul></body></html>\n",
        build_info::VERSION
    );
    Reply {
        status: 200,
        content_type: HTML,
        header: None,
        body: Body::Text(text.into()),
    }
}

/// A response of the front itself, to what tiny_http never sees. With too many connections, it may be
/// the health probe that asks.
pub fn rejection(status: u16, state: &StateHandle) -> io::Result<Vec<u8>> {
    let reply = match status {
        408 => Reply::text(408, "the request did not arrive in time\n"),
        431 => Reply::text(431, "the request is too large\n"),
        503 => health(503, "too many connections\n", state.has_plex_responded()),
        _ => Reply::text(400, "bad request\n"),
    };
    let mut bytes = Vec::new();
    reply
        .to_response()
        .raw_print(&mut bytes, (1, 1).into(), &[], false, None)?;
    Ok(bytes)
}
