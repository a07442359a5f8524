//! What a play is sent: its streams, its transcode and the file behind it.

use super::{Play, Title};
use crate::{
    config::HiddenLabels,
    plex::{
        id::Id,
        wire::{Session, TranscodeSession},
    },
    state::{
        causes::{self, Output},
        classify,
        identity::Identity,
        labels::LabelValues,
        sanitize::{normalize_token, plausible_kbps},
        source::{SelectedStreams, Versions},
    },
};

impl Play {
    pub(super) fn apply_session(&mut self, session: &Session, hide: HiddenLabels) {
        self.identity = Identity::of(session);
        if let Some(item) = session.rating_key.get().and_then(Id::parse)
            && self.rating_key != Some(item)
        {
            // Live TV may send it later.
            self.rating_key = Some(item);
            self.title = Title::Wanted;
        }
        let media = session.media.get();
        self.bitrate = media.and_then(classify::bitrate);
        if self.first_bitrate == 0
            && let Some(bitrate) = self.bitrate.filter(|bitrate| *bitrate >= 1.0)
        {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "plausible bitrates are small"
            )]
            let bitrate = bitrate as u64;
            self.first_bitrate = bitrate;
            self.labels_changed();
        }
        self.bandwidth = session
            .session
            .get()
            .and_then(|info| plausible_kbps(info.bandwidth));
        if self.view_offset.is_none() {
            self.view_offset = session.view_offset.non_negative();
        }
        self.duration = session
            .duration
            .non_negative()
            .filter(|duration| *duration > 0.0);
        self.media_id = media.map_or("", |media| media.id.or_empty()).into();
        if let Some(media) = media {
            self.output_container = normalize_token(media.container.or_empty()).into();
        }
        let selected_streams = SelectedStreams::of(session);
        if selected_streams != self.selected_streams {
            if let Some(source) = &mut self.source {
                source.select(&selected_streams);
            }
            self.selected_streams = selected_streams;
            self.encoded = None;
        }
        let part = media.and_then(|media| media.part.get());
        self.part_decision = part.map_or("", |part| part.decision.or_empty()).into();
        let transcode = session.transcode.get().map(Box::as_ref);
        if !classify::same_transcode_labels(self.transcode.as_deref(), transcode) {
            self.labels_changed();
        }
        self.transcode = transcode.map(|transcode| Box::new(transcode.clone()));
        self.stream_decisions = match transcode {
            Some(transcode) if classify::has_decisions(transcode) => None,
            _ => part.and_then(classify::stream_decisions).map(Box::new),
        };
        self.classify(LabelValues::of(session, hide));
    }

    /// Completes `values` with those that follow from the transcode, and stores them if anything
    /// changed.
    fn classify(&mut self, mut values: LabelValues) {
        // Where streams have decisions, a part's `transcode` is ignored: Plex also sends that for
        // mere repackaging.
        let part = Some(&*self.part_decision).filter(|decision| {
            !decision.is_empty()
                && (self.stream_decisions.is_none() || !classify::is(Some(decision), "transcode"))
        });
        let transcode = self.decisions();
        values.stream_type = classify::stream_type(transcode, part).into();
        values.transcode_type = classify::transcode_type(transcode);
        values.subtitle_action = classify::subtitle_action(transcode).into();
        if values != self.labels {
            self.labels = values;
            self.labels_changed();
        }
    }

    /// The decisions about its streams: their own, or else those of its TranscodeSession.
    #[must_use]
    pub fn decisions(&self) -> Option<&TranscodeSession> {
        let streams = self.stream_decisions.as_deref();
        streams.or(self.transcode.as_deref())
    }

    /// Whether `id` is the bare id of this play's own transcode.
    #[must_use]
    pub fn owns_transcode(&self, id: &str) -> bool {
        self.transcode_id().is_some_and(|own| own == id)
    }

    /// The bare id of its transcode.
    #[must_use]
    pub fn transcode_id(&self) -> Option<&str> {
        let key = self.transcode.as_ref()?.key.get()?;
        Some(classify::transcode_id(key))
    }

    /// Whether the transcode `id` is not known for this play, and is named for the first time.
    pub fn is_new_transcode(&mut self, id: &str) -> bool {
        let new = !self.owns_transcode(id) && self.unlisted_transcode.as_deref() != Some(id);
        if new {
            self.unlisted_transcode = Some(id.into());
        }
        new
    }

    /// Applies a notification about its transcode. `restarted` begins a new run, whose hardware is
    /// not that of the last.
    pub fn update_transcode(&mut self, newer: TranscodeSession, restarted: bool) {
        let Some(transcode) = self.transcode.as_deref_mut() else {
            return;
        };
        let before = transcode.clone();
        if restarted {
            transcode.transcode_hw_decoding = newer.transcode_hw_decoding.clone();
            transcode.transcode_hw_encoding = newer.transcode_hw_encoding.clone();
            transcode.transcode_hw_full_pipeline = newer.transcode_hw_full_pipeline;
        }
        transcode.merge(newer);
        if !classify::same_transcode_labels(Some(&before), Some(transcode)) {
            self.labels_changed();
        }
        self.classify(self.labels.clone());
    }

    /// Applies the library item's metadata.
    pub fn apply_metadata(&mut self, versions: &Versions) {
        self.title = Title::Done;
        if let Some((resolution, source)) = versions.get(&self.media_id) {
            let mut source = Box::new(source.clone());
            source.select(&self.selected_streams);
            self.source = Some(source);
            self.file_resolution = resolution.into();
        }
        self.labels_changed();
    }

    /// Why it is not played directly, inferred; empty if it is.
    #[must_use]
    pub fn causes(&self) -> Vec<&'static str> {
        if &*self.labels.stream_type == "direct play" {
            return Vec::new();
        }
        let no_transcode = TranscodeSession::default();
        causes::causes(
            self.source.as_deref(),
            &Output {
                transcode: self.decisions().unwrap_or(&no_transcode),
                container: &self.output_container,
                resolution: &self.labels.stream_resolution,
                bitrate: self.bitrate,
                subtitle_action: &self.labels.subtitle_action,
            },
        )
    }

    /// `stream_file_resolution`: the library item's. Until that is known, that of the stream unless
    /// it is transcoded.
    #[must_use]
    pub fn file_resolution(&self) -> &str {
        if self.file_resolution.is_empty() && &*self.labels.stream_type != "transcode" {
            &self.labels.stream_resolution
        } else {
            &self.file_resolution
        }
    }

    /// `stream_bitrate`: the first one above zero, so that an adaptive stream stays one series.
    #[must_use]
    pub fn first_bitrate(&self) -> u64 {
        self.first_bitrate
    }
}
