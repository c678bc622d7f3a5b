//! A datagram as io_uring puts it into a buffer: a head, the sender, what comes beside it, and then the datagram.
//!
//! ```text
//!  0     16      44         76                                    BUFFER
//!  │ head │ name   │ control  │ datagram, DATAGRAM_MAX at most       │
//!     │     28       32 octets
//!     └─ lengths of name, control and datagram, and flags: 32 bits each
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// Octets of a datagram: an Ethernet frame holds 1,500. A longer one is cut, and handed on as nothing.
pub(crate) const DATAGRAM_MAX: usize = 2_048;
/// `sockaddr_in6`, the longer one.
pub(crate) const NAME: usize = 28;
/// One control message: a head of 16 and a `timespec` of 16.
pub(crate) const CONTROL: usize = 32;
/// `io_uring_recvmsg_out`.
const HEAD: usize = 16;
const DATAGRAM: usize = HEAD + NAME + CONTROL;
/// Octets of a buffer, a multiple of a cache line.
pub(crate) const BUFFER: usize = (DATAGRAM + DATAGRAM_MAX).next_multiple_of(64);

/// A datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received<'a> {
    /// When the kernel received it, since 1970; none when the kernel did not say (`SO_TIMESTAMPNS` is not set).
    pub at: Option<Duration>,
    /// Who sent it.
    pub from: SocketAddr,
    /// Empty where it was longer than is read: what was cut is not what was sent.
    pub bytes: &'a [u8],
}

/// Reads what the kernel says it put into a buffer; none when that makes no sense.
pub(crate) fn read(buffer: &[u8]) -> Option<Received<'_>> {
    let word = |at: usize| Some(u32::from_ne_bytes(buffer.get(at..at + 4)?.try_into().ok()?));
    let size = |at: usize| usize::try_from(word(at)?).ok();
    let (name, control, length, flags) = (size(0)?, size(4)?, size(8)?, word(12)?);
    let from = sender(buffer.get(HEAD..HEAD + name.min(NAME))?)?;
    let control = buffer.get(HEAD + NAME..HEAD + NAME + control.min(CONTROL))?;
    let is_cut = flags & libc::MSG_TRUNC.cast_unsigned() != 0;
    let bytes = if is_cut { &[] } else { buffer.get(DATAGRAM..DATAGRAM.checked_add(length)?)? };
    Some(Received { at: time(control), from, bytes })
}

/// A `sockaddr_in` or `sockaddr_in6`.
fn sender(name: &[u8]) -> Option<SocketAddr> {
    let family = u16::from_ne_bytes(name.get(..2)?.try_into().ok()?);
    let port = u16::from_be_bytes(name.get(2..4)?.try_into().ok()?);
    if i32::from(family) == libc::AF_INET {
        let octets: [u8; 4] = name.get(4..8)?.try_into().ok()?;
        Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::from(octets)), port))
    } else if i32::from(family) == libc::AF_INET6 {
        let octets: [u8; 16] = name.get(8..24)?.try_into().ok()?;
        let flow = u32::from_ne_bytes(name.get(4..8)?.try_into().ok()?);
        let scope = u32::from_ne_bytes(name.get(24..28)?.try_into().ok()?);
        Some(SocketAddr::V6(std::net::SocketAddrV6::new(Ipv6Addr::from(octets), port, flow, scope)))
    } else {
        None
    }
}

/// An address as a `sockaddr_in` or `sockaddr_in6`, and how long that is.
pub(crate) fn name(address: SocketAddr) -> ([u8; NAME], u32) {
    let mut name = [0; NAME];
    let mut put = |at: usize, octets: &[u8]| {
        name.iter_mut().skip(at).zip(octets).for_each(|(to, from)| *to = *from);
    };
    let family = |family: libc::c_int| u16::try_from(family).unwrap_or_default().to_ne_bytes();
    put(2, &address.port().to_be_bytes());
    let length = match address {
        SocketAddr::V4(v4) => {
            put(0, &family(libc::AF_INET));
            put(4, &v4.ip().octets());
            16
        }
        SocketAddr::V6(v6) => {
            put(0, &family(libc::AF_INET6));
            put(4, &v6.flowinfo().to_ne_bytes());
            put(8, &v6.ip().octets());
            put(24, &v6.scope_id().to_ne_bytes());
            28
        }
    };
    (name, length)
}

/// The first control message, if it is a time.
fn time(control: &[u8]) -> Option<Duration> {
    let word = |at: usize| Some(i32::from_ne_bytes(control.get(at..at + 4)?.try_into().ok()?));
    let long = |at: usize| Some(i64::from_ne_bytes(control.get(at..at + 8)?.try_into().ok()?));
    if (word(8)?, word(12)?) != (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) {
        return None;
    }
    let (seconds, nanos) = (u64::try_from(long(16)?).ok()?, u32::try_from(long(24)?).ok()?);
    Some(Duration::new(seconds, nanos.min(999_999_999)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buffer(lengths: [u32; 4]) -> Vec<u8> {
        let mut buffer = vec![0; BUFFER];
        for (n, word) in lengths.iter().enumerate() {
            buffer[n * 4..n * 4 + 4].copy_from_slice(&word.to_ne_bytes());
        }
        buffer[HEAD..HEAD + 2].copy_from_slice(&2_u16.to_ne_bytes());
        buffer[HEAD + 2..HEAD + 8].copy_from_slice(&[0x0f, 0xa0, 192, 0, 2, 1]);
        buffer[DATAGRAM..DATAGRAM + 3].copy_from_slice(b"abc");
        buffer
    }

    #[test]
    fn an_address_is_written_as_it_is_read() {
        for address in ["192.0.2.1:4000", "[2001:db8::1%7]:65535", "[::ffff:192.0.2.1]:1"] {
            let address: SocketAddr = address.parse().unwrap();
            let (name, length) = name(address);
            assert_eq!(sender(&name[..usize::try_from(length).unwrap()]), Some(address));
        }
    }

    #[test]
    fn no_length_is_believed() {
        let (truncated, max) = (libc::MSG_TRUNC.cast_unsigned(), u32::MAX);
        let whole = buffer([16, 0, 3, 0]);
        let read_whole = read(&whole).unwrap();
        assert_eq!(
            (read_whole.from.to_string(), read_whole.bytes),
            ("192.0.2.1:4000".to_owned(), &b"abc"[..])
        );
        assert_eq!(read(&buffer([16, 0, 9_000, truncated])).unwrap().bytes, b"");
        for lengths in [[max, max, max, 0], [16, 0, max, 0], [16, 0, 3_000, 0], [0, 0, 3, 0], [1, 0, 3, 0]] {
            assert_eq!(read(&buffer(lengths)), None, "{lengths:?}");
        }
        assert_eq!(read(&buffer([max, max, 3, 0])).unwrap().at, None);
        for length in 0..DATAGRAM + 3 {
            assert_eq!(read(&whole[..length]), None);
        }
    }
}
