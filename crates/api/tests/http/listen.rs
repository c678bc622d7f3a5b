//! Listening to live calls: who is heard, and who may not listen.

use axum::http::Method;
use model::StreamId;

use crate::fixture::{self, Server, call_id};

fn path(call: u64, query: &str) -> String {
    format!("/api/v1/calls/{}/live.wav{query}", call_id(call))
}

#[tokio::test]
async fn a_live_call_is_a_wav_file_without_an_end() {
    let server = Server::with_calls(0).await;
    let stream = StreamId::from_u64(7);
    for (query, channels, rate, said) in [
        (String::new(), 2, 16_000, "Stereo at 16000 as Pcm".to_owned()),
        ("?layout=mix&rate=8000".to_owned(), 1, 8_000, "Mix at 8000 as Pcm".to_owned()),
        (format!("?stream={stream}&rate=48000"), 1, 48_000, format!("Stream({stream:?}) at 48000 as Pcm")),
    ] {
        let answer = server.get(&path(fixture::LIVE, &query)).await;
        assert_eq!(answer.status, 200, "{query}: {}", answer.text());
        assert_eq!((answer.header("content-type"), answer.header("content-length")), ("audio/wav", ""));
        assert_eq!((answer.header("accept-ranges"), answer.header("cache-control")), ("none", "no-store"));
        assert_eq!(answer.header("callspool-not-heard"), "G.729 needs ffmpeg; EVS: no program");
        let (head, body) = answer.body.split_at(44);
        let number = |at: usize, octets: usize| {
            head[at..at + octets].iter().rev().fold(0_u64, |n, o| n << 8 | u64::from(*o))
        };
        assert_eq!((&head[..4], &head[8..16], &head[36..40]), (&b"RIFF"[..], &b"WAVEfmt "[..], &b"data"[..]));
        assert_eq!((number(4, 4), number(40, 4)), (0xffff_ffff, 0xffff_ffff), "no length");
        assert_eq!((number(22, 2), number(24, 4), number(34, 2)), (channels, rate, 16));
        assert_eq!((number(28, 4), number(32, 2)), (rate * channels * 2, channels * 2));
        assert_eq!(String::from_utf8_lossy(body), said);
    }
    let answer = server.get(&path(fixture::LIVE, "").replace(".wav", ".opus")).await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, "audio/ogg; codecs=opus"));
    assert_eq!(answer.text(), "Stereo at 16000 as Opus", "with all that belongs to it");
    let head = server
        .ask(
            Method::HEAD,
            &path(fixture::LIVE, ""),
            &[("authorization", &format!("Bearer {}", fixture::TOKEN))],
        )
        .await;
    assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
}

#[tokio::test]
async fn who_cannot_listen_is_told_why() {
    let server = Server::with_calls(1).await;
    for (call, query, status, kind, told) in [
        (7, "", 404, "no-such-call", "does not exist"),
        (0, "", 409, "not-live", "is over"),
        (fixture::UNWILLING, "", 429, "too-many-listeners", "8 listen"),
        (fixture::FAR, "", 503, "node-unreachable", "node 3 is off"),
        (fixture::LIVE, "?rate=11025", 400, "bad-request", "8000, 16000, 48000"),
        (fixture::LIVE, "?layout=both", 400, "bad-request", "stereo, mix, stream"),
        (fixture::LIVE, "?speed=2", 400, "bad-request", "speed"),
    ] {
        let answer = server.get(&path(call, query)).await;
        assert_eq!(answer.status.as_u16(), status, "{call}{query}: {}", answer.text());
        let json = answer.json();
        assert_eq!(json["type"], format!("/problems/{kind}"));
        assert!(json["detail"].as_str().unwrap().contains(told), "{json}");
    }
    let untold = server.ask(Method::GET, &path(fixture::LIVE, ""), &[]).await;
    assert_eq!(untold.status.as_u16(), 401);
}
