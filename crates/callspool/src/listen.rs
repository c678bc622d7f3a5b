//! What somebody hears who listens to a call in progress: frames of an [`Ear`], decoded and put together.
//!
//! It makes sound when sound is asked for, and no more than that: a client that does not read costs nothing but the
//! frames that wait for it. It writes nothing, and has no say over the call.

mod decoding;

use std::time::Duration;

use api::port::{AudioLayout, ListenRequest, LiveSound};
use bytes::Bytes;
use media::listen::{LiveLayout, LiveMix, Piece};
use model::{CallId, Mono};
use tokio::time::MissedTickBehavior;

use crate::clock::mono;
use crate::recorder::Ear;
use decoding::Decoding;

/// How often sound is made: as much as a packet holds. More often costs more, less often is heard as delay.
const PIECE: Duration = Duration::from_millis(20);
/// How long somebody goes on to listen when the call is over: what was said before is still on its way.
const ECHO: Duration = Duration::from_millis(300);

/// Somebody who listens.
pub(crate) struct Listener {
    ear: Ear,
    mix: LiveMix,
    decoding: Decoding,
    began: Mono,
    ends: Option<Mono>,
    call: CallId,
    by: String,
}

impl Listener {
    /// Begins to listen, and says so in the log.
    pub(crate) fn new(ear: Ear, wanted: &ListenRequest, now: Mono) -> Self {
        let layout = match wanted.layout {
            AudioLayout::Stereo => LiveLayout::Stereo,
            AudioLayout::Mix => LiveLayout::Mix,
            AudioLayout::Stream(stream) => LiveLayout::One(stream),
        };
        let (call, by) = (wanted.call, wanted.by.clone());
        tracing::info!(%call, %by, listener = ear.number(), ?layout, "somebody listens to a call");
        let mix = LiveMix::new(now, wanted.rate, layout);
        Self { ear, mix, decoding: Decoding::default(), began: now, ends: None, call, by }
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
        while let Some(frame) = self.ear.next() {
            let Some((rate, samples)) = self.decoding.decode(&frame) else { continue };
            self.mix.hear(&Piece {
                at: frame.at,
                segment: frame.segment,
                stream: frame.stream,
                side: frame.side,
                position_us: frame.position_us,
                rate,
                samples,
            });
        }
        let mut samples = Vec::new();
        self.mix.play(now, &mut samples);
        Some(samples.iter().flat_map(|s| s.to_le_bytes()).collect())
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let seconds = mono().since(self.began).as_secs();
        let (call, by, listener, missed) = (self.call, &self.by, self.ear.number(), self.ear.missed());
        tracing::info!(%call, %by, listener, missed, "listening ended after {seconds} s");
    }
}

/// The sound of a listener, at the pace of the clock.
pub(crate) fn sound(listener: Listener) -> LiveSound {
    let mut pace = tokio::time::interval(PIECE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    Box::pin(futures_util::stream::unfold((listener, pace), |(mut listener, mut pace)| async move {
        loop {
            pace.tick().await;
            let piece = listener.hear(mono())?;
            if !piece.is_empty() {
                return Some((piece, (listener, pace)));
            }
        }
    }))
}
