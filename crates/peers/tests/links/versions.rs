//! Nodes of neighboring versions: what one has more to say does no harm, and where nothing is in common, that is said.

use peers::{Came, FromServer, Heard, ToServer};

use crate::bare::{BareClient, BareServer, end, framed, text};
use crate::nodes::{Nodes, beat, came, greeted, heard, linked, peer, refused, withdraw};

#[tokio::test]
async fn a_proxy_of_a_newer_version_speaks_the_common_one_and_what_it_adds_is_passed_over() {
    let nodes = Nodes::new();
    let mut listener = nodes.listen("rec-1").await;
    let mut bare = BareClient::connect(&nodes, "proxy-1", listener.local_addr()).await;
    let (say, response) = bare.ask("/peer/v1/link", Some("1-2")).await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["callspool-version"]),
        (200, &"1".parse().unwrap())
    );
    linked(&mut listener).await;
    for json in [
        r#"{"gather":{"call":"0000000000007"}}"#,
        r#"{"order":{"gather":{"call":"0000000000007"}},"secrets":[]}"#,
        r#"{"order":{"withdraw":{"segment":"0000000000007","mood":["blue"]}},"secrets":[],"urgency":{"high":true}}"#,
        r#"{"probe":{"nonce":9}}"#,
    ] {
        say.send(framed(json)).unwrap();
    }
    assert!(matches!(came(&mut listener).await.2, Came::Order(order) if order == withdraw(7)));
    assert!(matches!(came(&mut listener).await.2, Came::Probe));
    assert_eq!(listener.counts().skipped, 2);
}

#[tokio::test]
async fn a_server_of_a_newer_version_speaks_the_common_one_and_what_it_adds_is_passed_over() {
    let nodes = Nodes::new();
    let mut server = BareServer::start(&nodes, "1").await;
    let mut dialer = nodes.dial("proxy-1", "rec-1", server.address);
    let hello = r#"{"hello":{"name":"rec-1","node":0,"run":1,"segments":[],"color":"red"}}"#;
    let (asked, say) = server.greeted(&mut dialer, &[r#"{"weather":{}}"#, hello]).await;
    assert_eq!(asked.headers()["callspool-versions"], "1-1");
    let at = r#""at":"2027-01-15T08:00:00Z""#;
    for json in [
        r#"{"weather":{"at":1}}"#.to_owned(),
        format!(r#"{{"beat":{{"number":1,{at},"recordings":7,"loads":[["gpu",3]],"standing":"taking"}}}}"#),
        format!(
            r#"{{"beat":{{"number":2,{at},"recordings":7,"loads":[],"standing":"taking","heard":2,"fans":2}}}}"#
        ),
    ] {
        say.send(framed(&json)).unwrap();
    }
    assert_eq!(heard(&mut dialer).await, Heard::Alive);
    assert_eq!(heard(&mut dialer).await, Heard::Alive);
    assert_eq!(heard(&mut dialer).await, Heard::Beat(beat(2)));
    assert!(dialer.counts().skipped >= 3);
    dialer.send(&peer("rec-1"), &ToServer::Probe).unwrap();
}

#[tokio::test]
async fn where_no_version_is_common_a_sentence_says_which_there_are() {
    let nodes = Nodes::new();
    let mut listener = nodes.listen("rec-1").await;
    let mut bare = BareClient::connect(&nodes, "proxy-1", listener.local_addr()).await;
    let (_say, response) = bare.ask("/peer/v1/link", Some("7-9")).await.unwrap();
    assert_eq!(response.status(), 505);
    let said = text(response.into_body()).await;
    assert!(said.contains("version 1 ") && said.contains("versions 7 to 9"), "{said}");
    assert_eq!(listener.counts().version, 1);
    drop(bare);
    let mut dialer = nodes.dial("proxy-1", "rec-1", listener.local_addr());
    let (_, link) = greeted(&mut listener, &mut dialer, "rec-1").await;
    link.send(&FromServer::Probed).unwrap();
    assert_eq!(heard(&mut dialer).await, Heard::Alive);
}

#[tokio::test]
async fn whoever_asks_for_something_else_is_told_what_there_is() {
    let nodes = Nodes::new();
    let listener = nodes.listen("rec-1").await;
    for (path, versions, status, expected) in [
        ("/peer/v2/link", Some("1-1"), 404, "POST /peer/v1/link"),
        ("/peer/v1/link", None, 400, "callspool-versions"),
        ("/peer/v1/link", Some("latest"), 400, "1-1"),
    ] {
        let mut bare = BareClient::connect(&nodes, "proxy-1", listener.local_addr()).await;
        let (_say, response) = bare.ask(path, versions).await.unwrap();
        assert_eq!(response.status(), status);
        let said = text(response.into_body()).await;
        assert!(said.contains(expected), "{said}");
        // Asking again on the same connection gets no link.
        let again = bare.ask("/peer/v1/link", Some("1-1")).await;
        if let Ok((_say, response)) = again {
            assert_eq!(response.status(), 409);
            end(response.into_body()).await;
        }
    }
}

#[tokio::test]
async fn an_answer_in_a_version_that_is_not_spoken_here_is_no_link() {
    let nodes = Nodes::new();
    let mut server = BareServer::start(&nodes, "2").await;
    let mut dialer = nodes.dial("proxy-1", "rec-1", server.address);
    let _asked = server.linked().await;
    refused(&mut dialer, "version of the protocol that is not spoken here").await;
}
