//! Media for callspool: everything between a datagram and a frame in order, and what tests need to speak.
//!
//! - [`sdp`]: session descriptions, offers and answers.
//! - [`rtp`]: receiving one stream: latching, order, accounting, time, gaps, RTCP.
//! - [`relay`]: handing on what the sides of a call send to each other, and copies of it to recorders.
//! - [`srtp`]: opening what is encrypted on the way, and encrypting our reports and what is handed on.
//! - [`stun`]: checks of ICE, answered.
//! - [`g711`], [`silence`]: the codec that everybody has, and what its silence looks like.
//! - [`listen`]: decoders, resampling, Opus packets, for whoever plays what was recorded.
//! - [`video`]: packets of video that were kept, as pictures.
//! - [`tone`], [`speech`], [`send`]: test callers: what they say, how they packetize it, how a test hears it.
//!
//! It never knows SIP, calls or files, opens no socket and reads no clock: arrival times are arguments. Nothing
//! that comes from the network can make it panic or grow beyond stated limits.

pub mod g711;
pub mod listen;
pub mod relay;
pub mod rtp;
pub mod sdp;
pub mod send;
pub mod silence;
pub mod speech;
pub mod srtp;
pub mod stun;
pub mod tone;
pub mod video;

pub use rtp::{Frame, FrameKind, FrameSink, StreamReceiver};
pub use sdp::Sdp;
