//! Renders the state as the text of a scrape.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    build_info,
    clock::Timestamp,
    metrics::{TextWriter, catalogue as c, process::Process},
    state::{
        DROPPED_KINDS, State,
        labels::{EncodedLabels, UNKNOWN_LIBRARY},
        libraries::Library,
        play::Play,
        statistics::Load,
    },
};

/// Writes every metric. Call [`State::prepare_scrape`] first; a play without label texts is left out.
///
/// The page is written into `buffer`, which is empty.
#[must_use]
pub fn render(state: &State, process: &Process, now: Timestamp, buffer: String) -> String {
    let (name, id) = state
        .server
        .as_ref()
        .map_or(("", ""), |server| (&server.name, &server.id));
    let mut out = TextWriter::new(name, id, buffer);
    out.sample(&c::UP, Some(flag(state.is_up())));
    out.sample(&c::WEBSOCKET, Some(flag(state.socket_up)));
    // What other endpoints said belongs to the series of a server that has a name.
    if state.server.is_some() {
        server(&mut out, state, now);
        libraries(&mut out, state);
        sessions(&mut out, state, now);
        transcodes(&mut out, state);
        lasting(&mut out, state, now);
    }
    exporter(&mut out, state, process);
    out.into_text()
}

fn server(out: &mut TextWriter, state: &State, now: Timestamp) {
    let now = now.monotonic;
    out.samples(
        &c::SERVER_INFO,
        state.server.as_ref().map(|server| {
            let plex_pass = text_of(server.plex_pass);
            (
                [
                    &*server.version,
                    &server.platform,
                    &server.platform_version,
                    plex_pass,
                ],
                1.0,
            )
        }),
    );
    let load = state.load.get(now).copied().unwrap_or(Load::default());
    out.sample(&c::HOST_CPU, load.host_cpu);
    out.sample(&c::HOST_MEMORY, load.host_memory);
    out.sample(&c::PROCESS_CPU, load.process_cpu);
    out.sample(&c::PROCESS_MEMORY, load.process_memory);
    let sent = state.sent_bytes(now);
    out.sample(
        &c::TRANSMIT,
        sent.map(|(lan, wan)| lan.saturating_add(wan) as f64),
    );
    out.samples(
        &c::NETWORK_TRANSMIT,
        sent.into_iter()
            .flat_map(|(lan, wan)| [(["lan"], lan as f64), (["wan"], wan as f64)]),
    );
    out.sample(
        &c::ESTIMATED_TRANSMIT,
        Some(state.sessions.estimated_bytes.floor()),
    );
    out.sample(&c::ACTIVE_TRANSCODES, state.active_transcodes.count(now));
    let server = state.server.as_ref();
    out.sample(
        &c::REMOTE_ACCESS,
        server.and_then(|server| server.remote_access).map(flag),
    );
    out.sample(
        &c::SIGNED_IN,
        server.and_then(|server| server.signed_in).map(flag),
    );
    out.sample(&c::UPDATE_AVAILABLE, state.update_available.map(flag));
    let activities = state.activities.by_type();
    out.samples(
        &c::ACTIVITIES,
        activities
            .iter()
            .map(|(kind, count)| ([*kind], *count as f64)),
    );
}

fn libraries(out: &mut TextWriter, state: &State) {
    let libraries: Vec<(String, &Library)> = state
        .libraries
        .iter()
        .map(|(id, library)| (id.to_string(), library))
        .collect();
    let per_library = |value: fn(&Library) -> Option<f64>| {
        libraries.iter().filter_map(move |(id, library)| {
            Some(([&*library.kind, &library.title, &**id], value(library)?))
        })
    };
    out.samples(
        &c::LIBRARY_DURATION_MS,
        per_library(|library| library.duration),
    );
    out.samples(
        &c::LIBRARY_DURATION,
        per_library(|library| Some(library.duration? / 1_000.0)),
    );
    out.samples(&c::LIBRARY_STORAGE, per_library(|library| library.storage));
    out.samples(
        &c::LIBRARY_ITEMS,
        libraries.iter().filter_map(|(id, library)| {
            Some((
                [&*library.kind, &library.title, id, library.content_type()],
                library.items?,
            ))
        }),
    );
    out.samples(
        &c::LIBRARY_CONTENTS,
        libraries.iter().flat_map(|(id, library)| {
            library
                .contents
                .iter()
                .map(|(content, count)| ([&*library.kind, &library.title, &**id, *content], *count))
        }),
    );
    out.samples(
        &c::LIBRARY_LAST_SCAN,
        per_library(|library| library.scanned),
    );
    out.samples(
        &c::LIBRARY_REFRESHING,
        per_library(|library| library.refreshing.map(flag)),
    );
    out.samples(
        &c::LIBRARY_NEWEST_ITEM,
        per_library(|library| library.newest),
    );
    let starts = |id| state.starts.get(&id).copied().unwrap_or(0) as f64;
    let known = state
        .libraries
        .iter()
        .zip(&libraries)
        .map(|((id, library), (text, _))| {
            ([&*library.title, &**text, &*library.kind], starts(Some(id)))
        });
    let unknown = state
        .starts
        .contains_key(&None)
        .then(|| (UNKNOWN_LIBRARY, starts(None)));
    out.samples(&c::PLAY_STARTS, known.chain(unknown));
}

fn sessions(out: &mut TextWriter, state: &State, now: Timestamp) {
    out.sample(
        &c::ACTIVE_SESSIONS,
        state
            .sessions
            .is_listed()
            .then(|| state.sessions.live().len() as f64),
    );
    let mut kinds: BTreeMap<[&str; 4], u64> = BTreeMap::new();
    for play in state.sessions.live() {
        let values = &play.labels;
        let kind = [
            play.phase().label(),
            &*values.media_type,
            &values.stream_type,
            &values.location,
        ];
        *kinds.entry(kind).or_default() += 1;
    }
    out.samples(
        &c::SESSIONS,
        kinds.into_iter().map(|(kind, count)| (kind, count as f64)),
    );
    let series = || state.sessions.series.visible(now.monotonic);
    out.cached_samples(
        &c::PLAYS,
        series().map(|series| (series.labels(), series.plays() as f64)),
    );
    out.cached_samples(
        &c::PLAY_SECONDS,
        series().map(|series| (series.labels(), seconds(series.played()))),
    );
    out.cached_samples(
        &c::SESSION_INFO,
        live(state, |_, labels| Some((&*labels.info, 1.0))),
    );
    out.cached_samples(
        &c::SESSION_MEDIA_INFO,
        live(state, |_, labels| Some((labels.media.as_deref()?, 1.0))),
    );
    out.cached_samples(
        &c::SESSION_BANDWIDTH,
        live(state, |play, labels| {
            Some((labels.network(), play.bandwidth?))
        }),
    );
    out.cached_samples(
        &c::SESSION_BITRATE,
        live(state, |play, labels| {
            Some((labels.network(), play.bitrate?))
        }),
    );
    out.cached_samples(
        &c::SESSION_PROGRESS,
        live(state, |play, labels| {
            Some((labels.viewer(), rounded(play.progress()?)))
        }),
    );
}

fn transcodes(out: &mut TextWriter, state: &State) {
    out.cached_samples(
        &c::TRANSCODE_INFO,
        live(state, |_, labels| Some((labels.transcode.as_deref()?, 1.0))),
    );
    let encoded = state
        .sessions
        .live()
        .filter_map(|play| play.encoded.as_ref());
    out.cached_samples(
        &c::TRANSCODE_CAUSE,
        encoded
            .flat_map(|labels| &labels.causes)
            .map(|labels| (&**labels, 1.0)),
    );
    out.cached_samples(
        &c::TRANSCODE_SPEED,
        live(state, |play, labels| {
            let speed = play.transcode.as_ref()?.speed.non_negative()?;
            Some((labels.session(), rounded(speed)))
        }),
    );
    out.cached_samples(
        &c::TRANSCODE_THROTTLED,
        live(state, |play, labels| {
            let throttled = play.transcode.as_ref()?.throttled.get()?;
            Some((labels.session(), flag(throttled)))
        }),
    );
    out.cached_samples(
        &c::TRANSCODE_HARDWARE_REQUESTED,
        live(state, |play, labels| {
            let requested = play.transcode.as_ref()?.transcode_hw_requested.get()?;
            Some((labels.session(), flag(requested)))
        }),
    );
}

/// One sample for every live play for which there is one.
fn live<'a>(
    state: &'a State,
    sample: impl Fn(&'a Play, &'a EncodedLabels) -> Option<(&'a str, f64)>,
) -> impl Iterator<Item = (&'a str, f64)> {
    state
        .sessions
        .live()
        .filter_map(move |play| sample(play, play.encoded.as_ref()?))
}

/// The counters that outlive sessions and their series.
fn lasting(out: &mut TextWriter, state: &State, now: Timestamp) {
    let lasting = &state.sessions.lasting;
    let buffering = || {
        lasting
            .buffering
            .iter()
            .map(|((location, stream_type), buffering)| ([&**location, &**stream_type], buffering))
    };
    out.samples(
        &c::BUFFERING_TOTAL,
        buffering().map(|(labels, buffering)| (labels, buffering.interruptions as f64)),
    );
    out.samples(
        &c::BUFFERING_SECONDS,
        buffering().map(|(labels, buffering)| (labels, seconds(buffering.time))),
    );
    out.samples(
        &c::USER_PLAY_STARTS,
        lasting
            .user_starts
            .iter()
            .map(|(user, starts)| ([&**user], *starts as f64)),
    );
    out.cached_samples(
        &c::USER_PLAY_SECONDS,
        lasting
            .user_play
            .iter()
            .map(|(labels, time)| (labels, seconds(time))),
    );
    let bytes = lasting.user_bytes.iter();
    out.samples(
        &c::USER_TRANSMIT,
        bytes
            .filter(|_| state.sent_bytes(now.monotonic).is_some())
            .map(|((user, lan), bytes)| {
                ([&**user, if *lan { "lan" } else { "wan" }], *bytes as f64)
            }),
    );
    out.cached_samples(
        &c::TRANSCODE_SECONDS,
        lasting
            .transcode
            .iter()
            .map(|(labels, time)| (labels, seconds(time))),
    );
}

fn exporter(out: &mut TextWriter, state: &State, process: &Process) {
    let exporter = &state.exporter;
    out.samples(
        &c::BUILD_INFO,
        [(
            [
                build_info::VERSION,
                build_info::REVISION,
                build_info::RUST_VERSION,
            ],
            1.0,
        )],
    );
    out.samples(
        &c::REQUESTS,
        exporter
            .requests()
            .map(|(endpoint, count)| ([endpoint.template()], count as f64)),
    );
    out.samples(
        &c::REQUEST_ERRORS,
        exporter
            .errors()
            .map(|(endpoint, reason, count)| ([endpoint.template(), reason], count as f64)),
    );
    out.samples(
        &c::LAST_SUCCESS,
        exporter
            .succeeded()
            .map(|(endpoint, wall)| ([endpoint.template()], rounded(wall))),
    );
    out.histograms(&c::REQUEST_DURATION, exporter.durations());
    out.sample(&c::RECONNECTS, Some(exporter.reconnects as f64));
    out.samples(
        &c::NOTIFICATIONS,
        exporter
            .notifications()
            .map(|(kind, count)| ([kind], count as f64)),
    );
    out.samples(
        &c::DROPPED,
        DROPPED_KINDS
            .iter()
            .zip(state.dropped())
            .map(|(kind, count)| ([*kind], count as f64)),
    );
    out.sample(&c::PROCESS_CPU_SECONDS, process.cpu_seconds);
    out.sample(&c::PROCESS_OPEN_FDS, process.open_fds);
    out.sample(&c::PROCESS_MAX_FDS, process.max_fds);
    out.sample(&c::PROCESS_VIRTUAL_MEMORY, process.virtual_bytes);
    out.sample(&c::PROCESS_RESIDENT_MEMORY, process.resident_bytes);
    out.sample(&c::PROCESS_THREADS, process.threads);
    out.sample(&c::PROCESS_START_TIME, process.start_seconds);
}

fn flag(value: bool) -> f64 {
    if value { 1.0 } else { 0.0 }
}

fn text_of(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}

/// Truncated to milliseconds: rounding up would let a counter run ahead of time.
fn seconds(duration: Duration) -> f64 {
    duration.as_millis() as f64 / 1_000.0
}

/// Four decimals are more than the precision of these values; further digits would only take room.
fn rounded(value: f64) -> f64 {
    (value * 10_000.0).round() / 10_000.0
}
