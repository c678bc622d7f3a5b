//! Segments with sockets on loopback: what a change that cannot be had does to the rest, and what a segment that takes over
//! keeps of what waits.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};

use model::peer::Family;
use model::{CallId, Codec, EndReason, MediaKind, NodeNumber, Protection, Route, Side, StreamId};

use super::super::handshakes::Knocks;
use super::super::ports::{PortConfig, Ports};
use super::super::source::{Left, Prepared, Source};
use super::super::writer::Ops;
use super::*;
use crate::clock::now;

/// An address of loopback that nobody else binds.
fn ports() -> Berths {
    shared_by(1)
}

/// The same for so many streams on a pair.
fn shared_by(streams: usize) -> Berths {
    let local = IpAddr::V4(Ipv4Addr::new(127, 44, 0, 9));
    let config = PortConfig {
        listen_v4: Some(local),
        listen_v6: None,
        advertised_v4: None,
        advertised_v6: None,
        min: 9_600,
        max: 9_999,
        receive_buffer: 64 << 10,
        is_held: false,
    };
    let ports = Arc::new(Ports::new(config, Knocks::new().0));
    Berths::new(vec![ports], streams, &Arc::default()).remove(0)
}

/// The first leg has slots from 0, the second from 64.
fn stream(id: u64, slot: u16, flowing: Flowing) -> OpenStream {
    OpenStream {
        stream: StreamId::from_u64(id),
        slot,
        label: None,
        kind: MediaKind::Audio,
        side: Side::Mixed,
        codecs: vec![(0, Codec::new("PCMU", 8_000, 1))],
        family: Family::V4,
        remote: None,
        remote_rtcp: None,
        may_share: false,
        route: Route::Direct,
        rtcp_mux: false,
        flowing,
        protection: Protection::None,
        ice: None,
    }
}

fn segment(id: u64, streams: Vec<OpenStream>, takes_over: Option<TakeOver>, ports: &Berths) -> LiveSegment {
    let now = now();
    let (segment, call) = (SegmentId::from_u64(id), CallId::from_u64(1));
    let order = OpenSegment { takes_over, ..OpenSegment::first(segment, call, now.wall, streams) };
    let writer = SegmentWriter::open(&order, NodeNumber::SINGLE, now);
    let bound = match order.takes_over {
        Some(_) => Vec::new(),
        None => LiveStream::bind_all(&order, ports, now.mono, Gate::Open).unwrap(),
    };
    LiveSegment::new(&order, now, 0, writer, bound)
}

/// Somebody talks to a stream: so many packets, of which each is known by its place.
fn talk(live: &LiveSegment, places: std::ops::Range<u16>) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for place in places {
        let mut packet = vec![0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];
        packet[2..4].copy_from_slice(&place.to_be_bytes());
        packet[4..8].copy_from_slice(&(u32::from(place) * 160).to_be_bytes());
        packet.extend([0x55; 160]);
        socket.send_to(&packet, live.streams[0].ports.rtp).unwrap();
    }
}

/// What a media thread has beside segments.
struct Thread {
    source: Source,
    aside: Aside,
}

impl Thread {
    fn new() -> Self {
        Self { source: Prepared::polled().unwrap().begin(), aside: Aside::default() }
    }

    /// Hands a segment what has come to its sockets.
    fn read(&mut self, live: &mut LiveSegment) {
        for stream in 0..live.streams.len() {
            for (which, socket) in live.sockets(stream) {
                self.source.watch(Key::new(0, stream, which), socket, 1).unwrap();
            }
        }
        let Self { source, aside } = self;
        while source.take(now().wall, &mut |key, d| assert!(live.take(now(), key, &d, aside))).1
            == Left::Something
        {}
    }
}

/// How many packets of the first stream arrived in a pause.
fn discarded(live: &LiveSegment) -> u64 {
    live.streams[0].receiver.accounting().discarded
}

const ALICE: fn() -> PauseSource = || PauseSource::Api("alice".to_owned());

#[test]
fn a_leg_that_asks_for_too_much_takes_nothing_from_another() {
    let (ports, mut aside) = (ports(), Aside::default());
    let mine = || stream(1, 0, Flowing::Active);
    let mut live = segment(1, vec![mine()], None, &ports);
    // Another leg has all the streams that it may have had, one after the other.
    let most = u64::try_from(STREAMS_PER_LEG).unwrap();
    for n in 0..most {
        let other = stream(100 + n, 64, Flowing::Active);
        let changed = live.change(now(), &[mine(), other], Ok(&ports), &mut aside);
        assert!(changed.had.is_ok() && changed.watch.len() == 1, "{n}");
        assert_eq!(changed.gone.len(), usize::from(n > 0));
    }
    let (last, next) = (stream(99 + most, 64, Flowing::Active), stream(100 + most, 64, Flowing::Active));
    let more = [mine(), stream(2, 1, Flowing::Active), next.clone()];
    let changed = live.change(now(), &more, Ok(&ports), &mut aside);
    assert!(
        changed.had.is_err() && changed.watch.len() == 1,
        "the first leg has another line, the second one has not"
    );
    let has = |live: &LiveSegment, id: u64| live.ports().iter().any(|p| p.stream == StreamId::from_u64(id));
    assert!(has(&live, 1) && has(&live, 2));
    assert!(has(&live, 99 + most) && !has(&live, 100 + most), "it has what it had");
    // Nor does it keep others from being paused, resumed, and closed.
    for flowing in [Flowing::Paused, Flowing::Active] {
        let changed = live.change(now(), &[stream(1, 0, flowing), next.clone()], Ok(&ports), &mut aside).had;
        assert!(changed.is_err() && live.streams[0].open.flowing == flowing && !has(&live, 2));
    }
    let changed = live.change(now(), &[next], Ok(&ports), &mut aside).had;
    assert!(changed.is_err() && !has(&live, 1), "who is gone is not recorded");
    let why = || Failure::Resources("none are left".to_owned());
    let changed = live.change(now(), &[mine(), last], Err(why()), &mut aside).had;
    assert!(changed.is_err() && !has(&live, 1) && has(&live, 99 + most));
}

#[test]
fn what_waits_when_a_segment_takes_over_is_not_kept_if_it_was_paused_meanwhile() {
    let failed = || TakeOver {
        segment: SegmentId::from_u64(1),
        reason: EndReason::Internal(Failure::Storage("EIO".to_owned())),
    };
    for (resumes, is_taken) in [(false, false), (false, true), (true, true)] {
        let (ports, mut thread) = (ports(), Thread::new());
        let streams = || vec![stream(1, 0, Flowing::Active)];
        let mut old = segment(1, streams(), None, &ports);
        let mut new = segment(2, streams(), Some(failed()), &ports);
        old.suspend();
        old.pause(now(), ALICE());
        talk(&old, 0..50);
        if is_taken {
            thread.read(&mut old);
        }
        if resumes {
            old.resume(now(), ALICE());
        }
        new.inherit(now(), &mut old, &mut thread.aside);
        let wanted = new.wanted();
        new.change(now(), &wanted, Ok(&ports), &mut thread.aside).had.unwrap();
        let before = new.writer.buffered();
        thread.read(&mut new);
        new.tick(now());
        assert_eq!(new.writer.buffered(), before, "resumes: {resumes}, taken: {is_taken}");
        assert_eq!((discarded(&old), discarded(&new)), if is_taken { (50, 0) } else { (0, 50) });
        // It is told itself, and goes on as ever.
        new.pause(now(), ALICE());
        new.resume(now(), ALICE());
        assert_eq!(new.streams[0].open.flowing, Flowing::Active);
    }
}

#[test]
fn what_was_set_aside_before_a_pause_is_recorded_by_the_segment_that_takes_over() {
    let failed = TakeOver {
        segment: SegmentId::from_u64(1),
        reason: EndReason::Internal(Failure::Storage("EIO".to_owned())),
    };
    for paused in [false, true] {
        let (ports, mut thread) = (ports(), Thread::new());
        let streams = || vec![stream(1, 0, Flowing::Active)];
        let mut old = segment(1, streams(), None, &ports);
        let mut new = segment(2, streams(), Some(failed.clone()), &ports);
        old.suspend();
        talk(&old, 0..50);
        thread.read(&mut old);
        if paused {
            old.pause(now(), ALICE());
            talk(&old, 50..100);
            thread.read(&mut old);
        }
        let before = new.writer.buffered();
        new.inherit(now(), &mut old, &mut thread.aside);
        let wanted = new.wanted();
        new.change(now(), &wanted, Ok(&ports), &mut thread.aside).had.unwrap();
        new.tick(now());
        assert_eq!(new.streams[0].receiver.accounting().received, 50, "paused: {paused}");
        assert!(new.writer.buffered() > before + 50 * 160);
        assert_eq!((discarded(&old), discarded(&new)), if paused { (50, 0) } else { (0, 0) });
        assert_eq!(new.streams[0].open.flowing == Flowing::Paused, paused);
    }
}

#[test]
fn nothing_of_a_pause_is_kept_that_waits_when_it_ends_however_much_that_is() {
    let (ports, mut thread) = (ports(), Thread::new());
    let mut live = segment(1, vec![stream(1, 0, Flowing::Active)], None, &ports);
    talk(&live, 0..10);
    thread.read(&mut live);
    live.pause(now(), ALICE());
    // The buffer of a socket holds about as many.
    talk(&live, 10..110);
    live.resume(now(), ALICE());
    talk(&live, 110..120);
    thread.read(&mut live);
    live.tick(now());
    let counts = live.streams[0].receiver.accounting();
    assert!(counts.received >= 100 && counts.discarded >= 80, "{counts:?}");
    // What was said in the pause is not kept either, so these may be fewer than ten.
    assert!(live.writer.buffered() < 30 * 200, "{}", live.writer.buffered());
}

#[test]
fn a_stream_that_is_paused_while_its_segment_is_taken_over_stays_so() {
    let (ports, mut thread) = (ports(), Thread::new());
    let failed = TakeOver {
        segment: SegmentId::from_u64(1),
        reason: EndReason::Internal(Failure::Storage("EIO".to_owned())),
    };
    let streams = || vec![stream(1, 0, Flowing::Active), stream(2, 64, Flowing::Active)];
    let mut old = segment(1, streams(), None, &ports);
    let mut new = segment(2, streams(), Some(failed), &ports);
    let paused = [stream(1, 0, Flowing::Paused), stream(2, 64, Flowing::Active)];
    old.change(now(), &paused, Ok(&ports), &mut thread.aside).had.unwrap();
    talk(&old, 0..50);
    new.inherit(now(), &mut old, &mut thread.aside);
    let wanted = new.wanted();
    new.change(now(), &wanted, Ok(&ports), &mut thread.aside).had.unwrap();
    let before = new.writer.buffered();
    thread.read(&mut new);
    assert_eq!((new.writer.buffered(), discarded(&new)), (before, 50));
    assert_eq!(new.streams[1].open.flowing, Flowing::Active);
    new.change(now(), &streams(), Ok(&ports), &mut thread.aside).had.unwrap();
    assert_eq!(new.streams[0].open.flowing, Flowing::Active);
}

/// A packet of G.711 in order.
fn packet(stream: u8, place: u16) -> Vec<u8> {
    let mut packet = vec![0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, stream];
    packet[2..4].copy_from_slice(&place.to_be_bytes());
    packet[4..8].copy_from_slice(&(u32::from(place) * 160).to_be_bytes());
    packet.extend([0x55; 160]);
    packet
}

#[test]
fn neither_a_packet_nor_a_flush_allocates() {
    let ports = ports();
    let streams = vec![stream(1, 0, Flowing::Active), stream(2, 1, Flowing::Active)];
    let mut live = segment(1, streams, None, &ports);
    let (begun, from) = (now(), SocketAddr::from(([127, 44, 0, 9], 4_000)));
    let (mut aside, mut spare, mut ops) = (Aside::default(), Vec::new(), Vec::new());
    let (mut by_packets, mut flushes, mut allocating) = (0, 0, 0);
    let allocations = |run: &mut dyn FnMut()| allocation_counter::measure(run).count_total;
    for place in 0..6_000 {
        let now = begun + Duration::from_millis(20) * u32::from(place);
        for stream in [0, 1] {
            let bytes = packet(stream, place);
            let key = Key::new(0, usize::from(stream), Which::Rtp);
            let datagram = Datagram { at: now.wall, from, bytes: &bytes };
            let taken = allocations(&mut || assert!(live.take(now, key, &datagram, &mut aside)));
            by_packets += if place < 50 { 0 } else { taken };
        }
        if place % 5 == 4 {
            let mut job = Ops::new();
            let flushed = allocations(&mut || {
                live.tick(now);
                live.flush(now, &mut spare, &mut ops);
                job = ops.drain(..).collect();
            });
            for op in job {
                if let FileOp::Append { mut bytes, .. } = op {
                    bytes.clear();
                    spare.push(bytes);
                }
            }
            flushes += 1;
            allocating += i32::from(flushed > 0);
        }
    }
    assert_eq!(live.records().iter().map(|r| r.accounting.received).sum::<u64>(), 12_000);
    assert_eq!(by_packets, 0);
    // Each five seconds the length of the part is stamped and records are looked at, each minute there is a manifest.
    assert!(allocating * 15 < flushes, "{allocating} of {flushes} flushes allocate");
}

#[test]
fn what_a_packet_asks_for_stands_together() {
    // Each cache line (64 octets) more is one more that thousands of segments wait for, packet by packet.
    let ports = ports();
    let live = segment(1, vec![stream(1, 0, Flowing::Active)], None, &ports);
    let segment = offset_of!(LiveSegment, writer) + SegmentWriter::AT_HAND;
    let (_, stream) = live.streams[0].at_hand();
    let mut behind = Vec::new();
    live.writer.at_hand(&mut |_, octets| behind.push(octets));
    println!(
        "segment {segment} of {}, stream {stream} of {}, behind the writer {behind:?}",
        size_of::<LiveSegment>(),
        size_of::<LiveStream>()
    );
    assert!(segment <= 8 * 64, "{segment}");
    assert!(stream <= 15 * 64, "{stream}");
    assert!(behind.iter().sum::<usize>() <= 8 * 64, "{behind:?}");
    // And what a call keeps in memory.
    assert!(live.streams.capacity() == 1 && size_of::<LiveStream>() <= 2_048, "{}", size_of::<LiveStream>());
}

/// One whose sender is there, as is promised of him.
fn at(id: u64, slot: u16, remote: &str) -> OpenStream {
    OpenStream { remote: remote.parse().ok(), may_share: true, ..stream(id, slot, Flowing::Active) }
}

#[test]
fn a_stream_on_a_shared_port_stays_where_it_can_and_else_moves() {
    let ports = shared_by(4);
    let mut thread = Thread::new();
    let mut live = segment(1, vec![at(1, 0, "192.0.2.1:4000")], None, &ports);
    let other = segment(2, vec![at(2, 0, "192.0.2.1:5000")], None, &ports);
    let at_first = live.ports()[0].rtp;
    assert_eq!((at_first, live.ports_held()), (other.ports()[0].rtp, 0));
    let mut change = |live: &mut LiveSegment, wanted: OpenStream, may: bool| {
        let needed = live.fresh_among(std::slice::from_ref(&wanted)).count();
        let none = Failure::Resources("none".to_owned());
        let granted = if may { Ok(&ports) } else { Err(none) };
        let changed = live.change(now(), &[wanted], granted, &mut thread.aside);
        let told = live.ports().remove(0);
        let stays = told.rtp == at_first;
        assert_eq!((told.is_stuck, changed.gone.len()), (changed.had.is_err(), usize::from(!stays)));
        (needed, stays, changed.had.is_ok())
    };
    // What says nothing new needs nothing, nor does what nobody has; but that is not known before.
    assert_eq!(change(&mut live, at(1, 0, "192.0.2.1:4000"), false), (0, true, true));
    assert_eq!(change(&mut live, at(1, 0, ""), false), (0, true, true));
    assert_eq!(change(&mut live, at(1, 0, "192.0.2.9:4000"), false), (1, true, true));
    let is_at = |live: &LiveSegment| live.seat(0).unwrap().addresses().first().map(ToString::to_string);
    assert_eq!(is_at(&live).as_deref(), Some("192.0.2.9:4000"));
    // Where there is nothing to move to, it is refused: it has its port, and is heard once it is where it was again.
    assert_eq!(change(&mut live, at(1, 0, "192.0.2.1:5000"), false), (1, true, false));
    assert_eq!(is_at(&live), None);
    assert_eq!(change(&mut live, at(1, 0, "192.0.2.9:4000"), false), (1, true, true));
    assert_eq!(is_at(&live).as_deref(), Some("192.0.2.9:4000"));
    assert_eq!(change(&mut live, at(1, 0, "192.0.2.1:5000"), true), (1, false, true));
    assert_eq!(live.ports_held(), 0, "it is on another pair");
}

#[test]
fn who_turns_to_what_never_shares_has_ports_of_its_own() {
    let ports = shared_by(4);
    let mut aside = Aside::default();
    let mut live = segment(1, vec![at(1, 0, "192.0.2.1:4000")], None, &ports);
    let wanted = OpenStream { protection: Protection::Awaited, ..at(1, 0, "192.0.2.1:4000") };
    let changed = live.change(now(), &[wanted], Ok(&ports), &mut aside);
    assert_eq!((changed.gone.len(), live.ports_held(), live.ports()[0].is_stuck), (1, 2, false));
    // And stays there.
    let changed = live.change(now(), &[at(1, 0, "192.0.2.1:4000")], Ok(&ports), &mut aside);
    assert_eq!((changed.gone.len(), live.ports_held(), live.ports()[0].is_stuck), (0, 2, false));
}

#[test]
fn no_two_lines_of_one_description_have_one_port_whenever_they_come() {
    let ports = shared_by(8);
    let mut live = segment(1, vec![at(1, 0, "192.0.2.1:4000"), at(2, 1, "192.0.2.1:5000")], None, &ports);
    let wanted: Vec<OpenStream> = (1..=4)
        .map(|n| at(n, u16::try_from(n).unwrap() - 1, &format!("192.0.2.1:{}", 3_000 + n * 1_000)))
        .collect();
    live.change(now(), &wanted, Ok(&ports), &mut Aside::default());
    let all: BTreeSet<SocketAddr> = live.ports().iter().map(|ports| ports.rtp).collect();
    assert_eq!(all.len(), 4);
    // Another segment finds seats on the same.
    let other =
        segment(2, (5..=8).map(|n| at(n, 0, &format!("192.0.2.2:{}", n * 1_000))).collect(), None, &ports);
    assert_eq!(other.ports().iter().map(|ports| ports.rtp).collect::<BTreeSet<_>>(), all);
}
