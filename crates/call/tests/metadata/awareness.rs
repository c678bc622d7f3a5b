//! Peers that are aware of recording (RFC 7866 section 6.3) are told of it, and what they wish is noted.

use call::Ask;

use crate::client::Client;

fn aware() -> Client {
    let mut client = Client::new();
    client.siprec = false;
    client.supported = vec!["timer".into(), "record-aware".into()];
    client
}

#[test]
fn who_is_aware_is_told_what_becomes_of_the_recording() {
    let mut client = aware();
    client.invite(b"", ["1", "2"]);
    client.order(Ask::Pause { timeout: None });
    client.order(Ask::Resume);
    client.reinvite("inactive", None);
    client.reinvite("sendonly", None);
    client.order(Ask::Stop);
    let told: Vec<_> =
        client.answers.iter().filter(|a| a.starts_with("200") || a.starts_with("INVITE")).collect();
    assert_eq!(
        told,
        [
            "200 record:on",
            "INVITE record:paused",
            "INVITE record:on",
            "200 record:off",
            "200 record:on",
            "INVITE record:off"
        ]
    );
    let extra = &client.data.extra;
    assert_eq!((extra["record-aware"].as_str(), extra["recordpref"].as_str()), ("yes", "on"));
}

/// A recording client tells those who take part; who is not aware would not know what is meant.
#[test]
fn nobody_else_is_told() {
    let mut unaware = aware();
    unaware.supported.clear();
    let mut recording = aware();
    recording.siprec = true;
    for client in [&mut unaware, &mut recording] {
        client.invite(b"", ["1", "2"]);
        client.order(Ask::Pause { timeout: None });
        client.order(Ask::Resume);
        assert!(
            client.answers.iter().all(|a| !a.contains("record:") && a != "INVITE"),
            "{:?}",
            client.answers
        );
    }
}
