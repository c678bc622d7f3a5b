//! Metadata that come during the call: transfers, states, ends, and what has to be asked for.

use expect_test::expect;
use model::peer::Flowing;

use crate::client::Client;

const CUBE: &[u8] = include_bytes!("../../../sip/tests/dialects/documents/cube.xml");
const CUBE_BYE: &str = include_str!("../../../sip/tests/dialects/documents/cube-bye.xml");

/// A document that says this beside its mode.
fn document(mode: &str, content: &str) -> String {
    format!("<recording><datamode>{mode}</datamode>{content}</recording>")
}

/// Two participants, of whom the first is called and the second sends the second stream.
fn two(second: &str, state: &str) -> String {
    format!(
        "<recording state=\"{state}\"><datamode>complete</datamode><session session_id=\"c\"/>\
         <participant participant_id=\"a\"><nameID aor=\"sip:1001@h\"/></participant>\
         <participant participant_id=\"{second}\"><nameID aor=\"sip:{second}@h\"/></participant>\
         <stream stream_id=\"1\"><label>1</label></stream><stream stream_id=\"2\"><label>2</label></stream>\
         <participantstreamassoc participant_id=\"a\"><send>1</send></participantstreamassoc>\
         <participantstreamassoc participant_id=\"{second}\"><send>2</send></participantstreamassoc></recording>"
    )
}

#[test]
fn a_transfer_that_keeps_the_session() {
    let mut client = Client::new();
    client.invite(CUBE, ["1", "2"]);
    client.wait(60);
    let update = document(
        "partial",
        r#"<participant participant_id="new"><nameID aor="sip:+15550100333@h"/></participant>
        <participantsessionassoc participant_id="PmA2cQZdEfGABMUSKbq4Yw==" session_id="PmA2cQZdEfGAAsUSKbq4Yw=="><disassociate-time>2026-03-11T08:16:30Z</disassociate-time></participantsessionassoc>
        <participantsessionassoc participant_id="new" session_id="PmA2cQZdEfGAAsUSKbq4Yw=="><associate-time>2026-03-11T08:16:30Z</associate-time></participantsessionassoc>
        <participantstreamassoc participant_id="PmA2cQZdEfGABMUSKbq4Yw=="/>
        <participantstreamassoc participant_id="new"><send>PmDwGwZdEfGACcUSKbq4Yw==</send></participantstreamassoc>"#,
    );
    client.tell("UPDATE", &update);
    client.reinvite("sendonly", None);
    assert_eq!(client.answers, ["open", "200", "200"]);
    expect![[r#"
        unknown
        4101 participant agent since 2026-03-11T08:15:30.412000Z
        +15550100200 participant external since 2026-03-11T08:15:30.412000Z until 2026-03-11T08:16:30.000000Z
        +15550100333 participant external since 2026-03-11T08:16:30.000000Z
        stream 1 agent active
        stream 2 external active
        session-id = 5c1f0a9e00105000a000acbc32d5f8d1;remote=8d0f3b7200105000a0004c7766aa90e3
        siprec-session = PmA2cQZdEfGAAsUSKbq4Yw==
        siprec.start-time = 2026-03-11T08:15:30.412000Z
    "#]]
    .assert_eq(&client.picture());
}

/// The metadata of OpenSIPS are always complete: who is not in them any more has left.
#[test]
fn a_transfer_by_complete_metadata() {
    let mut client = Client::new();
    client.invite(two("2002", "").as_bytes(), ["1", "2"]);
    client.wait(30);
    client.reinvite("sendonly", Some(&two("3003", "")));
    expect![[r#"
        unknown
        1001 participant agent
        2002 participant external until 2026-11-18T11:07:10.000000Z
        3003 participant external
        stream 1 agent active
        stream 2 external active
        siprec-session = c
    "#]]
    .assert_eq(&client.picture());
}

/// After a consultation the call goes on in a session of its own.
#[test]
fn the_session_that_goes_on_is_the_one_that_the_call_is_in() {
    let mut client = Client::new();
    client.invite(two("2002", "").as_bytes(), ["1", "2"]);
    assert_eq!(client.data.correlation["siprec-session"], "c");
    let second = r#"<session session_id="d"><start-time>2026-11-18T11:07:00Z</start-time></session>"#;
    client.tell("UPDATE", &document("partial", second));
    assert_eq!(client.data.correlation["siprec-session"], "c", "the first goes on");
    let end = r#"<session session_id="c"><stop-time>2026-11-18T11:08:00Z</stop-time></session>"#;
    client.tell("UPDATE", &document("partial", end));
    assert_eq!(client.data.correlation["siprec-session"], "d");
    assert_eq!(client.data.extra["siprec.start-time"], "2026-11-18T11:07:00.000000Z");
}

/// In a conference people come and go for hours.
#[test]
fn parties_that_have_no_place_any_more_are_counted() {
    let mut client = Client::new();
    let attend = |id: usize| {
        let who = format!("<participant participant_id=\"{id}\"><nameID aor=\"sip:{id}@h\"/></participant>");
        let stream = "<stream stream_id=\"1\"><label>1</label></stream>";
        let speaks = format!(
            "<participantstreamassoc participant_id=\"{id}\"><send>1</send></participantstreamassoc>"
        );
        document("complete", &format!("<session session_id=\"c\"/>{who}{stream}{speaks}"))
    };
    client.invite(attend(0).as_bytes(), ["1", "2"]);
    for id in 1..128 {
        client.tell("UPDATE", &attend(id));
    }
    let here = client.data.parties.iter().filter(|p| p.left.is_none()).count();
    assert_eq!((client.data.parties.len(), here), (128, 1));
    assert!(!client.data.extra.contains_key("parties-left-out"));
    client.tell("UPDATE", &attend(128));
    assert_eq!((client.data.parties.len(), client.data.extra["parties-left-out"].as_str()), (128, "1"));
}

#[test]
fn a_bye_that_tells_the_end() {
    let mut client = Client::new();
    client.invite(CUBE, ["1", "2"]);
    client.bye(CUBE_BYE);
    assert_eq!(client.data.extra["siprec.stop-time"], "2026-03-11T08:19:02.088000Z");
    let left: Vec<_> = client.data.parties.iter().map(|p| p.left.map(|t| t.to_string())).collect();
    assert_eq!(left, vec![Some("2026-03-11T08:19:02.088000Z".to_owned()); 2]);
    let methods: Vec<_> = client.kept.iter().map(|m| m.method.as_str()).collect();
    assert_eq!(methods, ["INVITE", "BYE"]);
    assert_eq!(client.answers, ["open", "200", "end by hang-up"]);
}

#[test]
fn what_metadata_do_not_say_stays_as_it_was() {
    let mut client = Client::new();
    client.invite(CUBE, ["1", "2"]);
    let before = client.picture();
    client.reinvite("sendonly", None);
    client.reinvite("sendonly", Some("<html/>"));
    client.tell("INFO", &document("partial", "<session session_id=\"PmA2cQZdEfGAAsUSKbq4Yw==\"/>"));
    assert_eq!(client.picture(), before);
}

#[test]
fn an_explicit_hold_wins_over_a_trunk_that_means_a_pause() {
    let mut client = Client::meaning(Flowing::Paused);
    client.invite(two("2002", "active").as_bytes(), ["1", "2"]);
    client.reinvite("inactive", Some(&two("2002", "on-hold")));
    client.reinvite("sendonly", Some(&two("2002", "active")));
    client.reinvite("inactive", Some(&two("2002", "")));
    expect![[r#"
        open
        200
        end by hold
        200
        open
        200
        pause by SDP (inactive)
        200"#]]
    .assert_eq(&client.answers.join("\n"));
}

#[test]
fn an_explicit_pause_wins_over_a_trunk_that_means_a_hold() {
    let mut client = Client::new();
    client.invite(two("2002", "").as_bytes(), ["1", "2"]);
    client.reinvite("inactive", Some(&two("2002", "paused")));
    client.reinvite("sendonly", Some(&two("2002", "")));
    client.reinvite("inactive", Some(&two("2002", "")));
    expect![[r#"
        open
        200
        pause by SIP (metadata: paused)
        200
        resume by SIP (metadata: paused)
        200
        end by hold
        200"#]]
    .assert_eq(&client.answers.join("\n"));
}

/// Media that go on are not kept while the client says that it pauses.
#[test]
fn a_pause_that_only_metadata_tell() {
    let mut client = Client::new();
    client.invite(two("2002", "").as_bytes(), ["1", "2"]);
    client.tell("UPDATE", &two("2002", "paused"));
    client.tell("UPDATE", &two("2002", "resumed"));
    expect![[r#"
        open
        200
        pause by SIP (metadata: paused)
        resume by SIP (metadata: paused)"#]]
    .assert_eq(&client.answers.join("\n"));
}

/// A refresh of what is offered already says nothing of the pause: card data are said while it goes on.
#[test]
fn a_refresh_does_not_end_a_pause_that_metadata_tell() {
    let mut client = Client::new();
    client.invite(two("2002", "").as_bytes(), ["1", "2"]);
    client.tell("UPDATE", &two("2002", "paused"));
    client.reinvite("sendonly", None);
    assert_eq!(client.answers, ["open", "200", "pause by SIP (metadata: paused)", "200"]);
}

const UNKNOWN: &str = r#"<participantsessionassoc participant_id="x" session_id="y"/>"#;

#[test]
fn what_is_missing_is_asked_for_once() {
    let mut client = Client::new();
    client.headers.push(("Accept".into(), "application/sdp, application/rs-metadata-request".into()));
    client.invite(CUBE, ["1", "2"]);
    client.tell("UPDATE", &document("partial", UNKNOWN));
    client.tell("UPDATE", &document("partial", UNKNOWN));
    client.tell("UPDATE", "<recording><participant");
    // The client answers, and what is missing after that is another cause.
    client.tell("UPDATE", &two("2002", ""));
    client.tell("UPDATE", &document("partial", UNKNOWN));
    for _ in 0..8 {
        client.tell("UPDATE", &two("2002", ""));
        client.tell("UPDATE", &document("partial", UNKNOWN));
    }
    let asked = client.answers.iter().filter(|a| *a == "UPDATE application/rs-metadata-request").count();
    assert_eq!((asked, client.answers.len()), (4, 2 + 4));
}

#[test]
fn who_does_not_show_that_it_can_be_asked_is_not() {
    for headers in
        [vec![], vec![("Allow", "INVITE, BYE")], vec![("Allow", "UPDATE"), ("Accept", "application/sdp")]]
    {
        let mut client = Client::new();
        client.headers = headers.into_iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
        client.invite(b"<recording><participant", ["1", "2"]);
        client.tell("UPDATE", &document("partial", UNKNOWN));
        assert_eq!(client.answers, ["open", "200"]);
    }
}

/// An INVITE whose metadata cannot be read is recorded, and asked about when its dialog stands.
#[test]
fn unreadable_metadata_are_asked_for_when_the_dialog_stands() {
    let mut client = Client::new();
    client.invite(b"\xff\xfe", ["1", "2"]);
    assert_eq!(client.answers, ["open", "200", "UPDATE application/rs-metadata-request"]);
}
