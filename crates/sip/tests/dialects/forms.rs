//! Forms of metadata that no one client has to itself, and what is left of them when they are damaged.

use expect_test::{Expect, expect};
use sip::siprec::{MetadataError, read};

use crate::picture::picture;

fn check(document: &str, expect: Expect) {
    let read = match read(document.as_bytes()) {
        Ok(metadata) => picture(&metadata),
        Err(error) => format!("{error}\n"),
    };
    expect.assert_eq(&read);
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
            group 7+OTCyoxTmqmqyA/1weDAg== from 2010-12-16T23:41:07.000000Z
            session hVpd7YQgRW2nD22h7q60JQ== of group 7+OTCyoxTmqmqyA/1weDAg== from 2010-12-16T23:41:07.000000Z
              known to SIP as ab30317f1a784dc48ff824d0d3715d86;remote=47755a9de7794ba387653f2099600ef2
            participant srfBElmCRp2QB23b7Mpk0w==
              sip:bob@biloxi.com called Bob
            participant zSfPoSvdSDCmU3A3TRDxAw==
              sip:paul@biloxi.com called Paul
              tel:+1234
            stream UAAMm5GRQKSCMVvLyl4rFw== label 96
            stream i1Pz3to5hGk8fuXl+PbwCw== label 97
            session hVpd7YQgRW2nD22h7q60JQ== recorded from 2010-12-16T23:41:07.000000Z
            srfBElmCRp2QB23b7Mpk0w== in hVpd7YQgRW2nD22h7q60JQ== from 2010-12-16T23:41:07.000000Z until 2010-12-16T23:42:07.000000Z
            srfBElmCRp2QB23b7Mpk0w== sends ["i1Pz3to5hGk8fuXl+PbwCw=="] hears ["UAAMm5GRQKSCMVvLyl4rFw=="]
            zSfPoSvdSDCmU3A3TRDxAw== sends ["UAAMm5GRQKSCMVvLyl4rFw=="] hears []
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
            session BYiC7uSZQGN3VQdzWI1HWw== from 2012-02-02T09:02:11.000000Z
            participant hq18GJs3TtJdhjRsk1+PZQ==
              sip:sipp@168.192.24.40 called sipp
              callingparty = true
              ucid = 12345;encoding=hex
            stream rzT3mgZ4TsRmZVqP4oOaCA== label 16777227 separate
            hq18GJs3TtJdhjRsk1+PZQ== in BYiC7uSZQGN3VQdzWI1HWw== from 2012-02-02T09:02:11.000000Z
            hq18GJs3TtJdhjRsk1+PZQ== sends ["rzT3mgZ4TsRmZVqP4oOaCA=="] hears []
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
            group urn:uuid:1
            session urn:uuid:2 from 2024-05-06T05:08:09.000000Z
            participant urn:uuid:3
              sip:+4930@h;user=phone called A <b> & c
            stream  label -
            calldata.id = 77
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
            session a
            participant p
              sip:a&b@h?x=1&y=2 called Smith & Sons; <x> A &unknown;
            participant q
              sip:c@h
        "#]],
    );
}

#[test]
fn a_document_that_is_cut_short_gives_what_it_had() {
    check(
        r#"<recording><datamode>complete</datamode><session session_id="a"><start-time>2024-05-06T07:08:09Z</start-time></session><participant participant_id="p"><nameID aor="sip:a@h"><name>Al"#,
        expect![[r#"
            complete damaged
            session a from 2024-05-06T07:08:09.000000Z
            participant p
              sip:a@h called Al
        "#]],
    );
    check(
        r#"<recording><participant participant_id="p"><nameID aor="sip:a@h"/></recording>"#,
        expect![[r#"
            partial damaged
            participant p
              sip:a@h
        "#]],
    );
    check(
        r#"<recording><session session_id="a"></wrong></session><stream stream_id="s"/></recording>"#,
        expect![[r#"
            partial damaged
            session a
            stream s label -
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
    let many: String = (0..2000).map(|n| format!("<participant participant_id=\"{n}\"/>")).collect();
    let found = read(format!("<recording>{many}<stream stream_id=\"s\"/></recording>").as_bytes()).unwrap();
    assert_eq!((found.participants.len(), found.streams.len(), found.is_damaged), (256, 1, true));
    let deep = format!("<session session_id=\"s\">{}", "<a>".repeat(10_000));
    assert!(read(deep.as_bytes()).unwrap().is_damaged);
    let long = format!("<recording><session session_id=\"{}\"/></recording>", "é".repeat(5000));
    assert_eq!(read(long.as_bytes()).unwrap().session().unwrap().id.len(), 1024);
}
