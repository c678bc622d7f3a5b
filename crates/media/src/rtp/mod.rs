//! Receiving one stream: everything between a datagram and a frame in order.
//!
//! ```text
//!  datagram ─► packet ─► latch ─► source (SSRC) ─► sequence ─► reorder ─► timeline ─► gaps ─► FrameSink
//!              invalid   other    ssrc_changes     duplicate   reordered  anchors     gaps    frames
//!                        source                    lost        late
//! ```
//!
//! A packet that is valid, from the stream's source and no duplicate is handed on exactly once (unless the
//! stream is held or paused: then it is counted as discarded). In order and without loss it is handed on at
//! once, without allocation; behind a hole it waits for at most ten numbers or 100 ms. Positions come from RTP
//! time; arrival only sets anchors. Nothing here reads a clock. Payloads are only looked into where digits are to
//! be [masked](StreamReceiver::masking): then frames go on some 60 ms later.

mod delivery;
mod frame;
mod gaps;
mod latch;
mod level;
mod mask;
mod packet;
mod pauses;
mod payload;
mod receiver;
mod reorder;
pub(crate) mod rtcp;
mod sequence;
mod source;
mod timeline;
mod view;

pub use frame::{Frame, FrameKind, FrameSink};
pub(crate) use latch::{Familiar, Latch, canonical};
pub(crate) use mask::{BLOCK, Ear, Key, Samples};
pub(crate) use packet::{Packet, is_rtcp};
pub use receiver::StreamReceiver;
pub use view::RtpView;
