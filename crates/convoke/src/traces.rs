//! Traces to a collector, by OTLP over HTTP (protobuf).
//!
//! Owns: the exporter, and which spans it gets: those of calls, of participants and of joins.
//! Never: makes a call wait: what a collector does not take in time is dropped by the exporter's queue.

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

/// The target of the spans that are exported.
const TARGET: &str = "convoke::trace";

/// What is exported, until [`Traces::finish`].
pub(crate) struct Traces(SdkTracerProvider);

impl Traces {
    /// To `endpoint`, the collector's base URL. Must be called outside of a runtime. The error says what
    /// is wrong with it.
    pub(crate) fn to(endpoint: &str) -> Result<Self, String> {
        let exporter = SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
            .build()
            .map_err(|error| error.to_string())?;
        let resource = Resource::builder().with_service_name("convoke").build();
        let provider =
            SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource);
        Ok(Self(provider.build()))
    }

    /// What sees the spans.
    pub(crate) fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: tracing::Subscriber + for<'a> LookupSpan<'a>,
    {
        // Nothing of the code's own places and threads: it says nothing to whoever reads traces of calls.
        tracing_opentelemetry::layer()
            .with_tracer(self.0.tracer("convoke"))
            .with_location(false)
            .with_threads(false)
            .with_filter(filter_fn(|metadata| metadata.is_span() && metadata.target() == TARGET))
    }

    /// Sends what is left, as far as a moment allows.
    pub(crate) fn finish(self) {
        if let Err(error) = self.0.shutdown() {
            tracing::warn!(%error, "not all traces were taken");
        }
    }
}
