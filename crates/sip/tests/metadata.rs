//! SIPREC metadata of the dialects in use, and what is left of it when it is damaged.

use expect_test::{Expect, expect};
use proptest::prelude::*;
use sip::siprec::{Association, MetadataError, Participant, RecordingMetadata, StreamInfo, read, write};

fn check(document: &str, expect: Expect) {
    let read = match read(document.as_bytes()) {
        Ok(metadata) => picture(&metadata),
        Err(error) => format!("{error}\n"),
    };
    expect.assert_eq(&read);
}

/// One line per fact.
fn picture(m: &RecordingMetadata) -> String {
    let mut lines = Vec::new();
    let mode = if m.complete { "complete" } else { "partial" };
    lines.push(format!("{mode}{}", if m.is_damaged { " damaged" } else { "" }));
    lines.push(format!(
        "session {:?} group {:?}",
        m.session_id.as_deref().unwrap_or("-"),
        m.group_id.as_deref().unwrap_or("-")
    ));
    if !m.sip_session_ids.is_empty() {
        lines.push(format!("sip {:?}", m.sip_session_ids));
    }
    if m.start_time.is_some() || m.stop_time.is_some() {
        let text = |time: Option<model::WallTime>| time.map_or("-".into(), |time| time.to_string());
        lines.push(format!("from {} until {}", text(m.start_time), text(m.stop_time)));
    }
    for participant in &m.participants {
        lines.push(format!("participant {} {:?}", participant.id, participant.aors));
        lines.extend(participant.extensions.iter().map(|(name, value)| format!("  {name} = {value}")));
    }
    for stream in &m.streams {
        lines.push(format!("stream {} label {:?}", stream.id, stream.label.as_deref().unwrap_or("-")));
    }
    lines.extend(m.sends.iter().map(|(p, s)| format!("{p} sends {s}")));
    lines.extend(m.receives.iter().map(|(p, s)| format!("{p} hears {s}")));
    for a in m.associations.iter().filter(|a| a.disassociated.is_some()) {
        lines.push(format!("{} left", a.participant));
    }
    lines.extend(m.extensions.iter().map(|(name, value)| format!("{name} = {value}")));
    lines.join("\n") + "\n"
}

#[test]
fn rfc_7865_form() {
    check(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<recording xmlns='urn:ietf:params:xml:ns:recording:1'>
  <datamode>complete</datamode>
  <group group_id="7+OTCyoxTmqmqyA/1weDAg=="><associate-time>2010-12-16T23:41:07Z</associate-time></group>
  <session session_id="hVpd7YQgRW2nD22h7q60JQ==">
    <sipSessionID>ab30317f1a784dc48ff824d0d3715d86;remote=47755a9de7794ba387653f2099600ef2</sipSessionID>
    <group-ref>7+OTCyoxTmqmqyA/1weDAg==</group-ref>
    <start-time>2010-12-16T23:41:07Z</start-time>
  </session>
  <participant participant_id="srfBElmCRp2QB23b7Mpk0w==">
    <nameID aor="sip:bob@biloxi.com"><name xml:lang="it">Bob</name></nameID>
  </participant>
  <participant participant_id="zSfPoSvdSDCmU3A3TRDxAw==">
    <nameID aor="sip:paul@biloxi.com"><name xml:lang="it">Paul</name></nameID>
    <nameID aor="tel:+1234"/>
  </participant>
  <stream stream_id="UAAMm5GRQKSCMVvLyl4rFw==" session_id="hVpd7YQgRW2nD22h7q60JQ=="><label>96</label></stream>
  <stream stream_id="i1Pz3to5hGk8fuXl+PbwCw==" session_id="hVpd7YQgRW2nD22h7q60JQ=="><label>97</label></stream>
  <sessionrecordingassoc session_id="hVpd7YQgRW2nD22h7q60JQ=="><associate-time>2010-12-16T23:41:07Z</associate-time></sessionrecordingassoc>
  <participantsessionassoc participant_id="srfBElmCRp2QB23b7Mpk0w==" session_id="hVpd7YQgRW2nD22h7q60JQ==">
    <associate-time>2010-12-16T23:41:07Z</associate-time>
    <disassociate-time>2010-12-16T23:42:07Z</disassociate-time>
  </participantsessionassoc>
  <participantstreamassoc participant_id="srfBElmCRp2QB23b7Mpk0w=="><send>i1Pz3to5hGk8fuXl+PbwCw==</send><recv>UAAMm5GRQKSCMVvLyl4rFw==</recv></participantstreamassoc>
  <participantstreamassoc participant_id="zSfPoSvdSDCmU3A3TRDxAw=="><send>UAAMm5GRQKSCMVvLyl4rFw==</send></participantstreamassoc>
</recording>"#,
        expect![[r#"
            complete
            session "hVpd7YQgRW2nD22h7q60JQ==" group "7+OTCyoxTmqmqyA/1weDAg=="
            sip ["ab30317f1a784dc48ff824d0d3715d86;remote=47755a9de7794ba387653f2099600ef2"]
            from 2010-12-16T23:41:07.000000Z until -
            participant srfBElmCRp2QB23b7Mpk0w== [("sip:bob@biloxi.com", Some("Bob"))]
            participant zSfPoSvdSDCmU3A3TRDxAw== [("sip:paul@biloxi.com", Some("Paul")), ("tel:+1234", None)]
            stream UAAMm5GRQKSCMVvLyl4rFw== label "96"
            stream i1Pz3to5hGk8fuXl+PbwCw== label "97"
            srfBElmCRp2QB23b7Mpk0w== sends i1Pz3to5hGk8fuXl+PbwCw==
            zSfPoSvdSDCmU3A3TRDxAw== sends UAAMm5GRQKSCMVvLyl4rFw==
            srfBElmCRp2QB23b7Mpk0w== hears UAAMm5GRQKSCMVvLyl4rFw==
            srfBElmCRp2QB23b7Mpk0w== left
        "#]],
    );
}

#[test]
fn draft_form_with_attributes_send_in_participant_and_vendor_data() {
    // Oracle: times without zone, extension data.
    check(
        r#"<?xml version='1.0' encoding='UTF-8'?>
<recording xmlns='urn:ietf:params:xml:ns:recording'>
<dataMode>complete</dataMode>
<session id="BYiC7uSZQGN3VQdzWI1HWw=="><associate-time>2012-02-02T09:02:11</associate-time><start-time>2012-02-02T09:02:11</start-time></session>
<participant id="hq18GJs3TtJdhjRsk1+PZQ==" session="BYiC7uSZQGN3VQdzWI1HWw==">
<nameID aor="sip:sipp@168.192.24.40"><name>sipp</name></nameID>
<associate-time>2012-02-02T09:02:11</associate-time>
<send>rzT3mgZ4TsRmZVqP4oOaCA==</send>
<extensiondata xmlns:apkt="http://acmepacket.com/siprec/extensiondata">
<apkt:callingParty>true</apkt:callingParty><apkt:ucid>12345;encoding=hex</apkt:ucid></extensiondata>
</participant>
<stream id="rzT3mgZ4TsRmZVqP4oOaCA==" session="BYiC7uSZQGN3VQdzWI1HWw=="><label>16777227</label><mode>separate</mode></stream>
</recording>"#,
        expect![[r#"
            complete
            session "BYiC7uSZQGN3VQdzWI1HWw==" group "-"
            from 2012-02-02T09:02:11.000000Z until -
            participant hq18GJs3TtJdhjRsk1+PZQ== [("sip:sipp@168.192.24.40", Some("sipp"))]
              callingparty = true
              ucid = 12345;encoding=hex
            stream rzT3mgZ4TsRmZVqP4oOaCA== label "16777227"
            hq18GJs3TtJdhjRsk1+PZQ== sends rzT3mgZ4TsRmZVqP4oOaCA==
            mode = separate
        "#]],
    );
}

#[test]
fn prefixes_other_roots_and_ids_of_all_kinds() {
    // Ribbon's prefix, BroadWorks' root and urn:uuid ids; CDATA, comments, an unknown zone form.
    check(
        r#"<tns:recording_metadata xmlns:tns="urn:ietf:params:xml:ns:siprec"><!-- x -->
<tns:datamode>partial</tns:datamode>
<tns:group tns:group_id="urn:uuid:1"><tns:callData><tns:id>77</tns:id></tns:callData></tns:group>
<tns:session tns:session_id="urn:uuid:2"><tns:start-time>2024-05-06T07:08:09+0200</tns:start-time><tns:stop-time>never</tns:stop-time></tns:session>
<tns:participant tns:participant_id="urn:uuid:3"><tns:nameID tns:aor="sip:+4930@h;user=phone"><tns:name><![CDATA[A <b> & c]]></tns:name></tns:nameID></tns:participant>
<tns:stream tns:stream_id="" tns:session_id="urn:uuid:2"><tns:label></tns:label></tns:stream>
</tns:recording_metadata>"#,
        expect![[r#"
            partial
            session "urn:uuid:2" group "urn:uuid:1"
            from 2024-05-06T05:08:09.000000Z until -
            participant urn:uuid:3 [("sip:+4930@h;user=phone", Some("A <b> & c"))]
            stream  label "-"
            id = 77
        "#]],
    );
}

#[test]
fn aor_and_name_that_are_not_escaped() {
    // OpenSIPS writes both as they are.
    check(
        r#"<recording xmlns="urn:ietf:params:xml:ns:recording:1"><datamode>complete</datamode>
<session session_id="a"></session>
<participant participant_id="p"><nameID aor="sip:a&b@h?x=1&y=2"><name>Smith & Sons; &lt;x&gt; &#65; &unknown;</name></nameID></participant>
<participant participant_id="q"><nameID aor="sip:c@h"></nameID></participant>
</recording>"#,
        expect![[r#"
            complete
            session "a" group "-"
            participant p [("sip:a&b@h?x=1&y=2", Some("Smith & Sons; <x> A &unknown;"))]
            participant q [("sip:c@h", None)]
        "#]],
    );
}

#[test]
fn a_document_that_is_cut_short_gives_what_it_had() {
    check(
        r#"<recording><datamode>complete</datamode><session session_id="a"><start-time>2024-05-06T07:08:09Z</start-time></session><participant participant_id="p"><nameID aor="sip:a@h"><name>Al"#,
        expect![[r#"
            complete damaged
            session "a" group "-"
            from 2024-05-06T07:08:09.000000Z until -
            participant p [("sip:a@h", Some("Al"))]
        "#]],
    );
    check(
        r#"<recording><participant participant_id="p"><nameID aor="sip:a@h"/></recording>"#,
        expect![[r#"
        partial damaged
        session "-" group "-"
        participant p [("sip:a@h", None)]
    "#]],
    );
    check(
        r#"<recording><session session_id="a"></wrong></session><stream stream_id="s"/></recording>"#,
        expect![[r#"
        partial damaged
        session "a" group "-"
        stream s label "-"
    "#]],
    );
}

#[test]
fn what_is_no_metadata_is_an_error_and_no_more() {
    check(
        "",
        expect![[r#"
        no recording metadata: neither session nor participant nor stream
    "#]],
    );
    check(
        "<html><body>hello</body></html>",
        expect![[r#"
        no recording metadata: neither session nor participant nor stream
    "#]],
    );
    check(
        "v=0",
        expect![[r#"
        no recording metadata: neither session nor participant nor stream
    "#]],
    );
    assert_eq!(read(&vec![b' '; 300_000]), Err(MetadataError::TooLong(300_000)));
    assert_eq!(read(b"\xff\xfe<"), Err(MetadataError::Empty));
}

#[test]
fn lists_and_depth_have_a_limit() {
    let many = format!(
        "<recording>{}</recording>",
        "<participant participant_id=\"p\"/><stream stream_id=\"s\"/>".repeat(2000)
    );
    let found = read(many.as_bytes()).unwrap();
    assert_eq!((found.participants.len(), found.streams.len(), found.is_damaged), (1, 256, true));
    let deep = format!("<session session_id=\"s\">{}", "<a>".repeat(10_000));
    assert!(read(deep.as_bytes()).unwrap().is_damaged);
    let long = format!("<recording><session session_id=\"{}\"/></recording>", "é".repeat(5000));
    assert_eq!(read(long.as_bytes()).unwrap().session_id.unwrap().len(), 1024);
}

fn id() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9+/=:<>&\"' é-]{0,20}[a-z]".prop_map(|s| s.trim().to_owned())
}

prop_compose! {
    fn document()(
        complete: bool,
        group_id in prop::option::of(id()),
        session_id in id(),
        sip_session_ids in prop::collection::vec(id(), 0..3),
        start in prop::option::of(0..4_000_000_000_000_i64),
        people in prop::collection::btree_map(id(), prop::collection::btree_map(id(), prop::option::of(id()), 0..3), 0..4),
        streams in prop::collection::vec((id(), prop::option::of(id()), prop::option::of(id())), 0..4),
        sends in prop::collection::vec((id(), id()), 0..4),
        receives in prop::collection::vec((id(), id()), 0..4),
        left in prop::collection::vec((id(), prop::option::of(id())), 0..3),
    ) -> RecordingMetadata {
        let start_time = start.map(model::WallTime::from_millis);
        RecordingMetadata {
            complete,
            group_id,
            session_id: Some(session_id),
            sip_session_ids,
            start_time,
            stop_time: start_time,
            participants: people.into_iter().map(|(id, aors)| Participant { id, aors: aors.into_iter().collect(), extensions: Vec::new() }).collect(),
            streams: streams.into_iter().map(|(id, label, session)| StreamInfo { id, label, session }).collect(),
            sends,
            receives,
            associations: left.into_iter().map(|(participant, session)| Association { participant, session, associated: start_time, disassociated: None }).collect(),
            ..RecordingMetadata::default()
        }
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(metadata in document()) {
        prop_assert_eq!(read(write(&metadata).as_bytes()), Ok(metadata));
    }

    #[test]
    fn what_is_damaged_is_survived(metadata in document(), cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut bytes = write(&metadata).into_bytes();
        for (at, byte) in cuts {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = read(&bytes);
        let _ = read(&bytes[..bytes.len() / 2]);
    }
}
