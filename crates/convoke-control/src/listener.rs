//! Connections of HTTP clients.
//!
//! Owns: accepting them, how many there may be in all and from one address, and how long a client may
//! take over a request's head, over a TLS handshake, and to take what it is sent.
//! Never: reads a request; the router does. What is said to whoever is turned away here is said
//! without having heard it.

use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

use crate::clients::{Address, Seat, Seats};
use crate::config::Times;
use crate::control::{Control, Handover, Inner};
use crate::metrics::count;
use crate::tls::Tls;

/// The wait after a failure that concerns no single client, such as too many open files.
const PAUSE: Duration = Duration::from_millis(200);
/// Clients that are told at once that there is no room; more are told nothing.
const FAREWELLS: usize = 64;
/// How long one may take to hear it.
const FAREWELL: Duration = Duration::from_secs(1);

/// Why a connection was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Full {
    All,
    Address,
}

impl Full {
    fn reply(self) -> String {
        let (status, code, detail) = match self {
            Self::All => (
                "503 Service Unavailable",
                "tooManyConnections",
                "as many connections are open as may be; try again later",
            ),
            Self::Address => (
                "429 Too Many Requests",
                "tooManyConnectionsFromAddress",
                "as many connections from this address are open as may be; close some",
            ),
        };
        let (number, title) = status.split_once(' ').unwrap_or((status, ""));
        let body = format!(
            r#"{{"type":"about:blank","title":"{title}","status":{number},"detail":"{detail}","code":"{code}"}}"#
        );
        format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/problem+json\r\n\
             cache-control: no-store\r\nretry-after: 1\r\nconnection: close\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        )
    }
}

/// What a connection occupies until it ends.
struct Place {
    open: Arc<AtomicUsize>,
    _address: Option<Seat<Address>>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Relaxed);
    }
}

/// The connections of one listener.
#[derive(Default)]
struct Connections {
    open: Arc<AtomicUsize>,
    by_address: Seats<Address>,
}

impl Connections {
    fn take(&self, inner: &Inner, peer: SocketAddr) -> Result<Place, Full> {
        let limits = inner.config().limits;
        if self.open.fetch_add(1, Relaxed) >= limits.connections {
            self.open.fetch_sub(1, Relaxed);
            return Err(Full::All);
        }
        let mut place = Place { open: Arc::clone(&self.open), _address: None };
        if let Some(address) = inner.config().proxies.connection(peer.ip()) {
            let seat = self.by_address.take(address, limits.connections_per_address);
            place._address = Some(seat.ok_or(Full::Address)?);
        }
        Ok(place)
    }
}

impl Control {
    /// Serves `router`, which is [`Control::router`], [`Control::metrics_router`] or has it nested in
    /// it, under the configured bounds, until the future is dropped; connections end with it.
    pub async fn serve(&self, listener: TcpListener, router: Router) {
        self.listen(listener, router, None, false).await;
    }

    /// The same over TLS (1.2 and 1.3).
    pub async fn serve_tls(&self, listener: TcpListener, router: Router, tls: Tls) {
        self.listen(listener, router, Some(tls), false).await;
    }

    /// The same, with TLS or without. When another server takes over ([`Control::hand_over`]) those
    /// who wait to be let in still are, and then the listener is closed, so that the kernel sends
    /// everyone else to the other one's.
    pub async fn serve_until_handover(
        &self,
        listener: TcpListener,
        router: Router,
        tls: Option<Tls>,
    ) {
        self.listen(listener, router, tls, true).await;
    }

    async fn listen(
        &self,
        listener: TcpListener,
        router: Router,
        tls: Option<Tls>,
        hands_over: bool,
    ) {
        let (inner, farewells) = (&self.inner, Arc::new(Semaphore::new(FAREWELLS)));
        let connections = Connections::default();
        let mut door = Door { inner, router, tls, connections, tasks: JoinSet::new(), farewells };
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((socket, peer)) => door.admit(socket, peer),
                    Err(error) => pause_after(&error).await,
                },
                Some(_) = door.tasks.join_next() => {}
                () = inner.handed_over(Handover::Begun), if hands_over => break,
            }
        }
        door.admit_waiting(listener);
        while door.tasks.join_next().await.is_some() {}
        std::future::pending().await
    }
}

/// Where connections of one listener come in.
struct Door<'a> {
    inner: &'a Arc<Inner>,
    router: Router,
    tls: Option<Tls>,
    connections: Connections,
    tasks: JoinSet<()>,
    farewells: Arc<Semaphore>,
}

impl Door<'_> {
    fn admit(&mut self, socket: TcpStream, peer: SocketAddr) {
        match self.connections.take(self.inner, peer) {
            Ok(place) => {
                let (inner, router) = (Arc::clone(self.inner), self.router.clone());
                let tls = self.tls.clone();
                self.tasks.spawn(async move {
                    connection(&inner, socket, peer, router, tls).await;
                    drop(place);
                });
            }
            Err(full) => {
                let refused = &self.inner.counters.connections_refused;
                count(&refused[usize::from(full == Full::Address)]);
                // Over TLS it would cost a handshake.
                let turn = Arc::clone(&self.farewells).try_acquire_owned();
                if let (None, Ok(turn)) = (&self.tls, turn) {
                    self.tasks.spawn(async move {
                        // Whoever does not listen need not be told.
                        let _ = timeout(FAREWELL, turn_away(socket, full)).await;
                        drop(turn);
                    });
                }
            }
        }
    }

    /// Lets in who waits in the kernel's queue, and closes the listener at once after the last: who is
    /// in the queue of a listener that is closed is reset.
    fn admit_waiting(&mut self, listener: TcpListener) {
        let Ok(listener) = listener.into_std() else { return };
        let mut waiting = Vec::new();
        while let Ok(accepted) = listener.accept() {
            waiting.push(accepted);
        }
        drop(listener);
        for (socket, peer) in waiting {
            if let Ok(socket) = into_tokio(socket) {
                self.admit(socket, peer);
            }
        }
    }
}

fn into_tokio(socket: std::net::TcpStream) -> io::Result<TcpStream> {
    socket.set_nonblocking(true)?;
    TcpStream::from_std(socket)
}

/// A connection that broke before it was taken is its client's affair; all else passes, or is asked
/// for again in vain.
async fn pause_after(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if !matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
        tracing::error!(%error, "connections are not accepted");
        tokio::time::sleep(PAUSE).await;
    }
}

async fn turn_away(mut socket: TcpStream, full: Full) -> io::Result<()> {
    socket.write_all(full.reply().as_bytes()).await?;
    socket.shutdown().await?;
    // Closing over what it still sends would reset the connection, and it would not get the reply.
    let mut rest = [0; 1024];
    while socket.read(&mut rest).await? > 0 {}
    Ok(())
}

async fn connection(
    inner: &Inner,
    socket: TcpStream,
    peer: SocketAddr,
    router: Router,
    tls: Option<Tls>,
) {
    // Small answers go out at once; without it they only come later.
    let _ = socket.set_nodelay(true);
    count(&inner.counters.connections);
    let times = inner.config().times;
    let socket = Patient::new(socket, times.send);
    let Some(tls) = tls else { return speak(inner, socket, peer, router, times).await };
    let shaken = TlsAcceptor::from(tls.config()).accept(socket);
    match timeout(times.head, shaken).await {
        Ok(Ok(socket)) => speak(inner, socket, peer, router, times).await,
        Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
        Err(_) => count(&inner.counters.connections_slow),
    }
}

/// HTTP/1.1, until either side ends it.
async fn speak(
    inner: &Inner,
    socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: SocketAddr,
    router: Router,
    times: Times,
) {
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        router.clone().oneshot(request)
    });
    let over = *inner.handover.borrow() == Handover::Done;
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(times.head)
        .keep_alive(!over)
        .serve_connection(TokioIo::new(socket), service)
        .with_upgrades();
    let mut served = pin!(served);
    let ended = tokio::select! {
        ended = &mut served => ended,
        // Not earlier: a connection whose first request is still under way would be cut.
        () = inner.handed_over(Handover::Done), if !over => {
            // The next request is the other server's.
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        if error.is_timeout() {
            count(&inner.counters.connections_slow);
        }
        tracing::debug!(%error, "a connection ended");
    }
}

/// A stream whose other side must take something within a time whenever there is something to take.
struct Patient<S> {
    stream: S,
    patience: Duration,
    waits: Option<Pin<Box<Sleep>>>,
}

impl<S> Patient<S> {
    fn new(stream: S, patience: Duration) -> Self {
        Self { stream, patience, waits: None }
    }

    /// What a write came to: an error if nothing was taken for too long.
    fn judge<T>(
        &mut self,
        cx: &mut Context<'_>,
        wrote: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if wrote.is_ready() {
            self.waits = None;
            return wrote;
        }
        let patience = self.patience;
        let waits = self.waits.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        ready!(waits.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "nothing is taken")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.judge(cx, wrote)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.judge(cx, wrote)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.judge(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.judge(cx, shut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_takes_nothing_is_given_up_and_a_slow_one_is_not() {
        let (ours, mut theirs) = tokio::io::duplex(16);
        let mut stream = Patient::new(ours, Duration::from_secs(5));
        stream.write_all(&[0; 16]).await.unwrap();
        let slow = tokio::spawn(async move {
            for _ in 0..4 {
                tokio::time::sleep(Duration::from_secs(4)).await;
                theirs.read_exact(&mut [0; 16]).await.unwrap();
            }
            theirs
        });
        stream.write_all(&[0; 64]).await.unwrap();
        let _theirs = slow.await.unwrap();
        let error = stream.write_all(&[0; 64]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn who_is_turned_away_is_told_in_problem_details() {
        for (full, code) in [(Full::All, 503), (Full::Address, 429)] {
            let reply = full.reply();
            let (head, body) = reply.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with(&format!("HTTP/1.1 {code} ")), "{head}");
            assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
            let body: serde_json::Value = serde_json::from_str(body).unwrap();
            assert_eq!(body["status"], code);
        }
    }
}
