//! What somebody hears who listens to a call in progress: frames of an [`Ear`], decoded and put together.
//!
//! It makes sound when sound is asked for, and no more than that: a client that does not read costs nothing but the
//! frames that wait for it. It writes nothing, and has no say over the call.

mod decoding;
mod opus;
mod program;
mod sides;

use std::collections::BTreeSet;
use std::time::Duration;

use api::port::{AudioLayout, ListenRequest, LiveFormat, LiveHearing};
use bytes::Bytes;
use media::listen::{LiveLayout, LiveMix, OpusEncoderError};
use model::{CallId, Mono, SegmentId};
use tokio::time::MissedTickBehavior;

pub(crate) use sides::{HeardSides, SidesLink};

use crate::clock::mono;
use crate::programs::programs;
use crate::recorder::Ear;
use decoding::Decoding;
use opus::LiveOpus;
use sides::ListenedSides;

/// How often sound is made: as much as a packet holds. More often costs more, less often is heard as delay.
const PIECE: Duration = Duration::from_millis(20);
/// 120 ms: two packets of the longest that are usual. Who speaks in that time is known when the sound begins.
const LOOK: Duration = Duration::from_millis(120);
/// 1 s: where it is not known by then whether a codec can be decoded, the sound begins all the same.
const LOOK_MAX: Duration = Duration::from_secs(1);
/// How long somebody goes on to listen when the call is over: what was said before is still on its way.
const ECHO: Duration = Duration::from_millis(300);

/// Segments that a listener remembers: as many as may be live of calls that are one, and some before.
const SEGMENTS_KNOWN: usize = 64;

/// As what the sound is sent.
enum Sent {
    Pcm,
    Opus(Box<LiveOpus>),
}

/// Somebody who listens.
pub(crate) struct Listener {
    ear: Ear,
    layout: LiveLayout,
    mix: LiveMix,
    decoding: Decoding,
    sides: ListenedSides,
    /// The segments that it heard.
    segments: BTreeSet<SegmentId>,
    sent: Sent,
    began: Mono,
    ends: Option<Mono>,
    call: CallId,
    by: String,
}

impl Listener {
    /// Begins to listen, and says so in the log.
    pub(crate) fn new(
        ear: Ear,
        sides: ListenedSides,
        wanted: &ListenRequest,
        now: Mono,
    ) -> Result<Self, OpusEncoderError> {
        let layout = match wanted.layout {
            AudioLayout::Stereo => LiveLayout::Stereo,
            AudioLayout::Mix => LiveLayout::Mix,
            AudioLayout::Stream(stream) => LiveLayout::One(stream),
        };
        let (call, by) = (wanted.call, wanted.by.clone());
        tracing::info!(%call, %by, listener = ear.number(), ?layout, "somebody listens to a call");
        let mix = LiveMix::new(now, wanted.rate, layout);
        let decoding = Decoding::new(call, programs());
        let channels = if layout == LiveLayout::Stereo { 2 } else { 1 };
        let sent = match wanted.format {
            LiveFormat::Pcm => Sent::Pcm,
            LiveFormat::Opus => Sent::Opus(Box::new(LiveOpus::new(call, wanted.rate, channels)?)),
        };
        // What came while the log was asked for sides is past.
        while ear.next().is_some() {}
        let segments = BTreeSet::new();
        Ok(Self { ear, layout, mix, decoding, sides, segments, sent, began: now, ends: None, call, by })
    }

    /// Listens for a moment, to know who speaks and whether that can be heard.
    async fn look_around(&mut self) {
        let mut pace = tokio::time::interval(PIECE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            pace.tick().await;
            let now = mono();
            self.take(now);
            let waited = now.since(self.began);
            if waited >= LOOK && self.decoding.is_settled() || waited >= LOOK_MAX || self.ear.is_over() {
                return;
            }
        }
    }

    /// Takes what was said since.
    fn take(&mut self, now: Mono) {
        self.sides.catch_up();
        while let Some(frame) = self.ear.next() {
            self.meet(frame.segment);
            if !matches!(self.layout, LiveLayout::One(stream) if stream != frame.stream) {
                let side = self.sides.of(frame.stream, frame.side);
                self.decoding.take(now, &frame, side, &mut self.mix);
            }
        }
        self.decoding.collect(now, &mut self.mix);
    }

    /// A segment that is new here may be that of another call that is one with this one.
    fn meet(&mut self, segment: SegmentId) {
        if self.segments.contains(&segment) {
            return;
        }
        let is_first = self.segments.is_empty();
        if self.segments.len() >= SEGMENTS_KNOWN {
            self.segments.pop_first();
        }
        self.segments.insert(segment);
        if !is_first {
            // What it finds comes by the way of corrections.
            drop(self.sides.look());
        }
    }

    /// What is to be heard now, as octets; none when the call is over and all of it was heard.
    fn hear(&mut self, now: Mono) -> Option<Bytes> {
        // Looked at first: what was said before the end is in the ear then.
        if self.ear.is_over() {
            let ends = *self.ends.get_or_insert(now + ECHO);
            if now >= ends {
                return None;
            }
        }
        self.take(now);
        let mut samples = Vec::new();
        self.mix.play(now, &mut samples);
        match &mut self.sent {
            Sent::Pcm => Some(samples.iter().flat_map(|s| s.to_le_bytes()).collect()),
            Sent::Opus(opus) => match opus.encode(&samples) {
                Ok(pages) => Some(pages.into()),
                Err(error) => {
                    tracing::error!(call = %self.call, %error, "listening ends");
                    None
                }
            },
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let seconds = mono().since(self.began).as_secs();
        let (call, by, listener, missed) = (self.call, &self.by, self.ear.number(), self.ear.missed());
        tracing::info!(%call, %by, listener, missed, "listening ended after {seconds} s");
    }
}

/// What a listener hears, at the pace of the clock.
pub(crate) async fn hearing(mut listener: Listener) -> LiveHearing {
    listener.look_around().await;
    let not_heard = listener.decoding.not_heard();
    let mut pace = tokio::time::interval(PIECE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let sound = futures_util::stream::unfold((listener, pace), |(mut listener, mut pace)| async move {
        loop {
            pace.tick().await;
            let piece = listener.hear(mono())?;
            if !piece.is_empty() {
                return Some((piece, (listener, pace)));
            }
        }
    });
    LiveHearing { sound: Box::pin(sound), not_heard }
}
