//! Participants who come by WHIP (RFC 9725) and WHEP (draft-ietf-wish-whep) instead of a WebSocket.
//!
//! Owns: the HTTP sessions that there are, their way into a call and out of it, ICE restarts, and
//! what a watcher sees.
//! Never: speaks HTTP (`http/whip.rs` does), or has rules of its own: a session joins as an agent
//! joins, and from then on is a session like any other.
//!
//! Such a participant is an [`Agent`] without a socket for as long as its join takes. What its call
//! tells it goes into an outlet that a task empties; that task ends with the session, and takes the
//! HTTP session away. So a kick, an end of the call, lost media or an expired token need nothing of
//! their own here.

mod view;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime};

use convoke_node::core::{Action, LeaveReason, Reply, TransportRole};
use convoke_protocol::http::{HttpOffer, answer_fragment};
use convoke_protocol::{
    EndReason, ErrorCode, Join, Joined, ServerMessage, SessionDescription, decode_server,
};
use dashmap::DashMap;
use tokio::sync::{Semaphore, oneshot, watch};

use crate::agent::{Agent, AgentPlace, Known, Via};
use crate::control::Inner;
use crate::ids::{AgentId, ResumeHash, ResumeToken};
use crate::metrics::count;
use crate::outlet::{Drain, Next, outlet};
use crate::refusal::Refusal;
use crate::requests::unexpected;
use crate::session::Session;
use crate::token::AccessToken;
use view::View;
pub(crate) use view::{PinText, Rendition};

/// The HTTP sessions that there are.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    /// By the hash of the secret part of their URL.
    all: DashMap<ResumeHash, Arc<HttpSession>>,
    counts: [AtomicU64; 2],
}

/// One of them.
#[derive(Debug)]
pub(crate) struct HttpSession {
    pub(crate) via: Via,
    pub(crate) session: Arc<Session>,
    /// Held while ICE is restarted, so that restarts come one after another.
    pub(crate) ice: tokio::sync::Mutex<Ice>,
    /// What it shows, if it watches. Held while the core is told.
    pub(crate) view: Option<tokio::sync::Mutex<View>>,
    /// Its view changes with who is there.
    follows: bool,
    /// The place for its one stream of events.
    pub(crate) stream: Arc<Semaphore>,
    /// When its newest token expires.
    expires_at: watch::Sender<SystemTime>,
}

/// What is negotiated.
#[derive(Debug)]
pub(crate) struct Ice {
    /// The offer with the client's present ICE credentials.
    pub(crate) offer: HttpOffer,
    /// Strong, and new with each restart.
    pub(crate) etag: String,
}

/// A request to publish or to watch.
#[derive(Debug)]
pub(crate) struct Wish {
    pub(crate) via: Via,
    pub(crate) token: AccessToken,
    pub(crate) display_name: Arc<str>,
    /// Its `User-Agent`, shortened.
    pub(crate) app: Arc<str>,
    pub(crate) offer: HttpOffer,
    /// With everything but the offers.
    pub(crate) join: Join,
    /// Whom or what to show, if it watches.
    pub(crate) pin: Option<PinText>,
}

/// A session that was made.
#[derive(Debug)]
pub(crate) struct Created {
    /// The secret part of its URL.
    pub(crate) id: String,
    pub(crate) answer: String,
    pub(crate) etag: String,
    pub(crate) identity: String,
}

/// Why none was made.
#[derive(Debug)]
pub(crate) enum NotCreated {
    Refused(Refusal),
    /// It waits in the lobby, and has been waited for long enough.
    Waiting,
    /// It ended before it began.
    Ended(EndReason),
}

impl Sessions {
    /// How many there are: publishing, watching.
    pub(crate) fn counts(&self) -> [u64; 2] {
        [self.counts[0].load(Relaxed), self.counts[1].load(Relaxed)]
    }

    /// The one of a URL, if it is not over.
    pub(crate) fn get(&self, via: Via, id: &str) -> Option<Arc<HttpSession>> {
        let found = Arc::clone(&*self.all.get(&ResumeHash::of(id))?);
        (found.via == via && !found.session.is_ended()).then_some(found)
    }

    fn insert(&self, hash: ResumeHash, session: &Arc<HttpSession>) {
        count(self.count_of(session.via));
        self.all.insert(hash, Arc::clone(session));
    }

    fn remove(&self, hash: ResumeHash) {
        if let Some((_, session)) = self.all.remove(&hash) {
            self.count_of(session.via).fetch_sub(1, Relaxed);
        }
    }

    fn count_of(&self, via: Via) -> &AtomicU64 {
        let [publishing, watching] = &self.counts;
        if via == Via::Whep { watching } else { publishing }
    }
}

impl HttpSession {
    /// Whether it is of the same identity.
    pub(crate) fn is_of(&self, token: &AccessToken) -> bool {
        **self.session.identity() == *token.identity
    }

    /// A newer token of the same identity was shown: the session lives as long as that.
    pub(crate) fn renew(&self, token: &AccessToken) {
        self.expires_at.send_if_modified(|known| {
            let later = token.expires_at > *known;
            if later {
                *known = token.expires_at;
            }
            later
        });
    }

    fn role(&self) -> TransportRole {
        if self.via == Via::Whep { TransportRole::Receive } else { TransportRole::Send }
    }
}

fn new_etag() -> String {
    format!("\"{:016x}\"", rand::random::<u64>())
}

impl Inner {
    /// Joins. The work goes on if the caller stops waiting, and is then undone.
    pub(crate) async fn create_http_session(
        self: &Arc<Self>,
        wish: Wish,
        place: AgentPlace,
    ) -> Result<Created, NotCreated> {
        let (reply, answer) = oneshot::channel();
        let this = Arc::clone(self);
        tokio::spawn(async move { this.join_by_http(wish, place, reply).await });
        answer.await.unwrap_or_else(|_| Err(NotCreated::Refused(unexpected())))
    }

    async fn join_by_http(
        self: Arc<Self>,
        wish: Wish,
        place: AgentPlace,
        mut reply: oneshot::Sender<Result<Created, NotCreated>>,
    ) {
        let id = AgentId::random();
        let (outlet, mut drain) = outlet(id, &self.config().limits);
        let agent = Agent::new(Arc::clone(&self), id, outlet.forgiving(), wish.via, Instant::now());
        let seat = match agent.take_seat(&wish.token) {
            Ok(seat) => seat,
            Err(refusal) => return drop(reply.send(Err(NotCreated::Refused(refusal)))),
        };
        let made = self.come_by_http(agent, &mut drain, wish, &mut reply).await;
        let (http, created) = match made {
            Ok(made) => made,
            // Whoever is gone needs no reason.
            Err(reason) => return drop(reply.send(Err(reason))),
        };
        let hash = ResumeHash::of(&created.id);
        self.http_sessions.insert(hash, &http);
        if reply.send(Ok(created)).is_err() {
            self.remove(&http.session, LeaveReason::Unreachable).await;
        }
        self.attend(&http, drain).await;
        self.http_sessions.remove(hash);
        drop((place, seat));
    }

    /// The join itself, as far as its answer.
    async fn come_by_http(
        self: &Arc<Self>,
        mut agent: Agent,
        drain: &mut Drain,
        wish: Wish,
        reply: &mut oneshot::Sender<Result<Created, NotCreated>>,
    ) -> Result<(Arc<HttpSession>, Created), NotCreated> {
        let Wish { via, token, display_name, app, offer, join, pin } = wish;
        let began = Instant::now();
        let expires_at = watch::Sender::new(token.expires_at);
        let identity = token.identity.clone();
        agent.known = Some(Known { token, display_name, app });
        let description = Some(SessionDescription { sdp: offer.sdp.clone() });
        let join = match via {
            Via::Whep => Join { receive: description, ..join },
            Via::Agent | Via::Whip => Join { send: description, ..join },
        };
        let joined = agent.join(join).await;
        let session = agent.session.take();
        // With its outlet: from now on the session alone has one.
        drop(agent);
        joined.map_err(NotCreated::Refused)?;
        let session = session.ok_or_else(|| NotCreated::Refused(unexpected()))?;
        let hold = self.config().times.lobby_hold.saturating_sub(began.elapsed());
        let done = async {
            let joined = tokio::select! {
                joined = first_word(drain, &session, hold) => joined?,
                () = reply.closed() => return Err(NotCreated::Waiting),
            };
            let view = match via {
                Via::Whep => Some(self.first_view(&session, &offer, pin, &joined).await?),
                Via::Agent | Via::Whip => None,
            };
            Ok((joined, view))
        };
        let (joined, view) = match done.await {
            Ok(done) => done,
            Err(reason) => {
                self.abandon(&session).await;
                return Err(reason);
            }
        };
        let description = if via == Via::Whep { joined.receive } else { joined.send };
        let answer = description.map(|one| one.sdp).unwrap_or_default();
        let (secret, etag) = (ResumeToken::random(), new_etag());
        let ice = tokio::sync::Mutex::new(Ice { offer, etag: etag.clone() });
        let follows = view.as_ref().is_some_and(View::follows);
        let view = view.map(tokio::sync::Mutex::new);
        let stream = Arc::new(Semaphore::new(1));
        let http = HttpSession { via, session, ice, view, follows, stream, expires_at };
        Ok((Arc::new(http), Created { id: secret.expose(), answer, etag, identity }))
    }

    /// What a watcher sees from the start.
    async fn first_view(
        &self,
        session: &Session,
        offer: &HttpOffer,
        pin: Option<PinText>,
        joined: &Joined,
    ) -> Result<View, NotCreated> {
        let view = View::new(offer, pin, session.wire_id(), &joined.participants);
        let view = view.map_err(NotCreated::Refused)?;
        self.sync_view(session, &view).await.map_err(NotCreated::Refused)?;
        Ok(view)
    }

    /// Whoever waited for it has gone, or will not be told of it.
    async fn abandon(self: &Arc<Self>, session: &Arc<Session>) {
        let outside = session.is_outside();
        self.end_session(session, EndReason::unreachable());
        if !outside {
            self.take_out(session, LeaveReason::Unreachable).await;
        }
    }

    /// Until the session is over.
    async fn attend(self: &Arc<Self>, http: &HttpSession, mut drain: Drain) {
        let leeway = self.config().keys.rules().leeway;
        let mut expires_at = http.expires_at.subscribe();
        loop {
            let until = *expires_at.borrow_and_update() + leeway;
            let left = until.duration_since(SystemTime::now()).unwrap_or_default();
            tokio::select! {
                next = drain.next() => match next {
                    Next::Text(text) if http.follows => self.view_hears(http, &text).await,
                    Next::Text(_) => {}
                    Next::Close(_) => break,
                },
                _ = expires_at.changed() => {}
                () = tokio::time::sleep(left) => {
                    let participant = http.session.wire_id();
                    tracing::info!(participant, "the access token expired");
                    self.remove(&http.session, LeaveReason::Expired).await;
                }
            }
        }
        if !http.session.is_ended() {
            // Its outlet was closed from elsewhere.
            self.remove(&http.session, LeaveReason::Unreachable).await;
        }
    }

    /// Restarts ICE: `ice` is the session's own, held by the caller. The fragment that answers.
    pub(crate) async fn restart_ice(
        self: &Arc<Self>,
        http: &HttpSession,
        ice: &mut Ice,
        (ufrag, pwd): &(String, String),
    ) -> Result<String, Refusal> {
        let offer = ice.offer.restarted(ufrag, pwd);
        let (participant, role) = (http.session.participant(), http.role());
        let action = Action::Offer { participant, role, sdp: offer.sdp.clone() };
        let reply = self.command(http.session.room(), action).await;
        let reply = reply.map_err(|error| self.refuse(&error))?;
        let Reply::Answer { sdp, .. } = reply else { return Err(unexpected()) };
        *ice = Ice { offer, etag: new_etag() };
        Ok(answer_fragment(&sdp))
    }
}

/// What became of a join: `joined` or `ended`, whichever is told first.
async fn first_word(
    drain: &mut Drain,
    session: &Session,
    hold: Duration,
) -> Result<Joined, NotCreated> {
    let lost = || Refusal::new(ErrorCode::Internal, "the join was lost; try again");
    let read = async {
        loop {
            // An outlet that is gone was closed after its last word.
            let text = match drain.next().await {
                Next::Text(text) => text,
                Next::Close(_) => match drain.rest() {
                    Some(text) => text,
                    None => return Err(NotCreated::Refused(lost())),
                },
            };
            match decode_server(&text) {
                Ok(ServerMessage::Joined(joined)) => return Ok(joined),
                Ok(ServerMessage::Ended(ended)) => return Err(NotCreated::Ended(ended.reason)),
                _ => {}
            }
        }
    };
    // Only somebody who waits in the lobby has not been told yet.
    match tokio::time::timeout(hold, read).await {
        Ok(word) => word,
        Err(_) if session.is_outside() => Err(NotCreated::Waiting),
        Err(_) => Err(NotCreated::Refused(lost())),
    }
}
