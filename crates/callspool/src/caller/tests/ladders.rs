//! What one call does, input by input.

use std::time::Duration;

use expect_test::{Expect, expect};
use model::{Mono, Now, WallTime};
use sip::EndCause;

use crate::caller::call::Call;
use crate::caller::moves::{CallInput, Do, Step};
use crate::caller::plan::{CallPlan, Hold};
use crate::caller::report::StreamReport;
use crate::caller::sdp::LocalStream;
use crate::caller::testing::plan;

fn sdp(direction: &str, ports: [u16; 2], lines: usize) -> Vec<u8> {
    let mut text = "v=0\r\no=- 1 1 IN IP4 10.0.0.9\r\ns=-\r\nc=IN IP4 10.0.0.9\r\nt=0 0\r\n".to_owned();
    for port in &ports[..lines] {
        text += &format!("m=audio {port} RTP/AVP 0\r\na={direction}\r\n");
    }
    text.into_bytes()
}

/// A word of a script as an input.
fn input(word: &str, lines: usize) -> CallInput {
    let accepted = |sdp| CallInput::Accepted { status: 200, call_id: Some("id@host".into()), sdp };
    let refused = |status| CallInput::Refused { status, reason: "No".into(), call_id: None };
    let finished = |index| CallInput::Finished {
        index,
        report: Box::new(StreamReport { packets: 7, ..StreamReport::default() }),
    };
    match word {
        "200" => accepted(Some(sdp("recvonly", [5000, 5002], lines))),
        "200-one" => accepted(Some(sdp("recvonly", [5000, 0], lines))),
        "200-moved" => accepted(Some(sdp("recvonly", [6000, 6002], lines))),
        "200-inactive" => accepted(Some(sdp("inactive", [5000, 5002], lines))),
        "200-empty" => accepted(None),
        "reoffer" => CallInput::Reoffered { sdp: Some(sdp("recvonly", [7000, 7002], lines)) },
        "reoffer-none" => CallInput::Reoffered { sdp: None },
        "reoffer-bad" => CallInput::Reoffered { sdp: Some(b"?".to_vec()) },
        "ack" => CallInput::Confirmed { sdp: Some(sdp("recvonly", [7000, 7002], lines)) },
        "paused" => CallInput::Paused,
        "finished0" => finished(0),
        "finished1" => finished(1),
        "hold" => CallInput::Step(Step::Hold),
        "resume" => CallInput::Step(Step::Resume),
        "end" => CallInput::Step(Step::End),
        "late" => CallInput::Step(Step::AnswerTimeout),
        "nobody" => CallInput::Step(Step::GiveUp),
        "^C" => CallInput::Interrupt,
        "bye" => CallInput::Ended(EndCause::Bye),
        "gone" => CallInput::Ended(EndCause::Local),
        "expired" => CallInput::Ended(EndCause::SessionExpired),
        "unreachable" => CallInput::Ended(EndCause::TransportFailed),
        status => refused(status.parse().expect(status)),
    }
}

fn show(action: &Do, now: Now) -> String {
    let direction = |sdp: &str| {
        let sdp = media::sdp::read(sdp.as_bytes()).unwrap();
        sdp.media.iter().map(|l| l.direction.as_str()).collect::<Vec<_>>().join("+")
    };
    match action {
        Do::Start { index, remote, .. } => format!("start {index} to {}", remote.rtp.port()),
        Do::Pause { index } => format!("pause {index}"),
        Do::Finish { index } => format!("finish {index}"),
        Do::Reinvite(sdp) => format!("re-INVITE {}", direction(sdp)),
        Do::Ack(sdp) => format!("ACK {}", direction(sdp)),
        Do::Accept(sdp) => format!("accept {}", direction(sdp)),
        Do::Refuse(status, _) => format!("refuse {status}"),
        Do::Bye => "BYE".into(),
        Do::Cancel => "CANCEL".into(),
        Do::Later(at, step) => format!("{step:?} in {:?}", at.since(now.mono)),
        Do::Over => "over".into(),
    }
}

fn check(plan: &CallPlan, script: &str, expected: Expect) {
    let lines = plan.voices.len();
    let mut now = Now { mono: Mono(1_000_000_000), wall: WallTime::from_millis(1_800_000_000_000) };
    let streams = (0..lines).map(|n| LocalStream {
        rtp: ([10, 0, 0, 1], 4000 + 2 * u16::try_from(n).unwrap()).into(),
        label: (n + 1).to_string(),
        keys: None,
        certificate: None,
    });
    let (mut call, offer, todo) = Call::new(1, plan, Duration::from_secs(5), streams.collect(), now);
    let show_all = |todo: &[Do], now| todo.iter().map(|d| show(d, now)).collect::<Vec<_>>().join(", ");
    let mut ladder =
        format!("INVITE{} => {}\n", if offer.is_some() { "" } else { " without SDP" }, show_all(&todo, now));
    for word in script.split_whitespace() {
        now = now + Duration::from_millis(10);
        let todo = call.handle(now, input(word, lines));
        ladder += &format!("{word} => {}\n", show_all(&todo, now));
    }
    let report = call.report();
    let (ok, problems) = (if report.ok { "ok" } else { "not ok" }, report.problems.join("; "));
    ladder += format!("{ok} {} {} {problems}", report.status, report.ended).trim_end();
    ladder.push('\n');
    expected.assert_eq(&ladder);
}

fn with_hold(siprec: bool) -> CallPlan {
    let hold = Hold { start: Duration::from_secs(2), length: Duration::from_secs(1) };
    CallPlan { holds: vec![hold], ..plan(siprec) }
}

#[test]
fn a_plain_call() {
    check(
        &plan(false),
        "200 end finished0 gone",
        expect![[r#"
            INVITE => AnswerTimeout in 5s
            200 => start 0 to 5000, End in 5.02s
            end => finish 0
            finished0 => BYE
            gone => over
            ok 200 bye
        "#]],
    );
}

#[test]
fn hold_and_resume() {
    check(
        &with_hold(true),
        "200 hold paused paused 200-inactive resume 200-moved end finished1 finished0 gone",
        expect![[r#"
            INVITE => AnswerTimeout in 5s
            200 => start 0 to 5000, start 1 to 5002, Hold in 2s, Resume in 3s, End in 5.02s
            hold => pause 0, pause 1
            paused => 
            paused => re-INVITE inactive+inactive
            200-inactive => 
            resume => re-INVITE sendonly+sendonly
            200-moved => start 0 to 6000, start 1 to 6002
            end => finish 0, finish 1
            finished1 => 
            finished0 => BYE
            gone => over
            ok 200 bye
        "#]],
    );
}

#[test]
fn steps_wait_for_a_reinvite_under_way() {
    check(
        &with_hold(false),
        "200 hold resume paused end 200-inactive resume end 200 end finished0 gone",
        expect![[r#"
            INVITE => AnswerTimeout in 5s
            200 => start 0 to 5000, Hold in 2s, Resume in 3s, End in 5.02s
            hold => pause 0
            resume => Resume in 50ms
            paused => re-INVITE inactive
            end => End in 50ms
            200-inactive => 
            resume => re-INVITE sendrecv
            end => End in 50ms
            200 => start 0 to 5000
            end => finish 0
            finished0 => BYE
            gone => over
            ok 200 bye
        "#]],
    );
}

#[test]
fn holds_that_are_answered_wrongly_or_refused_are_problems() {
    check(
        &with_hold(false),
        "200 hold paused 200 resume 200 end finished0 gone",
        expect![[r#"
        INVITE => AnswerTimeout in 5s
        200 => start 0 to 5000, Hold in 2s, Resume in 3s, End in 5.02s
        hold => pause 0
        paused => re-INVITE inactive
        200 => 
        resume => re-INVITE sendrecv
        200 => start 0 to 5000
        end => finish 0
        finished0 => BYE
        gone => over
        not ok 200 bye the hold was not answered as inactive
    "#]],
    );
    check(
        &with_hold(false),
        "200 hold paused 488 finished0 gone",
        expect![[r#"
        INVITE => AnswerTimeout in 5s
        200 => start 0 to 5000, Hold in 2s, Resume in 3s, End in 5.02s
        hold => pause 0
        paused => re-INVITE inactive
        488 => finish 0
        finished0 => BYE
        gone => over
        not ok 200 failed the hold was refused: 488 No
    "#]],
    );
    check(
        &with_hold(false),
        "200 hold paused 200-inactive resume 500 finished0 gone",
        expect![[r#"
        INVITE => AnswerTimeout in 5s
        200 => start 0 to 5000, Hold in 2s, Resume in 3s, End in 5.02s
        hold => pause 0
        paused => re-INVITE inactive
        200-inactive => 
        resume => re-INVITE sendrecv
        500 => finish 0
        finished0 => BYE
        gone => over
        not ok 200 failed the resume was refused: 500 No
    "#]],
    );
}

#[test]
fn refusals_and_answers_that_never_come() {
    check(
        &plan(false),
        "503",
        expect![[r#"
        INVITE => AnswerTimeout in 5s
        503 => over
        not ok 503 refused refused: 503 No
    "#]],
    );
    check(
        &plan(false),
        "late 487",
        expect![[r#"
            INVITE => AnswerTimeout in 5s
            late => CANCEL, GiveUp in 2s
            487 => over
            not ok 487 timeout no final answer in 5s
        "#]],
    );
    check(
        &plan(false),
        "late nobody",
        expect![[r#"
        INVITE => AnswerTimeout in 5s
        late => CANCEL, GiveUp in 2s
        nobody => over
        not ok 0 timeout no final answer in 5s
    "#]],
    );
    check(
        &plan(false),
        "late 200 gone",
        expect![[r#"
            INVITE => AnswerTimeout in 5s
            late => CANCEL, GiveUp in 2s
            200 => BYE
            gone => over
            not ok 0 timeout no final answer in 5s
        "#]],
    );
    check(
        &plan(false),
        "unreachable",
        expect![[r#"
        INVITE => AnswerTimeout in 5s
        unreachable => over
        not ok 0 failed the peer cannot be reached
    "#]],
    );
}

#[test]
fn an_answer_that_takes_not_every_stream_is_a_problem() {
    check(
        &plan(true),
        "200-one end finished0 gone",
        expect![[r#"
        INVITE => AnswerTimeout in 5s
        200-one => start 0 to 5000, End in 5.02s
        end => finish 0
        finished0 => BYE
        gone => over
        not ok 200 bye stream 2 is not taken
    "#]],
    );
    check(
        &plan(false),
        "200-empty gone",
        expect![[r#"
        INVITE => AnswerTimeout in 5s
        200-empty => BYE
        gone => over
        not ok 200 failed the answer has no SDP that can be read
    "#]],
    );
}

#[test]
fn breaking_off_and_being_interrupted() {
    let vanish = CallPlan { vanish: true, ..plan(false) };
    check(
        &vanish,
        "200 end finished0",
        expect![[r#"
        INVITE => AnswerTimeout in 5s
        200 => start 0 to 5000, End in 5.02s
        end => finish 0
        finished0 => over
        ok 200 vanished
    "#]],
    );
    check(
        &plan(false),
        "200 ^C finished0 gone ^C",
        expect![[r#"
        INVITE => AnswerTimeout in 5s
        200 => start 0 to 5000, End in 5.02s
        ^C => finish 0
        finished0 => BYE
        gone => over
        ^C => 
        ok 200 bye
    "#]],
    );
    check(
        &plan(false),
        "^C 487",
        expect![[r#"
            INVITE => AnswerTimeout in 5s
            ^C => CANCEL, GiveUp in 2s
            487 => over
            not ok 487 cancelled
        "#]],
    );
    check(
        &with_hold(false),
        "200 hold paused ^C finished0 gone",
        expect![[r#"
        INVITE => AnswerTimeout in 5s
        200 => start 0 to 5000, Hold in 2s, Resume in 3s, End in 5.02s
        hold => pause 0
        paused => re-INVITE inactive
        ^C => finish 0
        finished0 => BYE
        gone => over
        ok 200 bye
    "#]],
    );
}

#[test]
fn what_the_peer_does_by_itself() {
    check(
        &plan(false),
        "200 bye finished0",
        expect![[r#"
        INVITE => AnswerTimeout in 5s
        200 => start 0 to 5000, End in 5.02s
        bye => finish 0
        finished0 => over
        not ok 200 remote-bye the peer hung up
    "#]],
    );
    check(
        &plan(false),
        "200 end bye finished0",
        expect![[r#"
        INVITE => AnswerTimeout in 5s
        200 => start 0 to 5000, End in 5.02s
        end => finish 0
        bye => 
        finished0 => over
        not ok 200 remote-bye the peer hung up
    "#]],
    );
    check(
        &plan(false),
        "200 expired finished0",
        expect![[r#"
        INVITE => AnswerTimeout in 5s
        200 => start 0 to 5000, End in 5.02s
        expired => finish 0
        finished0 => over
        not ok 200 failed the session failed: SessionExpired
    "#]],
    );
    check(
        &plan(false),
        "200 reoffer reoffer-bad reoffer-none ack end finished0 gone",
        expect![[r#"
        INVITE => AnswerTimeout in 5s
        200 => start 0 to 5000, End in 5.02s
        reoffer => accept sendonly, start 0 to 7000
        reoffer-bad => refuse 488
        reoffer-none => accept sendrecv
        ack => start 0 to 7000
        end => finish 0
        finished0 => BYE
        gone => over
        ok 200 bye
    "#]],
    );
}

#[test]
fn a_delayed_offer_is_answered_in_the_ack() {
    let delayed = CallPlan { delayed_offer: true, ..plan(true) };
    check(
        &delayed,
        "200 end finished0 finished1 gone",
        expect![[r#"
        INVITE without SDP => AnswerTimeout in 5s
        200 => ACK sendonly+sendonly, start 0 to 5000, start 1 to 5002, End in 5.02s
        end => finish 0, finish 1
        finished0 => 
        finished1 => BYE
        gone => over
        ok 200 bye
    "#]],
    );
}
