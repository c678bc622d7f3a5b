//! The sidecar that is being written: created with its first packet, appended to at each flush.

use std::net::SocketAddr;

use model::WallTime;
use model::segment::SidecarRecord;

use crate::pcap;

/// A sidecar, from before its first packet.
#[derive(Default)]
pub(super) struct SidecarWriter {
    buffer: Vec<u8>,
    created: bool,
    packets: u64,
    bytes: u64,
    waiting: u64,
}

/// Bytes to hand to the disk.
pub(super) enum SidecarFlush {
    /// The file begins with them.
    Create(Vec<u8>),
    /// They go to its end.
    Append(Vec<u8>),
}

impl SidecarWriter {
    pub(super) fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// Adds a packet; false when it is too long to be one.
    pub(super) fn put(&mut self, at: WallTime, from: SocketAddr, to: SocketAddr, packet: &[u8]) -> bool {
        let put = pcap::put(&mut self.buffer, at, from, to, packet);
        self.waiting += u64::from(put);
        put
    }

    pub(super) fn flush(&mut self, next: impl FnOnce() -> Vec<u8>) -> Option<SidecarFlush> {
        if self.buffer.is_empty() {
            return None;
        }
        let mut bytes = std::mem::replace(&mut self.buffer, next());
        self.packets += std::mem::take(&mut self.waiting);
        if self.created {
            self.bytes += bytes.len() as u64;
            return Some(SidecarFlush::Append(bytes));
        }
        self.created = true;
        bytes.splice(0..0, pcap::head());
        self.bytes = bytes.len() as u64;
        Some(SidecarFlush::Create(bytes))
    }

    pub(super) fn drop_buffered(&mut self) {
        self.buffer.clear();
        self.waiting = 0;
    }

    /// What the manifest says of it, once it exists.
    pub(super) fn record(&self, file: &str) -> Option<SidecarRecord> {
        self.created.then(|| SidecarRecord {
            file: file.to_owned(),
            packets: self.packets,
            bytes: self.bytes,
            sha256: None,
        })
    }
}
