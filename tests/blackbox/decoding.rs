//! One broken value costs only itself.

use std::time::Duration;

use serde_json::json;

use crate::support::{
    exporter::{SOON, Setup},
    fake_plex::{FakePlex, Fault},
    payloads::{movie, with},
    samples::Samples,
};

/// A response with this body, whatever its bytes.
fn bytes(body: &[u8]) -> Fault {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    Fault::Raw([head.as_bytes(), body].concat())
}

fn replace(text: &str, what: &str, by: &[u8]) -> Vec<u8> {
    let (before, after) = text.split_once(what).unwrap();
    [before.as_bytes(), by, after.as_bytes()].concat()
}

fn shown(page: &Samples, title: &str) -> bool {
    page.of("plex_session_info", &[("title", title)]).len() == 1
}

/// Row 5: in the title of a session.
#[test]
fn a_broken_title_costs_no_session() {
    for (broken, expected) in [
        (&b"caf\xe9"[..], "caf\u{fffd}"),
        (b"caf\xe9\xe9 \xff", "caf\u{fffd}\u{fffd} \u{fffd}"),
        (b"two\nlines\tand\x01more", "two lines and more"),
        (b"half \\ud83d", "half \u{fffd}"),
        (b"half \\ude00\\ud83d!", "half \u{fffd}\u{fffd}!"),
        (b"whole \\ud83d\\ude00", "whole \u{1f600}"),
        (b"C:\\Videos", "C:\\Videos"),
        (b"cut \xf0\x9f\x98", "cut \u{fffd}"),
    ] {
        let plex = FakePlex::default();
        let sessions = json!({"MediaContainer": {"Metadata": [movie(1, 101, "Alien"), movie(2, 102, "BROKEN"), movie(3, 103, "Heat")]}});
        let body = replace(&sessions.to_string(), "BROKEN", broken);
        plex.world().fault("/status/sessions", bytes(&body));
        let exporter = Setup::new(&plex.url()).start();
        let page = exporter.until_value("plex_active_sessions", &[], 3.0);
        assert!(shown(&page, "Alien") && shown(&page, "Heat"));
        assert!(
            shown(&page, expected),
            "{expected:?} in\n{}",
            exporter.page()
        );
    }
}

/// Row 5: in the name of a library.
#[test]
fn a_latin_1_name_costs_no_library() {
    let plex = FakePlex::default();
    plex.world().libraries[0]["title"] = json!("FILME");
    let list = plex
        .world()
        .response_to("/media/providers?includeStorage=1")
        .unwrap();
    let body = replace(
        &json!({"MediaContainer": list}).to_string(),
        "FILME",
        b"Filme f\xfcr alle",
    );
    plex.world().fault("/media/providers", bytes(&body));
    let exporter = Setup::new(&plex.url()).start();
    let page = exporter.until("libraries", SOON, |page| {
        page.of("plex_library_items", &[]).len() == 4
    });
    assert_eq!(
        page.value(
            "plex_library_items",
            &[("library", "Filme f\u{fffd}r alle")]
        ),
        Some(357.0)
    );
}

/// A value that cannot be read, of any field, costs that field.
#[test]
fn an_unreadable_value_costs_its_field_only() {
    for field in [
        "duration",
        "viewOffset",
        "title",
        "librarySectionID",
        "Media",
        "Player",
        "Session",
        "User",
        "TranscodeSession",
        "ratingKey",
        "live",
        "type",
    ] {
        for value in [
            "1e999",
            "-1e400",
            "NaN",
            "[[[{}]]]",
            "null",
            "{\"a\":[1]}",
            "true",
            "\"\"",
            "01",
            "\"\\u12\"",
        ] {
            let mut session = movie(2, 102, "Broken");
            session[field] = json!("VALUE");
            let sessions = json!({"MediaContainer": {"Metadata": [movie(1, 101, "Alien"), session, movie(3, 103, "Heat")]}});
            let body = sessions.to_string().replace("\"VALUE\"", value);
            let plex_exporter::internals::PlexResponse::Sessions(_) =
                plex_exporter::internals::decode_response(
                    &plex_exporter::internals::PlexRequest::Sessions,
                    body.as_bytes(),
                )
                .unwrap()
            else {
                panic!("no sessions")
            };
            let mut pure =
                crate::support::pure::Pure::connected(crate::support::fake_plex::World::default());
            pure.world.fault(
                "/status/sessions",
                Fault::Response(200, "application/json", body),
            );
            pure.wait(61.0);
            let page = pure.page();
            assert_eq!(
                page.value("plex_active_sessions", &[]),
                Some(3.0),
                "{field}: {value}"
            );
            assert!(
                shown(&page, "Alien") && shown(&page, "Heat"),
                "{field}: {value}"
            );
        }
    }
}

/// A listing of very many elements that say nothing takes little memory, and sessions beside them show.
/// (Few enough for a build without optimization.)
#[test]
fn millions_of_empty_elements_cost_neither_memory_nor_the_sessions_before_them() {
    let plex = FakePlex::default();
    let first = movie(1, 101, "Alien").to_string();
    let body = format!(
        "{{\"MediaContainer\":{{\"Metadata\":[{first}{}]}}}}",
        ",{}".repeat(400_000)
    );
    plex.world()
        .fault("/status/sessions", bytes(body.as_bytes()));
    let exporter = Setup::new(&plex.url()).env("LOG_LEVEL", "info").start();
    exporter.until("the session", Duration::from_secs(30), |page| {
        shown(page, "Alien")
    });
    let peak = exporter.proc_status("VmHWM");
    println!("{peak} kB");
    assert!(peak < 64 * 1_024, "{peak} kB");
}

#[test]
fn long_texts_are_cut_wherever_they_come_from() {
    let plex = FakePlex::default();
    let long = "ä".repeat(5_000);
    plex.world().play(with(
        movie(1, 101, &long),
        json!({"User": {"title": long}, "Player": {"device": long, "title": long,
        "product": long}, "Session": {"location": long}, "type": long}),
    ));
    plex.world().libraries[0]["title"] = json!(long);
    plex.world().server["friendlyName"] = json!(long);
    plex.world().accounts = vec![json!({"id": 1, "name": long})];
    let exporter = Setup::new(&plex.url()).start();
    let page = exporter.until("all", SOON, |page| {
        page.of("plex_plays_total", &[]).len() == 1 && page.of("plex_library_items", &[]).len() == 4
    });
    for sample in &page.all {
        for (name, value) in &sample.labels {
            assert!(
                value.len() <= 256,
                "{} {name}: {} bytes",
                sample.name,
                value.len()
            );
        }
    }
    assert_eq!(
        page.of("plex_session_info", &[])[0].labels["title"],
        "ä".repeat(128)
    );
}
