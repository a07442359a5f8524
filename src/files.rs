//! Reads the small files that the configuration names, safely even if the path points to something
//! else.

use std::{
    fmt,
    fs::{Metadata, OpenOptions},
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

/// The largest file that is read: a bundle of every public CA has 230 KB.
const MAX_FILE: u64 = 1_000_000;

/// Why a file was not read.
#[derive(Debug)]
pub enum FileError {
    /// OS error.
    Io(io::Error),
    /// A FIFO, a directory or a device. Reading one could block for ever.
    NotRegular,
    /// Larger than any valid file.
    TooLarge,
}

impl fmt::Display for FileError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(formatter),
            Self::NotRegular => formatter.write_str("it is not a regular file"),
            Self::TooLarge => write!(formatter, "it is larger than {MAX_FILE} bytes"),
        }
    }
}

impl std::error::Error for FileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            Self::NotRegular | Self::TooLarge => None,
        }
    }
}

impl From<io::Error> for FileError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// The content and the metadata of the regular file at `path`.
///
/// # Errors
/// When it is not a regular file, cannot be read, or is too large.
pub fn read(path: &Path) -> Result<(Vec<u8>, Metadata), FileError> {
    // Without O_NONBLOCK, opening a FIFO waits for a writer.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(FileError::NotRegular);
    }
    let mut bytes = Vec::new();
    // The length in the metadata may be outdated, or 0 as in /proc.
    (&file).take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(FileError::TooLarge);
    }
    Ok((bytes, metadata))
}
