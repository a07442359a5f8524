//! An evening in a household with a Plex server, played over and over: a few films, an episode
//! binge, music; transcodes with hardware and without; pauses, and people who stop.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    fake_plex::FakePlex,
    payloads::{
        self, bandwidth_row, epoch, frame, metadata, movie, playing, resources_row, transcode, with,
    },
};

/// Clients report where they are this often, in seconds.
const REPORT: u64 = 10;
/// The transcoder reports this often.
const TRANSCODE_REPORT: u64 = 5;
/// After so many seconds the evening begins anew.
pub const LENGTH: u64 = 120;

/// What happens in one second of it.
type Scene = (u64, fn(&mut Evening));

const SCENES: &[Scene] = &[
    (0, |evening| {
        let film = with(
            movie(1, 101, "Alien"),
            json!({"Media": [{"id": "307448", "bitrate": 24_000,
            "videoResolution": "4k", "selected": true, "Part": [{"decision": "directplay", "selected": true}]}],
            "Session": {"bandwidth": 31_000}, "User": {"title": "alice"}}),
        );
        evening.begin(1, film);
    }),
    (2, |evening| evening.next_episode()),
    (4, |evening| evening.next_track()),
    (9, |evening| {
        // No hardware for this one, and far ahead of its client.
        let software = json!({"transcodeHwRequested": true, "transcodeHwDecoding": "(absent)",
            "transcodeHwEncoding": "(absent)", "transcodeHwFullPipeline": false, "throttled": true, "speed": 0,
            "subtitleDecision": "burn"});
        let film = with(
            payloads::transcoded(movie(4, 104, "Heat"), "dave4"),
            json!({"TranscodeSession": software,
            "User": {"id": "4001", "title": "dave"}, "Player": {"device": "Chromecast", "product": "Plex for Chromecast"},
            "Session": {"bandwidth": 4_200}}),
        );
        evening.begin(4, film);
    }),
    (18, |evening| evening.set_state(1, "paused")),
    (27, |evening| evening.set_state(1, "playing")),
    (34, |evening| evening.next_track()),
    (40, |evening| evening.next_episode()),
    (48, |evening| evening.end(4)),
    (52, |evening| {
        let copy = json!({"TranscodeSession": with(transcode("erin5"), json!({"videoDecision": "copy",
            "audioDecision": "copy", "sourceVideoCodec": "h264", "sourceAudioCodec": "aac", "container": "mkv",
            "protocol": "hls"})), "User": {"id": "5001", "title": "erin"},
            "Player": {"device": "iPad", "product": "Plex for iOS", "local": false},
            "Session": {"bandwidth": 6_000, "location": "wan"},
            "Media": [{"id": "307448", "bitrate": 5_000, "videoResolution": "1080", "selected": true,
                "Part": [{"selected": true, "decision": "copy"}]}]});
        evening.begin(5, with(movie(5, 105, "Paddington 2"), copy));
    }),
    (60, |evening| evening.scan("started")),
    (66, |evening| evening.scan("ended")),
    (64, |evening| evening.next_track()),
    (78, |evening| evening.next_episode()),
    (94, |evening| evening.next_track()),
    (100, |evening| evening.end(5)),
    (110, |evening| evening.end(1)),
    (112, |evening| evening.end(2)),
    (114, |evening| evening.end_track()),
];

/// The evening, as far as it has come.
pub struct Evening<'a> {
    plex: &'a FakePlex,
    second: u64,
    episode: u64,
    track: u64,
}

impl<'a> Evening<'a> {
    pub fn new(plex: &'a FakePlex) -> Self {
        {
            let mut world = plex.world();
            world.libraries[0]["durationTotal"] = json!(2_570_000_000_u64);
            world.libraries[0]["storageTotal"] = json!(4_100_000_000_000_u64);
            world.libraries[1]["durationTotal"] = json!(1_780_000_000_u64);
            world.libraries[1]["storageTotal"] = json!(1_900_000_000_000_u64);
            world.libraries[2]["durationTotal"] = json!(2_400_000_000_u64);
            world.libraries[2]["storageTotal"] = json!(310_000_000_000_u64);
            for (item, section, resolution) in
                [(104, 1, "1080"), (105, 1, "1080"), (501, 2, "1080")]
            {
                world
                    .metadata
                    .insert(item, metadata(item, section, resolution));
            }
        }
        Self {
            plex,
            second: 0,
            episode: 0,
            track: 0,
        }
    }

    /// Plays one second.
    pub fn second(&mut self) {
        for (at, scene) in SCENES {
            if *at == self.second % LENGTH {
                scene(self);
            }
        }
        self.move_on();
        self.second += 1;
    }

    /// Plays in real time until `stop` says so.
    pub fn play(&mut self, stop: impl Fn(Duration) -> bool) {
        loop {
            self.second();
            if stop(Duration::from_secs(1)) {
                return;
            }
        }
    }

    fn begin(&mut self, key: u64, session: Value) {
        let mut session = with(session, json!({"viewOffset": 0}));
        session["sessionKey"] = json!((self.second / LENGTH * 1_000 + key).to_string());
        let (key, item) = ids(&session);
        let transcode = session.get("TranscodeSession").cloned();
        self.plex.world().play(session);
        if let Some(transcode) = transcode {
            self.plex.push(&frame(
                "transcodeSession.start",
                "TranscodeSession",
                with(transcode, json!({"progress": 0})),
            ));
        }
        self.plex.push(&playing(key, item, "playing", 0));
    }

    fn key(&self, key: u64) -> u64 {
        self.second / LENGTH * 1_000 + key
    }

    fn set_state(&mut self, key: u64, state: &str) {
        let key = self.key(key);
        self.plex
            .world()
            .change(key, json!({"Player": {"state": state}}));
        self.report(key);
    }

    fn end(&mut self, key: u64) {
        let key = self.key(key);
        let session = self.find(key);
        self.plex.world().stop(&json!(key.to_string()));
        if let Some(session) = session {
            let (key, item) = ids(&session);
            self.plex.push(&playing(
                key,
                item,
                "stopped",
                session["viewOffset"].as_u64().unwrap_or(0),
            ));
        }
    }

    fn next_episode(&mut self) {
        self.episode += 1;
        let title = format!("Chapter {}", self.episode);
        let item = 500 + self.episode;
        self.plex
            .world()
            .metadata
            .insert(item, metadata(item, 2, "1080"));
        let id = format!("bob{}", self.episode);
        let session = payloads::transcoded(
            payloads::episode(2, item, "The Mandalorian", "Season 1", &title),
            &id,
        );
        self.begin(2, with(session, json!({
            "Player": {"device": "Fire TV", "product": "Plex for Android (TV)", "local": false, "machineIdentifier": "bob"},
            "Session": {"bandwidth": 3_400, "location": "wan"}})));
    }

    fn next_track(&mut self) {
        self.end_track();
        self.track += 1;
        let title = ["Bobby Sox", "Dilemma", "One Eyed Bastard", "Saviors"]
            [usize::try_from(self.track).unwrap() % 4];
        // Every track is a session of its own.
        self.begin(
            10 + self.track % 80,
            payloads::track(0, 300 + self.track, "Green Day", "Saviors", title),
        );
    }

    fn end_track(&mut self) {
        self.end(10 + self.track % 80);
    }

    fn scan(&mut self, event: &str) {
        let activity = json!({"uuid": "scan", "type": "library.update.section", "title": "Scanning Movies",
            "progress": -1, "Context": {"librarySectionID": "1"}});
        {
            let mut world = self.plex.world();
            if event == "started" {
                world.activities = vec![activity.clone()];
            } else {
                world.activities.clear();
                *world.counts.get_mut(&(1, 0)).unwrap() += 1;
            }
        }
        self.plex.push(&frame(
            "activity",
            "ActivityNotification",
            json!({"event": event, "uuid": "scan", "Activity": activity}),
        ));
    }

    fn find(&self, key: u64) -> Option<Value> {
        let key = json!(key.to_string());
        self.plex
            .world()
            .sessions
            .iter()
            .find(|session| session["sessionKey"] == key)
            .cloned()
    }

    fn report(&self, key: u64) {
        if let Some(session) = self.find(key) {
            let (key, item) = ids(&session);
            let state = session["Player"]["state"]
                .as_str()
                .unwrap_or("playing")
                .to_owned();
            self.plex.push(&playing(
                key,
                item,
                &state,
                session["viewOffset"].as_u64().unwrap_or(0),
            ));
        }
    }

    /// Time passes for everybody.
    fn move_on(&mut self) {
        let now = epoch();
        let mut reports = Vec::new();
        let mut transcodes = Vec::new();
        {
            let mut world = self.plex.world();
            let mut rows = Vec::new();
            for session in &mut world.sessions {
                let (key, _) = ids(session);
                let moving = session["Player"]["state"] == json!("playing");
                if moving {
                    let offset = session["viewOffset"].as_u64().unwrap_or(0);
                    session["viewOffset"] = json!(offset + 1_000);
                    let bytes = session["Media"][0]["bitrate"].as_u64().unwrap_or(0) * 125;
                    rows.push(bandwidth_row(
                        now,
                        key,
                        session["Session"]["location"] == json!("lan"),
                        bytes,
                    ));
                }
                if (self.second + key).is_multiple_of(REPORT) {
                    reports.push(key);
                }
                if (self.second + key).is_multiple_of(TRANSCODE_REPORT)
                    && let Some(transcode) = session.get("TranscodeSession")
                {
                    transcodes.push(transcode.clone());
                }
            }
            world.bandwidth.extend(rows);
            world
                .bandwidth
                .retain(|row| row["at"].as_u64() > Some(now - 130));
            let busy = world
                .sessions
                .iter()
                .filter(|session| session.get("TranscodeSession").is_some())
                .count();
            world.server["transcoderActiveVideoSessions"] = json!(busy);
            if self.second.is_multiple_of(5) {
                let wave = (self.second % 30) as f64;
                world.resources.push(resources_row(
                    now,
                    8.0 + 14.0 * busy as f64 + wave / 3.0,
                    41.0 + wave / 10.0,
                ));
                world
                    .resources
                    .retain(|row| row["at"].as_u64() > Some(now - 130));
            }
        }
        for key in reports {
            self.report(key);
        }
        for transcode in transcodes {
            self.plex.push(&frame(
                "transcodeSession.update",
                "TranscodeSession",
                transcode,
            ));
        }
    }
}

fn ids(session: &Value) -> (u64, u64) {
    let number = |name: &str| {
        session[name]
            .as_str()
            .and_then(|text| text.parse().ok())
            .unwrap_or(0)
    };
    (number("sessionKey"), number("ratingKey"))
}
