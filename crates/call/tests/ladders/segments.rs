//! Segments as the respondent orders them: a call, a hold, a stream that is added, an offer of ours.

use expect_test::expect;

use crate::check;
use crate::world::World;

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

/// What a client whose media may share ports is told of them: answers and offers of ours, and alarms.
fn told_of_ports(script: &[&str]) -> Vec<String> {
    let mut world = World::promised();
    for line in script {
        world.play(line);
    }
    let says = |line: &&str| {
        ["200 ", "503 ", "INVITE ", "ALARM ", "end by", "BYE "].iter().any(|w| line.starts_with(w))
    };
    world.out.lines().map(str::trim).filter(says).map(str::to_owned).collect()
}

/// A record server gives a stream other ports, because it could not stay where it was: the client is told by the answer that
/// it waits for, or by an offer of ours.
#[test]
fn whoever_sends_to_ports_that_have_changed_is_told() {
    let begin = ["invite sendonly", "opened", "ack"];
    let by_answer = ["reinvite sendonly", "moved", "ack", "reinvite sendonly", "opened", "ack"];
    let by_offer = ["reinvite", "opened", "ack sendonly", "moved", "accepted sendonly", "opened"];
    assert_eq!(
        told_of_ports(&[&begin[..], &by_answer, &by_offer].concat()),
        [
            "200 s1 20000/recvonly",
            "200 s1 20002/recvonly",
            "200 s1 20002/recvonly",
            "200 s1 20002/recvonly",
            "INVITE s1 20004/recvonly",
        ]
    );
}

const REFUSED: &str =
    "ALARM not-recorded: a client refuses to be told of ports that have changed (488): what it sends is lost";

/// His other lines are as they were; and each change is told of, once.
#[test]
fn whoever_refuses_to_be_told_of_ports_is_told_of_and_recorded_on() {
    let begin = ["invite sendonly", "opened", "ack"];
    let refused = ["reinvite", "opened", "ack sendonly", "moved", "not-accepted", "ack sendonly", "opened"];
    assert_eq!(
        told_of_ports(&[&begin[..], &refused].concat()),
        ["200 s1 20000/recvonly", "200 s1 20000/recvonly", "INVITE s1 20002/recvonly", REFUSED]
    );
    // Meanwhile they have changed again.
    let twice =
        ["ack sendonly", "ack sendonly", "moved", "moved", "not-accepted", "accepted sendonly", "opened"];
    assert_eq!(
        told_of_ports(&[&begin[..], &twice].concat()),
        ["200 s1 20000/recvonly", "INVITE s1 20002/recvonly", REFUSED, "INVITE s1 20004/recvonly"]
    );
}

/// A peer that is told of a pause, and then of ports; or the other way round: none is taken for the other, none is left out.
#[test]
fn what_is_told_of_a_pause_is_not_taken_for_what_is_told_of_ports() {
    let begin = ["says Supported: record-aware", "invite sendonly", "opened", "ack"];
    // What is refused first is that of the pause, which nothing depends on.
    let pause_first = ["order pause", "ack sendonly", "moved", "not-accepted"];
    let told = ["200 s1 20000/recvonly", "INVITE s1 20000/recvonly", "INVITE s1 20002/recvonly", REFUSED];
    assert_eq!(told_of_ports(&[&begin[..], &pause_first].concat()), told[..3]);
    assert_eq!(told_of_ports(&[&begin[..], &pause_first, &["not-accepted"]].concat()), told);
    let ports_first =
        ["ack sendonly", "moved", "order pause", "accepted sendonly", "opened", "accepted sendonly"];
    assert_eq!(
        told_of_ports(&[&begin[..], &ports_first].concat()),
        ["200 s1 20000/recvonly", "INVITE s1 20002/recvonly", "INVITE s1 20002/recvonly"]
    );
}

/// An offer of ours waits for its turn as text: what it says may be old when it goes.
#[test]
fn what_counts_is_what_a_client_was_told_last() {
    let begin = ["invite sendonly", "opened", "ack", "ack sendonly", "moved"];
    let answered =
        ["reinvite sendonly", "moved", "ack", "accepted sendonly", "opened", "accepted sendonly", "opened"];
    assert_eq!(
        told_of_ports(&[&begin[..], &answered].concat()),
        [
            "200 s1 20000/recvonly",
            "INVITE s1 20002/recvonly",
            "200 s1 20004/recvonly",
            "INVITE s1 20004/recvonly",
        ]
    );
}

/// A segment fails, and moves a stream of which the next one knows only where it is.
#[test]
fn ports_that_changed_while_another_segment_took_over_are_told() {
    let begin = ["invite sendonly", "opened", "ack", "failing"];
    let told = told_of_ports(&[&begin[..], &["ack sendonly", "moved", "opened", "opened"]].concat());
    assert_eq!(told.last().map(String::as_str), Some("INVITE s1 20002/recvonly"), "{told:?}");
}

/// It is heard where it was, and may try again.
#[test]
fn who_must_have_other_ports_when_there_are_none_is_refused_and_stays_where_he_is() {
    let begin = ["invite sendonly", "opened", "ack"];
    let refused = ["reinvite sendonly", "stuck", "opened", "ack", "reinvite sendonly", "opened"];
    let told = told_of_ports(&[&begin[..], &refused].concat());
    let without_why = |line: &String| line.split(": ").next().map(str::to_owned);
    let told: Vec<String> = told.iter().filter_map(without_why).collect();
    assert_eq!(told, ["200 s1 20000/recvonly", "ALARM not-recorded", "503 s1", "200 s1 20000/recvonly"]);
}

/// Of an answer nothing can be refused: it is tried again until there are ports, and told once.
#[test]
fn who_answers_with_an_address_that_needs_other_ports_is_told_of_once() {
    let begin = ["invite sendonly", "opened", "ack", "ack sendonly", "stuck"];
    let again = ["wait 2s", "stuck", "wait 2s", "stuck", "wait 2s", "moved", "accepted sendonly", "opened"];
    let told = told_of_ports(&[&begin[..], &again].concat());
    let without_why = |line: &String| line.split(": ").next().map(str::to_owned);
    let told: Vec<String> = told.iter().filter_map(without_why).collect();
    assert_eq!(told, ["200 s1 20000/recvonly", "ALARM not-recorded", "INVITE s1 20002/recvonly"]);
}
