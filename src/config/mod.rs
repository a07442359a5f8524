//! The environment, read into a validated [`Config`]; all errors are reported at once.

use std::{
    error::Error,
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
};

use log::LevelFilter;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};

use crate::{
    files::{self, FileError},
    listen::ListenAddress,
    secret::{self, InvalidToken, Secret, quoted},
    server_url::ServerUrl,
    token::{self, TokenFileError},
};

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
    /// The file that it came from, to be read again when Plex refuses it.
    pub token_file: Option<PathBuf>,
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
    /// What works and should be otherwise, a line each.
    pub warnings: Vec<String>,
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
#[derive(Debug)]
pub struct ConfigError(Vec<InvalidVariable>);

/// An invalid variable, and the fix.
#[derive(Debug)]
struct InvalidVariable {
    name: &'static str,
    error: Box<dyn Error + Send + Sync>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, InvalidVariable { name, error }) in self.0.iter().enumerate() {
            let line_end = if index == 0 { "" } else { "\n" };
            write!(formatter, "{line_end}{name}: {error}")?;
        }
        Ok(())
    }
}

impl Error for ConfigError {}

/// Why the value of a variable is invalid. The value is repeated only where it cannot be a token
/// that was put into the wrong variable.
#[derive(Debug)]
pub enum InvalidValue {
    /// A value that is none of the documented ones; what they are.
    Unknown(String, &'static str),
    /// Not UTF-8.
    NotText,
    /// Neither a host name nor an address.
    NotAServerName,
    /// Required, and absent.
    TokenMissing,
    /// `PLEX_TOKEN` is no token.
    Token(InvalidToken),
    /// The token file holds none.
    TokenFile(PathBuf, TokenFileError),
    /// `PLEX_CA_FILE` was not read.
    CaFile(PathBuf, FileError),
    /// `PLEX_CA_FILE` is damaged.
    Pem(PathBuf, rustls::pki_types::pem::Error),
    /// `PLEX_CA_FILE` holds no certificate.
    NoCertificate(PathBuf),
}

impl fmt::Display for InvalidValue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(value, known) => write!(formatter, "{} {known}", quoted(value)),
            Self::NotText => formatter.write_str("is not UTF-8 text; write it as plain text"),
            Self::NotAServerName => formatter.write_str(
                "is not a host name or IP address; write the name that is in the certificate, \
                 without scheme and port",
            ),
            Self::TokenMissing => formatter.write_str(
                "is not set; set it, or PLEX_TOKEN_FILE, to the token of the server's \
                 administrator (the README says how to find it)",
            ),
            Self::Token(error) => error.fmt(formatter),
            Self::TokenFile(path, error) => write!(formatter, "{}: {error}", shown(path)),
            Self::CaFile(path, error) => write!(
                formatter,
                "{}: cannot read the file: {error}; give a readable PEM file",
                shown(path)
            ),
            Self::Pem(path, error) => write!(
                formatter,
                "{}: not valid PEM: {error}; copy the file again",
                shown(path)
            ),
            Self::NoCertificate(path) => write!(
                formatter,
                "{}: no certificate in it; it must have a BEGIN CERTIFICATE block (PEM, not DER)",
                shown(path)
            ),
        }
    }
}

impl Error for InvalidValue {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Token(error) => Some(error),
            Self::TokenFile(_, error) => Some(error),
            Self::CaFile(_, error) => Some(error),
            Self::Pem(_, error) => Some(error),
            Self::Unknown(..)
            | Self::NotText
            | Self::NotAServerName
            | Self::TokenMissing
            | Self::NoCertificate(_) => None,
        }
    }
}

/// A path for an error message; a token in place of one has no slash.
fn shown(path: &Path) -> String {
    let path = path.display().to_string();
    if path.contains('/') {
        path
    } else {
        quoted(&path)
    }
}

/// Looks up a variable: the process environment, or a test's own.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<OsString>;

impl Config {
    /// Reads the whole configuration.
    ///
    /// # Errors
    /// Every error, each with its variable and the fix. No value that may be a token is repeated.
    pub fn from_env(lookup: Lookup<'_>) -> Result<Self, ConfigError> {
        let mut env = Env {
            lookup,
            errors: Vec::new(),
            warnings: Vec::new(),
        };
        let server = env.parsed("PLEX_SERVER", DEFAULT_SERVER, ServerUrl::parse);
        let token = env.token();
        let tls = env.tls();
        let listen = env.listen();
        let health_file = env.health_file();
        let hide = env.parsed("HIDE_LABELS", "", parse_hidden);
        let log_level = env.parsed("LOG_LEVEL", "info", parse_level);
        match (server, token, listen, hide, log_level) {
            (
                Some(server),
                Some((token, token_file)),
                Some(listen),
                Some(hide),
                Some(log_level),
            ) if env.errors.is_empty() => Ok(Self {
                server,
                token,
                token_file,
                tls,
                listen,
                health_file,
                hide,
                log_level,
                warnings: env.warnings,
            }),
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
            warnings: Vec::new(),
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
    errors: Vec<InvalidVariable>,
    warnings: Vec<String>,
}

impl Env<'_> {
    fn invalid(&mut self, name: &'static str, error: impl Error + Send + Sync + 'static) {
        let error = Box::new(error);
        self.errors.push(InvalidVariable { name, error });
    }

    /// The value of a variable; one that is set but empty counts as not set.
    fn text(&mut self, name: &'static str) -> Option<String> {
        let value = (self.lookup)(name)?;
        let Ok(value) = value.into_string() else {
            self.invalid(name, InvalidValue::NotText);
            return None;
        };
        (!value.is_empty()).then_some(value)
    }

    fn parsed<T, E: Error + Send + Sync + 'static>(
        &mut self,
        name: &'static str,
        default: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let value = self.text(name).unwrap_or_else(|| default.to_owned());
        parse(&value)
            .map_err(|error| self.invalid(name, error))
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

    /// The token, and the file that it came from.
    fn token(&mut self) -> Option<(Secret, Option<PathBuf>)> {
        if let Some(path) = self.text("PLEX_TOKEN_FILE") {
            // The token itself in place of the file's name is a likely mistake.
            if !path.contains('/') && secret::may_be_token(&path) {
                let _ = Secret::new(path.clone());
            }
            return self.token_file("PLEX_TOKEN_FILE", path.into());
        }
        if let Some(value) = self.text("PLEX_TOKEN") {
            return match Secret::new(value) {
                Ok(token) => Some((token, None)),
                Err(error) => {
                    self.invalid("PLEX_TOKEN", InvalidValue::Token(error));
                    None
                }
            };
        }
        let directory = (self.lookup)("CREDENTIALS_DIRECTORY").filter(|path| !path.is_empty());
        let credential = directory.map(|directory| Path::new(&directory).join("plex-token"));
        if let Some(path) = credential.filter(|path| path.exists()) {
            return self.token_file("plex-token in CREDENTIALS_DIRECTORY", path);
        }
        self.invalid("PLEX_TOKEN", InvalidValue::TokenMissing);
        None
    }

    fn token_file(
        &mut self,
        name: &'static str,
        path: PathBuf,
    ) -> Option<(Secret, Option<PathBuf>)> {
        match token::read_file(&path) {
            Ok((token, for_everybody)) => {
                // A container engine mounts its secrets there, readable within the container alone.
                if for_everybody && !path.starts_with("/run/secrets") {
                    self.warnings.push(format!(
                        "{name}: every user of this machine may read {}; take that right away \
                         (chmod o-r)",
                        path.display()
                    ));
                }
                Some((token, Some(path)))
            }
            Err(error) => {
                self.invalid(name, InvalidValue::TokenFile(path, error));
                None
            }
        }
    }

    fn tls(&mut self) -> TlsOptions {
        let skip_verification = self.parsed("SKIP_TLS_VERIFICATION", "false", parse_flag);
        let ca = self.text("PLEX_CA_FILE").and_then(|path| {
            read_certificates(path.into())
                .map_err(|error| self.invalid("PLEX_CA_FILE", error))
                .ok()
        });
        let server_name = self.text("PLEX_TLS_SERVER_NAME").and_then(|name| {
            ServerName::try_from(name)
                .map_err(|_| self.invalid("PLEX_TLS_SERVER_NAME", InvalidValue::NotAServerName))
                .ok()
        });
        TlsOptions {
            skip_verification: skip_verification.unwrap_or(false),
            ca,
            server_name,
        }
    }
}

/// Makes sure that the token in the environment is redacted in whatever is printed from now on, even
/// when the environment is not looked at any further.
pub fn redact_tokens(lookup: Lookup<'_>) {
    if let Some(value) = lookup("PLEX_TOKEN") {
        let _ = Secret::new(value.to_string_lossy().into_owned());
    }
}

fn read_certificates(path: PathBuf) -> Result<Vec<CertificateDer<'static>>, InvalidValue> {
    let pem = match files::read(&path) {
        Ok((pem, _)) => pem,
        Err(error) => return Err(InvalidValue::CaFile(path, error)),
    };
    match CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>() {
        Ok(certificates) if certificates.is_empty() => Err(InvalidValue::NoCertificate(path)),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(InvalidValue::Pem(path, error)),
    }
}

fn parse_flag(value: &str) -> Result<bool, InvalidValue> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(InvalidValue::Unknown(
            value.to_owned(),
            "is neither true nor false; use one of them",
        )),
    }
}

fn parse_level(value: &str) -> Result<LevelFilter, InvalidValue> {
    match value.parse() {
        Ok(LevelFilter::Off) | Err(_) => Err(InvalidValue::Unknown(
            value.to_owned(),
            "is not a level; use error, warn, info, debug or trace",
        )),
        Ok(level) => Ok(level),
    }
}

fn parse_hidden(value: &str) -> Result<HiddenLabels, InvalidValue> {
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
                return Err(InvalidValue::Unknown(
                    word.to_owned(),
                    "cannot be hidden; use user, title or device",
                ));
            }
        }
    }
    Ok(hidden)
}

#[cfg(test)]
mod tests {
    use std::fs;

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
    fn all_errors_are_reported_at_once_and_none_repeats_the_token() {
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
    fn a_token_in_the_wrong_variable_is_not_repeated() {
        for name in [
            "PLEX_SERVER",
            "PLEX_TOKEN_FILE",
            "LISTEN_ADDRESS",
            "SKIP_TLS_VERIFICATION",
            "PLEX_CA_FILE",
            "LOG_LEVEL",
            "HIDE_LABELS",
        ] {
            let error = read(&[(name, "xYz12abcDEFghiJKLmn")])
                .unwrap_err()
                .to_string();
            assert!(error.contains(name), "{error}");
            assert!(!error.contains("xYz12abc"), "{error}");
        }
    }

    #[test]
    fn a_token_file_that_everybody_may_read_gets_a_warning() {
        use std::os::unix::fs::PermissionsExt;
        let path = std::env::temp_dir().join(format!("plex-token-mode-{}", std::process::id()));
        fs::write(&path, "from-file").unwrap();
        for (mode, warnings) in [(0o600, 0), (0o640, 0), (0o644, 1)] {
            fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            let config = read(&[("PLEX_TOKEN_FILE", path.to_str().unwrap())]).unwrap();
            assert_eq!(config.warnings.len(), warnings, "{mode:o}");
        }
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
