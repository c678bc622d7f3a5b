//! Messages go through JSON and come out as they were; what is hostile, of another version or damaged does no harm.

mod any;

use model::{CallId, Codec, Keys, OpenSegment, OpenStream, Protection, SegmentId, Side, Suite, WallTime};
use proptest::prelude::*;

use super::*;
use crate::frames::Frames;

/// The octets of a message, without its length.
fn written(frame: Result<Buffer, TooLong>) -> Vec<u8> {
    let frame = frame.unwrap();
    let message = Frames::default().next(&mut frame.as_ref()).unwrap().unwrap();
    message.as_ref().to_vec()
}

/// What comes of a message in JSON: what it says, or why not.
fn to_server(json: &str) -> Result<ToServer, Unreadable> {
    ToServer::read(json.as_bytes())
}

/// An order with two streams, the second of which is protected.
fn order(secret: u8) -> ToServer {
    let keys = Keys::single(Suite::AeadAes128Gcm, vec![secret; 28]).unwrap();
    let mut streams = vec![
        OpenStream::audio(1, Side::Agent, &[(8, Codec::new("PCMA", 8_000, 1))]),
        OpenStream::audio(2, Side::External, &[(8, Codec::new("PCMA", 8_000, 1))]),
    ];
    streams[1].protection = Protection::Srtp { inbound: keys.clone(), outbound: keys };
    let (segment, call) = (SegmentId::from_u64(7), CallId::from_u64(5));
    let open = OpenSegment::first(segment, call, WallTime::from_millis(1_800_000_000_000), streams);
    ToServer::Order(Order::Open(Box::new(open)))
}

proptest! {
    #[test]
    fn any_order_comes_out_as_it_went_in(order in any::order()) {
        let said = ToServer::Order(order);
        prop_assert_eq!(ToServer::read(&written(said.frame())).unwrap(), said);
    }

    #[test]
    fn any_report_comes_out_as_it_went_in(report in any::report()) {
        let said = FromServer::Report(report);
        prop_assert_eq!(FromServer::read(&written(said.frame())).unwrap(), said);
    }

    #[test]
    fn what_is_told_of_calls_comes_out_as_it_went_in(sighting in any::sighting(), other in any::sighting()) {
        let call = sighting.call.call;
        let said = ToServer::Custody(ToKeeper::Sighted(Box::new(sighting)));
        prop_assert_eq!(ToServer::read(&written(said.frame())).unwrap(), said);
        let gone = ToServer::Custody(ToKeeper::Unsighted { call });
        prop_assert_eq!(ToServer::read(&written(gone.frame())).unwrap(), gone);
        let found = FromServer::Custody(FromKeeper::SightedElsewhere { call, other: Box::new(other) });
        prop_assert_eq!(FromServer::read(&written(found.frame())).unwrap(), found);
    }

    #[test]
    fn what_a_server_says_of_itself_comes_out_as_it_went_in(hello in any::hello(), beat in any::beat()) {
        for said in [FromServer::Hello(hello), FromServer::Beat(beat), FromServer::Probed] {
            prop_assert_eq!(FromServer::read(&written(said.frame())).unwrap(), said);
        }
    }

    #[test]
    fn any_octets_are_survived(octets in prop::collection::vec(prop::num::u8::ANY, 0..500)) {
        let _ = (ToServer::read(&octets), FromServer::read(&octets));
    }

    #[test]
    fn damaged_orders_are_survived(
        order in any::order(),
        damage in prop::collection::vec((prop::num::usize::ANY, prop::num::u8::ANY), 1..6),
    ) {
        let mut octets = written(ToServer::Order(order).frame());
        let json = octets.trim_ascii_end().len();
        for (at, octet) in damage {
            let at = at % octets.len();
            octets[at] = octet;
        }
        let _ = ToServer::read(&octets);
        octets.truncate(json / 2);
        prop_assert!(matches!(ToServer::read(&octets), Err(Unreadable::NotJson(_))));
    }
}

#[test]
fn keys_are_in_the_list_beside_the_order_and_nowhere_else() {
    let json = String::from_utf8(written(order(0xab).frame())).unwrap();
    let (order, secrets) = json.split_once(r#","secrets":"#).unwrap();
    let key = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, [0xab; 28]);
    assert!(!order.contains(&key) && !order.contains("AEAD"), "{order}");
    assert_eq!(secrets.matches(&key).count(), 2, "{secrets}");
    assert!(secrets.starts_with("[null,"), "{secrets}");
}

#[test]
fn an_order_without_its_list_is_not_understood_so_that_nothing_encrypted_is_taken_for_plain() {
    let json = String::from_utf8(written(order(1).frame())).unwrap();
    let (bare, _) = json.split_once(r#","secrets":"#).unwrap();
    for list in ["", r#","secrets":[]"#, r#","secrets":[null]"#, r#","secrets":[null,null,null]"#] {
        let read = to_server(&format!("{bare}{list}}}"));
        assert!(matches!(read, Err(Unreadable::NotUnderstood(_))), "{list}: {read:?}");
    }
    assert!(to_server(&format!(r#"{bare},"secrets":[null,null]}}"#)).is_ok());
}

#[test]
fn keys_that_cannot_be_are_not_understood() {
    let json = String::from_utf8(written(order(1).frame())).unwrap();
    for (what, instead) in [
        ("AEAD_AES_128_GCM", "AEAD_AES_256_GCM"),
        ("AEAD_AES_128_GCM", "ROT13"),
        (r#""secret":"AQ"#, r#""secret":"?Q"#),
        (r#""srtp""#, r#""rot13""#),
        (r#""masters":["#, r#""masters":[{"secret":"AA=="},"#),
    ] {
        assert!(json.contains(what), "{what}");
        let read = to_server(&json.replace(what, instead));
        assert!(matches!(read, Err(Unreadable::NotUnderstood(_))), "{instead}: {read:?}");
    }
}

#[test]
fn errors_say_nothing_of_what_they_stand_in() {
    let json = String::from_utf8(written(order(1).frame())).unwrap();
    let spoiled = json.replace(r#""secret":"AQEB"#, r#""secret":"hush"#).replace("AEAD", "hush");
    let error = to_server(&spoiled).unwrap_err().to_string();
    assert!(!error.contains("hush"), "{error}");
}

#[test]
fn what_a_newer_version_adds_is_passed_over_and_what_it_says_anew_is_not_understood() {
    let json = String::from_utf8(written(order(1).frame())).unwrap();
    let more =
        json.replacen(r#"{"order":{"open":{"#, r#"{"urgency":[1],"order":{"open":{"mood":{"a":[]},"#, 1);
    assert_ne!(more, json);
    assert_eq!(to_server(&more).unwrap(), order(1));

    for json in [
        r#"{"gather":{"call":"06jv3kq4g2n00"}}"#,
        r#"{"order":{"gather":{"call":"06jv3kq4g2n00"}}}"#,
        r#"{"order":null}"#,
        r#"{"order":{"withdraw":{"segment":7}}}"#,
        r#"{"order":{"withdraw":{}},"order":{}}"#,
        "{}",
        "[]",
        "7",
    ] {
        let read = to_server(json);
        assert!(matches!(read, Err(Unreadable::NotUnderstood(_))), "{json}: {read:?}");
    }
    let reason = r#"{"report":{"refused":{"segment":"06jv3kq4g2n00","why":{"kind":"bored"}}}}"#;
    assert!(matches!(FromServer::read(reason.as_bytes()), Err(Unreadable::NotUnderstood(_))));
}

#[test]
fn what_is_no_json_is_told_apart() {
    let deep = "[".repeat(100_000);
    let within = format!(r#"{{"mood":{deep}"#);
    for text in ["", "{", r#"{"probe":{}"#, r#"{"probe":{}} x"#, "GET / HTTP/1.1", &deep, &within] {
        let read = to_server(text);
        assert!(matches!(read, Err(Unreadable::NotJson(_))), "{text:.40}: {read:?}");
    }
    let closed = format!(r#"{{"mood":{deep}{},"probe":{{}}}}"#, "]".repeat(100_000));
    assert_eq!(to_server(&closed).unwrap(), ToServer::Probe);
}

#[test]
fn no_frame_is_a_small_one() {
    for frame in [ToServer::Probe.frame(), FromServer::Probed.frame(), order(1).frame()] {
        assert!(frame.unwrap().len() >= FRAME_MIN);
    }
}

#[test]
fn what_is_too_long_is_not_written() {
    let ToServer::Order(Order::Open(mut open)) = order(1) else { panic!() };
    open.data.dn = Some("7".repeat(MESSAGE_MAX));
    assert!(matches!(ToServer::Order(Order::Open(open)).frame(), Err(TooLong)));
}

#[test]
fn what_is_no_sign_of_a_call_is_not_understood_and_what_is_missing_of_it_is_nothing() {
    let told = |signs: &str| {
        let key =
            r#""call": {"call": "000000000002d", "call_started": "2026-11-28T10:00:00Z", "tenant": "bonn"}"#;
        to_server(&format!(r#"{{"custody": {{"sighted": {{{key}, "total": 1, "signs": {signs}}}}}}}"#))
    };
    assert!(matches!(
        told(r#"["000102030405060708090a0b0c0d0e0f"]"#),
        Ok(ToServer::Custody(ToKeeper::Sighted(_)))
    ));
    for bad in [r#"[""]"#, r#"["zz"]"#, "[7]", "7", r#"["000102030405060708090a0b0c0d0e0f00"]"#] {
        assert!(matches!(told(bad), Err(Unreadable::NotUnderstood(_))), "{bad}");
    }
}

#[test]
fn the_state_of_a_call_goes_beside_what_is_said_of_it() {
    let snapshot = Some(std::sync::Arc::new(model::Secret::new(vec![7; 5_000])));
    let (call, stand) = (CallId::from_u64(5), model::custody::Stand { epoch: 2, version: 9 });
    let tags = vec!["0123456789abcdef01234567".to_owned()];
    let keep = ToServer::Custody(ToKeeper::Keep { call, stand, tags, snapshot: snapshot.clone() });
    assert_eq!(ToServer::read(&written(keep.frame())).unwrap(), keep);
    let owner = model::custody::OwnerIs::Away;
    let found = FromServer::Custody(FromKeeper::Found { number: 1, call, stand, owner, snapshot });
    assert_eq!(FromServer::read(&written(found.frame())).unwrap(), found);
    let adopt = ToServer::Custody(ToKeeper::Adopt { call, epoch: 3 });
    assert_eq!(ToServer::read(&written(adopt.frame())).unwrap(), adopt);
    let leaving = ToServer::Custody(ToKeeper::Leaving {});
    assert_eq!(ToServer::read(&written(leaving.frame())).unwrap(), leaving);
    let over = FromServer::Custody(FromKeeper::Over { segment: SegmentId::from_u64(6) });
    assert_eq!(FromServer::read(&written(over.frame())).unwrap(), over);
    let lacking = format!(
        r#"{{"custody": {{"keep": {{"call": "{call}", "stand": {{"epoch": 1, "version": 1}}, "tags": []}}}}}}"#
    );
    assert!(matches!(to_server(&lacking), Err(Unreadable::NotUnderstood(_))));
}
