//! The interface over a catalog in a temporary directory and a recording that is made up.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fixture;
mod keys;
mod listen;
mod metrics;
mod notes;
mod openapi;
mod orders;
mod places;
mod stream;

use axum::http::{Method, StatusCode};
use fixture::{Server, TOKEN, WAV_LEN, call_id, wav_byte};
use model::Note;

#[tokio::test]
async fn calls_are_listed_newest_first_with_text_ids() {
    let server = Server::with_calls(3).await;
    let answer = server.get("/api/v1/calls").await;
    assert_eq!(answer.status, StatusCode::OK);
    let json = answer.json();
    let ids: Vec<&str> =
        json["calls"].as_array().unwrap().iter().map(|c| c["id"].as_str().unwrap()).collect();
    assert_eq!(ids, [2, 1, 0].map(|n| call_id(n).to_string()));
    assert_eq!(json["calls"][0]["state"], "partial");
    assert_eq!(json["calls"][0]["duration_ms"], 5_000);
    assert_eq!(json["next"], serde_json::Value::Null);
}

#[tokio::test]
async fn pages_follow_each_other_and_filters_hold() {
    let server = Server::with_calls(5).await;
    server.tell(900, 1, Note::Tagged { tag: "vip".parse().unwrap() }).await;
    server.tell(901, 1, Note::Put { key: "ticket".parse().unwrap(), value: "T-1".parse().unwrap() }).await;
    let first = server.get("/api/v1/calls?limit=2").await.json();
    let next = first["next"].as_str().unwrap();
    let second = server.get(&format!("/api/v1/calls?limit=2&after={next}")).await.json();
    assert_eq!(second["calls"][0]["id"], call_id(2).to_string());
    for (query, found) in [
        ("q=ann", 5),
        ("q=nobody", 0),
        ("number=2000", 5),
        ("number=9", 0),
        ("live=true", 0),
        ("live=false", 5),
        ("state=partial", 5),
        ("state=complete", 0),
        ("q=&number=", 5),
        ("from=2026-11-20T09:00:30Z", 2),
        ("until=2026-11-20T09:00:30Z", 3),
        ("limit=1000", 5),
        ("direction=unknown", 5),
        ("direction=incoming", 0),
        ("duration_min_s=5", 5),
        ("duration_min_s=6", 0),
        ("duration_max_s=4", 0),
        ("tag=vip", 1),
        ("tag=VIP", 0),
        ("metadata=ticket%3DT-1", 1),
        ("metadata=ticket=T-2", 0),
        ("q=vip", 1),
    ] {
        let json = server.get(&format!("/api/v1/calls?{query}")).await.json();
        assert_eq!(json["calls"].as_array().unwrap().len(), found, "{query}");
    }
}

#[tokio::test]
async fn one_call_is_told_with_segments_and_streams() {
    let server = Server::with_calls(1).await;
    let json = server.get(&format!("/api/v1/calls/{}", call_id(0))).await.json();
    assert_eq!(json["audio"], format!("/api/v1/calls/{}/audio.wav", call_id(0)));
    let segment = &json["segment_list"][0];
    assert_eq!((&segment["number"], &segment["state"]), (&1.into(), &"partial".into()));
    assert_eq!(segment["end"]["kind"], "hang-up");
    let stream = &segment["streams"][0];
    assert_eq!(
        (&stream["codecs"][0], &stream["packets"], &stream["lost"]),
        (&"PCMU".into(), &250.into(), &3.into())
    );
    assert_eq!(json["events"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn without_the_token_nothing_is_told() {
    let server = Server::with_calls(1).await;
    let call = format!("/api/v1/calls/{}", call_id(0));
    let audio = format!("{call}/audio.wav");
    for path in ["/api/v1/calls", &call, &audio] {
        for (name, value) in [
            ("x-nothing", "at all".to_owned()),
            ("authorization", "Bearer wrong".to_owned()),
            ("authorization", format!("Basic {TOKEN}")),
            ("authorization", format!("Bearer {TOKEN}0")),
            ("cookie", format!("other={TOKEN}")),
            ("cookie", "callspool_token=".to_owned()),
        ] {
            let answer = server.ask(Method::GET, path, &[(name, &value)]).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path} {name}: {value}");
            assert_eq!(answer.header("content-type"), "application/problem+json");
            assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"callspool\"");
            assert!(!answer.text().contains(&call_id(0).to_string()));
        }
        for (name, value) in [
            ("authorization", format!("bearer {TOKEN}")),
            ("cookie", format!("a=b; callspool_token={TOKEN}; c=d")),
            ("cookie", format!("callspool_token=old; callspool_token={TOKEN}")),
        ] {
            let answer = server.ask(Method::GET, path, &[(name, &value)]).await;
            assert_eq!(answer.status, StatusCode::OK, "{path} {name}: {value}");
        }
    }
}

#[tokio::test]
async fn the_token_moves_from_the_address_into_a_cookie() {
    let server = Server::with_calls(0).await;
    let answer = server.ask(Method::GET, &format!("/?token={TOKEN}"), &[]).await;
    assert_eq!((answer.status, answer.header("location")), (StatusCode::SEE_OTHER, "/"));
    let cookie = answer.header("set-cookie");
    for part in [TOKEN, "HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    let wrong = server.ask(Method::GET, "/?token=wrong", &[]).await;
    assert_eq!((wrong.status, wrong.header("set-cookie")), (StatusCode::UNAUTHORIZED, ""));
}

#[tokio::test]
async fn calls_of_another_tenant_are_not_there() {
    let server = Server::with_calls(1).await;
    server.add_foreign_call(7).await;
    for path in ["", "/audio.wav"] {
        let answer = server.get(&format!("/api/v1/calls/{}{path}", call_id(7))).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
    }
    assert!(!server.get("/api/v1/calls").await.text().contains(&call_id(7).to_string()));
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_by_name() {
    let server = Server::with_calls(1).await;
    let long = format!("/api/v1/calls?q={}", "x".repeat(60_000));
    for (path, status, told) in [
        ("/api/v1/calls/nonsense", 400, "is no id"),
        ("/api/v1/calls/0000000000000", 404, "no such call"),
        ("/api/v1/calls/%F0%9F%92%A9%2e%2e%2f", 400, "is no id"),
        ("/api/v1/calls/nonsense/audio.wav", 400, "is no id"),
        ("/api/v1/calls?stat=complete", 400, "unknown field"),
        ("/api/v1/calls?state=nonsense", 400, "is no recording state"),
        ("/api/v1/calls?live=maybe", 400, "live:"),
        ("/api/v1/calls?from=yesterday", 400, "RFC 3339"),
        ("/api/v1/calls?after=here", 400, "is no cursor"),
        ("/api/v1/calls?state=", 400, "is no recording state"),
        ("/api/v1/calls?limit=-1", 400, "limit:"),
        ("/api/v1/calls?limit=1001", 400, "not between 1 and 1000"),
        ("/api/v1/calls?direction=up", 400, "direction:"),
        ("/api/v1/calls?metadata=x", 400, "metadata:"),
        ("/api/v1/calls?tag=a/b", 400, "is no tag"),
        ("/api/v1/calls?duration_min_s=99999999", 400, "duration_min_s:"),
        ("/api/v1/calls?q=%ff%fe", 200, ""),
        ("/api/v1/calls?q=a&q=b", 400, "duplicate field"),
        (&long, 400, "more than 200 characters"),
        ("/api/v2/calls", 404, "no such page"),
        ("/api/v1/../../etc/passwd", 404, "no such page"),
        ("/nothing", 404, "no such page"),
    ] {
        let answer = server.get(path).await;
        assert_eq!(answer.status.as_u16(), status, "{path:.80}: {}", answer.text());
        assert!(answer.text().to_lowercase().contains(&told.to_lowercase()), "{path:.80}: {}", answer.text());
        if status >= 400 {
            assert_eq!(answer.header("content-type"), "application/problem+json", "{path:.80}");
            // A kind of error is a page that says what to do.
            let json = answer.json();
            let kind = server.ask(Method::GET, json["type"].as_str().unwrap(), &[]).await;
            assert_eq!((kind.status.as_u16(), &kind.json()["title"]), (200, &json["title"]), "{path:.80}");
        }
    }
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
        let answer =
            server.ask(method, "/api/v1/calls", &[("authorization", &format!("Bearer {TOKEN}"))]).await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
    }
}

#[tokio::test]
async fn only_names_of_ours_are_served() {
    let server = Server::with_calls(1).await;
    let bearer = format!("Bearer {TOKEN}");
    for (host, status) in [
        ("localhost:8080", 200),
        ("rec.example.com", 200),
        ("evil.example", 421),
        ("localhost.evil.example", 421),
    ] {
        for path in ["/", "/api/v1/calls", "/page.js", "/healthz"] {
            let answer = server.ask(Method::GET, path, &[("host", host), ("authorization", &bearer)]).await;
            assert_eq!(answer.status.as_u16(), status, "{host} {path}");
        }
    }
    let answer =
        server.ask(Method::GET, "http://evil.example/api/v1/calls", &[("authorization", &bearer)]).await;
    assert_eq!(answer.status, StatusCode::MISDIRECTED_REQUEST);
}

#[tokio::test]
async fn an_unchanged_list_is_not_sent_again() {
    let server = Server::with_calls(2).await;
    let first = server.get("/api/v1/calls").await;
    let tag = first.header("etag").to_owned();
    let bearer = format!("Bearer {TOKEN}");
    let again = async || {
        let headers = [("authorization", bearer.as_str()), ("if-none-match", tag.as_str())];
        server.ask(Method::GET, "/api/v1/calls", &headers).await
    };
    let same = again().await;
    assert_eq!(
        (same.status, same.body.len(), same.header("etag")),
        (StatusCode::NOT_MODIFIED, 0, tag.as_str())
    );
    server.add_call(9, "New").await;
    let changed = again().await;
    assert_eq!(changed.status, StatusCode::OK);
    assert_ne!(changed.header("etag"), tag);
}

#[tokio::test]
async fn audio_is_served_whole_and_in_parts() {
    let server = Server::with_calls(1).await;
    let path = format!("/api/v1/calls/{}/audio.wav", call_id(0));
    let bearer = format!("Bearer {TOKEN}");
    let len = WAV_LEN;
    for (range, status, expected) in [
        (None, 200, 0..len),
        (Some("bytes=0-".to_owned()), 206, 0..len),
        (Some("bytes=0-43".to_owned()), 206, 0..44),
        (Some("bytes=-10".to_owned()), 206, len - 10..len),
        (Some(format!("bytes=70000-{}", len + 5)), 206, 70_000..len),
        (Some(format!("bytes={len}-")), 416, 0..0),
        (Some("bytes=5-1".to_owned()), 200, 0..len),
        (Some("bytes=0-1,3-4".to_owned()), 200, 0..len),
    ] {
        for method in [Method::GET, Method::HEAD] {
            let mut headers = vec![("authorization", bearer.as_str())];
            headers.extend(range.as_deref().map(|r| ("range", r)));
            let answer = server.ask(method.clone(), &path, &headers).await;
            assert_eq!(answer.status.as_u16(), status, "{range:?}");
            assert_eq!(
                answer.header("content-length"),
                (expected.end - expected.start).to_string(),
                "{range:?}"
            );
            assert_eq!(answer.header("accept-ranges"), "bytes");
            let content_range = match status {
                206 => format!("bytes {}-{}/{len}", expected.start, expected.end - 1),
                416 => format!("bytes */{len}"),
                _ => String::new(),
            };
            assert_eq!(answer.header("content-range"), content_range);
            let body: Vec<u8> =
                if method == Method::GET { expected.clone().map(wav_byte).collect() } else { vec![] };
            assert!(answer.body == body, "{range:?}: {} octets", answer.body.len());
        }
    }
    let conditional = [("authorization", bearer.as_str()), ("range", "bytes=0-1"), ("if-range", "\"x\"")];
    assert_eq!(server.ask(Method::GET, &path, &conditional).await.status, StatusCode::OK);
}

#[tokio::test]
async fn audio_comes_as_what_was_asked_for() {
    let server = Server::with_calls(1).await;
    let audio = |rest: &str| format!("/api/v1/calls/{}/audio.{rest}", call_id(0));
    for (rest, status, told) in [
        ("mp3?layout=mix&rate=16000&bitrate=64", 200, "audio/mpeg"),
        ("opus?stream=06bqx3m8r0402", 200, "audio/ogg; codecs=opus"),
        ("flac", 200, "audio/flac"),
        ("aac", 404, "no such p"),
        ("wav?layout=left", 400, "one of stereo, mix, stream"),
        ("wav?layout=mix&stream=06bqx3m8r0402", 400, "heard alone"),
        ("wav?layout=stream", 400, "name one"),
        ("wav?stream=nonsense", 400, "stream"),
        ("wav?rate=11025", 400, "one of 8000, 16000, 48000"),
        ("mp3?bitrate=111", 501, "apt-get install lame"),
        ("mp3?bitrate=7", 400, "8 to 320"),
        ("wav?bitrate=64", 400, "for MP3 and Opus"),
        ("wav?volume=11", 400, "volume"),
    ] {
        let answer = server.get(&audio(rest)).await;
        assert_eq!(answer.status.as_u16(), status, "{rest}: {}", answer.text().len());
        match status {
            200 => assert_eq!(answer.header("content-type"), told, "{rest}"),
            _ => assert!(answer.text().contains(told), "{rest}: {}", answer.text()),
        }
    }
    let flac = server.get(&audio("flac")).await;
    assert_eq!((flac.header("accept-ranges"), flac.header("content-length")), ("none", ""));
    assert!(flac.body == (0..WAV_LEN).map(wav_byte).collect::<Vec<_>>(), "all of it comes");
    let alone = server.get(&audio("mp3?stream=06bqx3m8r0402")).await;
    assert_eq!(alone.header("callspool-not-heard"), "G.729   not here");
    assert_eq!(alone.header("content-disposition"), "inline; filename=\"call-1.mp3\"");
    // A range of the version that there is; of another the whole.
    let bearer = format!("Bearer {TOKEN}");
    for (version, status) in [("\"0a1b\"", 206), ("\"ffff\"", 200)] {
        let headers = [("authorization", bearer.as_str()), ("range", "bytes=0-9"), ("if-range", version)];
        let answer = server.ask(Method::GET, &audio("wav?layout=mix"), &headers).await;
        assert_eq!((answer.status.as_u16(), answer.header("etag")), (status, "\"0a1b\""));
    }
}

#[tokio::test]
async fn peaks_are_pairs_for_two_channels() {
    let server = Server::with_calls(1).await;
    let peaks = |rest: &str| format!("/api/v1/calls/{}/peaks{rest}", call_id(0));
    let answer = server.get(&peaks("?width=3&from=1000&until=4000")).await.json();
    assert_eq!(
        (&answer["agent"], &answer["from_ms"], &answer["until_ms"]),
        (&serde_json::json!([-128, 127, -128, 127, -128, 127]), &1_000.into(), &4_000.into())
    );
    for wrong in ["?width=0", "?width=8001", "?from=5&until=5", "?with=3"] {
        assert_eq!(server.get(&peaks(wrong)).await.status, StatusCode::BAD_REQUEST, "{wrong}");
    }
}

#[tokio::test]
async fn a_picture_that_nobody_waits_for_is_given_up() {
    let server = Server::with_calls(1).await;
    let path = format!("/api/v1/calls/{}/peaks", call_id(fixture::ENDLESS));
    let asked = tokio::time::timeout(std::time::Duration::from_millis(200), server.get(&path)).await;
    assert!(asked.is_err(), "it takes for ever");
    let given_up = || fixture::GIVEN_UP.load(std::sync::atomic::Ordering::SeqCst) == 1;
    for _ in 0..1_000 {
        if given_up() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("it goes on");
}

#[tokio::test]
async fn audio_that_cannot_be_had_is_told_plainly() {
    let server = Server::with_calls(1).await;
    for (call, status, told) in [
        (100, 404, "no such call"),
        (fixture::NOTHING, 404, "nothing to play"),
        (fixture::AWAY, 503, "cannot be reached"),
        (fixture::FAILED, 500, "cannot be read"),
    ] {
        let answer = server.get(&format!("/api/v1/calls/{}/audio.wav", call_id(call))).await;
        assert_eq!(answer.status.as_u16(), status);
        assert!(answer.text().contains(told), "{}", answer.text());
    }
    // One that breaks off is an error on the wire, never a shorter file.
    let broken = server.try_get(&format!("/api/v1/calls/{}/audio.wav", call_id(fixture::BREAKS))).await;
    assert!(broken.is_err());
}

#[tokio::test]
async fn names_from_the_network_stay_text() {
    let server = Server::with_calls(0).await;
    let name = "<img src=x onerror=alert(1)>\"'&\u{202e}\u{0}</script>";
    server.add_call(1, name).await;
    let answer = server.get("/api/v1/calls").await;
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert_eq!(answer.json()["calls"][0]["parties"][0]["name"], name);
}

#[tokio::test]
async fn the_page_brings_everything_along_and_forbids_the_rest() {
    let server = Server::with_calls(0).await;
    for (path, content_type) in [
        ("/", "text/html; charset=utf-8"),
        ("/page.css", "text/css; charset=utf-8"),
        ("/page.js", "text/javascript; charset=utf-8"),
        ("/words.js", "text/javascript; charset=utf-8"),
        ("/net.js", "text/javascript; charset=utf-8"),
        ("/list.js", "text/javascript; charset=utf-8"),
        ("/call.js", "text/javascript; charset=utf-8"),
        ("/wave.js", "text/javascript; charset=utf-8"),
        ("/player.js", "text/javascript; charset=utf-8"),
        ("/video.js", "text/javascript; charset=utf-8"),
        ("/hear.js", "text/javascript; charset=utf-8"),
        ("/alarms.js", "text/javascript; charset=utf-8"),
        ("/icon.svg", "image/svg+xml"),
    ] {
        let answer = server.ask(Method::GET, path, &[]).await;
        assert_eq!((answer.status, answer.header("content-type")), (StatusCode::OK, content_type), "{path}");
        assert!(
            answer.header("content-security-policy").starts_with("default-src 'none'; script-src 'self';"),
            "{path}"
        );
        let text = answer.text().replace("http://www.w3.org/2000/svg", "");
        for forbidden in [
            "http:",
            "https:",
            "<style",
            " style=",
            " onclick",
            "innerHTML",
            "outerHTML",
            "insertAdjacent",
            "eval(",
        ] {
            assert!(!text.contains(forbidden), "{path} holds {forbidden}");
        }
    }
    let html = server.ask(Method::GET, "/", &[]).await.text();
    assert_eq!(html.matches("<script").count(), html.matches("<script src=").count());
}

#[tokio::test]
async fn a_catalog_that_is_away_is_told_and_health_stays_200() {
    let server = Server::with_calls(1).await;
    assert_eq!(server.get("/healthz").await.json()["status"], "ok");
    std::fs::remove_file(server.catalog_path()).unwrap();
    let answer = server.get("/api/v1/calls").await;
    assert_eq!((answer.status, answer.header("retry-after")), (StatusCode::SERVICE_UNAVAILABLE, "2"));
    assert!(answer.text().contains("recording goes on"), "{}", answer.text());
    assert!(!answer.text().contains("/tmp"), "a path of the machine is told: {}", answer.text());
    let health = server.get("/healthz").await;
    assert_eq!((health.status, &health.json()["status"]), (StatusCode::OK, &"degraded".into()));
}

/// Who asks may go; the thread that a disk holds up stays, and so does its place. Else they would be without number.
#[tokio::test]
async fn who_leaves_while_a_disk_hangs_leaves_a_place_that_is_taken() {
    let server = Server::with_calls(1).await;
    let (slow, other) = (audio_of(fixture::SLOW), audio_of(0));
    for _ in 0..32 {
        let asked = server.open(&slow);
        assert!(tokio::time::timeout(std::time::Duration::from_millis(10), asked).await.is_err());
    }
    assert_eq!(server.get(&other).await.status, StatusCode::SERVICE_UNAVAILABLE);
    for _ in 0..500 {
        if server.get(&other).await.status == StatusCode::OK {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("a disk that moves again still takes a place");
}

fn audio_of(call: u64) -> String {
    format!("/api/v1/calls/{}/audio.wav", call_id(call))
}

#[tokio::test]
async fn what_lasts_is_told_from_memory_while_the_catalog_is_away() {
    let server = Server::with_calls(0).await;
    let of_catalog = server.get("/api/v1/alarms").await.json();
    assert_eq!((&of_catalog["source"], &of_catalog["alarms"]), (&"catalog".into(), &serde_json::json!([])));
    std::fs::remove_file(server.catalog_path()).unwrap();
    for (query, expected) in [
        ("", vec!["catalog-away", "disk-space"]),
        ("?severity=critical", vec!["disk-space"]),
        ("?kind=catalog-away", vec!["catalog-away"]),
        ("?limit=1", vec!["catalog-away"]),
        ("?before=0000000000008", vec!["disk-space"]),
        ("?call=0000000000008", vec![]),
    ] {
        let answer = server.get(&format!("/api/v1/alarms{query}")).await;
        let body = answer.json();
        assert_eq!((answer.status, &body["source"]), (StatusCode::OK, &"node".into()), "{query}");
        let kinds: Vec<&str> =
            body["alarms"].as_array().unwrap().iter().map(|a| a["kind"].as_str().unwrap()).collect();
        assert_eq!(kinds, expected, "{query}");
    }
    let history = server.get("/api/v1/alarms?active=false").await;
    assert_eq!(history.status, StatusCode::SERVICE_UNAVAILABLE);
    let metrics = server.get("/metrics").await.text();
    for series in ["kind=\"catalog-away\",severity=\"warning\"", "kind=\"disk-space\",severity=\"critical\""]
    {
        assert!(metrics.contains(&format!("callspool_alarms_active{{{series}}} 1")), "{metrics}");
    }
}

#[tokio::test]
async fn listeners_are_bounded() {
    let server = Server::with_calls(1).await;
    let path = format!("/api/v1/calls/{}/audio.wav", call_id(0));
    let mut listening = Vec::new();
    for _ in 0..32 {
        listening.push(server.open(&path).await);
    }
    assert_eq!(server.get(&path).await.status, StatusCode::SERVICE_UNAVAILABLE);
    listening.pop();
    // The reader notices that its listener has gone when it has a piece for him.
    for _ in 0..200 {
        if server.get(&path).await.status == StatusCode::OK {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("a listener who left still takes a place");
}
