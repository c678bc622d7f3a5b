//! Calls that another proxy carries on: nothing of them stays here, and nothing is said of them later.

use std::time::Duration;

use call::{PeerEvent, RecordServers, ServersConfig, Step};
use model::{
    Beat, CallId, Hello, Mono, NodeNumber, Now, OpenSegment, Order, PeerName, Report, SegmentId, Standing,
    TenantId, WallTime,
};

const A: &str = "a";
const B: &str = "b";

fn name(n: &str) -> PeerName {
    n.parse().unwrap()
}

fn now(ms: u64) -> Now {
    Now { mono: Mono(ms * 1_000_000), wall: WallTime(0) }
}

fn open() -> OpenSegment {
    OpenSegment::first(SegmentId::from_u64(1), CallId::from_u64(1), WallTime(0), Vec::new())
}

fn opened() -> PeerEvent {
    PeerEvent::Report(Report::Opened { segment: SegmentId::from_u64(1), ports: Vec::new() })
}

/// Two record servers, of which these take calls.
fn up(names: &[&str]) -> RecordServers {
    let (beat, remembered) = (Duration::from_millis(100), Duration::from_secs(60));
    let config = ServersConfig { tenant: TenantId::default(), beat, remembered };
    let mut servers = RecordServers::new(config, [name(A), name(B)]);
    for name in names.iter().copied().map(name) {
        let hello = Hello { name: name.clone(), node: NodeNumber::SINGLE, run: 1, segments: Vec::new() };
        servers.handle_event(now(0), &name, PeerEvent::Up(hello));
        let (at, loads, standing) = (WallTime(0), Vec::new(), Standing::Taking);
        let beat = Beat { number: 1, at, recordings: 0, loads, standing, heard: None };
        servers.handle_event(now(0), &name, PeerEvent::Beat(beat));
    }
    servers
}

fn steps(servers: &mut RecordServers) -> Vec<Step> {
    std::iter::from_fn(|| servers.poll_step()).collect()
}

/// Who got an order to open something.
fn asked(servers: &mut RecordServers) -> PeerName {
    let asked = steps(servers).into_iter().find_map(|step| match step {
        Step::Send { to, order: Order::Open(_) } => Some(to),
        _ => None,
    });
    asked.expect("an order to open it")
}

/// The segment is live, and its second copy is asked for: where the two are.
fn copied(servers: &mut RecordServers) -> (PeerName, PeerName) {
    servers.order(now(0), Order::Open(Box::new(open())));
    let first = asked(servers);
    servers.handle_event(now(0), &first, opened());
    servers.copy(now(0), open());
    let second = asked(servers);
    (first, second)
}

/// Nothing but a proxy whose record servers are silent says something after all this time.
fn check_silent(servers: &mut RecordServers) {
    while let Some(next) = servers.next_timeout().filter(|next| *next < now(30_000).mono) {
        servers.handle_timeout(Now { mono: next, wall: WallTime(0) });
        for step in steps(servers) {
            let is_of_links = match &step {
                Step::Probe(_) | Step::Drop(_) => true,
                Step::Alarm(alarm) => alarm.text.contains("is gone"),
                _ => false,
            };
            assert!(is_of_links, "{step:?}");
        }
    }
}

#[test]
fn a_second_copy_ends_unless_it_is_where_the_call_went() {
    for is_live in [false, true] {
        let mut servers = up(&[A, B]);
        let (first, second) = copied(&mut servers);
        if is_live {
            servers.handle_event(now(0), &second, opened());
            steps(&mut servers);
        }
        let forgotten = servers.forget_call(now(1), CallId::from_u64(1), &first);
        assert_eq!(forgotten, [SegmentId::from_u64(1)]);
        let sent = steps(&mut servers);
        assert!(
            matches!(&sent[..], [Step::Send { to, order: Order::End { .. } }] if *to == second),
            "{sent:?}"
        );
        assert_eq!(servers.remembered(), 1, "the end that {second} is owed");
        check_silent(&mut servers);
    }
    let mut servers = up(&[A, B]);
    let (first, second) = copied(&mut servers);
    servers.forget_call(now(1), CallId::from_u64(1), &second);
    let sent = steps(&mut servers);
    assert!(matches!(&sent[..], [Step::Send { to, order: Order::End { .. } }] if *to == first), "{sent:?}");
    check_silent(&mut servers);
}

#[test]
fn an_order_that_waits_for_a_record_server_is_forgotten_with_its_call() {
    let mut servers = up(&[A]);
    servers.handle_event(now(0), &name(A), PeerEvent::Closed("it is cut off".to_owned()));
    steps(&mut servers);
    servers.order(now(1), Order::Open(Box::new(open())));
    assert_eq!(steps(&mut servers), [], "it waits");
    let forgotten = servers.forget_call(now(2), CallId::from_u64(1), &name(A));
    assert_eq!((forgotten, servers.remembered()), (vec![SegmentId::from_u64(1)], 0));
    check_silent(&mut servers);
}
