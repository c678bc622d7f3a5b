//! Ladders of observations and time, and what holds for any of them.

use std::time::Duration;

use proptest::prelude::{Just, Strategy, any, prop_assert, prop_oneof, proptest};

use super::*;
use crate::alarm::AlarmKind;

struct World {
    alarms: Alarms,
    now: Now,
}

fn world(rules: AlarmRules) -> World {
    let now = Now { mono: Mono(0), wall: WallTime::from_millis(1_795_166_100_000) };
    World { alarms: Alarms::new(NodeNumber::SINGLE, rules), now }
}

fn node() -> Subject {
    Subject::Node(NodeNumber::SINGLE)
}

impl World {
    /// What is told when so many seconds have passed.
    fn after(&mut self, seconds: u64) -> Vec<String> {
        let end = self.now.mono + Duration::from_secs(seconds);
        while let Some(at) = self.alarms.next_timeout().filter(|at| *at <= end) {
            self.now = self.now + at.since(self.now.mono);
            self.alarms.handle_timeout(self.now);
        }
        self.now = self.now + end.since(self.now.mono);
        self.told()
    }

    fn see(&mut self, condition: Condition, seen: Seen) -> Vec<String> {
        self.alarms.observe(self.now, condition, &node(), &About::default(), seen);
        self.told()
    }

    fn bad(&mut self, condition: Condition) -> Vec<String> {
        self.see(condition, Seen::Bad("it is bad".to_owned()))
    }

    fn happens(&mut self, incident: Incident, call: Option<u64>, text: &str) -> Vec<String> {
        let occurrence = Occurrence {
            tenant: TenantId::default(),
            incident,
            call: call.map(CallId::from_u64),
            segment: None,
            text: text.to_owned(),
        };
        self.alarms.occurred(self.now, occurrence);
        self.told()
    }

    fn told(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.alarms.poll())
            .map(|(_, a)| {
                let phase = match (a.kind, a.cleared) {
                    (AlarmKind::Incident(_), _) => "happened",
                    (AlarmKind::Condition(_), None) => "raised",
                    (AlarmKind::Condition(_), Some(_)) => "cleared",
                };
                format!("{} {phase} {} {}", a.kind, a.subject, a.count)
            })
            .collect()
    }
}

const NOTHING: [&str; 0] = [];

#[test]
fn an_alarm_is_named_by_a_time_that_its_text_form_keeps() {
    let mut w = world(AlarmRules::default());
    w.now.wall = WallTime(w.now.wall.0 + 1_234_567);
    let alarms = |w: &mut World| std::iter::from_fn(|| w.alarms.poll()).map(|(_, a)| a).collect::<Vec<_>>();
    let about = About::default();
    w.alarms.observe(w.now, Condition::DiskSpace, &node(), &about, Seen::Bad("it is bad".to_owned()));
    let (tenant, incident) = (TenantId::default(), Incident::Limit);
    let text = "once".to_owned();
    w.alarms.occurred(w.now, Occurrence { tenant, incident, call: None, segment: None, text });
    let told = alarms(&mut w);
    assert_eq!(told.len(), 2);
    for alarm in told {
        assert_eq!(alarm.raised.to_string().parse(), Ok(alarm.raised));
    }
}

#[test]
fn a_condition_is_raised_after_its_time_and_cleared_after_its_time() {
    let mut w = world(AlarmRules::default());
    assert_eq!(w.bad(Condition::CallLimit), NOTHING);
    assert_eq!(w.after(4), NOTHING);
    assert_eq!(w.bad(Condition::CallLimit), NOTHING);
    assert_eq!(w.after(1), ["call-limit raised node:0 1"]);
    assert_eq!(w.alarms.active().count(), 1);
    assert_eq!(w.see(Condition::CallLimit, Seen::Good), NOTHING);
    assert_eq!(w.after(4), NOTHING);
    // It comes back before it was cleared: the same alarm, counted.
    assert_eq!(w.bad(Condition::CallLimit), NOTHING);
    assert_eq!(w.after(60), NOTHING);
    assert_eq!(w.see(Condition::CallLimit, Seen::Good), NOTHING);
    assert_eq!(w.after(5), ["call-limit cleared node:0 2"]);
    assert_eq!(w.alarms.active().count(), 0);
    assert_eq!(w.after(10_000), NOTHING);
    assert_eq!(w.alarms.next_timeout(), None);
}

#[test]
fn what_is_bad_for_a_moment_only_is_not_told() {
    let mut w = world(AlarmRules::default());
    for _ in 0..20 {
        assert_eq!(w.bad(Condition::CallLimit), NOTHING);
        assert_eq!(w.after(3), NOTHING);
        assert_eq!(w.see(Condition::CallLimit, Seen::Good), NOTHING);
        assert_eq!(w.after(3), NOTHING);
    }
    assert_eq!(w.alarms.next_timeout(), None);
}

#[test]
fn between_the_thresholds_things_stay_as_they_are() {
    let mut w = world(AlarmRules::default());
    assert_eq!(w.see(Condition::Descriptors, Seen::Between), NOTHING);
    assert_eq!(w.bad(Condition::Descriptors), ["descriptors raised node:0 1"]);
    assert_eq!(w.see(Condition::Descriptors, Seen::Good), NOTHING);
    assert_eq!(w.after(20), NOTHING);
    assert_eq!(w.see(Condition::Descriptors, Seen::Between), NOTHING);
    assert_eq!(w.after(1_000), NOTHING);
    assert_eq!(w.see(Condition::Descriptors, Seen::Good), NOTHING);
    assert_eq!(w.after(30), ["descriptors cleared node:0 1"]);
}

#[test]
fn what_comes_and_goes_is_told_once_in_a_pause() {
    let mut w = world(AlarmRules { pause: Duration::from_secs(600), ..AlarmRules::default() });
    assert_eq!(w.bad(Condition::VolumeAway), ["volume-away raised node:0 1"]);
    assert_eq!(w.see(Condition::VolumeAway, Seen::Good), ["volume-away cleared node:0 1"]);
    for _ in 0..10 {
        assert_eq!(w.after(10), NOTHING);
        assert_eq!(w.bad(Condition::VolumeAway), NOTHING);
        assert_eq!(w.after(10), NOTHING);
        assert_eq!(w.see(Condition::VolumeAway, Seen::Good), NOTHING);
    }
    assert_eq!(w.bad(Condition::VolumeAway), NOTHING);
    // Bad when the pause ends: told, with how often it came back.
    assert_eq!(w.after(400), ["volume-away raised node:0 11"]);
}

#[test]
fn the_same_incident_is_told_once_and_counted() {
    let mut w = world(AlarmRules::default());
    assert_eq!(w.happens(Incident::Storage, None, "the disk"), ["storage happened node:0 1"]);
    for _ in 0..1_000 {
        assert_eq!(w.happens(Incident::Storage, None, "the disk"), NOTHING);
    }
    assert_eq!(w.happens(Incident::Storage, None, "another disk"), ["storage happened node:0 1"]);
    assert_eq!(w.happens(Incident::Storage, Some(7), "the disk").len(), 1);
    assert_eq!(w.after(600), ["storage happened node:0 1001"]);
    assert_eq!(w.after(600), NOTHING);
    assert_eq!(w.happens(Incident::Storage, None, "the disk"), ["storage happened node:0 1"]);
}

#[test]
fn the_end_of_a_segment_clears_what_was_raised_about_it_and_forgets_the_rest() {
    let mut w = world(AlarmRules::default());
    let segment = SegmentId::from_u64(9);
    let about = About { segment: Some(segment), ..About::default() };
    let subject = Subject::Segment(segment);
    w.alarms.observe(w.now, Condition::Unwritable, &subject, &about, Seen::Bad("no file".to_owned()));
    w.alarms.observe(w.now, Condition::CallLimit, &subject, &about, Seen::Bad("suspected".to_owned()));
    assert_eq!(w.told(), [format!("unwritable raised {subject} 1")]);
    w.alarms.segment_ended(w.now, segment);
    assert_eq!(w.told(), [format!("unwritable cleared {subject} 1")]);
    assert_eq!((w.after(10_000), w.alarms.next_timeout()), (Vec::new(), None));
}

#[test]
fn at_the_limit_incidents_are_merged_and_conditions_are_counted() {
    let mut w = world(AlarmRules { subjects_max: 3, ..AlarmRules::default() });
    for call in 0..100 {
        w.happens(Incident::NotRecorded, Some(call), "no port");
    }
    assert!(w.alarms.incidents.len() <= 4);
    assert_eq!(w.after(600), ["not-recorded happened node:0 97"]);
    for segment in 0..100 {
        let id = SegmentId::from_u64(segment);
        let about = About { segment: Some(id), ..About::default() };
        let seen = Seen::Bad("no file".to_owned());
        w.alarms.observe(w.now, Condition::Unwritable, &Subject::Segment(id), &about, seen);
    }
    let told = w.told();
    assert_eq!((told.len(), told.last().map(String::as_str)), (4, Some("limit happened node:0 1")));
}

#[test]
fn a_new_catalog_is_told_again_what_is_raised() {
    let mut w = world(AlarmRules::default());
    w.bad(Condition::DiskSpace);
    w.alarms.tell_again();
    assert_eq!(w.told(), ["disk-space raised node:0 1"]);
}

#[derive(Debug, Clone)]
enum Step {
    See(u8, u8, u8),
    Happens(u8, u8),
    Ends(u8),
    Wait(u16),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0..6_u8, 0..8_u8, 0..3_u8).prop_map(|(c, s, how)| Step::See(c, s, how)),
        (0..3_u8, 0..8_u8).prop_map(|(i, c)| Step::Happens(i, c)),
        (0..8_u8).prop_map(Step::Ends),
        any::<u16>().prop_map(|ms| Step::Wait(ms / 8)),
        Just(Step::Wait(9_000)),
    ];
    proptest::collection::vec(step, 0..200)
}

proptest! {
    /// Raised and cleared alternate for each subject, nothing grows beyond its limit, and when all is well for
    /// long enough nothing is left.
    #[test]
    fn raised_and_cleared_alternate_and_nothing_stays(steps in steps()) {
        let rules = AlarmRules { pause: Duration::from_secs(30), subjects_max: 12 };
        let mut w = world(rules);
        let mut up: BTreeSet<(AlarmKind, Subject)> = BTreeSet::new();
        for step in steps {
            match step {
                Step::See(condition, segment, how) => {
                    let id = SegmentId::from_u64(segment.into());
                    let about = About { segment: Some(id), ..About::default() };
                    let seen = match how { 0 => Seen::Bad("bad".to_owned()), 1 => Seen::Between, _ => Seen::Good };
                    let condition = Condition::ALL[usize::from(condition) * 2];
                    w.alarms.observe(w.now, condition, &Subject::Segment(id), &about, seen);
                }
                Step::Happens(incident, call) => {
                    w.alarms.occurred(w.now, Occurrence {
                        tenant: TenantId::default(),
                        incident: Incident::ALL[usize::from(incident)],
                        call: Some(CallId::from_u64(call.into())),
                        segment: None,
                        text: "text".to_owned(),
                    });
                }
                Step::Ends(segment) => w.alarms.segment_ended(w.now, SegmentId::from_u64(segment.into())),
                Step::Wait(ms) => {
                    w.now = w.now + Duration::from_millis(ms.into());
                    w.alarms.handle_timeout(w.now);
                }
            }
            while let Some((_, alarm)) = w.alarms.poll() {
                let key = (alarm.kind, alarm.subject.clone());
                match (alarm.kind, alarm.cleared) {
                    (AlarmKind::Incident(_), cleared) => prop_assert!(cleared.is_none()),
                    (AlarmKind::Condition(_), None) => prop_assert!(up.insert(key), "raised twice: {alarm:?}"),
                    (AlarmKind::Condition(_), Some(_)) => prop_assert!(up.remove(&key), "never raised: {alarm:?}"),
                }
            }
            let active: BTreeSet<_> = w.alarms.active().map(|(_, a)| (a.kind, a.subject)).collect();
            prop_assert!(active == up);
            prop_assert!(w.alarms.conditions.len() <= 12 && w.alarms.incidents.len() <= 13 + Incident::ALL.len());
        }
        for segment in 0..8 {
            w.alarms.segment_ended(w.now, SegmentId::from_u64(segment));
        }
        w.after(3_600);
        prop_assert!(w.alarms.next_timeout().is_none() && w.alarms.conditions.is_empty());
        prop_assert!(w.alarms.incidents.is_empty() && w.alarms.by_segment.is_empty());
    }
}
