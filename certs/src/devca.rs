//! A development CA: makes the certificates of a demonstration or a test, in one folder. Not for production, where the
//! operator's own CA issues them; nothing in `gateway serve` reaches this module.

use std::fs;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use time::{Duration, OffsetDateTime};

const DAY: Duration = Duration::DAY;

/// Why the CA cannot be made or used.
#[derive(Debug, thiserror::Error)]
pub enum DevCaError {
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A certificate cannot be made.
    #[error("certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// The clock shows no date.
    #[error("the clock shows no date")]
    Time,
}

/// A private key (PKCS#8 DER) as a PEM file holds it (RFC 7468 section 10), for demonstrations and tests that make their own.
#[must_use]
pub fn private_key_pem(der: &[u8]) -> String {
    pem::encode(&pem::Pem::new("PRIVATE KEY", der))
}

/// A CA whose certificate is `ca.pem` in its folder.
pub struct DevCa {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
    now: OffsetDateTime,
}

impl DevCa {
    /// The CA of this folder, made on first use and valid ten years. `now` is in seconds since 1970.
    ///
    /// # Errors
    /// [`DevCaError`].
    pub fn open(folder: &Path, now: u64) -> Result<Self, DevCaError> {
        let now = i64::try_from(now).ok().and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
        let now = now.ok_or(DevCaError::Time)?;
        fs::create_dir_all(folder).map_err(|source| DevCaError::File { path: folder.to_owned(), source })?;
        let (certificate, key) = (folder.join("ca.pem"), folder.join("ca.key"));
        if !certificate.exists() {
            make_ca(&certificate, &key, now)?;
        }
        let pair = KeyPair::from_pem(&read(&key)?)?;
        let issuer = Issuer::from_ca_cert_pem(&read(&certificate)?, pair)?;
        Ok(Self { folder: folder.to_owned(), issuer, now })
    }

    /// The CA's certificate, to be trusted.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// Issues a certificate for these names (host names or addresses), for either side of a connection, valid 90 days; the
    /// paths of its PEM chain and key.
    ///
    /// # Errors
    /// [`DevCaError`].
    pub fn issue(&self, file: &str, names: &[&str]) -> Result<(PathBuf, PathBuf), DevCaError> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = name(file);
        (params.not_before, params.not_after) = (self.now - DAY, self.now + 90 * DAY);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let (chain_path, key_path) = (self.folder.join(format!("{file}.pem")), self.folder.join(format!("{file}.key")));
        write(&chain_path, &certificate.pem())?;
        write(&key_path, &key.serialize_pem())?;
        Ok((chain_path, key_path))
    }
}

fn name(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    name
}

fn make_ca(certificate: &Path, key: &Path, now: OffsetDateTime) -> Result<(), DevCaError> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name = name("Federation gateway development CA");
    (params.not_before, params.not_after) = (now - DAY, now + 3_650 * DAY);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let pair = KeyPair::generate()?;
    write(key, &pair.serialize_pem())?;
    write(certificate, &params.self_signed(&pair)?.pem())
}

fn read(path: &Path) -> Result<String, DevCaError> {
    fs::read_to_string(path).map_err(|source| DevCaError::File { path: path.to_owned(), source })
}

fn write(path: &Path, text: &str) -> Result<(), DevCaError> {
    use std::io::Write as _;
    let file_error = |source| DevCaError::File { path: path.to_owned(), source };
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(path).map_err(file_error)?;
    file.write_all(text.as_bytes()).map_err(file_error)
}
