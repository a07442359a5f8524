//! The environment, read into a validated [`Config`]; all errors are reported at once.

use std::{
    ffi::OsString,
    fmt, fs,
    path::{Path, PathBuf},
};

use log::LevelFilter;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};

use crate::{listen::ListenAddress, secret::Secret, server_url::ServerUrl};

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

const DEFAULT_SERVER: &str = "http://plex:32400";
const DEFAULT_LISTEN: &str = ":9594";
const DEFAULT_HEALTH_FILE: &str = "/tmp/.healthy";

const fn var(name: &'static str, meaning: &'static str, default: &'static str) -> Variable {
    Variable {
        name,
        meaning,
        default,
    }
}

/// Everything `plex-exporter` needs to run.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where Plex is.
    pub server: ServerUrl,
    /// The administrator's token.
    pub token: Secret,
    /// How Plex's certificate is verified.
    pub tls: TlsOptions,
    /// Where metrics are served.
    pub listen: ListenAddress,
    /// The health marker's path.
    pub health_file: PathBuf,
    /// Label values to hide.
    pub hide: HiddenLabels,
    /// The least important messages that are logged.
    pub log_level: LevelFilter,
}

/// How Plex's certificate is verified.
#[derive(Debug, Clone, Default)]
pub struct TlsOptions {
    /// Accept any certificate.
    pub skip_verification: bool,
    /// Trust these in place of the built-in roots.
    pub ca: Option<Vec<CertificateDer<'static>>>,
    /// Expect this name in place of the URL's host.
    pub server_name: Option<ServerName<'static>>,
}

/// Which label values are replaced by `hidden`, in metrics and logs alike.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HiddenLabels {
    /// The `user` label.
    pub user: bool,
    /// The three title labels.
    pub title: bool,
    /// The `device` label.
    pub device: bool,
}

/// What the `health` command needs; it must work without a token.
#[derive(Debug)]
pub struct ProbeConfig {
    /// The health marker's path.
    pub health_file: PathBuf,
    /// Where the exporter serves, asked when it cannot write the marker.
    pub listen: ListenAddress,
}

/// All errors found in the environment, one line each.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigError(Vec<String>);

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for ConfigError {}

/// Looks up a variable: the process environment, or a test's own.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<OsString>;

impl Config {
    /// Reads the whole configuration.
    ///
    /// # Errors
    /// Every error, each with its variable and the mend. No value that may be a token is repeated.
    pub fn from_env(lookup: Lookup<'_>) -> Result<Self, ConfigError> {
        let mut env = Env {
            lookup,
            errors: Vec::new(),
        };
        let server = env.parsed("PLEX_SERVER", DEFAULT_SERVER, ServerUrl::parse);
        let token = env.token();
        let tls = env.tls();
        let listen = env.listen();
        let health_file = env.health_file();
        let hide = env.parsed("HIDE_LABELS", "", parse_hidden);
        let log_level = env.parsed("LOG_LEVEL", "info", parse_level);
        match (server, token, listen, hide, log_level) {
            (Some(server), Some(token), Some(listen), Some(hide), Some(log_level))
                if env.errors.is_empty() =>
            {
                Ok(Self {
                    server,
                    token,
                    tls,
                    listen,
                    health_file,
                    hide,
                    log_level,
                })
            }
            _ => Err(ConfigError(env.errors)),
        }
    }
}

impl ProbeConfig {
    /// Reads what the `health` command needs.
    ///
    /// # Errors
    /// Every error, as for [`Config::from_env`].
    pub fn from_env(lookup: Lookup<'_>) -> Result<Self, ConfigError> {
        let mut env = Env {
            lookup,
            errors: Vec::new(),
        };
        let health_file = env.health_file();
        match env.listen() {
            Some(listen) if env.errors.is_empty() => Ok(Self {
                health_file,
                listen,
            }),
            _ => Err(ConfigError(env.errors)),
        }
    }
}

struct Env<'a> {
    lookup: Lookup<'a>,
    errors: Vec<String>,
}

impl Env<'_> {
    /// The value of a variable; one that is set but empty counts as not set.
    fn text(&mut self, name: &str) -> Option<String> {
        let value = (self.lookup)(name)?;
        let Ok(value) = value.into_string() else {
            self.errors.push(format!("{name}: is not UTF-8 text"));
            return None;
        };
        (!value.is_empty()).then_some(value)
    }

    fn parsed<T>(
        &mut self,
        name: &str,
        default: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.text(name).unwrap_or_else(|| default.to_owned());
        parse(&value)
            .map_err(|error| self.errors.push(format!("{name}: {error}")))
            .ok()
    }

    fn listen(&mut self) -> Option<ListenAddress> {
        self.parsed("LISTEN_ADDRESS", DEFAULT_LISTEN, ListenAddress::parse)
    }

    fn health_file(&mut self) -> PathBuf {
        (self.lookup)("HEALTH_FILE")
            .filter(|path| !path.is_empty())
            .map_or_else(|| PathBuf::from(DEFAULT_HEALTH_FILE), PathBuf::from)
    }

    fn token(&mut self) -> Option<Secret> {
        let (source, value) = if let Some(path) = self.text("PLEX_TOKEN_FILE") {
            (
                "PLEX_TOKEN_FILE",
                self.token_file("PLEX_TOKEN_FILE", Path::new(&path))?,
            )
        } else if let Some(value) = self.text("PLEX_TOKEN") {
            ("PLEX_TOKEN", value)
        } else {
            let directory = self.text("CREDENTIALS_DIRECTORY");
            let path = directory.map(|directory| Path::new(&directory).join("plex-token"));
            let Some(path) = path.filter(|path| path.exists()) else {
                self.errors.push(
                    "PLEX_TOKEN: is not set; set it, or PLEX_TOKEN_FILE, to the token of the \
                     server's administrator (the README says how to find it)"
                        .to_owned(),
                );
                return None;
            };
            let name = "plex-token in CREDENTIALS_DIRECTORY";
            (name, self.token_file(name, &path)?)
        };
        Secret::new(value)
            .map_err(|wrong| {
                self.errors
                    .push(format!("{source}: the token {wrong}; copy it again"));
            })
            .ok()
    }

    fn token_file(&mut self, source: &str, path: &Path) -> Option<String> {
        let path_shown = path.display();
        match fs::read(path) {
            Ok(bytes) => {
                // Bytes that are not UTF-8 become characters that Secret refuses.
                let mut token = String::from_utf8_lossy(&bytes).into_owned();
                if token.ends_with('\n') {
                    token.pop();
                    if token.ends_with('\r') {
                        token.pop();
                    }
                }
                Some(token)
            }
            Err(error) => {
                self.errors.push(format!(
                    "{source}: cannot read {path_shown}: {error}; give a file that holds the \
                     token and that this user may read"
                ));
                None
            }
        }
    }

    fn tls(&mut self) -> TlsOptions {
        let skip_verification = self.parsed("SKIP_TLS_VERIFICATION", "false", parse_flag);
        let ca = self.text("PLEX_CA_FILE").and_then(|path| {
            read_certificates(Path::new(&path))
                .map_err(|error| self.errors.push(format!("PLEX_CA_FILE: {error}")))
                .ok()
        });
        let server_name = self.text("PLEX_TLS_SERVER_NAME").and_then(|name| {
            ServerName::try_from(name)
                .map_err(|_| {
                    self.errors.push(
                        "PLEX_TLS_SERVER_NAME: is not a host name or IP address; write the name \
                         that stands in the certificate, without scheme and port"
                            .to_owned(),
                    );
                })
                .ok()
        });
        TlsOptions {
            skip_verification: skip_verification.unwrap_or(false),
            ca,
            server_name,
        }
    }
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let shown = path.display();
    let pem = fs::read(path)
        .map_err(|error| format!("cannot read {shown}: {error}; give a readable PEM file"))?;
    let certificates = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| format!("{shown} is not valid PEM: {error}"))?;
    if certificates.is_empty() {
        return Err(format!(
            "{shown} holds no certificate; it must have a BEGIN CERTIFICATE block (PEM, not DER)"
        ));
    }
    Ok(certificates)
}

fn parse_flag(value: &str) -> Result<bool, String> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(format!("`{value}` is neither true nor false")),
    }
}

fn parse_level(value: &str) -> Result<LevelFilter, String> {
    match value.parse() {
        Ok(LevelFilter::Off) | Err(_) => Err(format!(
            "`{value}` is not a level; use error, warn, info, debug or trace"
        )),
        Ok(level) => Ok(level),
    }
}

fn parse_hidden(value: &str) -> Result<HiddenLabels, String> {
    let mut hidden = HiddenLabels::default();
    for word in value
        .split(',')
        .map(str::trim)
        .filter(|word| !word.is_empty())
    {
        match word {
            "user" => hidden.user = true,
            "title" => hidden.title = true,
            "device" => hidden.device = true,
            _ => {
                return Err(format!(
                    "`{word}` cannot be hidden; use user, title or device"
                ));
            }
        }
    }
    Ok(hidden)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let pairs: Vec<(String, String)> = pairs
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect();
        Config::from_env(&move |name| {
            pairs
                .iter()
                .find(|(known, _)| known == name)
                .map(|(_, value)| value.into())
        })
    }

    #[test]
    fn defaults_are_those_of_the_table() {
        let config = read(&[("PLEX_TOKEN", "t")]).unwrap();
        assert_eq!(config.server.to_string(), "http://plex:32400");
        assert_eq!(config.listen.to_string(), ":9594");
        assert_eq!(config.health_file, Path::new("/tmp/.healthy"));
        assert_eq!(config.log_level, LevelFilter::Info);
        assert_eq!(config.hide, HiddenLabels::default());
        assert!(!config.tls.skip_verification);
    }

    #[test]
    fn all_mistakes_are_reported_at_once_and_none_repeats_the_token() {
        let error = read(&[
            ("PLEX_SERVER", "plex"),
            ("PLEX_TOKEN", "se cret"),
            ("LISTEN_ADDRESS", "9594"),
            ("SKIP_TLS_VERIFICATION", "maybe"),
            ("PLEX_CA_FILE", "/does/not/exist"),
            ("PLEX_TLS_SERVER_NAME", "https://x"),
            ("LOG_LEVEL", "loud"),
            ("HIDE_LABELS", "user,shoe"),
        ])
        .unwrap_err()
        .to_string();
        assert_eq!(error.lines().count(), 8, "{error}");
        for variable in VARIABLES.iter().map(|variable| variable.name) {
            if !["PLEX_TOKEN_FILE", "TZ", "HEALTH_FILE"].contains(&variable) {
                assert!(
                    error.contains(&format!("{variable}: ")),
                    "{variable} in {error}"
                );
            }
        }
        assert!(!error.contains("se cret"));
    }

    #[test]
    fn the_token_file_wins_and_loses_one_line_end() {
        let path = std::env::temp_dir().join(format!("plex-token-{}", std::process::id()));
        fs::write(&path, "from-file\r\n").unwrap();
        let config = read(&[
            ("PLEX_TOKEN", "t"),
            ("PLEX_TOKEN_FILE", path.to_str().unwrap()),
        ]);
        assert_eq!(config.unwrap().token.expose(), "from-file");
        fs::write(&path, "two\n\n").unwrap();
        assert!(read(&[("PLEX_TOKEN_FILE", path.to_str().unwrap())]).is_err());
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn hidden_labels_may_be_spaced() {
        let config = read(&[("PLEX_TOKEN", "t"), ("HIDE_LABELS", " user , device,")]).unwrap();
        assert_eq!(
            config.hide,
            HiddenLabels {
                user: true,
                title: false,
                device: true
            }
        );
    }
}
