//! A front with a client that sends metadata, and a record server that opens at once.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use call::{Action, Ask, Command, Front, FrontConfig, Trunks};
use model::peer::Flowing;
use model::{
    CallData, CallId, IdGenerator, Metadata, NodeNumber, Now, OpenSegment, OpenStream, Order, Report,
    SegmentId, StreamPorts, TenantId, WallTime,
};
use sip::{AddressView, EndCause, Event, Flow, FlowId, Part, RequestInfo, SessionId, Transport};

/// See the module.
pub(crate) struct Client {
    pub(crate) now: Now,
    pub(crate) front: Front,
    session: SessionId,
    /// What the record server was told last.
    pub(crate) data: CallData,
    pub(crate) streams: Vec<OpenStream>,
    pub(crate) kept: Vec<Metadata>,
    pub(crate) answers: Vec<String>,
    pub(crate) opened: usize,
    /// Who is asked for recording awareness, who asserts itself, who the client says it is.
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) asserted: Option<String>,
    pub(crate) headers: Vec<(String, String)>,
    /// The option tags that it supports.
    pub(crate) supported: Vec<String>,
    /// Whether it is a recording client, or takes part in the conversation itself.
    pub(crate) siprec: bool,
    call: Option<CallId>,
}

impl Client {
    pub(crate) fn new() -> Self {
        Self::meaning(Flowing::Held)
    }

    /// A client whose trunk means this by `a=inactive`.
    pub(crate) fn meaning(inactive: Flowing) -> Self {
        let config = FrontConfig {
            node: NodeNumber::SINGLE,
            tenant: TenantId::default(),
            trunks: Trunks::new(Vec::new(), TenantId::default()),
            tenant_calls_max: BTreeMap::new(),
            calls_max: 100_000,
            linger: Duration::from_secs(3),
            hold_timeout: Duration::from_secs(7_200),
            inactive,
            pause_timeout: Duration::ZERO,
            orders_by_header: true,
            dtmf: model::Dtmf::Keep,
            video: true,
            address_v4: None,
            address_v6: None,
        };
        Self {
            now: Now { wall: WallTime::from_millis(1_795_000_000_000), ..Now::default() },
            front: Front::new(config, IdGenerator::new(NodeNumber::SINGLE, 0)),
            session: SessionId(1),
            data: CallData::default(),
            streams: Vec::new(),
            kept: Vec::new(),
            answers: Vec::new(),
            opened: 0,
            from: "sip:src@client.example".to_owned(),
            to: "sip:srs@recorder.example".to_owned(),
            asserted: None,
            headers: vec![("Allow".to_owned(), "INVITE, UPDATE".to_owned())],
            supported: Vec::new(),
            siprec: true,
            call: None,
        }
    }

    /// An INVITE of the next dialog, with two lines of these labels.
    pub(crate) fn invite(&mut self, document: &[u8], labels: [&str; 2]) {
        self.session.0 += 1;
        let request = Box::new(self.request("INVITE", Some((labels, "sendonly")), Some(document)));
        self.front.handle_event(self.now, Event::Invited { session: self.session, request });
        self.drain();
        self.front.handle_event(self.now, Event::Confirmed { session: self.session, answer: None });
        self.drain();
    }

    /// A re-INVITE: labels with the direction of their lines, and a document.
    pub(crate) fn reinvite(&mut self, direction: &str, document: Option<&str>) {
        let request = self.request("INVITE", Some((["1", "2"], direction)), document.map(str::as_bytes));
        let request = Box::new(request);
        self.front.handle_event(self.now, Event::Reoffered { session: self.session, request });
        self.drain();
        self.front.handle_event(self.now, Event::Confirmed { session: self.session, answer: None });
        self.drain();
    }

    /// UPDATE without SDP, or INFO.
    pub(crate) fn tell(&mut self, method: &str, document: &str) {
        let request = Box::new(self.request(method, None, Some(document.as_bytes())));
        self.front.handle_event(self.now, Event::Informed { session: self.session, request });
        self.drain();
    }

    pub(crate) fn bye(&mut self, document: &str) {
        let request = Some(Box::new(self.request("BYE", None, Some(document.as_bytes()))));
        let event = Event::Ended { session: self.session, cause: EndCause::Bye, request };
        self.front.handle_event(self.now, event);
        self.drain();
    }

    pub(crate) fn wait(&mut self, seconds: u64) {
        self.now = self.now + Duration::from_secs(seconds);
        self.front.handle_timeout(self.now);
        self.drain();
    }

    fn request(
        &self,
        method: &str,
        lines: Option<([&str; 2], &str)>,
        document: Option<&[u8]>,
    ) -> RequestInfo {
        let mut parts = Vec::new();
        if let Some((labels, direction)) = lines {
            let mut sdp = "v=0\r\no=c 1 1 IN IP4 192.0.2.7\r\ns=-\r\nc=IN IP4 192.0.2.7\r\nt=0 0\r\na=recordpref:on\r\n".to_owned();
            for (port, label) in (5_000..).step_by(2).zip(labels) {
                let label = if label.is_empty() { String::new() } else { format!("a=label:{label}\r\n") };
                sdp += &format!("m=audio {port} RTP/AVP 0\r\na={direction}\r\n{label}");
            }
            parts.push(part("application/sdp", sdp.as_bytes()));
        }
        parts.extend(document.map(|document| part("application/rs-metadata+xml", document)));
        let remote = SocketAddr::from(([192, 0, 2, 7], 5060));
        RequestInfo {
            method: method.into(),
            uri: "sip:srs@192.0.2.1".into(),
            uri_user: Some("srs".into()),
            from: address(&self.from),
            to: address(&self.to),
            contact: None,
            asserted: self.asserted.as_deref().map(address).into_iter().collect(),
            call_id: format!("{}@client.example", self.session.0),
            headers: self.headers.clone(),
            require: vec![],
            supported: self.supported.clone(),
            reasons: vec![],
            parts,
            flow: Flow { id: FlowId(1), transport: Transport::Tcp, local: remote, remote },
            peer_names: Default::default(),
            pass: None,
            siprec: self.siprec,
        }
    }

    /// An order by the interface.
    pub(crate) fn order(&mut self, ask: Ask) {
        let (call, tenant, by) = (self.call.unwrap(), TenantId::default(), "alice".to_owned());
        self.front.handle_command(self.now, Command { call, tenant, ask, by }).unwrap();
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(action) = self.front.poll_action() {
            match action {
                Action::Accept { sdp, .. } => self.answers.push(format!("200{}", indicated(&sdp))),
                Action::Reoffer { sdp, .. } => self.answers.push(format!("INVITE{}", indicated(&sdp))),
                Action::Refuse { code, .. } => self.answers.push(code.to_string()),
                Action::AskMetadata { content_type, .. } => {
                    self.answers.push(format!("UPDATE {content_type}"))
                }
                Action::Order(Order::Open(open)) => {
                    self.opened += 1;
                    self.call = Some(open.call);
                    let OpenSegment { segment, data, streams, metadata, .. } = *open;
                    (self.data, self.streams) = (data, streams);
                    self.kept.extend(metadata);
                    self.answers.push("open".into());
                    self.ports(segment);
                }
                Action::Order(Order::Change { segment, streams }) => {
                    self.streams = streams;
                    self.ports(segment);
                }
                Action::Order(Order::Annotate { data, metadata, .. }) => {
                    self.data = data;
                    self.kept.extend(metadata);
                }
                Action::Order(Order::Pause { by, .. }) => {
                    self.answers.push(format!("pause by {}", by.describe()))
                }
                Action::Order(Order::Resume { by, .. }) => {
                    self.answers.push(format!("resume by {}", by.describe()))
                }
                Action::Order(Order::End { reason, .. }) => {
                    self.answers.push(format!("end by {}", reason.describe()))
                }
                _ => {}
            }
        }
    }

    fn ports(&mut self, segment: SegmentId) {
        let at = SocketAddr::from(([192, 0, 2, 1], 20_000));
        let ports = self
            .streams
            .iter()
            .map(|s| StreamPorts { stream: s.stream, rtp: at, rtcp: at, is_stuck: false })
            .collect();
        self.front.handle_report(self.now, Report::Opened { segment, ports });
    }

    /// What is known of the call and of its streams, one line per fact.
    pub(crate) fn picture(&self) -> String {
        let mut out = String::new();
        let lower = |text: String| text.to_lowercase();
        writeln!(out, "{}", lower(format!("{:?}", self.data.direction))).unwrap();
        for p in &self.data.parties {
            let who = p.number.as_ref().or(p.uri.as_ref()).or(p.name.as_ref());
            let times = [("since", p.joined), ("until", p.left)]
                .map(|(word, time)| time.map(|time| format!(" {word} {time}")).unwrap_or_default())
                .concat();
            let (role, side) = (lower(format!("{:?}", p.role)), lower(format!("{:?}", p.side)));
            let who = who.map(String::as_str).unwrap_or("-");
            writeln!(out, "{who} {role} {side}{times}").unwrap();
        }
        for s in &self.streams {
            let label = s.label.as_deref().unwrap_or("-");
            writeln!(out, "{}", lower(format!("stream {label} {:?} {:?}", s.side, s.flowing))).unwrap();
        }
        let values = self.data.correlation.iter().chain(&self.data.extra);
        for (key, value) in values.filter(|(key, _)| *key != "trunk" && *key != "recordpref") {
            writeln!(out, "{key} = {value}").unwrap();
        }
        out
    }
}

/// What a description says of recording.
fn indicated(sdp: &Bytes) -> String {
    let text = String::from_utf8_lossy(sdp).into_owned();
    text.lines()
        .filter_map(|line| line.strip_prefix("a=record:"))
        .map(|told| format!(" record:{told}"))
        .collect()
}

fn part(content_type: &str, bytes: &[u8]) -> Part {
    let bytes = Bytes::copy_from_slice(bytes);
    Part { content_type: content_type.into(), disposition: None, headers: vec![], bytes }
}

fn address(uri: &str) -> AddressView {
    let (user, host) = uri.trim_start_matches("sip:").split_once('@').unwrap();
    AddressView {
        display: None,
        uri: uri.into(),
        user: Some(user.into()),
        host: host.into(),
        params: vec![],
        uri_params: vec![],
    }
}
