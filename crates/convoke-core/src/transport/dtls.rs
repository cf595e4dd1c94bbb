//! The DTLS provider: str0m's own, with its validated configuration kept.
//!
//! Owns: the `dimpl` configuration, and the certificate of new transports.
//! Never: touches packets; each transport's handshake state is its own.
//!
//! Building a `dimpl` configuration validates the whole crypto provider (key generation on every
//! curve), which costs 0.9 ms. One configuration per process makes a join 50 times cheaper.
//!
//! A certificate says that it is good for a year from when it was made. WebRTC goes by fingerprints and does not
//! look (RFC 8827 §6.5), but not every stack is WebRTC's: a worker makes itself another one in time. Transports
//! keep theirs, for it is in what their peers were answered.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use str0m::config::{CryptoProvider, DtlsCert, DtlsVersion};
use str0m::crypto::CryptoError;
use str0m::crypto::dtls::{DtlsImplError, DtlsInstance, DtlsOutput, DtlsProvider, ProtocolVersion};

use super::opened::Counting;

/// The first retransmission of a handshake flight. Well above a round trip on most paths, well
/// below the 1 s that RFC 6347 §4.2.4.1 suggests for unknown ones: a lost flight costs a join its
/// whole timeout.
const FLIGHT_RTO: Duration = Duration::from_millis(200);

/// Retransmissions of one flight: with doubling from 200 ms, 12 s in all.
const FLIGHT_RETRIES: usize = 6;

/// So old a certificate is not given to transports any more; they have half a year then.
const RENEWED_AFTER: Duration = Duration::from_secs(180 * 24 * 3_600);

/// What the transports of a worker share.
#[derive(Debug, Clone)]
pub(crate) struct Crypto {
    pub(crate) provider: Arc<CryptoProvider>,
    pub(crate) certificate: DtlsCert,
    /// When the certificate was made.
    made: Instant,
}

impl Crypto {
    /// The process's crypto, made at the first call, which is at `now`. `None` when no certificate can be made.
    pub(crate) fn shared(now: Instant) -> Option<Self> {
        static CRYPTO: OnceLock<Option<Crypto>> = OnceLock::new();
        static CACHED: CachedDtls = CachedDtls { config: OnceLock::new() };
        CRYPTO
            .get_or_init(|| {
                let base = str0m_aws_lc_rs::default_provider();
                let certificate = base.dtls_provider.generate_certificate()?;
                let provider =
                    CryptoProvider { dtls_provider: &CACHED, srtp_provider: &Counting, ..base };
                Some(Self { provider: Arc::new(provider), certificate, made: now })
            })
            .clone()
    }

    /// Before a transport begins: another certificate, if this one is old.
    pub(crate) fn renew(&mut self, now: Instant) {
        if now.saturating_duration_since(self.made) < RENEWED_AFTER {
            return;
        }
        if let Some(certificate) = self.provider.dtls_provider.generate_certificate() {
            (self.certificate, self.made) = (certificate, now);
        }
    }
}

#[derive(Debug)]
struct CachedDtls {
    config: OnceLock<Result<Arc<dimpl::Config>, String>>,
}

impl CachedDtls {
    fn config(&self, mtu: Option<usize>) -> Result<Arc<dimpl::Config>, CryptoError> {
        self.config
            .get_or_init(|| {
                let mut builder = dimpl::Config::builder()
                    .with_crypto_provider(str0m_aws_lc_rs::dimpl_crypto_provider())
                    // ICE has proved the return path before DTLS begins.
                    .use_server_cookie(false)
                    .flight_start_rto(FLIGHT_RTO)
                    .flight_retries(FLIGHT_RETRIES);
                if let Some(mtu) = mtu {
                    builder = builder.mtu(mtu);
                }
                builder.build().map(Arc::new).map_err(|e| e.to_string())
            })
            .clone()
            .map_err(CryptoError::Other)
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
            // Under DTLS 1.3 the client's first SRTP profile wins, and Chromium puts the slow
            // AES-CM-SHA1 first.
            return Err(CryptoError::Other(format!("{version} is not used here")));
        }
        let config = self.config(mtu)?;
        Ok(Box::new(Instance(dimpl::Dtls::new_12(config, cert.clone(), now))))
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
        self.0.poll_output(buf)
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
