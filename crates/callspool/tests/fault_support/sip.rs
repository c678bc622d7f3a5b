//! Requests written out, as a client that is not ours would send them over UDP.

use std::net::UdpSocket;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::support::server::Server;

/// Each request is one of its own.
static ASKED: AtomicU32 = AtomicU32::new(0);

/// A response: the status and all of it.
pub struct Response {
    /// The status.
    pub status: u16,
    /// The message.
    pub text: String,
}

impl Response {
    /// A header by its full name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut fields = self.text.lines().filter_map(|l| l.split_once(':'));
        fields.find(|(n, _)| n.trim().eq_ignore_ascii_case(name)).map(|(_, v)| v.trim())
    }
}

/// Sends a request and waits for its final response, sending again each 500 ms (RFC 3261 17.1).
pub fn ask(server: &Server, method: &str) -> Response {
    ask_at(&server.sip_address(), method)
}

/// The same, by the server's address.
pub fn ask_at(there: &str, method: &str) -> Response {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let here = socket.local_addr().unwrap();
    let count = ASKED.fetch_add(1, Ordering::Relaxed);
    let unique = format!("{}-{}-{count}", std::process::id(), here.port());
    let sdp =
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 9 RTP/AVP 0\r\n";
    let body = if method == "INVITE" { sdp } else { "" };
    let content = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
    let request = format!(
        "{method} sip:rec@{there} SIP/2.0\r\nVia: SIP/2.0/UDP {here};branch=z9hG4bK{unique};rport\r\n\
         Max-Forwards: 70\r\nFrom: <sip:probe@{here}>;tag={unique}\r\nTo: <sip:rec@{there}>\r\n\
         Call-ID: {unique}@{here}\r\nCSeq: 1 {method}\r\nContact: <sip:probe@{here}>\r\n{content}\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut buffer = [0; 4_096];
    let end = Instant::now() + Duration::from_secs(20);
    while Instant::now() < end {
        socket.send_to(request.as_bytes(), there).expect("a datagram");
        while let Ok(length) = socket.recv(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            let status = text.strip_prefix("SIP/2.0 ").and_then(|t| t.get(..3)?.parse().ok()).unwrap_or(0);
            if status >= 200 {
                if method == "INVITE" && status >= 300 {
                    acknowledge(&socket, there, &request, &text);
                }
                return Response { status, text };
            }
        }
    }
    panic!("no final response to {method} within 20 s");
}

/// Invites and cancels at once, and waits for 487.
pub fn cancel_at_once(server: &Server) {
    let there = server.sip_address();
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let here = socket.local_addr().unwrap();
    let unique = format!("cancelled-{}-{}", std::process::id(), here.port());
    let sdp =
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 9 RTP/AVP 0\r\n";
    let request = |method: &str, content: &str, body: &str| {
        format!(
            "{method} sip:rec@{there} SIP/2.0\r\nVia: SIP/2.0/UDP {here};branch=z9hG4bK{unique};rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:probe@{here}>;tag={unique}\r\nTo: <sip:rec@{there}>\r\n\
             Call-ID: {unique}@{here}\r\nCSeq: 1 {method}\r\nContact: <sip:probe@{here}>\r\n{content}\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let invite = request("INVITE", "Content-Type: application/sdp\r\n", sdp);
    for message in [&invite, &request("CANCEL", "", "")] {
        socket.send_to(message.as_bytes(), &there).expect("a datagram");
    }
    let mut buffer = [0; 4_096];
    loop {
        let length = socket.recv(&mut buffer).expect("a final response to an INVITE that was cancelled");
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        if text.contains("CSeq: 1 INVITE") && !text.starts_with("SIP/2.0 1") {
            assert!(text.starts_with("SIP/2.0 487"), "{text}");
            return acknowledge(&socket, &there, &invite, &text);
        }
    }
}

/// The ACK of a refusal, hop by hop (RFC 3261 17.1.1.3).
fn acknowledge(socket: &UdpSocket, there: &str, request: &str, response: &str) {
    let to = response.lines().find(|l| l.starts_with("To:")).unwrap_or("To: <sip:rec@127.0.0.1>");
    let head = request.split("\r\n\r\n").next().unwrap_or_default();
    let kept =
        head.lines().filter(|l| ["Via", "From", "Call-ID", "Max-Forwards"].iter().any(|n| l.starts_with(n)));
    let mut ack = format!("ACK sip:rec@{there} SIP/2.0\r\n");
    kept.for_each(|line| ack.push_str(&format!("{line}\r\n")));
    ack.push_str(&format!("{to}\r\nCSeq: 1 ACK\r\nContent-Length: 0\r\n\r\n"));
    let _ = socket.send_to(ack.as_bytes(), there);
}

/// Fails unless the server answers OPTIONS.
pub fn expect_options(server: &Server, when: &str) {
    let response = ask(server, "OPTIONS");
    assert_eq!(response.status, 200, "OPTIONS {when}: {}", response.text);
}

/// Fails unless a new call is refused with 503 and Retry-After.
pub fn expect_refusal(server: &Server, when: &str) {
    let response = ask(server, "INVITE");
    assert_eq!(response.status, 503, "INVITE {when}: {}", response.text);
    let after =
        response.header("Retry-After").and_then(|v| v.split([' ', ';', '(']).next()?.parse::<u32>().ok());
    assert!(after.is_some_and(|s| s > 0), "Retry-After {when}: {}", response.text);
}

/// A request as it stands on a stream, whole and answered each time it comes.
pub fn options_over_stream() -> Vec<u8> {
    b"OPTIONS sip:rec@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1;branch=z9hG4bKdeaf;rport\r\nMax-Forwards: 70\r\n\
      From: <sip:deaf@127.0.0.1>;tag=1\r\nTo: <sip:rec@127.0.0.1>\r\nCall-ID: deaf\r\nCSeq: 1 OPTIONS\r\n\
      Content-Length: 0\r\n\r\n"
        .to_vec()
}
