//! Receiving one stream: everything between a datagram and a frame in order.

mod frame;
mod receiver;

pub use frame::{Frame, FrameKind, FrameSink};
pub use receiver::StreamReceiver;
