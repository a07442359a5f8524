//! The variables that the exporter reads, as `--help` lists them.

/// One environment variable, as `--help` prints it.
#[derive(Debug)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// What it means, in a line.
    pub meaning: &'static str,
    /// The value it has when it is not set; empty where there is none.
    pub default: &'static str,
}

/// Every variable the exporter reads.
pub const VARIABLES: [Variable; 11] = [
    var(
        "PLEX_SERVER",
        "URL of the Plex server: scheme, host, port, base path",
        DEFAULT_SERVER,
    ),
    var(
        "PLEX_TOKEN",
        "token of the server's administrator (or use PLEX_TOKEN_FILE)",
        "",
    ),
    var(
        "PLEX_TOKEN_FILE",
        "file that holds the token; wins over PLEX_TOKEN",
        "",
    ),
    var(
        "LISTEN_ADDRESS",
        "address of the metrics server; :PORT is every interface",
        DEFAULT_LISTEN,
    ),
    var(
        "SKIP_TLS_VERIFICATION",
        "true or 1: accept any certificate of the Plex server",
        "false",
    ),
    var(
        "PLEX_CA_FILE",
        "PEM file of the CA or self-signed certificate to trust",
        "",
    ),
    var(
        "PLEX_TLS_SERVER_NAME",
        "name to expect in the certificate",
        "the URL's host",
    ),
    var("LOG_LEVEL", "error, warn, info, debug or trace", "info"),
    var("TZ", "time zone of log timestamps", "UTC"),
    var(
        "HEALTH_FILE",
        "path of the health marker",
        DEFAULT_HEALTH_FILE,
    ),
    var(
        "HIDE_LABELS",
        "comma list of user, title, device: values to hide",
        "",
    ),
];

pub(super) const DEFAULT_SERVER: &str = "http://plex:32400";
pub(super) const DEFAULT_LISTEN: &str = ":9594";
pub(super) const DEFAULT_HEALTH_FILE: &str = "/tmp/.healthy";

const fn var(name: &'static str, meaning: &'static str, default: &'static str) -> Variable {
    Variable {
        name,
        meaning,
        default,
    }
}
