//! What the simulated server has, and how it responds to a request for it.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::super::payloads::{self, TOKEN};
use super::faults::Fault;

/// What the simulated server has and does.
pub struct World {
    pub server: Value,
    pub libraries: Vec<Value>,
    /// Item counts, by library id and metadata type (0 without).
    pub counts: HashMap<(u64, u64), u64>,
    /// `addedAt` of the newest item, by library id.
    pub newest: HashMap<u64, u64>,
    pub sessions: Vec<Value>,
    /// Responses of `/library/metadata/{id}`.
    pub metadata: HashMap<u64, Value>,
    pub resources: Vec<Value>,
    pub bandwidth: Vec<Value>,
    pub activities: Vec<Value>,
    pub accounts: Vec<Value>,
    /// `Release` of `/updater/status`.
    pub releases: Vec<Value>,
    /// Faults, by the beginning of the path.
    pub faults: Vec<(String, Fault)>,
    /// The base path of a reverse proxy in front.
    pub base_path: String,
    pub token: String,
    /// Whether pings get a pong.
    pub pongs: bool,
}

impl Default for World {
    fn default() -> Self {
        Self {
            server: payloads::server(),
            libraries: vec![
                payloads::library(1, "movie", "Movies", 3_600_000, 5_000),
                payloads::library(2, "show", "TV Shows", 7_200_000, 6_000),
                payloads::library(3, "artist", "Music", 1_800_500, 7_000),
                payloads::library(4, "photo", "Photos", 0, 8_000),
            ],
            counts: HashMap::from([
                ((1, 0), 357),
                ((2, 4), 1_234),
                ((3, 10), 9_876),
                ((4, 0), 55),
            ]),
            newest: HashMap::from([(1, 1_785_000_001), (2, 1_785_000_002)]),
            sessions: Vec::new(),
            metadata: HashMap::from([(101, payloads::metadata(101, 1, "4k"))]),
            resources: vec![payloads::resources_row(payloads::epoch(), 12.5, 50.0)],
            bandwidth: Vec::new(),
            activities: Vec::new(),
            accounts: vec![
                json!({"id": 0, "name": ""}),
                json!({"id": 1, "name": "alice"}),
                json!({"id": 2_001, "name": "bob"}),
                json!({"id": 3_001, "name": "carol"}),
            ],
            releases: Vec::new(),
            faults: Vec::new(),
            base_path: String::new(),
            token: TOKEN.to_owned(),
            pongs: true,
        }
    }
}

impl World {
    pub fn fault(&mut self, path: &str, fault: Fault) {
        self.clear_fault(path);
        self.faults.push((path.to_owned(), fault));
    }

    /// The same fault for every HTTP endpoint that the exporter uses.
    pub fn fault_everywhere(&mut self, fault: &Fault) {
        for path in [
            "/",
            "/status",
            "/media",
            "/library",
            "/statistics",
            "/activities",
            "/accounts",
            "/updater",
        ] {
            self.fault(path, fault.clone());
        }
    }

    pub fn clear_fault(&mut self, path: &str) {
        self.faults.retain(|(own, _)| own != path);
    }

    /// Adds a session to the list, in place of the one with its key.
    pub fn play(&mut self, session: Value) {
        let key = session["sessionKey"].clone();
        self.stop(&key);
        self.sessions.push(session);
    }

    pub fn stop(&mut self, key: &Value) {
        self.sessions
            .retain(|session| session["sessionKey"] != *key);
    }

    /// Changes the session with this key.
    pub fn change(&mut self, key: u64, changes: Value) {
        for session in &mut self.sessions {
            if session["sessionKey"] == json!(key.to_string()) {
                *session = payloads::with(session.take(), changes.clone());
            }
        }
    }

    fn list(elements: &[Value], name: &str) -> Value {
        // An empty list has no key at all.
        if elements.is_empty() {
            json!({"size": 0})
        } else {
            json!({"size": elements.len(), name: elements})
        }
    }

    /// The response to a request for `target` (path and query); `None` is 404.
    pub fn response_to(&self, target: &str) -> Option<Value> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let query = query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        self.response(path, &query)
    }

    /// The fault of requests for `target`.
    pub fn fault_of(&self, target: &str) -> Option<&Fault> {
        let hit = self
            .faults
            .iter()
            .find(|(own, _)| target.starts_with(own.as_str()) && (own != "/" || target == "/"));
        hit.map(|(_, fault)| fault)
    }

    fn response(&self, path: &str, query: &HashMap<String, String>) -> Option<Value> {
        let number = |text: &str| text.parse::<u64>().ok();
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        Some(match parts[..] {
            [""] => self.server.clone(),
            ["identity"] => {
                json!({"size": 0, "machineIdentifier": self.server["machineIdentifier"]})
            }
            ["media", "providers"] => {
                let mut directories = vec![json!({"hubKey": "/hubs", "title": "Home"})];
                let with_storage = query
                    .get("includeStorage")
                    .is_some_and(|value| value == "1");
                directories.extend(self.libraries.iter().cloned().map(|mut library| {
                    if !with_storage {
                        let fields = library.as_object_mut().unwrap();
                        fields.remove("durationTotal");
                        fields.remove("storageTotal");
                    }
                    library
                }));
                directories
                    .push(json!({"id": "playlists", "type": "playlist", "title": "Playlists"}));
                payloads::with(
                    self.server.clone(),
                    json!({"MediaProvider": [
                        {"identifier": "tv.plex.providers.epg.cloud:12", "id": 12, "Feature": [
                            {"type": "content", "Directory": [{"id": "77", "type": "show", "title": "Live TV"}]}]},
                        {"identifier": "com.plexapp.plugins.library", "Feature": [
                            {"type": "content", "key": "/library/sections", "Directory": directories},
                            {"type": "search"}]},
                    ]}),
                )
            }
            ["status", "sessions"] => Self::list(&self.sessions, "Metadata"),
            ["library", "metadata", id] => self.metadata.get(&number(id)?)?.clone(),
            ["library", "sections", id, "all"] => {
                let kind = query.get("type").and_then(|kind| number(kind)).unwrap_or(0);
                let id = number(id)?;
                self.libraries
                    .iter()
                    .find(|library| library["id"] == json!(id.to_string()))?;
                let total = self.counts.get(&(id, kind)).copied().unwrap_or(0);
                let newest = self.newest.get(&id).map(|added| json!({"addedAt": added}));
                payloads::with(
                    Self::list(newest.as_slice(), "Metadata"),
                    json!({"totalSize": total, "offset": 0, "librarySectionID": id}),
                )
            }
            ["statistics", _] if query.get("timespan").is_none_or(|span| span != "6") => {
                return None;
            }
            ["statistics", _] if self.server["myPlexSubscription"] != json!(true) => return None,
            ["statistics", "resources"] => Self::list(&self.resources, "StatisticsResources"),
            ["statistics", "bandwidth"] => Self::list(&self.bandwidth, "StatisticsBandwidth"),
            ["accounts"] => Self::list(&self.accounts, "Account"),
            ["updater", "status"] => Self::list(&self.releases, "Release"),
            ["activities"] => Self::list(&self.activities, "Activity"),
            _ => return None,
        })
    }
}
