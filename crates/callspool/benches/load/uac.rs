//! A recording client that is as cheap as can be: SIPREC calls over UDP, from one socket.
//!
//! It is not the test caller of callspool, whose own work would stand in the figures. INVITE to 200 is from just
//! before the system call that sends the INVITE to the kernel's time stamp of the 200. Requests are sent again after
//! 500 ms, as RFC 3261 section 17.1.1.2 says; a call that has no 200 after 5 s has failed.

use std::collections::VecDeque;
use std::io::IoSliceMut;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, setsockopt, sockopt::ReceiveTimestampns,
};
use nix::sys::time::TimeSpec;
use sip::siprec::{
    Association, CommunicationSession, Participant, RecordingMetadata, StreamAssociation, StreamInfo,
};

use crate::Failure;
use crate::server::SIP;

/// T1 of RFC 3261.
const RESEND_NS: i64 = 500_000_000;
/// Long enough for three times of sending again.
const GIVE_UP_NS: i64 = 5_000_000_000;
/// Datagrams taken before the caller gets its turn.
const TAKE_MAX: usize = 64;
const BOUNDARY: &str = "callspool-bench";

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Calling,
    Up,
    HangingUp,
    Over,
    Failed,
}

/// A call, as far as it has come.
#[derive(Debug)]
pub(crate) struct Call {
    state: State,
    /// When the INVITE was sent first, in Unix nanoseconds.
    invited: i64,
    /// When the last request was sent.
    sent: i64,
    request: String,
    answered: i64,
    /// Where its streams go to.
    pub(crate) ports: Vec<u16>,
    /// Request-URI and To of what follows.
    contact: String,
    to: String,
}

impl Call {
    /// INVITE to 200.
    pub(crate) fn setup_ms(&self) -> Option<f64> {
        (self.answered > 0).then(|| (self.answered - self.invited) as f64 / 1e6)
    }
}

/// The client.
pub(crate) struct Uac {
    socket: UdpSocket,
    local: SocketAddr,
    remote: SocketAddr,
    /// Where all its media come from.
    media_port: u16,
    /// Makes the names of this run its own.
    run: String,
    pub(crate) calls: Vec<Call>,
    /// Those that may have to be sent again, by when their request was sent.
    waiting: VecDeque<usize>,
    pub(crate) resent: u64,
    pub(crate) refused: u64,
}

impl Uac {
    pub(crate) fn new(media_port: u16) -> Result<Self, Failure> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.set_nonblocking(true)?;
        setsockopt(&socket, ReceiveTimestampns, &true)?;
        socket2::SockRef::from(&socket).set_recv_buffer_size(4 << 20)?;
        Ok(Self {
            local: socket.local_addr()?,
            socket,
            remote: SIP.parse()?,
            media_port,
            run: format!("{:x}", now_ns()),
            calls: Vec::new(),
            waiting: VecDeque::new(),
            resent: 0,
            refused: 0,
        })
    }

    /// Begins a call.
    pub(crate) fn invite(&mut self) {
        let number = self.calls.len();
        let request = self.invite_request(number);
        let now = now_ns();
        let _ = self.socket.send_to(request.as_bytes(), self.remote);
        let (ports, contact, to) = (Vec::new(), String::new(), String::new());
        let state = State::Calling;
        self.calls.push(Call { state, invited: now, sent: now, request, answered: 0, ports, contact, to });
        self.waiting.push_back(number);
    }

    /// Ends all calls that have been up for so long.
    pub(crate) fn hang_up(&mut self, after: Duration, from: usize, most: usize) {
        let before = now_ns() - i64::try_from(after.as_nanos()).unwrap_or(i64::MAX);
        let up = |c: &Call| c.state == State::Up && c.answered <= before;
        let due = self.calls.iter().enumerate().skip(from).filter(|(_, c)| up(c));
        let due: Vec<usize> = due.map(|(n, _)| n).take(most).collect();
        for number in due {
            let request = self.in_dialog(number, "BYE", 2);
            let call = &mut self.calls[number];
            let _ = self.socket.send_to(request.as_bytes(), self.remote);
            (call.state, call.sent, call.request) = (State::HangingUp, now_ns(), request);
            self.waiting.push_back(number);
        }
    }

    /// The first call that is not over, or the number of calls.
    pub(crate) fn oldest(&self, from: usize) -> usize {
        let going_on = |c: &Call| !matches!(c.state, State::Over | State::Failed);
        self.calls.iter().skip(from).position(going_on).map_or(self.calls.len(), |n| from + n)
    }

    pub(crate) fn is_calling(&self) -> bool {
        self.calls.iter().any(|c| c.state == State::Calling)
    }

    /// Takes what came, and sends again what has waited; true when something came.
    pub(crate) fn work(&mut self) -> bool {
        let mut came = 0;
        while came < TAKE_MAX
            && let Some((at, text)) = self.receive()
        {
            self.response(at, &text);
            came += 1;
        }
        self.send_again();
        came > 0
    }

    fn receive(&self) -> Option<(i64, String)> {
        let mut buffer = [0; 8_192];
        let mut slices = [IoSliceMut::new(&mut buffer)];
        let mut space = nix::cmsg_space!(TimeSpec);
        let flags = MsgFlags::MSG_DONTWAIT;
        let message = recvmsg::<SockaddrIn>(self.socket.as_raw_fd(), &mut slices, Some(&mut space), flags);
        let message = message.ok()?;
        let at = message.cmsgs().ok()?.find_map(|c| match c {
            ControlMessageOwned::ScmTimestampns(t) => Some(t.tv_sec() * 1_000_000_000 + t.tv_nsec()),
            _ => None,
        });
        let length = message.bytes;
        Some((at.unwrap_or_else(now_ns), String::from_utf8_lossy(&buffer[..length]).into_owned()))
    }

    fn response(&mut self, at: i64, text: &str) {
        let status = text.strip_prefix("SIP/2.0 ").and_then(|t| t.get(..3)?.parse::<u16>().ok());
        let number = header(text, "Call-ID").and_then(|id| id.split('-').next()?.parse::<usize>().ok());
        // A request of the recorder, or a response to another run: not ours to answer.
        let (Some(status), Some(number)) = (status, number) else { return };
        let invite = header(text, "CSeq").is_some_and(|c| c.ends_with("INVITE"));
        let Some(call) = self.calls.get_mut(number) else { return };
        match (call.state, invite, status) {
            (_, _, 100..=199) => {}
            (State::Calling, true, 200) => {
                (call.state, call.answered) = (State::Up, at);
                call.ports = media_ports(text);
                call.to = header(text, "To").unwrap_or_default().to_owned();
                let contact = header(text, "Contact").and_then(|c| c.split(['<', '>']).nth(1));
                call.contact = contact.unwrap_or_default().to_owned();
                self.ack(number);
            }
            (State::Calling, true, _) => {
                call.state = State::Failed;
                self.refused += 1;
            }
            // The 200 came again: so must the ACK.
            (_, true, 200) => self.ack(number),
            (State::HangingUp, false, _) => call.state = State::Over,
            _ => {}
        }
    }

    fn ack(&self, number: usize) {
        let _ = self.socket.send_to(self.in_dialog(number, "ACK", 1).as_bytes(), self.remote);
    }

    fn send_again(&mut self) {
        let now = now_ns();
        while let Some(number) = self.waiting.front().copied() {
            let call = &mut self.calls[number];
            let waits = matches!(call.state, State::Calling | State::HangingUp);
            if waits && now - call.sent < RESEND_NS {
                return;
            }
            self.waiting.pop_front();
            if !waits {
                continue;
            }
            if now - call.invited > GIVE_UP_NS && call.state == State::Calling {
                call.state = State::Failed;
                continue;
            }
            let _ = self.socket.send_to(call.request.as_bytes(), self.remote);
            call.sent = now;
            self.resent += 1;
            self.waiting.push_back(number);
        }
    }

    fn in_dialog(&self, number: usize, method: &str, sequence: u32) -> String {
        let (call, local, run) = (&self.calls[number], self.local, &self.run);
        format!(
            "{method} {} SIP/2.0\r\nVia: SIP/2.0/UDP {local};branch=z9hG4bK{run}.{number}.{method};rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:1001@bench.invalid>;tag={number}\r\nTo: {}\r\n\
             Call-ID: {number}-{run}\r\nCSeq: {sequence} {method}\r\nContent-Length: 0\r\n\r\n",
            call.contact, call.to,
        )
    }

    fn invite_request(&self, number: usize) -> String {
        let (local, run, remote) = (self.local, &self.run, self.remote);
        let body = format!(
            "--{BOUNDARY}\r\nContent-Type: application/sdp\r\n\r\n{}\r\n--{BOUNDARY}\r\n\
             Content-Type: application/rs-metadata+xml\r\nContent-Disposition: recording-session\r\n\r\n\
             {}\r\n--{BOUNDARY}--\r\n",
            offer(self.media_port),
            metadata(&format!("{run}-{number}")),
        );
        format!(
            "INVITE sip:bench@{remote} SIP/2.0\r\n\
             Via: SIP/2.0/UDP {local};branch=z9hG4bK{run}.{number}.INVITE;rport\r\nMax-Forwards: 70\r\n\
             From: <sip:1001@bench.invalid>;tag={number}\r\nTo: <sip:bench@{remote}>\r\n\
             Call-ID: {number}-{run}\r\nCSeq: 1 INVITE\r\nContact: <sip:bench@{local}>;+sip.src\r\n\
             Require: siprec\r\nContent-Type: multipart/mixed;boundary={BOUNDARY}\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len(),
        )
    }
}

/// Two streams, one for each side.
fn offer(port: u16) -> String {
    let line = |label: u32| {
        format!(
            "m=audio {port} RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n\
             a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\na=label:{label}\r\n\
             a=sendonly\r\n"
        )
    };
    format!("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n{}{}", line(1), line(2))
}

fn metadata(session: &str) -> String {
    let who = |id: &str, uri: &str| Participant {
        id: id.into(),
        aors: vec![(uri.into(), Some(id.into()))],
        ..Participant::default()
    };
    let stream = |n: u32| StreamInfo {
        id: format!("stream-{n}"),
        label: Some(n.to_string()),
        session: Some(session.into()),
        mode: None,
    };
    let association = |id: &str| Association {
        participant: id.into(),
        session: Some(session.into()),
        associated: None,
        disassociated: None,
    };
    let part = |who: &str, sends: u32, receives: u32| StreamAssociation {
        participant: who.to_owned(),
        sends: vec![format!("stream-{sends}")],
        receives: vec![format!("stream-{receives}")],
        ..StreamAssociation::default()
    };
    sip::siprec::write(&RecordingMetadata {
        complete: true,
        sessions: vec![CommunicationSession { id: session.into(), ..CommunicationSession::default() }],
        participants: vec![who("agent", "sip:1001@bench.invalid"), who("far-end", "sip:1002@bench.invalid")],
        streams: vec![stream(1), stream(2)],
        stream_associations: vec![part("agent", 1, 2), part("far-end", 2, 1)],
        associations: vec![association("agent"), association("far-end")],
        ..RecordingMetadata::default()
    })
}

fn header<'a>(message: &'a str, name: &str) -> Option<&'a str> {
    let named = |line: &&str| line.split(':').next().is_some_and(|n| n.trim().eq_ignore_ascii_case(name));
    let line = message.split("\r\n").take_while(|l| !l.is_empty()).find(named)?;
    line.split_once(':').map(|(_, value)| value.trim())
}

fn media_ports(message: &str) -> Vec<u16> {
    let lines = message.lines().filter_map(|l| l.strip_prefix("m=audio "));
    lines.filter_map(|l| l.split(' ').next()?.parse().ok()).collect()
}

fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}
