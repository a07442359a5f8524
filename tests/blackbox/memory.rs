//! Resident memory under everything that Plex can send within the size limits.

use std::{
    fmt::Write as _,
    ops::RangeInclusive,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::support::{
    exporter::{Exporter, Setup, wait},
    fake_plex::{FakePlex, Fault},
    payloads::{library, movie, playing, transcoded},
    samples::Samples,
};

/// What the contract promises, in kB.
const LIMIT: u64 = 64 * 1024;
/// The largest body that is accepted, with room for the rest of the container.
const BODY: usize = 9_990_000;
/// The same for a frame.
const FRAME: usize = 990_000;

/// `element` of 0, 1, 2 … as the array `name` of a container, up to `size` bytes.
fn filled(container: &str, name: &str, size: usize, element: impl Fn(usize) -> String) -> String {
    let mut text = format!(r#"{{"{container}":{{"size":1,{name}:["#);
    for index in 0.. {
        let element = element(index);
        if text.len() + element.len() + 8 > size {
            break;
        }
        if index > 0 {
            text.push(',');
        }
        text.push_str(&element);
    }
    assert!(!text.ends_with('['), "the first element is too large");
    text.push_str("]}}");
    text
}

fn body(name: &str, element: impl Fn(usize) -> String) -> String {
    filled("MediaContainer", &format!("\"{name}\""), BODY, element)
}

fn frame(kind: &str, name: &str, element: impl Fn(usize) -> String) -> String {
    filled(
        "NotificationContainer",
        &format!("\"type\":\"{kind}\",\"{name}\""),
        FRAME,
        element,
    )
}

/// The exporter of a Plex with one session, which it shows.
fn started() -> (FakePlex, Exporter) {
    let plex = FakePlex::default();
    plex.world().play(movie(1, 101, "Alien"));
    let exporter = Setup::new(&plex.url()).env("LOG_LEVEL", "info").start();
    exporter.until_value("plex_plays_total", &[("title", "Alien")], 1.0);
    exporter.until_value("plex_websocket_connected", &[], 1.0);
    (plex, exporter)
}

/// Scrapes until `condition` holds of a page; each scrape has to succeed. Large responses are followed by
/// pauses, in proportion to the CPU time that they took.
fn scraped_until(exporter: &Exporter, what: &str, mut condition: impl FnMut(&Samples) -> bool) {
    wait(
        Duration::from_secs(120),
        || {
            let response = exporter.get("/metrics");
            assert_eq!(response.status, 200, "{what}");
            condition(&Samples::parse(response.text())).then_some(())
        },
        || what.to_owned(),
    );
}

/// The key of a session that no hostile listing has held.
const NEW_KEY: u64 = 99_999_999;

/// A new film shows, and memory has stayed within the limit.
fn recovered(plex: &FakePlex, exporter: &Exporter, what: &str) {
    let begun = Instant::now();
    {
        let mut world = plex.world();
        world.faults.clear();
        world.play(movie(NEW_KEY, 101, "Aliens"));
    }
    plex.push(&playing(NEW_KEY, 101, "playing", 0));
    scraped_until(exporter, what, |samples| {
        samples.value("plex_plays_total", &[("title", "Aliens")]) == Some(1.0)
            && samples.value("plex_up", &[]) == Some(1.0)
            && samples.value("plex_websocket_connected", &[]) == Some(1.0)
    });
    let (peak, now) = (exporter.proc_status("VmHWM"), exporter.proc_status("VmRSS"));
    println!(
        "{what}: peak {:.1} MiB, then {:.1} MiB, recovered after {} ms",
        peak as f64 / 1024.0,
        now as f64 / 1024.0,
        begun.elapsed().as_millis()
    );
    assert!(peak < LIMIT, "{what}: {peak} kB");
}

fn response(path: &str, what: &str, body: &str) {
    let plex = FakePlex::default();
    plex.world().fault(
        path,
        Fault::Response(200, "application/json", body.to_owned()),
    );
    let exporter = Setup::new(&plex.url()).env("LOG_LEVEL", "info").start();
    scraped_until(&exporter, what, |samples| {
        let labels = [("endpoint", path)];
        samples.value("plex_exporter_plex_requests_total", &labels) > Some(0.0)
    });
    recovered(&plex, &exporter, what);
}

fn frames(what: &str, frames: impl IntoIterator<Item = String>) {
    let (plex, exporter) = started();
    for frame in frames {
        plex.push_text(frame);
    }
    exporter.page();
    recovered(&plex, &exporter, what);
}

#[test]
#[ignore = "needs an optimized binary: make test-static"]
fn memory_stays_bounded_for_any_session_listing() {
    let path = "/status/sessions";
    for (what, text) in [
        (
            "3.3 million empty sessions",
            body("Metadata", |_| "{}".to_owned()),
        ),
        (
            "460,000 tiny sessions",
            body("Metadata", |index| format!(r#"{{"sessionKey":"{index}"}}"#)),
        ),
        (
            "198,000 playing sessions",
            body("Metadata", |index| {
                format!(r#"{{"sessionKey":"{index}","Player":{{"state":"playing"}}}}"#)
            }),
        ),
        (
            "a title of 10 MB",
            format!(
                r#"{{"MediaContainer":{{"Metadata":[{{"sessionKey":"1","title":"{}"}}]}}}}"#,
                "é".repeat(BODY / 2 - 100)
            ),
        ),
        (
            "titles of 1 MB, escaped",
            body("Metadata", |index| {
                format!(
                    r#"{{"sessionKey":"{index}","Player":{{"state":"playing"}},"title":"{}"}}"#,
                    r"\u00e9".repeat(160_000)
                )
            }),
        ),
        ("arrays within arrays", "[".repeat(BODY)),
        (
            "arrays within a session",
            format!(
                r#"{{"MediaContainer":{{"Metadata":[{{"sessionKey":"1","Media":{}"#,
                "[".repeat(BODY - 100)
            ),
        ),
        (
            "objects within a container",
            format!(r#"{{"MediaContainer":{}"#, r#"{"a":"#.repeat(BODY / 6)),
        ),
        ("a session with a million fields", {
            let mut text = r#"{"MediaContainer":{"Metadata":[{"sessionKey":"1""#.to_owned();
            while text.len() < BODY - 20 {
                let _ = write!(text, r#","a{}":1"#, text.len());
            }
            text + "}]}}"
        }),
    ] {
        response(path, what, &text);
    }
}

#[test]
#[ignore = "needs an optimized binary: make test-static"]
fn memory_stays_bounded_for_any_other_response() {
    let libraries = body("Directory", |index| {
        format!(r#"{{"id":"{index}","type":"movie","title":"L{index}"}}"#)
    });
    let providers = libraries.replacen(
        r#""Directory""#,
        r#""MediaProvider":[{"identifier":"com.plexapp.plugins.library","Feature":[{"type":"content","Directory""#,
        1,
    );
    let providers = format!("{}]}}]}}}}", providers.strip_suffix("}}").unwrap());
    for (path, what, text) in [
        ("/media/providers", "125,000 libraries", providers),
        (
            "/activities",
            "200,000 activities",
            body("Activity", |index| {
                format!(r#"{{"uuid":"{index}","type":"library.update.section"}}"#)
            }),
        ),
        (
            "/statistics/bandwidth",
            "150,000 rows of bandwidth",
            body("StatisticsBandwidth", |index| {
                format!(r#"{{"accountID":{index},"at":1785805331,"lan":true,"bytes":1}}"#)
            }),
        ),
        (
            "/statistics/resources",
            "3 million rows of host load",
            body("StatisticsResources", |_| "{}".to_owned()),
        ),
        (
            "/",
            "a server name of 10 MB",
            format!(
                r#"{{"MediaContainer":{{"machineIdentifier":"{0}","friendlyName":"{0}","version":"1"}}}}"#,
                "x".repeat(BODY / 2 - 100)
            ),
        ),
    ] {
        response(path, what, &text);
    }
}

#[test]
#[ignore = "needs an optimized binary: make test-static"]
fn memory_stays_bounded_for_any_frame() {
    let session = r#""viewOffset":1,"state":"playing""#;
    frames(
        "300 session keys of 1 MB",
        (0..300).map(|number| {
            format!(
                r#"{{"NotificationContainer":{{"type":"playing","PlaySessionStateNotification":[{{"sessionKey":"{number}{}",{session}}}]}}}}"#,
                "k".repeat(FRAME - 200)
            )
        }),
    );
    frames(
        "300 frames of 12,000 sessions",
        (0..300).map(|number| {
            frame("playing", "PlaySessionStateNotification", |index| {
                format!(r#"{{"sessionKey":"{number}-{index}","ratingKey":"{index}",{session}}}"#)
            })
        }),
    );
    frames(
        "100 frames of 76,000 transcodes",
        (0..100).map(|number| {
            frame("transcodeSession.update", "TranscodeSession", |index| {
                format!(r#"{{"key":"{number}-{index}"}}"#)
            })
        }),
    );
    frames(
        "300 frames of activities",
        (0..300).map(|number| {
            frame("activity", "ActivityNotification", |index| {
                format!(
                    r#"{{"event":"started","uuid":"{number}-{index}","Activity":{{"uuid":"{number}-{index}","type":"t{index}"}}}}"#
                )
            })
        }),
    );
    frames(
        "20,000 frames of ever new keys",
        (0..20_000).map(|number| playing(number + 10, number + 10, "playing", 0).to_string()),
    );
    frames(
        "frames that are no JSON",
        (0..50).map(|_| "[".repeat(FRAME)),
    );
    frames(
        "frames beyond the size limit",
        (0..1).map(|_| "x".repeat(3_000_000)),
    );
}

/// `count` sessions that begin with these fields and are filled up to a body of the largest size with
/// what `nested` gives for a number of bytes.
fn sessions_with(count: usize, nested: impl Fn(usize) -> String) -> String {
    let room = BODY / count - 200;
    body("Metadata", |index| {
        let key = format!(r#""sessionKey":"{index}","Player":{{"state":"playing"}}"#);
        format!("{{{key},{}}}", nested(room))
    })
}

/// As many of `element` as fit into `bytes`, at least one.
fn list_of(element: &str, bytes: usize) -> String {
    vec![element; (bytes / (element.len() + 1)).max(1)].join(",")
}

#[test]
#[ignore = "needs an optimized binary: make test-static"]
fn memory_stays_bounded_for_any_list_in_a_session_or_an_item() {
    let streams = |bytes| {
        let streams = list_of("{}", bytes);
        format!(r#""Media":[{{"Part":[{{"Stream":[{streams}]}}]}}]"#)
    };
    let named = |bytes| {
        let stream = r#"{"id":"1","codec":"a","streamType":2,"colorTrc":"b","decision":"c"}"#;
        let streams = list_of(stream, bytes);
        format!(r#""Media":[{{"Part":[{{"Stream":[{streams}]}}]}}]"#)
    };
    let parts = |bytes| format!(r#""Media":[{{"Part":[{}]}}]"#, list_of("{}", bytes));
    let media = |bytes| format!(r#""Media":[{}]"#, list_of("{}", bytes));
    let all = |bytes: usize| {
        let streams = list_of("{}", 250 * 3);
        let part = format!(r#"{{"Stream":[{streams}]}}"#);
        format!(r#""Media":[{{"Part":[{}]}}]"#, list_of(&part, bytes))
    };
    for (what, text) in [
        (
            "10,000 sessions of empty streams",
            sessions_with(10_000, streams),
        ),
        ("5,000 sessions of streams", sessions_with(5_000, named)),
        (
            "10,000 sessions of empty files",
            sessions_with(10_000, parts),
        ),
        (
            "10,000 sessions of empty versions",
            sessions_with(10_000, media),
        ),
        (
            "1,000 sessions of empty versions",
            sessions_with(1_000, media),
        ),
        (
            "100 sessions of files of 250 streams",
            sessions_with(100, all),
        ),
        ("a session of empty streams", sessions_with(1, streams)),
        ("a lone session of empty versions", {
            let media = media(BODY - 200);
            format!(r#"{{"MediaContainer":{{"Metadata":{{"sessionKey":"1",{media}}}}}}}"#)
        }),
        ("a session of a lone version of empty files", {
            let parts = list_of("{}", BODY - 200);
            format!(
                r#"{{"MediaContainer":{{"Metadata":[{{"sessionKey":"1","Media":{{"Part":[{parts}]}}}}]}}}}"#
            )
        }),
        ("a session of files of 250 streams", sessions_with(1, all)),
    ] {
        response("/status/sessions", what, &text);
    }
    for (what, text) in [
        ("an item of empty streams", streams(BODY - 100)),
        ("an item of files of 250 streams", all(BODY - 100)),
        ("an item of empty versions", media(BODY - 100)),
    ] {
        let text = format!(r#"{{"MediaContainer":{{"Metadata":[{{{text}}}]}}}}"#);
        item(what, &text);
    }
}

#[test]
#[ignore = "needs an optimized binary: make test-static"]
fn memory_stays_bounded_when_every_response_is_large_at_once() {
    let what = "10,000 sessions, and then everything large at once";
    let plex = FakePlex::default();
    let crowd = (0..10_000).map(|key| {
        let item = key % 8;
        format!(r#"{{"sessionKey":"{key}","ratingKey":"{item}","Player":{{"state":"playing"}}}}"#)
    });
    let crowd = crowd.collect::<Vec<_>>().join(",");
    let crowd = format!(r#"{{"MediaContainer":{{"Metadata":[{crowd}]}}}}"#);
    let streams = format!(
        r#""Media":[{{"Part":[{{"Stream":[{}]}}]}}]"#,
        list_of("{}", BODY - 300)
    );
    let text = "x".repeat(BODY - 300);
    let json = |body| Fault::Response(200, "application/json", body);
    {
        let mut world = plex.world();
        world.fault("/status/sessions", json(crowd));
        let item = format!(r#"{{"MediaContainer":{{"Metadata":[{{{streams}}}]}}}}"#);
        world.fault("/library/metadata", json(item));
        for (path, list, field) in [
            ("/accounts", "Account", "name"),
            ("/statistics/bandwidth", "StatisticsBandwidth", "at"),
            ("/statistics/resources", "StatisticsResources", "at"),
            ("/activities", "Activity", "type"),
        ] {
            let body = format!(r#"{{"MediaContainer":{{"{list}":[{{"{field}":"{text}"}}]}}}}"#);
            world.fault(path, json(body));
        }
    }
    let exporter = Setup::new(&plex.url()).env("LOG_LEVEL", "info").start();
    for path in ["/library/metadata/{id}", "/statistics/bandwidth"] {
        scraped_until(&exporter, what, |samples| {
            let labels = [("endpoint", path)];
            samples.value("plex_exporter_plex_requests_total", &labels) >= Some(2.0)
        });
    }
    let session =
        format!(r#"{{"MediaContainer":{{"Metadata":[{{"sessionKey":"1",{streams}}}]}}}}"#);
    plex.world().fault("/status/sessions", json(session));
    plex.push(&playing(1_000_000, 101, "playing", 0));
    scraped_until(&exporter, what, |samples| {
        samples.value("plex_active_sessions", &[]) == Some(1.0)
    });
    recovered(&plex, &exporter, what);
}

#[test]
#[ignore = "needs an optimized binary: make test-static"]
fn memory_stays_bounded_however_long_the_names_in_every_sample_are() {
    let what = "10,000 sessions, and names of 256 quotation marks";
    let name = "\"".repeat(300);
    let plex = FakePlex::default();
    {
        let mut world = plex.world();
        world.server["friendlyName"] = name.clone().into();
        world.libraries = vec![library(1, "movie", &name, 1_000, 1_000)];
        world.fault(
            "/status/sessions",
            Fault::Response(
                200,
                "application/json",
                body("Metadata", |index| {
                    format!(
                        r#"{{"sessionKey":"{index}","librarySectionID":"1","Player":{{"state":"playing"}}}}"#
                    )
                }),
            ),
        );
    }
    let exporter = Setup::new(&plex.url()).env("LOG_LEVEL", "info").start();
    for _ in 0..3 {
        scraped_until(&exporter, what, |samples| {
            samples.value("plex_active_sessions", &[]) > Some(2_000.0)
                && samples.of("plex_library_items", &[]).len() == 1
        });
    }
    recovered(&plex, &exporter, what);
}

fn item(what: &str, body: &str) {
    let plex = FakePlex::default();
    {
        let mut world = plex.world();
        world.sessions = (1..=5).map(|key| movie(key, key, "Alien")).collect();
        world.fault(
            "/library/metadata",
            Fault::Response(200, "application/json", body.to_owned()),
        );
    }
    let exporter = Setup::new(&plex.url()).env("LOG_LEVEL", "info").start();
    scraped_until(&exporter, what, |samples| {
        let labels = [("endpoint", "/library/metadata/{id}")];
        samples.value("plex_exporter_plex_requests_total", &labels) >= Some(5.0)
    });
    recovered(&plex, &exporter, what);
}

/// Lists `sessions` of ever new keys several times, beside `libraries`, while somebody scrapes. As
/// many of them as in `live` are shown.
fn new_keys(
    what: &str,
    sessions: usize,
    libraries: usize,
    fields: &str,
    live: RangeInclusive<f64>,
) {
    const ROUNDS: usize = 4;
    let plex = FakePlex::default();
    let listing = |round: usize| {
        let sessions: Vec<String> = (0..sessions)
            .map(|index| format!(r#"{{"sessionKey":"{round}-{index}",{fields}}}"#))
            .collect();
        let sessions = sessions.join(",");
        let body = format!(r#"{{"MediaContainer":{{"Metadata":[{sessions}]}}}}"#);
        assert!(body.len() < BODY, "{what}");
        Fault::Response(200, "application/json", body)
    };
    {
        let mut world = plex.world();
        world.libraries = (1..=libraries)
            .map(|id| library(id as u64, "movie", &format!("Library {id}"), 1_000, 1_000))
            .collect();
        world.fault("/status/sessions", listing(0));
    }
    let mut exporter = Setup::new(&plex.url()).env("LOG_LEVEL", "info").start();
    exporter.until_value("plex_websocket_connected", &[], 1.0);
    let mut slowest = Duration::ZERO;
    for round in 0..ROUNDS {
        plex.world().fault("/status/sessions", listing(round));
        plex.push(&playing(1_000_000 + round as u64, 101, "playing", 0));
        let shown = format!(r#"session="{round}-0""#);
        wait(
            Duration::from_secs(120),
            || {
                let begun = Instant::now();
                assert_eq!(exporter.get("/health").status, 200, "{what}");
                slowest = slowest.max(begun.elapsed());
                // Reading the samples of a page of 20 MB would take a debug build seconds.
                let page = exporter.get("/metrics");
                assert_eq!(page.status, 200, "{what}");
                let mut lines = page.text().lines();
                let active = lines.find(|line| line.starts_with("plex_active_sessions{"))?;
                let active: f64 = active.rsplit(' ').next()?.parse().ok()?;
                lines
                    .any(|line| line.contains(&shown))
                    .then(|| assert!(live.contains(&active), "{what}: {active} sessions"))
            },
            || format!("{what}: round {round}"),
        );
    }
    let peak = exporter.proc_status("VmHWM");
    println!(
        "{what}: peak {:.1} MiB, the event loop took {} ms at most",
        peak as f64 / 1024.0,
        slowest.as_millis()
    );
    assert!(peak < LIMIT, "{what}: {peak} kB");
    // In the middle of the next listing.
    let sent = plex.count("/status/sessions");
    plex.world().fault("/status/sessions", listing(ROUNDS));
    plex.push(&playing(2_000_000, 101, "playing", 0));
    plex.wait_for("/status/sessions", sent + 1, Duration::from_secs(120));
    let (status, took) = exporter.stop_with("TERM");
    assert!(
        status.success() && took < Duration::from_secs(1),
        "{what}: {status}, {took:?}"
    );
}

#[test]
#[ignore = "needs an optimized binary: make test-static"]
fn memory_stays_bounded_with_new_session_keys_in_every_listing() {
    let playing = r#""Player":{"state":"playing"}"#;
    let all = 10_000.0..=10_000.0;
    let what = "20,000 new keys in every listing";
    new_keys(what, 20_000, 0, playing, all.clone());
    let what = "12,000 new keys and 2,500 libraries";
    new_keys(what, 12_000, 2_500, playing, all);
    let transcodes = concat!(
        r#""title":"A","Player":{"state":"playing"},"TranscodeSession":{"key":"k","#,
        r#""videoDecision":"transcode","audioDecision":"transcode","sourceVideoCodec":"hevc","#,
        r#""videoCodec":"h264","sourceAudioCodec":"dca","audioCodec":"aac","speed":1.5,"#,
        r#""throttled":false,"progress":3}"#
    );
    let what = "20,000 new transcodes in every listing";
    new_keys(what, 20_000, 0, transcodes, 5_000.0..=10_000.0);
}

#[test]
#[ignore = "needs an optimized binary: make test-static"]
fn memory_five_thousand_honest_sessions_all_show_within_the_limit() {
    let plex = FakePlex::default();
    plex.world().sessions = (1..=5_000)
        .map(|key| {
            let session = movie(key, 101, &format!("The film with the number {key}"));
            let mut session = transcoded(session, &format!("transcode-{key}"));
            let streams = &mut session["Media"][0]["Part"][0]["Stream"];
            *streams = (1..=5)
                .map(|id| json!({"id": id, "streamType": id.min(3), "codec": "srt"}))
                .collect();
            session
        })
        .collect();
    let exporter = Setup::new(&plex.url()).env("LOG_LEVEL", "info").start();
    for _ in 0..3 {
        scraped_until(&exporter, "5,000 honest sessions", |samples| {
            samples.of("plex_plays_total", &[]).len() == 5_000
                && samples.of("plex_session_info", &[]).len() == 5_000
                && samples.value("plex_active_sessions", &[]) == Some(5_000.0)
        });
    }
    let peak = exporter.proc_status("VmHWM");
    println!(
        "5,000 honest sessions: peak {:.1} MiB",
        peak as f64 / 1024.0
    );
    assert!(peak < LIMIT, "{peak} kB");
}
