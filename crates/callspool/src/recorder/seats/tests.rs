//! Senders that move, end and are heard late, clients that use an address again, strangers: against a model that knows
//! who sent what.

use std::time::Duration;

use model::peer::Family;
use model::{Mono, TenantId};
use proptest::prelude::{Just, Strategy, prop_assert, prop_assert_eq, proptest};
use proptest::prop_oneof;

use super::super::live::Which;
use super::super::ports::places::{Kind, Places, Wanted};
use super::*;

fn address(n: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 4_000 + n))
}

fn key(slot: usize) -> Key {
    Key::new(slot, 0, Which::Rtp)
}

/// A stream whose sender keeps to what signalling says, as the test knows it.
struct Stream {
    call: u64,
    tenant: bool,
    /// Where it sends from, by signalling.
    address: u16,
    /// From where to which port it sent, and until when. The latest last.
    routes: Vec<(u16, usize, Option<Mono>)>,
    seat: Option<(PairId, SeatId)>,
    slot: usize,
}

#[derive(Debug, Clone)]
enum Step {
    /// A stream of this call begins, of a client that sends from there.
    Begin {
        call: u64,
        tenant: bool,
        address: u16,
    },
    /// The sender of one moves.
    Move {
        stream: usize,
        address: u16,
    },
    /// Another segment takes over from that of one.
    TakeOver {
        stream: usize,
    },
    End {
        stream: usize,
    },
    /// One sends what it has to say, or what it sent before, by another way perhaps, comes only now.
    Send {
        stream: usize,
        before: usize,
        is_rtcp: bool,
    },
    /// One sends from the address that it announced last to a port that it was told before: of the other it has not heard yet.
    Early {
        stream: usize,
        before: usize,
    },
    /// Somebody sends something from an address that no stream there is at.
    Stranger {
        port: usize,
        address: u16,
    },
    Wait {
        seconds: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    // Few addresses, so that they are used again and again.
    let (stream, address) = (0_usize..40, 0_u16..12);
    prop_oneof![
        4 => (0..6_u64, proptest::bool::weighted(0.8), address.clone())
            .prop_map(|(call, tenant, address)| Step::Begin { call, tenant, address }),
        2 => (stream.clone(), address).prop_map(|(stream, address)| Step::Move { stream, address }),
        1 => stream.clone().prop_map(|stream| Step::TakeOver { stream }),
        2 => stream.clone().prop_map(|stream| Step::End { stream }),
        4 => (stream.clone(), 1_usize..4).prop_map(|(stream, before)| Step::Early { stream, before }),
        8 => (stream, prop_oneof![Just(0), 0_usize..4], proptest::bool::ANY)
            .prop_map(|(stream, before, is_rtcp)| Step::Send { stream, before, is_rtcp }),
        1 => (0_usize..6, 0_u16..14).prop_map(|(port, address)| Step::Stranger { port, address }),
        1 => prop_oneof![Just(1), Just(20), Just(63), Just(64)].prop_map(|seconds| Step::Wait { seconds }),
    ]
}

/// Where the RTP of a stream comes from, and its RTCP: the next one, which is where the RTP of another may.
fn both(n: u16) -> [SocketAddr; 2] {
    [address(n), address(n + 1)]
}

/// How late what is sent may come. A port is used again by another pair after that at the soonest.
const LATE: Duration = Duration::from_secs(63);

struct World {
    now: Mono,
    /// What a pair holds is its port.
    places: Places<usize>,
    seats: Seats,
    streams: Vec<Stream>,
    /// By port, which pair has it, and the key that its sockets are watched with.
    ports: Vec<Option<(PairId, Option<Key>)>>,
    slots: usize,
}

impl World {
    fn new(seats_max: usize) -> Self {
        Self {
            now: Mono::ZERO + Duration::from_secs(1_000),
            places: Places::new(seats_max),
            seats: Seats::default(),
            streams: Vec::new(),
            ports: Vec::new(),
            slots: 0,
        }
    }

    fn begin(&mut self, call: u64, tenant: bool, address: u16) {
        let (routes, seat, slot) = (Vec::new(), None, self.slots);
        self.slots += 1;
        self.streams.push(Stream { call, tenant, address, routes, seat, slot });
        self.seat(self.streams.len() - 1);
    }

    /// The sender of one moves.
    fn turn_to(&mut self, index: usize, to: u16) {
        let Some(at) = self.streams.get(index).and_then(|s| s.seat) else { return };
        self.streams[index].address = to;
        if self.places.keep(at, &both(to)) {
            self.places.turn(at, &both(to));
            self.sit(index);
            self.turn(index);
        } else {
            self.leave(index);
            self.seat(index);
        }
    }

    fn wanted(&self, stream: &Stream) -> Wanted {
        let tenant = if stream.tenant { TenantId::default() } else { "other".parse().unwrap() };
        let kind = Kind { tenant, family: Family::V4, rtcp_mux: false };
        let same = self.streams.iter().filter(|s| s.call == stream.call);
        let beside = same.filter_map(|s| s.seat).map(|(pair, _)| pair).collect();
        Wanted { kind, beside, addresses: both(stream.address).to_vec() }
    }

    /// A place for a stream, as the pool finds one: the first port that is free is used at once.
    fn seat(&mut self, index: usize) {
        let wanted = self.wanted(&self.streams[index]);
        let found = self.places.sit(&wanted).map(|(pair, seat, _)| (pair, seat));
        self.streams[index].seat = match found {
            None if self.places.may_open() => {
                let free = self.ports.iter().position(Option::is_none);
                let port = free.unwrap_or_else(|| {
                    self.ports.push(None);
                    self.ports.len() - 1
                });
                let at = self.places.open(&wanted, port);
                self.ports[port] = Some((at.0, None));
                Some(at)
            }
            // None: it has a port of its own, where nobody is confused with it.
            found => found,
        };
        self.sit(index);
        self.turn(index);
    }

    /// As a media thread has it.
    fn sit(&mut self, index: usize) {
        let Some(at) = self.streams[index].seat else { return };
        let addresses: Vec<SocketAddr> = self.places.addresses(at).collect();
        let key = self.seats.sit(at, &addresses, key(self.streams[index].slot));
        let port = self.port(at.0);
        self.ports[port] = Some((at.0, Some(key)));
    }

    fn port(&self, id: PairId) -> usize {
        self.ports.iter().position(|port| port.is_some_and(|(pair, _)| pair == id)).unwrap()
    }

    /// It sends by another way from now on, or by none.
    fn turn(&mut self, index: usize) {
        let (now, port) = (self.now, self.streams[index].seat.map(|(pair, _)| self.port(pair)));
        let stream = &mut self.streams[index];
        if let Some((.., until)) = stream.routes.last_mut() {
            until.get_or_insert(now);
        }
        stream.routes.extend(port.map(|port| (stream.address, port, None)));
    }

    fn leave(&mut self, index: usize) {
        let Some(at) = self.streams[index].seat.take() else { return };
        self.seats.leave(at);
        self.places.leave(self.now, at);
    }

    fn wait(&mut self, seconds: u64) {
        self.now = self.now + Duration::from_secs(seconds);
        for (id, port) in self.places.close(self.now) {
            self.seats.close(id);
            self.ports[port] = None;
        }
    }

    /// Whether signalling says now that what comes from there to this port is a stream's.
    fn is_at(&self, stream: &Stream, port: usize, from: u16) -> bool {
        let is_there = stream.seat.is_some_and(|(pair, _)| self.port(pair) == port);
        is_there && both(stream.address).contains(&address(from))
    }

    /// Who gets what comes to a port; the slot.
    fn owner(&self, port: usize, from: u16, which: Which) -> Option<usize> {
        let key = self.ports.get(port)?.as_ref()?.1?;
        let owner = self.seats.owner(key.at(which), address(from))?;
        assert_eq!(owner.which(), which);
        Some(owner.slot())
    }
}

proptest! {
    /// Whatever comes, no packet reaches a stream other than its sender's; what is sent as signalling says reaches that; all
    /// else is nobody's.
    #[test]
    fn what_is_sent_reaches_its_own_stream_or_nobody(
        steps in proptest::collection::vec(step(), 1..200),
        seats_max in 2_usize..8,
    ) {
        let mut world = World::new(seats_max);
        for step in steps {
            match step {
                Step::Begin { call, tenant, address } => {
                    // Calls are of one tenant.
                    world.begin(call << 1 | u64::from(tenant), tenant, address);
                }
                Step::Move { stream, address } => world.turn_to(stream, address),
                Step::TakeOver { stream } => {
                    if let Some(taken) = world.streams.get_mut(stream).filter(|s| s.seat.is_some()) {
                        taken.slot = world.slots;
                        world.slots += 1;
                        world.sit(stream);
                    }
                }
                Step::End { stream } => {
                    if world.streams.get(stream).is_some_and(|s| s.seat.is_some()) {
                        world.leave(stream);
                        world.turn(stream);
                    }
                }
                Step::Send { stream, before, is_rtcp } => {
                    let Some(sender) = world.streams.get(stream) else { continue };
                    let Some((from, to, until)) = sender.routes.iter().rev().nth(before) else { continue };
                    let (from, which) = if is_rtcp { (from + 1, Which::Rtcp) } else { (*from, Which::Rtp) };
                    let owner = world.owner(*to, from, which);
                    match until {
                        None => prop_assert_eq!(owner, Some(sender.slot)),
                        // However late it is, if its pair is open still; and it is, or another has its port no sooner.
                        Some(until) if world.now.since(*until) <= LATE => {
                            prop_assert!(owner.is_none_or(|owner| owner == sender.slot && world.is_at(sender, *to, from)));
                        }
                        Some(_) => {}
                    }
                }
                Step::Early { stream, before } => {
                    let Some(sender) = world.streams.get(stream).filter(|s| s.seat.is_some()) else { continue };
                    let Some((_, to, Some(until))) = sender.routes.iter().rev().nth(before) else { continue };
                    let is_another_there = world.streams.iter().any(|s| {
                        s.slot != sender.slot && world.is_at(s, *to, sender.address)
                    });
                    // Two that say at a time that they are there are told apart by nothing.
                    if world.now.since(*until) <= LATE && !is_another_there {
                        let owner = world.owner(*to, sender.address, Which::Rtp);
                        prop_assert!(owner.is_none_or(|owner| owner == sender.slot));
                    }
                }
                Step::Stranger { port, address: from } => {
                    let has = |s: &Stream| s.seat.is_some_and(|at| {
                        world.port(at.0) == port && world.places.addresses(at).any(|a| a == address(from))
                    });
                    let is_nobodys = !world.streams.iter().any(has);
                    prop_assert!(!is_nobodys || world.owner(port, from, Which::Rtp).is_none());
                }
                Step::Wait { seconds } => world.wait(seconds),
            }
            // No address of a pair is of two, and nobody sits beside his own call or another tenant.
            let live = || world.streams.iter().filter_map(|s| Some((s.seat?, s)));
            for (at, one) in live() {
                for (_, other) in live().filter(|(other, _)| other.0 == at.0 && other.1 != at.1) {
                    prop_assert!(one.call != other.call && one.tenant == other.tenant);
                }
                prop_assert!(world.places.addresses(at).count() > 0);
            }
        }
        // When all have gone, nothing is left of them.
        (0..world.streams.len()).for_each(|stream| world.leave(stream));
        world.wait(64);
        prop_assert!(world.ports.iter().all(Option::is_none));
        prop_assert_eq!((world.seats.by_id.len(), world.seats.free.len()), (0, world.seats.pairs.len()));
    }
}

/// One moves away from an address, and another gets it before it has heard that its own port has changed by that.
#[test]
fn what_comes_from_where_a_sender_was_is_nobodys() {
    let mut world = World::new(4);
    for (call, address) in [(0, 0), (1, 4)] {
        world.begin(call, true, address);
    }
    let port = world.streams[0].routes[0].1;
    assert_eq!((world.owner(port, 0, Which::Rtp), world.owner(port, 4, Which::Rtp)), (Some(0), Some(1)));
    world.turn_to(0, 8);
    assert_eq!((world.owner(port, 8, Which::Rtp), world.owner(port, 0, Which::Rtp)), (Some(0), None));
    world.turn_to(1, 0);
    let other = world.streams[1].routes[1].1;
    assert!(other != port && world.owner(other, 0, Which::Rtp) == Some(1));
    assert_eq!([0, 1, 4].map(|from| world.owner(port, from, Which::Rtcp)), [None; 3]);
}

#[test]
fn an_address_is_its_number_and_port_however_it_is_written() {
    let mut seats = Seats::default();
    let wanted = |address: &str| Wanted {
        kind: Kind { tenant: TenantId::default(), family: Family::V4, rtcp_mux: false },
        beside: Vec::new(),
        addresses: vec![address.parse().unwrap()],
    };
    let mut places = Places::new(2);
    for (said, comes) in
        [("[::ffff:192.0.2.7]:4000", "192.0.2.7:4000"), ("[2001:db8::1]:4000", "[2001:db8::1%3]:4000")]
    {
        let at = places.open(&wanted(said), ());
        let pair = seats.sit(at, &[said.parse().unwrap()], key(5));
        assert_eq!(seats.owner(pair.at(Which::Rtcp), comes.parse().unwrap()), Some(key(5).at(Which::Rtcp)));
        assert_eq!(seats.owner(pair, "192.0.2.7:4001".parse().unwrap()), None);
        // A key of a stream's own is of no pair.
        assert_eq!(seats.owner(key(5), comes.parse().unwrap()), None);
    }
}
