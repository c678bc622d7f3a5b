//! What test calls say in their INVITEs.

use std::fmt::Write;
use std::net::IpAddr;

use super::Protection;

/// Between the parts of a body.
const BOUNDARY: &str = "callspool-bench";

/// What kind of call is placed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// As a phone calls: one stream.
    Plain,
    /// As a recording client (RFC 7866): a stream for each side, and metadata of so many octets, or as few as it needs.
    Siprec {
        /// Octets of the metadata, which key-values of a phone system fill up.
        metadata: usize,
    },
}

impl Kind {
    /// Headers for the body, and the body.
    pub(super) fn body(self, local: IpAddr, port: u16, offer: &Offer, session: &str) -> (String, String) {
        match self {
            Self::Plain => {
                ("Content-Type: application/sdp\r\n".to_owned(), offer.sdp(local, port, 1, "sendrecv"))
            }
            Self::Siprec { metadata: octets } => (
                format!("Require: siprec\r\nContent-Type: multipart/mixed;boundary={BOUNDARY}\r\n"),
                format!(
                    "--{BOUNDARY}\r\nContent-Type: application/sdp\r\n\r\n{}\r\n--{BOUNDARY}\r\n\
                     Content-Type: application/rs-metadata+xml\r\nContent-Disposition: recording-session\r\n\r\n\
                     {}\r\n--{BOUNDARY}--\r\n",
                    offer.sdp(local, port, 2, "sendonly"),
                    metadata(session, octets),
                ),
            ),
        }
    }
}

/// What an offer says of each stream beside the usual; by default nothing, so that media are in the clear.
#[derive(Clone, Debug, Default)]
pub(crate) struct Offer {
    /// Lines of SDP, each ended by CRLF.
    pub(crate) more: &'static str,
    /// What media are protected by.
    pub(crate) protection: Option<Protection>,
}

impl Offer {
    fn sdp(&self, local: IpAddr, port: u16, streams: u32, direction: &str) -> String {
        let (profile, crypto) = match &self.protection {
            None => ("RTP/AVP", String::new()),
            Some(by) => ("RTP/SAVP", format!("a=crypto:{}\r\n", by.text)),
        };
        let more = self.more;
        let family = if local.is_ipv4() { "IP4" } else { "IP6" };
        let mut sdp =
            format!("v=0\r\no=- 1 1 IN {family} {local}\r\ns=-\r\nc=IN {family} {local}\r\nt=0 0\r\n");
        for label in 1..=streams {
            // Writing to a String cannot fail.
            let _ = write!(
                sdp,
                "m=audio {port} {profile} 0 8 101\r\n{crypto}a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n\
                 a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\na=label:{label}\r\n\
                 a={direction}\r\n{more}"
            );
        }
        sdp
    }
}

/// RFC 7865: two people, two streams.
fn metadata(session: &str, octets: usize) -> String {
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<recording xmlns=\"urn:ietf:params:xml:ns:recording:1\" \
         xmlns:b=\"http://bench.invalid\">\r\n<datamode>complete</datamode>\r\n<session session_id=\"{session}\"/>\r\n"
    );
    for (id, own, other) in [("agent", 1, 2), ("far-end", 2, 1)] {
        let _ = write!(
            xml,
            "<participant participant_id=\"{id}\"><nameID aor=\"sip:100{own}@bench.invalid\">\
             <name xml:lang=\"en\">{id}</name></nameID></participant>\r\n\
             <stream stream_id=\"stream-{own}\" session_id=\"{session}\"><label>{own}</label></stream>\r\n\
             <participantsessionassoc participant_id=\"{id}\" session_id=\"{session}\"/>\r\n\
             <participantstreamassoc participant_id=\"{id}\"><send>stream-{own}</send><recv>stream-{other}</recv>\
             </participantstreamassoc>\r\n"
        );
    }
    if xml.len() < octets {
        xml.push_str("<extensiondata>\r\n");
        let mut key = 0;
        while xml.len() < octets {
            key += 1;
            let _ = write!(xml, "<b:data key=\"X-Key-{key}\">value {key}</b:data>\r\n");
        }
        xml.push_str("</extensiondata>\r\n");
    }
    xml.push_str("</recording>\r\n");
    xml
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_are_as_long_as_asked_and_understood() {
        for octets in [0, 6_000] {
            let xml = metadata("s1", octets);
            assert!(xml.len() >= octets && xml.len() < octets + 1_800, "{octets}: {}", xml.len());
            let read = sip::siprec::read(xml.as_bytes()).unwrap();
            assert_eq!((read.participants.len(), read.streams.len()), (2, 2), "{octets}");
        }
    }

    #[test]
    fn a_body_has_a_line_for_each_stream() {
        for (kind, streams) in [(Kind::Plain, 1), (Kind::Siprec { metadata: 0 }, 2)] {
            let offer = Offer { more: "a=rtcp-mux\r\n", protection: None };
            let (_, body) = kind.body([127, 0, 0, 1].into(), 4_000, &offer, "s");
            for line in ["m=audio 4000 RTP/AVP ", "\r\na=send", "\r\na=rtcp-mux\r\n"] {
                assert_eq!(body.matches(line).count(), streams, "{line}: {body}");
            }
        }
    }
}
