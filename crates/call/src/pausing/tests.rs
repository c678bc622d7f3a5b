//! The rule as a table: who ends whose, how far each reaches, and what outlives what.

use model::WallTime;

use super::*;

const A: SessionId = SessionId(1);
const B: SessionId = SessionId(2);

/// A call of the trunk `own` with a leg of it, and a leg of another.
fn two(first: &str, second: &str) -> Pausing {
    let mut pausing = Pausing::new(Arc::from("own"));
    pausing.enter(A, Arc::from(first));
    pausing.enter(B, Arc::from(second));
    pausing
}

fn ask(pausing: &mut Pausing, asker: Asker, until: Option<u64>) -> bool {
    let by = match asker {
        Asker::Order => PauseSource::Api("alice".to_owned()),
        Asker::Header(_) => PauseSource::Info("Record: off".to_owned()),
        Asker::Metadata(_) => PauseSource::Sip("metadata: paused".to_owned()),
        Asker::Sdp(_) => PauseSource::Sdp,
    };
    pausing.ask(asker, OpenPause { since: WallTime(1), by }, until.map(Mono))
}

#[test]
fn each_ends_what_it_may_end() {
    use Asker::{Header, Metadata, Order, Sdp};
    let check = |asked: &[Asker], resumed: Asker, paused: bool| {
        let mut pausing = two("own", "own");
        for asker in asked {
            assert!(ask(&mut pausing, *asker, None) && !ask(&mut pausing, *asker, None));
        }
        pausing.resume(resumed, &PauseSource::Sdp);
        assert_eq!(pausing.open().is_some(), paused, "{asked:?} {resumed:?}");
        assert_eq!(pausing.is_paused_for(A), paused, "{asked:?} {resumed:?}");
    };
    check(&[Order], Order, false);
    check(&[Order], Header(A), true);
    check(&[Order], Sdp(A), true);
    check(&[Header(A)], Order, false);
    check(&[Header(A)], Header(A), false);
    check(&[Header(A)], Header(B), true);
    check(&[Header(A)], Metadata(A), true);
    check(&[Header(A), Header(B)], Header(A), true);
    check(&[Metadata(A)], Metadata(A), false);
    check(&[Metadata(A)], Metadata(B), true);
    check(&[Metadata(A)], Header(A), false);
    check(&[Metadata(A), Metadata(B)], Metadata(B), true);
    check(&[Metadata(A)], Order, false);
    check(&[Header(A), Sdp(A)], Sdp(A), true);
    check(&[Sdp(A)], Order, true);
    check(&[Sdp(A)], Sdp(B), true);
    check(&[Sdp(A)], Sdp(A), false);
    check(&[Order, Header(A), Sdp(A)], Order, true);
}

#[test]
fn a_leg_of_another_trunk_pauses_what_came_by_its_own() {
    let mut pausing = two("own", "guest");
    ask(&mut pausing, Asker::Header(B), None);
    assert!(pausing.open().is_none() && !pausing.is_paused_for(A) && !pausing.is_whole(Asker::Header(B)));
    assert!(pausing.is_paused_for(B) && pausing.is_apart(B) && !pausing.is_apart(A));
    ask(&mut pausing, Asker::Metadata(A), None);
    assert!(pausing.open().is_some() && pausing.is_paused_for(B));
    pausing.leave(A, Parting::Refused);
    assert!(pausing.is_whole(Asker::Header(B)) && pausing.open().is_some(), "it is all that there is");
}

#[test]
fn what_was_asked_outlives_the_leg_while_there_are_others() {
    let mut pausing = two("own", "own");
    ask(&mut pausing, Asker::Header(A), Some(9));
    ask(&mut pausing, Asker::Sdp(A), None);
    pausing.leave(A, Parting::Said);
    assert!(pausing.open().is_some() && pausing.has_left());
    assert_eq!(pausing.until(), Some(Mono(9)), "what the lines said is over");
    assert!(!pausing.resume(Asker::Metadata(B), &PauseSource::Sdp), "it did not ask for any");
    assert!(pausing.resume(Asker::Header(B), &PauseSource::Sdp) && pausing.open().is_none());

    for (parting, paused) in [(Parting::Said, false), (Parting::Failed, true), (Parting::Refused, false)] {
        let mut pausing = two("own", "own");
        ask(&mut pausing, Asker::Sdp(A), None);
        pausing.leave(A, parting);
        assert_eq!(pausing.open().is_some(), paused, "{parting:?}");
        pausing.leave(B, Parting::Said);
        assert!(pausing.open().is_none() && !pausing.has_left(), "no leg, no signal");
    }
}

#[test]
fn each_has_its_own_time_out_and_asking_again_never_shortens_it() {
    let mut pausing = two("own", "own");
    ask(&mut pausing, Asker::Order, Some(10));
    ask(&mut pausing, Asker::Order, Some(5));
    ask(&mut pausing, Asker::Header(A), Some(20));
    assert_eq!((pausing.next_end(), pausing.until()), (Some(Mono(10)), Some(Mono(20))));
    assert!(!pausing.expire(Mono(9)) && pausing.expire(Mono(10)) && pausing.open().is_some());
    ask(&mut pausing, Asker::Header(A), None);
    assert_eq!((pausing.next_end(), pausing.until()), (None, None));
    assert!(!pausing.expire(Mono(1_000)) && pausing.open().is_some());
}

#[test]
fn a_join_ends_no_pause_and_shortens_none() {
    let mut pausing = two("own", "own");
    ask(&mut pausing, Asker::Order, Some(10));
    let mut other = Pausing::new(Arc::from("guest"));
    other.enter(SessionId(3), Arc::from("guest"));
    other.enter(SessionId(4), Arc::from("third"));
    ask(&mut other, Asker::Order, None);
    ask(&mut other, Asker::Header(SessionId(3)), Some(30));
    pausing.join(other);
    assert_eq!(pausing.until(), None, "one had no end");
    pausing.resume(Asker::Order, &PauseSource::Sdp);
    assert!(!pausing.is_paused_for(SessionId(4)), "a person ends all");

    // Whichever takes the other in.
    for is_older in [true, false] {
        let mut pausing = two("own", "own");
        let mut other = Pausing::new(Arc::from("guest"));
        other.enter(SessionId(3), Arc::from("guest"));
        other.enter(SessionId(4), Arc::from("third"));
        ask(&mut other, Asker::Header(SessionId(3)), Some(30));
        if is_older {
            std::mem::swap(&mut pausing, &mut other);
        }
        pausing.join(other);
        assert!(pausing.open().is_none() && !pausing.is_paused_for(A), "it reaches nothing new");
        assert!(
            pausing.is_paused_for(SessionId(3)) && pausing.is_paused_for(SessionId(4)),
            "and nothing less"
        );
        pausing.enter(SessionId(5), Arc::from("own"));
        pausing.enter(SessionId(6), Arc::from("third"));
        assert!(!pausing.is_paused_for(SessionId(5)) && pausing.is_paused_for(SessionId(6)));
        assert!(pausing.expire(Mono(30)) && !pausing.is_paused_for(SessionId(4)));
    }
}
