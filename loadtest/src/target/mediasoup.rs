//! mediasoup as a target, by way of `peers/mediasoup/server.mjs`.
//!
//! Owns: its HTTP requests, and a task that waits for offers.
//! Never: chooses layers; callers send one encoding here and take what others send.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use convoke_client::media::MediaPeer;
use tokio::sync::mpsc::{Receiver, channel};

use super::{Ask, Failure, News, Seat, Seated, Sockets, Target, media_config};

/// Longer than the server holds a request for an offer.
const PATIENCE: Duration = Duration::from_secs(30);

/// See the module.
#[derive(Debug)]
pub struct Mediasoup {
    url: String,
    bind: IpAddr,
}

impl Mediasoup {
    /// The server at `url`.
    #[must_use]
    pub fn new(url: String, bind: IpAddr) -> Self {
        Self { url, bind }
    }
}

/// A request: `None` for an answer without content.
async fn ask(url: String, body: Option<String>) -> Result<Option<String>, Failure> {
    let asking = tokio::task::spawn_blocking(move || {
        let config = ureq::Agent::config_builder();
        let config = config.timeout_global(Some(PATIENCE)).http_status_as_error(false).build();
        let agent: ureq::Agent = config.into();
        let answer = match body {
            Some(body) => agent.post(&url).send(body),
            None => agent.get(&url).call(),
        };
        let mut answer = answer.map_err(|error| Failure::new("connect", error))?;
        let text = answer.body_mut().read_to_string();
        let text = text.map_err(|error| Failure::new("connect", error))?;
        match answer.status().as_u16() {
            200 => Ok(Some(text)),
            204 => Ok(None),
            status => Err(Failure::new("refused", format!("{status}: {text}"))),
        }
    });
    asking.await.map_err(|error| Failure::new("connect", error))?
}

impl Target for Mediasoup {
    type Seat = MediasoupSeat;

    async fn join(&self, caller: Ask) -> Result<Seated<MediasoupSeat>, Failure> {
        let sends = !caller.sources().is_empty();
        let socket = |error| Failure::new("socket", error);
        let sockets = Sockets::bind(self.bind, sends, true).map_err(socket)?;
        let media = |error| Failure::new("media", error);
        let (mut peer, offer) = if sends {
            let addresses = sockets.addresses().map_err(socket)?;
            let config = media_config(&caller, addresses, [0, 0]);
            let (peer, offers) =
                MediaPeer::new(config, caller.visit, Instant::now()).map_err(media)?;
            (peer, offers.send.unwrap_or_default())
        } else {
            (MediaPeer::answering(vec![caller.scenario.video.codec.codec()]), String::new())
        };
        let who = caller.visit;
        let answer = ask(format!("{}/join/{}/{who}", self.url, caller.room), Some(offer)).await?;
        let at = Instant::now();
        if sends {
            peer.accept_answers(at, answer.as_deref(), None).map_err(media)?;
        }
        let (to, offers) = channel(1);
        let url = format!("{}/offer/{who}", self.url);
        tokio::spawn(async move {
            loop {
                let news = match ask(url.clone(), None).await {
                    Ok(None) if to.is_closed() => return,
                    Ok(None) => continue,
                    Ok(Some(offer)) => News::Offer(offer),
                    Err(failure) => News::Ended(failure.to_string()),
                };
                if to.send(news).await.is_err() {
                    return;
                }
            }
        });
        let seat = MediasoupSeat { url: self.url.clone(), who, offers };
        Ok(Seated { peer, sockets, seat, at })
    }
}

/// A place in one of mediasoup's rooms.
#[derive(Debug)]
pub struct MediasoupSeat {
    url: String,
    who: u64,
    offers: Receiver<News>,
}

impl Seat for MediasoupSeat {
    async fn next(&mut self) -> News {
        let news = self.offers.recv().await;
        news.unwrap_or_else(|| News::Ended("no more offers".to_owned()))
    }

    fn look(&mut self, _page: usize) {}

    async fn answer(&mut self, sdp: String) -> Result<(), Failure> {
        ask(format!("{}/answer/{}", self.url, self.who), Some(sdp)).await.map(|_| ())
    }

    async fn leave(mut self) -> Result<(), Failure> {
        self.offers.close();
        ask(format!("{}/leave/{}", self.url, self.who), Some(String::new())).await.map(|_| ())
    }
}
