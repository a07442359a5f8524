//! All metrics: name, type, labels and help. Users' dashboards depend on names and labels.

use prometheus::proto::MetricType;

/// One metric.
#[derive(Debug)]
pub struct Desc {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: MetricType,
    /// What it means, with its unit.
    pub help: &'static str,
    /// Whether it carries `server` and `server_id`.
    pub server: bool,
    /// Its other labels, in order.
    pub labels: &'static [&'static str],
}

const fn desc(
    name: &'static str,
    kind: MetricType,
    server: bool,
    labels: &'static [&'static str],
    help: &'static str,
) -> Desc {
    Desc {
        name,
        kind,
        help,
        server,
        labels,
    }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Desc {
    desc(name, MetricType::GAUGE, true, labels, help)
}

const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Desc {
    desc(name, MetricType::COUNTER, true, labels, help)
}

const fn own(
    name: &'static str,
    kind: MetricType,
    labels: &'static [&'static str],
    help: &'static str,
) -> Desc {
    desc(name, kind, false, labels, help)
}

const LIBRARY: &[&str] = &["library_type", "library", "library_id"];
const PLAY: &[&str] = &[
    "library",
    "library_id",
    "library_type",
    "media_type",
    "title",
    "child_title",
    "grandchild_title",
    "stream_type",
    "stream_resolution",
    "stream_file_resolution",
    "stream_bitrate",
    "device",
    "device_type",
    "user",
    "session",
    "transcode_type",
    "subtitle_action",
    "location",
    "local",
];
const BUFFERING: &[&str] = &["location", "stream_type"];
const SESSION: &[&str] = &["session", "user", "location"];

macro_rules! catalogue {
    ($($ident:ident = $desc:expr;)*) => {
        $(pub(crate) static $ident: Desc = $desc;)*
        /// All metrics, in the order of a scrape.
        pub static CATALOGUE: &[&Desc] = &[$(&$ident),*];
    };
}

catalogue! {
    UP = gauge("plex_up", &[], "1 when the last poll of Plex succeeded, else 0.");
    SERVER_INFO = gauge(
        "plex_server_info",
        &["version", "platform", "platform_version", "plex_pass"],
        "The Plex Media Server; always 1.");
    HOST_CPU = gauge("plex_host_cpu_utilization_ratio", &[],
        "Share of the host's processors in use, 0.0 to 1.0 (Plex Pass).");
    HOST_MEMORY = gauge("plex_host_memory_utilization_ratio", &[],
        "Share of the host's memory in use, 0.0 to 1.0 (Plex Pass).");
    PROCESS_CPU = gauge("plex_process_cpu_utilization_ratio", &[],
        "Share of the host's processors that Plex itself uses, 0.0 to 1.0 (Plex Pass).");
    PROCESS_MEMORY = gauge("plex_process_memory_utilization_ratio", &[],
        "Share of the host's memory that Plex itself uses, 0.0 to 1.0 (Plex Pass).");
    TRANSMIT = counter("plex_transmit_bytes_total", &[],
        "Bytes Plex sent to clients since the exporter started (Plex Pass).");
    NETWORK_TRANSMIT = counter("plex_network_transmit_bytes_total", &["location"],
        "Bytes Plex sent to clients since the exporter started, within (lan) and beyond (wan) \
         its network (Plex Pass).");
    ESTIMATED_TRANSMIT = counter("plex_estimated_transmit_bytes_total", &[],
        "Estimated bytes sent: the bitrate of every session times the time it played.");
    ACTIVE_TRANSCODES = gauge("plex_active_transcode_sessions", &[],
        "Video transcodes running now.");
    WEBSOCKET = gauge("plex_websocket_connected", &[],
        "1 while the notification WebSocket is connected and responding, else 0.");
    ACTIVITIES = gauge("plex_activities", &["type"],
        "Background activities (scans, downloads and the like) running now.");
    REMOTE_ACCESS = gauge("plex_remote_access", &[],
        "1 when plex.tv can reach the server from outside (mapped), else 0.");
    SIGNED_IN = gauge("plex_signed_in", &[], "1 when the server is signed in to plex.tv, else 0.");
    UPDATE_AVAILABLE = gauge("plex_update_available", &[],
        "1 when a newer release of Plex Media Server is available, else 0.");
    LIBRARY_DURATION_MS = gauge("plex_library_duration_milliseconds", LIBRARY,
        "Total duration of the library, in milliseconds.");
    LIBRARY_DURATION = gauge("plex_library_duration_seconds", LIBRARY,
        "Total duration of the library, in seconds.");
    LIBRARY_STORAGE = gauge("plex_library_storage_bytes", LIBRARY,
        "Total size of the library, in bytes.");
    LIBRARY_ITEMS = gauge("plex_library_items",
        &["library_type", "library", "library_id", "content_type"],
        "Items in the library: movies, episodes, tracks, photos or items.");
    LIBRARY_CONTENTS = gauge("plex_library_contents",
        &["library_type", "library", "library_id", "content_type"],
        "Other contents of the library: shows, seasons, artists, albums.");
    LIBRARY_LAST_SCAN = gauge("plex_library_last_scan_timestamp_seconds", LIBRARY,
        "When the library was last scanned, in seconds since the epoch.");
    LIBRARY_REFRESHING = gauge("plex_library_refreshing", LIBRARY,
        "1 while the library is scanned, else 0.");
    LIBRARY_NEWEST_ITEM = gauge("plex_library_newest_item_timestamp_seconds", LIBRARY,
        "When the newest item was added, in seconds since the epoch.");
    ACTIVE_SESSIONS = gauge("plex_active_sessions", &[], "Live sessions.");
    SESSIONS = gauge("plex_sessions", &["state", "media_type", "stream_type", "location"],
        "Live sessions by state and kind.");
    PLAY_STARTS = counter("plex_play_starts_total", &["library", "library_id", "library_type"],
        "Plays started since the exporter started.");
    PLAYS = counter("plex_plays_total", PLAY,
        "Plays with these labels; removed a minute after the last of them ended.");
    PLAY_SECONDS = counter("plex_play_seconds_total", PLAY,
        "Seconds that plays with these labels have been playing.");
    SESSION_INFO = gauge("plex_session_info",
        &["session", "state", "user", "player", "device", "device_type", "media_type", "title",
          "child_title", "grandchild_title", "library", "library_id", "stream_type",
          "transcode_type", "location", "relayed", "secure", "live"],
        "A live session in any state; always 1.");
    SESSION_MEDIA_INFO = gauge("plex_session_media_info",
        &["session", "container", "video_codec", "video_resolution", "dynamic_range",
          "audio_codec", "audio_channels", "subtitle_codec"],
        "The file behind the session, before any transcoding; always 1.");
    SESSION_BANDWIDTH = gauge("plex_session_bandwidth_kbps", SESSION,
        "Bandwidth reserved for the session, in kbit/s.");
    SESSION_BITRATE = gauge("plex_session_bitrate_kbps", SESSION,
        "Bitrate of the session's stream now, in kbit/s.");
    SESSION_PROGRESS = gauge("plex_session_progress_ratio", &["session", "user"],
        "How far into the item the session is, 0.0 to 1.0.");
    TRANSCODE_INFO = gauge("plex_transcode_session_info",
        &["session", "video_decision", "audio_decision", "source_video_codec", "video_codec",
          "source_audio_codec", "audio_codec", "container", "protocol", "hw_decoding",
          "hw_encoding", "hw_full_pipeline"],
        "What the session's transcode does; always 1.");
    TRANSCODE_CAUSE = gauge("plex_transcode_cause", &["session", "cause"],
        "Why the session is not played directly, inferred from file and output; always 1.");
    TRANSCODE_SPEED = gauge("plex_transcode_speed_ratio", &["session"],
        "Transcoding speed in multiples of real time.");
    TRANSCODE_THROTTLED = gauge("plex_transcode_throttled", &["session"],
        "1 when the transcoder pauses because it is ahead of the client, else 0.");
    TRANSCODE_HARDWARE_REQUESTED = gauge("plex_transcode_hardware_requested", &["session"],
        "1 when hardware was requested, whether or not it is used, else 0.");
    BUFFERING_TOTAL = counter("plex_play_buffering_total", BUFFERING,
        "Times a playing session started buffering.");
    BUFFERING_SECONDS = counter("plex_play_buffering_seconds_total", BUFFERING,
        "Seconds that sessions spent buffering, the wait at the start of a play included.");
    USER_PLAY_STARTS = counter("plex_user_play_starts_total", &["user"],
        "Plays started since the exporter started, by user.");
    USER_PLAY_SECONDS = counter("plex_user_play_seconds_total",
        &["user", "library", "library_id", "media_type", "stream_type", "location"],
        "Seconds that users have been playing since the exporter started.");
    USER_TRANSMIT = counter("plex_user_transmit_bytes_total", &["user", "location"],
        "Bytes Plex sent to users since the exporter started (Plex Pass).");
    TRANSCODE_SECONDS = counter("plex_transcode_seconds_total",
        &["video_decision", "hw_decoding", "hw_encoding", "source_video_codec", "video_codec"],
        "Seconds that sessions have been playing while Plex transcoded for them.");
    BUILD_INFO = own("plex_exporter_build_info", MetricType::GAUGE,
        &["version", "revision", "rustversion"], "What the exporter was built from; always 1.");
    REQUESTS = own("plex_exporter_plex_requests_total", MetricType::COUNTER, &["endpoint"],
        "Requests sent to Plex.");
    REQUEST_ERRORS = own("plex_exporter_plex_request_errors_total", MetricType::COUNTER,
        &["endpoint", "reason"], "Requests to Plex that failed.");
    LAST_SUCCESS = own("plex_exporter_last_success_timestamp_seconds", MetricType::GAUGE, &["endpoint"],
        "When a request to Plex last succeeded, in seconds since the epoch.");
    REQUEST_DURATION = own("plex_exporter_plex_request_duration_seconds", MetricType::HISTOGRAM,
        &["endpoint"], "Duration of requests to Plex.");
    RECONNECTS = own("plex_exporter_websocket_reconnects_total", MetricType::COUNTER, &[],
        "Times the notification WebSocket was reconnected.");
    NOTIFICATIONS = own("plex_exporter_notifications_total", MetricType::COUNTER, &["type"],
        "Notifications received from Plex.");
    DROPPED = own("plex_exporter_dropped_total", MetricType::COUNTER, &["kind"],
        "Data ignored because it exceeded a limit of the exporter.");
    PROCESS_CPU_SECONDS = own("process_cpu_seconds_total", MetricType::COUNTER, &[],
        "Total user and system CPU time spent in seconds.");
    PROCESS_OPEN_FDS = own("process_open_fds", MetricType::GAUGE, &[],
        "Number of open file descriptors.");
    PROCESS_MAX_FDS = own("process_max_fds", MetricType::GAUGE, &[],
        "Maximum number of open file descriptors.");
    PROCESS_VIRTUAL_MEMORY = own("process_virtual_memory_bytes", MetricType::GAUGE, &[],
        "Virtual memory size in bytes.");
    PROCESS_RESIDENT_MEMORY = own("process_resident_memory_bytes", MetricType::GAUGE, &[],
        "Resident memory size in bytes.");
    PROCESS_THREADS = own("process_threads", MetricType::GAUGE, &[], "Number of OS threads.");
    PROCESS_START_TIME = own("process_start_time_seconds", MetricType::GAUGE, &[],
        "Start time of the process since unix epoch in seconds.");
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique_and_follow_the_conventions() {
        let mut names = HashSet::new();
        for desc in CATALOGUE {
            assert!(names.insert(desc.name), "{} twice", desc.name);
            assert_eq!(
                desc.name.ends_with("_total"),
                desc.kind == MetricType::COUNTER,
                "{}",
                desc.name
            );
            assert!(
                desc.help.ends_with('.') && !desc.help.contains(['\\', '\n']),
                "{}: the help is written as it is",
                desc.name
            );
        }
    }
}
