//! The health probe, whatever lies at the marker's path.

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    os::unix::fs::symlink,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use crate::support::{
    exporter::{Exporter, Setup, own_path, wait},
    fake_plex::FakePlex,
};

fn healthy(exporter: &Exporter) {
    wait(
        Duration::from_secs(5),
        || (exporter.health().0 == Some(0)).then_some(()),
        || exporter.health().1,
    );
}

fn fifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

#[test]
fn a_foreign_file_in_place_of_the_marker_does_not_make_a_healthy_exporter_unhealthy() {
    let plex = FakePlex::default();
    let target = own_path("target");
    for put in [
        (&|path: &Path| fifo(path)) as &dyn Fn(&Path),
        &|path| fs::create_dir(path).unwrap(),
        &|path| fs::write(path, "somebody else's").unwrap(),
        &|path| symlink(&target, path).unwrap(),
        &|path| symlink("/dev/null", path).unwrap(),
    ] {
        let marker = own_path("marker");
        put(&marker);
        let exporter = Setup::new(&plex.url())
            .env("HEALTH_FILE", &marker)
            .env("LOG_LEVEL", "info")
            .start_with_marker(&marker);
        exporter.until_value("plex_up", &[], 1.0);
        healthy(&exporter);
        assert!(!target.exists(), "the link was followed");
        let warnings = exporter
            .log()
            .iter()
            .filter(|line| line.contains("health marker"))
            .count();
        assert_eq!(warnings, 1);
        drop(exporter);
        if marker.is_dir() && !marker.is_symlink() {
            fs::remove_dir(&marker).unwrap();
        }
    }
}

#[test]
fn a_deleted_marker_is_rewritten_without_a_failed_probe() {
    let plex = FakePlex::default();
    let exporter = Setup::new(&plex.url()).start();
    healthy(&exporter);
    wait(
        Duration::from_secs(5),
        || exporter.health_file.exists().then_some(()),
        || "no marker".to_owned(),
    );
    fs::remove_file(&exporter.health_file).unwrap();
    wait(
        Duration::from_secs(15),
        || {
            assert_eq!(exporter.health().0, Some(0));
            exporter.health_file.exists().then_some(())
        },
        || "no marker".to_owned(),
    );
    assert_eq!(exporter.health().0, Some(0));
}

#[test]
fn a_copy_in_the_markers_place_makes_a_healthy_exporter_no_less_healthy() {
    let plex = FakePlex::default();
    let mut exporter = Setup::new(&plex.url()).start();
    let marker = exporter.health_file.clone();
    wait(
        Duration::from_secs(5),
        || marker.exists().then_some(()),
        || exporter.log().join("\n"),
    );
    let text = fs::read(&marker).unwrap();
    fs::remove_file(&marker).unwrap();
    fs::write(&marker, text).unwrap();
    assert_eq!(exporter.health(), (Some(0), String::new()));
    exporter.child.kill().unwrap();
    exporter.child.wait().unwrap();
    let (status, why) = exporter.health();
    assert_eq!((status, why.lines().count()), (Some(1), 1), "{why}");
}

#[test]
fn probes_while_it_starts_never_disturb_it() {
    let plex = FakePlex::default();
    for _ in 0..5 {
        let exporter = Setup::new(&plex.url()).start();
        let mut was_healthy = false;
        wait(
            Duration::from_secs(10),
            || {
                let (status, why) = exporter.health();
                assert!(
                    status == Some(0) || !was_healthy,
                    "healthy, and then not: {why}"
                );
                was_healthy |= status == Some(0);
                exporter.health_file.exists().then_some(())
            },
            || exporter.log().join("\n"),
        );
        assert_eq!(exporter.health().0, Some(0));
        assert!(!exporter.log().join("\n").contains("health marker"));
    }
}

#[test]
fn an_exporter_that_plex_never_responded_to_is_unhealthy_with_and_without_a_marker() {
    let plex = FakePlex::default();
    plex.world().token = "another".into();
    for marker in [own_path("marker"), "/proc/self/no/marker".into()] {
        let exporter = Setup::new(&plex.url())
            .env("HEALTH_FILE", &marker)
            .start_with_marker(&marker);
        exporter.wait_for_log("refuses the token");
        let (status, why) = exporter.health();
        assert_eq!((status, why.lines().count()), (Some(1), 1), "{why}");
        assert!(why.contains("Plex"), "{why}");
        assert_eq!(exporter.get("/health").status, 200);
    }
}

#[test]
fn a_lock_of_another_process_does_not_make_the_exporter_healthy() {
    let marker = own_path("marker");
    let plex = FakePlex::default();
    let mut exporter = Setup::new(&plex.url())
        .env("HEALTH_FILE", &marker)
        .start_with_marker(&marker);
    wait(
        Duration::from_secs(5),
        || marker.exists().then_some(()),
        String::new,
    );
    exporter.child.kill().unwrap();
    exporter.child.wait().unwrap();
    for text in [fs::read_to_string(&marker).unwrap(), "else".to_owned()] {
        fs::write(&marker, text).unwrap();
        let mut locker = Command::new("flock")
            .arg(&marker)
            .args(["sh", "-c", "echo locked; exec sleep 60"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut output = std::io::BufReader::new(locker.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut output, &mut line).unwrap();
        let (status, why) = exporter.health();
        assert_eq!((status, why.lines().count()), (Some(1), 1), "{why}");
        // flock and what it runs; the test that is killed leaves them to end by themselves.
        let below = fs::read_to_string(format!("/proc/{0}/task/{0}/children", locker.id()));
        for pid in below.unwrap_or_default().split_whitespace() {
            let _ = Command::new("kill").args(["-KILL", pid]).status();
        }
        let _ = locker.kill();
        locker.wait().unwrap();
    }
}

#[test]
fn a_fifo_in_the_markers_place_does_not_hang_the_probe() {
    let marker = own_path("marker");
    fifo(&marker);
    let (status, _, why) = Setup::new("http://127.0.0.1:9")
        .env("HEALTH_FILE", &marker)
        .env("LISTEN_ADDRESS", "127.0.0.1:9")
        .run(&["health"]);
    assert_eq!((status, why.lines().count()), (Some(1), 1), "{why}");
    fs::remove_file(marker).unwrap();
}

/// Runs the probe where no marker is, against whatever listens at `address`.
fn probe(address: &str) -> (Option<i32>, String) {
    let (status, out, err) = Setup::new("http://127.0.0.1:9")
        .env("HEALTH_FILE", own_path("no-marker"))
        .env("LISTEN_ADDRESS", address)
        .run(&["health"]);
    assert!(out.is_empty() && err.lines().count() <= 1, "{out}{err}");
    (status, err)
}

#[test]
fn another_program_on_the_listen_address_is_not_a_healthy_exporter() {
    for response in [
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n",
        "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n",
        "\u{15}\u{3}\u{3}\0\u{2}\u{2}\u{16}",
        "",
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let serving = std::thread::spawn(move || {
            let (mut client, _) = listener.accept().unwrap();
            let _ = client.read(&mut [0; 256]);
            client.write_all(response.as_bytes()).unwrap();
        });
        let (status, why) = probe(&address);
        assert_eq!(status, Some(1), "{response:?}: {why}");
        assert!(why.contains("another program listens on"), "{why}");
        serving.join().unwrap();
    }
    // The kernel accepts the connection.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let (status, why) = probe(&silent.local_addr().unwrap().to_string());
    assert_eq!(status, Some(1), "{why}");
    assert!(
        why.contains("no response to GET /health within 3 s"),
        "{why}"
    );
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr();
    let (status, why) = probe(&closed.unwrap().to_string());
    assert!(
        status == Some(1) && why.contains("is not running: "),
        "{why}"
    );
}

/// `localhost` has two addresses where IPv6 is there, and the exporter takes what is free.
#[test]
fn another_program_on_one_address_of_a_name_does_not_hide_the_exporter_on_the_other() {
    let Ok(six) = TcpListener::bind("[::1]:0") else {
        println!("no IPv6 here");
        return;
    };
    let port = six.local_addr().unwrap().port();
    drop(six);
    let four = TcpListener::bind(("127.0.0.1", port)).unwrap();
    std::thread::spawn(move || {
        for mut client in four.incoming().map_while(Result::ok) {
            let _ = client.read(&mut [0; 256]);
            let _ = client.write_all(b"HTTP/1.1 200 OK\r\n\r\nok\n");
        }
    });
    let plex = FakePlex::default();
    let exporter = Setup::new(&plex.url())
        .env("LISTEN_ADDRESS", format!("[::1]:{port}"))
        .start();
    exporter.until_value("plex_up", &[], 1.0);
    assert_eq!(probe(&format!(":{port}")), (Some(0), String::new()));
}
