//! Opening the agent WebSocket and saying `hello`.

use std::net::IpAddr;
use std::time::Duration;

use convoke_protocol::{
    ClientMessage, ErrorReply, Hello, PROTOCOL_VERSION, SUBPROTOCOL, ServerMessage, Welcome,
    decode_server, encode,
};
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::ClientOptions;

pub(super) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Why the agent could not be brought up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The URL is no `ws://` or `wss://` URL.
    #[error("{0} is no WebSocket URL")]
    Url(String),
    /// This build has no TLS.
    #[error("wss:// needs the `tls` feature")]
    NoTls,
    /// The WebSocket could not be opened, or was lost before `welcome`.
    #[error("WebSocket: {0}")]
    WebSocket(String),
    /// The server did not answer in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The server refused the `hello`.
    #[error("refused ({:?}): {}", .0.code, .0.message)]
    Refused(ErrorReply),
}

impl ConnectError {
    /// Whether trying again later may help.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::WebSocket(_) | Self::Timeout(_))
    }
}

fn websocket(error: impl std::fmt::Display) -> ConnectError {
    ConnectError::WebSocket(error.to_string())
}

/// An authenticated agent.
pub(super) struct Opened {
    pub(super) socket: Socket,
    pub(super) welcome: Welcome,
    /// The address by which this host reaches the server.
    pub(super) local_ip: Option<IpAddr>,
}

/// The address that `/agent` is served at, below `url`.
pub(super) fn agent_url(url: &str) -> Result<String, ConnectError> {
    let (scheme, rest) = url.split_once("://").ok_or_else(|| ConnectError::Url(url.to_owned()))?;
    let scheme = match scheme {
        "ws" | "http" => "ws",
        "wss" | "https" if cfg!(feature = "tls") => "wss",
        "wss" | "https" => return Err(ConnectError::NoTls),
        _ => return Err(ConnectError::Url(url.to_owned())),
    };
    let rest = rest.trim_end_matches('/');
    let path = if rest.ends_with("/agent") { "" } else { "/agent" };
    Ok(format!("{scheme}://{rest}{path}"))
}

/// Opens the WebSocket and authenticates.
pub(super) async fn open(
    url: &str,
    token: &str,
    options: &ClientOptions,
) -> Result<Opened, ConnectError> {
    let limit = options.connect_timeout;
    let opening = open_unlimited(url, token, options);
    tokio::time::timeout(limit, opening).await.unwrap_or(Err(ConnectError::Timeout(limit)))
}

async fn open_unlimited(
    url: &str,
    token: &str,
    options: &ClientOptions,
) -> Result<Opened, ConnectError> {
    let mut request = url.into_client_request().map_err(|e| ConnectError::Url(e.to_string()))?;
    let protocol = HeaderValue::from_static(SUBPROTOCOL);
    request.headers_mut().insert("Sec-WebSocket-Protocol", protocol);
    let mut socket = connect(request).await?;
    let local_ip = match socket.get_ref() {
        MaybeTlsStream::Plain(tcp) => tcp.local_addr().ok(),
        #[cfg(feature = "tls")]
        MaybeTlsStream::Rustls(tls) => tls.get_ref().0.local_addr().ok(),
        _ => None,
    };
    let hello = ClientMessage::Hello(hello(token, options));
    socket.send(Message::text(encode(&hello))).await.map_err(websocket)?;
    let welcome = loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => match decode_server(&text) {
                Ok(ServerMessage::Welcome(welcome)) => break welcome,
                Ok(ServerMessage::Error(reply)) => return Err(ConnectError::Refused(reply)),
                Ok(_) => {}
                Err(error) => tracing::debug!(%error, "message ignored"),
            },
            Some(Ok(Message::Close(frame))) => {
                let reason = frame.map_or_else(|| "closed".to_owned(), |f| f.to_string());
                return Err(ConnectError::WebSocket(reason));
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(websocket(error)),
            None => return Err(websocket("closed")),
        }
    };
    Ok(Opened { socket, welcome, local_ip: local_ip.map(|addr| addr.ip()) })
}

pub(super) fn hello(token: &str, options: &ClientOptions) -> Hello {
    Hello {
        request_id: Some(0),
        protocol: PROTOCOL_VERSION,
        token: token.to_owned(),
        display_name: options.display_name.clone(),
        user_agent: Some(options.user_agent.clone()),
    }
}

type Request = tokio_tungstenite::tungstenite::http::Request<()>;

#[cfg(not(feature = "tls"))]
async fn connect(request: Request) -> Result<Socket, ConnectError> {
    let connecting = tokio_tungstenite::connect_async_with_config(request, None, true);
    connecting.await.map(|(socket, _)| socket).map_err(websocket)
}

#[cfg(feature = "tls")]
async fn connect(request: Request) -> Result<Socket, ConnectError> {
    use std::sync::Arc;
    use tokio_tungstenite::Connector;

    let mut roots = rustls::RootCertStore::empty();
    for certificate in rustls_native_certs::load_native_certs().certs {
        // A root that rustls cannot read is of no use to it; the others still are.
        let _ = roots.add(certificate);
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(websocket)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = Some(Connector::Rustls(Arc::new(config)));
    let connecting =
        tokio_tungstenite::connect_async_tls_with_config(request, None, true, connector);
    connecting.await.map(|(socket, _)| socket).map_err(websocket)
}
