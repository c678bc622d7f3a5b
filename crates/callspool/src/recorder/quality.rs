//! How the streams of a live segment sound, once a second: what may become an alarm while the call still goes on.
//!
//! ```text
//!  no-media   segment   no active audio stream brings packets
//!  one-way    segment   one does, another does not
//!  silence    stream    packets come, and nothing is heard in them
//!  loss       stream    more than so many percent are lost
//!  wrong-keys stream    packets of an encrypted stream cannot be opened
//! ```
//!
//! Only what changes is told, so a call that sounds as it should costs nothing but the look. What becomes of it the
//! alarms decide. It knows no sockets and no clock.

use std::time::Duration;

use model::alarm::Seen;
use model::{Condition, Mono, StreamId};

/// Looked at so often.
const LOOK: Duration = Duration::from_secs(1);
/// A stream that brought a packet within so long is one that media come on, and one of which a packet was listened to
/// within so long is listened to: two frames of comfort noise. More than two looks: one packet a second is listened
/// to, so between two looks there may be none.
const LIVELY: Duration = Duration::from_secs(2);
/// Loss is a share of what was sent in so long: at 50 packets/s, 500.
const LOSS_OVER: Duration = Duration::from_secs(10);
/// Fewer packets than this in it say nothing of a share.
const LOSS_LEAST: u64 = 50;
/// So many packets that cannot be opened between two looks are told of, if they are a tenth of all: fewer are
/// somebody else's, or were on their way when keys changed.
const UNOPENED_LEAST: u64 = 10;
/// Where so few come that there are never as many between two looks: when none was opened for so long, and some were
/// not. Comfort noise is five packets a second, or one.
const SHUT_OVER: Duration = Duration::from_secs(10);
/// Fewer than these meanwhile are somebody else's.
const SHUT_LEAST: u64 = 3;

/// When it is told. Zero: never.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct QualityRules {
    pub(crate) no_media: Duration,
    pub(crate) one_way: Duration,
    pub(crate) silence: Duration,
    /// Percent.
    pub(crate) loss: u16,
}

/// What is known of a stream now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Signs {
    pub(crate) stream: StreamId,
    /// Audio that is to be kept: neither held nor paused.
    pub(crate) is_expected: bool,
    /// How long no packet has come.
    pub(crate) silent_for: Duration,
    /// Packets that were listened to, and those of them in which something was heard.
    pub(crate) sampled: u64,
    pub(crate) loud: u64,
    pub(crate) received: u64,
    pub(crate) lost: u64,
    /// Packets of an encrypted stream that could not be opened.
    pub(crate) unopened: u64,
    /// Whether its keys are known.
    pub(crate) opens: bool,
}

/// What an alarm is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Of {
    Segment,
    Stream(StreamId),
}

/// How it was seen last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Class {
    #[default]
    Good,
    Between,
    Bad,
}

#[derive(Debug, Clone, Copy)]
struct Watched {
    stream: StreamId,
    sampled: u64,
    loud: u64,
    /// When a packet was listened to last.
    sampled_at: Mono,
    /// When something was heard last, or listening began.
    heard_at: Mono,
    received: u64,
    lost: u64,
    /// Since when these are counted.
    counted_at: Mono,
    /// Both as of the last look.
    unopened: (u64, u64),
    /// Since when none was opened and some were not, and how many had not been opened before.
    shut: Option<(Mono, u64)>,
    silence: Class,
    loss: Class,
    keys: Class,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Quality {
    due: Option<Mono>,
    no_media: Class,
    one_way: Class,
    /// Streams that there were; as many as a segment may have had.
    streams: Vec<Watched>,
}

impl Quality {
    /// Whether it is time to look.
    pub(crate) fn is_due(&self, now: Mono) -> bool {
        self.due.is_none_or(|due| now >= due)
    }

    /// Looks; tells what has changed.
    pub(crate) fn look(
        &mut self,
        now: Mono,
        rules: &QualityRules,
        signs: &[Signs],
        tell: &mut impl FnMut(Condition, Of, Seen),
    ) {
        self.due = Some(now + LOOK);
        let expected = || signs.iter().filter(|s| s.is_expected);
        let quietest = expected().map(|s| s.silent_for).max().unwrap_or_default();
        let liveliest = expected().map(|s| s.silent_for).min().unwrap_or_default();
        let seconds = |d: Duration| d.as_secs();
        change(&mut self.no_media, reached(liveliest, rules.no_media), || {
            format!(
                "no media have come for {} s: see whether the client sends, and a firewall between",
                seconds(liveliest)
            )
        })
        .into_iter()
        .for_each(|seen| tell(Condition::NoMedia, Of::Segment, seen));
        let one_way = if liveliest <= LIVELY { reached(quietest, rules.one_way) } else { Class::Good };
        change(&mut self.one_way, one_way, || {
            format!(
                "media come on one stream and have not on another for {} s: one side is not recorded",
                seconds(quietest)
            )
        })
        .into_iter()
        .for_each(|seen| tell(Condition::OneWay, Of::Segment, seen));
        for sign in signs {
            let index = self.streams.iter().position(|w| w.stream == sign.stream).unwrap_or_else(|| {
                self.streams.push(Watched::new(now, sign));
                self.streams.len() - 1
            });
            if let Some(watched) = self.streams.get_mut(index) {
                watched.look(now, rules, sign, tell);
            }
        }
    }
}

impl Watched {
    fn new(now: Mono, sign: &Signs) -> Self {
        Self {
            stream: sign.stream,
            sampled: sign.sampled,
            loud: sign.loud,
            sampled_at: now,
            heard_at: now,
            received: sign.received,
            lost: sign.lost,
            counted_at: now,
            unopened: (0, 0),
            shut: None,
            silence: Class::Good,
            loss: Class::Good,
            keys: Class::Good,
        }
    }

    fn look(
        &mut self,
        now: Mono,
        rules: &QualityRules,
        sign: &Signs,
        tell: &mut impl FnMut(Condition, Of, Seen),
    ) {
        if sign.sampled != self.sampled {
            self.sampled_at = now;
        }
        // What is not listened to is not silent: no packets, another codec, a hold.
        let is_listened_to = sign.is_expected && now.since(self.sampled_at) <= LIVELY;
        if sign.loud > self.loud || !is_listened_to {
            self.heard_at = now;
        }
        (self.sampled, self.loud) = (sign.sampled, sign.loud);
        let silent = now.since(self.heard_at);
        change(&mut self.silence, reached(silent, rules.silence), || {
            format!("nothing is heard in what comes, for {} s: see whether this side is muted, or the wrong one is sent", silent.as_secs())
        })
        .into_iter()
        .for_each(|seen| tell(Condition::Silence, Of::Stream(self.stream), seen));
        self.look_at_keys(now, sign, tell);
        if now.since(self.counted_at) < LOSS_OVER {
            return;
        }
        let lost = sign.lost.saturating_sub(self.lost);
        let all = sign.received.saturating_sub(self.received) + lost;
        (self.received, self.lost, self.counted_at) = (sign.received, sign.lost, now);
        let limit = u64::from(rules.loss);
        let class = match all {
            _ if limit == 0 || !sign.is_expected => Class::Good,
            ..LOSS_LEAST => Class::Between,
            _ if lost * 100 > all * limit => Class::Bad,
            // Good is a quarter of it.
            _ if lost * 400 <= all * limit => Class::Good,
            _ => Class::Between,
        };
        change(&mut self.loss, class, || {
            format!(
                "{lost} of {all} packets were lost on the way: see the network between the client and here"
            )
        })
        .into_iter()
        .for_each(|seen| tell(Condition::Loss, Of::Stream(self.stream), seen));
    }
}

impl Watched {
    /// What cannot be opened is not kept, so somebody must hear of it while the call goes on.
    fn look_at_keys(&mut self, now: Mono, sign: &Signs, tell: &mut impl FnMut(Condition, Of, Seen)) {
        let unopened = sign.unopened.saturating_sub(self.unopened.0);
        let opened = sign.received.saturating_sub(self.unopened.1);
        if opened > 0 || !sign.is_expected {
            self.shut = None;
        } else if unopened > 0 {
            self.shut.get_or_insert((now, self.unopened.0));
        }
        let is_shut = self.shut.is_some_and(|(since, before)| {
            now.since(since) >= SHUT_OVER && sign.unopened.saturating_sub(before) >= SHUT_LEAST
        });
        self.unopened = (sign.unopened, sign.received);
        let class = match unopened {
            UNOPENED_LEAST.. if unopened * 9 >= opened => Class::Bad,
            _ if is_shut => Class::Bad,
            // A few beside many that are opened are nobody's trouble.
            _ if opened > 0 || sign.unopened == 0 => Class::Good,
            _ => Class::Between,
        };
        let all = sign.unopened;
        let said = change(&mut self.keys, class, || {
            if sign.opens {
                format!(
                    "{all} packets of an encrypted stream cannot be opened and are not kept: they are encrypted by \
                     other keys than signalling says, or not at all; see how the client sets up encryption"
                )
            } else {
                format!(
                    "{all} packets of an encrypted stream came and its keys are not known: they are not kept, or for \
                     20 s where keys come by the interface; see whether the client completes its key exchange, or \
                     whoever gives the keys"
                )
            }
        });
        said.into_iter().for_each(|seen| tell(Condition::WrongKeys, Of::Stream(self.stream), seen));
    }
}

fn reached(is: Duration, limit: Duration) -> Class {
    if !limit.is_zero() && is >= limit { Class::Bad } else { Class::Good }
}

/// What is to be told when something is seen so now.
fn change(was: &mut Class, is: Class, text: impl FnOnce() -> String) -> Option<Seen> {
    if std::mem::replace(was, is) == is {
        return None;
    }
    Some(match is {
        Class::Good => Seen::Good,
        Class::Between => Seen::Between,
        Class::Bad => Seen::Bad(text()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: QualityRules = QualityRules {
        no_media: Duration::from_secs(10),
        one_way: Duration::from_secs(20),
        silence: Duration::from_secs(30),
        loss: 5,
    };

    /// A stream that sends 50 packets a second, of which one is listened to and loud.
    fn sound(stream: u64, second: u64) -> Signs {
        Signs {
            stream: StreamId::from_u64(stream),
            is_expected: true,
            silent_for: Duration::ZERO,
            sampled: second,
            loud: second,
            received: 50 * second,
            lost: 0,
            unopened: 0,
            opens: true,
        }
    }

    /// Two streams for some minutes, as this makes them of second and stream; what is told, and when.
    fn check(make: impl Fn(u64, Signs) -> Signs, expected: &[&str]) {
        let (mut quality, mut told) = (Quality::default(), Vec::new());
        for second in 0..240 {
            let now = Mono::ZERO + Duration::from_secs(second);
            assert!(quality.is_due(now));
            let signs = [1, 2].map(|stream| make(second, sound(stream, second)));
            quality.look(now, &RULES, &signs, &mut |condition, of, seen| {
                let of = match of {
                    Of::Segment => String::new(),
                    Of::Stream(id) => format!(" {}", id.as_u64()),
                };
                let seen = match seen {
                    Seen::Bad(text) => {
                        assert!(text.contains(':'), "{text}");
                        "bad"
                    }
                    Seen::Between => "between",
                    Seen::Good => "good",
                };
                told.push(format!("{second} {condition:?}{of} {seen}"));
            });
        }
        assert_eq!(told, expected);
    }

    fn is(stream: u64, signs: &Signs) -> bool {
        signs.stream.as_u64() == stream
    }

    #[test]
    fn a_call_that_sounds_as_it_should_tells_nothing() {
        check(|_, s| s, &[]);
        check(|_, s| Signs { sampled: 0, loud: 0, ..s }, &[]);
    }

    #[test]
    fn packets_that_cannot_be_opened_are_told_of_until_others_come_again() {
        let closed = |opens: bool| {
            move |second: u64, s: Signs| match second {
                _ if !is(2, &s) => s,
                0..60 => s,
                60..80 => Signs { received: 3_000, unopened: 50 * (second - 60), opens, ..s },
                _ => Signs { unopened: 1_000, opens: true, ..s },
            }
        };
        let told =
            ["61 WrongKeys 2 bad", "70 Loss 2 between", "80 WrongKeys 2 good", "80 Loss 2 good"].as_slice();
        check(closed(true), told);
        check(closed(false), told);
        // As few as a sender of comfort noise has: also where nothing was ever opened.
        let sparse = |opened: u64| {
            move |second: u64, s: Signs| match second {
                _ if !is(2, &s) => s,
                0..60 => Signs { received: opened * second, ..s },
                60..100 => Signs { received: opened * 60, unopened: 2 * (second - 59), ..s },
                _ => Signs { received: opened * 60 + second - 99, unopened: 80, ..s },
            }
        };
        let told = |from: [&'static str; 2]| ["10 Loss 2 between", from[0], from[1], "100 WrongKeys 2 good"];
        check(sparse(1), &told(["61 WrongKeys 2 between", "71 WrongKeys 2 bad"]));
        check(sparse(0), &told(["60 WrongKeys 2 between", "70 WrongKeys 2 bad"]));
        // One now and then is somebody else's.
        let few = |second: u64, s: Signs| Signs { unopened: second / 10, ..s };
        check(|second, s| if is(1, &s) { few(second, s) } else { s }, &[]);
    }

    #[test]
    fn nothing_on_any_stream_is_no_media_and_on_one_is_one_way() {
        let gone = |second: u64, s: Signs| match second {
            60..100 => Signs { silent_for: Duration::from_secs(second - 60), sampled: 60, loud: 60, ..s },
            _ => s,
        };
        check(gone, &["70 NoMedia bad", "100 NoMedia good"]);
        check(|second, s| if is(2, &s) { gone(second, s) } else { s }, &["80 OneWay bad", "100 OneWay good"]);
        // Held or paused: nothing is expected.
        check(|second, s| Signs { is_expected: !(50..110).contains(&second), ..gone(second, s) }, &[]);
    }

    #[test]
    fn what_is_sent_and_never_loud_is_silence() {
        // Heard until 40, and again from 150 on.
        let mute = |second: u64, s: Signs| match second {
            41..150 => Signs { loud: 40, ..s },
            150.. => Signs { loud: second - 109, ..s },
            _ => s,
        };
        check(
            |second, s| if is(1, &s) { mute(second, s) } else { s },
            &["70 Silence 1 bad", "150 Silence 1 good"],
        );
    }

    /// Packets that are listened to come a little less often than looks.
    #[test]
    fn a_look_between_two_packets_that_are_listened_to_ends_no_silence() {
        for (second, sampled) in [(40, 38), (60, 57)] {
            assert_eq!(sampled, second * 24 / 25, "there are looks without any");
        }
        let mute =
            |second: u64, s: Signs| Signs { sampled: second * 24 / 25, loud: second.min(40) * 24 / 25, ..s };
        check(|second, s| if is(1, &s) { mute(second, s) } else { s }, &["70 Silence 1 bad"]);
        // Nothing is listened to any more: it is not silent, whatever else it is.
        let gone = |second: u64, s: Signs| Signs { sampled: second.min(100), loud: second.min(40), ..s };
        check(
            |second, s| if is(1, &s) { gone(second, s) } else { s },
            &["70 Silence 1 bad", "103 Silence 1 good"],
        );
    }

    #[test]
    fn loss_is_told_by_its_share_and_over_when_it_is_a_quarter() {
        let lossy = |second: u64, s: Signs| {
            let lost = |from: u64, to: u64, each: u64| (second.min(to).saturating_sub(from)) * each;
            Signs { lost: lost(100, 130, 5) + lost(130, 160, 1), ..s }
        };
        check(
            |second, s| if is(2, &s) { lossy(second, s) } else { s },
            &["110 Loss 2 bad", "140 Loss 2 between", "170 Loss 2 good"],
        );
    }
}
