//! The simulated Plex: what it lists, and how it answers.

use std::collections::{BTreeMap, VecDeque};

use plex_exporter::internals::{PlexError, PlexRequest};

use crate::{
    activities::Activities,
    clients::Client,
    plays::{Kind, Millis, Phase, Play, PlayId},
    wire,
};

/// Plex's window of bytes sent.
const WINDOW: Millis = 120_000;
/// A row is kept this much longer, for a response that is on its way.
const IN_FLIGHT: Millis = 20_000;

/// What every request meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    Well,
    /// The process is gone, or the network.
    Unreachable,
    /// It answers everything with this status.
    Status(u16),
}

/// A row of `/statistics/bandwidth`.
#[derive(Debug)]
struct Row {
    written: Millis,
    at: i64,
    account: u64,
    device: usize,
    lan: bool,
    bytes: u64,
    /// How much of it was reported to the exporter.
    reported: u64,
}

pub struct Plex {
    pub health: Health,
    /// Counts restarts: a response of another run never arrives.
    pub run: u64,
    pub next_key: u64,
    /// What `/status/sessions` lists, by session key.
    pub listed: BTreeMap<u64, PlayId>,
    /// Libraries by number: type, title, and whether it is there.
    pub libraries: BTreeMap<u64, (&'static str, String, bool)>,
    /// Seconds by which its clock is wrong.
    pub clock_error: i64,
    rows: VecDeque<Row>,
    /// The number of the oldest of them.
    oldest_row: usize,
    /// Whether any window has been sent: what it held was sent before.
    pub window_sent: bool,
    /// Bytes sent since the first window, as far as reported to the exporter.
    pub bytes_told: u64,
    pub accounts: u64,
    pub activities: Activities,
}

/// A session in a response, as it was when the response was written.
#[derive(Debug, Clone, Copy)]
pub struct ListedPlay {
    pub play: PlayId,
    pub phase: Phase,
    pub stream: [&'static str; 3],
    pub bitrate: u64,
    pub key: u64,
}

/// What a response contained, for the oracle.
#[derive(Debug, Default)]
pub struct ResponseContent {
    pub sessions: Vec<ListedPlay>,
    /// Numbers of rows, and their bytes.
    rows: Vec<(usize, u64)>,
}

impl Plex {
    pub fn new(accounts: u64) -> Self {
        let library = |number, kind, title: &str| (number, (kind, title.to_owned(), true));
        Self {
            health: Health::Well,
            run: 0,
            next_key: 1,
            listed: BTreeMap::new(),
            libraries: BTreeMap::from([
                library(1, "movie", "Films"),
                library(2, "movie", "Documentaries"),
                library(3, "show", "Series"),
                library(4, "artist", "Music"),
                library(5, "photo", "Photos"),
                library(6, "homevideo", "Home"),
            ]),
            clock_error: 0,
            rows: VecDeque::new(),
            oldest_row: 0,
            window_sent: false,
            bytes_told: 0,
            accounts,
            activities: Activities::default(),
        }
    }

    pub fn take_key(&mut self) -> u64 {
        self.next_key += 1;
        self.next_key - 1
    }

    /// A client was sent something.
    pub fn send(&mut self, client: &Client, bytes: u64, now: Millis) {
        while self
            .rows
            .front()
            .is_some_and(|row| row.written + WINDOW + IN_FLIGHT < now)
        {
            self.rows.pop_front();
            self.oldest_row += 1;
        }
        self.rows.push_back(Row {
            written: now,
            at: 1_800_000_000 + (now / 1_000) as i64 + self.clock_error,
            account: client.user,
            device: client.number,
            lan: client.location == "lan",
            bytes,
            reported: 0,
        });
    }

    /// What it writes at `now` as the response to `request`.
    pub fn answer(
        &self,
        request: &PlexRequest,
        plays: &[Play],
        clients: &[Client],
        now: Millis,
    ) -> (Result<String, PlexError>, ResponseContent) {
        let mut content = ResponseContent::default();
        let body = match request {
            PlexRequest::Server => wire::container(&format!(
                r#""friendlyName":"Attic","machineIdentifier":"c997","version":"1.43.4","platform":"Linux","platformVersion":"6","myPlexSubscription":true,"transcoderActiveVideoSessions":{}"#,
                self.transcodes(plays)
            )),
            PlexRequest::Sessions => {
                let live = || self.listed.values().map(|id| (*id, &plays[*id]));
                content.sessions = live()
                    .map(|(id, play)| ListedPlay {
                        play: id,
                        phase: play.phase,
                        stream: play.stream(),
                        bitrate: play.bitrate(),
                        key: play.key,
                    })
                    .collect();
                let sessions: Vec<String> = live()
                    .map(|(_, play)| wire::session(play, &clients[play.client], now))
                    .collect();
                wire::list("Metadata", &sessions)
            }
            PlexRequest::Providers => self.providers(),
            PlexRequest::Metadata(id) => {
                let number: u64 = id.to_string().parse().expect("a number");
                // A programme of live TV is no item of a library.
                match plays.iter().rev().find(|play| play.item.number == number) {
                    Some(play) if play.item.kind != Kind::Live => wire::container(&format!(
                        r#""size":1,"librarySectionID":1,"Metadata":[{{"ratingKey":"{number}","type":"{}","Media":[{{"id":{number},"bitrate":{},"videoResolution":"{}","container":"mkv","videoCodec":"hevc"}}]}}]"#,
                        play.item.media_type(),
                        play.item.bitrate(),
                        play.item.file_resolution(),
                    )),
                    _ => return (Err(PlexError::NotFound), content),
                }
            }
            PlexRequest::Items(query) => {
                let number: u64 = query.library.to_string().parse().expect("a number");
                if !self
                    .libraries
                    .get(&number)
                    .is_some_and(|(.., there)| *there)
                {
                    return (Err(PlexError::NotFound), content);
                }
                wire::container(&format!(
                    r#""size":1,"totalSize":{},"offset":0"#,
                    100 + number
                ))
            }
            PlexRequest::Resources => wire::container(&format!(
                r#""StatisticsResources":[{{"timespan":6,"at":{},"hostCpuUtilization":12.5,"hostMemoryUtilization":40}}]"#,
                1_800_000_000 + (now / 1_000) as i64 + self.clock_error
            )),
            PlexRequest::Bandwidth => {
                let mut rows = Vec::new();
                let numbered = (self.oldest_row..).zip(&self.rows);
                for (number, row) in numbered.filter(|(_, row)| now < row.written + WINDOW) {
                    content.rows.push((number, row.bytes));
                    rows.push(format!(
                        r#"{{"accountID":{},"deviceID":{},"timespan":6,"at":{},"lan":{},"bytes":{}}}"#,
                        row.account, row.device, row.at, row.lan, row.bytes
                    ));
                }
                wire::list("StatisticsBandwidth", &rows)
            }
            PlexRequest::Activities => {
                let running = self.activities.running.iter();
                let activities: Vec<String> = running
                    .map(|(number, kind)| format!(r#"{{"uuid":"a{number}","type":"{kind}"}}"#))
                    .collect();
                wire::list("Activity", &activities)
            }
            PlexRequest::Accounts => {
                let accounts: Vec<String> = (1..=self.accounts)
                    .map(|id| format!(r#"{{"id":{id},"name":"user {id}"}}"#))
                    .collect();
                wire::list("Account", &accounts)
            }
            PlexRequest::Updater => wire::container(r#""size":0,"canInstall":false"#),
        };
        (Ok(body), content)
    }

    /// Video transcodes that run.
    pub fn transcodes(&self, plays: &[Play]) -> usize {
        let live = self.listed.values().map(|id| &plays[*id]);
        live.filter(|play| play.transcode.is_some() && play.item.kind != Kind::Track)
            .count()
    }

    fn providers(&self) -> String {
        let libraries: Vec<String> = self
            .libraries
            .iter()
            .filter(|(_, (.., there))| *there)
            .map(|(number, (kind, title, _))| {
                format!(
                    r#"{{"id":"{number}","key":"/library/sections/{number}","type":"{kind}","title":"{title}","durationTotal":{},"storageTotal":{},"scannedAt":1785805331,"refreshing":false}}"#,
                    number * 1_000, number * 5_000
                )
            })
            .collect();
        wire::container(&format!(
            r#""size":1,"MediaProvider":[{{"identifier":"com.plexapp.plugins.library","Feature":[{{"type":"content","Directory":[{}]}}]}}]"#,
            libraries.join(",")
        ))
    }

    /// The exporter received the rows of `content`.
    pub fn rows_arrived(&mut self, content: &ResponseContent) {
        for (number, bytes) in &content.rows {
            let index = number.checked_sub(self.oldest_row);
            let row = index.and_then(|index| self.rows.get_mut(index));
            let row = row.expect("a row that a response can still hold");
            let more = bytes.saturating_sub(row.reported);
            row.reported += more;
            if self.window_sent {
                self.bytes_told += more;
            }
        }
        self.window_sent = true;
    }
}
