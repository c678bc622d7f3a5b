//! Messages out of a byte stream, with the keep-alive of RFC 5626 section 4.4.1.
//!
//! ```text
//! CRLF CRLF  INVITE sip:… SIP/2.0 CRLF … CRLF CRLF body  CRLF CRLF  BYE …
//! └─ ping ─┘ └───────────── message ──────────────────┘  └─ ping ─┘ └ message
//! ```
//!
//! A framing error is fatal for its connection: where the next message begins cannot be known (RFC 4475
//! section 3.1.2.3). The framer keeps at most one message that is not complete, within the limits below.

use bytes::Bytes;
use sipx_sip::{Limits, Message, StreamParser};

/// 256 KiB: SIPREC metadata of a large conference is some tens of kB, and a stream must not hold more of our
/// memory than this before it has said a whole message.
pub const MESSAGE_BYTES_MAX: usize = 256 * 1024;

/// The stream is not SIP, or exceeds a limit; close it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the stream cannot be framed: {0}")]
pub struct FramingError(String);

/// The state of one incoming stream.
pub struct Framer {
    parser: StreamParser,
    pongs: usize,
    pending: usize,
}

impl Framer {
    /// For a new connection.
    #[must_use]
    pub fn new() -> Self {
        Self { parser: StreamParser::new(limits()), pongs: 0, pending: 0 }
    }

    /// Takes bytes as they came and gives every message that they completed.
    ///
    /// # Errors
    /// When the stream cannot be framed: from then on every call fails.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<Message>, FramingError> {
        let messages = self.parser.push(bytes).map_err(|error| FramingError(error.to_string()))?;
        // Two CRLFs are a ping, one is the answer to a ping of ours (which we never send). A ping that comes in
        // two reads is two single CRLFs here, so pairs are counted over the life of the stream.
        let crlfs = self.parser.take_keepalives();
        self.pongs += crlfs;
        self.pending = match messages.len() {
            0 => (self.pending + bytes.len()).saturating_sub(2 * crlfs),
            _ => self.parser.pending(),
        };
        Ok(messages)
    }

    /// How many pongs (a single CRLF each) the peer is owed. Forgets them.
    pub fn take_pongs(&mut self) -> usize {
        let owed = self.pongs / 2;
        self.pongs %= 2;
        owed
    }

    /// The bytes that wait for the rest of their message: a driver closes a stream that keeps them for long.
    #[must_use]
    pub const fn pending(&self) -> usize {
        self.pending
    }
}

/// Reads the one message that a WebSocket message carries (RFC 7118 section 5): it needs no Content-Length.
///
/// # Errors
/// When it is not exactly one message, or exceeds a limit.
pub fn read_frame(frame: Bytes) -> Result<Message, FramingError> {
    sipx_sip::parse_frame(frame, &limits()).map_err(|error| FramingError(error.to_string()))
}

impl Default for Framer {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Framer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Framer").field("pending", &self.pending()).finish_non_exhaustive()
    }
}

fn limits() -> Limits {
    Limits { max_message_bytes: MESSAGE_BYTES_MAX, max_body_bytes: MESSAGE_BYTES_MAX, ..Limits::stream() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: &str =
        "OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bKx\r\nContent-Length: 4\r\n\r\nbody";

    #[test]
    fn messages_and_pings_come_out_however_the_stream_is_cut() {
        let stream = format!("\r\n\r\n{OPTIONS}\r\n\r\n{OPTIONS}{OPTIONS}\r\n\r\n");
        for step in 1..stream.len() {
            let mut framer = Framer::new();
            let mut messages = 0;
            let mut pongs = 0;
            for chunk in stream.as_bytes().chunks(step) {
                messages += framer.push(chunk).unwrap().len();
                pongs += framer.take_pongs();
            }
            assert_eq!((messages, pongs, framer.pending()), (3, 3, 0), "cut every {step} bytes");
        }
    }

    #[test]
    fn a_frame_is_one_message_with_or_without_its_length() {
        let bare = OPTIONS.replace("Content-Length: 4\r\n", "");
        for frame in [OPTIONS, &bare] {
            let message = read_frame(Bytes::copy_from_slice(frame.as_bytes())).unwrap();
            assert_eq!(message.body().as_ref(), b"body");
        }
        for bad in [format!("{OPTIONS}{OPTIONS}"), OPTIONS[..60].to_owned(), "hello".into(), String::new()] {
            assert!(read_frame(Bytes::from(bad.clone())).is_err(), "{bad:?}");
        }
        assert!(read_frame(vec![b'a'; MESSAGE_BYTES_MAX + 1].into()).is_err());
    }

    #[test]
    fn what_is_not_sip_fails_for_good_and_what_never_ends_is_limited() {
        let mut framer = Framer::new();
        assert!(framer.push(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").is_err());
        assert!(framer.push(OPTIONS.as_bytes()).is_err());

        let mut framer = Framer::new();
        let endless = [b'a'; 4096];
        let failed_after = (0..1000).position(|_| framer.push(&endless).is_err());
        assert_eq!(failed_after, Some(MESSAGE_BYTES_MAX / 4096));

        let mut framer = Framer::new();
        assert!(framer.push(b"OPTIONS sip:a@b SIP/2.0\r\nContent-Length: 99999999\r\n\r\n").is_err());
    }
}
