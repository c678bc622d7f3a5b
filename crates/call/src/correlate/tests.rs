//! Which calls are found by what is said, among whose, and for how long.

use super::*;

const HELD: Duration = Duration::from_secs(7_200);

fn owner(tenant: &str, trunk: &str) -> Owner {
    Owner { tenant: tenant.parse().unwrap(), trunk: trunk.into() }
}

fn call(n: u64) -> CallId {
    CallId::from_u64(n)
}

fn says(keys: &[Key]) -> Said {
    Said { keys: keys.to_vec(), ..Said::default() }
}

fn uuid() -> Key {
    Key::SessionId("ab30317f1a784dc48ff824d0d3715d86".to_owned())
}

fn refci() -> Key {
    Key::Counted("x-refci".into(), "C1/SEP1/11".to_owned())
}

/// A phone on its line, with the other party's leg.
fn on_line(far: &str) -> Said {
    let line = Line::of("SEP1", "1001", "0301");
    Said { line: Some(line), far: BTreeSet::from([far.to_owned()]), ..Said::default() }
}

fn found(correlator: &Correlator, at: u64, owner: &Owner, said: &Said) -> Vec<u64> {
    let now = Mono(at * 1_000_000_000);
    correlator.find(now, owner, said, HELD).into_iter().map(|(call, _)| call.as_u64()).collect()
}

#[test]
fn tenants_never_mix_and_what_can_be_guessed_tells_within_a_trunk_only() {
    let mut correlator = Correlator::default();
    let here = owner("bonn", "sbc");
    correlator.learn(call(1), &here, &says(&[uuid(), refci()]));
    for (tenant, trunk, by_uuid, by_refci) in
        [("bonn", "sbc", true, true), ("bonn", "other", true, false), ("acme", "sbc", false, false)]
    {
        let other = owner(tenant, trunk);
        let is_found = |key: Key| !found(&correlator, 0, &other, &says(&[key])).is_empty();
        assert_eq!((is_found(uuid()), is_found(refci())), (by_uuid, by_refci), "{tenant} {trunk}");
    }
}

#[test]
fn a_line_tells_after_a_hold_for_a_time_and_for_the_same_party() {
    let here = owner("bonn", "cucm");
    for (rest, at, far, expected) in [
        (Some(Rest::Held), 7_000, "2", true),
        (Some(Rest::Held), 7_200, "2", false),
        (Some(Rest::PerhapsHeld), 119, "2", true),
        (Some(Rest::PerhapsHeld), 120, "2", false),
        (Some(Rest::Over), 1, "2", false),
        (Some(Rest::Held), 1, "3", false),
        (None, 1, "2", false),
    ] {
        let mut correlator = Correlator::default();
        correlator.learn(call(1), &here, &on_line("2"));
        if let Some(rest) = rest {
            correlator.rests(call(1), Mono(0), rest);
        }
        let is_found = !found(&correlator, at, &here, &on_line(far)).is_empty();
        assert_eq!(is_found, expected, "{rest:?} after {at} s with {far}");
    }
}

#[test]
fn a_shared_line_on_another_phone_is_another_line() {
    let here = owner("bonn", "cucm");
    let mut correlator = Correlator::default();
    correlator.learn(call(1), &here, &on_line("2"));
    correlator.rests(call(1), Mono(0), Rest::Held);
    let other_phone = Said { line: Some(Line::of("SEP2", "1001", "0301")), ..on_line("2") };
    assert_eq!(found(&correlator, 1, &here, &other_phone), Vec::<u64>::new());
    let other_party = Said { line: Some(Line::of("SEP1", "1001", "0302")), ..on_line("2") };
    assert_eq!(found(&correlator, 1, &here, &other_party), Vec::<u64>::new());
}

#[test]
fn an_id_that_is_worn_out_tells_nothing_any_more() {
    let here = owner("bonn", "sbc");
    let mut correlator = Correlator::default();
    correlator.learn(call(1), &here, &says(&[uuid(), refci()]));
    assert_eq!(correlator.wear_out(call(1), &here, &says(&[uuid()])), ["Session-ID"]);
    correlator.learn(call(2), &here, &says(&[uuid()]));
    assert_eq!(found(&correlator, 0, &here, &says(&[uuid()])), Vec::<u64>::new());
    assert_eq!(found(&correlator, 0, &here, &says(&[refci()])), [1]);
}

#[test]
fn what_is_forgotten_leaves_nothing() {
    let here = owner("bonn", "sbc");
    let mut correlator = Correlator::default();
    correlator.learn(call(1), &here, &says(&[uuid()]));
    correlator.learn(call(2), &here, &Said { own: Some(Key::Dialog("a@b".to_owned())), ..on_line("2") });
    correlator.join(call(2), call(1));
    assert!(correlator.is_known(call(1)) && !correlator.is_known(call(2)));
    correlator.forget(call(1));
    assert!(correlator.calls.is_empty() && correlator.by_key.is_empty() && correlator.by_line.is_empty());
}

#[test]
fn a_call_keeps_so_many_ids_and_no_more() {
    let here = owner("bonn", "sbc");
    let mut correlator = Correlator::default();
    for n in 0..2 * KEYS_MAX {
        correlator.learn(call(1), &here, &says(&[Key::Vendor("ucid".into(), format!("{n:016x}"))]));
    }
    assert_eq!((correlator.by_key.len(), correlator.calls[&call(1)].keys.len()), (KEYS_MAX, KEYS_MAX));
}
