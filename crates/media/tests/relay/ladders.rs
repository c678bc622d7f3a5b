//! Who is heard, who is told.

use expect_test::expect;
use media::relay::{By, EndId, Follow, Listening, OpenEnd, Recording, Refused, Relay, Security, Which};

use crate::world::{World, at, check, end, peer, play, rtcp, rtp};

fn legs() -> [OpenEnd; 2] {
    [end(0, "A"), end(1, "B")]
}

#[test]
fn two_legs_hear_each_other_with_reports() {
    check(
        &legs(),
        "A 0 rtp 1 | B 1 rtp 5 2 | A 0 rtp 2 | A+1 0 rtcp 1 | B+1 1 bye 2 | B 1 rtp 6 3",
        &expect![[r#"
            A 0 rtp 1
              → B rtp 1 of 1: u-law (end 1)
              end 0: at A, was -
              end 0: Source { from: None, to: 1 }
            B 1 rtp 5 2
              → A rtp 5 of 2: u-law (end 0)
              end 1: at B, was -
              end 1: Source { from: None, to: 2 }
            A 0 rtp 2
              → B rtp 2 of 1: u-law (end 1)
            A+1 0 rtcp 1
              → B+1 rtcp of 1 (end 1, port of RTCP)
            B+1 1 bye 2
              → A+1 rtcp bye of 2 (end 0, port of RTCP)
              end 1: Goodbye { ssrc: 2 }
            B 1 rtp 6 3
              → A rtp 6 of 3: u-law (end 0)
              end 1: Source { from: Some(2), to: 3 }
        "#]],
    );
}

#[test]
fn a_stranger_is_not_heard_and_is_told_nothing() {
    check(
        &legs(),
        "X 0 rtp 1 | B 1 rtp 1 2 | A 0 rtp 1 | X 0 rtp 2 | X 0 rtp 3 | X 0 rtcp 1 | B 1 rtp 2 2",
        &expect![[r#"
            X 0 rtp 1
              dropped: Stranger
            B 1 rtp 1 2
              → A rtp 1 of 2: u-law (end 0)
              end 1: at B, was -
              end 1: Source { from: None, to: 2 }
            A 0 rtp 1
              → B rtp 1 of 1: u-law (end 1)
              end 0: at A, was -
              end 0: Source { from: None, to: 1 }
            X 0 rtp 2
              dropped: Stranger
            X 0 rtp 3
              dropped: Stranger
            X 0 rtcp 1
              dropped: Stranger
            B 1 rtp 2 2
              → A rtp 2 of 2: u-law (end 0)
        "#]],
    );
}

#[test]
fn a_peer_that_moves_to_another_port_of_its_host_is_followed() {
    check(
        &legs(),
        "A 0 rtp 1 | A2 0 rtp 2 | B 1 rtp 1 2 | A 0 rtp 3 | X 0 rtp 4",
        &expect![[r#"
        A 0 rtp 1
          → B rtp 1 of 1: u-law (end 1)
          end 0: at A, was -
          end 0: Source { from: None, to: 1 }
        A2 0 rtp 2
          → B rtp 2 of 1: u-law (end 1)
          end 0: at A2, was A
        B 1 rtp 1 2
          → A2 rtp 1 of 2: u-law (end 0)
          end 1: at B, was -
          end 1: Source { from: None, to: 2 }
        A 0 rtp 3
          → B rtp 3 of 1: u-law (end 1)
          end 0: at A, was A2
        X 0 rtp 4
          dropped: Stranger
    "#]],
    );
}

#[test]
fn exactly_means_the_address_that_signalling_names() {
    let legs = [OpenEnd { follow: Follow::Exactly, ..end(0, "A") }, end(1, "B")];
    check(
        &legs,
        "A2 0 rtp 1 | A 0 rtp 1 | A2 0 rtp 2 | A+1 0 rtcp 1",
        &expect![[r#"
        A2 0 rtp 1
          dropped: Stranger
        A 0 rtp 1
          → B rtp 1 of 1: u-law (end 1)
          end 0: at A, was -
          end 0: Source { from: None, to: 1 }
        A2 0 rtp 2
          dropped: Stranger
        A+1 0 rtcp 1
          → B+1 rtcp of 1 (end 1, port of RTCP)
    "#]],
    );
}

#[test]
fn behind_nat_the_first_is_followed_and_another_after_silence_only() {
    let legs = [OpenEnd { follow: Follow::Anywhere, ..end(0, "A") }, end(1, "B")];
    check(
        &legs,
        "B 1 rtp 1 2 | X 0 rtp 1 | X 0 rtp 2 | B 1 rtp 2 2 | Y 0 rtp 9 5 | Y 0 rtp 10 5 | X+1 0 rtp 3 | B+1 1 rtcp 2",
        &expect![[r#"
            B 1 rtp 1 2
              → A rtp 1 of 2: u-law (end 0)
              end 1: at B, was -
              end 1: Source { from: None, to: 2 }
            X 0 rtp 1
              → B rtp 1 of 1: u-law (end 1)
              end 0: at X, was -
              end 0: Source { from: None, to: 1 }
            X 0 rtp 2
              → B rtp 2 of 1: u-law (end 1)
            B 1 rtp 2 2
              → X rtp 2 of 2: u-law (end 0)
            Y 0 rtp 9 5
              dropped: Stranger
            Y 0 rtp 10 5
              dropped: Stranger
            X+1 0 rtp 3
              → B rtp 3 of 1: u-law (end 1)
              end 0: at X+1, was X
            B+1 1 rtcp 2
              → 203.0.113.5:7002 rtcp of 2 (end 0, port of RTCP)
        "#]],
    );
}

/// Who sends in a silence is heard, and is not told what the other side says.
#[test]
fn silence_gives_nobody_the_voice_of_the_other_side() {
    let legs = [OpenEnd { follow: Follow::Anywhere, ..end(0, "A") }, end(1, "B")];
    let mut world = World::new(&legs);
    play(
        &mut world,
        "X 0 rtp 1 | X 0 rtp 2 | B 1 rtp 1 2",
        &expect![[r#"
        X 0 rtp 1
          → B rtp 1 of 1: u-law (end 1)
          end 0: at X, was -
          end 0: Source { from: None, to: 1 }
        X 0 rtp 2
          → B rtp 2 of 1: u-law (end 1)
        B 1 rtp 1 2
          → X rtp 1 of 2: u-law (end 0)
          end 1: at B, was -
          end 1: Source { from: None, to: 2 }
    "#]],
    );
    world.ms += 1_000;
    play(
        &mut world,
        "Y 0 rtp 9 5 | Y 0 rtp 10 5 | B 1 rtp 2 2 | X 0 bye 5 | Y 0 bye 5",
        &expect![[r#"
        Y 0 rtp 9 5
          → B rtp 9 of 5: u-law (end 1)
          end 0: Elsewhere { at: 203.0.113.6:7000 }
          end 0: Source { from: Some(1), to: 5 }
        Y 0 rtp 10 5
          → B rtp 10 of 5: u-law (end 1)
        B 1 rtp 2 2
          → X rtp 2 of 2: u-law (end 0)
        X 0 bye 5
          dropped: Stranger
        Y 0 bye 5
          → B+1 rtcp bye of 5 (end 1, port of RTCP)
          end 0: Goodbye { ssrc: 5 }
    "#]],
    );
    // Signalling says that it is there.
    world.relay.change(world.ends[0], &OpenEnd { follow: Follow::Anywhere, ..end(0, "Y") }).unwrap();
    play(
        &mut world,
        "B 1 rtp 3 2 | Y 0 rtp 11 5 | B 1 rtp 4 2",
        &expect![[r#"
        B 1 rtp 3 2
          → Y rtp 3 of 2: u-law (end 0)
        Y 0 rtp 11 5
          → B rtp 11 of 5: u-law (end 1)
        B 1 rtp 4 2
          → Y rtp 4 of 2: u-law (end 0)
    "#]],
    );
}

#[test]
fn what_signalling_holds_is_sent_nothing() {
    let mut world = World::talking(&legs());
    let held = OpenEnd { remote: Some("0.0.0.0:4000".parse().unwrap()), ..end(0, "A") };
    world.relay.change(world.ends[0], &held).unwrap();
    play(
        &mut world,
        "A 0 rtp 2 | B 1 rtp 2 2",
        &expect![[r#"
        A 0 rtp 2
          → B rtp 2 of 1: u-law (end 1)
        B 1 rtp 2 2
    "#]],
    );
}

#[test]
fn reports_of_others_at_the_same_host_move_nothing() {
    check(
        &legs(),
        "A 0 rtp 1 | A+1 0 rtcp 1 | A2 0 rtcp 66 | B+1 1 rtcp 2",
        &expect![[r#"
        A 0 rtp 1
          → B rtp 1 of 1: u-law (end 1)
          end 0: at A, was -
          end 0: Source { from: None, to: 1 }
        A+1 0 rtcp 1
          → B+1 rtcp of 1 (end 1, port of RTCP)
        A2 0 rtcp 66
          → B+1 rtcp of 66 (end 1, port of RTCP)
        B+1 1 rtcp 2
          → A+1 rtcp of 2 (end 0, port of RTCP)
    "#]],
    );
    let legs = [OpenEnd { follow: Follow::Exactly, ..end(0, "A") }, end(1, "B")];
    check(
        &legs,
        "A 0 rtp 1 | A2 0 rtcp 1 | A+1 0 rtcp 1 | B+1 1 rtcp 2",
        &expect![[r#"
        A 0 rtp 1
          → B rtp 1 of 1: u-law (end 1)
          end 0: at A, was -
          end 0: Source { from: None, to: 1 }
        A2 0 rtcp 1
          dropped: Stranger
        A+1 0 rtcp 1
          → B+1 rtcp of 1 (end 1, port of RTCP)
        B+1 1 rtcp 2
          → A+1 rtcp of 2 (end 0, port of RTCP)
    "#]],
    );
}

#[test]
fn before_signalling_knows_an_address_nobody_is_believed() {
    let mut world = World::new(&[end(0, "-"), end(1, "B")]);
    play(
        &mut world,
        "A 0 rtp 1 | B 1 rtp 1 2",
        &expect![[r#"
        A 0 rtp 1
          dropped: Stranger
        B 1 rtp 1 2
          end 1: at B, was -
          end 1: Source { from: None, to: 2 }
    "#]],
    );
    world.relay.change(world.ends[0], &end(0, "A")).unwrap();
    play(
        &mut world,
        "A 0 rtp 2 | B 1 rtp 2 2",
        &expect![[r#"
        A 0 rtp 2
          → B rtp 2 of 1: u-law (end 1)
          end 0: at A, was -
          end 0: Source { from: None, to: 1 }
        B 1 rtp 2 2
          → A rtp 2 of 2: u-law (end 0)
    "#]],
    );
}

#[test]
fn where_signalling_moves_a_peer_it_is_sent_to_at_once() {
    let mut world = World::talking(&legs());
    world.relay.change(world.ends[0], &end(0, "X")).unwrap();
    play(
        &mut world,
        "B 1 rtp 2 2 | B+1 1 rtcp 2 | A 0 rtp 2 | X 0 rtp 3 | A 0 rtp 4 | B 1 rtp 3 2",
        &expect![[r#"
            B 1 rtp 2 2
              → X rtp 2 of 2: u-law (end 0)
            B+1 1 rtcp 2
              → X+1 rtcp of 2 (end 0, port of RTCP)
            A 0 rtp 2
              → B rtp 2 of 1: u-law (end 1)
            X 0 rtp 3
              → B rtp 3 of 1: u-law (end 1)
              end 0: at X, was A
            A 0 rtp 4
              dropped: Stranger
            B 1 rtp 3 2
              → X rtp 3 of 2: u-law (end 0)
        "#]],
    );
}

#[test]
fn checks_and_handshakes_are_the_callers_and_nothing_else_passes() {
    check(
        &legs(),
        "A 0 stun | X 0 dtls | A 0 noise | A 0 text | A 0 odd 1 | A 0 mux 1",
        &expect![[r#"
        A 0 stun
          for us: STUN
        X 0 dtls
          for us: DTLS
        A 0 noise
          dropped: Malformed
        A 0 text
          dropped: Malformed
        A 0 odd 1
          → B rtp 1 of 1: odd (end 1)
          end 0: at A, was -
          end 0: Source { from: None, to: 1 }
        A 0 mux 1
          → B+1 rtcp of 1 (end 1, port of RTCP)
    "#]],
    );
}

#[test]
fn changes_of_source_and_codec_and_keys_that_are_pressed_are_told() {
    let legs = [OpenEnd { digits: Listening::Events, ..end(0, "A") }, end(1, "B")];
    check(
        &legs,
        "A 0 rtp 1 | A 0 digit 2 | A 0 alaw 3 | A 0 rtp 900 7 | A 0 rtp 901 7",
        &expect![[r#"
            A 0 rtp 1
              → B rtp 1 of 1: u-law (end 1)
              end 0: at A, was -
              end 0: Source { from: None, to: 1 }
            A 0 digit 2
              → B rtp 2 of 1: 4 octets (end 1)
              end 0: Pressed { key: '5', by: Event }
            A 0 alaw 3
              → B rtp 3 of 1: a-law (end 1)
              end 0: PayloadType { from: 0, to: 8 }
            A 0 rtp 900 7
              → B rtp 900 of 7: u-law (end 1)
              end 0: Source { from: Some(1), to: 7 }
            A 0 rtp 901 7
              → B rtp 901 of 7: u-law (end 1)
        "#]],
    );
}

#[test]
fn reports_share_a_port_where_they_are_multiplexed() {
    let legs = [OpenEnd { rtcp_mux: true, ..end(0, "A") }, end(1, "B")];
    check(
        &legs,
        "A 0 rtp 1 | A 0 mux 1 | B+1 1 rtcp 2 | B 1 mux 2",
        &expect![[r#"
        A 0 rtp 1
          → B rtp 1 of 1: u-law (end 1)
          end 0: at A, was -
          end 0: Source { from: None, to: 1 }
        A 0 mux 1
          → B+1 rtcp of 1 (end 1, port of RTCP)
        B+1 1 rtcp 2
          → A rtcp of 2 (end 0)
        B 1 mux 2
          → A rtcp of 2 (end 0)
    "#]],
    );
}

#[test]
fn of_three_legs_each_hears_the_others_unless_routes_say_otherwise() {
    let mut world = World::new(&[end(0, "A"), end(1, "B"), end(2, "C")]);
    play(
        &mut world,
        "A 0 rtp 1 | C 2 rtp 1 3",
        &expect![[r#"
        A 0 rtp 1
          → B rtp 1 of 1: u-law (end 1)
          → C rtp 1 of 1: u-law (end 2)
          end 0: at A, was -
          end 0: Source { from: None, to: 1 }
        C 2 rtp 1 3
          → A rtp 1 of 3: u-law (end 0)
          → B rtp 1 of 3: u-law (end 1)
          end 2: at C, was -
          end 2: Source { from: None, to: 3 }
    "#]],
    );
    // The supervisor hears both and is heard by one.
    world.relay.route(0, 0b110);
    world.relay.route(2, 0b001);
    play(
        &mut world,
        "A 0 rtp 2 | B 1 rtp 1 2 | C 2 rtp 2 3",
        &expect![[r#"
        A 0 rtp 2
          → B rtp 2 of 1: u-law (end 1)
          → C rtp 2 of 1: u-law (end 2)
        B 1 rtp 1 2
          → A rtp 1 of 2: u-law (end 0)
          → C rtp 1 of 2: u-law (end 2)
          end 1: at B, was -
          end 1: Source { from: None, to: 2 }
        C 2 rtp 2 3
          → A rtp 2 of 3: u-law (end 0)
    "#]],
    );
    let counts = world.relay.close(world.ends[1]).unwrap();
    assert_eq!((counts.rtp, counts.sent), (1, 3));
    play(
        &mut world,
        "A 0 rtp 3 | B 1 rtp 2 2",
        &expect![[r#"
        A 0 rtp 3
          → C rtp 3 of 1: u-law (end 2)
        B 1 rtp 2 2
          dropped: Unopened
    "#]],
    );
}

#[test]
fn lines_are_connected_by_their_number() {
    let video = |leg, remote| OpenEnd { line: 1, ..end(leg, remote) };
    check(
        &[end(0, "A"), video(0, "A2"), end(1, "B"), video(1, "B2")],
        "A 0 rtp 1 | A2 1 rtp 1 9 | B2 3 rtp 1 8",
        &expect![[r#"
            A 0 rtp 1
              → B rtp 1 of 1: u-law (end 2)
              end 0: at A, was -
              end 0: Source { from: None, to: 1 }
            A2 1 rtp 1 9
              → B2 rtp 1 of 9: u-law (end 3)
              end 1: at A2, was -
              end 1: Source { from: None, to: 9 }
            B2 3 rtp 1 8
              → A2 rtp 1 of 8: u-law (end 1)
              end 3: at B2, was -
              end 3: Source { from: None, to: 8 }
        "#]],
    );
}

#[test]
fn nothing_is_sent_to_itself_to_many_or_to_nobody() {
    for remote in ["0.0.0.0:4000", "224.0.0.1:4000", "255.255.255.255:9", "[ff02::1]:4000", "192.0.2.9:0"] {
        let mut relay = Relay::default();
        let remote = Some(remote.parse().unwrap());
        relay.open(&OpenEnd { remote, follow: Follow::Exactly, ..end(0, "-") }).unwrap();
        let b = relay.open(&end(1, "B")).unwrap();
        let mut sends = media::relay::Sends::default();
        let packet = rtp(0, 1, 1, b"");
        relay.receive(at(0), (b, Which::Rtp), peer("B"), &packet, &mut sends).unwrap();
        relay.receive(at(0), (b, Which::Rtcp), peer("B+1"), &rtcp(1, false), &mut sends).unwrap();
        assert_eq!(sends.forwards().len(), 0, "{remote:?}: {:?}", sends.forwards());
    }
    // Signalling names a port of ours: what is sent there would come in again.
    let ours = [Some(peer("X")), Some(peer("X+1"))];
    let legs = [OpenEnd { ours, ..end(0, "A") }, end(1, "X")];
    check(
        &legs,
        "A 0 rtp 1 | A+1 0 rtcp 1",
        &expect![[r#"
        A 0 rtp 1
          end 0: at A, was -
          end 0: Source { from: None, to: 1 }
        A+1 0 rtcp 1
    "#]],
    );
}

#[test]
fn while_keys_are_awaited_nothing_passes_either_way() {
    let legs = [OpenEnd { security: Security::Awaited, ..end(0, "A") }, end(1, "B")];
    check(
        &legs,
        "A 0 rtp 1 | B 1 rtp 1 2 | A+1 0 rtcp 1 | A 0 dtls | B+1 1 rtcp 2",
        &expect![[r#"
        A 0 rtp 1
          dropped: Unopened
        B 1 rtp 1 2
          end 1: at B, was -
          end 1: Source { from: None, to: 2 }
        A+1 0 rtcp 1
          dropped: Unopened
        A 0 dtls
          for us: DTLS
        B+1 1 rtcp 2
    "#]],
    );
}

#[test]
fn who_floods_is_forwarded_at_a_rate() {
    let mut world = World::new(&legs());
    let mut forwarded = 0;
    for n in 0..5_000_u16 {
        let packet = rtp(0, n, 1, b"");
        let _ = world.relay.receive(
            at(i64::from(n) / 10),
            (world.ends[0], Which::Rtp),
            peer("A"),
            &packet,
            &mut world.sends,
        );
        forwarded += world.sends.forwards().len();
        world.sends.clear();
    }
    assert_eq!(forwarded, 1_000);
    assert_eq!(world.relay.counts(world.ends[0]).unwrap().too_many, 4_000);
}

#[test]
fn what_is_kept_and_teed_comes_behind_what_is_forwarded_and_not_in_a_pause() {
    let keeping = media::relay::Keeping::Everything;
    let mut world = World::new(&[OpenEnd { keeping, ..end(0, "A") }, end(1, "B")]);
    let recorder =
        media::relay::Recorder { rtp: peer("R1"), rtcp: Some(peer("R1+1")), keys: None, mark: None };
    let now = media::relay::Beginning::Now;
    world.relay.tee(at(0), world.ends[0], 0, Some((&recorder, now))).unwrap();
    play(
        &mut world,
        "A 0 rtp 1 | A+1 0 rtcp 1 | B 1 rtp 1 2",
        &expect![[r#"
        A 0 rtp 1
          → B rtp 1 of 1: u-law (end 1)
          ⇢ R1 rtp 1 of 1: u-law
          kept rtp 1 of 1: u-law of A (end 0)
          end 0: at A, was -
          end 0: Source { from: None, to: 1 }
        A+1 0 rtcp 1
          → B+1 rtcp of 1 (end 1, port of RTCP)
          ⇢ R1+1 rtcp of 1
          kept rtcp of 1 of A+1 (end 0)
        B 1 rtp 1 2
          → A rtp 1 of 2: u-law (end 0)
          end 1: at B, was -
          end 1: Source { from: None, to: 2 }
    "#]],
    );
    world.relay.record(Recording::Pauses);
    play(
        &mut world,
        "A 0 rtp 2",
        &expect![[r#"
        A 0 rtp 2
          → B rtp 2 of 1: u-law (end 1)
    "#]],
    );
    world.relay.record(Recording::Goes);
    world.relay.tee(at(0), world.ends[0], 0, None).unwrap();
    play(
        &mut world,
        "A 0 rtp 3",
        &expect![[r#"
        A 0 rtp 3
          → B rtp 3 of 1: u-law (end 1)
          kept rtp 3 of 1: u-law of A (end 0)
    "#]],
    );
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    let mut relay = Relay::default();
    let first = relay.open(&end(0, "A")).unwrap();
    assert_eq!(relay.open(&end(0, "B")), Err(Refused::Line));
    assert_eq!(relay.open(&end(8, "B")), Err(Refused::Leg));
    assert_eq!(relay.change(first, &end(0, "B")), Ok(()));
    let nowhere =
        media::relay::Recorder { rtp: "224.0.0.1:5".parse().unwrap(), rtcp: None, keys: None, mark: None };
    let now = media::relay::Beginning::Now;
    assert_eq!(relay.tee(at(0), first, 0, Some((&nowhere, now))), Err(Refused::Address));
    assert_eq!(relay.tee(at(0), first, 2, None), Err(Refused::NoEnd));
    for line in 1..32 {
        relay.open(&OpenEnd { line, ..end(0, "A") }).unwrap();
    }
    assert_eq!(relay.open(&end(1, "B")), Err(Refused::Ends));
    assert!(relay.close(first).is_some() && relay.close(first).is_none());
    assert_eq!(relay.change(first, &end(0, "A")), Err(Refused::NoEnd));
    let again: EndId = relay.open(&end(1, "B")).unwrap();
    assert_eq!(again, first, "its place is free");
    assert!(By::End(again, Which::Rtp) < By::Tee);
}
