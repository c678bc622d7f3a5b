//! A client in the test's own hands: one dialog over UDP, message by message, for what no scenario can time.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use super::messages::{Media, SipMessage, Way};
use super::server::Server;

/// A codec that is offered.
#[derive(Clone, Copy, Debug)]
pub struct Spoken {
    /// Its payload type.
    pub payload_type: u8,
    /// As in `a=rtpmap`.
    pub rtpmap: &'static str,
}

/// What everybody speaks.
const PCMU: Spoken = Spoken { payload_type: 0, rtpmap: "PCMU/8000" };

/// One dialog. It sends requests in order and waits for the final response of each.
pub struct Dialog {
    socket: UdpSocket,
    server: String,
    id: String,
    to: String,
    cseq: u32,
    media_port: u16,
    spoken: Spoken,
    /// The transport of the m-line, and lines below it.
    profile: String,
    more: String,
}

impl Dialog {
    /// An INVITE that offers PCMU and telephone-event from this port; the dialog, and where its media go.
    pub fn begin(server: &Server, name: &str, media_port: u16) -> (Self, SocketAddr) {
        Self::begin_in(server, name, media_port, PCMU)
    }

    /// The same, with this codec in place of PCMU.
    pub fn begin_in(server: &Server, name: &str, media_port: u16, spoken: Spoken) -> (Self, SocketAddr) {
        let mut dialog = Self::new(server, name, media_port, spoken);
        let media = dialog.offer("sendonly");
        (dialog, media[0].rtp())
    }

    /// The same, with this transport (`RTP/SAVP`) and these further lines, each ended by CRLF; the dialog, and the
    /// m-line of the answer.
    pub fn begin_by(
        server: &Server,
        name: &str,
        media_port: u16,
        profile: &str,
        more: &str,
    ) -> (Self, Media) {
        let mut dialog = Self::new(server, name, media_port, PCMU);
        dialog.speak(profile, more);
        let media = dialog.offer("sendonly").remove(0);
        (dialog, media)
    }

    /// An INVITE without an offer, which is answered by these lines about the one m-line, `sendonly`; the dialog, and
    /// the m-lines that were offered. `ack` is told them and says what the ACK says, as [`Dialog::speak`] takes it.
    pub fn begin_without_offer(
        server: &Server,
        name: &str,
        media_port: u16,
        answer: impl FnOnce(&[Media]) -> (String, String),
    ) -> (Self, Vec<Media>) {
        let mut dialog = Self::new(server, name, media_port, PCMU);
        let offered = dialog.request("INVITE", "", "").media();
        (dialog.profile, dialog.more) = answer(&offered);
        let sdp = dialog.sdp("sendonly");
        let ack = dialog.text("ACK", dialog.cseq, "Content-Type: application/sdp\r\n", &sdp);
        dialog.socket.send_to(ack.as_bytes(), &dialog.server).expect("a datagram");
        (dialog, offered)
    }

    /// The same, from this address and with these further headers, each ended by CRLF.
    pub fn begin_from(
        server: &Server,
        name: &str,
        media_port: u16,
        from: &str,
        headers: &str,
    ) -> (Self, SocketAddr) {
        let mut dialog = Self::new(server, name, media_port, PCMU);
        dialog.socket = UdpSocket::bind((from, 0)).expect("a socket");
        dialog.socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        let sdp = dialog.sdp("sendonly");
        let media = dialog.invite(&format!("{headers}Content-Type: application/sdp\r\n"), &sdp);
        (dialog, media[0].rtp())
    }

    /// What later offers say.
    pub fn speak(&mut self, profile: &str, more: &str) {
        (self.profile, self.more) = (profile.to_owned(), more.to_owned());
    }

    /// Sends its requests to another server from now on.
    pub fn turn_to(&mut self, server: &Server) {
        self.server = server.sip_address();
    }

    /// From which port later offers say that media come.
    pub fn speak_from(&mut self, media_port: u16) {
        self.media_port = media_port;
    }

    fn new(server: &Server, name: &str, media_port: u16, spoken: Spoken) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        let to = format!("<sip:rec@{}>", server.sip_address());
        let server = server.sip_address();
        let id = format!("{name}-{}", std::process::id());
        let (profile, more) = ("RTP/AVP".to_owned(), String::new());
        Self { socket, server, id, to, cseq: 0, media_port, spoken, profile, more }
    }

    /// A recording session (RFC 7866) whose client takes UPDATE: an INVITE with these metadata beside the offer.
    pub fn begin_recording(server: &Server, name: &str, media_port: u16, metadata: &str) -> Self {
        let mut dialog = Self::new(server, name, media_port, PCMU);
        dialog.offer_with_metadata("sendonly", metadata);
        dialog
    }

    /// The Call-ID.
    pub fn call_id(&self) -> &str {
        &self.id
    }

    /// INVITE or re-INVITE with this direction; the m-lines of the answer.
    pub fn offer(&mut self, direction: &str) -> Vec<Media> {
        let sdp = self.sdp(direction);
        self.invite("Content-Type: application/sdp\r\n", &sdp)
    }

    /// Re-INVITE with SIPREC metadata beside the offer (RFC 7866 section 9.1).
    pub fn offer_with_metadata(&mut self, direction: &str, metadata: &str) -> Vec<Media> {
        let body = format!(
            "--part\r\nContent-Type: application/sdp\r\n\r\n{}\r\n--part\r\n\
             Content-Type: application/rs-metadata+xml\r\nContent-Disposition: recording-session\r\n\r\n\
             {metadata}\r\n--part--\r\n",
            self.sdp(direction)
        );
        let headers = "Require: siprec\r\nAllow: INVITE, ACK, BYE, CANCEL, UPDATE\r\n\
                       Content-Type: multipart/mixed;boundary=part\r\n";
        self.invite(headers, &body)
    }

    /// UPDATE with SIPREC metadata and no offer.
    pub fn update(&mut self, metadata: &str) {
        let headers =
            "Content-Type: application/rs-metadata+xml\r\nContent-Disposition: recording-session\r\n";
        self.request("UPDATE", headers, metadata);
    }

    /// Waits for an UPDATE of the server's without offer, and accepts it.
    pub fn updated(&mut self) -> SipMessage {
        let end = Instant::now() + Duration::from_secs(20);
        let mut buffer = [0; 8_192];
        while Instant::now() < end {
            let Ok((length, from)) = self.socket.recv_from(&mut buffer) else { continue };
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            let message = SipMessage { way: Way::Received, text };
            if message.start_line().starts_with("UPDATE ") {
                let copied = ["Via", "From", "To", "Call-ID", "CSeq"];
                let copied: String = copied
                    .iter()
                    .map(|n| format!("{n}: {}\r\n", message.header(n).expect("a header")))
                    .collect();
                let ok = format!("SIP/2.0 200 OK\r\n{copied}Content-Length: 0\r\n\r\n");
                self.socket.send_to(ok.as_bytes(), from).expect("a datagram");
                return message;
            }
        }
        panic!("no UPDATE within 20 s");
    }

    fn sdp(&self, direction: &str) -> String {
        let (port, Spoken { payload_type, rtpmap }) = (self.media_port, self.spoken);
        let (profile, more) = (&self.profile, &self.more);
        format!(
            "v=0\r\no=- 1 {} IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
             m=audio {port} {profile} {payload_type} 101\r\na=rtpmap:{payload_type} {rtpmap}\r\n\
             a=rtpmap:101 telephone-event/8000\r\na={direction}\r\n{more}",
            self.cseq + 1
        )
    }

    fn invite(&mut self, headers: &str, body: &str) -> Vec<Media> {
        let response = self.request("INVITE", headers, body);
        let ack = self.text("ACK", self.cseq, "", "");
        self.socket.send_to(ack.as_bytes(), &self.server).expect("a datagram");
        response.media()
    }

    /// INFO with these header lines (each ended by CRLF) and this body.
    pub fn info(&mut self, headers: &str, body: &str) {
        self.request("INFO", headers, body);
    }

    /// Waits for a re-INVITE of the server's and accepts it; the m-lines of its offer.
    pub fn accept(&mut self) -> Vec<Media> {
        let end = Instant::now() + Duration::from_secs(20);
        let mut buffer = [0; 8_192];
        let mut offer = None;
        while Instant::now() < end {
            let Ok((length, from)) = self.socket.recv_from(&mut buffer) else { continue };
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            let message = SipMessage { way: Way::Received, text };
            if message.start_line().starts_with("INVITE ") {
                let media = message.media();
                let ok = self.ok(&message, &media);
                self.socket.send_to(ok.as_bytes(), from).expect("a datagram");
                offer = Some(media);
            } else if message.start_line().starts_with("ACK ")
                && let Some(offer) = offer.take()
            {
                return offer;
            }
        }
        panic!("no re-INVITE that is acknowledged within 20 s");
    }

    /// The requests that have come and that nobody has read: their first lines.
    pub fn asked(&self) -> Vec<String> {
        let mut buffer = [0; 8_192];
        let mut asked = Vec::new();
        self.socket.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        while let Ok(length) = self.socket.recv(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            let message = SipMessage { way: Way::Received, text };
            if message.status().is_none() {
                asked.push(message.start_line().to_owned());
            }
        }
        self.socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        asked
    }

    /// The 200 to a re-INVITE that offers one line of audio.
    fn ok(&self, request: &SipMessage, offer: &[Media]) -> String {
        let copied = ["Via", "From", "To", "Call-ID", "CSeq"];
        let copied: String =
            copied.iter().map(|n| format!("{n}: {}\r\n", request.header(n).expect("a header"))).collect();
        let direction = if offer[0].has("inactive") { "inactive" } else { "sendonly" };
        let (here, port) = (self.socket.local_addr().unwrap(), self.media_port);
        let sdp = format!(
            "v=0\r\no=- 1 {} IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
             m=audio {port} RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\na={direction}\r\n",
            self.cseq + 100
        );
        format!(
            "SIP/2.0 200 OK\r\n{copied}Contact: <sip:test@{here}>\r\nContent-Type: application/sdp\r\n\
             Content-Length: {}\r\n\r\n{sdp}",
            sdp.len()
        )
    }

    /// BYE, and by which status it is answered.
    pub fn try_bye(&mut self) -> u16 {
        self.ask("BYE", "", "").status().expect("a status")
    }

    /// BYE.
    pub fn bye(&mut self) {
        self.request("BYE", "", "");
    }

    /// An INVITE with this description, which is refused; by which status.
    pub fn refused(server: &Server, name: &str, sdp: &str) -> u16 {
        let mut dialog = Self::new(server, name, 9, PCMU);
        let response = dialog.ask("INVITE", "Content-Type: application/sdp\r\n", sdp);
        let ack = dialog.text("ACK", dialog.cseq, "", "");
        dialog.socket.send_to(ack.as_bytes(), &dialog.server).expect("a datagram");
        response.status().expect("a status")
    }

    /// Sends a request until it is answered, which must be by 200.
    fn request(&mut self, method: &str, headers: &str, body: &str) -> SipMessage {
        let response = self.ask(method, headers, body);
        assert_eq!(response.status(), Some(200), "{method}: {}", response.text);
        response
    }

    /// Sends a request until it is answered.
    fn ask(&mut self, method: &str, headers: &str, body: &str) -> SipMessage {
        self.cseq += 1;
        let request = self.text(method, self.cseq, headers, body);
        let end = Instant::now() + Duration::from_secs(20);
        let mut buffer = [0; 8_192];
        while Instant::now() < end {
            self.socket.send_to(request.as_bytes(), &self.server).expect("a datagram");
            while let Ok(length) = self.socket.recv(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
                let message = SipMessage { way: Way::Received, text };
                let ours = message.answers(&format!("{} {method}", self.cseq));
                if ours && message.status().is_some_and(|s| s >= 200) {
                    self.to = message.header("To").expect("To in a response").to_owned();
                    return message;
                }
            }
        }
        panic!("no final response to {method} within 20 s");
    }

    fn text(&self, method: &str, cseq: u32, headers: &str, body: &str) -> String {
        let (server, id, to) = (&self.server, &self.id, &self.to);
        let here = self.socket.local_addr().unwrap();
        format!(
            "{method} sip:rec@{server} SIP/2.0\r\nVia: SIP/2.0/UDP {here};branch=z9hG4bK{id}{method}{cseq};rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:test@{here}>;tag={id}\r\nTo: {to}\r\nCall-ID: {id}\r\n\
             CSeq: {cseq} {method}\r\nContact: <sip:test@{here}>\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }
}
