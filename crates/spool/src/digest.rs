//! Digests: plain SHA-256 of a file's bytes in lower-case hexadecimal, as `sha256sum` prints it.

use std::io::{self, Read};

use sha2::{Digest as _, Sha256};

/// What a file's bytes come to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Digest {
    /// How many there are.
    pub bytes: u64,
    /// Their SHA-256, 64 hexadecimal digits.
    pub sha256: String,
}

/// A digest in the making, for one who reads or writes the bytes anyway.
#[derive(Clone, Default, Debug)]
pub struct Digester {
    state: Sha256,
    bytes: u64,
}

impl Digester {
    /// Of nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes in.
    pub fn update(&mut self, bytes: &[u8]) {
        self.state.update(bytes);
        self.bytes += bytes.len() as u64;
    }

    /// What all of them come to.
    #[must_use]
    pub fn finish(self) -> Digest {
        Digest { bytes: self.bytes, sha256: hex(&self.state.finalize()) }
    }
}

/// The digest of bytes in memory.
#[must_use]
pub fn of_bytes(bytes: &[u8]) -> Digest {
    let mut digester = Digester::new();
    digester.update(bytes);
    digester.finish()
}

/// The digest of all that a reader gives.
pub fn of_reader(reader: &mut (impl Read + ?Sized)) -> io::Result<Digest> {
    let mut digester = Digester::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(digester.finish()),
            Ok(n) => digester.update(&buffer[..n]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|b| [b >> 4, b & 15]).map(|d| char::from(DIGITS[usize::from(d)])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_sha256sum_prints() {
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(of_bytes(b"abc"), Digest { bytes: 3, sha256: expected.to_owned() });
        assert_eq!(of_reader(&mut &b"abc"[..]).unwrap().sha256, expected);
    }
}
