//! A recording client: what it sends, as text.

use bytes::Bytes;
use sip::{Flow, FlowId, Transport};

/// One call of it.
pub(crate) struct Client {
    number: usize,
    to_tag: String,
    contact: String,
}

impl Client {
    pub(crate) fn new(number: usize) -> Self {
        Self { number, to_tag: String::new(), contact: String::new() }
    }

    /// All calls come from one address, as those of an SBC do.
    pub(crate) fn flow(&self) -> Flow {
        let (local, remote) = (([192, 0, 2, 1], 5060).into(), ([192, 0, 2, 7], 5060).into());
        Flow { id: FlowId(1), transport: Transport::Udp, local, remote }
    }

    pub(crate) fn invite(&self) -> Bytes {
        let metadata = metadata(self.number);
        let body = format!(
            "--b1\r\nContent-Type: application/sdp\r\n\r\n{SDP}\r\n--b1\r\nContent-Type: application/rs-metadata+xml\r\n\
             Content-Disposition: recording-session\r\n\r\n{metadata}\r\n--b1--\r\n"
        );
        let head = format!(
            "Contact: <sip:sbc@192.0.2.7:5060>;+sip.src\r\nRequire: siprec\r\nSupported: timer, replaces\r\n\
             Allow: INVITE, ACK, CANCEL, BYE, UPDATE, INFO, OPTIONS, PRACK\r\nSession-Expires: 1800;refresher=uac\r\nMin-SE: 90\r\n\
             User-Agent: SBC/9.3\r\nSession-ID: {:032x};remote={:032x}\r\nMIME-Version: 1.0\r\n\
             Content-Type: multipart/mixed; boundary=b1\r\n",
            0xab30_0000_0000_u128 + self.number as u128,
            0
        );
        self.request("INVITE", "sip:rec@192.0.2.1", 1, "", &head, &body)
    }

    /// Takes what a 200 says of the dialog.
    pub(crate) fn hears(&mut self, answer: &[u8]) {
        let text = String::from_utf8_lossy(answer);
        let line = |name: &str| text.lines().find_map(|l| l.strip_prefix(name)).expect("a header").to_owned();
        self.to_tag = format!(";tag={}", line("To: ").split_once(";tag=").expect("a tag").1);
        let contact = line("Contact: ");
        self.contact = contact.trim_start_matches('<').split('>').next().expect("a URI").to_owned();
    }

    pub(crate) fn ack(&self) -> Bytes {
        self.request("ACK", &self.contact, 1, &self.to_tag, "", "")
    }

    pub(crate) fn bye(&mut self) -> Bytes {
        let head = "Reason: Q.850;cause=16;text=\"Normal call clearing\"\r\n";
        self.request("BYE", &self.contact, 2, &self.to_tag, head, "")
    }

    fn request(&self, method: &str, uri: &str, cseq: u32, to_tag: &str, head: &str, body: &str) -> Bytes {
        let n = self.number;
        let text = format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.7:5060;branch=z9hG4bK{n}{method};rport\r\n\
             Via: SIP/2.0/UDP 10.0.0.9:5060;branch=z9hG4bKp{n}{method}\r\nMax-Forwards: 69\r\n\
             From: \"SBC\" <sip:sbc@192.0.2.7>;tag=f{n}\r\nTo: <sip:rec@192.0.2.1>{to_tag}\r\nCall-ID: {n}-7f3a@192.0.2.7\r\n\
             CSeq: {cseq} {method}\r\n{head}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        Bytes::from(text)
    }
}

const SDP: &str = "v=0\r\no=SBC 1790000 1790000 IN IP4 192.0.2.7\r\ns=-\r\nc=IN IP4 192.0.2.7\r\nt=0 0\r\n\
m=audio 30000 RTP/AVP 8 0 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\n\
a=fmtp:101 0-15\r\na=ptime:20\r\na=sendonly\r\na=label:1\r\n\
m=audio 30002 RTP/AVP 8 0 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\n\
a=fmtp:101 0-15\r\na=ptime:20\r\na=sendonly\r\na=label:2\r\n";

/// Metadata of two participants with what vendors say of them, some 5 kB.
fn metadata(number: usize) -> String {
    let vendor: String = (0..18)
        .map(|n| format!("      <ext:field{n:02}>value number {n:02} of what a contact center says of call {number}</ext:field{n:02}>\r\n"))
        .collect();
    let participant = |n: usize, aor: &str, name: &str, vendor: &str| {
        format!(
            "  <participant participant_id=\"p{n}-{number}\">\r\n    <nameID aor=\"{aor}\"><name xml:lang=\"en\">{name}</name></nameID>\r\n\
             \u{20}   <extensiondata xmlns:ext=\"urn:example:ext\">\r\n{vendor}    </extensiondata>\r\n  </participant>\r\n"
        )
    };
    let stream = |n: usize| {
        format!(
            "  <stream stream_id=\"s{n}-{number}\" session_id=\"c-{number}\"><label>{n}</label></stream>\r\n"
        )
    };
    let association = |n: usize, other: usize| {
        format!(
            "  <participantsessionassoc participant_id=\"p{n}-{number}\" session_id=\"c-{number}\"><associate-time>2026-11-20T09:01:11Z</associate-time></participantsessionassoc>\r\n\
             \u{20} <participantstreamassoc participant_id=\"p{n}-{number}\"><send>s{n}-{number}</send><recv>s{other}-{number}</recv></participantstreamassoc>\r\n"
        )
    };
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<recording xmlns=\"urn:ietf:params:xml:ns:recording:1\">\r\n  <datamode>complete</datamode>\r\n\
         \u{20} <group group_id=\"g-{number}\"><associate-time>2026-11-20T09:01:11Z</associate-time></group>\r\n\
         \u{20} <session session_id=\"c-{number}\"><sipSessionID>{:032x};remote={:032x}</sipSessionID><group-ref>g-{number}</group-ref><start-time>2026-11-20T09:01:11Z</start-time></session>\r\n\
         {}{}{}{}\
         \u{20} <sessionrecordingassoc session_id=\"c-{number}\"><associate-time>2026-11-20T09:01:11Z</associate-time></sessionrecordingassoc>\r\n{}{}</recording>",
        0xcd30_0000_0000_u128 + number as u128,
        0xef30_0000_0000_u128 + number as u128,
        participant(1, "sip:2301@pbx.invalid", "Ann Agent", &vendor),
        participant(2, "sip:+493055503@carrier.invalid", "Carl Caller", &vendor),
        stream(1),
        stream(2),
        association(1, 2),
        association(2, 1),
    )
}
