//! Metadata that come one after the other: complete ones replace, partial ones add.

use expect_test::{Expect, expect};
use sip::siprec::{View, read};

use crate::picture::picture;

/// What is known after each of the documents was taken.
fn check(documents: &[&str], expect: Expect) {
    let mut view = View::new();
    let mut out = String::new();
    for document in documents {
        let lack = view.take(read(document.as_bytes()).unwrap());
        out += &lack.map(|lack| format!("lacks what is {lack:?}\n").to_lowercase()).unwrap_or_default();
    }
    expect.assert_eq(&(out + &picture(view.known())));
}

const BEGIN: &str = r#"<recording><datamode>complete</datamode><session session_id="c"><start-time>2026-01-01T00:00:00Z</start-time></session>
<participant participant_id="a"><nameID aor="sip:a@h"><name>Al</name></nameID></participant><participant participant_id="b"><nameID aor="sip:b@h"/></participant>
<stream stream_id="1" session_id="c"><label>1</label></stream><stream stream_id="2" session_id="c"><label>2</label></stream>
<participantsessionassoc participant_id="a" session_id="c"><associate-time>2026-01-01T00:00:00Z</associate-time></participantsessionassoc>
<participantsessionassoc participant_id="b" session_id="c"><associate-time>2026-01-01T00:00:00Z</associate-time></participantsessionassoc>
<participantstreamassoc participant_id="a"><send>1</send><recv>2</recv></participantstreamassoc>
<participantstreamassoc participant_id="b"><send>2</send><recv>1</recv></participantstreamassoc></recording>"#;

/// RFC 8068 section 3.2: on hold, the one that holds is said to hear only, and the other to speak only.
#[test]
fn a_hold_that_only_names_streams() {
    check(
        &[
            BEGIN,
            r#"<recording><datamode>partial</datamode><participantstreamassoc participant_id="a"><recv>2</recv></participantstreamassoc><participantstreamassoc participant_id="b"><send>2</send></participantstreamassoc></recording>"#,
        ],
        expect![[r#"
            partial
            session c from 2026-01-01T00:00:00.000000Z
            participant a
              sip:a@h called Al
            participant b
              sip:b@h
            stream 1 label 1
            stream 2 label 2
            a in c from 2026-01-01T00:00:00.000000Z
            b in c from 2026-01-01T00:00:00.000000Z
            a sends [] hears ["2"]
            b sends ["2"] hears []
        "#]],
    );
}

#[test]
fn a_transfer_that_keeps_the_session() {
    check(
        &[
            BEGIN,
            r#"<recording><datamode>partial</datamode><participant participant_id="d"><nameID aor="sip:d@h"/></participant>
            <participantsessionassoc participant_id="b" session_id="c"><disassociate-time>2026-01-01T00:01:00Z</disassociate-time></participantsessionassoc>
            <participantsessionassoc participant_id="d" session_id="c"><associate-time>2026-01-01T00:01:00Z</associate-time></participantsessionassoc>
            <participantstreamassoc participant_id="b"/><participantstreamassoc participant_id="d"><send>2</send><recv>1</recv></participantstreamassoc></recording>"#,
        ],
        expect![[r#"
            partial
            session c from 2026-01-01T00:00:00.000000Z
            participant a
              sip:a@h called Al
            participant b
              sip:b@h
            participant d
              sip:d@h
            stream 1 label 1
            stream 2 label 2
            a in c from 2026-01-01T00:00:00.000000Z
            b in c from 2026-01-01T00:00:00.000000Z until 2026-01-01T00:01:00.000000Z
            d in c from 2026-01-01T00:01:00.000000Z
            a sends ["1"] hears ["2"]
            b sends [] hears []
            d sends ["2"] hears ["1"]
        "#]],
    );
}

#[test]
fn who_comes_back_is_there_again() {
    let left = r#"<recording><datamode>partial</datamode><participantsessionassoc participant_id="b" session_id="c"><disassociate-time>2026-01-01T00:01:00Z</disassociate-time></participantsessionassoc></recording>"#;
    let back = r#"<recording><datamode>partial</datamode><participantsessionassoc participant_id="b" session_id="c"><associate-time>2026-01-01T00:02:00Z</associate-time></participantsessionassoc></recording>"#;
    let mut view = View::new();
    for (document, has_left) in [(BEGIN, false), (left, true), (back, false)] {
        view.take(read(document.as_bytes()).unwrap());
        assert_eq!(view.known().has_left("b"), has_left);
    }
}

#[test]
fn an_update_of_what_was_never_told() {
    check(
        &[
            BEGIN,
            r#"<recording><datamode>partial</datamode><participantsessionassoc participant_id="x" session_id="c"><associate-time>2026-01-01T00:01:00Z</associate-time></participantsessionassoc></recording>"#,
        ],
        expect![[r#"
            lacks what is unknown
            partial
            session c from 2026-01-01T00:00:00.000000Z
            participant a
              sip:a@h called Al
            participant b
              sip:b@h
            stream 1 label 1
            stream 2 label 2
            a in c from 2026-01-01T00:00:00.000000Z
            b in c from 2026-01-01T00:00:00.000000Z
            x in c from 2026-01-01T00:01:00.000000Z
            a sends ["1"] hears ["2"]
            b sends ["2"] hears ["1"]
        "#]],
    );
}

#[test]
fn a_complete_one_replaces_and_a_damaged_one_does_not() {
    let other = r#"<recording><datamode>complete</datamode><session session_id="c"/><participant participant_id="x"><nameID aor="sip:x@h"/></participant>"#;
    check(
        &[BEGIN, &format!("{other}</recording>")],
        expect![[r#"
        complete
        session c
        participant x
          sip:x@h
    "#]],
    );
    check(
        &[BEGIN, other],
        expect![[r#"
        lacks what is unreadable
        partial damaged
        session c from 2026-01-01T00:00:00.000000Z
        participant a
          sip:a@h called Al
        participant b
          sip:b@h
        participant x
          sip:x@h
        stream 1 label 1
        stream 2 label 2
        a in c from 2026-01-01T00:00:00.000000Z
        b in c from 2026-01-01T00:00:00.000000Z
        a sends ["1"] hears ["2"]
        b sends ["2"] hears ["1"]
    "#]],
    );
}

/// What is said again and again in small pieces stays within a limit, and so does the work of a document that is as
/// full of references as it may be.
#[test]
fn what_is_known_does_not_grow_without_end() {
    let mut view = View::new();
    let mut refused = 0;
    for n in 0..400 {
        let aors: String =
            (0..200).map(|a| format!("<nameID aor=\"sip:{a}-{}\"/>", "x".repeat(200))).collect();
        let document =
            format!("<recording><participant participant_id=\"{n}\">{aors}</participant></recording>");
        refused += usize::from(view.take(read(document.as_bytes()).unwrap()).is_some());
    }
    let held: usize = view.known().participants.iter().flat_map(|p| &p.aors).map(|(uri, _)| uri.len()).sum();
    assert!(refused > 0 && held <= 512 * 1024, "{refused} {held}");
    let sends = "<send>unknown</send>".repeat(64);
    let full: String = (0..256)
        .map(|n| format!("<participant participant_id=\"{n}\"/><stream stream_id=\"{n}\"/><participantstreamassoc participant_id=\"{n}\">{}</participantstreamassoc>", &sends[..640]))
        .collect();
    let found = read(format!("<recording>{full}</recording>").as_bytes()).unwrap();
    let references: usize = found.stream_associations.iter().map(|a| a.sends.len()).sum();
    assert!(references <= 1_024 && found.is_damaged, "{references}");
}

/// A name alone says nothing of the address.
#[test]
fn a_name_without_an_address_is_added() {
    let mut view = View::new();
    let name = r#"<recording><datamode>partial</datamode><participant participant_id="b"><nameID><name>Bo</name></nameID></participant></recording>"#;
    for document in [BEGIN, name] {
        view.take(read(document.as_bytes()).unwrap());
    }
    assert_eq!(view.known().participant("b").unwrap().aors, [("sip:b@h".to_owned(), Some("Bo".to_owned()))]);
}

#[test]
fn ids_in_another_form_are_the_same() {
    let first = r#"<recording><datamode>complete</datamode><session session_id="urn:uuid:79b2fcd8-5c7f-455c-783f-db334e5d57d0"/><participant participant_id="urn:uuid:0a0b0c0d-5c7f-455c-783f-db334e5d57d1"><nameID aor="sip:a@h"/></participant></recording>"#;
    let second = r#"<recording><datamode>partial</datamode><participant participant_id="{0A0B0C0D-5C7F-455C-783F-DB334E5D57D1}"><nameID aor="sip:a@h"><name>Al</name></nameID></participant><participantsessionassoc participant_id="0a0b0c0d5c7f455c783fdb334e5d57d1" session_id="79B2FCD8-5C7F-455C-783F-DB334E5D57D0"/></recording>"#;
    check(
        &[first, second],
        expect![[r#"
        partial
        session urn:uuid:79b2fcd8-5c7f-455c-783f-db334e5d57d0
        participant urn:uuid:0a0b0c0d-5c7f-455c-783f-db334e5d57d1
          sip:a@h called Al
        urn:uuid:0a0b0c0d-5c7f-455c-783f-db334e5d57d1 in urn:uuid:79b2fcd8-5c7f-455c-783f-db334e5d57d0
    "#]],
    );
}
