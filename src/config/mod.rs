//! The environment, read into a validated [`Config`]; all errors are reported at once.

mod error;
mod values;
mod variables;

use std::{
    error::Error,
    ffi::OsString,
    path::{Path, PathBuf},
};

use log::LevelFilter;
use rustls::pki_types::ServerName;

use self::{
    error::{InvalidValue, InvalidVariable},
    values::{parse_flag, parse_hidden, parse_level, read_certificates},
    variables::{DEFAULT_HEALTH_FILE, DEFAULT_LISTEN, DEFAULT_SERVER},
};
use crate::{
    listen::ListenAddress,
    net::{Dialer, DialerError},
    secret::{self, Secret},
    server_url::ServerUrl,
    tls::TlsOptions,
    token,
};

pub use error::ConfigError;
pub use values::HiddenLabels;
pub use variables::VARIABLES;

/// Everything `plex-exporter` needs to run.
#[derive(Debug, Clone)]
pub struct Config {
    /// Opens the connections to Plex.
    pub dialer: Dialer,
    /// The administrator's token.
    pub token: Secret,
    /// The file that it came from, to be read again when Plex refuses the token.
    pub token_file: Option<PathBuf>,
    /// How Plex's certificate is verified.
    pub tls: TlsOptions,
    /// Where metrics are served.
    pub listen: ListenAddress,
    /// The health marker's path.
    pub health_file: PathBuf,
    /// Label values to hide.
    pub hide: HiddenLabels,
    /// The lowest severity that is logged.
    pub log_level: LevelFilter,
    /// Warnings about questionable settings, one line each.
    pub warnings: Vec<String>,
}

/// What the `health` command needs; it must work without a token.
#[derive(Debug)]
pub struct ProbeConfig {
    /// The health marker's path.
    pub health_file: PathBuf,
    /// Where the exporter listens, for the probe when there is no marker.
    pub listen: ListenAddress,
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
        let dialer = server.and_then(|server| env.dialer(&server, &tls));
        let listen = env.listen();
        let health_file = env.health_file();
        let hide = env.parsed("HIDE_LABELS", "", parse_hidden);
        let log_level = env.parsed("LOG_LEVEL", "info", parse_level);
        match (dialer, token, listen, hide, log_level) {
            (
                Some(dialer),
                Some((token, token_file)),
                Some(listen),
                Some(hide),
                Some(log_level),
            ) if env.errors.is_empty() => Ok(Self {
                dialer,
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
            // Users sometimes set the token itself instead of the path of the file.
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
                // Container engines mount secrets there, readable only within the container.
                if for_everybody && !path.starts_with("/run/secrets") {
                    self.warnings.push(format!(
                        "{name}: every user of this machine can read {}; remove that permission \
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

    fn dialer(&mut self, server: &ServerUrl, tls: &TlsOptions) -> Option<Dialer> {
        Dialer::new(server, tls)
            .map_err(|error| {
                let name = match error {
                    DialerError::HostIsNoName => "PLEX_SERVER",
                    DialerError::Tls(_) => "PLEX_CA_FILE",
                };
                self.invalid(name, error);
            })
            .ok()
    }
}

/// Makes sure that the token in the environment is redacted in everything printed from now on, even
/// if the rest of the environment is never read.
pub fn redact_tokens(lookup: Lookup<'_>) {
    if let Some(value) = lookup("PLEX_TOKEN") {
        let _ = Secret::new(value.to_string_lossy().into_owned());
    }
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
        assert_eq!(config.dialer.server().to_string(), "http://plex:32400");
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
    fn a_pem_block_that_is_no_certificate_is_reported_with_the_other_errors() {
        let path = std::env::temp_dir().join(format!("plex-ca-{}", std::process::id()));
        fs::write(
            &path,
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        )
        .unwrap();
        let error = read(&[
            ("PLEX_SERVER", "https://plex.example"),
            ("PLEX_TOKEN", "t"),
            ("PLEX_CA_FILE", path.to_str().unwrap()),
            ("LOG_LEVEL", "loud"),
        ]);
        fs::remove_file(path).unwrap();
        let error = error.unwrap_err().to_string();
        let names: Vec<_> = error.lines().map(|line| line.split(':').next()).collect();
        assert_eq!(names, [Some("PLEX_CA_FILE"), Some("LOG_LEVEL")], "{error}");
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
