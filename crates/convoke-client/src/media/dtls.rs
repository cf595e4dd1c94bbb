//! The DTLS provider: the stack's own, with its validated configuration kept and a shorter timer.
//!
//! Owns: one `dimpl` configuration for the process.
//! Never: touches packets; each transport's handshake is its own.
//!
//! Building a configuration validates the whole crypto provider, which costs a join 0.9 ms; and the
//! stack's first retransmission comes after 1 s, which a join over a lossy network feels.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use str0m::config::{CryptoProvider, DtlsCert, DtlsVersion};
use str0m::crypto::CryptoError;
use str0m::crypto::dtls::{DtlsImplError, DtlsInstance, DtlsOutput, DtlsProvider, ProtocolVersion};

/// The first retransmission of a handshake flight.
const FLIGHT_RTO: Duration = Duration::from_millis(250);
/// Retransmissions of one flight: with doubling from 250 ms, 16 s in all.
const FLIGHT_RETRIES: usize = 6;

/// The process's crypto.
pub(super) fn provider() -> Arc<CryptoProvider> {
    static CACHED: CachedDtls = CachedDtls { config: OnceLock::new() };
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    let make = || {
        let base = str0m_aws_lc_rs::default_provider();
        Arc::new(CryptoProvider { dtls_provider: &CACHED, ..base })
    };
    Arc::clone(PROVIDER.get_or_init(make))
}

#[derive(Debug)]
struct CachedDtls {
    config: OnceLock<Result<Arc<dimpl::Config>, String>>,
}

impl CachedDtls {
    fn config(&self) -> Result<Arc<dimpl::Config>, CryptoError> {
        let make = || {
            let builder = dimpl::Config::builder()
                .with_crypto_provider(str0m_aws_lc_rs::dimpl_crypto_provider())
                .flight_start_rto(FLIGHT_RTO)
                .flight_retries(FLIGHT_RETRIES);
            builder.build().map(Arc::new).map_err(|e| e.to_string())
        };
        self.config.get_or_init(make).clone().map_err(CryptoError::Other)
    }
}

impl DtlsProvider for CachedDtls {
    fn generate_certificate(&self) -> Option<DtlsCert> {
        str0m_aws_lc_rs::default_provider().dtls_provider.generate_certificate()
    }

    fn new_dtls(
        &self,
        cert: &DtlsCert,
        now: Instant,
        version: DtlsVersion,
        mtu: Option<usize>,
    ) -> Result<Box<dyn DtlsInstance>, CryptoError> {
        if version != DtlsVersion::Dtls12 {
            let base = str0m_aws_lc_rs::default_provider().dtls_provider;
            return base.new_dtls(cert, now, version, mtu);
        }
        Ok(Box::new(Instance(dimpl::Dtls::new_12(self.config()?, cert.clone(), now))))
    }
}

struct Instance(dimpl::Dtls);

impl std::fmt::Debug for Instance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Dtls")
    }
}

impl DtlsInstance for Instance {
    fn set_active(&mut self, active: bool) {
        self.0.set_active(active);
    }

    fn handle_packet(&mut self, packet: &[u8]) -> Result<(), DtlsImplError> {
        self.0.handle_packet(packet)
    }

    fn poll_output<'a>(&mut self, buf: &'a mut [u8]) -> DtlsOutput<'a> {
        #[cfg(feature = "export-keys")]
        let active = self.0.is_active();
        let output = self.0.poll_output(buf);
        #[cfg(feature = "export-keys")]
        super::keys::exported(&output, active);
        output
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsImplError> {
        self.0.handle_timeout(now)
    }

    fn send_application_data(&mut self, data: &[u8]) -> Result<usize, DtlsImplError> {
        self.0.send_application_data(data)
    }

    fn is_active(&self) -> bool {
        self.0.is_active()
    }

    fn protocol_version(&self) -> Option<ProtocolVersion> {
        self.0.protocol_version()
    }

    fn is_closing(&self) -> bool {
        self.0.is_closing()
    }

    fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    fn close(&mut self) -> Result<(), DtlsImplError> {
        self.0.close()
    }
}
