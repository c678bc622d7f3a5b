//! Shapes of offers and answers: lines of all kinds, labels that say nothing, answers that fit no offer, refreshes.

use call::{Asked, FrontConfig, Trunk, Trunks};
use expect_test::expect;
use model::TenantId;

use crate::check;
use crate::world::{World, config};

/// Whose voice is where goes by places among audio lines; what is no RTP media gets port 0.
#[test]
fn lines_of_all_kinds() {
    check(
        "invite sendonly video image text
         opened
         bye
         session 2
         invite sendonly sendonly video video
         opened",
        expect![[r#"
            > invite sendonly video image text
                open 1/1 1:mixed:active 2:mixed:active
            > opened
                200 s1 20000/recvonly 20002/recvonly 0/sendrecv 0/sendrecv
                tell call of 1
            > bye
                end by hang-up
                tell call of 1, ended
            > session 2
            > invite sendonly sendonly video video
                open 1/1 1:agent:active 2:external:active 3:agent:active 4:external:active
            > opened
                200 s2 20004/recvonly 20006/recvonly 20008/recvonly 20010/recvonly
                tell call of 1
        "#]],
    );
}

#[test]
fn without_video_its_lines_are_refused() {
    let mut world = World::of(FrontConfig { video: false, ..config(2) });
    for line in ["invite sendonly sendonly video", "opened", "session 2", "invite video"] {
        world.play(line);
    }
    expect![[r#"
        > invite sendonly sendonly video
            open 1/1 1:agent:active 2:external:active
        > opened
            200 s1 20000/recvonly 20002/recvonly 0/sendrecv
            tell call of 1
        > session 2
        > invite video
            488 s2
    "#]]
    .assert_eq(&world.out);
}

#[test]
fn labels_that_others_have_too_and_payload_types_that_nothing_explains() {
    check(
        "invite same same
         opened
         bye
         session 2
         invite bare
         opened",
        expect![[r#"
            > invite same same
                open 1/1 same:agent:active same:external:active
            > opened
                200 s1 20000/recvonly 20002/recvonly
                tell call of 1
            > bye
                end by hang-up
                tell call of 1, ended
            > session 2
            > invite bare
                open 1/1 1:mixed:active
            > opened
                200 s2 20004/recvonly
                tell call of 1
        "#]],
    );
}

/// An answer that cannot be read, that takes nothing, that has more lines than were offered: what was asked for goes on
/// as far as it can.
#[test]
fn delayed_offers_that_are_answered_badly() {
    check(
        "invite
         opened
         ack junk
         bye
         session 2
         invite
         opened
         ack -
         bye
         sealed
         sealed
         wait 3s
         session 3
         invite
         opened
         ack sendonly sendonly
         opened
         bye",
        expect![[r#"
            > invite
                open 1/1 -:mixed:active
            > opened
                200 s1 20000/recvonly
                tell call of 1
            > ack junk
            > bye
                end by hang-up
                tell call of 1, ended
            > session 2
            > invite
                open 1/1 -:mixed:active
            > opened
                200 s2 20002/recvonly
                tell call of 1
            > ack -
                end by hold
                tell call of 2
            > bye
                tell call of 1, ended
            > sealed
            > sealed
            > wait 3s
                tell call of 1, ended
                conclude complete of 1
                tell copy complete
                tell call of 1, ended
                conclude complete of 1
                tell copy complete
            > session 3
            > invite
                open 1/1 -:mixed:active
            > opened
                200 s3 20004/recvonly
                tell call of 1
            > ack sendonly sendonly
                change 1:agent:active 2:external:active
            > opened
            > bye
                end by hang-up
                tell call of 1, ended
        "#]],
    );
}

/// Where video is asked for, a client that takes it gets a line for it, and one that does not leaves it out.
#[test]
fn delayed_offers_with_video() {
    let ask_for = vec![Asked::Pcma, Asked::H264];
    let trunk = Trunk { name: "all".into(), ask_for, ..Trunk::open(TenantId::default()) };
    let trunks = Trunks::new(vec![trunk], TenantId::default());
    let mut world = World::of(FrontConfig { trunks, ..config(4) });
    let script = "invite
         opened
         ack sendonly video
         opened
         bye
         session 2
         invite
         opened
         ack sendonly
         opened
         session 3
         invite
         opened
         ack sendonly -
         opened";
    for line in script.lines().map(str::trim) {
        world.play(line);
    }
    expect![[r#"
        > invite
            open 1/1 -:mixed:active -:mixed:active
        > opened
            200 s1 20000/recvonly 20002/recvonly
            tell call of 1
        > ack sendonly video
            change 1:mixed:active 2:mixed:active
        > opened
        > bye
            end by hang-up
            tell call of 1, ended
        > session 2
        > invite
            open 1/1 -:mixed:active -:mixed:active
        > opened
            200 s2 20008/recvonly 20010/recvonly
            tell call of 1
        > ack sendonly
            change 1:mixed:active
        > opened
        > session 3
        > invite
            open 1/1 -:mixed:active -:mixed:active
        > opened
            200 s3 20014/recvonly 20016/recvonly
            tell call of 1
        > ack sendonly -
            change 1:mixed:active
        > opened
    "#]]
    .assert_eq(&world.out);
}

/// A re-INVITE without description during a hold may be a refresh, or how the client resumes: only its answer tells, and
/// no segment begins before.
#[test]
fn on_hold_a_request_without_offer_begins_nothing_until_it_is_answered() {
    check(
        "invite sendonly sendonly
         opened
         ack
         reinvite inactive inactive
         sealed
         ack
         reinvite
         ack inactive inactive
         reinvite
         ack
         reinvite
         ack sendonly sendonly
         opened
         accepted sendonly sendonly
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
            > ack
            > reinvite
                200 s1 9/recvonly 9/recvonly
                tell call of 2
            > ack inactive inactive
            > reinvite
                200 s1 9/recvonly 9/recvonly
                tell call of 2
            > ack
            > reinvite
                200 s1 9/recvonly 9/recvonly
                tell call of 2
            > ack sendonly sendonly
                open 2/2 1:agent:active 2:external:active
            > opened
                INVITE s1 20004/recvonly 20006/recvonly
                tell call of 2
            > accepted sendonly sendonly
                change 1:agent:active 2:external:active
            > opened
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

/// A client that was asked and then does not take our offer with the ports is not recorded, and that is told.
#[test]
fn who_resumes_without_offer_and_refuses_ours_is_told_of() {
    check(
        "invite sendonly
         opened
         ack
         reinvite inactive
         sealed
         ack
         reinvite
         ack sendonly
         opened
         not-accepted
         sealed
         bye
         wait 3s",
        expect![[r#"
            > invite sendonly
                open 1/1 1:mixed:active
            > opened
                200 s1 20000/recvonly
                tell call of 1
            > ack
            > reinvite inactive
                end by hold
                200 s1 9/inactive
                tell call of 2
            > sealed
            > ack
            > reinvite
                200 s1 9/recvonly
                tell call of 2
            > ack sendonly
                open 2/2 1:mixed:active
            > opened
                INVITE s1 20002/recvonly
                tell call of 2
            > not-accepted
                ALARM not-recorded: a call that was started by order, or went on after a hold, is not recorded: the client refuses to send again (488)
                end by dialog failure: the client refuses to send again (488)
                tell call of 2
            > sealed
            > bye
                tell call of 2, ended
            > wait 3s
                tell call of 2, ended
                conclude complete-external-error of 2
                tell copy complete-external-error
        "#]],
    );
}

/// A refresh repeats what there is, or asks for it; neither begins a segment.
#[test]
fn refreshes_begin_nothing() {
    check(
        "invite sendonly sendonly
         opened
         ack
         reinvite sendonly sendonly
         opened
         ack
         reinvite
         opened
         ack sendonly sendonly
         opened
         update sendonly sendonly
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
            > reinvite sendonly sendonly
                change 1:agent:active 2:external:active
            > opened
                200 s1 20004/recvonly 20006/recvonly
            > ack
            > reinvite
                change 1:agent:active 2:external:active
            > opened
                200 s1 20008/recvonly 20010/recvonly
            > ack sendonly sendonly
                change 1:agent:active 2:external:active
            > opened
            > update sendonly sendonly
                change 1:agent:active 2:external:active
            > opened
                200 s1 20016/recvonly 20018/recvonly
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

/// A line is added after the answer, and another is given up for good.
#[test]
fn lines_come_and_go() {
    check(
        "invite sendonly
         opened
         reinvite sendonly sendonly
         opened
         reinvite sendonly sendonly video
         opened
         reinvite - sendonly video
         opened
         bye
         sealed",
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
            > reinvite sendonly sendonly video
                change 1:agent:active 2:external:active 3:mixed:active
            > opened
                200 s1 20006/recvonly 20008/recvonly 20010/recvonly
            > reinvite - sendonly video
                change 2:external:active 3:mixed:active
            > opened
                200 s1 0/sendrecv 20012/recvonly 20014/recvonly
            > bye
                end by hang-up
                tell call of 1, ended
            > sealed
        "#]],
    );
}

#[test]
fn eight_lines() {
    check(
        "invite sendonly sendonly sendonly sendonly sendonly sendonly sendonly sendonly
         opened",
        expect![[r#"
            > invite sendonly sendonly sendonly sendonly sendonly sendonly sendonly sendonly
                open 1/1 1:agent:active 2:external:active 3:unknown:active 4:unknown:active 5:unknown:active 6:unknown:active 7:unknown:active 8:unknown:active
            > opened
                200 s1 20000/recvonly 20002/recvonly 20004/recvonly 20006/recvonly 20008/recvonly 20010/recvonly 20012/recvonly 20014/recvonly
                tell call of 1
        "#]],
    );
}
