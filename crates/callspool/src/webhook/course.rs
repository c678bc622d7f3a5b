//! What to do next with an event, by what the receiver answered. No clock, no socket.
//!
//! ```text
//!            2xx ──────────────────────────────► advance: the next event
//!  event ──► no answer, 5xx, 3xx, most of 4xx ─► again, later and later: 1 s, 2 s, … 5 min
//!            410 ──────────────────────────────► again in 5 min
//!            400, 413, 415, 422, 431 ──────────► again; at the fourth time given up: the next event
//! ```
//!
//! What most answers tell is something about the receiver or about our settings: all events would get it, none is
//! given up, and their order stays. Few tell that this one event will never be taken; it must not hold up the others.

use std::time::Duration;

use model::Mono;
use model::alarm::Seen;

/// The first wait after a failure.
const WAIT_MIN: Duration = Duration::from_secs(1);
/// The longest: somebody who repairs a receiver sees within minutes that it is well.
const WAIT_MAX: Duration = Duration::from_secs(300);
/// Of a wait, added by chance at most: a quarter, so that many senders do not come at once.
const JITTER: f64 = 0.25;
/// Times that an event is refused for what it is, after which it is given up: some 7 s, in case the receiver was
/// only half up.
const REFUSALS_MAX: u32 = 4;

/// What came of a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// The receiver has it.
    Taken,
    /// The receiver will not have this one; why.
    Refused(String),
    /// Another time, perhaps.
    Failed {
        /// In words.
        why: String,
        /// When the receiver wants to be asked again.
        after: Option<Duration>,
    },
    /// There is no such receiver any more.
    Gone,
}

impl Outcome {
    /// A request that got no answer.
    pub(crate) fn failed(why: impl Into<String>) -> Self {
        Self::Failed { why: why.into(), after: None }
    }

    /// By the status of an answer, and its `Retry-After` in seconds (RFC 9110 section 10.2.3).
    pub(crate) fn of(status: u16, retry_after: Option<&str>) -> Self {
        let answered = format!("it answered {status}");
        match status {
            200..=299 => Self::Taken,
            410 => Self::Gone,
            400 | 413 | 415 | 422 | 431 => Self::Refused(answered),
            300..=399 => Self::failed(format!("{answered}, and redirects are not followed")),
            _ => {
                let seconds = retry_after.and_then(|text| text.trim().parse().ok());
                Self::Failed { why: answered, after: seconds.map(Duration::from_secs) }
            }
        }
    }
}

/// What to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Next {
    /// Go on with the next event.
    Advance,
    /// Leave this one out, and go on with the next.
    GiveUp,
    /// Send it again after a while.
    Again(Duration),
}

/// How it goes with one receiver.
#[derive(Debug)]
pub(crate) struct Course {
    alarm_after: Duration,
    /// Failures of the event at hand.
    tries: u32,
    /// Of these, refusals of it.
    refusals: u32,
    standing: Standing,
}

/// How the receiver stands, by what it did last.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Standing {
    /// It takes what it gets, or was not asked yet.
    Well,
    /// It has taken nothing since.
    Bad { since: Mono, why: String, given_up: bool },
}

impl Course {
    pub(crate) const fn new(alarm_after: Duration) -> Self {
        Self { alarm_after, tries: 0, refusals: 0, standing: Standing::Well }
    }

    /// What to do after an outcome. `chance` is what makes a wait differ from others': any number.
    pub(crate) fn handle(&mut self, now: Mono, outcome: Outcome, chance: u32) -> Next {
        let (why, after) = match outcome {
            Outcome::Taken => {
                (self.tries, self.refusals) = (0, 0);
                self.standing = Standing::Well;
                return Next::Advance;
            }
            Outcome::Gone => ("it answered 410: it wants no more".to_owned(), Some(WAIT_MAX)),
            Outcome::Failed { why, after } => (why, after),
            Outcome::Refused(why) => {
                self.refusals += 1;
                if self.refusals >= REFUSALS_MAX {
                    (self.tries, self.refusals) = (0, 0);
                    self.worsen(now, why, true);
                    return Next::GiveUp;
                }
                (why, None)
            }
        };
        self.worsen(now, why, false);
        self.tries = self.tries.saturating_add(1);
        Next::Again(self.wait(after, chance))
    }

    /// How it looks now, for the alarm.
    pub(crate) fn seen(&self, now: Mono) -> Seen {
        match &self.standing {
            Standing::Well => Seen::Good,
            Standing::Bad { why, given_up: true, .. } => Seen::Bad(format!(
                "an event was given up because the receiver does not take it: {why}; see what it expects (webhooks.md)"
            )),
            Standing::Bad { since, why, .. } if now.since(*since) >= self.alarm_after => Seen::Bad(format!(
                "the receiver takes no events: {why}; they wait in the catalog: let it answer, or correct the url"
            )),
            Standing::Bad { .. } => Seen::Between,
        }
    }

    /// When [`Self::seen`] will look worse than now, if nothing else happens.
    pub(crate) fn worse_at(&self, now: Mono) -> Option<Mono> {
        match &self.standing {
            Standing::Bad { since, given_up: false, .. } => {
                Some(*since + self.alarm_after).filter(|at| *at > now)
            }
            _ => None,
        }
    }

    fn worsen(&mut self, now: Mono, new: String, gives_up: bool) {
        match &mut self.standing {
            Standing::Well => self.standing = Standing::Bad { since: now, why: new, given_up: gives_up },
            Standing::Bad { why, given_up, .. } => {
                *why = new;
                *given_up |= gives_up;
            }
        }
    }

    fn wait(&self, after: Option<Duration>, chance: u32) -> Duration {
        let doublings = self.tries.saturating_sub(1).min(16);
        let backoff = WAIT_MIN.saturating_mul(1 << doublings);
        let wait = backoff.max(after.unwrap_or_default()).min(WAIT_MAX);
        wait.mul_f64(1.0 + JITTER * f64::from(chance) / f64::from(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    /// Answers in turn, each when it is asked for, without chance; alarms after 60 s. A line for each: when, what was
    /// answered, what is done, and how it looks, at once and before the next.
    fn check(answers: &str, expected: Expect) {
        let mut course = Course::new(Duration::from_secs(60));
        let (mut now, mut ladder) = (Mono::ZERO, String::new());
        for answer in answers.split_whitespace() {
            let outcome = match answer.split_once('/') {
                _ if answer == "none" => Outcome::failed("no answer"),
                Some((status, after)) => Outcome::of(status.parse().unwrap(), Some(after)),
                None => Outcome::of(answer.parse().unwrap(), None),
            };
            let next = course.handle(now, outcome, 0);
            let at = now.since(Mono::ZERO).as_secs();
            let look = |now| match course.seen(now) {
                Seen::Good => "good",
                Seen::Between => "-",
                Seen::Bad(text) if text.contains("given up") => "BAD, given up",
                Seen::Bad(_) => "BAD",
            };
            let (done, wait) = match next {
                Next::Advance => ("advance".to_owned(), Duration::ZERO),
                Next::GiveUp => ("give up".to_owned(), Duration::ZERO),
                Next::Again(wait) => (format!("again in {} s", wait.as_secs()), wait),
            };
            ladder.push_str(&format!("{at:<4} s  {answer:<8} {done:<15} {}", look(now)));
            if let Some(worse) = course.worse_at(now).filter(|at| *at <= now + wait) {
                ladder.push_str(&format!(", at {} s {}", worse.since(Mono::ZERO).as_secs(), look(worse)));
            }
            ladder.push('\n');
            now = now + wait;
        }
        expected.assert_eq(&ladder);
    }

    #[test]
    fn what_is_taken_goes_on() {
        check(
            "200 202 204",
            expect![[r#"
                0    s  200      advance         good
                0    s  202      advance         good
                0    s  204      advance         good
            "#]],
        );
    }

    #[test]
    fn a_failure_is_repeated_and_the_next_event_begins_anew() {
        check(
            "500 200 503 200",
            expect![[r#"
                0    s  500      again in 1 s    -
                1    s  200      advance         good
                1    s  503      again in 1 s    -
                2    s  200      advance         good
            "#]],
        );
    }

    #[test]
    fn a_receiver_that_is_away_is_asked_later_and_later_and_told_of() {
        check(
            "none none none none none none none none none none none 200",
            expect![[r#"
                0    s  none     again in 1 s    -
                1    s  none     again in 2 s    -
                3    s  none     again in 4 s    -
                7    s  none     again in 8 s    -
                15   s  none     again in 16 s   -
                31   s  none     again in 32 s   -, at 60 s BAD
                63   s  none     again in 64 s   BAD
                127  s  none     again in 128 s  BAD
                255  s  none     again in 256 s  BAD
                511  s  none     again in 300 s  BAD
                811  s  none     again in 300 s  BAD
                1111 s  200      advance         good
            "#]],
        );
    }

    #[test]
    fn settings_that_are_wrong_lose_no_event() {
        check(
            "401 403 404 405 301 200",
            expect![[r#"
                0    s  401      again in 1 s    -
                1    s  403      again in 2 s    -
                3    s  404      again in 4 s    -
                7    s  405      again in 8 s    -
                15   s  301      again in 16 s   -
                31   s  200      advance         good
            "#]],
        );
    }

    #[test]
    fn an_event_that_is_refused_is_given_up_and_told_of() {
        check(
            "422 422 422 422 200",
            expect![[r#"
                0    s  422      again in 1 s    -
                1    s  422      again in 2 s    -
                3    s  422      again in 4 s    -
                7    s  422      give up         BAD, given up
                7    s  200      advance         good
            "#]],
        );
    }

    #[test]
    fn a_receiver_that_refuses_all_is_told_of_once() {
        check(
            "400 400 400 400 413 413 413 413 none 200",
            expect![[r#"
                0    s  400      again in 1 s    -
                1    s  400      again in 2 s    -
                3    s  400      again in 4 s    -
                7    s  400      give up         BAD, given up
                7    s  413      again in 1 s    BAD, given up
                8    s  413      again in 2 s    BAD, given up
                10   s  413      again in 4 s    BAD, given up
                14   s  413      give up         BAD, given up
                14   s  none     again in 1 s    BAD, given up
                15   s  200      advance         good
            "#]],
        );
    }

    #[test]
    fn a_receiver_may_say_when() {
        check(
            "429/30 503/7 503/9999 503/soon 200",
            expect![[r#"
                0    s  429/30   again in 30 s   -
                30   s  503/7    again in 7 s    -
                37   s  503/9999 again in 300 s  -, at 60 s BAD
                337  s  503/soon again in 8 s    BAD
                345  s  200      advance         good
            "#]],
        );
    }

    #[test]
    fn a_receiver_that_is_gone_is_asked_every_five_minutes() {
        check(
            "410 410 200",
            expect![[r#"
                0    s  410      again in 300 s  -, at 60 s BAD
                300  s  410      again in 300 s  BAD
                600  s  200      advance         good
            "#]],
        );
    }

    #[test]
    fn chance_makes_a_wait_longer_by_a_quarter_at_most() {
        let waits = [0, u32::MAX / 2, u32::MAX].map(|chance| {
            let mut course = Course::new(Duration::from_secs(60));
            match course.handle(Mono::ZERO, Outcome::failed("x"), chance) {
                Next::Again(wait) => wait.as_millis(),
                other => panic!("{other:?}"),
            }
        });
        assert_eq!(waits, [1_000, 1_125, 1_250]);
    }
}
