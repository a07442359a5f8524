//! The token in use, and its rotation: the file is read again when Plex refuses the token.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender, bounded};
use log::{info, warn};

use crate::{
    files::{self, FileError},
    secret::{InvalidToken, Secret},
};

/// The file is read again at most this often, however often Plex refuses the token.
const READ_INTERVAL: Duration = Duration::from_secs(15);

/// Why a file does not supply a token.
#[derive(Debug)]
pub enum TokenFileError {
    /// The file was not read.
    File(FileError),
    /// Its content is not a valid token.
    Token(InvalidToken),
}

/// Reads the token in the file at `path`, without one line end. Also returns whether every user of
/// this machine can read the file.
///
/// # Errors
/// When there is none.
pub fn read_file(path: &Path) -> Result<(Secret, bool), TokenFileError> {
    let (bytes, metadata) = files::read(path).map_err(TokenFileError::File)?;
    // Bytes that are not UTF-8 become characters that Secret rejects.
    let text = String::from_utf8_lossy(&bytes);
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    let secret = Secret::new(line.to_owned()).map_err(TokenFileError::Token)?;
    let for_everybody = std::os::unix::fs::MetadataExt::mode(&metadata) & 0o004 != 0;
    Ok((secret, for_everybody))
}

/// The token that requests carry. Clones share it, and all use a new one immediately.
#[derive(Debug, Clone)]
pub struct Token(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// The file to read again; `None` where the token came from `PLEX_TOKEN`.
    file: Option<PathBuf>,
    current: Mutex<Current>,
    replaced: Sender<()>,
}

#[derive(Debug)]
struct Current {
    secret: Secret,
    /// When the file was last read because Plex refused the token.
    read: Option<Instant>,
    warned: bool,
}

impl Token {
    /// The token `secret`, which is in `file` if it may be replaced. The receiver gets a message
    /// when it was.
    #[must_use]
    pub fn new(secret: Secret, file: Option<PathBuf>) -> (Self, Receiver<()>) {
        let (replaced, receiver) = bounded(1);
        let current = Mutex::new(Current {
            secret,
            read: None,
            warned: false,
        });
        let shared = Shared {
            file,
            current,
            replaced,
        };
        (Self(Arc::new(shared)), receiver)
    }

    /// The token to send with the next request.
    #[must_use]
    pub fn current(&self) -> Secret {
        self.lock().secret.clone()
    }

    /// Plex refused `refused`: reads the file again, if that is due. Returns whether there is
    /// another token now, so that the request is worth repeating.
    #[must_use]
    pub fn refused(&self, refused: &Secret, now: Instant) -> bool {
        let mut current = self.lock();
        if current.secret != *refused {
            // Another thread has read it.
            return true;
        }
        let Some(file) = &self.0.file else {
            return false;
        };
        if current.read.is_some_and(|read| now < read + READ_INTERVAL) {
            return false;
        }
        current.read = Some(now);
        // A few bytes of a regular file: the lock is held meanwhile, so that one thread reads.
        match read_file(file) {
            Ok((secret, _)) if secret == current.secret => false,
            Ok((secret, _)) => {
                current.secret = secret;
                current.warned = false;
                // Full means that the message is on its way already.
                let _ = self.0.replaced.try_send(());
                info!("PLEX_TOKEN_FILE: Plex refused the token, trying the new one in the file");
                true
            }
            Err(error) => {
                if !std::mem::replace(&mut current.warned, true) {
                    warn!("PLEX_TOKEN_FILE: {error}");
                }
                false
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Current> {
        match self.0.current.lock() {
            Ok(current) => current,
            // A panic ends the process; this is for tests.
            Err(poisoned) => poisoned.into_inner(),
        }
    }
}

impl std::fmt::Display for TokenFileError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(error) => write!(
                formatter,
                "cannot read the file: {error}; give a regular file that holds the token and that \
                 this user may read"
            ),
            Self::Token(error) => error.fmt(formatter),
        }
    }
}

impl std::error::Error for TokenFileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::File(error) => Some(error),
            Self::Token(error) => Some(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(value: &str) -> Secret {
        Secret::new(value.to_owned()).unwrap()
    }

    #[test]
    fn a_refused_token_is_read_again_at_most_every_15_seconds() {
        let path = std::env::temp_dir().join(format!("plex-rotated-{}", std::process::id()));
        std::fs::write(&path, "first\n").unwrap();
        let (token, replaced) = Token::new(secret("first"), Some(path.clone()));
        let start = Instant::now();
        assert!(!token.refused(&secret("first"), start), "the same again");
        std::fs::write(&path, "second\n").unwrap();
        let soon = start + Duration::from_secs(14);
        assert!(!token.refused(&secret("first"), soon));
        assert!(replaced.try_recv().is_err());
        assert!(token.refused(&secret("first"), start + READ_INTERVAL));
        assert!(replaced.try_recv().is_ok());
        assert_eq!(token.current(), secret("second"));
        assert!(
            token.refused(&secret("first"), start + READ_INTERVAL),
            "a request that was sent before is sent again"
        );
        std::fs::remove_file(&path).unwrap();
        assert!(!token.refused(&secret("second"), start + 3 * READ_INTERVAL));
        assert_eq!(token.current(), secret("second"), "no file, no change");
    }

    #[test]
    fn a_token_without_a_file_stays() {
        let (token, _replaced) = Token::new(secret("only"), None);
        assert!(!token.refused(&secret("only"), Instant::now()));
    }
}
