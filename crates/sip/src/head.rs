//! The least that must be read of a request to refuse it: a limit that costs as much as a call is no limit.
//!
//! The head of a datagram is cut into lines and nothing is parsed; what a connection brings has been parsed to see
//! where it ends, and no more is looked at than these lines. What is refused gets its own Via, From, To, Call-ID and CSeq
//! back with 503 and `Retry-After` (RFC 3261 sections 8.2.7 and 21.5.4), without a transaction, and its ACK is known
//! by the tag of that answer.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use sipx_sip::headers::via::first_hop_end;
use sipx_sip::{HeaderName, Request, Via};

use crate::flow::{Destination, Flow, Transmit, Transport};
use crate::message;

/// Via lines: each proxy adds one, and 70 of them end a request (Max-Forwards). Who sends more is not answered.
const VIAS_MAX: usize = 70;

/// The lines of a request that an answer repeats.
#[derive(Debug)]
pub struct Head<'a> {
    method: &'a [u8],
    vias: Vec<&'a [u8]>,
    pub(crate) from: &'a [u8],
    pub(crate) to: &'a [u8],
    pub(crate) call_id: &'a [u8],
    cseq: &'a [u8],
}

impl<'a> Head<'a> {
    /// None when this is no request, or one that cannot be answered without reading it well.
    #[must_use]
    pub fn scan(datagram: &'a [u8]) -> Option<Self> {
        let mut lines = datagram.split(|b| *b == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let start = lines.find(|line| !line.is_empty())?;
        let method = start.strip_suffix(b" SIP/2.0")?.split(|b| *b == b' ').next()?;
        let mut head = Self { method, vias: Vec::new(), from: b"", to: b"", call_id: b"", cseq: b"" };
        for line in lines.take_while(|line| !line.is_empty()) {
            // A folded line belongs to the one before.
            if line.starts_with(b" ") || line.starts_with(b"\t") {
                return None;
            }
            let colon = line.iter().position(|b| *b == b':')?;
            let (name, value) = line.split_at(colon);
            let (name, value) = (name.trim_ascii_end(), value.get(1..)?.trim_ascii());
            let is = |long: &str, short: &str| {
                name.eq_ignore_ascii_case(long.as_bytes()) || name.eq_ignore_ascii_case(short.as_bytes())
            };
            if is("Via", "v") {
                head.vias.push(value);
            } else if is("From", "f") {
                head.from = value;
            } else if is("To", "t") {
                head.to = value;
            } else if is("Call-ID", "i") {
                head.call_id = value;
            } else if name.eq_ignore_ascii_case(b"CSeq") {
                head.cseq = value;
            }
        }
        let is_whole = ![head.from, head.to, head.call_id, head.cseq].iter().any(|value| value.is_empty());
        (is_whole && (1..=VIAS_MAX).contains(&head.vias.len())).then_some(head)
    }

    /// Of a request that a connection has read; none when it cannot be answered.
    #[must_use]
    pub fn of(request: &'a Request) -> Option<Self> {
        let all = |name: HeaderName| {
            let named = request.headers.iter().filter(move |header| *header.name() == name);
            named.map(|header| header.raw_value().trim_ascii())
        };
        let one = |name| all(name).next().filter(|value| !value.is_empty());
        let vias: Vec<&[u8]> = all(HeaderName::Via).take(VIAS_MAX + 1).collect();
        let head = Self {
            method: request.method.as_bytes(),
            from: one(HeaderName::From)?,
            to: one(HeaderName::To)?,
            call_id: one(HeaderName::CallId)?,
            cseq: one(HeaderName::CSeq)?,
            vias,
        };
        (1..=VIAS_MAX).contains(&head.vias.len()).then_some(head)
    }

    /// Whether it begins a call, as far as can be seen: an INVITE without To-tag.
    #[must_use]
    pub fn is_new_call(&self) -> bool {
        self.method == b"INVITE" && self.tag_of_to().is_none()
    }

    /// Whether it cancels another request.
    #[must_use]
    pub fn is_cancel(&self) -> bool {
        self.method == b"CANCEL"
    }

    /// What an INVITE, its repetitions and its CANCEL share, and no other request has: the newest Via, with its branch, the
    /// Call-ID and the number of CSeq (RFC 3261 sections 9.1 and 17.2.3).
    #[must_use]
    pub fn transaction(&self) -> Vec<u8> {
        let via = self.vias.first().copied().unwrap_or_default();
        let via = via.get(..first_hop_end(via).min(via.len())).unwrap_or(via).trim_ascii();
        let number = self.cseq.split(|b| b.is_ascii_whitespace()).next().unwrap_or_default();
        [self.call_id, number, via].join(&b"\n"[..])
    }

    /// Whether it acknowledges an answer that carried this tag.
    #[must_use]
    pub fn acknowledges(&self, tag: &str) -> bool {
        self.method == b"ACK" && self.tag_of_to() == Some(tag.as_bytes())
    }

    /// Whether a message is the answer to this request that a server failed or has no room (5xx).
    #[must_use]
    pub fn is_refused_by(&self, message: &[u8]) -> bool {
        let value = |long: &str, short: &str| {
            let mut lines = message.split(|b| *b == b'\n').take_while(|line| !line.trim_ascii().is_empty());
            lines.find_map(|line| {
                let (name, value) = line.split_at(line.iter().position(|b| *b == b':')?);
                let is = |named: &str| name.trim_ascii().eq_ignore_ascii_case(named.as_bytes());
                (is(long) || is(short)).then(|| value.get(1..).unwrap_or_default().trim_ascii())
            })
        };
        fn words(cseq: &[u8]) -> impl Iterator<Item = &[u8]> {
            cseq.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
        }
        message.starts_with(b"SIP/2.0 5")
            && value("Call-ID", "i") == Some(self.call_id)
            && value("CSeq", "CSeq").is_some_and(|cseq| words(cseq).eq(words(self.cseq)))
    }

    /// The tag of To.
    pub(crate) fn tag_of_to(&self) -> Option<&'a [u8]> {
        tag(self.to)
    }

    /// The tag of From.
    pub(crate) fn tag_of_from(&self) -> Option<&'a [u8]> {
        tag(self.from)
    }

    /// The number of CSeq.
    pub(crate) fn sequence(&self) -> Option<u32> {
        let number = self.cseq.split(|b| b.is_ascii_whitespace()).next()?;
        std::str::from_utf8(number).ok()?.parse().ok()
    }

    /// 503 with this To-tag; none for an ACK, which nothing answers, and where Via cannot be read.
    #[must_use]
    pub fn refuse(&self, flow: &Flow, tag: &str, retry_after: Duration) -> Option<Transmit> {
        self.answer(flow, tag, "503 Service Unavailable", Some(retry_after))
    }

    /// 403 with this To-tag, to an INVITE that comes from where nobody may call.
    #[must_use]
    pub fn forbid(&self, flow: &Flow, tag: &str) -> Option<Transmit> {
        self.answer(flow, tag, "403 Forbidden", None)
    }

    /// 487 with this To-tag, to an INVITE that was cancelled before anybody looked at it.
    #[must_use]
    pub fn terminate(&self, flow: &Flow, tag: &str) -> Option<Transmit> {
        self.answer(flow, tag, "487 Request Terminated", None)
    }

    /// 200 with this To-tag, to the CANCEL of such an INVITE (RFC 3261 section 9.2).
    #[must_use]
    pub fn confirm(&self, flow: &Flow, tag: &str) -> Option<Transmit> {
        self.answer(flow, tag, "200 OK", None)
    }

    fn answer(
        &self,
        flow: &Flow,
        tag: &str,
        status: &str,
        retry_after: Option<Duration>,
    ) -> Option<Transmit> {
        if self.method == b"ACK" {
            return None;
        }
        let (top, others) = self.vias.split_first()?;
        let via = Via::parse_one(top.get(..first_hop_end(top).min(top.len()))?).ok()?;
        let mut answer = BytesMut::with_capacity(512);
        for piece in ["SIP/2.0 ", status, "\r\n"] {
            answer.put_slice(piece.as_bytes());
        }
        let mut line = |name: &str, value: &[u8], more: &str| {
            answer.put_slice(name.as_bytes());
            answer.put_slice(value);
            answer.put_slice(more.as_bytes());
            answer.put_slice(b"\r\n");
        };
        line("Via: ", &message::with_received(top, flow.remote), "");
        others.iter().for_each(|via| line("Via: ", via, ""));
        line("From: ", self.from, "");
        let own_tag = if self.tag_of_to().is_none() { format!(";tag={tag}") } else { String::new() };
        line("To: ", self.to, &own_tag);
        line("Call-ID: ", self.call_id, "");
        line("CSeq: ", self.cseq, "");
        if let Some(retry_after) = retry_after {
            line("Retry-After: ", retry_after.as_secs().max(1).to_string().as_bytes(), "");
        }
        line("Content-Length: ", b"0", "");
        answer.put_slice(b"\r\n");
        let port = via.port.unwrap_or(Transport::Udp.default_port());
        // On a connection it goes back the way that it came (RFC 3261 section 18.2.2).
        let is_connected = flow.transport != Transport::Udp;
        let to = match is_connected || via.rport().is_some() || port == flow.remote.port() {
            true => Destination::Flow(flow.id),
            false => Destination::Address {
                transport: flow.transport,
                remote: SocketAddr::new(flow.remote.ip(), port),
            },
        };
        Some(Transmit { to, bytes: Bytes::from(answer) })
    }
}

/// What stands behind `;tag=` after the URI.
fn tag(value: &[u8]) -> Option<&[u8]> {
    let params = match value.iter().rposition(|b| *b == b'>') {
        Some(end) => value.get(end + 1..)?,
        None => value,
    };
    params.split(|b| *b == b';').skip(1).find_map(|param| {
        let param = param.trim_ascii();
        let (name, value) = param.split_at(param.iter().position(|b| *b == b'=')?);
        name.trim_ascii_end()
            .eq_ignore_ascii_case(b"tag")
            .then(|| value.get(1..).unwrap_or_default().trim_ascii())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::FlowId;

    const INVITE: &str = "INVITE sip:rec@192.0.2.1 SIP/2.0\r\nv: SIP/2.0/UDP 10.0.0.1:5070;branch=z9hG4bKa;rport, \
        SIP/2.0/UDP h;branch=z9hG4bKc\r\nVia: SIP/2.0/UDP i;branch=z9hG4bKb\r\nFrom: \"A;tag=0\" <sip:a@b;tag=1>;tag=2\r\n\
        To: <sip:rec@192.0.2.1>\r\nCall-ID: x@y\r\nCSeq: 7 INVITE\r\nContent-Length: 3\r\n\r\nv=0";

    fn flow() -> Flow {
        let (local, remote) = (([192, 0, 2, 1], 5060).into(), ([192, 0, 2, 7], 4000).into());
        Flow { id: FlowId(3), transport: Transport::Udp, local, remote }
    }

    #[test]
    fn a_call_is_refused_with_what_it_said_and_its_ack_is_known() {
        let head = Head::scan(INVITE.as_bytes()).unwrap();
        assert!(head.is_new_call());
        assert_eq!((head.tag_of_from(), head.tag_of_to(), head.sequence()), (Some(&b"2"[..]), None, Some(7)));
        let Transmit { to, bytes } = head.refuse(&flow(), "t503", Duration::from_secs(10)).unwrap();
        assert_eq!(to, Destination::Flow(FlowId(3)));
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let parsed = sipx_sip::parse_datagram(bytes, &sipx_sip::Limits::datagram()).unwrap();
        assert_eq!(parsed.as_response().unwrap().status.code(), 503);
        for line in [
            ";received=192.0.2.7;rport=4000, SIP/2.0/UDP h;branch=z9hG4bKc\r\n",
            "Via: SIP/2.0/UDP i;branch=z9hG4bKb\r\n",
            "To: <sip:rec@192.0.2.1>;tag=t503\r\n",
            "CSeq: 7 INVITE\r\n",
            "Retry-After: 10\r\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
        let ack = INVITE
            .replace("INVITE", "ACK")
            .replace("To: <sip:rec@192.0.2.1>", "To: <sip:rec@192.0.2.1>;tag=t503");
        let ack = Head::scan(ack.as_bytes()).unwrap();
        assert!(ack.acknowledges("t503") && !ack.acknowledges("other"));
        assert_eq!(ack.refuse(&flow(), "t503", Duration::ZERO), None);
    }

    #[test]
    fn what_refuses_another_request_refuses_not_this_one() {
        let head = Head::scan(INVITE.as_bytes()).unwrap();
        let answer = |head: &Head<'_>| head.refuse(&flow(), "t", Duration::from_secs(1)).unwrap().bytes;
        assert!(head.is_refused_by(&answer(&head)));
        let spaced = String::from_utf8(answer(&head).to_vec()).unwrap().replace("CSeq: 7 ", "CSeq : 7  ");
        assert!(head.is_refused_by(spaced.as_bytes()));
        for (part, other) in [("x@y", "x@z"), ("7 INVITE", "8 INVITE"), ("7 INVITE", "7 OPTIONS")] {
            let other = INVITE.replace(part, other);
            assert!(!head.is_refused_by(&answer(&Head::scan(other.as_bytes()).unwrap())), "{other}");
        }
        assert!(!head.is_refused_by(&head.forbid(&flow(), "t").unwrap().bytes));
        assert!(!head.is_refused_by(b"SIP/2.0 503") && !head.is_refused_by(INVITE.as_bytes()));
    }

    #[test]
    fn a_cancel_is_of_its_invite_and_of_no_other() {
        let invite = Head::scan(INVITE.as_bytes()).unwrap();
        let cancel = "CANCEL sip:rec@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1:5070;branch=z9hG4bKa;rport\r\n\
            From: <sip:a@b>;tag=2\r\nTo: <sip:rec@192.0.2.1>\r\nCall-ID: x@y\r\nCSeq: 7 CANCEL\r\n\r\n";
        let of = |text: &str| Head::scan(text.as_bytes()).unwrap().transaction();
        assert!(Head::scan(cancel.as_bytes()).unwrap().is_cancel() && !invite.is_cancel());
        assert_eq!(of(cancel), invite.transaction());
        for other in [cancel.replace("7 ", "8 "), cancel.replace("bKa", "bKd"), cancel.replace("x@y", "x@z")]
        {
            assert_ne!(of(&other), invite.transaction());
        }
        let text = |sent: Option<Transmit>| String::from_utf8(sent.unwrap().bytes.to_vec()).unwrap();
        let terminated = text(invite.terminate(&flow(), "t"));
        assert!(terminated.starts_with("SIP/2.0 487 Request Terminated\r\n"), "{terminated}");
        assert!(
            terminated.contains("To: <sip:rec@192.0.2.1>;tag=t\r\n") && !terminated.contains("Retry-After")
        );
        let confirmed = text(Head::scan(cancel.as_bytes()).unwrap().confirm(&flow(), "t"));
        assert!(confirmed.starts_with("SIP/2.0 200 OK\r\n") && confirmed.contains("CSeq: 7 CANCEL\r\n"));
    }

    #[test]
    fn what_a_connection_has_read_is_refused_on_it() {
        let stream = INVITE.replace("UDP 10.0.0.1:5070", "TCP 10.0.0.1:5070").replace(";rport", "");
        let mut messages = crate::Framer::new().push(stream.as_bytes()).unwrap();
        let Some(crate::Message::Request(request)) = messages.pop() else { panic!("no request") };
        let head = Head::of(&request).unwrap();
        let scanned = Head::scan(stream.as_bytes()).unwrap();
        assert_eq!(format!("{head:?}"), format!("{scanned:?}"));
        let flow = Flow { transport: Transport::Tcp, ..flow() };
        let refused = |head: Head<'_>| head.refuse(&flow, "t503", Duration::from_secs(10)).unwrap();
        assert_eq!(refused(head), refused(scanned));
        assert_eq!(refused(Head::of(&request).unwrap()).to, Destination::Flow(FlowId(3)));
        let mut none = request;
        none.headers.remove_all(&HeaderName::CSeq);
        assert!(Head::of(&none).is_none());
    }

    #[test]
    fn what_cannot_be_answered_is_none() {
        for bad in [
            String::new(),
            "SIP/2.0 200 OK\r\nVia: x\r\n\r\n".into(),
            INVITE.replace("Call-ID: x@y\r\n", ""),
            INVITE.replace("\r\nCSeq", "\r\n folded\r\nCSeq"),
            INVITE.replace("SIP/2.0\r\n", "SIP/3.0\r\n"),
        ] {
            assert!(Head::scan(bad.as_bytes()).is_none(), "{bad}");
        }
        let vias = "Via: SIP/2.0/UDP h\r\n".repeat(VIAS_MAX);
        assert!(Head::scan(INVITE.replace("To:", &format!("{vias}To:")).as_bytes()).is_none());
    }
}
