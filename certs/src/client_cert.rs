//! A certificate that a client showed (RFC 8705). The handshake proved that the client holds its key, and nothing more:
//! whether the certificate says who it is, is asked here, of the registration.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use rustls::pki_types::{CertificateDer, UnixTime};
use serde_json::{Value, json};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::public_key::PublicKey;

use crate::base64url;
use crate::key::thumbprint;

/// Until when a certificate holds, in seconds since 1970; nothing for one that cannot be read.
#[must_use]
pub fn valid_until(der: &[u8]) -> Option<u64> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    u64::try_from(certificate.validity().not_after.timestamp()).ok()
}

/// Whether the dates of a certificate (DER) say that it holds `now`, in seconds since 1970.
#[must_use]
pub fn holds_at(der: &[u8], now: u64) -> bool {
    let (Ok((_, certificate)), Ok(now)) = (X509Certificate::from_der(der), i64::try_from(now)) else { return false };
    let validity = certificate.validity();
    (validity.not_before.timestamp()..=validity.not_after.timestamp()).contains(&now)
}

/// A client's certificate with whatever else it sent along.
pub struct ClientCertificate {
    leaf: CertificateDer<'static>,
    rest: Vec<CertificateDer<'static>>,
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientCertificate({})", self.digest())
    }
}

impl ClientCertificate {
    /// The certificates of a connection, the client's own first; none when there are none.
    #[must_use]
    pub fn of(chain: &[CertificateDer<'_>]) -> Option<Self> {
        let (leaf, rest) = chain.split_first()?;
        let owned = |certificate: &CertificateDer<'_>| certificate.clone().into_owned();
        Some(Self { leaf: owned(leaf), rest: rest.iter().map(owned).collect() })
    }

    /// The client's own certificate in DER.
    #[must_use]
    pub fn leaf(&self) -> &[u8] {
        &self.leaf
    }

    /// What tokens are bound to: `x5t#S256` (RFC 8705 section 3.1).
    #[must_use]
    pub fn digest(&self) -> String {
        base64url(digest(&SHA256, &self.leaf).as_ref())
    }

    /// Whether one of these authorities certified it, for clients, and it holds `now`, in seconds since 1970.
    #[must_use]
    pub fn is_certified_by(&self, authorities: &[CertificateDer<'_>], now: u64) -> bool {
        let anchors: Vec<_> =
            authorities.iter().filter_map(|authority| anchor_from_trusted_cert(authority).ok()).collect();
        let Ok(leaf) = EndEntityCert::try_from(&self.leaf) else { return false };
        let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(now));
        let verified = leaf.verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &anchors,
            &self.rest,
            time,
            KeyUsage::client_auth(),
            None,
            None,
        );
        verified.is_ok()
    }

    /// Whether its own dates say that it holds `now`, in seconds since 1970.
    #[must_use]
    pub fn holds_at(&self, now: u64) -> bool {
        holds_at(&self.leaf, now)
    }

    /// The RFC 7638 thumbprint of its public key; none for a kind of key that no JWK of ours has.
    #[must_use]
    pub fn key_thumbprint(&self) -> Option<String> {
        let certificate = self.parsed()?;
        let info = certificate.public_key();
        let jwk: Value = match info.parsed().ok()? {
            PublicKey::RSA(key) => {
                let stripped = |bytes: &[u8]| base64url(bytes.strip_prefix(&[0]).unwrap_or(bytes));
                json!({"kty": "RSA", "n": stripped(key.modulus), "e": stripped(key.exponent)})
            }
            PublicKey::EC(point) => {
                let (tag, coordinates) = point.data().split_first()?;
                let (x, y) = coordinates.split_at(coordinates.len() / 2);
                let curve = match (tag, x.len()) {
                    (4, 32) => "P-256",
                    (4, 48) => "P-384",
                    _ => return None,
                };
                json!({"kty": "EC", "crv": curve, "x": base64url(x), "y": base64url(y)})
            }
            PublicKey::Unknown(bytes) if info.algorithm.algorithm.to_id_string() == "1.3.101.112" => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": base64url(bytes)})
            }
            _ => return None,
        };
        Some(thumbprint(&jwk))
    }

    /// Whether its subject is this distinguished name, written as RFC 4514 does (RFC 8705 section 2.1.2).
    #[must_use]
    pub fn has_subject(&self, name: &str) -> bool {
        let (Some(certificate), Some(mut wanted)) = (self.parsed(), distinguished_name(name)) else { return false };
        // The text begins with what the certificate has last.
        wanted.reverse();
        let found: Option<Vec<(String, String)>> = certificate.subject().iter().map(single).collect();
        found.is_some_and(|found| {
            let same = |a: &(String, String), b: &(String, String)| {
                a.0.eq_ignore_ascii_case(&b.0) && a.1.trim().eq_ignore_ascii_case(b.1.trim())
            };
            found.len() == wanted.len() && found.iter().zip(&wanted).all(|(a, b)| same(a, b))
        })
    }

    /// Whether it names this host.
    #[must_use]
    pub fn has_dns_name(&self, name: &str) -> bool {
        self.has_alternative(|found| matches!(found, GeneralName::DNSName(dns) if dns.eq_ignore_ascii_case(name)))
    }

    /// Whether it names this URI.
    #[must_use]
    pub fn has_uri(&self, uri: &str) -> bool {
        self.has_alternative(|found| matches!(found, GeneralName::URI(own) if *own == uri))
    }

    fn has_alternative(&self, is_it: impl Fn(&GeneralName<'_>) -> bool) -> bool {
        let Some(certificate) = self.parsed() else { return false };
        let names = certificate.subject_alternative_name().ok().flatten();
        names.is_some_and(|names| names.value.general_names.iter().any(is_it))
    }

    fn parsed(&self) -> Option<X509Certificate<'_>> {
        X509Certificate::from_der(&self.leaf).ok().map(|(_, certificate)| certificate)
    }
}

/// The one attribute of a relative name; those with several are not compared.
fn single(rdn: &x509_parser::x509::RelativeDistinguishedName<'_>) -> Option<(String, String)> {
    let mut attributes = rdn.iter();
    let attribute = attributes.next()?;
    if attributes.next().is_some() {
        return None;
    }
    let oid = attribute.attr_type().to_id_string();
    let name = NAMES.iter().find(|(_, known)| *known == oid).map_or(oid.as_str(), |(name, _)| name);
    Some((name.to_owned(), attribute.as_str().ok()?.to_owned()))
}

/// The short names of RFC 4514 section 3, and those that certificates of machines use besides.
const NAMES: [(&str, &str); 11] = [
    ("CN", "2.5.4.3"),
    ("L", "2.5.4.7"),
    ("ST", "2.5.4.8"),
    ("O", "2.5.4.10"),
    ("OU", "2.5.4.11"),
    ("C", "2.5.4.6"),
    ("STREET", "2.5.4.9"),
    ("DC", "0.9.2342.19200300.100.1.25"),
    ("UID", "0.9.2342.19200300.100.1.1"),
    ("serialNumber", "2.5.4.5"),
    ("organizationIdentifier", "2.5.4.97"),
];

/// Reads a distinguished name in the text form of RFC 4514, one attribute in each relative name. None when it is not one.
#[must_use]
pub fn distinguished_name(text: &str) -> Option<Vec<(String, String)>> {
    let mut names = Vec::new();
    let (mut part, mut escaped) = (String::new(), false);
    let mut parts = Vec::new();
    for c in text.chars() {
        match (escaped, c) {
            (true, c) if c.is_ascii_hexdigit() => return None,
            (true, c) => part.push(c),
            (false, '\\') => {}
            (false, '+') => return None,
            (false, ',') => parts.push(std::mem::take(&mut part)),
            (false, c) => part.push(c),
        }
        escaped = !escaped && c == '\\';
    }
    parts.push(part);
    for part in parts {
        let (name, value) = part.split_once('=')?;
        let (name, value) = (name.trim(), value.trim());
        if escaped || name.is_empty() || value.is_empty() || value.starts_with('#') {
            return None;
        }
        names.push((name.to_owned(), value.to_owned()));
    }
    Some(names)
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType};
    use time::OffsetDateTime;

    use super::*;
    use crate::key::VerifyingKey;

    fn certificate(key: &KeyPair) -> ClientCertificate {
        let mut params = CertificateParams::new(vec!["portal.example".to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CountryName, "CN");
        params.distinguished_name.push(DnType::OrganizationName, "Portal, Inc");
        params.distinguished_name.push(DnType::CommonName, "portal");
        params.subject_alt_names.push(SanType::URI("urn:portal".try_into().unwrap()));
        ClientCertificate::of(&[params.self_signed(key).unwrap().der().clone()]).unwrap()
    }

    /// RFC 8705 section 2.1.2.
    #[test]
    fn rfc8705_2_1_2_names_are_compared_whole() {
        let certificate = certificate(&KeyPair::generate().unwrap());
        assert!(certificate.has_dns_name("portal.example") && certificate.has_dns_name("PORTAL.example"));
        assert!(!certificate.has_dns_name("example") && !certificate.has_dns_name("a.portal.example"));
        assert!(certificate.has_uri("urn:portal") && !certificate.has_uri("urn:portals"));
        let subject = |text: &str| certificate.has_subject(text);
        assert!(subject("CN=portal,O=Portal\\, Inc,C=CN") && subject("cn=Portal, o=portal\\, inc, c=cn"));
        assert!(!subject("CN=portal") && !subject("C=CN,O=Portal\\, Inc,CN=portal") && !subject("CN=portal,O=Portal"));
    }

    /// RFC 8705 section 2.1, RUSTSEC-2026-0104: early, over, for servers, of another authority, by somebody who may not certify, and
    /// chains that are longer than they may be.
    #[test]
    fn rfc8705_2_1_every_flaw_of_a_certificate() {
        const NOW: u64 = 1_800_000_000;
        let at = |seconds: i64| OffsetDateTime::from_unix_timestamp(1_800_000_000 + seconds).unwrap();
        let named = |name: &str, valid: (i64, i64), is_ca: IsCa, usage: ExtendedKeyUsagePurpose| {
            let mut params = CertificateParams::new(vec!["portal.example".to_owned()]).unwrap();
            params.distinguished_name = rcgen::DistinguishedName::new();
            params.distinguished_name.push(DnType::CommonName, name);
            (params.not_before, params.not_after) = (at(valid.0), at(valid.1));
            (params.is_ca, params.extended_key_usages) = (is_ca, vec![usage]);
            params
        };
        let authority = |name: &str| {
            let mut params =
                named(name, (-9, 9), IsCa::Ca(BasicConstraints::Constrained(0)), ExtendedKeyUsagePurpose::Any);
            params.extended_key_usages.clear();
            let key = KeyPair::generate().unwrap();
            (params.self_signed(&key).unwrap().der().clone(), Issuer::new(params, key))
        };
        let ((root, issuer), (_, other)) = (authority("authority"), authority("authority"));
        let shown = |params: &CertificateParams, by: &Issuer<'_, KeyPair>| {
            params.signed_by(&KeyPair::generate().unwrap(), by).unwrap().der().clone()
        };
        let holds = |chain: &[CertificateDer<'_>]| {
            ClientCertificate::of(chain).is_some_and(|chain| chain.is_certified_by(std::slice::from_ref(&root), NOW))
        };
        let client = ExtendedKeyUsagePurpose::ClientAuth;
        let sound = named("portal", (-9, 9), IsCa::NoCa, client.clone());
        assert!(holds(&[shown(&sound, &issuer)]));
        for (flaw, params) in [
            ("early", named("portal", (5, 9), IsCa::NoCa, client.clone())),
            ("over", named("portal", (-9, -5), IsCa::NoCa, client.clone())),
            ("for servers", named("portal", (-9, 9), IsCa::NoCa, ExtendedKeyUsagePurpose::ServerAuth)),
            (
                "an authority itself",
                named("portal", (-9, 9), IsCa::Ca(BasicConstraints::Unconstrained), client.clone()),
            ),
        ] {
            assert!(!holds(&[shown(&params, &issuer)]), "{flaw}");
        }
        assert!(!holds(&[shown(&sound, &other)]), "another authority of the same name");
        assert!(!holds(&[sound.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()]), "its own");
        // Whoever was certified certifies nobody.
        let key = KeyPair::generate().unwrap();
        let middle = sound.signed_by(&key, &issuer).unwrap().der().clone();
        let by_portal = shown(&named("somebody", (-9, 9), IsCa::NoCa, client), &Issuer::new(sound, key));
        assert!(!holds(&[by_portal.clone(), middle.clone()]));
        let long: Vec<_> = std::iter::once(by_portal).chain(std::iter::repeat_n(middle, 200)).collect();
        assert!(!holds(&long));
    }

    #[test]
    fn a_text_that_is_no_name_is_none() {
        for text in ["", "CN", "CN=", "=x", "CN=a+O=b", "CN=#0401", "CN=a\\", "CN=a\\2c", "CN=a,,O=b"] {
            assert_eq!(distinguished_name(text), None, "{text}");
        }
        assert_eq!(distinguished_name("cn = a\\,b , O=c").unwrap().len(), 2);
    }

    /// RFC 8705 section 2.2: a self-signed certificate is known by its key.
    #[test]
    fn rfc8705_2_2_a_certificate_has_the_thumbprint_of_its_key() {
        let key = KeyPair::generate().unwrap();
        let raw = key.public_key_raw();
        let jwk = json!({"kty": "EC", "crv": "P-256", "x": base64url(&raw[1..33]), "y": base64url(&raw[33..65])});
        assert!(VerifyingKey::from_jwk(&jwk).is_ok());
        assert_eq!(certificate(&key).key_thumbprint(), Some(thumbprint(&jwk)));
        assert_ne!(certificate(&KeyPair::generate().unwrap()).key_thumbprint(), Some(thumbprint(&jwk)));
    }

    #[test]
    fn what_is_no_certificate_is_nobodys() {
        let nothing = ClientCertificate::of(&[CertificateDer::from(vec![1, 2, 3])]).unwrap();
        assert!(!nothing.has_subject("CN=a") && !nothing.has_dns_name("a") && !nothing.holds_at(0));
        assert!(nothing.key_thumbprint().is_none() && !nothing.is_certified_by(&[], 0));
        assert!(ClientCertificate::of(&[]).is_none());
    }
}
