//! Octets that may hold keys of media: wiped when they are dropped, and when they have to move for more.
//!
//! A `Vec` that grows leaves what it held where it was. What is passed on to HTTP/2 and TLS is copied there, and
//! these copies are not in our hands.

use std::io::{self, Write};

use zeroize::Zeroizing;

/// Where a buffer begins to grow from: most messages fit.
const FIRST: usize = 1_024;

/// So many octets at most, one behind the other.
pub(crate) struct Buffer {
    octets: Zeroizing<Vec<u8>>,
    most: usize,
}

impl Buffer {
    pub(crate) fn new(most: usize) -> Self {
        Self { octets: Zeroizing::new(Vec::new()), most }
    }

    pub(crate) fn len(&self) -> usize {
        self.octets.len()
    }

    /// Appends them. False when they are more than fit, and nothing is appended.
    pub(crate) fn append(&mut self, more: &[u8]) -> bool {
        let Some(length) = self.len().checked_add(more.len()).filter(|length| *length <= self.most) else {
            return false;
        };
        if length > self.octets.capacity() {
            let room = length.max(self.octets.capacity().saturating_mul(2)).max(FIRST).min(self.most);
            let mut moved = Zeroizing::new(Vec::with_capacity(room));
            moved.extend_from_slice(&self.octets);
            self.octets = moved;
        }
        self.octets.extend_from_slice(more);
        true
    }

    /// Writes over the first octets, as many as there are.
    pub(crate) fn overwrite(&mut self, begin: [u8; 4]) {
        for (octet, new) in self.octets.iter_mut().zip(begin) {
            *octet = new;
        }
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.octets
    }
}

impl Write for Buffer {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        if self.append(octets) { Ok(octets.len()) } else { Err(io::ErrorKind::StorageFull.into()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_what_fits_and_nothing_of_what_does_not() {
        let mut buffer = Buffer::new(5_000);
        assert!(buffer.append(&[1; 1_000]) && buffer.append(&[2; 4_000]));
        assert!(!buffer.append(&[3]));
        assert!(buffer.append(&[]));
        assert_eq!(buffer.len(), 5_000);
        assert_eq!((buffer.as_ref()[999], buffer.as_ref()[1_000]), (1, 2));
        buffer.overwrite([9; 4]);
        assert_eq!(buffer.as_ref()[..5], [9, 9, 9, 9, 1]);
    }
}
