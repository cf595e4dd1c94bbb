//! `/webhooks`: how far receivers have got, and what they did not take.
//!
//! Owns: how dead letters look by HTTP, and telling one again.
//! Never: configures a receiver; the operator does.

use axum::Json;
use axum::extract::{Extension, OriginalUri, Path};
use axum::http::StatusCode;
use convoke_store::DeadLetter;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::auth::Caller;
use super::error::{ApiError, Code};
use super::paging::Page;
use super::time::format;
use crate::webhooks::Webhook;

/// A receiver.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Receiver {
    name: String,
    /// How it is told: `convoke` or `eventGrid`.
    format: &'static str,
    /// It was told all events up to this position (their `id`), but for dead letters.
    position: i64,
}

/// All receivers.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Receivers {
    value: Vec<Receiver>,
}

/// An event that a receiver did not take in time.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Letter {
    position: i64,
    #[schema(format = DateTime)]
    given_up_at: String,
    /// The last failure.
    reason: String,
    /// The CloudEvent in the webhook's format; null if that does not have it.
    event: Value,
}

/// A page of dead letters.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Letters {
    value: Vec<Letter>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_link: Option<String>,
}

fn find<'a>(caller: &'a Caller, name: &str) -> Result<&'a Webhook, ApiError> {
    let found = caller.services.webhooks.iter().find(|webhook| webhook.name() == name);
    found.ok_or_else(|| ApiError::new(Code::WebhookNotFound, "no webhook has this name"))
}

fn failed(error: convoke_store::StoreError) -> ApiError {
    ApiError::store(error, Code::WebhookNotFound)
}

/// Lists webhooks and how far they have got.
#[utoipa::path(
    get, path = "/webhooks", tag = "Webhooks",
    responses((status = 200, description = "All of them", body = Receivers))
)]
pub(crate) async fn list(
    Extension(caller): Extension<Caller>,
) -> Result<Json<Receivers>, ApiError> {
    let mut value = Vec::new();
    for webhook in caller.services.webhooks.iter() {
        let position = caller.services.store.cursor(webhook.name()).await.map_err(failed)?;
        let format = webhook.format.name();
        value.push(Receiver { name: webhook.name().to_owned(), format, position });
    }
    Ok(Json(Receivers { value }))
}

/// Lists what a receiver did not take in time.
#[utoipa::path(
    get, path = "/webhooks/{name}/deadLetters", tag = "Webhooks",
    params(("name" = String, Path, description = "The webhook's name")),
    responses((status = 200, description = "A page", body = Letters))
)]
pub(crate) async fn dead_letters(
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    OriginalUri(uri): OriginalUri,
) -> Result<Json<Letters>, ApiError> {
    let webhook = find(&caller, &name)?;
    let page = Page::read(&uri, caller.services.limits.page)?;
    let after = page.after.parse().unwrap_or_default();
    let store = &caller.services.store;
    let found = store.dead_letters(webhook.name(), after, page.read_limit()).await;
    let mut found = found.map_err(failed)?;
    let next_link = page.cut(&mut found, |letter| letter.event.position.to_string());
    let mut value = Vec::new();
    for DeadLetter { at, reason, event } in found {
        // What the webhook's format does not have is dead only if it had another one then.
        let view =
            webhook.format.view(store, std::slice::from_ref(&event)).await.map_err(failed)?;
        let shown = view.into_iter().next().map(|(_, shown)| shown).unwrap_or_default();
        let (position, given_up_at) = (event.position, format(at));
        value.push(Letter { position, given_up_at, reason, event: shown });
    }
    Ok(Json(Letters { value, next_link }))
}

/// Tells a dead letter again, now. It is one no more if the receiver takes it.
#[utoipa::path(
    post, path = "/webhooks/{name}/deadLetters/{position}/:replay", tag = "Webhooks",
    params(
        ("name" = String, Path, description = "The webhook's name"),
        ("position" = i64, Path, description = "The position of the event"),
    ),
    responses((status = 204, description = "Taken"))
)]
pub(crate) async fn replay(
    Extension(caller): Extension<Caller>,
    Path((name, position)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    let webhook = find(&caller, &name)?;
    let missing = || ApiError::new(Code::WebhookNotFound, "it has no such dead letter");
    let position: i64 = position.parse().map_err(|_| missing())?;
    let store = &caller.services.store;
    let letters = store.dead_letters(webhook.name(), position.saturating_sub(1), 1).await;
    let letters = letters.map_err(failed)?;
    let letter = letters.iter().find(|letter| letter.event.position == position);
    let event = letter.ok_or_else(missing)?.event.clone();
    let view = webhook.format.view(store, std::slice::from_ref(&event)).await.map_err(failed)?;
    if !view.is_empty() {
        let told = webhook.tell(view).await;
        told.map_err(|reason| ApiError::new(Code::WebhookFailed, reason))?;
    }
    let target = format!("{name}/{position}");
    store.audit(caller.change("webhook.replay"), &target).await.map_err(failed)?;
    store.exhume(webhook.name(), position).await.map_err(failed)?;
    Ok(StatusCode::NO_CONTENT)
}
