//! The truth: what really plays, since when, and how far it has come.

use crate::knowledge::Knowledge;

/// Milliseconds since the exporter's start.
pub type Millis = u64;
/// Names a play for good.
pub type PlayId = usize;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Playing,
    Paused,
    Buffering,
}

impl Phase {
    pub fn word(self) -> &'static str {
        match self {
            Self::Playing => "playing",
            Self::Paused => "paused",
            Self::Buffering => "buffering",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Film,
    Episode,
    Track,
    Live,
}

/// What is played.
#[derive(Debug, Clone, Copy)]
pub struct Item {
    pub kind: Kind,
    pub number: u64,
    pub length: Millis,
}

impl Item {
    /// `title`, `child_title`, `grandchild_title`.
    pub fn titles(&self) -> [String; 3] {
        let number = self.number;
        match self.kind {
            Kind::Film => [format!("Film {number}"), String::new(), String::new()],
            Kind::Live => [format!("Programme {number}"), String::new(), String::new()],
            Kind::Episode => [
                format!("Show {}", number / 8),
                format!("Season {}", number % 3),
                format!("Episode {number}"),
            ],
            Kind::Track => [
                format!("Artist {}", number / 12),
                "Album".to_owned(),
                format!("Track {number}"),
            ],
        }
    }

    pub fn media_type(&self) -> &'static str {
        match self.kind {
            Kind::Film => "movie",
            Kind::Episode | Kind::Live => "episode",
            Kind::Track => "track",
        }
    }

    /// The number of its library.
    pub fn library(&self) -> Option<u64> {
        match self.kind {
            Kind::Film => Some(1 + self.number % 2),
            Kind::Episode => Some(3),
            Kind::Track => Some(4),
            Kind::Live => None,
        }
    }

    pub fn file_resolution(&self) -> &'static str {
        match self.kind {
            Kind::Track => "",
            _ => ["4k", "1080", "720"][(self.number % 3) as usize],
        }
    }

    /// kbit/s
    pub fn bitrate(&self) -> u64 {
        1_000 + self.number % 7_000
    }
}

/// One play.
#[derive(Debug)]
pub struct Play {
    pub client: usize,
    pub item: Item,
    /// Plex's session key now.
    pub key: u64,
    /// `Session.id`
    pub session_id: String,
    pub phase: Phase,
    since: Millis,
    played: Millis,
    /// Bytes of what was played.
    bytes: f64,
    offset: Millis,
    /// Changes of its phase, its beginning and its end among them.
    pub changes: u64,
    /// When it first played.
    pub began: Option<Millis>,
    pub ended: Option<Millis>,
    /// When Plex began to list it, and when it leaves the listing.
    pub entered: Option<Millis>,
    pub left: Option<Millis>,
    /// The id of its transcode.
    pub transcode: Option<u64>,
    /// What the exporter can know of it.
    pub known: Knowledge,
}

impl Play {
    pub fn new(client: usize, item: Item, key: u64, session_id: String, now: Millis) -> Self {
        Self {
            client,
            item,
            key,
            session_id,
            phase: Phase::Buffering,
            since: now,
            played: 0,
            bytes: 0.0,
            offset: 0,
            changes: 2,
            began: None,
            ended: None,
            entered: None,
            left: None,
            transcode: None,
            known: Knowledge::default(),
        }
    }

    fn moved(&self, now: Millis) -> Millis {
        let now = self.ended.map_or(now, |ended| now.min(ended));
        match self.phase {
            Phase::Playing => now.saturating_sub(self.since),
            _ => 0,
        }
    }

    /// Time played up to `now`.
    pub fn played(&self, now: Millis) -> Millis {
        self.played + self.moved(now)
    }

    /// Milliseconds into the item.
    pub fn offset(&self, now: Millis) -> Millis {
        self.offset + self.moved(now)
    }

    fn accrue(&mut self, now: Millis) {
        let moved = self.moved(now);
        self.played += moved;
        // 1 kbit/s is a bit in a millisecond.
        self.bytes += moved as f64 * self.bitrate() as f64 / 8.0;
        self.offset += moved;
        self.since = now;
    }

    /// Bytes of what was played up to the last change.
    pub fn bytes(&self) -> f64 {
        self.bytes
    }

    /// kbit/s of the stream.
    pub fn bitrate(&self) -> u64 {
        match self.transcode {
            None => self.item.bitrate(),
            Some(_) => 2_664,
        }
    }

    /// A transcode begins or ends.
    pub fn set_transcode(&mut self, transcode: Option<u64>, now: Millis) {
        self.accrue(now);
        self.transcode = transcode;
    }

    pub fn change(&mut self, phase: Phase, now: Millis) {
        self.accrue(now);
        self.changes += 1;
        self.phase = phase;
        if phase == Phase::Playing && self.began.is_none() {
            self.began = Some(now);
        }
    }

    pub fn seek(&mut self, offset: Millis, now: Millis) {
        self.accrue(now);
        self.offset = offset;
    }

    pub fn end(&mut self, now: Millis) {
        self.accrue(now);
        self.ended = Some(now);
    }

    /// What of its labels can change: `stream_type`, `transcode_type`, `stream_resolution`.
    pub fn stream(&self) -> [&'static str; 3] {
        match (self.transcode, self.item.kind) {
            (None, _) => ["direct play", "none", self.item.file_resolution()],
            (Some(_), Kind::Track) => ["transcode", "audio", ""],
            (Some(_), _) => ["transcode", "both", "720"],
        }
    }
}
