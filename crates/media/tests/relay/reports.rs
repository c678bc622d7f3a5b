//! Reports, changes in mid-call on either leg, a leg on hold, and who may not have what is not his.

use expect_test::expect;
use media::relay::{Follow, Listening, OpenEnd, Which};

use crate::world::{World, at, check, end, feedback, peer, play};

fn legs() -> [OpenEnd; 2] {
    [end(0, "A"), end(1, "B")]
}

#[test]
fn feedback_passes_as_it_is_both_ways() {
    let mut world = World::talking(&legs());
    play(
        &mut world,
        "B+1 1 nack 2 | B+1 1 pli 2 | A+1 0 nack 1",
        &expect![[r#"
        B+1 1 nack 2
          → A+1 rtcp nack of 2 (end 0, port of RTCP)
        B+1 1 pli 2
          → A+1 rtcp pli of 2 (end 0, port of RTCP)
        A+1 0 nack 1
          → B+1 rtcp nack of 1 (end 1, port of RTCP)
    "#]],
    );
    for packet_type in [205, 206] {
        let report = feedback(packet_type, 2);
        let from = (world.ends[1], Which::Rtcp);
        world.relay.receive(at(900), from, peer("B+1"), &report, &mut world.sends).unwrap();
        assert_eq!(world.sends.octets(&world.sends.forwards()[0]), report, "not an octet is rewritten");
        world.sends.clear();
    }
}

#[test]
fn codec_and_source_change_on_either_leg_in_mid_call() {
    let mut world = World::talking(&legs());
    play(
        &mut world,
        "B 1 alaw 2 2 | A 0 alaw 2 | B 1 rtp 3 2 | B 1 rtp 900 9 | A 0 rtp 500 8 | B+1 1 rtcp 9 | B 1 rtp 901 9",
        &expect![[r#"
            B 1 alaw 2 2
              → A rtp 2 of 2: a-law (end 0)
              end 1: PayloadType { from: 0, to: 8 }
            A 0 alaw 2
              → B rtp 2 of 1: a-law (end 1)
              end 0: PayloadType { from: 0, to: 8 }
            B 1 rtp 3 2
              → A rtp 3 of 2: u-law (end 0)
              end 1: PayloadType { from: 8, to: 0 }
            B 1 rtp 900 9
              → A rtp 900 of 9: u-law (end 0)
              end 1: Source { from: Some(2), to: 9 }
            A 0 rtp 500 8
              → B rtp 500 of 8: u-law (end 1)
              end 0: Source { from: Some(1), to: 8 }
            B+1 1 rtcp 9
              → A+1 rtcp of 9 (end 0, port of RTCP)
            B 1 rtp 901 9
              → A rtp 901 of 9: u-law (end 0)
        "#]],
    );
    assert!(world.relay.counts(world.ends[1]).is_some_and(|c| (c.rtp, c.rtcp, c.strangers) == (5, 1, 0)));
}

#[test]
fn a_leg_on_hold_by_no_address_is_sent_neither_media_nor_reports_and_both_again_afterwards() {
    let mut world = World::talking(&legs());
    play(
        &mut world,
        "A+1 0 rtcp 1 | B+1 1 rtcp 2",
        &expect![[r#"
        A+1 0 rtcp 1
          → B+1 rtcp of 1 (end 1, port of RTCP)
        B+1 1 rtcp 2
          → A+1 rtcp of 2 (end 0, port of RTCP)
    "#]],
    );
    let held = OpenEnd { remote: Some("0.0.0.0:4000".parse().unwrap()), ..end(0, "A") };
    world.relay.change(world.ends[0], &held).unwrap();
    // What it plays to who is held, music say, is heard.
    play(
        &mut world,
        "B 1 rtp 2 2 | B+1 1 rtcp 2 | A 0 rtp 2 | B 1 rtp 3 2 | B+1 1 rtcp 2 | X 0 rtp 9 5 | B 1 rtp 4 2",
        &expect![[r#"
            B 1 rtp 2 2
            B+1 1 rtcp 2
            A 0 rtp 2
              → B rtp 2 of 1: u-law (end 1)
            B 1 rtp 3 2
            B+1 1 rtcp 2
            X 0 rtp 9 5
              dropped: Stranger
            B 1 rtp 4 2
        "#]],
    );
    world.relay.change(world.ends[0], &end(0, "A")).unwrap();
    play(
        &mut world,
        "B 1 rtp 5 2 | B+1 1 rtcp 2 | A 0 rtp 3",
        &expect![[r#"
        B 1 rtp 5 2
          → A rtp 5 of 2: u-law (end 0)
        B+1 1 rtcp 2
          → A+1 rtcp of 2 (end 0, port of RTCP)
        A 0 rtp 3
          → B rtp 3 of 1: u-law (end 1)
    "#]],
    );
}

/// Held by direction alone a leg has an address, and who owns the relay says that it hears nobody.
#[test]
fn a_leg_on_hold_by_its_direction_hears_whom_its_owner_says() {
    let mut world = World::talking(&legs());
    world.relay.route(1, 0);
    play(
        &mut world,
        "B 1 rtp 2 2 | B+1 1 rtcp 2 | A 0 rtp 2",
        &expect![[r#"
        B 1 rtp 2 2
        B+1 1 rtcp 2
        A 0 rtp 2
          → B rtp 2 of 1: u-law (end 1)
    "#]],
    );
    world.relay.route(1, 0b01);
    play(
        &mut world,
        "B 1 rtp 3 2",
        &expect![[r#"
        B 1 rtp 3 2
          → A rtp 3 of 2: u-law (end 0)
    "#]],
    );
}

/// While the peer talks nobody takes its place: not with its SSRC from its host, not with numbers of his own.
#[test]
fn who_sends_in_a_peers_name_takes_neither_its_place_nor_what_it_is_sent() {
    let mut world = World::talking(&legs());
    play(
        &mut world,
        "A 0 rtp 2 | A2 0 rtp 30000 1 | A2 0 rtp 30001 1 | A2 0 rtp 3 66 | A2 0 bye 1 | B 1 rtp 2 2 | A 0 rtp 3 | B 1 rtp 3 2",
        &expect![[r#"
            A 0 rtp 2
              → B rtp 2 of 1: u-law (end 1)
            A2 0 rtp 30000 1
              dropped: Stranger
            A2 0 rtp 30001 1
              dropped: Stranger
            A2 0 rtp 3 66
              dropped: Stranger
            A2 0 bye 1
              → B+1 rtcp bye of 1 (end 1, port of RTCP)
              end 0: Goodbye { ssrc: 1 }
            B 1 rtp 2 2
              → A rtp 2 of 2: u-law (end 0)
            A 0 rtp 3
              → B rtp 3 of 1: u-law (end 1)
            B 1 rtp 3 2
              → A rtp 3 of 2: u-law (end 0)
        "#]],
    );
}

/// Behind NAT, before signalling has named anything, as in a call that is offered late.
#[test]
fn behind_nat_the_first_is_heard_and_signalling_that_names_another_takes_it_from_him() {
    let mut world = World::new(&[OpenEnd { follow: Follow::Anywhere, ..end(0, "-") }, end(1, "B")]);
    play(
        &mut world,
        "X 0 rtp 1 5 | B 1 rtp 1 2 | A 0 rtp 1 | X 0 rtcp 5",
        &expect![[r#"
        X 0 rtp 1 5
          → B rtp 1 of 5: u-law (end 1)
          end 0: at X, was -
          end 0: Source { from: None, to: 5 }
        B 1 rtp 1 2
          → X rtp 1 of 2: u-law (end 0)
          end 1: at B, was -
          end 1: Source { from: None, to: 2 }
        A 0 rtp 1
          dropped: Stranger
        X 0 rtcp 5
          → B+1 rtcp of 5 (end 1, port of RTCP)
    "#]],
    );
    world.relay.change(world.ends[0], &OpenEnd { follow: Follow::Anywhere, ..end(0, "A") }).unwrap();
    play(
        &mut world,
        "B 1 rtp 2 2 | A 0 rtp 2 | A 0 rtp 3 | X 0 rtp 2 5 | X 0 rtp 3 5 | A 0 rtp 4 | B 1 rtp 3 2",
        &expect![[r#"
        B 1 rtp 2 2
          → A rtp 2 of 2: u-law (end 0)
        A 0 rtp 2
          → B rtp 2 of 1: u-law (end 1)
          end 0: at A, was X
          end 0: Source { from: Some(5), to: 1 }
        A 0 rtp 3
          → B rtp 3 of 1: u-law (end 1)
        X 0 rtp 2 5
          dropped: Stranger
        X 0 rtp 3 5
          dropped: Stranger
        A 0 rtp 4
          → B rtp 4 of 1: u-law (end 1)
        B 1 rtp 3 2
          → A rtp 3 of 2: u-law (end 0)
    "#]],
    );
}

#[test]
fn keys_that_are_pressed_pass_whoever_listens() {
    let legs = [OpenEnd { digits: Listening::EventsAndTones, ..end(0, "A") }, end(1, "B")];
    check(
        &legs,
        "A 0 rtp 1 | A 0 digit 2 | B 1 digit 1 2",
        &expect![[r#"
        A 0 rtp 1
          → B rtp 1 of 1: u-law (end 1)
          end 0: at A, was -
          end 0: Source { from: None, to: 1 }
        A 0 digit 2
          → B rtp 2 of 1: 4 octets (end 1)
          end 0: Pressed { key: '5', by: Event }
        B 1 digit 1 2
          → A rtp 1 of 2: 4 octets (end 0)
          end 1: at B, was -
          end 1: Source { from: None, to: 2 }
    "#]],
    );
}
