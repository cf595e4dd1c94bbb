//! The description of the REST interface (OpenAPI 3.1), made from the handlers.
//!
//! Owns: what all operations have in common: authentication and errors.
//! Never: is written by hand; a test compares it with the copy that is checked in.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use utoipa::OpenApi;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{Content, OpenApi as Document, Ref, Required, ResponseBuilder};

use super::calling::{begin, within};
use super::error::{Code, Shape};
use super::{captures, events, identities, live, log, records, reload, rooms, webhooks};

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
        reload::reload,
        log::recent,
        captures::begin,
        captures::list,
        captures::show,
        captures::file,
        captures::stop,
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
        within::move_here,
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
            if shape == Shape::Acs {
                operation.parameters.get_or_insert_default().push(version().into());
            }
            operation.security = Some(vec![
                utoipa::openapi::SecurityRequirement::new("signature", Vec::<String>::new()),
                utoipa::openapi::SecurityRequirement::new("bearer", Vec::<String>::new()),
            ]);
        }
    }
    let components = document.components.get_or_insert_default();
    components.schemas.insert("Problem".to_owned(), problem().into());
    components.schemas.insert("AcsError".to_owned(), acs_error().into());
    let signature = ApiKeyValue::with_description(
        "Authorization",
        "HMAC-SHA256 SignedHeaders=x-ms-date;host;x-ms-content-sha256&Signature=…, as ACS signs",
    );
    components.add_security_scheme("signature", SecurityScheme::ApiKey(ApiKey::Header(signature)));
    let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    components.add_security_scheme("bearer", bearer);
    document
}

/// The refusals of `error`, RFC 9457.
fn problem() -> ObjectBuilder {
    let object = ObjectBuilder::new().schema_type(Type::Object);
    let object = ["type", "title", "detail", "code"]
        .iter()
        .fold(object, |object, name| object.property(*name, text_schema()).required(*name));
    let status = ObjectBuilder::new().schema_type(Type::Integer);
    object.property("status", status).required("status").property("target", text_schema())
}

/// The refusals of `error` on ACS's paths.
fn acs_error() -> ObjectBuilder {
    let error = ObjectBuilder::new()
        .schema_type(Type::Object)
        .property("code", text_schema())
        .required("code")
        .property("message", text_schema())
        .required("message")
        .property("target", text_schema());
    ObjectBuilder::new().schema_type(Type::Object).property("error", error).required("error")
}

fn text_schema() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let all = [&mut item.get, &mut item.post, &mut item.patch, &mut item.delete];
    all.into_iter().flatten()
}

/// Dates that every reader takes for one, all of them in the range.
const VERSION: &str =
    "^20(22-(0[6-9]|1[0-2])|2[3-5]-(0[1-9]|1[0-2])|26-0[12])-(0[1-9]|1[0-9]|2[0-8])$";

/// What the gate asks of every request on ACS's paths.
fn version() -> Parameter {
    let text = "A date from 2022-06-01 to 2026-03-12; all of them mean the same here";
    let date = ObjectBuilder::new().schema_type(Type::String).pattern(Some(VERSION));
    ParameterBuilder::new()
        .name("api-version")
        .parameter_in(ParameterIn::Query)
        .required(Required::True)
        .description(Some(text))
        .schema(Some(date))
        .build()
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
        let (kind, schema) = match shape {
            Shape::Acs => ("application/json", "AcsError"),
            Shape::Problem => ("application/problem+json", "Problem"),
        };
        let body = Content::new(Some(Ref::from_schema_name(schema)));
        let text = texts.join("\n\n");
        let response = ResponseBuilder::new().description(text).content(kind, body);
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
