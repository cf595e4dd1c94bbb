//! What app servers ask for by HTTP.
//!
//! Owns: the routes of identities, scheduled rooms, calls, events and the audit log, and who may use
//! which. Paths, bodies and names of the first two are those of Azure Communication Services, so that
//! its public SDKs work here.
//! Never: decides about calls; `scheduled` and `revocations` act in those that run.
//!
//! Start reading at `auth.rs` (who asks), then `identities.rs` (a resource from end to end).

pub(crate) mod auth;
pub(crate) mod body;
mod calling;
mod captures;
mod error;
mod event_grid;
pub(crate) mod events;
mod identities;
mod live;
mod log;
pub(crate) mod openapi;
mod paging;
mod records;
mod reload;
pub(crate) mod repeat;
mod rooms;
mod signature;
pub(crate) mod time;
mod webhooks;

use std::sync::Arc;

use axum::Router;
use axum::http::Uri;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};

use crate::control::Inner;
use crate::services::Role;
use auth::Gate;
pub(crate) use error::Shape;
use error::{ApiError, Code};

/// All routes that need a service key, and the document that describes them.
pub(crate) fn router(inner: &Arc<Inner>) -> Router<Arc<Inner>> {
    let gate = |role| from_fn_with_state(Gate { inner: Arc::clone(inner), role }, auth::admit);
    // A last segment that begins with a colon is a verb.
    let router = || Router::new().without_v07_checks();
    let identities = router()
        .route("/identities", post(identities::create))
        .route("/identities/{id}", axum::routing::delete(identities::delete))
        .route("/identities/{id}/:issueAccessToken", post(identities::issue))
        .route("/identities/{id}/:revokeAccessTokens", post(identities::revoke))
        .route("/identities/{id}/events", get(events::of_identity))
        .route_layer(gate(Role::Identity));
    let rooms = router()
        .route("/rooms", post(rooms::create).get(rooms::list))
        .route("/rooms/{id}", get(rooms::show).patch(rooms::update).delete(rooms::delete))
        .route(
            "/rooms/{id}/participants",
            get(rooms::participants).patch(rooms::patch_participants),
        )
        .route("/rooms/{id}/events", get(events::of_room))
        .route("/calls", get(records::list))
        .route("/calls/live", get(live::list))
        .route("/calls/{id}", get(records::show))
        .route("/calls/{id}/participants", get(live::participants))
        .route("/calls/{id}/participants/{participant}", get(live::participant))
        .route("/calls/{id}/:end", post(live::end))
        .route("/calls/{id}/:mute", post(live::mute))
        .route("/calls/{id}/:remove", post(live::remove))
        .route("/calls/{id}/events", get(events::of_call))
        .route_layer(gate(Role::Calls));
    let calling = router().merge(calling::router()).route_layer(gate(Role::Calls));
    let admin = router()
        .route("/events", get(events::all))
        .route("/audit", get(records::audit))
        .route("/webhooks", get(webhooks::list))
        .route("/webhooks/{name}/deadLetters", get(webhooks::dead_letters))
        .route("/webhooks/{name}/deadLetters/{position}/:replay", post(webhooks::replay))
        .route("/config/:reload", post(reload::reload))
        .route("/log", get(log::recent))
        .route("/calls/{id}/:capture", post(captures::begin))
        .route("/captures", get(captures::list))
        .route("/captures/{id}", get(captures::show))
        .route("/captures/{id}/file", get(captures::file))
        .route("/captures/{id}/:stop", post(captures::stop))
        .route_layer(gate(Role::Admin));
    let public = router().route("/openapi.json", get(openapi::document));
    identities.merge(rooms).merge(calling).merge(admin).merge(public)
}

/// What is answered where no route is: in the shape of the place.
pub(crate) fn missing(uri: &Uri) -> Option<Response> {
    let shape = Shape::of(uri.path());
    (shape == Shape::Acs).then(|| {
        let planned = ["/teamsUser/", "/access/"];
        let code = if planned.iter().any(|prefix| uri.path().starts_with(prefix)) {
            Code::NotImplemented
        } else {
            Code::NotFound
        };
        ApiError::new(code, "nothing is here").shaped(shape).into_response()
    })
}

/// What is answered to a wrong method, in the shape of the place.
pub(crate) fn wrong_method(uri: &Uri) -> Response {
    // Where nothing is given the router adds what its routes take.
    ApiError::wrong_method(calling::methods(uri.path()).unwrap_or_default())
        .shaped(Shape::of(uri.path()))
        .into_response()
}
