//! Layer selection of WHEP (draft-ietf-wish-whep, "Video Layer Selection").
//!
//! Owns: its URL, and what a choice of an encoding means as a size.
//! Never: fixes an encoding: the choice is the best that is sent, and less where the path carries
//! less, or another track has the slot that has no such encoding.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::header::{ALLOW, CACHE_CONTROL};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::problem::Problem;
use super::whip::{ACCEPT_POST, check_type, invalid, own, read_body, refused, wrong_method};
use crate::agent::Via;
use crate::control::Inner;
use crate::whip::{HttpSession, Rendition};

pub(super) const JSON: &str = "application/json";
const METHODS: &str = "GET, HEAD, OPTIONS, POST";
/// The largest choice, in bytes.
const MAX_CHOICE: usize = 4096;
/// When the sizes of a picture that has just begun should be known.
const SOON: Duration = Duration::from_secs(1);

/// What a client chooses. `rid` is the draft's newer name of `encodingId`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Choice {
    media_id: Option<String>,
    encoding_id: Option<String>,
    rid: Option<String>,
    max_width: Option<u32>,
    max_height: Option<u32>,
    spatial_layer_id: Option<u32>,
    temporal_layer_id: Option<u32>,
    max_spatial_layer_id: Option<u32>,
    max_temporal_layer_id: Option<u32>,
}

pub(super) async fn layer(
    State(inner): State<Arc<Inner>>,
    Path(id): Path<String>,
    request: Request,
) -> Response {
    let done = match *request.method() {
        Method::GET | Method::HEAD => list(&inner, &id, request.headers()).await,
        Method::POST => choose(&inner, &id, request).await,
        Method::OPTIONS => {
            Ok((StatusCode::OK, [(ALLOW, METHODS), (ACCEPT_POST, JSON)]).into_response())
        }
        _ => Ok(wrong_method(METHODS)),
    };
    done.unwrap_or_else(|problem| problem.into_response())
}

/// What there is to choose from: the draft's `layers`, by the index of the m-line.
async fn list(inner: &Arc<Inner>, id: &str, headers: &HeaderMap) -> Result<Response, Problem> {
    let (http, _) = own(inner, Via::Whep, id, headers).await?;
    let all = inner.renditions(&http).await.map_err(refused)?;
    Ok(([(CACHE_CONTROL, "no-store")], Json(layers(&http, &all).await)).into_response())
}

/// The same as JSON.
pub(super) async fn layers(http: &HttpSession, all: &[Rendition]) -> Value {
    let Some(at) = http.ice.lock().await.offer.video_at else { return json!({}) };
    let view = |one: &Rendition| {
        let mut view = json!({ "bitrate": one.bitrate_bps });
        if let Some(rid) = &one.rid {
            view["rid"] = json!(rid);
            view["encodingId"] = json!(rid);
        }
        if let Some((width, height)) = one.size {
            view["width"] = json!(width);
            view["height"] = json!(height);
        }
        view
    };
    // The best first, as the draft shows it.
    json!({ at.to_string(): all.iter().rev().map(view).collect::<Vec<_>>() })
}

async fn choose(inner: &Arc<Inner>, id: &str, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let (http, _) = own(inner, Via::Whep, id, &parts.headers).await?;
    check_type(&parts.headers, JSON, ACCEPT_POST)?;
    let body = read_body(inner, body, MAX_CHOICE).await?;
    let choice: Choice = serde_json::from_str(&body).map_err(|error| invalid(error.to_string()))?;
    if let Some(media) = &choice.media_id {
        let offer = http.ice.lock().await.offer.clone();
        let video = match &http.view {
            Some(view) => view.lock().await.is_video(media, &offer),
            None => false,
        };
        if !video {
            return Err(unknown("mediaId is the index or the a=mid of the video m-line"));
        }
    }
    let wanted = choice.read()?;
    let all = match wanted {
        Wanted::Best => Vec::new(),
        _ => inner.renditions(&http).await.map_err(refused)?,
    };
    let size = wanted.size(&all)?;
    inner.set_size(&http, size).await.map_err(refused)?;
    Ok(StatusCode::OK.into_response())
}

/// A choice that was read.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    Best,
    Encoding(String),
    Within(u32, u32),
}

impl Choice {
    fn read(self) -> Result<Wanted, Problem> {
        let layers = [
            self.spatial_layer_id,
            self.temporal_layer_id,
            self.max_spatial_layer_id,
            self.max_temporal_layer_id,
        ];
        if layers.iter().any(Option::is_some) {
            let text = "choose by encodingId, or by maxWidth and maxHeight; not by layer ids";
            return Err(unprocessable("layerUnsupported", text));
        }
        let bound = self.max_width.is_some() || self.max_height.is_some();
        match self.encoding_id.or(self.rid) {
            Some(_) if bound => Err(invalid("give encodingId, or maxWidth and maxHeight")),
            Some(rid) => Ok(Wanted::Encoding(rid)),
            None if bound => {
                let side = |side: Option<u32>| side.unwrap_or(u32::MAX).max(1);
                Ok(Wanted::Within(side(self.max_width), side(self.max_height)))
            }
            None => Ok(Wanted::Best),
        }
    }
}

impl Wanted {
    /// The size to wish for, given what there is.
    fn size(self, all: &[Rendition]) -> Result<Option<(u32, u32)>, Problem> {
        match self {
            Self::Best => Ok(None),
            Self::Encoding(rid) => {
                let found = all.iter().find(|one| one.rid.as_deref() == Some(&*rid));
                match found.map(|one| one.size) {
                    Some(Some(size)) => Ok(Some(size)),
                    Some(None) => {
                        let text = "the size of this encoding is not known yet; try again";
                        Err(Problem::new(StatusCode::CONFLICT, "layerUnknown", text)
                            .retry_after(SOON))
                    }
                    None => Err(unknown("what is shown has no such encoding; GET lists them")),
                }
            }
            Self::Within(width, height) => {
                let area = |(width, height): (u32, u32)| u64::from(width) * u64::from(height);
                let sizes = || all.iter().filter_map(|one| one.size);
                let fitting = sizes().filter(|size| size.0 <= width && size.1 <= height);
                let smallest = || sizes().max_by_key(|size| Reverse(area(*size)));
                let best = fitting.max_by_key(|size| area(*size)).or_else(smallest);
                Ok(Some(best.unwrap_or((width, height))))
            }
        }
    }
}

fn unprocessable(code: &'static str, text: &str) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, code, text)
}

fn unknown(text: &str) -> Problem {
    unprocessable("layerUnknown", text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Rendition> {
        [("q", Some((320, 180))), ("h", Some((640, 360))), ("f", None)]
            .map(|(rid, size)| Rendition { rid: Some(rid.to_owned()), size, bitrate_bps: 1 })
            .into()
    }

    #[test]
    fn a_choice_becomes_the_size_of_what_there_is() {
        let size = |wanted: Wanted| wanted.size(&all()).unwrap();
        assert_eq!(size(Wanted::Best), None);
        assert_eq!(size(Wanted::Encoding("h".into())), Some((640, 360)));
        assert_eq!(size(Wanted::Within(700, 700)), Some((640, 360)));
        assert_eq!(size(Wanted::Within(639, 700)), Some((320, 180)));
        assert_eq!(size(Wanted::Within(10, 10)), Some((320, 180)), "the smallest, not nothing");
        assert!(Wanted::Encoding("f".into()).size(&all()).is_err(), "not known yet");
        assert!(Wanted::Encoding("x".into()).size(&all()).is_err());
        assert_eq!(Wanted::Within(5, 6).size(&[]).unwrap(), Some((5, 6)));
    }

    #[test]
    fn choices_are_read() {
        let read = |text: &str| serde_json::from_str::<Choice>(text).unwrap().read();
        assert_eq!(read("{}").unwrap(), Wanted::Best);
        assert_eq!(read(r#"{"rid":"h"}"#).unwrap(), Wanted::Encoding("h".into()));
        assert_eq!(read(r#"{"encodingId":"h"}"#).unwrap(), Wanted::Encoding("h".into()));
        assert_eq!(read(r#"{"maxWidth":0}"#).unwrap(), Wanted::Within(1, u32::MAX));
        assert!(read(r#"{"rid":"h","maxWidth":1}"#).is_err());
        assert!(read(r#"{"temporalLayerId":0}"#).is_err());
    }
}
