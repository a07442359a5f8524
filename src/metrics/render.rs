//! A scrape: the state, as text.

use std::{collections::BTreeMap, time::Duration};

use super::{
    catalogue::{self as c},
    labels::{PlayLabels, UNKNOWN_LIBRARY},
    process::Process,
    text::Page,
};
use crate::{
    build_info,
    clock::Now,
    state::{State, libraries::Library, play::Play, statistics::Load},
};

/// Writes every metric. Call [`State::settle`] first; a play without label texts is left out.
///
/// `capacity` is how long the page will be, by experience.
#[must_use]
pub fn render(state: &State, process: &Process, now: Now, capacity: usize) -> String {
    let (name, id) = state
        .server
        .as_ref()
        .map_or(("", ""), |server| (&server.name, &server.id));
    let mut page = Page::new(name, id, capacity);
    server(&mut page, state, now);
    libraries(&mut page, state);
    sessions(&mut page, state);
    transcodes(&mut page, state);
    exporter(&mut page, state, process);
    page.into_text()
}

fn server(page: &mut Page, state: &State, now: Now) {
    let now = now.mono;
    page.sample(&c::UP, Some(flag(state.up)));
    page.samples(
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
    page.sample(&c::HOST_CPU, load.host_cpu);
    page.sample(&c::HOST_MEMORY, load.host_memory);
    page.sample(&c::PROCESS_CPU, load.process_cpu);
    page.sample(&c::PROCESS_MEMORY, load.process_memory);
    let sent = state.sent_bytes(now);
    page.sample(
        &c::TRANSMIT,
        sent.map(|(lan, wan)| lan.saturating_add(wan) as f64),
    );
    page.samples(
        &c::NETWORK_TRANSMIT,
        sent.into_iter()
            .flat_map(|(lan, wan)| [(["lan"], lan as f64), (["wan"], wan as f64)]),
    );
    page.sample(&c::ESTIMATED_TRANSMIT, Some(state.estimated_bytes.floor()));
    page.sample(
        &c::ACTIVE_TRANSCODES,
        state.active_transcodes.get(now).copied().flatten(),
    );
    page.sample(&c::WEBSOCKET, Some(flag(state.socket_up)));
    let activities = state.activities.by_type();
    page.samples(
        &c::ACTIVITIES,
        activities
            .iter()
            .map(|(kind, count)| ([*kind], *count as f64)),
    );
}

fn libraries(page: &mut Page, state: &State) {
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
    page.samples(
        &c::LIBRARY_DURATION_MS,
        per_library(|library| library.duration),
    );
    page.samples(
        &c::LIBRARY_DURATION,
        per_library(|library| Some(library.duration? / 1_000.0)),
    );
    page.samples(&c::LIBRARY_STORAGE, per_library(|library| library.storage));
    page.samples(
        &c::LIBRARY_ITEMS,
        libraries.iter().filter_map(|(id, library)| {
            Some((
                [&*library.kind, &library.title, id, library.content_type()],
                library.items?,
            ))
        }),
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
    page.samples(&c::PLAY_STARTS, known.chain(unknown));
}

fn sessions(page: &mut Page, state: &State) {
    page.sample(
        &c::ACTIVE_SESSIONS,
        Some(state.sessions.live().len() as f64),
    );
    let mut kinds: BTreeMap<[&str; 4], u64> = BTreeMap::new();
    for play in state.sessions.live() {
        let facts = &play.facts;
        let kind = [
            play.phase.label(),
            &*facts.media_type,
            &facts.stream_type,
            &facts.location,
        ];
        *kinds.entry(kind).or_default() += 1;
    }
    page.samples(
        &c::SESSIONS,
        kinds.into_iter().map(|(kind, count)| (kind, count as f64)),
    );
    let played = || {
        state
            .sessions
            .played()
            .filter_map(|play| Some((play, &*play.labels.as_ref()?.play)))
    };
    page.kept(&c::PLAYS, played().map(|(_, labels)| (labels, 1.0)));
    page.kept(
        &c::PLAY_SECONDS,
        played().map(|(play, labels)| (labels, seconds(play.played))),
    );
    page.kept(
        &c::SESSION_BANDWIDTH,
        live(state, |play, labels| Some((&*labels.link, play.bandwidth?))),
    );
    page.kept(
        &c::SESSION_BITRATE,
        live(state, |play, labels| Some((&*labels.link, play.bitrate?))),
    );
    page.kept(
        &c::SESSION_PROGRESS,
        live(state, |play, labels| {
            Some((&*labels.viewer, rounded(play.progress()?)))
        }),
    );
}

fn transcodes(page: &mut Page, state: &State) {
    page.kept(
        &c::TRANSCODE_INFO,
        live(state, |_, labels| Some((labels.transcode.as_deref()?, 1.0))),
    );
    page.kept(
        &c::TRANSCODE_SPEED,
        live(state, |play, labels| {
            let speed = play.transcode.as_ref()?.speed.non_negative()?;
            Some((&*labels.session, rounded(speed)))
        }),
    );
    page.kept(
        &c::TRANSCODE_THROTTLED,
        live(state, |play, labels| {
            let throttled = play.transcode.as_ref()?.throttled.get()?;
            Some((&*labels.session, flag(throttled)))
        }),
    );
    page.kept(
        &c::TRANSCODE_HARDWARE_REQUESTED,
        live(state, |play, labels| {
            let requested = play.transcode.as_ref()?.transcode_hw_requested.get()?;
            Some((&*labels.session, flag(requested)))
        }),
    );
}

/// One sample for every live play for which there is one.
fn live<'a>(
    state: &'a State,
    sample: impl Fn(&'a Play, &'a PlayLabels) -> Option<(&'a str, f64)>,
) -> impl Iterator<Item = (&'a str, f64)> {
    state
        .sessions
        .live()
        .filter_map(move |play| sample(play, play.labels.as_ref()?))
}

fn exporter(page: &mut Page, state: &State, process: &Process) {
    let exporter = &state.exporter;
    page.samples(
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
    page.samples(
        &c::REQUESTS,
        exporter
            .requests()
            .map(|(endpoint, count)| ([endpoint.template()], count as f64)),
    );
    page.samples(
        &c::REQUEST_ERRORS,
        exporter
            .errors()
            .map(|(endpoint, reason, count)| ([endpoint.template(), reason], count as f64)),
    );
    page.samples(
        &c::LAST_SUCCESS,
        exporter
            .succeeded()
            .map(|(endpoint, wall)| ([endpoint.template()], rounded(wall))),
    );
    page.sample(&c::RECONNECTS, Some(exporter.reconnects as f64));
    page.samples(
        &c::NOTIFICATIONS,
        exporter
            .notifications()
            .map(|(kind, count)| ([kind], count as f64)),
    );
    page.sample(&c::PROCESS_CPU_SECONDS, process.cpu_seconds);
    page.sample(&c::PROCESS_OPEN_FDS, process.open_fds);
    page.sample(&c::PROCESS_MAX_FDS, process.max_fds);
    page.sample(&c::PROCESS_VIRTUAL_MEMORY, process.virtual_bytes);
    page.sample(&c::PROCESS_RESIDENT_MEMORY, process.resident_bytes);
    page.sample(&c::PROCESS_THREADS, process.threads);
    page.sample(&c::PROCESS_START_TIME, process.start_seconds);
}

fn flag(value: bool) -> f64 {
    if value { 1.0 } else { 0.0 }
}

fn text_of(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}

/// Whole milliseconds, cut: rounding up would let a counter run ahead of time.
fn seconds(duration: Duration) -> f64 {
    duration.as_millis() as f64 / 1_000.0
}

/// Four digits are more than these quantities have, and long numbers only take room.
fn rounded(value: f64) -> f64 {
    (value * 10_000.0).round() / 10_000.0
}
