//! Scrapes: one thread has them written, one at a time, and all who wait share the next.
//!
//! So a crowd that asks at once costs two scrapes and not as many as it has members, and none gets
//! a page that was begun before it asked.

use std::{io, net::TcpStream, sync::Arc, thread::JoinHandle, time::Duration};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::{
    inner::Inner,
    ledger::{Hold, Ledger, Page},
};
use crate::threads;

/// For so long a client waits for its scrape.
const TURN: Duration = Duration::from_secs(5);

/// Where scrapes are asked for. Dropping it ends the thread.
#[derive(Debug)]
pub struct Scrapes {
    // Holds one entry for every connection there may be; more would wait in their own threads.
    wanted: Sender<Wanted>,
}

/// A client that wants a scrape.
struct Wanted {
    gzip: bool,
    socket: TcpStream,
    reply: Sender<Hold>,
}

impl Scrapes {
    /// Starts the thread.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(inner: Arc<Inner>, places: usize) -> io::Result<(Self, JoinHandle<()>)> {
        let (wanted, queue) = bounded(places);
        let thread = threads::spawn("scrapes", threads::WORKER_STACK, move || {
            write_scrapes(&inner, &queue);
        })?;
        Ok((Self { wanted }, thread))
    }

    /// A scrape for the client at `socket`, begun after now.
    ///
    /// # Errors
    /// When there is none in time, for want of memory or because the owner is silent.
    pub fn get(&self, gzip: bool, socket: &TcpStream) -> io::Result<Hold> {
        let late = || io::Error::from(io::ErrorKind::TimedOut);
        let (reply, answer) = bounded(1);
        let wanted = Wanted {
            gzip,
            socket: socket.try_clone()?,
            reply,
        };
        self.wanted.send_timeout(wanted, TURN).map_err(|_| late())?;
        answer.recv_timeout(TURN).map_err(|_| late())
    }
}

fn write_scrapes(inner: &Inner, queue: &Receiver<Wanted>) {
    let ledger = Arc::new(Ledger::default());
    // How long the last scrape was, plain and compressed: the room the next one will need.
    let mut lengths = [0, 0];
    while let Ok(first) = queue.recv() {
        let mut waiting = vec![first];
        waiting.extend(queue.try_iter());
        let (packed, plain): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|one| one.gzip);
        for (gzip, clients) in [(false, plain), (true, packed)] {
            let length = &mut lengths[usize::from(gzip)];
            if clients.is_empty() || !ledger.make_room(*length) {
                continue;
            }
            let Ok((head, body)) = inner.scrape(gzip) else {
                continue;
            };
            *length = body.len();
            let page = Arc::new(Page { head, body });
            for client in clients {
                let hold = ledger.enter(&page, client.socket);
                // It may have given up.
                let _ = client.reply.send(hold);
            }
        }
    }
}
