//! The token: rotated while the exporter runs, and never in what leaves the process.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    process::Command,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::support::{
    exporter::{Setup, TOKEN, own_path},
    fake_plex::{FakePlex, Fault},
    payloads::{movie, with},
};

const NOWHERE: &str = "http://127.0.0.1:9";
const NEXT: &str = "n3xtT0kenOfTheAdmin";

#[test]
fn a_rotated_token_takes_effect_for_http_and_websocket_without_a_restart() {
    for credential in [false, true] {
        let plex = FakePlex::default();
        let folder = own_path("credentials");
        fs::create_dir(&folder).unwrap();
        let file = folder.join("plex-token");
        fs::write(&file, TOKEN).unwrap();
        let setup = Setup::new(&plex.url()).without("PLEX_TOKEN");
        let exporter = if credential {
            setup.env("CREDENTIALS_DIRECTORY", &folder)
        } else {
            setup.env("PLEX_TOKEN_FILE", &file)
        }
        .start();
        exporter.until_value("plex_up", &[], 1.0);
        exporter.until_value("plex_websocket_connected", &[], 1.0);
        // First Plex, then the file: the old token is refused for a while.
        plex.world().token = NEXT.into();
        plex.drop_sockets();
        exporter.until_value("plex_websocket_connected", &[], 0.0);
        exporter.wait_for_log("refuses the token");
        fs::write(&file, format!("{NEXT}\r\n")).unwrap();
        let begun = Instant::now();
        exporter.until("both again", Duration::from_secs(40), |samples| {
            samples.value("plex_up", &[]) == Some(1.0)
                && samples.value("plex_websocket_connected", &[]) == Some(1.0)
        });
        println!("a new token took effect after {:?}", begun.elapsed());
        // First the file, then Plex: no poll fails.
        fs::write(&file, TOKEN).unwrap();
        plex.world().token = TOKEN.into();
        plex.drop_sockets();
        exporter.until("the first again", Duration::from_secs(40), |samples| {
            samples.value("plex_websocket_connected", &[]) == Some(1.0)
                && samples.value("plex_exporter_websocket_reconnects_total", &[]) > Some(1.0)
        });
        let log = exporter.log().join("\n");
        assert!(!log.contains(TOKEN) && !log.contains(NEXT), "{log}");
        fs::remove_dir_all(folder).unwrap();
    }
}

#[test]
fn a_refused_token_is_read_again_at_most_every_15_seconds() {
    let plex = FakePlex::default();
    plex.world().token = NEXT.into();
    let file = own_path("token");
    fs::write(&file, TOKEN).unwrap();
    fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    let exporter = Setup::new(&plex.url())
        .env("PLEX_TOKEN_FILE", &file)
        .start();
    exporter.wait_for_log("refuses the token");
    // It was read for that, and is not again, however often Plex refuses it.
    fs::write(&file, NEXT).unwrap();
    let refused = plex.requests().len();
    let begun = Instant::now();
    exporter.until("the new token", Duration::from_secs(40), |samples| {
        samples.value("plex_up", &[]) == Some(1.0)
    });
    assert!(
        begun.elapsed() > Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    assert!(plex.requests().len() > refused);
    exporter.wait_for_log("PLEX_TOKEN_FILE:");
    assert_eq!(
        exporter
            .log()
            .iter()
            .filter(|line| line.contains("PLEX_TOKEN_FILE:"))
            .count(),
        1
    );
    fs::remove_file(file).unwrap();
}

#[test]
fn a_token_file_that_is_none_is_rejected_at_once_and_an_open_one_is_warned_of() {
    let fifo = own_path("fifo");
    assert!(
        Command::new("mkfifo")
            .arg(&fifo)
            .status()
            .unwrap()
            .success()
    );
    let large = own_path("large");
    fs::File::create(&large)
        .unwrap()
        .set_len(200_000_000)
        .unwrap();
    for path in [&fifo, &large, &std::env::temp_dir(), &"/dev/zero".into()] {
        for variable in ["PLEX_TOKEN_FILE", "PLEX_CA_FILE"] {
            let begun = Instant::now();
            let (status, _, err) = Setup::new(NOWHERE).env(variable, path).run(&[]);
            assert_eq!(status, Some(2), "{err}");
            assert!(err.contains(variable) && err.lines().count() == 1, "{err}");
            assert!(begun.elapsed() < Duration::from_secs(2));
        }
    }
    let open = own_path("open");
    fs::write(&open, TOKEN).unwrap();
    for (mode, warnings) in [(0o644, 1), (0o600, 0)] {
        fs::set_permissions(&open, PermissionsExt::from_mode(mode)).unwrap();
        let plex = FakePlex::default();
        let exporter = Setup::new(&plex.url())
            .env("PLEX_TOKEN_FILE", &open)
            .start();
        // A later line.
        exporter.wait_for_log("notifications: connected");
        let warned = |line: &&String| line.contains("[WARN]") && line.contains("can read");
        assert_eq!(exporter.log().iter().filter(warned).count(), warnings);
    }
    for path in [fifo, large, open] {
        fs::remove_file(path).unwrap();
    }
}

#[test]
fn a_token_in_the_wrong_place_is_not_printed() {
    let url = |address: &str| format!("http://{address}");
    for known in [true, false] {
        for (name, value) in [
            ("PLEX_TOKEN_FILE", TOKEN.to_owned()),
            ("PLEX_CA_FILE", TOKEN.to_owned()),
            ("LISTEN_ADDRESS", TOKEN.to_owned()),
            ("LISTEN_ADDRESS", format!("{TOKEN}:9594:1")),
            ("LOG_LEVEL", TOKEN.to_owned()),
            ("HIDE_LABELS", format!("user,{TOKEN}")),
            ("SKIP_TLS_VERIFICATION", TOKEN.to_owned()),
            ("PLEX_TLS_SERVER_NAME", format!("{TOKEN} x")),
            ("PLEX_SERVER", TOKEN.to_owned()),
            ("PLEX_SERVER", url(&format!("user:{TOKEN}@plex:32400"))),
            (
                "PLEX_SERVER",
                url(&format!("plex:32400/?X-Plex-Token={TOKEN}")),
            ),
            ("PLEX_SERVER", url(&format!("plex:{TOKEN}"))),
        ] {
            for command in [&[][..], &["check"]] {
                let setup = Setup::new(NOWHERE).env(name, &value);
                let setup = if known {
                    setup
                } else {
                    setup.without("PLEX_TOKEN")
                };
                let (status, out, err) = setup.run(command);
                assert_ne!(status, Some(0));
                let text = out + &err;
                assert!(text.contains(name), "{name}: {text}");
                assert!(!text.contains(TOKEN), "{name}: {text}");
            }
        }
        for arguments in [
            &[TOKEN][..],
            &[&format!("--token={TOKEN}")],
            &["check", TOKEN],
            &["print", TOKEN],
        ] {
            let setup = Setup::new(NOWHERE);
            let setup = if known {
                setup
            } else {
                setup.without("PLEX_TOKEN")
            };
            let (status, out, err) = setup.run(arguments);
            assert_eq!(status, Some(2));
            assert!(!(out + &err).contains(TOKEN));
        }
    }
}

#[test]
fn a_token_that_plex_echoes_reaches_neither_log_nor_check_and_no_terminal_is_steered() {
    // What a reader removes again may stand in the middle of it, too.
    let hidden = format!("{}\u{200b}{}", &TOKEN[..9], &TOKEN[9..]);
    let hostile = format!("{TOKEN}\u{202e}\u{200b}\u{feff}\u{1b}[2J\n{TOKEN} {hidden}");
    let plex = FakePlex::default();
    {
        let mut world = plex.world();
        world.server["friendlyName"] = json!(hostile);
        world.server["version"] = json!(hostile);
        world.libraries[0]["title"] = json!(hostile);
        world.play(with(
            movie(1, 101, &hostile),
            json!({"User": {"title": hostile}}),
        ));
        world.server["platform"] = json!(hidden);
        world.libraries[1]["title"] = json!(hidden);
        world.fault("/activities", Fault::Redirect(format!("http://x/{TOKEN}")));
        world.fault(
            "/statistics/resources",
            Fault::Response(200, "text/s3cretT0kenOfTheAdmin", TOKEN.to_owned()),
        );
        world.fault(
            "/statistics/bandwidth",
            Fault::Response(200, "application/json", format!("{{{TOKEN}")),
        );
        world.fault(
            "/accounts",
            Fault::Response(418, "text/html", TOKEN.to_owned()),
        );
    }
    let exporter = Setup::new(&plex.url()).env("LOG_LEVEL", "trace").start();
    exporter.until_value("plex_active_sessions", &[], 1.0);
    exporter.wait_for_log("bandwidth");
    exporter.wait_for_log("text/");
    let (_, out, err) = Setup::new(&plex.url()).run(&["check"]);
    let text = exporter.log().join("\n") + &out + &err;
    for part in ["\u{202e}", "\u{200b}", "\u{feff}", "\u{1b}"] {
        assert!(!text.contains(part), "{part:?} in {text}");
    }
    for text in [&text, &exporter.page()] {
        let shown = text.replace(r"\u{200b}", "").replace('\u{200b}', "");
        assert!(!shown.contains(TOKEN), "{text}");
    }
    assert!(text.contains("[redacted]"), "{text}");
}
