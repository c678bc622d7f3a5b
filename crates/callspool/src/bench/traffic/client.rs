//! A recording client that is as cheap as can be: calls over UDP, from one socket.
//!
//! INVITE to 200 is from just before the system call that sends the INVITE to the kernel's time stamp of the 200.
//! Requests are sent again each 500 ms, which is T1 of RFC 3261 without its doubling (section 17.1.1.2); a call that has
//! no 200 after 5 s has failed. What is up when the client goes is hung up.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt::ReceiveTimestampns,
};
use nix::sys::time::TimeSpec;

use super::{Kind, Offer, now_ns};

/// T1 of RFC 3261.
const RESEND_NS: i64 = 500_000_000;
/// Long enough for three times of sending again.
const GIVE_UP_NS: i64 = 5_000_000_000;
/// Datagrams taken before the caller gets its turn.
const TAKE_MAX: usize = 64;
/// Octets of a response that is read.
const DATAGRAM_MAX: usize = 8_192;
/// 4 MiB: answers to some thousand requests.
const RECEIVE_BUFFER: usize = 4 << 20;
/// What becomes of answers that are none: they are counted by this.
const NO_ANSWER: &str = "no answer";

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
    /// When it was refused; 0: it was not, or not by an answer.
    refused: i64,
    /// Where its streams go to.
    pub(crate) media: Vec<SocketAddr>,
    /// Request-URI and To of what follows.
    contact: String,
    to: String,
}

impl Call {
    /// INVITE to 200.
    pub(crate) fn setup_ms(&self) -> Option<f64> {
        self.is_answered().then(|| (self.answered - self.invited) as f64 / 1e6)
    }

    /// INVITE to what refused it.
    pub(crate) fn refusal_ms(&self) -> Option<f64> {
        (self.refused > 0).then(|| (self.refused - self.invited) as f64 / 1e6)
    }

    /// Whether it was answered.
    pub(crate) fn is_answered(&self) -> bool {
        self.answered > 0
    }
}

/// Who calls whom with what.
#[derive(Clone, Debug)]
pub(crate) struct Lines {
    pub(crate) local: IpAddr,
    pub(crate) remote: SocketAddr,
    /// Request-URI and To.
    pub(crate) uri: String,
    pub(crate) kind: Kind,
    pub(crate) offer: Offer,
}

impl Lines {
    fn body(&self, media_port: u16, session: &str) -> (String, String) {
        self.kind.body(self.local, media_port, &self.offer, session)
    }
}

/// The client.
pub(crate) struct Client {
    socket: UdpSocket,
    address: SocketAddr,
    lines: Lines,
    /// Makes the names of this run its own.
    run: String,
    pub(crate) calls: Vec<Call>,
    /// Those that may have to be sent again, by when their request was sent.
    waiting: VecDeque<usize>,
    /// Those that were answered since they were asked for last.
    fresh: Vec<usize>,
    pub(crate) resent: u64,
    /// What was answered instead of 200, and how often: the status line, or that there was none.
    pub(crate) refusals: BTreeMap<String, u64>,
}

impl Client {
    pub(crate) fn new(lines: Lines) -> io::Result<Self> {
        let socket = UdpSocket::bind((lines.local, 0))?;
        socket.set_nonblocking(true)?;
        setsockopt(&socket, ReceiveTimestampns, &true)?;
        socket2::SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER)?;
        Ok(Self {
            address: socket.local_addr()?,
            socket,
            lines,
            run: format!("{:x}", now_ns()),
            calls: Vec::new(),
            waiting: VecDeque::new(),
            fresh: Vec::new(),
            resent: 0,
            refusals: BTreeMap::new(),
        })
    }

    /// Begins a call whose media come from this port; its number.
    pub(crate) fn invite(&mut self, media_port: u16) -> usize {
        let number = self.calls.len();
        let request = self.invite_request(number, media_port);
        let now = now_ns();
        let _ = self.socket.send_to(request.as_bytes(), self.lines.remote);
        let (media, contact, to) = (Vec::new(), String::new(), String::new());
        let (state, answered, refused) = (State::Calling, 0, 0);
        self.calls.push(Call {
            state,
            invited: now,
            sent: now,
            request,
            answered,
            refused,
            media,
            contact,
            to,
        });
        self.waiting.push_back(number);
        number
    }

    /// Ends all calls from a number on that have been up for so long, at most so many.
    pub(crate) fn hang_up_after(&mut self, after: Duration, from: usize, most: usize) {
        let before = now_ns() - i64::try_from(after.as_nanos()).unwrap_or(i64::MAX);
        let up = |c: &Call| c.state == State::Up && c.answered <= before;
        let due = self.calls.iter().enumerate().skip(from).filter(|(_, c)| up(c));
        let due: Vec<usize> = due.map(|(n, _)| n).take(most).collect();
        due.into_iter().for_each(|number| self.hang_up(number));
    }

    /// Ends a call that is up.
    pub(crate) fn hang_up(&mut self, number: usize) {
        if self.calls.get(number).is_none_or(|c| c.state != State::Up) {
            return;
        }
        let request = self.in_dialog(number, "BYE", 2);
        let _ = self.socket.send_to(request.as_bytes(), self.lines.remote);
        if let Some(call) = self.calls.get_mut(number) {
            (call.state, call.sent, call.request) = (State::HangingUp, now_ns(), request);
        }
        self.waiting.push_back(number);
    }

    /// The first call that is not over, or the number of calls.
    pub(crate) fn oldest(&self, from: usize) -> usize {
        let going_on = |c: &Call| !matches!(c.state, State::Over | State::Failed);
        self.calls.iter().skip(from).position(going_on).map_or(self.calls.len(), |n| from + n)
    }

    /// Whether an answer to an INVITE may still come.
    pub(crate) fn is_calling(&self) -> bool {
        self.waiting.iter().any(|n| self.calls.get(*n).is_some_and(|c| c.state == State::Calling))
    }

    /// The calls that were answered since this was asked last.
    pub(crate) fn answered(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.fresh)
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
        let mut buffer = [0; DATAGRAM_MAX];
        let mut slices = [IoSliceMut::new(&mut buffer)];
        let mut space = nix::cmsg_space!(TimeSpec);
        let flags = MsgFlags::MSG_DONTWAIT;
        let message =
            recvmsg::<SockaddrStorage>(self.socket.as_raw_fd(), &mut slices, Some(&mut space), flags).ok()?;
        let at = message.cmsgs().ok()?.find_map(|c| match c {
            ControlMessageOwned::ScmTimestampns(t) => Some(t.tv_sec() * 1_000_000_000 + t.tv_nsec()),
            _ => None,
        });
        let length = message.bytes;
        let text = buffer.get(..length).unwrap_or_default();
        Some((at.unwrap_or_else(now_ns), String::from_utf8_lossy(text).into_owned()))
    }

    fn response(&mut self, at: i64, text: &str) {
        let line = text.lines().next().and_then(|l| l.strip_prefix("SIP/2.0 "));
        let status = line.and_then(|l| l.get(..3)?.parse::<u16>().ok());
        let number = header(text, "Call-ID").and_then(|id| self.own(id));
        // A request of the recorder, or a response to another run: not ours to answer.
        let (Some(line), Some(status), Some(number)) = (line, status, number) else { return };
        let invite = header(text, "CSeq").is_some_and(|c| c.ends_with("INVITE"));
        let Some(call) = self.calls.get_mut(number) else { return };
        match (call.state, invite, status) {
            (_, _, 100..=199) => {}
            (State::Calling, true, 200) => {
                (call.state, call.answered) = (State::Up, at);
                // Thousands of bodies that nobody needs any more would be memory.
                call.request = String::new();
                call.media = media_addresses(text, self.lines.remote.ip());
                call.to = header(text, "To").unwrap_or_default().to_owned();
                let contact = header(text, "Contact").and_then(|c| c.split(['<', '>']).nth(1));
                call.contact = contact.unwrap_or_default().to_owned();
                self.fresh.push(number);
                self.ack(number);
            }
            (State::Calling, true, _) => {
                (call.state, call.refused, call.request) = (State::Failed, at, String::new());
                call.to = header(text, "To").unwrap_or_default().to_owned();
                *self.refusals.entry(line.trim().to_owned()).or_default() += 1;
                self.ack_refusal(number);
            }
            (State::Failed, true, 300..) => self.ack_refusal(number),
            // It came after all, when nobody waited any more: it must not stay up.
            (State::Failed, true, 200) => {
                call.to = header(text, "To").unwrap_or_default().to_owned();
                let contact = header(text, "Contact").and_then(|c| c.split(['<', '>']).nth(1));
                call.contact = contact.unwrap_or_default().to_owned();
                call.state = State::Up;
                self.ack(number);
                self.hang_up(number);
            }
            // The 200 came again: so must the ACK.
            (_, true, 200) => self.ack(number),
            (State::HangingUp, false, _) => (call.state, call.request) = (State::Over, String::new()),
            _ => {}
        }
    }

    /// The number of a call of this run.
    fn own(&self, id: &str) -> Option<usize> {
        let (number, run) = id.split_once('-')?;
        (run == self.run).then(|| number.parse().ok()).flatten()
    }

    fn ack(&self, number: usize) {
        let _ = self.socket.send_to(self.in_dialog(number, "ACK", 1).as_bytes(), self.lines.remote);
    }

    /// RFC 3261 section 17.1.1.3: by the branch and the URI of the INVITE.
    fn ack_refusal(&self, number: usize) {
        let Some(call) = self.calls.get(number) else { return };
        let (address, run, uri) = (self.address, &self.run, &self.lines.uri);
        let request = format!(
            "ACK {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {address};branch=z9hG4bK{run}.{number}.INVITE;rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:1001@bench.invalid>;tag={number}\r\nTo: {}\r\n\
             Call-ID: {number}-{run}\r\nCSeq: 1 ACK\r\nContent-Length: 0\r\n\r\n",
            call.to,
        );
        let _ = self.socket.send_to(request.as_bytes(), self.lines.remote);
    }

    fn send_again(&mut self) {
        let now = now_ns();
        while let Some(number) = self.waiting.front().copied() {
            let Some(call) = self.calls.get_mut(number) else { return };
            let waits = matches!(call.state, State::Calling | State::HangingUp);
            if waits && now - call.sent < RESEND_NS {
                return;
            }
            self.waiting.pop_front();
            if !waits {
                continue;
            }
            if now - call.invited > GIVE_UP_NS && call.state == State::Calling {
                (call.state, call.request) = (State::Failed, String::new());
                *self.refusals.entry(NO_ANSWER.to_owned()).or_default() += 1;
                continue;
            }
            let _ = self.socket.send_to(call.request.as_bytes(), self.lines.remote);
            call.sent = now;
            self.resent += 1;
            self.waiting.push_back(number);
        }
    }

    fn in_dialog(&self, number: usize, method: &str, sequence: u32) -> String {
        let (address, run) = (self.address, &self.run);
        let (contact, to) = self.calls.get(number).map_or(("", ""), |c| (&c.contact, &c.to));
        let target = if contact.is_empty() { &self.lines.uri } else { contact };
        format!(
            "{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP {address};branch=z9hG4bK{run}.{number}.{method};rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:1001@bench.invalid>;tag={number}\r\nTo: {to}\r\n\
             Call-ID: {number}-{run}\r\nCSeq: {sequence} {method}\r\nContent-Length: 0\r\n\r\n",
        )
    }

    fn invite_request(&self, number: usize, media_port: u16) -> String {
        let (address, run, uri) = (self.address, &self.run, &self.lines.uri);
        let (headers, body) = self.lines.body(media_port, &format!("{run}-{number}"));
        format!(
            "INVITE {uri} SIP/2.0\r\n\
             Via: SIP/2.0/UDP {address};branch=z9hG4bK{run}.{number}.INVITE;rport\r\nMax-Forwards: 70\r\n\
             From: <sip:1001@bench.invalid>;tag={number}\r\nTo: <{uri}>\r\n\
             Call-ID: {number}-{run}\r\nCSeq: 1 INVITE\r\nContact: <sip:bench@{address}>;+sip.src\r\n\
             User-Agent: callspool-bench\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            body.len(),
        )
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // Whoever waits for the answers hangs up before; this is for an early end.
        for number in 0..self.calls.len() {
            self.hang_up(number);
        }
    }
}

fn header<'a>(message: &'a str, name: &str) -> Option<&'a str> {
    let named = |line: &&str| line.split(':').next().is_some_and(|n| n.trim().eq_ignore_ascii_case(name));
    let line = message.split("\r\n").take_while(|l| !l.is_empty()).find(named)?;
    line.split_once(':').map(|(_, value)| value.trim())
}

/// Where an answer wants its media: the address of the m-line, else that of the session, else that of its sender.
fn media_addresses(message: &str, sender: IpAddr) -> Vec<SocketAddr> {
    let (mut session, mut found): (IpAddr, Vec<SocketAddr>) = (sender, Vec::new());
    for line in message.lines() {
        if let Some(address) = line.strip_prefix("c=IN ").and_then(|c| c.split(' ').nth(1)?.parse().ok()) {
            match found.last_mut() {
                Some(line) => line.set_ip(address),
                None => session = address,
            }
        } else if let Some(port) =
            line.strip_prefix("m=audio ").and_then(|m| m.split(' ').next()?.parse::<u16>().ok())
        {
            found.push(SocketAddr::new(session, port));
        }
    }
    // A refused line has port 0.
    found.retain(|a| a.port() != 0);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_go_where_the_answer_says() {
        let sender = "192.0.2.1".parse().unwrap();
        for (answer, expected) in [
            ("m=audio 4000 RTP/AVP 0", "192.0.2.1:4000"),
            (
                "c=IN IP4 192.0.2.2\nm=audio 4000 RTP/AVP 0\nm=audio 0 RTP/AVP 0\nm=audio 4002 RTP/AVP 0",
                "192.0.2.2:4000 192.0.2.2:4002",
            ),
            (
                "c=IN IP4 192.0.2.2\nm=audio 4000 RTP/AVP 0\nc=IN IP6 2001:db8::1\nm=audio 4002 RTP/AVP 0",
                "[2001:db8::1]:4000 192.0.2.2:4002",
            ),
        ] {
            let found: Vec<_> = media_addresses(answer, sender).iter().map(ToString::to_string).collect();
            assert_eq!(found.join(" "), expected, "{answer}");
        }
    }

    /// A recorder's side by hand: what comes is shown by its first words, and answered with these status lines.
    #[test]
    fn a_call_is_acknowledged_and_hung_up_also_when_the_client_goes() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        server.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let remote = server.local_addr().unwrap();
        let (local, uri) = (remote.ip(), format!("sip:bench@{remote}"));
        let kind = Kind::Siprec { metadata: 0 };
        let offer = Offer::default();
        let mut client = Client::new(Lines { local, remote, uri, kind, offer }).unwrap();
        let next = || {
            let mut buffer = vec![0; 8_192];
            let (length, from) = server.recv_from(&mut buffer).unwrap();
            (String::from_utf8_lossy(&buffer[..length]).into_owned(), from)
        };
        let answer = |request: &str, from, status: &str, body: &str| {
            let of = |name| header(request, name).unwrap();
            let text = format!(
                "SIP/2.0 {status}\r\nVia: {}\r\nFrom: {}\r\nTo: {};tag=x\r\nCall-ID: {}\r\nCSeq: {}\r\n\
                 Contact: <sip:rec@{remote}>\r\n\r\n{body}",
                of("Via"),
                of("From"),
                of("To"),
                of("Call-ID"),
                of("CSeq"),
            );
            server.send_to(text.as_bytes(), from).unwrap();
        };
        for (status, then) in [("200 OK", "ACK sip:rec@"), ("503 Full", "ACK sip:bench@")] {
            client.invite(4_000);
            let (invite, from) = next();
            assert!(invite.starts_with("INVITE sip:bench@"), "{invite}");
            answer(&invite, from, status, "m=audio 5000 RTP/AVP 0\nm=audio 5002 RTP/AVP 0\n");
            while client.is_calling() {
                client.work();
            }
            let (ack, _) = next();
            assert!(ack.starts_with(then) && ack.contains("tag=x"), "{status}: {ack}");
        }
        assert_eq!(client.answered(), [0]);
        assert_eq!(client.calls[0].media.len(), 2);
        assert!(client.calls[0].setup_ms().unwrap() > 0.0 && !client.calls[1].is_answered());
        assert!(client.calls[1].refusal_ms().unwrap() > 0.0 && client.calls[0].refusal_ms().is_none());
        assert_eq!(client.refusals, BTreeMap::from([("503 Full".to_owned(), 1)]));
        drop(client);
        let (bye, _) = next();
        assert!(bye.starts_with("BYE sip:rec@") && bye.contains("CSeq: 2 BYE"), "{bye}");
    }
}
