//! Faults: what requests get in place of the correct response.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

/// A connection, plain or encrypted.
pub trait Connection: Read + Write + Send {}
impl<T: Read + Write + Send> Connection for T {}

/// A fault of requests whose path begins with a given text.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Another status, content type and body.
    Response(u16, &'static str, String),
    /// A whole response, byte for byte.
    Raw(Vec<u8>),
    /// A redirect.
    Redirect(String),
    /// The correct response, late.
    Delay(Duration),
    /// No response at all.
    Stall,
    /// The connection is reset.
    Reset,
    /// A truncated response.
    Truncate,
    /// A response of `bytes` bytes: chunked, or compressed to almost nothing.
    Oversize { bytes: usize, gzip: bool },
    /// The correct response, in chunks.
    Chunked,
    /// The correct response, one byte at a time, with this pause between them.
    Trickle(Duration),
}

/// Plex's response to an invalid token.
pub fn unauthorized() -> Fault {
    html(401, "Unauthorized")
}

/// An HTML error page like Plex's own.
pub fn html(status: u16, title: &str) -> Fault {
    let body = format!(
        "<html><head><title>{title}</title></head><body><h1>{status} {title}</h1></body></html>"
    );
    Fault::Response(status, "text/html", body)
}

/// Injects a fault in place of a response; true when the connection has ended.
pub(super) fn inject(
    fault: &Fault,
    connection: &mut Box<dyn Connection>,
    tcp: &TcpStream,
    stopped: &AtomicBool,
) -> io::Result<bool> {
    match fault {
        Fault::Response(status, kind, body) => {
            write!(
                connection,
                "HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            )?;
            connection.flush()?;
            tcp.shutdown(Shutdown::Both)?;
            Ok(true)
        }
        Fault::Raw(response) => {
            connection.write_all(response)?;
            connection.flush()?;
            tcp.shutdown(Shutdown::Both)?;
            Ok(true)
        }
        Fault::Redirect(location) => {
            write!(
                connection,
                "HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            )?;
            connection.flush()?;
            tcp.shutdown(Shutdown::Both)?;
            Ok(true)
        }
        Fault::Delay(delay) => {
            std::thread::sleep(*delay);
            Ok(false)
        }
        Fault::Stall => {
            while !stopped.load(Ordering::Acquire) {
                std::thread::sleep(Duration::from_millis(20));
            }
            Ok(true)
        }
        Fault::Reset => {
            tcp.shutdown(Shutdown::Both)?;
            Ok(true)
        }
        Fault::Truncate => {
            write!(
                connection,
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{{\"MediaContainer\":{{\"size\":"
            )?;
            connection.flush()?;
            tcp.shutdown(Shutdown::Both)?;
            Ok(true)
        }
        Fault::Oversize { bytes, gzip } => {
            oversize(connection, *bytes, *gzip)?;
            Ok(true)
        }
        Fault::Chunked | Fault::Trickle(_) => Ok(false),
    }
}

fn oversize(connection: &mut Box<dyn Connection>, bytes: usize, gzip: bool) -> io::Result<()> {
    let encoding = if gzip {
        "Content-Encoding: gzip\r\n"
    } else {
        ""
    };
    write!(
        connection,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{encoding}Transfer-Encoding: chunked\r\n\r\n"
    )?;
    let spaces = vec![b' '; 64 * 1024];
    if gzip {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        for _ in 0..bytes / spaces.len() {
            packed.write_all(&spaces)?;
        }
        let packed = packed.finish()?;
        write!(connection, "{:x}\r\n", packed.len())?;
        connection.write_all(&packed)?;
        connection.write_all(b"\r\n0\r\n\r\n")?;
    } else {
        for _ in 0..bytes / spaces.len() {
            write!(connection, "{:x}\r\n", spaces.len())?;
            connection.write_all(&spaces)?;
            connection.write_all(b"\r\n")?;
        }
        connection.write_all(b"0\r\n\r\n")?;
    }
    connection.flush()
}

pub(super) fn respond(
    connection: &mut Box<dyn Connection>,
    status: u16,
    kind: &str,
    body: &[u8],
    fault: Option<&Fault>,
) -> io::Result<()> {
    let mut head = format!(
        "HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nCache-Control: no-cache\r\nX-Plex-Protocol: 1.0\r\n"
    );
    match fault {
        Some(Fault::Chunked) => {
            head.push_str("Transfer-Encoding: chunked\r\n\r\n");
            connection.write_all(head.as_bytes())?;
            for chunk in body.chunks(7) {
                write!(connection, "{:x}\r\n", chunk.len())?;
                connection.write_all(chunk)?;
                connection.write_all(b"\r\n")?;
            }
            connection.write_all(b"0\r\n\r\n")?;
        }
        Some(Fault::Trickle(pause)) => {
            head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
            connection.write_all(head.as_bytes())?;
            for byte in body {
                connection.write_all(&[*byte])?;
                connection.flush()?;
                std::thread::sleep(*pause);
            }
        }
        _ => {
            head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
            let mut response = head.into_bytes();
            response.extend_from_slice(body);
            connection.write_all(&response)?;
        }
    }
    connection.flush()
}
