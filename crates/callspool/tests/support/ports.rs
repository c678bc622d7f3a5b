//! Ports that no other test uses: blocks of numbers below those that the kernel gives away by itself.
//!
//! A block is claimed by a lock on a file, which the kernel takes back when the process ends, however it ends.

use std::fs::{File, TryLockError};
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};

const FIRST: u16 = 10_000;
const SIZE: u16 = 240;
/// Up to 31,839: where Linux begins with ephemeral ports (32,768) others come and go.
const BLOCKS: u16 = 91;
/// The first ports of a block are for programs, the rest for media.
const FOR_PROGRAMS: u16 = 120;

/// Numbers that are ours as long as this lives.
pub struct Ports {
    first: u16,
    next: AtomicU16,
    _claim: File,
}

impl Ports {
    /// A free block.
    pub fn claim() -> Self {
        let directory = std::env::temp_dir().join("callspool-test-ports");
        std::fs::create_dir_all(&directory).expect("a directory for claims of ports");
        // Where to begin differs from process to process, so that old blocks rest.
        let start = u16::try_from(std::process::id() % u32::from(BLOCKS)).unwrap();
        for n in 0..BLOCKS {
            let first = FIRST + (start + n) % BLOCKS * SIZE;
            let file = File::options().create(true).append(true).open(directory.join(first.to_string()));
            let file = file.expect("a file to claim ports by");
            match file.try_lock() {
                Ok(()) if are_free(first) => return Self { first, next: (first + 2).into(), _claim: file },
                Ok(()) | Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(e)) => panic!("cannot lock a file in {}: {e}", directory.display()),
            }
        }
        panic!("no block of ports is free: is something left of {BLOCKS} tests?")
    }

    /// Where callspool receives SIP.
    pub fn sip(&self) -> u16 {
        self.first
    }

    /// Where its page is.
    pub fn http(&self) -> u16 {
        self.first + 1
    }

    /// One for another program, never given twice.
    pub fn next(&self) -> u16 {
        self.next_of(1)
    }

    /// The first of so many in a row.
    pub fn next_of(&self, count: u16) -> u16 {
        let port = self.next.fetch_add(count, Ordering::Relaxed);
        assert!(
            port + count <= self.first + FOR_PROGRAMS,
            "a test with so many programs needs greater blocks"
        );
        port
    }

    /// First and last port for media.
    pub fn media(&self) -> (u16, u16) {
        (self.first + FOR_PROGRAMS, self.first + SIZE - 1)
    }
}

/// A sample: programs outside of these tests rarely take one port alone.
fn are_free(first: u16) -> bool {
    let udp = |port| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok();
    let tcp = |port| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok();
    let v6 = UdpSocket::bind((Ipv6Addr::LOCALHOST, first)).is_ok();
    v6 && udp(first) && tcp(first) && tcp(first + 1) && udp(first + FOR_PROGRAMS) && udp(first + SIZE - 1)
}
