//! The metrics server against clients that are slow, hostile or many.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use crate::support::{
    exporter::{Exporter, Response, Setup, binary, request, wait},
    fake_plex::FakePlex,
    payloads::movie,
};

/// Hostile clients may delay another's scrape by this much (and the scrape itself takes a moment).
const DELAY: Duration = Duration::from_millis(100);

/// An exporter of this number of sessions, and how much memory (kB) and how many threads it has at rest.
fn started(plex: &FakePlex, sessions: u64) -> (Exporter, u64, u64) {
    plex.world().sessions = (1..=sessions)
        .map(|key| movie(key, 101, &format!("Film {key}")))
        .collect();
    let exporter = Setup::new(&plex.url()).env("LOG_LEVEL", "info").start();
    exporter.until_value("plex_active_sessions", &[], sessions as f64);
    for _ in 0..5 {
        exporter.page();
    }
    settle(&exporter);
    let (memory, threads) = (
        exporter.proc_status("VmRSS"),
        exporter.proc_status("Threads"),
    );
    (exporter, memory, threads)
}

/// Waits until no connection is served any more.
fn settle(exporter: &Exporter) {
    let tasks = || {
        std::fs::read_dir(format!("/proc/{}/task", exporter.child.id()))
            .unwrap()
            .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok())
            .filter(|name| name.trim() == "scraper")
            .count()
    };
    wait(
        Duration::from_secs(25),
        || (tasks() == 0).then_some(()),
        || format!("{} scraper threads", tasks()),
    );
}

fn open(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5)).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(15)))
        .unwrap();
    // What was sent to a connection that was turned away may come back as a reset.
    let _ = stream.write_all(bytes);
    stream
}

fn status(mut stream: TcpStream) -> Option<u16> {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    (!bytes.is_empty()).then(|| Response::parse(&bytes).status)
}

/// A scrape by an honest client, and that it was quick.
fn scrape_in_time(exporter: &Exporter, usual: Duration) {
    let begun = Instant::now();
    assert_eq!(exporter.get("/metrics").status, 200);
    assert!(begun.elapsed() < usual + DELAY, "{:?}", begun.elapsed());
}

fn usual(exporter: &Exporter) -> Duration {
    (0..5)
        .map(|_| {
            let begun = Instant::now();
            exporter.page();
            begun.elapsed()
        })
        .max()
        .unwrap()
}

/// Growth in kB that is tolerated under attack: 12 MB.
const GROWTH: u64 = 12 * 1024;

fn as_before(exporter: &Exporter, memory: u64, threads: u64) {
    settle(exporter);
    // tiny_http's spare threads may have gone in the meantime.
    assert!(exporter.proc_status("Threads") <= threads);
    let now = exporter.proc_status("VmRSS");
    assert!(now < memory + GROWTH, "{now} kB after {memory} kB");
    exporter.page();
}

#[test]
fn a_head_too_long_is_431_and_one_too_slow_is_408() {
    let plex = FakePlex::default();
    let (exporter, ..) = started(&plex, 0);
    let long = format!("GET /metrics HTTP/1.1\r\nX: {}\r\n\r\n", "a".repeat(9_000));
    assert_eq!(exporter.send(&long).status, 431);
    let many: String = (0..1_000).map(|field| format!("X{field}: y\r\n")).collect();
    assert_eq!(
        exporter
            .send(&format!("GET / HTTP/1.1\r\n{many}\r\n"))
            .status,
        431
    );
    let fits = format!("GET /health HTTP/1.1\r\nX: {}\r\n\r\n", "a".repeat(8_000));
    assert_eq!(exporter.send(&fits).status, 200);
    for begun_with in ["", "GET /metrics HTTP/1.1\r\nHost: x\r\n"] {
        let begun = Instant::now();
        let stream = open(exporter.address, begun_with.as_bytes());
        assert_eq!(status(stream), Some(408));
        let took = begun.elapsed().as_secs_f64();
        assert!((4.5..7.0).contains(&took), "{took}");
    }
}

#[test]
fn invalid_bytes_get_400_or_no_response() {
    let plex = FakePlex::default();
    let (exporter, memory, threads) = started(&plex, 0);
    for text in [
        "GET /m\u{e9}trics HTTP/1.1\r\n\r\n",
        "nonsense\r\n\r\n",
        "GET / HTTP/7.3\r\n\r\n",
    ] {
        assert_eq!(exporter.send(text).status, 400, "{text:?}");
    }
    assert_eq!(
        exporter.send("GET /health HTTP/1.1\nHost: x\n\n").status,
        200,
        "bare line feeds"
    );
    // Reproducible rubbish of every length.
    let mut noise = 12_345_u32;
    for length in 0..200 {
        let bytes: Vec<u8> = (0..length * 7)
            .map(|_| {
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                noise.to_be_bytes()[0]
            })
            .collect();
        let stream = open(exporter.address, &bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let status = status(stream);
        assert!(matches!(status, None | Some(400 | 431)), "{status:?}");
    }
    as_before(&exporter, memory, threads);
}

#[test]
fn a_body_that_is_never_sent_delays_no_other_client() {
    let plex = FakePlex::default();
    let (exporter, ..) = started(&plex, 0);
    for head in [
        "GET /health HTTP/1.1\r\nContent-Length: 1000\r\n\r\n",
        "GET /health HTTP/1.1\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n",
    ] {
        let begun = Instant::now();
        assert_eq!(exporter.send(head).status, 200);
        assert!(begun.elapsed() < Duration::from_secs(2));
    }
}

#[test]
fn three_hundred_half_sent_requests_cost_64_threads_and_no_scrape() {
    let plex = FakePlex::default();
    let (exporter, memory, threads) = started(&plex, 10);
    let usual = usual(&exporter);
    let half: Vec<TcpStream> = (0..300)
        .map(|_| open(exporter.address, b"GET /metrics HTTP/1.1\r\nHost: x"))
        .collect();
    // All places are taken: the oldest half-sent request gives way to a complete one.
    scrape_in_time(&exporter, usual);
    assert!(
        exporter.proc_status("Threads") < 100,
        "{}",
        exporter.proc_status("Threads")
    );
    assert!(exporter.proc_status("VmRSS") < memory + GROWTH);
    let statuses: Vec<_> = half.into_iter().map(status).collect();
    let count = |wanted: Option<u16>| statuses.iter().filter(|status| **status == wanted).count();
    assert_eq!(count(Some(408)), 63, "{statuses:?}");
    assert_eq!(count(Some(503)), 300 - 63, "{statuses:?}");
    as_before(&exporter, memory, threads);
}

struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

#[test]
fn seventy_clients_that_keep_half_sent_requests_open_starve_no_scrape() {
    let plex = FakePlex::default();
    let (exporter, memory, threads) = started(&plex, 10);
    let usual = usual(&exporter);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Also when an assertion fails, or the scope would wait for its threads forever.
        let _done = SetOnDrop(&done);
        for _ in 0..70 {
            scope.spawn(|| {
                while !done.load(Ordering::Acquire) {
                    let mut stream = open(exporter.address, b"GET /metrics HTTP/1.1\r\nHost: x");
                    stream
                        .set_read_timeout(Some(Duration::from_millis(100)))
                        .unwrap();
                    // Until it is closed; then the next one.
                    while !done.load(Ordering::Acquire) {
                        match stream.read(&mut [0; 512]) {
                            Ok(1..) => {}
                            Err(error) if is_timeout(&error) => {}
                            Ok(0) | Err(_) => break,
                        }
                    }
                }
            });
        }
        wait(
            Duration::from_secs(10),
            || (exporter.proc_status("Threads") > 60).then_some(()),
            || exporter.proc_status("Threads").to_string(),
        );
        let begun = Instant::now();
        let mut scrapes = 0;
        while begun.elapsed() < Duration::from_secs(7) {
            scrape_in_time(&exporter, usual);
            assert_eq!(exporter.get("/health").status, 200);
            scrapes += 1;
            std::thread::sleep(Duration::from_millis(50));
        }
        assert!(scrapes > 20, "{scrapes}");
    });
    as_before(&exporter, memory, threads);
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
    )
}

#[test]
fn a_complete_request_gets_its_response_whoever_comes_after_it() {
    let plex = FakePlex::default();
    let (exporter, ..) = started(&plex, 10);
    let complete: Vec<TcpStream> = (0..20)
        .map(|_| {
            open(
                exporter.address,
                b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
            )
        })
        .collect();
    let half: Vec<TcpStream> = (0..200)
        .map(|_| open(exporter.address, b"GET /metrics HTTP/1.1\r\nHost: x"))
        .collect();
    for stream in complete {
        assert_eq!(status(stream), Some(200));
    }
    drop(half);
}

/// Sessions of a large server; without optimization, a scrape of 5,000 takes too long.
fn thousands() -> u64 {
    let optimized = std::env::var_os("PLEX_EXPORTER_BIN").is_some();
    if optimized { 5_000 } else { 1_500 }
}

#[test]
fn clients_that_never_read_thousands_of_sessions_leave_the_exporter_small_and_quick() {
    let plex = FakePlex::default();
    let (exporter, _, threads) = started(&plex, thousands());
    let usual = usual(&exporter);
    for encoding in ["identity", "gzip"] {
        let request =
            format!("GET /metrics HTTP/1.1\r\nHost: x\r\nAccept-Encoding: {encoding}\r\n\r\n");
        let mut stuck = Vec::new();
        for _ in 0..60 {
            stuck.push(open(exporter.address, request.as_bytes()));
            std::thread::sleep(Duration::from_millis(5));
        }
        // The scrapes of the last ones may still be under way, one of each encoding.
        for _ in 0..5 {
            scrape_in_time(&exporter, 3 * usual);
        }
    }
    let peak = exporter.proc_status("VmHWM");
    assert!(peak < 64 * 1024, "{peak} kB");
    settle(&exporter);
    assert!(exporter.proc_status("Threads") <= threads);
}

#[test]
fn slow_readers_of_thousands_of_sessions_get_the_whole_page_and_delay_no_other_client() {
    let plex = FakePlex::default();
    let (exporter, _, threads) = started(&plex, thousands());
    let usual = usual(&exporter);
    // Every client takes 6 s: together they hold more pages than there is memory for.
    let length = exporter.page().len();
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..10)
            .map(|client| {
                let exporter = &exporter;
                scope.spawn(move || {
                    std::thread::sleep(client * Duration::from_millis(600));
                    read_slowly(exporter.address, length / 60)
                })
            })
            .collect();
        while clients.iter().any(|client| !client.is_finished()) {
            scrape_in_time(&exporter, 3 * usual);
            std::thread::sleep(Duration::from_millis(300));
        }
        for client in clients {
            let response = Response::parse(&client.join().unwrap());
            assert_eq!(response.status, 200);
            let length: usize = response.header("Content-Length").unwrap().parse().unwrap();
            assert_eq!(response.body.len(), length);
        }
    });
    let peak = exporter.proc_status("VmHWM");
    assert!(peak < 64 * 1024, "{peak} kB");
    settle(&exporter);
    assert!(exporter.proc_status("Threads") <= threads);
}

/// What a client gets that reads this many bytes every 100 ms.
fn read_slowly(address: SocketAddr, piece: usize) -> Vec<u8> {
    let mut stream = open(address, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    let mut bytes = Vec::new();
    loop {
        let before = bytes.len();
        (&mut stream)
            .take(piece as u64)
            .read_to_end(&mut bytes)
            .unwrap();
        if bytes.len() == before {
            return bytes;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn stalled_clients_do_not_delay_the_end() {
    let plex = FakePlex::default();
    let (mut exporter, ..) = started(&plex, 1_600);
    let half: Vec<TcpStream> = (0..30)
        .map(|_| open(exporter.address, b"GET /metrics HTTP/1.1\r\nHost: x"))
        .collect();
    let stuck: Vec<TcpStream> = (0..30)
        .map(|_| {
            open(
                exporter.address,
                b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
            )
        })
        .collect();
    exporter.page();
    let (status, took) = exporter.stop_with("TERM");
    assert_eq!(status.code(), Some(0));
    assert!(took < Duration::from_secs(1), "{took:?}");
    drop((half, stuck));
}

#[test]
fn a_hundred_thousand_pipelined_requests_get_one_response() {
    let plex = FakePlex::default();
    let (exporter, memory, threads) = started(&plex, 10);
    let mut stream = open(exporter.address, b"");
    let mut sender = stream.try_clone().unwrap();
    let flood = std::thread::spawn(move || {
        let requests = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1_000);
        for _ in 0..100 {
            if sender.write_all(&requests).is_err() {
                break;
            }
        }
    });
    let usual = usual(&exporter);
    scrape_in_time(&exporter, usual);
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    drop(stream);
    flood.join().unwrap();
    let responses = String::from_utf8_lossy(&bytes)
        .matches("HTTP/1.1 200")
        .count();
    assert!(responses <= 1, "{responses} answers");
    as_before(&exporter, memory, threads);
}

#[test]
fn a_header_that_never_ends_is_cut_off() {
    let plex = FakePlex::default();
    let (exporter, memory, threads) = started(&plex, 0);
    let mut stream = open(exporter.address, b"GET / HTTP/1.1\r\nX: ");
    let flood = vec![b'a'; 64 * 1024];
    let sent = (0..4_096)
        .take_while(|_| stream.write_all(&flood).is_ok())
        .count();
    assert!(sent < 4_096, "256 MB were taken");
    as_before(&exporter, memory, threads);
}

#[test]
fn clients_that_never_read_cost_no_memory_and_block_no_others() {
    let plex = FakePlex::default();
    let (exporter, memory, threads) = started(&plex, 1_600);
    assert!(
        exporter.page().len() > 2_000_000,
        "{}",
        exporter.page().len()
    );
    let usual = usual(&exporter);
    let stuck: Vec<TcpStream> = (0..20)
        .map(|_| {
            open(
                exporter.address,
                b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
            )
        })
        .collect();
    for _ in 0..10 {
        scrape_in_time(&exporter, usual);
    }
    assert!(exporter.proc_status("Threads") < 100);
    let now = exporter.proc_status("VmRSS");
    assert!(now < memory + GROWTH, "{now} kB after {memory} kB");
    let begun = Instant::now();
    settle(&exporter);
    assert!(
        begun.elapsed() < Duration::from_secs(12),
        "{:?}",
        begun.elapsed()
    );
    drop(stuck);
    as_before(&exporter, memory, threads);
}

#[test]
fn many_honest_clients_at_once_all_get_the_whole_page() {
    let plex = FakePlex::default();
    let (exporter, memory, threads) = started(&plex, 300);
    std::thread::scope(|scope| {
        for _ in 0..30 {
            scope.spawn(|| {
                let response = exporter.get("/metrics");
                assert_eq!(response.status, 200);
                let length: usize = response.header("Content-Length").unwrap().parse().unwrap();
                assert_eq!(response.body.len(), length);
            });
        }
    });
    as_before(&exporter, memory, threads);
}

#[test]
fn without_file_descriptors_it_waits_and_serves_again() {
    let plex = FakePlex::default();
    let exporter = Setup::new(&plex.url())
        .env("LOG_LEVEL", "info")
        .under("prlimit", &["--nofile=48", binary().to_str().unwrap()])
        .start();
    exporter.until_value("plex_up", &[], 1.0);
    let crowd: Vec<_> = (0..200)
        .filter_map(|_| TcpStream::connect_timeout(&exporter.address, Duration::from_secs(1)).ok())
        .collect();
    exporter.wait_for_log("cannot accept connections");
    drop(crowd);
    let begun = Instant::now();
    wait(
        Duration::from_secs(15),
        || {
            request(exporter.address, b"GET /metrics HTTP/1.1\r\n\r\n")
                .ok()
                .filter(|bytes| bytes.starts_with(b"HTTP/1.1 200"))
        },
        || format!("{:?}", begun.elapsed()),
    );
    exporter.until_value("plex_up", &[], 1.0);
}
