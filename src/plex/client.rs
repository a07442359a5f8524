//! HTTP requests to Plex: each is sent and its response decoded within the limits.

use std::{
    io::{self, BufReader, Read},
    time::{Duration, Instant},
};

use serde::de::DeserializeOwned;
use ureq::{
    Agent, Body, Timeout,
    config::{AutoHeaderValue, Config},
    http::Response,
};

use super::{
    bounded_json::{BoundedJson, Bounds},
    clean_json::CleanJson,
    error::PlexError,
    large_body::{LargeBodies, MAX_SMALL, Permit},
    request::{PlexRequest, PlexResponse},
    transport::{DialConnector, NoResolver},
    wire::Envelope,
};
use crate::{
    build_info,
    net::{DialError, Dialer, is_timeout},
    secret::{Secret, redact},
    server_url::ServerUrl,
    tls,
    token::Token,
};

/// The limit on a request, from name resolution to the last byte.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest body that is read, decompressed. A session takes 15 KB, so hundreds fit.
pub const MAX_BODY: u64 = 10_000_000;
/// The name by which Plex lists the exporter among its devices.
pub const PRODUCT: &str = "plex-exporter";

/// Headers every request to Plex carries, the WebSocket upgrade included.
#[must_use]
pub fn common_headers(token: &Secret) -> [(&'static str, &str); 4] {
    [
        ("X-Plex-Token", token.expose()),
        ("X-Plex-Client-Identifier", PRODUCT),
        ("X-Plex-Product", PRODUCT),
        ("X-Plex-Version", build_info::VERSION),
    ]
}

/// A Plex client. Clones share their idle connections.
#[derive(Debug, Clone)]
pub struct Client {
    agent: Agent,
    server: ServerUrl,
    token: Token,
    large_bodies: LargeBodies,
}

/// The result of a fetch.
#[derive(Debug)]
pub struct Outcome {
    /// Requests that were sent: more than one when an idle connection turned out to be closed, or
    /// when Plex refused a token that has been replaced.
    pub requests: u8,
    /// The response, or why there is none.
    pub result: Result<PlexResponse, PlexError>,
    /// The permit for a large response, to be dropped once that is no longer needed.
    pub permit: Option<Permit>,
}

impl Client {
    /// A client for the server that `dialer` reaches.
    #[must_use]
    pub fn new(dialer: Dialer, token: Token) -> Self {
        let server = dialer.server().clone();
        let config = Config::builder()
            .timeout_global(Some(REQUEST_TIMEOUT))
            .http_status_as_error(false)
            // A redirect could lead the token to another host.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .user_agent(format!("{PRODUCT}/{}", build_info::VERSION))
            .accept("application/json")
            // Compressing costs Plex more than the few kilobytes are worth in a LAN.
            .accept_encoding(AutoHeaderValue::None)
            .max_response_header_size(32 * 1024)
            .input_buffer_size(16 * 1024)
            .output_buffer_size(4 * 1024)
            .max_idle_connections(4)
            .max_idle_connections_per_host(4)
            .max_idle_age(Duration::from_mins(1))
            .build();
        let agent = Agent::with_parts(config, DialConnector(dialer), NoResolver);
        Self {
            agent,
            server,
            token,
            large_bodies: LargeBodies::new(),
        }
    }

    /// Sends one request and decodes the response.
    #[must_use]
    pub fn fetch(&self, fetch: &PlexRequest) -> Outcome {
        let token = self.token.current();
        let mut outcome = self.fetch_with(fetch, &token);
        if matches!(outcome.result, Err(PlexError::Unauthorized))
            && self.token.refused(&token, Instant::now())
        {
            let again = self.fetch_with(fetch, &self.token.current());
            outcome = Outcome {
                requests: outcome.requests + again.requests,
                ..again
            };
        }
        outcome
    }

    fn fetch_with(&self, fetch: &PlexRequest, token: &Secret) -> Outcome {
        let deadline = Instant::now() + REQUEST_TIMEOUT;
        let (requests, sent) = match self.send(fetch, token) {
            // Plex closes idle connections whenever it likes, and the request may already be on
            // its way. All our requests are GETs, so one more try on a fresh connection is safe.
            // (A failure to dial is not an `Io`: it comes through our connector.)
            Err(ureq::Error::Io(error)) if !is_timeout(&error) => (2, self.send(fetch, token)),
            first => (1, first),
        };
        let read = sent
            .map_err(request_error)
            .and_then(|response| self.read(fetch, response, deadline));
        let (result, permit) = match read {
            Ok((response, permit)) => (Ok(response), permit),
            Err(error) => (Err(error), None),
        };
        Outcome {
            requests,
            result,
            permit,
        }
    }

    fn send(&self, fetch: &PlexRequest, token: &Secret) -> Result<Response<Body>, ureq::Error> {
        let mut request = self.agent.get(self.server.http(&fetch.path()));
        for (name, value) in common_headers(token) {
            request = request.header(name, value);
        }
        for (name, value) in fetch.headers() {
            request = request.header(name, value);
        }
        request.call()
    }

    /// Checks status and content type, and only then decodes.
    fn read(
        &self,
        fetch: &PlexRequest,
        mut response: Response<Body>,
        deadline: Instant,
    ) -> Result<(PlexResponse, Option<Permit>), PlexError> {
        if let Some(error) = PlexError::from_status(response.status().as_u16()) {
            return Err(error);
        }
        refuse_markup(&response)?;
        // Some servers send the size of a section only here.
        let total = response.headers().get("X-Plex-Container-Total-Size");
        let total = total.and_then(|total| Some(total.to_str().ok()?.to_owned()));
        let body = response.body_mut().with_config().limit(MAX_BODY);
        let (mut decoded, permit) = self.decode_body(fetch, body.reader(), deadline)?;
        if let (PlexResponse::Items(items), Some(total)) = (&mut decoded, total) {
            items.total_size.or_set(&total);
        }
        Ok((complete(decoded)?, permit))
    }

    fn decode_body(
        &self,
        fetch: &PlexRequest,
        body: impl Read,
        deadline: Instant,
    ) -> Result<(PlexResponse, Option<Permit>), PlexError> {
        let mut clean = bounded(fetch, body);
        let mut beginning = Vec::new();
        clean
            .by_ref()
            .take(MAX_SMALL)
            .read_to_end(&mut beginning)
            .map_err(|error| request_error(error.into()))?;
        if (beginning.len() as u64) < MAX_SMALL {
            return Ok((decode_clean(fetch, &*beginning)?, None));
        }
        let permit = self.large_bodies.acquire(deadline);
        let permit = permit.ok_or(PlexError::Timeout)?;
        let decoded = decode_clean(fetch, beginning.chain(clean))?;
        Ok((decoded, Some(permit)))
    }
}

/// Decodes the body of a response to `fetch`.
///
/// # Errors
/// [`PlexError::Decode`] when it is not JSON or not Plex's; the error of the connection.
pub fn decode(fetch: &PlexRequest, body: impl Read) -> Result<PlexResponse, PlexError> {
    complete(decode_clean(fetch, bounded(fetch, body))?)
}

/// Rejects a count without a number: it would be mistaken for 0.
fn complete(decoded: PlexResponse) -> Result<PlexResponse, PlexError> {
    match &decoded {
        PlexResponse::Items(items) if items.count().is_none() => Err(PlexError::Decode(
            "the response does not say how many items there are".into(),
        )),
        _ => Ok(decoded),
    }
}

/// The body of a response to `fetch`, with everything that no Plex sends left out.
fn bounded<R: Read>(fetch: &PlexRequest, body: R) -> BoundedJson<CleanJson<R>> {
    let bounds = match fetch {
        // All libraries are within one element; what is nested in each of them is not used.
        PlexRequest::Providers => Bounds {
            depth: 8,
            element: 3_000_000,
        },
        // A session takes 15 KB, and a film with hundreds of actors ten times that.
        _ => Bounds {
            depth: 32,
            element: 500_000,
        },
    };
    BoundedJson::new(CleanJson::new(body), bounds)
}

fn decode_clean(fetch: &PlexRequest, body: impl Read) -> Result<PlexResponse, PlexError> {
    Ok(match fetch {
        PlexRequest::Server => PlexResponse::Server(container(body)?),
        PlexRequest::Providers => PlexResponse::Providers(container(body)?),
        PlexRequest::Sessions => PlexResponse::Sessions(container(body)?),
        PlexRequest::Metadata(_) => PlexResponse::Metadata(container(body)?),
        PlexRequest::Items(_) => PlexResponse::Items(container(body)?),
        PlexRequest::Resources => PlexResponse::Resources(container(body)?),
        PlexRequest::Bandwidth => PlexResponse::Bandwidth(container(body)?),
        PlexRequest::Activities => PlexResponse::Activities(container(body)?),
        PlexRequest::Accounts => PlexResponse::Accounts(container(body)?),
        PlexRequest::Updater => PlexResponse::Updater(container(body)?),
    })
}

fn container<T: DeserializeOwned>(body: impl Read) -> Result<T, PlexError> {
    let decoded: Result<Envelope<T>, _> =
        serde_json::from_reader(BufReader::with_capacity(8 * 1024, body));
    decoded.map(|envelope| envelope.container).map_err(|error| {
        if error.is_io() {
            request_error(io::Error::from(error).into())
        } else {
            PlexError::Decode(Box::new(NotPlexJson(error)))
        }
    })
}

/// The body is not JSON, or not what Plex sends there.
#[derive(Debug)]
struct NotPlexJson(serde_json::Error);

impl std::fmt::Display for NotPlexJson {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "the response is not Plex's JSON ({}): is PLEX_SERVER the address of Plex itself?",
            self.0
        )
    }
}

impl std::error::Error for NotPlexJson {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

/// Plex sends errors in HTML whatever the request accepts, and so do the login pages of proxies.
fn refuse_markup(response: &Response<Body>) -> Result<(), PlexError> {
    match response.body().mime_type() {
        Some(mime) if !mime.to_ascii_lowercase().contains("json") => {
            // Before it is cut off: what is left of a token would not be found any more.
            let mime: String = redact(mime).chars().take(40).collect();
            Err(PlexError::Decode(
                format!(
                    "the response is `{mime}` and not JSON: is PLEX_SERVER the address of Plex \
                     itself, and not of a login page or another program?"
                )
                .into(),
            ))
        }
        _ => Ok(()),
    }
}

fn request_error(error: ureq::Error) -> PlexError {
    match error {
        ureq::Error::Other(inner) => match inner.downcast::<DialError>() {
            Ok(error) => (*error).into(),
            Err(inner) => PlexError::Connect(inner),
        },
        ureq::Error::Timeout(Timeout::Resolve) => PlexError::Connect(
            "the name in PLEX_SERVER was not resolved in time: check the DNS server".into(),
        ),
        ureq::Error::Timeout(_) => PlexError::Timeout,
        ureq::Error::Io(error) => PlexError::ConnectionLost(Box::new(ConnectionLost(error))),
        // Not the error's own text: it may quote what was sent or received.
        ureq::Error::Protocol(_) | ureq::Error::Http(_) => PlexError::Decode(
            "the response is not HTTP: if this port speaks TLS, begin PLEX_SERVER with https://; \
             otherwise it is not Plex's port, which is 32400 unless you changed it"
                .into(),
        ),
        ureq::Error::Decompress(..) => PlexError::Decode(
            "the response's compression is damaged: a reverse proxy in front of Plex must pass \
                 on responses unchanged"
                .into(),
        ),
        ureq::Error::LargeResponseHeader(..) | ureq::Error::BodyExceedsLimit(_) => {
            PlexError::TooLarge
        }
        other => PlexError::Connect(other.into()),
    }
}

/// The connection was lost before the response was complete.
#[derive(Debug)]
struct ConnectionLost(io::Error);

impl std::fmt::Display for ConnectionLost {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let tls_error = self
            .0
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>());
        if let Some(error) = tls_error {
            // With TLS 1.3, the server rejects the client after the handshake.
            return formatter.write_str(&tls::explain_error(error, ""));
        }
        formatter.write_str("the connection was lost (")?;
        match self.0.kind() {
            io::ErrorKind::UnexpectedEof => formatter.write_str("the server closed it")?,
            _ => self.0.fmt(formatter)?,
        }
        formatter.write_str(
            "): Plex may be restarting; if this persists, check the port in PLEX_SERVER, and \
             whether it must begin with http:// or https://",
        )
    }
}

impl std::error::Error for ConnectionLost {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}
