//! Who sits beside whom, what rests, and what there is a limit to.

use super::*;

fn wanted(addresses: &[&str]) -> Wanted {
    let kind = Kind { tenant: TenantId::default(), family: Family::V4, rtcp_mux: false };
    let addresses = addresses.iter().map(|a| a.parse().unwrap()).collect();
    Wanted { kind, beside: Vec::new(), addresses }
}

fn at(seconds: u64) -> Mono {
    Mono::ZERO + Duration::from_secs(seconds)
}

/// With one on a pair that holds "first".
fn places(seats_max: usize) -> (Places<&'static str>, (PairId, SeatId)) {
    let mut places = Places::new(seats_max);
    let seat = places.open(&wanted(&["192.0.2.1:4000", "192.0.2.1:4001"]), "first");
    (places, seat)
}

/// Who finds a seat beside the first one.
#[test]
fn who_sits_together_is_of_one_tenant_of_different_segments_and_at_different_addresses() {
    let check = |finds: bool, wanted: &Wanted| {
        let (mut places, first) = places(4);
        assert_eq!(first.0, PairId(1));
        let found = places.sit(wanted).map(|(_, _, held)| *held);
        assert_eq!(found, finds.then_some("first"), "{wanted:?}");
    };
    let of = |change: fn(&mut Kind)| {
        let mut wanted = wanted(&["192.0.2.1:5000"]);
        change(&mut wanted.kind);
        wanted
    };
    let of_same_segment = Wanted { beside: vec![PairId(7), PairId(1)], ..of(|_| ()) };
    check(true, &of(|_| ()));
    check(false, &of(|kind| kind.tenant = "other".parse().unwrap()));
    check(false, &of(|kind| kind.family = Family::V6));
    check(false, &of(|kind| kind.rtcp_mux = true));
    check(false, &of_same_segment);
    check(false, &wanted(&["192.0.2.1:4000"]));
    // Its RTP would come from where the other's RTCP does.
    check(false, &wanted(&["192.0.2.1:4001", "192.0.2.1:4002"]));
    check(true, &wanted(&["192.0.2.2:4000", "192.0.2.2:4001"]));
}

#[test]
fn a_pair_has_so_many_seats_and_a_seat_that_is_left_is_had_again() {
    let (mut places, first) = places(2);
    let (pair, ..) = places.sit(&wanted(&["192.0.2.1:5000"])).unwrap();
    assert!(places.sit(&wanted(&["192.0.2.1:6000"])).is_none());
    places.leave(at(0), first);
    let found = places.sit(&wanted(&["192.0.2.1:6000"])).map(|(pair, ..)| pair);
    assert_eq!(found, Some(pair));
}

#[test]
fn an_address_is_nobody_elses_as_long_as_the_pair_is_open() {
    let (mut places, first) = places(4);
    let other = places.sit(&wanted(&["192.0.2.1:5000"])).map(|(pair, seat, _)| (pair, seat)).unwrap();
    places.leave(at(10), first);
    for again in [wanted(&["192.0.2.1:4000"]), wanted(&["192.0.2.1:4001"])] {
        assert!(places.sit(&again).is_none());
        assert!(!places.keep(other, &again.addresses));
    }
}

#[test]
fn a_pair_that_nobody_sits_on_rests_before_it_is_closed_and_is_had_again_until_then() {
    let (mut places, first) = places(4);
    places.leave(at(10), first);
    assert_eq!(places.close(at(73)), []);
    let again = places.sit(&wanted(&["192.0.2.1:5000"])).map(|(pair, seat, _)| (pair, seat)).unwrap();
    // It was left already, and is not left anew.
    places.leave(at(11), first);
    assert_eq!(places.close(at(1_000)), []);
    places.leave(at(1_000), again);
    assert_eq!(places.close(at(1_063)), []);
    assert_eq!(places.close(at(1_064)), [(first.0, "first")]);
    assert!(places.sit(&wanted(&["192.0.2.1:7000"])).is_none());
}

#[test]
fn a_sender_is_where_it_turned_last_and_what_it_left_is_kept_from_others_and_nobodys() {
    let (mut places, first) = places(4);
    let at = |places: &Places<_>| places.addresses(first).map(|a| a.to_string()).collect::<Vec<_>>();
    let [other, elsewhere] = ["192.0.2.1:5000", "192.0.2.9:1"].map(|a| wanted(&[a]));
    let seat = places.sit(&other).map(|(pair, seat, _)| (pair, seat)).unwrap();
    assert!(!places.keep(first, &other.addresses));
    assert!(places.keep(first, &elsewhere.addresses));
    assert_eq!(at(&places), ["192.0.2.1:4000", "192.0.2.1:4001"]);
    places.turn(first, &elsewhere.addresses);
    assert_eq!(at(&places), ["192.0.2.9:1"]);
    assert!(places.sit(&wanted(&["192.0.2.1:4000"])).is_none());
    assert!(!places.keep(seat, &wanted(&["192.0.2.1:4000"]).addresses));
    // To where another is it does not turn: it is nowhere then.
    places.turn(first, &other.addresses);
    assert!(at(&places).is_empty() && places.addresses(seat).eq(other.addresses));
}

#[test]
fn a_seat_takes_more_addresses_that_nobody_has_up_to_a_limit() {
    let (mut places, first) = places(4);
    let one = |n: u16| [SocketAddr::from(([192, 0, 2, 9], n))];
    let taken = (0..20).take_while(|n| places.keep(first, &one(*n))).count();
    assert_eq!(taken, ADDRESSES_PER_SEAT - 2);
    // Its own, over and over.
    assert!(places.keep(first, &wanted(&["192.0.2.1:4000"]).addresses));
    places.leave(at(0), first);
    assert!(!places.keep(first, &one(0)) && !places.keep(first, &one(99)));
}

#[test]
fn a_pair_that_has_had_too_many_addresses_takes_nobody_and_keeps_whom_it_has() {
    let (mut places, first) = places(STREAMS_PER_PORT_MAX);
    let one = |n: usize| {
        let mut one = wanted(&[]);
        one.addresses.push(SocketAddr::from(([192, 0, 2, 9], u16::try_from(n).unwrap())));
        one
    };
    let mut count = 0;
    while let Some((pair, seat)) = places.sit(&one(count)).map(|(pair, seat, _)| (pair, seat)) {
        places.leave(at(1), (pair, seat));
        count += 1;
    }
    assert_eq!(count, ADDRESSES_MAX - 2);
    assert!(!places.keep(first, &one(count).addresses));
    // What is nothing new costs nothing.
    assert!(places.keep(first, &wanted(&["192.0.2.1:4001"]).addresses));
}

/// A sender that uses one address for call after call, as fast as it likes.
#[test]
fn while_too_many_pairs_rest_there_is_no_other() {
    let (mut places, first) = places(4);
    places.leave(at(0), first);
    let again = wanted(&["192.0.2.1:4000"]);
    for opened in 1.. {
        assert!(places.sit(&again).is_none());
        if !places.may_open() {
            assert_eq!(opened, RESTING_MAX);
            break;
        }
        let seat = places.open(&again, "next");
        // Those that are sat on do not count.
        assert!(places.may_open());
        places.leave(at(opened as u64), seat);
    }
    // Who has another address finds a seat all the same.
    assert!(places.sit(&wanted(&["192.0.2.1:5000"])).is_some() && places.may_open());
    places.close(at(1_000));
    assert_eq!(places.pairs.len(), 1);
}
