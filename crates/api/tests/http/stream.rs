//! The stream of events.

use std::time::Duration;

use axum::body::BodyDataStream;
use axum::http::Method;
use futures_util::StreamExt;
use model::{EventId, Note};
use serde_json::Value;

use crate::fixture::{Server, TOKEN, call_id};

/// Nothing here takes so long; what does not come then never comes.
const PATIENCE: Duration = Duration::from_secs(20);

struct Listening {
    body: BodyDataStream,
    text: String,
}

/// An event: its name, its id, its data.
type Got = (String, String, Value);

impl Listening {
    async fn to(server: &Server, query: &str, last: Option<&str>) -> Self {
        let bearer = format!("Bearer {TOKEN}");
        let mut headers = vec![("authorization", bearer.as_str())];
        headers.extend(last.map(|id| ("last-event-id", id)));
        let answer = server.send(Method::GET, &format!("/api/v1/events{query}"), &headers).await;
        assert_eq!(answer.status().as_u16(), 200);
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        Self { body: answer.into_body().into_data_stream(), text: String::new() }
    }

    async fn next(&mut self) -> Got {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| {
                    let line = event.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':'));
                    line.map(|v| v.trim_start().to_owned()).unwrap_or_default()
                };
                let got =
                    (field("event"), field("id"), serde_json::from_str(&field("data")).unwrap_or_default());
                self.text = rest.to_owned();
                if !got.0.is_empty() {
                    return got;
                }
                continue;
            }
            let piece = tokio::time::timeout(PATIENCE, self.body.next()).await.unwrap();
            self.text.push_str(std::str::from_utf8(&piece.unwrap().unwrap()).unwrap());
        }
    }
}

fn id(n: u64) -> String {
    EventId::from_u64(n).to_string()
}

fn tagged(tag: &str) -> Note {
    Note::Tagged { tag: tag.parse().unwrap() }
}

#[tokio::test]
async fn events_come_as_they_happen_and_those_before_do_not() {
    let server = Server::with_calls(1).await;
    let mut all = Listening::to(&server, "", None).await;
    let mut some = Listening::to(&server, &format!("?kind=tag,metadata&call={}", call_id(0)), None).await;
    server.add_call(5, "Ann").await;
    server.tell(900, 0, tagged("vip")).await;
    let kinds = [all.next().await, all.next().await, all.next().await];
    assert_eq!(kinds.each_ref().map(|(kind, ..)| kind.as_str()), ["call", "segment", "tag"]);
    assert_eq!(kinds.each_ref().map(|(_, id, _)| id.clone()), [id(51), id(52), id(900)]);
    let (kind, event, data) = some.next().await;
    assert_eq!((kind.as_str(), event), ("tag", id(900)));
    assert_eq!(data["call"], call_id(0).to_string());
    assert_eq!(data["body"], serde_json::json!({ "tag": "vip", "present": true, "by": "api" }));
}

#[tokio::test]
async fn whoever_comes_again_goes_on_where_it_was() {
    let server = Server::with_calls(3).await;
    let mut again = Listening::to(&server, "", Some(&id(12))).await;
    assert_eq!(again.next().await.1, id(21));
    let mut from_the_first = Listening::to(&server, "?after=0000000000000", None).await;
    assert_eq!(from_the_first.next().await.1, id(1));
    // The header is what the browser sends when it comes again with the same address.
    let mut header_wins = Listening::to(&server, "?after=0000000000000", Some(&id(21))).await;
    assert_eq!(header_wins.next().await.1, id(22));
}

#[tokio::test]
async fn a_gap_is_told_of_and_the_rest_follows() {
    let server = Server::with_calls(3).await;
    server.trim_events(20).await;
    let mut late = Listening::to(&server, "", Some(&id(2))).await;
    let (kind, _, data) = late.next().await;
    assert_eq!((kind.as_str(), &data["after"], &data["oldest"]), ("gap", &id(2).into(), &id(21).into()));
    assert_eq!(late.next().await.1, id(21));
}

#[tokio::test]
async fn events_of_others_are_not_told() {
    let server = Server::with_calls(1).await;
    let mut all = Listening::to(&server, "", None).await;
    server.add_foreign_call(5).await;
    server.tell(900, 0, tagged("vip")).await;
    assert_eq!(all.next().await.1, id(900));
}

#[tokio::test]
async fn streams_are_bounded_and_freed_places_are_used_again() {
    let server = Server::with_calls(0).await;
    let mut open = Vec::new();
    for _ in 0..32 {
        open.push(Listening::to(&server, "", None).await);
    }
    let refused = server.get("/api/v1/events").await;
    assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (429, "2"));
    open.pop();
    Listening::to(&server, "", None).await;
}

/// One that nobody reads looks like one on which nothing happens: its place comes back when its time is over, and who
/// was there goes on where it was.
#[tokio::test]
async fn a_stream_ends_after_its_time_and_its_client_goes_on_where_it_was() {
    let server = Server::with_short_streams(Duration::from_millis(400)).await;
    let mut open = Listening::to(&server, "?after=0000000000000", None).await;
    let last = open.next().await.1;
    let rest = async { while open.body.next().await.is_some() {} };
    tokio::time::timeout(PATIENCE, rest).await.expect("it ends");
    let mut again = Listening::to(&server, "", Some(&last)).await;
    assert_eq!((last, again.next().await.1), (id(1), id(2)));
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let server = Server::with_calls(0).await;
    let bearer = format!("Bearer {TOKEN}");
    for query in ["?kind=nonsense", "?call=x", "?after=x", "?since=x"] {
        assert_eq!(server.get(&format!("/api/v1/events{query}")).await.status.as_u16(), 400, "{query}");
    }
    let headers = [("authorization", bearer.as_str()), ("last-event-id", "x")];
    assert_eq!(server.ask(Method::GET, "/api/v1/events", &headers).await.json()["at"], "Last-Event-ID");
}
