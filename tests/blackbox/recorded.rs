//! Payloads, recorded and made up, go through the decoder.

use std::{fs, path::Path};

use plex_exporter::internals::{
    Id, ItemsQuery, KINDS, PlexRequest, PlexResponse, decode_notification,
    decode_response as decode,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::payloads;

fn fetch_for(name: &str) -> Option<PlexRequest> {
    let id = Id::parse("1").unwrap();
    let items = PlexRequest::Items(ItemsQuery {
        library: id,
        metadata_type: None,
    });
    let kind = name.split("__").next().unwrap();
    Some(match kind {
        "root" | "identity" => PlexRequest::Server,
        "media-providers" => PlexRequest::Providers,
        "status-sessions" | "transcode-decision" => PlexRequest::Sessions,
        "library-metadata" => PlexRequest::Metadata(id),
        "library-sections-all" | "library-sections" => items,
        "statistics-resources" => PlexRequest::Resources,
        "statistics-bandwidth" => PlexRequest::Bandwidth,
        // Not requested by the exporter; decoded as a session listing for want of a type.
        "statistics-media" | "transcode-sessions" => PlexRequest::Sessions,
        "activities" => PlexRequest::Activities,
        // Its root is `ButlerTasks`: it must be refused, not misread.
        "butler" => return None,
        _ => panic!("what is {name}?"),
    })
}

#[test]
fn every_recorded_response_decodes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/fixtures");
    let Ok(entries) = fs::read_dir(&folder) else {
        println!("skipped: the recorded payloads are not at hand");
        return;
    };
    let mut decoded = 0;
    for path in entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "json"))
    {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let bytes = fs::read(&path).unwrap();
        let Some(fetch) = fetch_for(&name) else {
            assert!(decode(&PlexRequest::Server, &bytes[..]).is_err(), "{name}");
            continue;
        };
        let response = decode(&fetch, &bytes[..]).unwrap_or_else(|error| panic!("{name}: {error}"));
        check(&name, &response);
        decoded += 1;
    }
    assert!(decoded >= 20, "only {decoded}");
}

fn check(name: &str, response: &PlexResponse) {
    match (name, response) {
        (
            "root__plex-openapi__plexpass-1.40.2-username-dropped.json",
            PlexResponse::Server(server),
        ) => {
            assert_eq!(server.friendly_name.get(), Some("Server Name"));
            assert!(server.my_plex_subscription.is_true());
            assert_eq!(server.transcoder_active_video_sessions.whole(), Some(0));
        }
        ("media-providers__plex-openapi__with-epg.json", PlexResponse::Providers(providers)) => {
            let content = providers.content().unwrap();
            let ids: Vec<_> = content
                .directories
                .as_slice()
                .iter()
                .map(|directory| directory.id.or_empty())
                .collect();
            assert_eq!(ids, ["", "1", "2", "3", "playlists"]);
        }
        (
            "status-sessions__plex-api-spec__track-directplay-2024-01.json",
            PlexResponse::Sessions(list),
        ) => {
            let session = &list.sessions.as_slice()[0];
            assert_eq!(session.session_key.get(), Some("203"));
            assert_eq!(session.media.get().unwrap().bitrate.whole(), Some(1_014));
            assert_eq!(
                session.session.get().unwrap().bandwidth.whole(),
                Some(1_050)
            );
        }
        (
            "transcode-decision__plex-api.rs__video-dash-transcode-burn.json",
            PlexResponse::Sessions(list),
        ) => {
            let media = list.sessions.as_slice()[0].media.get().unwrap();
            assert_eq!(media.part.get().unwrap().decision.get(), Some("transcode"));
        }
        (
            "library-metadata__plex-api-spec__movie-4k-2025.json",
            PlexResponse::Metadata(metadata),
        ) => {
            assert_eq!(
                metadata.items.as_slice()[0].media.as_slice()[0]
                    .video_resolution
                    .get(),
                Some("4k")
            );
        }
        (
            "library-sections-all__plex-api-spec__start1-size5-totalsize357-2024-09.json",
            PlexResponse::Items(items),
        ) => {
            assert_eq!(items.total_size.whole(), Some(357));
        }
        (
            "statistics-bandwidth__plex-api-spec__one-row-2024-06.json",
            PlexResponse::Bandwidth(bandwidth),
        ) => {
            assert_eq!(bandwidth.rows.as_slice()[0].bytes.whole(), Some(22));
        }
        ("activities__plex-openapi__two-progress-minus1.json", PlexResponse::Activities(list)) => {
            assert_eq!(list.activities.as_slice().len(), 2);
        }
        _ => {}
    }
}

/// Any JSON, with names that Plex uses among its keys.
fn json() -> impl Strategy<Value = Value> {
    let key = prop::sample::select(vec![
        "MediaContainer",
        "Metadata",
        "NotificationContainer",
        "type",
        "PlaySessionStateNotification",
        "TranscodeSession",
        "Media",
        "Part",
        "Player",
        "Session",
        "User",
        "sessionKey",
        "ratingKey",
        "viewOffset",
        "bitrate",
        "state",
        "librarySectionID",
        "selected",
        "TimelineEntry",
        "ActivityNotification",
        "Activity",
        "_children",
        "title",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        prop::sample::select(vec![
            "playing",
            "timeline",
            "activity",
            "1",
            "-2",
            "transcode"
        ])
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 60, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((key.clone(), inner), 0..6).prop_map(|fields| fields
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect()),
        ]
    })
}

proptest! {
    /// Whatever shape comes in place of what was expected, it is decoded or refused.
    #[test]
    fn any_json_is_survived(value in json()) {
        let text = json!({"MediaContainer": value}).to_string();
        for fetch in [PlexRequest::Server, PlexRequest::Providers, PlexRequest::Sessions, PlexRequest::Resources, PlexRequest::Bandwidth, PlexRequest::Activities] {
            let _ = decode(&fetch, text.as_bytes());
        }
        let frame = json!({"NotificationContainer": value}).to_string();
        if let Some(notification) = decode_notification(&frame) {
            prop_assert!(KINDS.contains(&notification.kind));
        }
    }

    /// A response that is truncated, or has an invalid byte, is decoded or refused.
    #[test]
    fn a_damaged_response_is_survived(cut in 0usize..2_000, place in 0usize..2_000, byte in any::<u8>()) {
        let sessions = json!({"MediaContainer": {"size": 1, "Metadata": [payloads::transcoded(payloads::movie(1, 101, "A"), "t")]}});
        let mut bytes = sessions.to_string().into_bytes();
        let place = place % bytes.len();
        bytes[place] = byte;
        bytes.truncate(bytes.len().saturating_sub(cut));
        let _ = decode(&PlexRequest::Sessions, &bytes[..]);
    }

    /// An undecodable session costs only itself.
    #[test]
    fn a_bad_session_hides_no_other(bad in json()) {
        let good = payloads::movie(7, 101, "Alien");
        let text = json!({"MediaContainer": {"Metadata": [bad, good]}}).to_string();
        let Ok(PlexResponse::Sessions(list)) = decode(&PlexRequest::Sessions, text.as_bytes()) else { panic!("refused") };
        prop_assert_eq!(list.sessions.as_slice().last().unwrap().session_key.get(), Some("7"));
    }
}
