//! rustls configurations: TLS 1.3 and 1.2 with modern suites only, hybrid post-quantum key exchange first.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{
    CipherSuite, ClientConfig, DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme,
};

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file holds no certificate or no private key in PEM form, or they do not belong together.
    #[error("{path}: {reason}")]
    Content {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// rustls refused the configuration.
    #[error(transparent)]
    Rustls(#[from] rustls::Error),
}

/// The one cryptographic provider: aws-lc-rs with X25519MLKEM768 preferred (`prefer-post-quantum`); of TLS 1.2 only the suites that
/// RFC 9325 section 4.2 recommends.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites.retain(|suite| {
        !matches!(
            suite.suite(),
            CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
                | CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
        )
    });
    Arc::new(provider)
}

/// A server certificate that follows its files: a changed pair is taken over without a restart, a broken pair is not.
pub struct ReloadingCert {
    chain: PathBuf,
    key: PathBuf,
    current: RwLock<(Option<SystemTime>, Arc<CertifiedKey>)>,
}

impl fmt::Debug for ReloadingCert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReloadingCert({})", self.chain.display())
    }
}

impl ReloadingCert {
    /// Loads a PEM chain and its PEM key.
    ///
    /// # Errors
    /// [`TlsError`] when they cannot be read or do not belong together.
    pub fn load(chain: &Path, key: &Path) -> Result<Arc<Self>, TlsError> {
        let pair = (modified(chain, key), read_pair(chain, key)?);
        Ok(Arc::new(Self { chain: chain.to_owned(), key: key.to_owned(), current: RwLock::new(pair) }))
    }

    /// Takes over the files when they changed, for a server that is reached as `host`; `now` in seconds since 1970. True when a new
    /// pair is in use.
    ///
    /// # Errors
    /// [`TlsError`] when the new pair cannot be used, does not hold now, or is for other hosts while the old one is for this one; the
    /// old one stays.
    pub fn reload(&self, host: &str, now: u64) -> Result<bool, TlsError> {
        let stamp = modified(&self.chain, &self.key);
        if stamp == self.current.read().unwrap_or_else(PoisonError::into_inner).0 {
            return Ok(false);
        }
        let pair = read_pair(&self.chain, &self.key)?;
        self.unusable(&pair, host, now).map_or(Ok(()), Err)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = (stamp, pair);
        Ok(true)
    }
}

impl ReloadingCert {
    /// Why the certificate in use does not serve `host` now, if it does not.
    #[must_use]
    pub fn problem(&self, host: &str, now: u64) -> Option<TlsError> {
        let current = Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner).1);
        let foreign = !serves(&current, host);
        let foreign = foreign.then(|| self.content(format!("the certificate is not for {host}")));
        self.unusable(&current, host, now).or(foreign)
    }

    fn unusable(&self, pair: &CertifiedKey, host: &str, now: u64) -> Option<TlsError> {
        let leaf = pair.cert.first()?;
        if !crate::client_cert::holds_at(leaf, now) {
            return Some(self.content("the certificate does not hold now: look at its dates".to_owned()));
        }
        let current = Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner).1);
        let lost = serves(&current, host) && !serves(pair, host);
        lost.then(|| self.content(format!("the certificate is not for {host}, and the one in use is")))
    }

    fn content(&self, reason: String) -> TlsError {
        TlsError::Content { path: self.chain.clone(), reason }
    }
}

fn serves(pair: &CertifiedKey, host: &str) -> bool {
    pair.cert.first().is_some_and(|leaf| is_for(leaf, host))
}

impl ResolvesServerCert for ReloadingCert {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner).1))
    }
}

/// When either file last changed.
fn modified(chain: &Path, key: &Path) -> Option<SystemTime> {
    let stamp = |path: &Path| fs::metadata(path).and_then(|data| data.modified()).ok();
    stamp(chain).max(stamp(key))
}

fn read_pair(chain: &Path, key: &Path) -> Result<Arc<CertifiedKey>, TlsError> {
    let content = |path: &Path, reason: &dyn fmt::Display| TlsError::Content {
        path: path.to_owned(),
        reason: reason.to_string(),
    };
    let certificates = read_certificates(chain)?;
    let pem = read(key)?;
    let private = PrivateKeyDer::from_pem_slice(&pem).map_err(|error| content(key, &error))?;
    let certified = CertifiedKey::from_der(certificates, private, &provider()).map_err(|error| content(key, &error))?;
    Ok(Arc::new(certified))
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|source| TlsError::File { path: path.to_owned(), source })
}

/// Reads a file of PEM certificates.
///
/// # Errors
/// [`TlsError`] when the file cannot be read or holds none.
pub fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = read(path)?;
    let content = |reason: String| TlsError::Content { path: path.to_owned(), reason };
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let certificates = certificates.map_err(|error| content(error.to_string()))?;
    if certificates.is_empty() { Err(content("holds no certificate".to_owned())) } else { Ok(certificates) }
}

/// A server configuration for browsers and back ends: HTTP/2 and HTTP/1.1, no client certificates.
///
/// # Errors
/// [`TlsError::Rustls`].
pub fn server(certificate: Arc<dyn ResolvesServerCert>) -> Result<Arc<ServerConfig>, TlsError> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(certificate);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // One ticket is enough: a second costs eight percent of a resumption and no browser here uses it. Tickets hold their session
    // themselves: what a server keeps by itself is lost after a few hundred visits of others.
    config.send_tls13_tickets = 1;
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new()?;
    Ok(Arc::new(config))
}

/// A server configuration for peers that must show a client certificate from one of these authorities.
///
/// # Errors
/// [`TlsError`] when an authority is not a certificate.
pub fn server_for_peers(
    certificate: Arc<dyn ResolvesServerCert>,
    authorities: impl IntoIterator<Item = CertificateDer<'static>>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let mut store = RootCertStore::empty();
    for authority in authorities {
        store.add(authority)?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(store), provider()).build();
    let verifier = verifier.map_err(|error| rustls::Error::General(error.to_string()))?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(certificate);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// A server configuration for clients that may show a certificate, of whatever authority or none (RFC 8705). The handshake
/// proves that they hold its key; who they are is asked later, of their registration.
///
/// # Errors
/// [`TlsError::Rustls`].
pub fn server_for_clients(certificate: Arc<dyn ResolvesServerCert>) -> Result<Arc<ServerConfig>, TlsError> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(Arc::new(AnyCertificate(provider())))
        .with_cert_resolver(certificate);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Looks at nothing of a certificate but whether its key signed the handshake.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ClientCertVerifier for AnyCertificate {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// True when a certificate (DER) names this host among its subject alternative names (RFC 9525).
#[must_use]
pub fn is_for(certificate: &[u8], name: &str) -> bool {
    let certificate = CertificateDer::from(certificate);
    let (Ok(certificate), Ok(name)) = (webpki::EndEntityCert::try_from(&certificate), ServerName::try_from(name))
    else {
        return false;
    };
    certificate.verify_is_valid_for_subject_name(&name).is_ok()
}

/// A client configuration that trusts exactly these roots.
///
/// # Errors
/// [`TlsError::Rustls`] when a root is not a certificate.
pub fn client(roots: impl IntoIterator<Item = CertificateDer<'static>>) -> Result<ClientConfig, TlsError> {
    let mut store = RootCertStore::empty();
    for root in roots {
        store.add(root)?;
    }
    let config = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    Ok(config.with_root_certificates(store).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devca::DevCa;

    #[test]
    fn only_modern_suites_and_the_hybrid_group_first() {
        let provider = provider();
        let first = provider.kx_groups.first().map(|group| group.name());
        assert_eq!(first, Some(rustls::NamedGroup::X25519MLKEM768));
        for suite in &provider.cipher_suites {
            let name = format!("{:?}", suite.suite());
            assert!(name.contains("TLS13_") || name.contains("ECDHE") && name.contains("GCM"), "{name}");
            assert!(!name.contains("CBC"), "{name}");
        }
    }

    #[test]
    fn a_changed_certificate_is_taken_over_and_a_broken_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let ca = DevCa::open(folder.path(), 1_800_000_000).unwrap();
        let (chain, key) = ca.issue("a", &["localhost"]).unwrap();
        let cert = ReloadingCert::load(&chain, &key).unwrap();
        let serial = |cert: &ReloadingCert| cert.current.read().unwrap().1.cert[0].clone();
        let first = serial(&cert);
        const NOW: u64 = 1_800_000_000;
        assert!(!cert.reload("localhost", NOW).unwrap());
        let touch = |seconds: u64| {
            let when = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(4_000_000_000 + seconds);
            fs::File::options().append(true).open(&chain).unwrap().set_modified(when).unwrap();
        };
        ca.issue("a", &["localhost"]).unwrap();
        touch(1);
        assert!(cert.reload("localhost", NOW).unwrap());
        assert_ne!(first, serial(&cert));
        let second = serial(&cert);
        fs::write(&chain, "not a certificate").unwrap();
        touch(2);
        assert!(cert.reload("localhost", NOW).is_err());
        assert_eq!(second, serial(&cert));
    }

    /// What is in use holds and is for this host: nothing that does not, or is not, takes its place.
    #[test]
    fn an_expired_certificate_or_one_of_another_host_replaces_no_good_one() {
        const NOW: u64 = 1_800_000_000;
        const YEAR: u64 = 365 * 86_400;
        let folder = tempfile::tempdir().unwrap();
        let ca = |name: &str, now| DevCa::open(&folder.path().join(name), now).unwrap();
        let (chain, key) = ca("now", NOW).issue("a", &["localhost"]).unwrap();
        let cert = ReloadingCert::load(&chain, &key).unwrap();
        let first = cert.current.read().unwrap().1.cert[0].clone();
        let put = |(other, other_key): (PathBuf, PathBuf), turn: u64| {
            fs::copy(other, &chain).unwrap();
            fs::copy(other_key, &key).unwrap();
            let when = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(4_000_000_000 + turn);
            fs::File::options().append(true).open(&chain).unwrap().set_modified(when).unwrap();
            cert.reload("localhost", NOW)
        };
        assert!(put(ca("past", NOW - YEAR).issue("b", &["localhost"]).unwrap(), 1).is_err(), "expired");
        assert!(put(ca("future", NOW + YEAR).issue("c", &["localhost"]).unwrap(), 2).is_err(), "not yet");
        assert!(put(ca("other", NOW).issue("d", &["elsewhere.example"]).unwrap(), 3).is_err(), "another host");
        assert_eq!(cert.current.read().unwrap().1.cert[0], first);
        assert!(put(ca("next", NOW).issue("e", &["other.example", "localhost"]).unwrap(), 4).unwrap());
        assert!(cert.problem("localhost", NOW).is_none());
        assert!(cert.problem("localhost", NOW + YEAR).is_some() && cert.problem("elsewhere.example", NOW).is_some());
    }
}
