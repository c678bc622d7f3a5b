//! What is limited, and what passes where there is one record server only.

use std::time::Duration;

use call::{PeerEvent, PeerStanding, RecordServers, Room, ServersConfig, Step};
use model::{
    Beat, CallId, Conclusion, EndReason, Hello, Incident, Mono, NodeNumber, Now, OpenSegment, Order,
    PeerName, RecordingState, Report, SegmentId, Standing, TenantId, WallTime,
};

fn name() -> PeerName {
    "a".parse().unwrap()
}

fn now(ms: u64) -> Now {
    Now { mono: Mono(ms * 1_000_000), wall: WallTime(0) }
}

fn open(n: u64) -> Order {
    let (segment, call) = (SegmentId::from_u64(n), CallId::from_u64(n));
    Order::Open(Box::new(OpenSegment::first(segment, call, WallTime(0), Vec::new())))
}

fn end(n: u64) -> Order {
    let segment = SegmentId::from_u64(n);
    Order::End { segment, at: WallTime(0), reason: EndReason::HangUp, by: None }
}

fn opened(n: u64) -> PeerEvent {
    PeerEvent::Report(Report::Opened { segment: SegmentId::from_u64(n), ports: Vec::new() })
}

/// One record server that takes calls; these are live there.
fn up(live: &[u64]) -> RecordServers {
    let config = ServersConfig {
        tenant: TenantId::default(),
        beat: Duration::from_millis(100),
        remembered: Duration::from_secs(60),
    };
    let mut servers = RecordServers::new(config, [name()]);
    let segments = live.iter().copied().map(SegmentId::from_u64).collect();
    let hello = Hello { name: name(), node: NodeNumber::SINGLE, run: 1, segments };
    servers.handle_event(now(0), &name(), PeerEvent::Up(hello));
    let beat = Beat {
        number: 1,
        at: WallTime(0),
        recordings: 0,
        loads: vec![],
        standing: Standing::Taking,
        heard: None,
    };
    servers.handle_event(now(0), &name(), PeerEvent::Beat(beat));
    servers
}

fn steps(servers: &mut RecordServers) -> Vec<Step> {
    std::iter::from_fn(|| servers.poll_step()).collect()
}

/// The orders that record servers are given.
fn sent(servers: &mut RecordServers) -> Vec<Order> {
    let order = |step| match step {
        Step::Send { order, .. } => Some(order),
        _ => None,
    };
    steps(servers).into_iter().filter_map(order).collect()
}

fn conclude(n: u64, state: RecordingState) -> Order {
    Order::Conclude(Conclusion {
        call: CallId::from_u64(n),
        call_started: WallTime(0),
        tenant: TenantId::default(),
        total: 1,
        from: None,
        state: Some(state),
    })
}

#[test]
fn where_there_is_one_everything_passes_and_nothing_is_timed() {
    let mut servers = RecordServers::alone(name());
    servers.order(now(0), open(1));
    servers.handle_event(now(0), &name(), opened(1));
    servers.handle_event(now(0), &name(), PeerEvent::Closed("nobody closes it".to_owned()));
    let PeerEvent::Report(report) = opened(1) else { panic!("a report") };
    assert_eq!(steps(&mut servers), [Step::Send { to: name(), order: open(1) }, Step::Report(report)]);
    assert_eq!((servers.next_timeout(), servers.room(), servers.remembered()), (None, Room::Free, 0));
}

#[test]
fn more_segments_than_can_be_remembered_are_refused() {
    let mut servers = up(&[]);
    for n in 1..=65_536 {
        servers.order(now(0), open(n));
        servers.handle_event(now(0), &name(), opened(n));
        steps(&mut servers);
    }
    servers.order(now(0), open(70_000));
    let refused = steps(&mut servers);
    assert!(matches!(&refused[..], [Step::Report(Report::Refused { .. })]), "{refused:?}");
    let views = servers.peers();
    assert_eq!((views[0].segments, &views[0].standing), (65_536, &PeerStanding::Says(Standing::Taking)));
}

#[test]
fn of_concluded_calls_only_so_many_are_remembered_and_what_comes_late_of_others_is_told_of() {
    let mut servers = up(&[]);
    for n in 1..=5_000 {
        servers.order(now(0), open(n));
        servers.handle_event(now(0), &name(), opened(n));
        servers.order(now(0), end(n));
        let record = Report::Ended { record: Box::new(record(n)) };
        servers.handle_event(now(0), &name(), PeerEvent::Report(record));
        servers.order(now(0), conclude(n, RecordingState::Complete));
        steps(&mut servers);
    }
    assert_eq!(servers.remembered(), 4_096);
    // The first are forgotten.
    servers.order(now(0), conclude(1, RecordingState::Partial));
    let told = steps(&mut servers);
    assert!(matches!(&told[..], [Step::Alarm(alarm)] if alarm.incident == Incident::Limit), "{told:?}");
    servers.order(now(0), conclude(5_000, RecordingState::Partial));
    assert_eq!(sent(&mut servers), [conclude(5_000, RecordingState::Partial)]);
}

fn record(n: u64) -> model::SegmentRecord {
    model::SegmentRecord {
        id: SegmentId::from_u64(n),
        call: CallId::from_u64(n),
        tenant: TenantId::default(),
        number: 1,
        total: 1,
        node: NodeNumber::SINGLE,
        volume: Default::default(),
        state: RecordingState::Partial,
        respondent: model::state::Respondent::No,
        started: WallTime(0),
        ended: Some(WallTime(0)),
        trigger: model::StartTrigger::Manager,
        end: Some(EndReason::HangUp),
        stopped_by: None,
        pauses: Vec::new(),
        pauses_unlisted: 0,
        dtmf: model::Dtmf::Keep,
        encryption: Default::default(),
        data: model::CallData::default(),
        metadata: Vec::new(),
        streams: Vec::new(),
        parts: Vec::new(),
        sidecar: None,
    }
}
