//! An evening in a household with a Plex server, played over and over: a few films, an episode
//! binge, music, live television; transcodes with hardware and without; a phone that buffers, a
//! library scan, pauses, and people who stop. At its height every metric has a series.

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
/// After this many seconds the evening begins anew.
pub const LENGTH: u64 = 120;

/// What happens in one second of it.
type Scene = (u64, fn(&mut Evening));

const SCENES: &[Scene] = &[
    (0, |evening| {
        let film = with(
            movie(1, 101, "Alien"),
            json!({"Media": [{"id": "307448", "bitrate": 24_000, "container": "mkv",
            "videoResolution": "4k", "selected": true, "Part": [{"decision": "directplay", "selected": true}]}],
            "Session": {"bandwidth": 31_000}}),
        );
        evening.begin(1, film);
    }),
    (1, |evening| evening.begin(7, live_tv())),
    (2, |evening| evening.next_episode()),
    (4, |evening| evening.next_track()),
    (9, |evening| evening.begin(4, burnt_in())),
    (12, |evening| {
        evening.begin(6, phone());
        evening.set_state(6, "buffering");
    }),
    (15, |evening| evening.set_state(6, "playing")),
    (18, |evening| evening.set_state(1, "paused")),
    (24, |evening| evening.scan("started")),
    (27, |evening| evening.set_state(1, "playing")),
    (34, |evening| evening.next_track()),
    (38, |evening| evening.set_state(6, "buffering")),
    (40, |evening| evening.next_episode()),
    (41, |evening| evening.set_state(6, "playing")),
    (52, |evening| evening.begin(5, remuxed())),
    (56, |evening| evening.set_state(6, "buffering")),
    (61, |evening| evening.set_state(6, "playing")),
    (64, |evening| evening.next_track()),
    (78, |evening| evening.next_episode()),
    (84, |evening| evening.end(4)),
    (94, |evening| evening.next_track()),
    (98, |evening| evening.scan("ended")),
    (100, |evening| evening.end(5)),
    (106, |evening| evening.end(6)),
    (110, |evening| evening.end(1)),
    (112, |evening| evening.end(2)),
    (114, |evening| evening.end_track()),
    (116, |evening| evening.end(7)),
];

/// A film in HDR with subtitles that are pictures, for a television abroad behind the relay: Plex
/// burns them in without hardware, and is far ahead of its client.
fn burnt_in() -> Value {
    let software = json!({"transcodeHwRequested": true, "transcodeHwDecoding": "(absent)",
        "transcodeHwEncoding": "(absent)", "transcodeHwFullPipeline": false, "throttled": true, "speed": 0,
        "subtitleDecision": "burn", "sourceAudioCodec": "truehd"});
    with(
        payloads::transcoded(movie(4, 104, "Heat"), "dave4"),
        json!({"TranscodeSession": software, "User": {"id": "4001", "title": "dave"},
        "Player": {"device": "Chromecast", "product": "Plex for Chromecast", "title": "Hotel room",
            "local": false, "relayed": true, "machineIdentifier": "dave"},
        "Session": {"bandwidth": 4_200, "location": "wan"}}),
    )
}

/// Video and audio as they are, in another container.
fn remuxed() -> Value {
    let copy = with(
        transcode("erin5"),
        json!({"videoDecision": "copy", "audioDecision": "copy", "sourceVideoCodec": "h264",
        "sourceAudioCodec": "aac", "container": "mp4", "protocol": "hls", "transcodeHwDecoding": "(absent)",
        "transcodeHwEncoding": "(absent)", "transcodeHwFullPipeline": false}),
    );
    with(
        movie(5, 105, "Paddington 2"),
        json!({"TranscodeSession": copy, "User": {"id": "5001", "title": "erin"},
        "Player": {"device": "iPad", "product": "Plex for iOS", "title": "Erin's iPad", "local": false},
        "Session": {"bandwidth": 6_000, "location": "wan"},
        "Media": [{"id": "307448", "bitrate": 5_000, "videoResolution": "1080", "container": "mp4", "selected": true,
            "Part": [{"selected": true, "decision": "copy"}]}]}),
    )
}

/// A phone on a train, which buffers again and again.
fn phone() -> Value {
    with(
        payloads::transcoded(movie(6, 106, "Your Name."), "frank6"),
        json!({"User": {"id": "6001", "title": "frank"}, "Player": {"device": "Pixel 9",
            "product": "Plex for Android (Mobile)", "title": "Frank's phone", "local": false},
        "Session": {"bandwidth": 2_000, "location": "wan"},
        "Media": [{"id": "307448", "bitrate": 1_400, "videoResolution": "480", "container": "mp4", "selected": true,
            "Part": [{"decision": "transcode", "selected": true}]}]}),
    )
}

/// Live television: no library, and a number that leads nowhere.
fn live_tv() -> Value {
    with(
        movie(7, 90_001, "Evening news"),
        json!({"live": "1", "key": "/livetv/sessions/5f7a", "librarySectionID": "(absent)",
        "librarySectionTitle": "(absent)", "duration": "(absent)",
        "User": {"id": "2001", "title": "bob"},
        "Player": {"device": "Apple TV", "product": "Plex for Apple TV", "title": "Kitchen"},
        "Session": {"bandwidth": 10_500_000},
        "Media": [{"id": "1", "container": "mpegts", "videoResolution": "1080", "bitrate": 7_900, "selected": true,
            "Part": [{"selected": true, "decision": "directplay"}]}]}),
    )
}

/// The evening, as far as it has come.
pub struct Evening<'a> {
    plex: &'a FakePlex,
    second: u64,
    episode: u64,
    track: u64,
}

impl<'a> Evening<'a> {
    pub fn new(plex: &'a FakePlex) -> Self {
        let mut world = plex.world();
        for (library, duration, storage) in [
            (0, 2_570_000_000_u64, 4_100_000_000_000_u64),
            (1, 1_780_000_000, 1_900_000_000_000),
            (2, 2_400_000_000, 310_000_000_000),
            (3, 0, 96_000_000_000),
        ] {
            world.libraries[library]["durationTotal"] = json!(duration);
            world.libraries[library]["storageTotal"] = json!(storage);
            world.libraries[library]["scannedAt"] = json!(epoch() - 3_600);
            let added = epoch() - 86_400 * (library as u64 + 1);
            world.newest.insert(library as u64 + 1, added);
        }
        world
            .counts
            .extend([((2, 2), 38), ((2, 3), 112), ((3, 8), 214), ((3, 9), 760)]);
        world.server = with(
            world.server.clone(),
            json!({"myPlexMappingState": "mapped", "myPlexSigninState": "ok"}),
        );
        world.releases = vec![json!({"version": "1.43.5.11001-1a2b3c4d5", "state": "notify"})];
        world.accounts.extend(
            [(4_001, "dave"), (5_001, "erin"), (6_001, "frank")]
                .map(|(id, name)| json!({"id": id, "name": name})),
        );
        world.activities = vec![credits()];
        let films = [
            (101, file("mkv", "hevc", "4k", 24_000, ("eac3", 6))),
            (104, file("mkv", "hevc", "4k", 62_000, ("truehd", 8))),
            (105, file("mkv", "h264", "1080", 5_000, ("aac", 2))),
            (106, file("mkv", "hevc", "1080", 9_000, ("eac3", 6))),
        ];
        for (item, media) in films {
            world.metadata.insert(item, described(item, 1, media));
        }
        drop(world);
        Self {
            plex,
            second: 0,
            episode: 0,
            track: 0,
        }
    }

    /// Plays from `second` on: the Plex before it is another run of the same server.
    pub fn resume(plex: &'a FakePlex, second: u64) -> Self {
        Self {
            second,
            ..Self::new(plex)
        }
    }

    /// Plays in real time until `end`, and calls `each` after every second.
    pub fn play_until(mut self, end: u64, each: impl Fn(u64)) -> u64 {
        while self.second < end {
            let next = std::time::Instant::now() + Duration::from_secs(1);
            self.second();
            each(self.second);
            std::thread::sleep(next.saturating_duration_since(std::time::Instant::now()));
        }
        self.second
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
        let media = file("mkv", "hevc", "1080", 6_500, ("eac3", 6));
        self.plex
            .world()
            .metadata
            .insert(item, described(item, 2, media));
        let id = format!("bob{}", self.episode);
        let session = payloads::transcoded(
            payloads::episode(2, item, "The Mandalorian", "Season 1", &title),
            &id,
        );
        self.begin(2, with(session, json!({
            "Player": {"device": "Fire TV", "product": "Plex for Android (TV)", "title": "Bedroom", "local": false, "machineIdentifier": "bob"},
            "Session": {"bandwidth": 3_400, "location": "wan"}})));
    }

    fn next_track(&mut self) {
        self.end_track();
        self.track += 1;
        let title = ["Bobby Sox", "Dilemma", "One Eyed Bastard", "Saviors"]
            [usize::try_from(self.track).unwrap() % 4];
        let item = 300 + self.track;
        let flac = json!({"id": 130_355, "container": "flac", "audioCodec": "flac", "audioChannels": 2,
            "bitrate": 1_014, "Part": [{"Stream": [{"id": 1, "streamType": 2, "codec": "flac", "channels": 2}]}]});
        self.plex
            .world()
            .metadata
            .insert(item, described(item, 3, flac));
        let track = payloads::track(0, item, "Green Day", "Saviors", title);
        // Every track is a session of its own.
        self.begin(
            10 + self.track % 80,
            with(track, json!({"Player": {"title": "Carol's iPhone"}})),
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
            world.activities = vec![credits()];
            if event == "started" {
                world.activities.push(activity.clone());
            } else {
                *world.counts.get_mut(&(1, 0)).unwrap() += 1;
                world.newest.insert(1, epoch());
                world.libraries[0]["scannedAt"] = json!(epoch());
            }
            world.libraries[0]["refreshing"] = json!(event == "started");
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
                    let lan = session["Session"]["location"] == json!("lan");
                    let user = session["User"]["id"].as_str().unwrap_or("1");
                    let account: u64 = user.parse().unwrap();
                    rows.push(with(
                        bandwidth_row(now, key, lan, bytes),
                        json!({"accountID": account}),
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
                .filter(|session| {
                    session["TranscodeSession"]["videoDecision"] == json!("transcode")
                })
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

/// A version of an item on disk: container, video codec, resolution, kbit/s, audio codec and channels.
fn file(container: &str, video: &str, resolution: &str, bitrate: u64, audio: (&str, u64)) -> Value {
    let hdr = json!(if resolution == "4k" {
        "smpte2084"
    } else {
        "bt709"
    });
    json!({"id": 307_448, "container": container, "videoCodec": video, "videoResolution": resolution,
        "bitrate": bitrate, "audioCodec": audio.0, "audioChannels": audio.1, "Part": [{"id": 320_566, "Stream": [
        {"id": 1, "streamType": 1, "codec": video, "colorTrc": hdr},
        {"id": 2, "streamType": 2, "codec": audio.0, "channels": audio.1, "selected": true},
        {"id": 3, "streamType": 3, "codec": "pgs"}]}]})
}

/// `/library/metadata/{id}` of an item with this one version.
fn described(item: u64, section: u64, media: Value) -> Value {
    with(
        metadata(item, section, ""),
        json!({"Metadata": [{"Media": [media]}]}),
    )
}

/// What Plex does all evening beside playing.
fn credits() -> Value {
    json!({"uuid": "credits", "type": "media.generate.credits", "title": "Detecting credits", "progress": 40})
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
