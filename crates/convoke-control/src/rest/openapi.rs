//! The description of the REST interface (OpenAPI 3.1), made from the handlers.
//!
//! Owns: what all operations have in common: authentication and errors.
//! Never: is written by hand; a test compares it with the copy that is checked in.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use utoipa::OpenApi;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{OpenApi as Document, ResponseBuilder};

use super::calling::{begin, within};
use super::error::{Code, Shape};
use super::{events, identities, live, records, rooms, webhooks};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Convoke",
        description = "What app servers ask a Convoke server for. Paths of identities and rooms, \
            their bodies and errors are those of Azure Communication Services.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    paths(
        identities::create,
        identities::issue,
        identities::revoke,
        identities::delete,
        rooms::create,
        rooms::list,
        rooms::show,
        rooms::update,
        rooms::delete,
        rooms::participants,
        rooms::patch_participants,
        records::list,
        records::show,
        records::audit,
        live::list,
        live::participants,
        live::participant,
        live::end,
        live::mute,
        live::remove,
        events::all,
        events::of_call,
        events::of_room,
        events::of_identity,
        webhooks::list,
        webhooks::dead_letters,
        webhooks::replay,
        begin::create,
        begin::answer,
        begin::redirect,
        begin::reject,
        begin::connect,
        within::show,
        within::hang_up,
        within::terminate,
        within::list,
        within::participant,
        within::add,
        within::cancel,
        within::remove,
        within::mute,
        within::transfer,
    )
)]
struct Described;

/// The document.
pub(crate) fn describe() -> Document {
    let mut document = Described::openapi();
    for (path, item) in &mut document.paths.paths {
        let shape = Shape::of(path);
        for operation in operations(item) {
            errors(operation, shape);
            operation.security = Some(vec![
                utoipa::openapi::SecurityRequirement::new("signature", Vec::<String>::new()),
                utoipa::openapi::SecurityRequirement::new("bearer", Vec::<String>::new()),
            ]);
        }
    }
    let components = document.components.get_or_insert_default();
    let signature = ApiKeyValue::with_description(
        "Authorization",
        "HMAC-SHA256 SignedHeaders=x-ms-date;host;x-ms-content-sha256&Signature=…, as ACS signs",
    );
    components.add_security_scheme("signature", SecurityScheme::ApiKey(ApiKey::Header(signature)));
    let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    components.add_security_scheme("bearer", bearer);
    document
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let all = [&mut item.get, &mut item.post, &mut item.patch, &mut item.delete];
    all.into_iter().flatten()
}

/// Documents every error, by status.
fn errors(operation: &mut Operation, shape: Shape) {
    let mut by_status: BTreeMap<u16, Vec<String>> = BTreeMap::new();
    for (code, meaning) in Code::ALL {
        let name = match shape {
            Shape::Acs => code.acs().to_owned(),
            Shape::Problem => code.problem(),
        };
        let text = format!("`{name}`: {}", meaning.trim());
        by_status.entry(code.status().as_u16()).or_default().push(text);
    }
    for (status, texts) in by_status {
        let response = ResponseBuilder::new().description(texts.join("\n\n"));
        operation.responses.responses.insert(status.to_string(), response.build().into());
    }
}

/// The document as text.
pub(crate) fn text() -> &'static str {
    static TEXT: OnceLock<String> = OnceLock::new();
    TEXT.get_or_init(|| {
        let json = serde_json::to_value(describe()).unwrap_or_default();
        format!("{json:#}\n")
    })
}

/// `GET /openapi.json`.
pub(crate) async fn document() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], text())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    #[test]
    fn the_checked_in_description_is_current() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
        if std::env::var_os("UPDATE_OPENAPI").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, super::text()).unwrap();
            return;
        }
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        let command = "UPDATE_OPENAPI=1 cargo test -p convoke-control openapi";
        assert!(found == super::text(), "{} has drifted; run: {command}", path.display());
    }
}
