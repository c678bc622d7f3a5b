//! spool
pub mod assemble;
pub mod codec;
pub mod digest;
#[cfg(test)]
mod fixture;
pub mod gather;
pub mod layout;
pub mod log;
pub mod manifest;
pub mod memory;
pub mod mka;
pub mod op;
pub mod pcap;
mod rebuild;
pub mod repair;
pub mod sealer;
pub mod timeline;
pub mod verify;
pub mod wav;
mod writer;

pub use op::{FileOp, Files, ReadSeek, digest_of};
pub use writer::{SegmentWriter, WriterCounts};
