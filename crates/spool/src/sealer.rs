//! The seam where encryption at rest will sit.
//!
//! Every byte of a part or a sidecar passes a [`Sealer`] on its way into a [`FileOp`](crate::FileOp). Today
//! there is one that changes nothing. An encrypting one will make sealed records of at most 64 KiB or one
//! flush, each with its own counter; what it sealed cannot be written again, so it refuses patches, and
//! Duration then lives in the manifest only: of a segment in progress that is up to a minute behind.

/// Passes the bytes of parts and sidecars.
pub trait Sealer: Send {
    /// What is to be written to `path` in place of `bytes`, which go to its end.
    fn seal(&mut self, path: &str, bytes: Vec<u8>) -> Vec<u8>;
    /// Whether bytes that were written may be overwritten.
    fn allows_patches(&self) -> bool;
}

/// Changes nothing: files lie open on disk.
#[derive(Clone, Copy, Debug, Default)]
pub struct Identity;

impl Sealer for Identity {
    fn seal(&mut self, _path: &str, bytes: Vec<u8>) -> Vec<u8> {
        bytes
    }

    fn allows_patches(&self) -> bool {
        true
    }
}
