//! `PLEX_SERVER`: the address of Plex, parsed and validated.

use std::fmt;

use ureq::http::Uri;

/// The address of the Plex server: scheme, host, port and the base path of a reverse proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerUrl {
    tls: bool,
    /// As in the URL, an IPv6 literal within its brackets.
    host: String,
    port: u16,
    /// Empty, or begins with a slash and does not end with one.
    base_path: String,
}

/// Why a text is not the address of a server. The text is not repeated: people paste URLs that hold
/// their token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidServerUrl {
    /// It holds an `X-Plex-Token`.
    HoldsToken,
    /// The web app's address: `http://host:32400/web/index.html#!/…`.
    WebApp,
    /// A query or a fragment.
    QueryOrFragment,
    /// Not a URL at all.
    NotAUrl,
    /// A scheme that is neither `http` nor `https`, or none.
    Scheme,
    /// No host.
    NoHost,
    /// A user name, with or without a password.
    UserName,
    /// A colon without a valid port number after it.
    Port,
}

impl fmt::Display for InvalidServerUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let problem = match self {
            Self::HoldsToken => {
                "holds an X-Plex-Token; put the token into PLEX_TOKEN and only the server's \
                 address here"
            }
            Self::WebApp => "is the address of Plex's web app; leave out /web and all that follows",
            Self::QueryOrFragment => "holds a query or a fragment; leave it out",
            Self::NotAUrl => "is not a URL; write scheme, host and port",
            Self::Scheme => "must begin with http:// or https://",
            Self::NoHost => "names no host; write scheme, host and port",
            Self::UserName => "holds a user name; leave it out, Plex knows only tokens",
            Self::Port => {
                "has no valid port after the colon; write one from 1 to 65535, Plex's is 32400"
            }
        };
        write!(
            formatter,
            "{problem}, for example http://192.168.1.10:32400"
        )
    }
}

impl std::error::Error for InvalidServerUrl {}

impl ServerUrl {
    /// Reads the value of `PLEX_SERVER`.
    ///
    /// # Errors
    /// What is invalid and the fix.
    pub fn parse(value: &str) -> Result<Self, InvalidServerUrl> {
        if value.to_ascii_lowercase().contains("x-plex-token") {
            return Err(InvalidServerUrl::HoldsToken);
        }
        let path_of_web_app = |path: &str| path.split('/').any(|segment| segment == "web");
        if let Some((_, rest)) = value.split_once("://")
            && let Some((_, path)) = rest.split_once('/')
            && path_of_web_app(path.split(['?', '#']).next().unwrap_or_default())
        {
            return Err(InvalidServerUrl::WebApp);
        }
        if value.contains(['?', '#']) {
            return Err(InvalidServerUrl::QueryOrFragment);
        }
        let uri: Uri = value.parse().map_err(|_| InvalidServerUrl::NotAUrl)?;
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(InvalidServerUrl::Scheme),
        };
        let authority = uri.authority().ok_or(InvalidServerUrl::NoHost)?;
        if authority.as_str().contains('@') {
            return Err(InvalidServerUrl::UserName);
        }
        let host = authority.host();
        if host.is_empty() || host == "[]" {
            return Err(InvalidServerUrl::NoHost);
        }
        // Only digits may follow the colon: `Uri` accepts a sign, and nothing at all.
        let port = match authority.as_str().strip_prefix(host) {
            Some("") if tls => 443,
            Some("") => 80,
            Some(rest) => rest
                .strip_prefix(':')
                .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
                .and_then(|digits| digits.parse().ok())
                .filter(|port| *port != 0)
                .ok_or(InvalidServerUrl::Port)?,
            None => return Err(InvalidServerUrl::NotAUrl),
        };
        let base_path = uri.path().trim_end_matches('/').to_owned();
        Ok(Self {
            tls,
            // Names have no case, but the C library looks for exactly this one in /etc/hosts.
            // Network interfaces, within brackets, do.
            host: if host.starts_with('[') {
                host.to_owned()
            } else {
                host.to_ascii_lowercase()
            },
            port,
            base_path,
        })
    }

    /// Whether the connection is encrypted (`https` and `wss`).
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// Host name or address, an IPv6 literal without its brackets: what a resolver takes.
    #[must_use]
    pub fn host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    /// TCP port; the scheme's default where the URL names none.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The HTTP URL of `path` (which begins with a slash) below the base path.
    #[must_use]
    pub fn http(&self, path: &str) -> String {
        self.url(if self.tls { "https" } else { "http" }, path)
    }

    /// The WebSocket URL of `path` (which begins with a slash) below the base path.
    #[must_use]
    pub fn websocket(&self, path: &str) -> String {
        self.url(if self.tls { "wss" } else { "ws" }, path)
    }

    fn url(&self, scheme: &str, path: &str) -> String {
        format!(
            "{scheme}://{}:{}{}{path}",
            self.host, self.port, self.base_path
        )
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.http(""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(value: &str) -> ServerUrl {
        ServerUrl::parse(value).unwrap()
    }

    #[test]
    fn base_path_is_kept_for_both_protocols_and_a_trailing_slash_is_not() {
        let url = parse("https://nas.example/plex/");
        assert_eq!(
            url.http("/identity"),
            "https://nas.example:443/plex/identity"
        );
        assert_eq!(url.websocket("/:/x"), "wss://nas.example:443/plex/:/x");
        assert_eq!(parse("http://plex:32400/").http("/"), "http://plex:32400/");
    }

    #[test]
    fn an_ipv6_literal_keeps_its_brackets_in_urls_only() {
        let url = parse("http://[fd00::7]:32400");
        assert_eq!(url.host(), "fd00::7");
        assert_eq!(url.websocket("/x"), "ws://[fd00::7]:32400/x");
    }

    #[test]
    fn host_names_have_no_case() {
        assert_eq!(
            parse("http://NAS.local:32400/Plex").http("/"),
            "http://nas.local:32400/Plex/"
        );
    }

    #[test]
    fn default_ports_are_those_of_the_scheme() {
        assert_eq!(parse("http://plex").port(), 80);
        assert_eq!(parse("https://plex").port(), 443);
    }

    #[test]
    fn errors_are_explained_and_never_repeat_the_value() {
        for (value, needle) in [
            ("plex:32400", "must begin with"),
            ("ftp://plex:32400", "must begin with"),
            ("http://plex:32400/web", "/web"),
            ("http://plex:32400/web/index.html#!/server/x", "/web"),
            ("http://plex:32400/?X-Plex-Token=sEcret", "PLEX_TOKEN"),
            ("http://plex:32400/?a=sEcret", "query"),
            ("http://sEcret@plex:32400", "user name"),
            ("http://plex:", "port"),
            ("http://plex:0", "port"),
            ("http://plex:+1", ""),
            ("http://plex:32400/?x-plex-token=sEcret", "PLEX_TOKEN"),
            ("http://user:sEcret@plex:32400", "user name"),
            ("http://plex:99999", ""),
            ("http://", ""),
            ("", ""),
        ] {
            let error = ServerUrl::parse(value).expect_err(value).to_string();
            assert!(error.contains(needle), "{value}: {error}");
            assert!(!error.contains("sEcret"), "{error}");
        }
    }
}
