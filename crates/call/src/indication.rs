//! Telling a peer that it is recorded (RFC 7866 section 6.1.2): whoever takes part in the conversation itself, says
//! that it is aware of recording, and calls the recorder, is told by `a=record` in each description of ours.
//!
//! A recording client (SIPREC) takes no part in the conversation; it tells those that do.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sip::RequestInfo;

/// What is indicated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Indication {
    On,
    Off,
    Paused,
}

impl Indication {
    /// Whether the peer that sent this INVITE is to be told anything.
    pub(crate) fn of(request: &RequestInfo) -> Option<Self> {
        let mut tags = request.supported.iter().chain(&request.require);
        let is_aware = tags.any(|tag| tag.eq_ignore_ascii_case("record-aware"));
        (is_aware && !request.siprec).then_some(Self::On)
    }

    const fn line(self) -> &'static [u8] {
        match self {
            Self::On => b"a=record:on\r\n",
            Self::Off => b"a=record:off\r\n",
            Self::Paused => b"a=record:paused\r\n",
        }
    }

    /// The description with the indication, for the session as a whole.
    pub(crate) fn put_into(self, sdp: &Bytes) -> Bytes {
        let first = sdp.windows(4).position(|w| w == b"\r\nm=").map_or(sdp.len(), |at| at + 2);
        let (head, tail) = sdp.split_at(first);
        Bytes::from([head, self.line(), tail].concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stands_before_the_first_line_of_media() {
        let put = |sdp: &'static [u8]| Indication::Paused.put_into(&Bytes::from_static(sdp));
        assert_eq!(
            put(b"v=0\r\nt=0 0\r\nm=audio 1 RTP/AVP 0\r\nm=audio 2 RTP/AVP 0\r\n"),
            b"v=0\r\nt=0 0\r\na=record:paused\r\nm=audio 1 RTP/AVP 0\r\nm=audio 2 RTP/AVP 0\r\n"[..]
        );
        assert_eq!(put(b"v=0\r\nt=0 0\r\n"), b"v=0\r\nt=0 0\r\na=record:paused\r\n"[..]);
    }
}
