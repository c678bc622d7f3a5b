//! What was said, on disk: how segments are written, repaired, read, checked and put together again.
//!
//! ```text
//!   frames ──► SegmentWriter ──► FileOp ──► (the shell's disk) ──► Files ──► Assembler ──► PCM
//!                                                             ├──► repair      after a crash: FileOp again
//!                                                             └──► verify      what is not as it was written
//! ```
//!
//! - [`SegmentWriter`]: one segment, from before its first packet until its manifest is sealed.
//! - [`FileOp`], [`Files`]: all that the shell has to do with files; [`memory::MemoryDisk`] does it in memory.
//! - [`layout`]: where files lie and what they are called; [`markers`]: which segments are being written; [`manifest`], [`log`], [`mka`], [`pcap`]: what is in
//!   them. `docs/segment-format.md` draws the bytes.
//! - [`redo`]: what was appended in the last seconds, once more in one piece, and what a crash kept from its own file.
//! - [`repair`]: closes what a process that died left open. [`verify`]: digests, structure, log.
//! - [`timeline`], [`assemble`]: a call as one recording with true pauses; [`export`], [`wav`]: that as a file; [`ogg`]: pages
//!   for whoever makes such files elsewhere. [`peaks`]: how loud it was, for a picture.
//! - [`placement`]: on which volume a segment is recorded.
//! - [`gather`]: whether a call is whole, and what it comes to. [`gathering`]: brings it together on one node. [`joining`]: two calls that
//!   turned out to be one.
//!
//! It never opens a file, reads a clock, draws randomness or starts a thread, and it knows neither SIP nor HTTP
//! nor the catalogue. The file is the truth: whatever is written here can be read without callspool. Whatever is
//! read here may be damaged: it is refused or told of, it never stops the process.

pub mod assemble;
pub mod codec;
pub mod digest;
pub mod export;
#[cfg(test)]
mod fixture;
pub mod gather;
pub mod gathering;
#[cfg(test)]
mod hostile;
pub mod joining;
pub mod layout;
pub mod log;
pub mod manifest;
pub mod markers;
mod marks;
pub mod memory;
pub mod mka;
pub mod ogg;
mod op;
pub mod pcap;
pub mod peaks;
pub mod placement;
mod rebuild;
pub mod redo;
pub mod repair;
pub mod sealer;
pub mod timeline;
pub mod twins;
pub mod verify;
pub mod wav;
mod writer;

pub use assemble::Assembler;
pub use digest::Digest;
pub use manifest::Manifest;
pub use marks::marks_of;
pub use op::{FileOp, Files, ReadSeek, digest_of};
pub use sealer::Sealer;
pub use writer::{Place, SegmentWriter, WriterCounts};
