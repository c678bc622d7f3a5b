//! What passes in a pause: nothing. As in the real one the pause is behind the sockets: a receiver whose stream is paused
//! hands nothing on.

use model::peer::Flowing;
use model::{Now, OpenStream};
use spool::SegmentWriter;

use super::recorder::Live;

/// Whether media pass.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Gate {
    Open,
    Closed,
}

impl Gate {
    /// Of a segment, as its record stands.
    pub(super) fn of(writer: &SegmentWriter) -> Self {
        if writer.is_paused() { Self::Closed } else { Self::Open }
    }

    /// What a stream does of which this is wanted.
    pub(super) fn effective(self, open: &OpenStream) -> OpenStream {
        let is_kept_out = self == Self::Closed && open.flowing == Flowing::Active;
        let flowing = if is_kept_out { Flowing::Paused } else { open.flowing };
        OpenStream { flowing, ..open.clone() }
    }
}

impl Live {
    /// It is paused, or goes on.
    pub(super) fn gate(&mut self, now: Now) {
        let gate = Gate::of(&self.writer);
        for stream in &mut self.streams {
            stream.receiver.update(now.wall, &gate.effective(&stream.open));
        }
    }
}
