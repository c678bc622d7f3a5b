//! A front, a client and a record server that answers when the script says so.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    dead_code,
    reason = "a test tells what is wrong by panicking, and each uses a part of this"
)]

mod client;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use call::{
    Action, Ask, Changed, Command, Done, Front, FrontConfig, GivenKeys, Intake, JoinCommand, Joined, OwnKeys,
    Recording, Trunk, Trunks,
};
use media::srtp::Entropy;
use model::join::Recorded;
use model::peer::Flowing;
use model::protection::{CertificateHash, Fingerprint};
use model::{
    CallData, CallId, CallRecord, ChangeKind, EndReason, Failure, IdGenerator, Join, Keys, Mono, NodeNumber,
    Now, OpenSegment, Order, PeerName, Protection, RecordingState, Report, SegmentId, SegmentRecord,
    StreamId, StreamPorts, Suite, TenantId, WallTime, total,
};
use sip::{EndCause, Event, Part, ReasonView, RequestInfo, SessionId};

use client::{bridge, request, sdp_part};

/// What an order asked for.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Asked {
    Open,
    Change,
}

/// A record server that answers when the script says so.
pub(crate) struct World {
    now: Now,
    /// Where requests come from.
    remote: IpAddr,
    pub(crate) front: Front,
    pub(crate) open: Vec<(OpenSegment, Option<EndReason>)>,
    pub(crate) unanswered: Vec<(SegmentId, Vec<model::OpenStream>, Asked)>,
    /// The numbers of the segments that were opened, by call.
    pub(crate) numbers: BTreeMap<CallId, BTreeSet<u16>>,
    /// The segments that were opened, as they were recorded.
    pub(crate) segments: Vec<Recorded>,
    /// Calls that turned out to be one.
    pub(crate) joins: Vec<Join>,
    /// Orders to pause and resume that are not carried out yet.
    pub(crate) gates: Vec<(SegmentId, u64)>,
    /// Whether each segment that is open keeps what arrives, by what the record server was told.
    pub(crate) paused: BTreeMap<SegmentId, bool>,
    /// The streams that each segment is to have.
    pub(crate) wanted: BTreeMap<SegmentId, Vec<model::OpenStream>>,
    /// The streams that there were before the last step.
    existed: BTreeSet<(SegmentId, model::StreamId)>,
    /// The calls, by their session.
    pub(crate) called: BTreeMap<SessionId, CallId>,
    /// What was told of each call last; one that became another is not in it.
    pub(crate) records: BTreeMap<CallId, CallRecord>,
    /// The first stream of the segment that was ordered last.
    first_stream: Option<StreamId>,
    /// Headers of the requests of each session.
    said: BTreeMap<SessionId, Vec<(String, String)>>,
    /// Parameters of the From URI of each session.
    bridged: BTreeMap<SessionId, Vec<(String, Option<String>)>>,
    next_port: u16,
    /// What is opened next could not stay where it was.
    moves: bool,
    /// There was nothing to move to.
    is_stuck: bool,
    /// Where a stream is that goes on; none: each answer has new ports, so that ladders tell them apart.
    ports: Option<BTreeMap<StreamId, u16>>,
    pub(crate) session: SessionId,
    /// What is for the agent, where there is one.
    pub(crate) for_agent: VecDeque<Action>,
    /// The call as it was told last.
    pub(crate) told: Option<CallData>,
    pub(crate) out: String,
}

impl World {
    pub(crate) fn new(calls_max: usize) -> Self {
        Self::meaning(calls_max, Flowing::Held)
    }

    /// A world whose clients mean this by `a=inactive`.
    pub(crate) fn meaning(calls_max: usize, inactive: Flowing) -> Self {
        Self::of(FrontConfig { inactive, ..config(calls_max) })
    }

    /// The world of one of several nodes.
    pub(crate) fn at(node: NodeNumber, calls_max: usize) -> Self {
        Self::of(FrontConfig { node, ..config(calls_max) })
    }

    pub(crate) fn of(config: FrontConfig) -> Self {
        let now = Now { mono: Mono(0), wall: WallTime::from_millis(1_795_000_000_000) };
        let ids = IdGenerator::new(config.node, 0);
        let front = Front::new(config, ids);
        Self {
            now,
            remote: IpAddr::from([192, 0, 2, 7]),
            front,
            open: Vec::new(),
            unanswered: Vec::new(),
            numbers: BTreeMap::new(),
            segments: Vec::new(),
            joins: Vec::new(),
            gates: Vec::new(),
            paused: BTreeMap::new(),
            wanted: BTreeMap::new(),
            existed: BTreeSet::new(),
            called: BTreeMap::new(),
            records: BTreeMap::new(),
            first_stream: None,
            said: BTreeMap::new(),
            bridged: BTreeMap::new(),
            next_port: 20_000,
            moves: false,
            is_stuck: false,
            ports: None,
            session: SessionId(1),
            for_agent: VecDeque::new(),
            told: None,
            out: String::new(),
        }
    }

    /// A world whose client is promised to send as it says, so that its streams may share ports: they stay where they are
    /// unless they must move.
    pub(crate) fn promised() -> Self {
        let trunk = Trunk { sends_as_announced: true, ..Trunk::open(TenantId::default()) };
        let trunks = Trunks::new(vec![trunk], TenantId::default());
        let config = FrontConfig { trunks, ..config(1) };
        Self { ports: Some(BTreeMap::new()), ..Self::of(config) }
    }

    /// The same with what our side of encryption is made of.
    pub(crate) fn keyed(config: FrontConfig) -> Self {
        let certificate = Fingerprint { hash: CertificateHash::Sha256, digest: vec![0xcc; 32] };
        let own = OwnKeys { entropy: Entropy::new([1; 32]), certificate: Some(certificate) };
        let front = Front::new(config.clone(), IdGenerator::new(NodeNumber::SINGLE, 0)).with_keys(own);
        Self { front, ..Self::of(config) }
    }

    /// Somebody gives a key for the first stream of the call, made of this octet.
    pub(crate) fn give(&mut self, octet: u8) {
        writeln!(self.out, "> give {octet}").unwrap();
        let call = self.called[&self.session];
        let stream = self.first_stream.expect("a segment");
        let keys = Keys::single(Suite::AesCm128HmacSha1Tag80, vec![octet; 30]).unwrap();
        let given = GivenKeys { call, tenant: TenantId::default(), stream, keys };
        let text = match self.front.give_keys(self.now, given) {
            Ok(Done { changed, awaits, .. }) => {
                let again = if changed == Changed::No { " already" } else { "" };
                format!("given{again}{}", if awaits.is_empty() { "" } else { ", not yet" })
            }
            Err(e) => format!("ERROR {e}"),
        };
        writeln!(self.out, "    {text}").unwrap();
        self.drain();
    }

    pub(crate) const fn now(&self) -> Now {
        self.now
    }

    /// A line of the ladder.
    pub(crate) fn line(&mut self, text: &str) {
        writeln!(self.out, "{text}").unwrap();
    }

    /// An agent says so; what is for it is kept.
    pub(crate) fn event(&mut self, event: Event) {
        if let Event::Invited { session, .. } = &event {
            self.session = *session;
        }
        self.front.handle_event(self.now, event);
        self.follow();
    }

    /// The record server does all that it was told.
    pub(crate) fn answer_all(&mut self) {
        while !self.unanswered.is_empty() {
            self.opened();
            self.follow();
        }
    }

    /// Segments that were told to end are sealed.
    pub(crate) fn end_all(&mut self) {
        while self.open.first().is_some_and(|(_, end)| end.is_some()) {
            self.sealed(None);
            self.follow();
        }
    }

    /// Drains actions: what is for the agent is kept, the rest are lines.
    fn follow(&mut self) {
        while let Some(action) = self.front.poll_action() {
            match action {
                Action::Accept { .. }
                | Action::Refuse { .. }
                | Action::Reoffer { .. }
                | Action::HangUp { .. } => self.for_agent.push_back(action),
                other => {
                    if let Action::Tell(_, ChangeKind::Call(call)) = &other {
                        self.told = Some(call.data.clone());
                    }
                    let text = self.describe(other);
                    self.line(&format!("    {text}"));
                }
            }
        }
    }

    /// Another front has a call with signs of one here, which lies on these record servers.
    pub(crate) fn heard_of(&mut self, call: CallId, other: &model::Sighting, on: &BTreeSet<PeerName>) {
        writeln!(self.out, "> heard of a call elsewhere").unwrap();
        self.front.heard_of(self.now, call, other, on);
        self.drain();
    }

    /// One step, and all that follows from it, as lines.
    pub(crate) fn play(&mut self, line: &str) {
        writeln!(self.out, "> {line}").unwrap();
        self.step(line);
        self.drain();
    }

    fn step(&mut self, line: &str) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let now = self.now;
        let session = self.session;
        match word {
            "from" => self.remote = rest.parse().unwrap(),
            "session" => self.session = SessionId(rest.parse().unwrap()),
            "invite" => {
                let mut request = Box::new(self.request("INVITE", rest));
                request.flow.remote.set_ip(self.remote);
                self.front.handle_event(now, Event::Invited { session, request });
            }
            "reinvite" | "update" => {
                let method = word.replace("reinvite", "INVITE").to_uppercase();
                let request = Box::new(self.request(&method, rest));
                self.front.handle_event(now, Event::Reoffered { session, request });
            }
            "ack" => {
                let answer = (!rest.is_empty()).then(|| sdp_part(rest));
                self.front.handle_event(now, Event::Confirmed { session, answer });
            }
            "bye" => {
                let mut bye = self.request("BYE", "");
                if let Some(cause) = rest.strip_prefix("cause ") {
                    let cause = Some(cause.parse().unwrap());
                    bye.reasons.push(ReasonView { protocol: "Q.850".into(), cause, text: None });
                }
                self.end(EndCause::Bye, Some(Box::new(bye)));
            }
            "cancel" => self.end(EndCause::Cancelled, None),
            "expired" => self.end(EndCause::SessionExpired, None),
            "no-ack" => self.front.handle_event(now, Event::Unacknowledged { session }),
            "opened" => self.opened(),
            "moved" => {
                self.moves = true;
                self.opened();
                self.moves = false;
            }
            "stuck" => {
                let segment = self.unanswered[0].0;
                self.is_stuck = true;
                self.opened();
                self.is_stuck = false;
                self.front
                    .handle_report(now, Report::Refused { segment, why: Failure::Resources("none".into()) });
            }
            "refused" => {
                let (segment, _, asked) = self.unanswered.remove(0);
                if asked == Asked::Open {
                    self.open.retain(|(o, _)| o.segment != segment);
                }
                self.front.handle_report(now, Report::Refused { segment, why: Failure::DiskFull });
            }
            "withdrawn" => {
                let (segment, _, _) = self.unanswered.remove(0);
                self.open.retain(|(o, _)| o.segment != segment);
                self.front.handle_report(now, Report::Withdrawn { segment });
            }
            "sealed" => self.sealed(None),
            "disk-error" => self.sealed(Some(EndReason::Internal(Failure::Storage("EIO".into())))),
            "failing" => {
                let segment = self.failing().expect("a segment that records");
                let why = Failure::Storage("EIO".into());
                self.front.handle_report(now, Report::Failing { segment, why });
            }
            "silence" => {
                let segment = self.open[0].0.segment;
                self.front.handle_report(now, Report::MediaTimedOut { segment });
            }
            "wait" => {
                self.now = self.now + Duration::from_secs(rest.trim_end_matches('s').parse().unwrap());
                self.front.handle_timeout(self.now);
            }
            "end-all" => self.front.end_all(now),
            "order" => self.order(rest),
            "join" => self.join(rest),
            "carried-out" => {
                let (segment, order) = self.gates.remove(0);
                self.front.handle_report(now, Report::CarriedOut { segment, order });
            }
            "info" => {
                let request = Box::new(self.with_header("INFO", "", rest));
                self.front.handle_event(now, Event::Informed { session, request });
            }
            "says" => {
                let (name, value) = rest.split_once(": ").unwrap();
                let said = self.said.entry(session).or_default();
                said.retain(|(known, _)| known != name);
                said.push((name.to_owned(), value.to_owned()));
            }
            "is" => _ = self.bridged.insert(session, bridge(rest)),
            "metadata" => {
                let request = Box::new(self.with_state("UPDATE", "", rest));
                self.front.handle_event(now, Event::Informed { session, request });
            }
            "invite-says" => {
                let (state, lines) = rest.split_once(" / ").unwrap();
                let mut request = Box::new(self.with_state("INVITE", lines, state));
                request.flow.remote.set_ip(self.remote);
                self.front.handle_event(now, Event::Invited { session, request });
            }
            "reinvite-says" => {
                let (state, lines) = rest.split_once(" / ").unwrap();
                let request = Box::new(self.with_state("INVITE", lines, state));
                self.front.handle_event(now, Event::Reoffered { session, request });
            }
            "reinvite-with" => {
                let (header, lines) = rest.split_once(" / ").unwrap();
                let request = Box::new(self.with_header("INVITE", lines, header));
                self.front.handle_event(now, Event::Reoffered { session, request });
            }
            "accepted" => {
                let (status, at_method) = (200, "INVITE".to_owned());
                let sdp = (!rest.is_empty()).then(|| sdp_part(rest));
                let event = Event::Accepted { session, status, headers: vec![], sdp, at_method };
                self.front.handle_event(now, event);
            }
            "not-accepted" => {
                let (status, reason) = (488, "Not Acceptable Here".to_owned());
                self.front.handle_event(now, Event::Refused { session, status, reason, headers: vec![] });
            }
            "redirect" => self.front.set_redirect((!rest.is_empty()).then(|| rest.to_owned())),
            "open" => self.front.set_intake(Intake::Open),
            "close" if rest.is_empty() => self.front.set_intake(Intake::Refused),
            "close" => self.front.set_intake(Intake::HandedOver(rest.to_owned())),
            other => panic!("no such step: {other}"),
        }
    }

    /// The newest segment that was opened and not told to end.
    pub(crate) fn failing(&self) -> Option<SegmentId> {
        let answered = |s| self.unanswered.iter().all(|(of, _, asked)| *of != s || *asked == Asked::Change);
        let live = self.open.iter().rev().find(|(open, end)| end.is_none() && answered(open.segment));
        live.map(|(open, _)| open.segment)
    }

    /// `pause`, `pause 60s`, `resume`, `stop`, `start`, by a tenant's user.
    fn order(&mut self, words: &str) {
        let (word, rest) = words.split_once(' ').unwrap_or((words, ""));
        let ask = match word {
            "pause" => Ask::Pause {
                timeout: rest.strip_suffix('s').map(|s| Duration::from_secs(s.parse().unwrap())),
            },
            "resume" => Ask::Resume,
            "stop" => Ask::Stop,
            "start" => Ask::Start,
            other => panic!("no such order: {other}"),
        };
        let tenant = if rest == "foreign" { "other".parse().unwrap() } else { TenantId::default() };
        let Some(call) = self.call_of(self.session) else { return };
        let command = Command { call, tenant, ask, by: "alice".to_owned() };
        let text = match self.front.handle_command(self.now, command) {
            Ok(Done { recording, changed, awaits, .. }) => {
                let recording = match recording {
                    Recording::On => "on".to_owned(),
                    Recording::Off => "off".to_owned(),
                    Recording::Paused { until: None, .. } => "paused".to_owned(),
                    Recording::Paused { until: Some(until), .. } => {
                        format!("paused for {} s", until.nanos_since(self.now.wall) / 1_000_000_000)
                    }
                };
                let awaits = if !awaits.is_empty() { ", not yet" } else { "" };
                format!("{recording}{}{awaits}", if changed == Changed::No { " already" } else { "" })
            }
            Err(e) => format!("ERROR {e}"),
        };
        writeln!(self.out, "    {text}").unwrap();
    }

    /// The call that a session is of, as far as it was told.
    pub(crate) fn call_of(&self, session: SessionId) -> Option<CallId> {
        let id = format!("s{}@b", session.0);
        let told = self.records.values().find(|call| call.data.sip_call_ids.contains(&id));
        told.map(|call| call.id).or_else(|| self.called.get(&session).copied())
    }

    /// `1`: with the call of session 1, by a tenant's user; `1 foreign`: by another tenant's.
    fn join(&mut self, words: &str) {
        let (other, whose) = words.split_once(' ').unwrap_or((words, ""));
        let tenant = if whose == "foreign" { "other".parse().unwrap() } else { TenantId::default() };
        let other = SessionId(other.parse().unwrap());
        let calls = [self.session, other].map(|session| self.called[&session]);
        let text = match self.front.join(self.now, JoinCommand { calls, tenant, by: "alice".to_owned() }) {
            Ok(Joined { call, changed }) => {
                assert_eq!(Some(&call), calls.iter().min(), "the older one survives");
                if changed == Changed::Yes { "one".to_owned() } else { "one already".to_owned() }
            }
            Err(e) => format!("ERROR {e}"),
        };
        writeln!(self.out, "    {text}").unwrap();
    }

    /// A request of the session, with what the session says.
    fn request(&self, method: &str, lines: &str) -> RequestInfo {
        let mut request = request(method, lines);
        // A client sends from where its requests come from.
        for part in request.parts.iter_mut().filter(|_| self.remote.is_ipv4()) {
            let from = format!("IN IP4 {}", self.remote);
            part.bytes = String::from_utf8_lossy(&part.bytes).replace("IN IP4 192.0.2.7", &from).into();
        }
        request.call_id = format!("s{}@b", self.session.0);
        request.headers = self.said.get(&self.session).cloned().unwrap_or_default();
        let supported = request.headers.iter().filter(|(name, _)| name == "Supported");
        request.supported = supported.map(|(_, tag)| tag.clone()).collect();
        request.from.uri_params = self.bridged.get(&self.session).cloned().unwrap_or_default();
        request
    }

    /// A request with metadata that say this of the recording.
    fn with_state(&mut self, method: &str, lines: &str, state: &str) -> RequestInfo {
        let mut request = self.request(method, lines);
        let state = format!(
            "<recording state=\"{state}\"><datamode>partial</datamode><session session_id=\"c\"/></recording>"
        );
        let (content_type, bytes) = ("application/rs-metadata+xml".into(), Bytes::from(state));
        request.parts.push(Part { content_type, disposition: None, headers: vec![], bytes });
        request
    }

    /// A request with a header, `Record: off`.
    fn with_header(&self, method: &str, lines: &str, header: &str) -> RequestInfo {
        let (name, value) = header.split_once(": ").unwrap();
        let mut request = self.request(method, lines);
        request.headers.push((name.into(), value.into()));
        request
    }

    fn end(&mut self, cause: EndCause, request: Option<Box<RequestInfo>>) {
        self.front.handle_event(self.now, Event::Ended { session: self.session, cause, request });
    }

    fn opened(&mut self) {
        let (segment, streams, asked) = self.unanswered.remove(0);
        if asked == Asked::Open
            && let Some((open, _)) = self.open.iter().find(|(o, _)| o.segment == segment)
        {
            self.numbers.entry(open.call).or_default().insert(open.number);
            let (number, segment, call) = (open.number, open.segment, open.call);
            self.segments.push(Recorded { number, segment, call });
            if let Some(failed) = open.takes_over.clone()
                && let Some((_, end)) = self.open.iter_mut().find(|(o, _)| o.segment == failed.segment)
            {
                *end = Some(failed.reason);
            }
        }
        let ports = streams
            .iter()
            .map(|s| {
                let port = self.port_of(s.stream);
                let at = |p| SocketAddr::new("0.0.0.0".parse().unwrap(), p);
                let is_stuck = self.is_stuck;
                StreamPorts { stream: s.stream, rtp: at(port), rtcp: at(port + 1), is_stuck }
            })
            .collect();
        self.front.handle_report(self.now, Report::Opened { segment, ports });
    }

    fn port_of(&mut self, stream: StreamId) -> u16 {
        let new = self.next_port;
        let Some(ports) = &mut self.ports else {
            self.next_port += 2;
            return new;
        };
        let known = ports.get(&stream).copied().filter(|_| !self.moves);
        self.next_port += if known.is_none() { 2 } else { 0 };
        *ports.entry(stream).insert_entry(known.unwrap_or(new)).get()
    }

    /// The oldest segment is sealed; by its own failure when one is given.
    fn sealed(&mut self, own: Option<EndReason>) {
        let (open, ordered) = self.open.remove(0);
        let end = own.or(ordered).expect("a segment that was told to end");
        let begun = RecordingState::begin(open.respondent);
        let record = SegmentRecord {
            id: open.segment,
            call: open.call,
            tenant: open.tenant.clone(),
            number: open.number,
            total: total::at_end(open.number, open.total, &end),
            node: NodeNumber::SINGLE,
            volume: Default::default(),
            state: begun.apply(end.transition()).unwrap(),
            respondent: open.respondent,
            started: open.started,
            ended: Some(self.now.wall),
            trigger: open.trigger.clone(),
            end: Some(end),
            stopped_by: None,
            pauses: Vec::new(),
            pauses_unlisted: 0,
            dtmf: model::Dtmf::Keep,
            encryption: Default::default(),
            data: open.data.clone(),
            metadata: vec![],
            streams: vec![],
            parts: vec![],
            sidecar: None,
        };
        self.front.handle_report(self.now, Report::Ended { record: Box::new(record) });
    }

    fn drain(&mut self) {
        let mut before = self.kept();
        let mut between = BTreeSet::new();
        while let Some(action) = self.front.poll_action() {
            if matches!(&action, Action::Order(Order::Join(_))) {
                // What was two calls is one from here on: something else has happened.
                self.nothing_flickered(&before, &between);
                (before, between) = (self.kept(), BTreeSet::new());
            }
            let text = self.describe(action);
            writeln!(self.out, "    {text}").unwrap();
            between.extend(self.kept());
        }
        self.nothing_flickered(&before, &between);
        self.existed = self.wanted.iter().flat_map(|(s, all)| all.iter().map(|o| (*s, o.stream))).collect();
    }

    /// No stream is kept for a moment that was not before and is not after.
    fn nothing_flickered(
        &self,
        before: &BTreeSet<(SegmentId, model::StreamId)>,
        between: &BTreeSet<(SegmentId, model::StreamId)>,
    ) {
        let after = self.kept();
        let known = between.iter().filter(|stream| self.existed.contains(stream));
        let moment: Vec<_> = known.filter(|s| !before.contains(s) && !after.contains(s)).collect();
        assert!(moment.is_empty(), "kept for a moment: {moment:?}\n{}", self.out);
    }

    /// The streams of which something is kept, as far as the record server was told.
    fn kept(&self) -> BTreeSet<(SegmentId, model::StreamId)> {
        let open = self.wanted.iter().filter(|(segment, _)| self.paused.get(segment) == Some(&false));
        let active = |s: &&model::OpenStream| s.flowing == Flowing::Active;
        open.flat_map(|(s, all)| all.iter().filter(active).map(|o| (*s, o.stream))).collect()
    }

    fn describe(&mut self, action: Action) -> String {
        match action {
            Action::Accept { session, sdp } => format!("200 s{} {}", session.0, picture(&sdp)),
            Action::Refuse { session, code, headers, .. } => {
                let contact = headers.iter().find(|(name, _)| name == "Contact");
                format!(
                    "{code} s{}{}",
                    session.0,
                    contact.map(|(_, to)| format!(" {to}")).unwrap_or_default()
                )
            }
            Action::Reoffer { session, sdp } => format!("INVITE s{} {}", session.0, picture(&sdp)),
            Action::AskMetadata { session, content_type, .. } => {
                format!("UPDATE s{} {content_type}", session.0)
            }
            Action::HangUp { session, reason } => format!("BYE s{} {reason}", session.0),
            Action::Order(Order::Open(open)) => {
                let paused = if open.pause.is_some() { " paused" } else { "" };
                let takes_over = open.takes_over.as_ref().map_or("", |_| " taking over");
                let wanted = streams(&open.streams);
                let masked = if open.dtmf.is_kept() { "" } else { " masked" };
                let text =
                    format!("open {}/{} {wanted}{takes_over}{paused}{masked}", open.number, open.total);
                for id in &open.data.sip_call_ids {
                    let session = id.trim_start_matches('s').trim_end_matches("@b").parse();
                    let session = session.map_or(self.session, SessionId);
                    self.called.insert(session, open.call);
                }
                self.first_stream = open.streams.first().map(|s| s.stream);
                self.paused.insert(open.segment, open.pause.is_some());
                self.wanted.insert(open.segment, open.streams.clone());
                self.unanswered.push((open.segment, open.streams.clone(), Asked::Open));
                self.open.push((*open, None));
                text
            }
            Action::Order(Order::Change { segment, streams: wanted }) => {
                let text = format!("change {}", streams(&wanted));
                self.wanted.insert(segment, wanted.clone());
                self.unanswered.push((segment, wanted, Asked::Change));
                text
            }
            Action::Order(Order::Annotate { metadata, .. }) => format!("annotate {} bodies", metadata.len()),
            Action::Order(Order::Pause { segment, order, by }) => {
                self.gates.push((segment, order));
                self.paused.insert(segment, true);
                format!("pause by {}", by.describe())
            }
            Action::Order(Order::Resume { segment, order, by }) => {
                self.gates.push((segment, order));
                self.paused.insert(segment, false);
                format!("resume by {}", by.describe())
            }
            Action::Order(Order::End { segment, reason, by, .. }) => {
                self.paused.remove(&segment);
                self.wanted.remove(&segment);
                let who = by.map(|by| format!(" of {by}")).unwrap_or_default();
                if let Some(open) = self.open.iter_mut().find(|(o, _)| o.segment == segment) {
                    open.1 = Some(reason.clone());
                }
                format!("end by {}{who}", reason.describe())
            }
            Action::Order(Order::Withdraw { .. }) => "withdraw".to_owned(),
            Action::Order(Order::Keys { segment, order, protection, .. }) => {
                self.gates.push((segment, order));
                format!("keys{}", protected(&protection))
            }
            Action::Order(Order::Conclude(c)) => {
                let after = c.from.map(|from| format!(" after {from}")).unwrap_or_default();
                let state = c.state.map_or("without a state".to_owned(), |state| state.to_string());
                format!("conclude {state} of {}{after}", c.total)
            }
            Action::Order(Order::Join(join)) => {
                assert!(join.is_sound());
                self.joins.push(join.clone());
                if join.numbers.is_empty() {
                    return format!("join with a call elsewhere by {}", join.why.describe());
                }
                self.records.remove(&join.from.call);
                self.numbers.remove(&join.from.call);
                let numbers = self.numbers.entry(join.into.call).or_default();
                let given: Vec<u16> = join.numbers.iter().map(|(_, n)| *n).collect();
                for number in &given {
                    assert!(numbers.insert(*number), "number {number} is given twice");
                }
                format!("join as {given:?} of {} by {}", join.total, join.why.describe())
            }
            Action::Tell(tenant, ChangeKind::Call(call)) => {
                self.records.insert(call.id, (*call).clone());
                let ended = if call.ended.is_some() { ", ended" } else { "" };
                assert_eq!(tenant, call.tenant);
                let whose = if tenant == TenantId::default() { String::new() } else { format!("{tenant}: ") };
                format!("{whose}tell call of {}{ended}", call.total)
            }
            Action::Tell(_, ChangeKind::Copy { copy, .. }) => format!("tell copy {}", copy.state),
            Action::Alarm(alarm) => format!("ALARM {}: {}", alarm.incident.name(), alarm.text),
            Action::Tell(_, other) => format!("tell {}", other.name()),
        }
    }
}

/// A front that takes so many calls, from everybody.
pub(crate) fn config(calls_max: usize) -> FrontConfig {
    FrontConfig {
        node: NodeNumber::SINGLE,
        tenant: TenantId::default(),
        trunks: Trunks::new(Vec::new(), TenantId::default()),
        tenant_calls_max: BTreeMap::new(),
        calls_max,
        linger: Duration::from_secs(3),
        hold_timeout: Duration::from_secs(7_200),
        inactive: Flowing::Held,
        pause_timeout: Duration::ZERO,
        orders_by_header: true,
        dtmf: model::Dtmf::Keep,
        video: true,
        address_v4: None,
        address_v6: None,
    }
}

fn streams(streams: &[model::OpenStream]) -> String {
    let all: Vec<_> = streams
        .iter()
        .map(|s| {
            let label = s.label.as_deref().unwrap_or("-");
            format!("{label}:{:?}:{:?}{}", s.side, s.flowing, protected(&s.protection)).to_lowercase()
        })
        .collect();
    all.join(" ")
}

/// How a stream is protected, with the first octet of its key.
fn protected(protection: &Protection) -> String {
    let first = |keys: &Keys| keys.masters[0].secret.expose()[0];
    match protection {
        Protection::None => String::new(),
        Protection::Awaited => ":awaited".to_owned(),
        Protection::Given(keys) => format!(":given {}", first(keys)),
        Protection::Srtp { inbound, .. } => format!(":srtp {}", first(inbound)),
        Protection::Dtls(handshake) => format!(":dtls {:?}", handshake.role),
    }
}

/// `m=` port and direction of each line of a description.
fn picture(sdp: &Bytes) -> String {
    let sdp = media::sdp::read(sdp).expect("our own description");
    let lines = sdp.media.iter().map(|m| {
        let line = format!("{}/{:?}", m.port, m.direction).to_lowercase();
        let keys: Vec<_> = m.security.crypto.iter().map(|c| c.tag.to_string()).collect();
        let setup = m.security.setup.map(|setup| format!("{setup:?}"));
        let said = [keys, setup.into_iter().collect()].concat().join(",");
        if m.is_encrypted() { format!("{line} by {} ({said})", m.protocol) } else { line }
    });
    lines.collect::<Vec<_>>().join(" ")
}
