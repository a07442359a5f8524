//! Serves one connection: requests, then perhaps the notification socket.

use std::{
    io,
    net::{Shutdown, TcpStream},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender, unbounded};
use serde_json::json;
use tungstenite::{Message, WebSocket, handshake::derive_accept_key, protocol::Role};

use super::{
    ReceivedRequest, Shared,
    faults::{Connection, inject, respond},
};

/// What an open notification socket is to do.
pub(super) enum Command {
    Send(String),
    /// The TCP connection ends without a close frame.
    Drop,
    /// The connection stays open, but nothing is read or sent any more.
    Freeze,
    /// These bytes are sent again and again, as fast as they are read, in pieces of this size.
    Flood(Vec<u8>, usize),
}

pub(super) fn serve(
    mut connection: Box<dyn Connection>,
    tcp: &TcpStream,
    shared: &Arc<Shared>,
) -> io::Result<()> {
    loop {
        let Some(head) = read_head(&mut connection)? else {
            return Ok(());
        };
        let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let seen = ReceivedRequest {
            at: Instant::now(),
            target: target.clone(),
            head: head.clone(),
        };
        shared.seen.lock().unwrap().push(seen);
        shared.more_received.notify_all();
        let header = |name: &str| {
            head.lines().find_map(|line| {
                let (own, value) = line.split_once(':')?;
                own.eq_ignore_ascii_case(name)
                    .then(|| value.trim().to_owned())
            })
        };
        let (fault, path, token) = {
            let world = shared.world.lock().unwrap();
            let path = target.strip_prefix(&world.base_path).map(str::to_owned);
            let fault = path.as_ref().and_then(|path| world.fault_of(path).cloned());
            (fault, path, world.token.clone())
        };
        if let Some(fault) = &fault
            && inject(fault, &mut connection, tcp, &shared.stopped)?
        {
            return Ok(());
        }
        let target = path.as_deref().unwrap_or("/no/such/base/path");
        let path = target.split('?').next().unwrap_or_default();
        let admitted = path == "/identity" || header("X-Plex-Token").as_deref() == Some(&token);
        if !admitted {
            respond(&mut connection, 401, "text/html", b"<html><head><title>Unauthorized</title></head><body><h1>401 Unauthorized</h1></body></html>", None)?;
            continue;
        }
        if path == "/:/websockets/notifications" {
            let Some(key) = header("Sec-WebSocket-Key") else {
                respond(&mut connection, 400, "text/html", b"<html/>", None)?;
                continue;
            };
            let accept = derive_accept_key(key.as_bytes());
            write!(
                connection,
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
            )?;
            connection.flush()?;
            return socket(connection, tcp, shared);
        }
        let response = if header("Accept").is_some_and(|accept| accept.contains("application/json"))
        {
            shared.world.lock().unwrap().response_to(target)
        } else {
            None
        };
        match response {
            Some(response) => {
                let body = json!({"MediaContainer": response}).to_string();
                respond(
                    &mut connection,
                    200,
                    "application/json",
                    body.as_bytes(),
                    fault.as_ref(),
                )?;
            }
            None => respond(
                &mut connection,
                404,
                "text/html",
                b"<html><head><title>Not Found</title></head></html>",
                None,
            )?,
        }
    }
}

fn read_head(connection: &mut Box<dyn Connection>) -> io::Result<Option<String>> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if connection.read(&mut byte)? == 0 || head.len() > 16_384 {
            return Ok(None);
        }
        if head.is_empty() && !byte[0].is_ascii_alphabetic() {
            // TLS to a port for plain HTTP.
            connection.write_all(
                b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            )?;
            return Ok(None);
        }
        head.push(byte[0]);
    }
    Ok(Some(String::from_utf8_lossy(&head).into_owned()))
}

fn socket(
    connection: Box<dyn Connection>,
    tcp: &TcpStream,
    shared: &Arc<Shared>,
) -> io::Result<()> {
    let (commands, inbox): (Sender<Command>, Receiver<Command>) = unbounded();
    shared.sockets.lock().unwrap().push(commands);
    *shared.sockets_opened.lock().unwrap() += 1;
    tcp.set_read_timeout(Some(Duration::from_millis(4)))?;
    let mut socket = WebSocket::from_raw_socket(connection, Role::Server, None);
    let mut frozen = false;
    while !shared.stopped.load(Ordering::Acquire) {
        loop {
            match inbox.try_recv() {
                Ok(Command::Send(text)) if !frozen => {
                    socket.send(Message::text(text)).map_err(io::Error::other)?;
                }
                Ok(Command::Send(_)) => {}
                Ok(Command::Drop) => return tcp.shutdown(Shutdown::Both),
                Ok(Command::Freeze) => frozen = true,
                Ok(Command::Flood(bytes, piece)) => loop {
                    // Until the client or the simulated server ends the connection.
                    for piece in bytes.chunks(piece) {
                        socket.get_mut().write_all(piece)?;
                    }
                },
                Err(crossbeam_channel::TryRecvError::Empty) => break,
                Err(crossbeam_channel::TryRecvError::Disconnected) => {
                    return tcp.shutdown(Shutdown::Both);
                }
            }
        }
        if frozen || !shared.world.lock().unwrap().pongs {
            std::thread::sleep(Duration::from_millis(10));
            continue;
        }
        match socket.read() {
            Ok(_) => {}
            Err(tungstenite::Error::Io(error))
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                ) => {}
            Err(_) => return Ok(()),
        }
    }
    Ok(())
}
