//! What a media thread goes by and is told, and what all threads of the recorder share.

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use model::{
    CallData, EndReason, Failure, Metadata, OpenStream, PauseSource, Protection, SegmentId, StreamId,
    WallTime,
};

use super::super::delay::Delays;
use super::super::handshakes::{Door, Shaken};
use super::super::live::LiveSegment;
use super::super::outcomes::Outcomes;
use super::super::source::Kind;
use super::super::thresholds::Thresholds;
use crate::descriptors::RUN_OUT;

/// What a media thread goes by.
pub(crate) struct MediaConfig {
    pub(crate) tick: Duration,
    pub(crate) flush: Duration,
    pub(crate) media_timeout: Duration,
    /// Descriptors that segments may take together.
    pub(crate) descriptors_max: u64,
    pub(crate) cname: String,
}

/// What a media thread is told.
pub(crate) enum MediaOrder {
    /// This segment is yours.
    Add(Box<LiveSegment>),
    Change {
        segment: SegmentId,
        streams: Vec<OpenStream>,
    },
    Annotate {
        segment: SegmentId,
        data: CallData,
        metadata: Vec<Metadata>,
    },
    End {
        segment: SegmentId,
        at: WallTime,
        reason: EndReason,
        by: Option<String>,
    },
    /// Keep nothing from now on; answered with this number.
    Pause {
        segment: SegmentId,
        order: u64,
        by: PauseSource,
    },
    /// Keep again what arrives from now on; answered with this number.
    Resume {
        segment: SegmentId,
        order: u64,
        by: PauseSource,
    },
    /// A stream is protected by other keys from now on; answered with this number.
    Keys {
        segment: SegmentId,
        order: u64,
        stream: StreamId,
        protection: Protection,
    },
    /// It could not be opened: forget an end that was kept for it.
    NeverCame(SegmentId),
    /// Its storage failed.
    Failed(SegmentId),
    /// A handshake on one of its ports has something to say to this peer, or has yielded keys.
    Shaken {
        /// The segment that had the port when it was last heard of.
        segment: SegmentId,
        door: Door,
        peer: SocketAddr,
        said: Shaken,
    },
    /// Emptied buffers to use again, in whatever segment fills next.
    Recycle(Vec<Vec<u8>>),
}

impl MediaOrder {
    /// Whether all that had come when it was received must have been taken when it is carried out, as something else holds
    /// from then on: what was sent before an end is kept, and what was sent by other keys is opened by them. (Of a pause
    /// the receiver knows by the time of arrival.)
    pub(super) fn needs_all(&self) -> bool {
        match self {
            Self::Change { .. } | Self::Resume { .. } | Self::End { .. } | Self::Keys { .. } => true,
            Self::Add(live) => live.takes_over.is_some(),
            _ => false,
        }
    }
}

/// What threads share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// Segments that are live or being closed.
    pub(crate) segments: AtomicUsize,
    /// Descriptors that they take.
    pub(crate) descriptors: AtomicU64,
    /// Where datagrams come from.
    pub(crate) source: OnceLock<Kind>,
    /// Datagrams received.
    pub(crate) packets: AtomicU64,
    /// Those among them that came to shared ports and are nobody's.
    pub(crate) unclaimed: AtomicU64,
    /// How long they waited in the kernel.
    pub(crate) delays: Delays,
    /// Packets dropped before disk.
    pub(crate) dropped: AtomicU64,
    /// What became of segments and calls.
    pub(crate) outcomes: Outcomes,
    /// When something is told as an alarm.
    pub(crate) thresholds: Thresholds,
    /// Stop when nothing is live any more.
    pub(crate) stopping: AtomicBool,
}

impl Shared {
    /// Where datagrams come from, by default until it is chosen.
    pub(crate) fn source(&self) -> Kind {
        self.source.get().copied().unwrap_or(Kind::Sockets)
    }

    /// Takes descriptors out of `max`, or none.
    pub(crate) fn reserve(&self, descriptors: u64, max: u64) -> Result<(), Failure> {
        let take = |taken: u64| taken.checked_add(descriptors).filter(|sum| *sum <= max);
        match self.descriptors.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) {
            Ok(_) => Ok(()),
            Err(_) => Err(Failure::Resources(RUN_OUT.to_owned())),
        }
    }

    /// Counts descriptors that somebody has in any case.
    pub(crate) fn hold(&self, descriptors: u64) {
        self.descriptors.fetch_add(descriptors, Ordering::Relaxed);
    }

    pub(crate) fn release(&self, descriptors: u64) {
        self.descriptors.fetch_sub(descriptors, Ordering::Relaxed);
    }
}
