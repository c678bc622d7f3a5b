//! Parts: live Matroska (RFC 9559) of fixed tracks, written append only and readable at every length.
//!
//! ```text
//! EBML head
//! Segment (length unknown)
//!   Info      TimestampScale 125,000 ns · Duration (8 octets, patched at each flush) · DateUTC · Title
//!   Tracks    one per stream: number, uid = stream id, name = side, codec
//!   Tags      where the part belongs: tenant, call, segment, number, offset
//!   Cluster (length unknown), one each 2 s
//!     Timestamp, SimpleBlock, SimpleBlock …
//! ```
//!
//! Writing is [`head`] and [`BlockWriter`]; files to be played elsewhere, with pictures, are made by `export`; reading is [`Reader`], block by block, and [`scan`], which tells
//! how far a part is whole. Nothing here reads a whole part into memory.

mod ebml;
mod export;
mod read;
mod scan;
mod write;

#[cfg(test)]
pub(crate) use export::blocks_of;
pub(crate) use export::{Cluster, ExportHead, Flavor, Sound, export_head};
pub use read::{Block, Damage, PartHead, Reader, Track};
pub use scan::{Scan, TrackScan, scan};
pub use write::{BlockKind, BlockWriter, HeadInfo, TrackHead, duration_bytes, head, side_name, side_of_name};

#[cfg(test)]
mod tests;
