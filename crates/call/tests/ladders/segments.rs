//! Segments as the respondent orders them: a call, a hold, a stream that is added, an offer of ours.

use expect_test::expect;

use crate::check;
use crate::world::{World, config};

#[test]
fn a_plain_call() {
    check(
        "invite sendrecv
         opened
         ack
         bye
         sealed
         wait 3s",
        expect![[r#"
            > invite sendrecv
                open 1/1 1:mixed:active
            > opened
                200 s1 20000/recvonly
                tell call of 1
            > ack
            > bye
                end by hang-up
                tell call of 1, ended
            > sealed
            > wait 3s
                tell call of 1, ended
                conclude complete of 1
                tell copy complete
        "#]],
    );
}

#[test]
fn hold_and_resume_are_two_segments() {
    check(
        "invite sendonly sendonly
         opened
         ack
         reinvite inactive inactive
         sealed
         reinvite sendonly sendonly
         opened
         bye
         sealed
         wait 3s",
        expect![[r#"
            > invite sendonly sendonly
                open 1/1 1:agent:active 2:external:active
            > opened
                200 s1 20000/recvonly 20002/recvonly
                tell call of 1
            > ack
            > reinvite inactive inactive
                end by hold
                200 s1 9/inactive 9/inactive
                tell call of 2
            > sealed
            > reinvite sendonly sendonly
                open 2/2 1:agent:active 2:external:active
            > opened
                200 s1 20004/recvonly 20006/recvonly
                tell call of 2
            > bye
                end by hang-up
                tell call of 2, ended
            > sealed
            > wait 3s
                tell call of 2, ended
                conclude complete of 2
                tell copy complete
        "#]],
    );
}

#[test]
fn one_label_held_is_a_span_and_a_hang_up_on_hold_leaves_no_segment_to_wait_for() {
    check(
        "invite sendonly sendonly
         opened
         reinvite inactive sendonly
         opened
         reinvite inactive inactive
         sealed
         bye
         wait 3s",
        expect![[r#"
            > invite sendonly sendonly
                open 1/1 1:agent:active 2:external:active
            > opened
                200 s1 20000/recvonly 20002/recvonly
                tell call of 1
            > reinvite inactive sendonly
                change 1:agent:held 2:external:active
            > opened
                200 s1 20004/inactive 20006/recvonly
            > reinvite inactive inactive
                end by hold
                200 s1 9/inactive 9/inactive
                tell call of 2
            > sealed
            > bye
                tell call of 1, ended
            > wait 3s
                tell call of 1, ended
                conclude complete of 1
                tell copy complete
        "#]],
    );
}

#[test]
fn without_a_body_we_offer_and_the_answer_comes_in_the_ack() {
    check(
        "invite
         opened
         ack sendonly
         opened
         bye
         sealed
         wait 3s",
        expect![[r#"
            > invite
                open 1/1 -:mixed:active
            > opened
                200 s1 20000/recvonly
                tell call of 1
            > ack sendonly
                change 1:mixed:active
            > opened
            > bye
                end by hang-up
                tell call of 1, ended
            > sealed
            > wait 3s
                tell call of 1, ended
                conclude complete of 1
                tell copy complete
        "#]],
    );
}

#[test]
fn media_that_we_cannot_take_get_port_0_and_nothing_at_all_is_488() {
    check(
        "invite image sendonly -
         opened
         bye
         session 2
         invite image
         session 3
         invite junk",
        expect![[r#"
            > invite image sendonly -
                open 1/1 2:mixed:active
            > opened
                200 s1 0/sendrecv 20000/recvonly 0/sendrecv
                tell call of 1
            > bye
                end by hang-up
                tell call of 1, ended
            > session 2
            > invite image
                488 s2
            > session 3
            > invite junk
                488 s3
        "#]],
    );
}

#[test]
fn a_stream_is_added_by_re_invite() {
    check(
        "invite sendonly
         opened
         reinvite sendonly sendonly
         opened
         update sendonly -
         opened",
        expect![[r#"
            > invite sendonly
                open 1/1 1:mixed:active
            > opened
                200 s1 20000/recvonly
                tell call of 1
            > reinvite sendonly sendonly
                change 1:agent:active 2:external:active
            > opened
                200 s1 20002/recvonly 20004/recvonly
            > update sendonly -
                change 1:agent:active
            > opened
                200 s1 20006/recvonly 0/sendrecv
        "#]],
    );
}

#[test]
fn a_hold_that_nobody_resumes_ends() {
    check(
        "invite sendonly
         opened
         reinvite inactive
         sealed
         wait 7200s
         wait 3s",
        expect![[r#"
            > invite sendonly
                open 1/1 1:mixed:active
            > opened
                200 s1 20000/recvonly
                tell call of 1
            > reinvite inactive
                end by hold
                200 s1 9/inactive
                tell call of 2
            > sealed
            > wait 7200s
                BYE s1 SIP;cause=200;text="on hold for too long"
                tell call of 1, ended
            > wait 3s
                tell call of 1, ended
                conclude complete of 1
                tell copy complete
        "#]],
    );
}

#[test]
fn our_own_offer_keeps_every_line_in_its_place() {
    check(
        "invite image sendonly
         opened
         reinvite
         opened
         ack - sendonly
         opened",
        expect![[r#"
            > invite image sendonly
                open 1/1 2:mixed:active
            > opened
                200 s1 0/sendrecv 20000/recvonly
                tell call of 1
            > reinvite
                change 2:mixed:active
            > opened
                200 s1 0/inactive 20002/recvonly
            > ack - sendonly
                change 2:mixed:active
            > opened
        "#]],
    );
}

/// A record server gives a stream other ports, because it could not stay where it was: the client is told by the answer that
/// it waits for, or by an offer of ours.
#[test]
fn whoever_sends_to_ports_that_have_changed_is_told() {
    let mut world = World::of(config(1));
    for line in ["invite sendonly", "opened", "ack", "reinvite sendonly", "moved", "ack"] {
        world.play(line);
    }
    for line in ["reinvite", "opened", "ack sendonly", "moved", "accepted sendonly", "opened"] {
        world.play(line);
    }
    // Whoever refuses to be told is told of, and recorded on: his other lines are as they were.
    for line in ["reinvite", "opened", "ack sendonly", "moved", "not-accepted"] {
        world.play(line);
    }
    assert!(
        world.out.contains("ALARM not-recorded: a client refuses to be told")
            && !world.out.contains("end by")
    );
    let says_ports = |line: &&str| line.starts_with("200 ") || line.starts_with("INVITE ");
    let told: Vec<&str> = world.out.lines().map(str::trim).filter(says_ports).collect();
    let answered = ["200 s1 20000/recvonly", "200 s1 20002/recvonly", "200 s1 20004/recvonly"];
    let again = ["INVITE s1 20006/recvonly", "200 s1 20010/recvonly", "INVITE s1 20012/recvonly"];
    assert_eq!(told, [answered, again].concat(), "{}", world.out);
}
