//! Ends of links that speak HTTP/2 over TLS, show a certificate or none, and say what a test wants them to.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use peers::authority::Pem;
use peers::{Dialer, Heard};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector, client};

use crate::nodes::{LOOPBACK, Nodes, PATIENCE, heard};

/// What `rec-1` says first.
pub(crate) const HELLO: &str = r#"{"hello":{"name":"rec-1","node":0,"run":1,"segments":[]}}"#;

/// A body that a test says piece by piece.
pub(crate) struct Said(mpsc::UnboundedReceiver<Bytes>);

impl Body for Said {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|data| data.map(|data| Ok(Frame::data(data))))
    }
}

/// What a test says; the body ends when it is dropped.
pub(crate) type Say = mpsc::UnboundedSender<Bytes>;

pub(crate) fn body() -> (Say, Said) {
    let (say, said) = mpsc::unbounded_channel();
    (say, Said(said))
}

/// A message with its length in front.
pub(crate) fn framed(json: &str) -> Bytes {
    [&u32::try_from(json.len()).unwrap().to_be_bytes()[..], json.as_bytes()].concat().into()
}

/// All that a body still says.
pub(crate) async fn text(mut body: Incoming) -> String {
    let mut text = Vec::new();
    while let Some(Ok(frame)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        text.extend(frame.into_data().unwrap());
    }
    String::from_utf8(text).unwrap()
}

/// Waits until a body has ended, one way or the other.
pub(crate) async fn end(mut body: Incoming) {
    while let Some(Ok(_)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {}
}

fn chain(pem: &Pem) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let chain = CertificateDer::pem_slice_iter(pem.certificate.as_bytes()).collect::<Result<_, _>>().unwrap();
    (chain, PrivateKeyDer::from_pem_slice(pem.key.as_bytes()).unwrap())
}

fn roots(nodes: &Nodes) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(nodes.ca.certificate.as_bytes()).unwrap()).unwrap();
    Arc::new(roots)
}

/// A connection by TLS to `rec-1`, which is shown that, if anything.
pub(crate) async fn tls(
    nodes: &Nodes,
    address: SocketAddr,
    shown: Option<&Pem>,
) -> std::io::Result<client::TlsStream<TcpStream>> {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots(nodes));
    let mut config = match shown.map(chain) {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).unwrap(),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = TcpStream::connect(address).await?;
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("rec-1").unwrap(), stream).await
}

/// A client of HTTP/2 that shows a certificate of a node.
pub(crate) struct BareClient {
    requests: SendRequest<Said>,
    _tasks: JoinSet<()>,
}

impl BareClient {
    pub(crate) async fn connect(nodes: &Nodes, name: &str, address: SocketAddr) -> Self {
        let stream = tls(nodes, address, Some(&nodes.pem(name))).await.unwrap();
        let (requests, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let _ = connection.await;
        });
        Self { requests, _tasks: tasks }
    }

    /// Asks for a link, or for something else.
    pub(crate) async fn ask(
        &mut self,
        path: &str,
        versions: Option<&str>,
    ) -> hyper::Result<(Say, Response<Incoming>)> {
        let (say, said) = body();
        let mut request = Request::post(format!("https://rec-1{path}"));
        if let Some(versions) = versions {
            request = request.header("callspool-versions", versions);
        }
        let response = self.requests.send_request(request.body(said).unwrap()).await?;
        Ok((say, response))
    }

    /// Asks a question as the node of a number; the answer comes when the body has been said.
    pub(crate) async fn ask_as(
        &mut self,
        path: &str,
        node: u16,
        question: &str,
    ) -> (Say, impl Future<Output = hyper::Result<Response<Incoming>>>) {
        let (say, said) = body();
        say.send(question.to_owned().into()).unwrap();
        let request = Request::post(format!("https://rec-1{path}"))
            .header("callspool-versions", "1-1")
            .header("callspool-node", node)
            .body(said);
        self.requests.ready().await.unwrap();
        (say, self.requests.send_request(request.unwrap()))
    }

    pub(crate) async fn link(&mut self) -> (Say, Incoming) {
        let (say, response) = self.ask("/peer/v1/link", Some("1-1")).await.unwrap();
        assert_eq!(response.status(), 200);
        (say, response.into_body())
    }
}

/// A server of HTTP/2 that is `rec-1`, takes any link by an answer with this header, and hands both bodies to the test.
pub(crate) struct BareServer {
    pub(crate) address: SocketAddr,
    links: mpsc::UnboundedReceiver<(Request<Incoming>, Say)>,
    _tasks: JoinSet<()>,
}

impl BareServer {
    pub(crate) async fn start(nodes: &Nodes, version: &'static str) -> Self {
        let (chain, key) = chain(&nodes.pem("rec-1"));
        let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        let mut config = builder.with_single_cert(chain, key).unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let socket = TcpListener::bind(LOOPBACK).await.unwrap();
        let address = socket.local_addr().unwrap();
        let (tell, links) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = socket.accept().await.unwrap();
                let (acceptor, tell) = (acceptor.clone(), tell.clone());
                connections.spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = service_fn(move |request| {
                        let (say, said) = body();
                        let _ = tell.send((request, say));
                        let response = Response::builder().header("callspool-version", version).body(said);
                        async move { Ok::<_, Infallible>(response.unwrap()) }
                    });
                    let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { address, links, _tasks: tasks }
    }

    pub(crate) async fn linked(&mut self) -> (Request<Incoming>, Say) {
        timeout(PATIENCE, self.links.recv()).await.expect("nobody dials").unwrap()
    }

    /// A link whose dialer has heard the hello among what is said first. On a machine that is busy it may take
    /// another attempt.
    pub(crate) async fn greeted(&mut self, dialer: &mut Dialer, first: &[&str]) -> (Request<Incoming>, Say) {
        loop {
            let (asked, say) = self.linked().await;
            for json in first {
                say.send(framed(json)).unwrap();
            }
            match heard(dialer).await {
                Heard::Up(_) => return (asked, say),
                Heard::Closed(_) => {}
                other => panic!("heard before it was greeted: {other:?}"),
            }
        }
    }
}
