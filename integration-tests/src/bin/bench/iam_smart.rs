//! A lean iAM Smart: sealed token and profile calls, and a delivery for each approval. A new person at every login.
//!
//! Signatures, time stamps and nonces of calls are not looked at: the integration tests look at them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rsa::{KeySize, Pkcs1PublicEncryptingKey, PrivateDecryptingKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use url::form_urlencoded;

use crate::Failed;
use crate::jose;
use crate::upstream::{Call, Visit};

/// How a frame begins: the length of its vector, which is always the same.
const PREFIX: [u8; 4] = [0, 0, 0, 12];
/// A content key's life in milliseconds: longer than a run, so that the search for a new one is not what is measured.
const KEY_LIFE: u64 = 3_600_000;

/// A request that waits for its person.
struct Open {
    business_id: String,
    state: String,
}

/// The identity system, with one client.
pub(crate) struct IamSmart {
    /// The client's private key; here because the run makes it.
    kek: String,
    /// The content key under the client's public key, in base64.
    wrapped: String,
    cek: LessSafeKey,
    vectors: AtomicU64,
    realm: String,
    people: AtomicU64,
    codes: Mutex<HashMap<String, u64>>,
    open: Mutex<HashMap<u64, Open>>,
}

impl IamSmart {
    /// One with fresh keys.
    pub(crate) fn new() -> Result<Self, Failed> {
        let unspecified = |error: aws_lc_rs::error::Unspecified| error.to_string();
        let private = PrivateDecryptingKey::generate(KeySize::Rsa2048).map_err(unspecified)?;
        let kek = certs::devca::private_key_pem(private.as_der().map_err(unspecified)?.as_ref());
        let mut secret = [0; 32];
        aws_lc_rs::rand::fill(&mut secret).map_err(unspecified)?;
        let public = Pkcs1PublicEncryptingKey::new(private.public_key()).map_err(unspecified)?;
        let mut wrapped = vec![0; public.ciphertext_size()];
        let wrapped = STANDARD.encode(public.encrypt(&secret, &mut wrapped).map_err(unspecified)?);
        Ok(Self {
            kek,
            wrapped,
            cek: LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &secret).map_err(unspecified)?),
            vectors: AtomicU64::default(),
            realm: jose::token()?,
            people: AtomicU64::default(),
            codes: Mutex::default(),
            open: Mutex::default(),
        })
    }

    /// The client's key-encryption key.
    pub(crate) fn key_encryption_key(&self) -> &str {
        &self.kek
    }

    /// A person scans the code on the page and approves the login.
    pub(crate) fn visit(&self, query: &str) -> Result<Visit, Failed> {
        let params: HashMap<_, _> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let one = |name: &str| params.get(name).cloned().ok_or_else(|| format!("iAM Smart was not told {name}"));
        let (redirect, state) = (one("redirectURI")?, one("state")?);
        let (person, code) = (self.people.fetch_add(1, Ordering::Relaxed), jose::token()?);
        self.codes.lock().unwrap_or_else(PoisonError::into_inner).insert(code.clone(), person);
        let mut back = form_urlencoded::Serializer::new(format!("{redirect}?"));
        Ok(Visit { person, back: back.append_pair("code", &code).append_pair("state", &state).finish() })
    }

    /// A person approves the request that is open for them: what the government's servers deliver.
    pub(crate) fn approve(&self, person: u64) -> Result<String, Failed> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&person);
        let open = open.ok_or("no request is open for this person")?;
        let content = json!({
            "businessID": open.business_id, "state": open.state, "openID": self.open_id(person),
            "idNo": {"Identification": "A123456", "CheckDigit": "3"},
            "enName": {"UnstructuredName": "CHAN, Tai Man"},
            "chName": {"ChineseName": "陳大文"}, "chNameVerified": "U+9673 U+5927 U+6587",
        });
        let mut delivery = self.success(&content)?;
        if let Some(members) = delivery.as_object_mut() {
            members.insert("secretKey".to_owned(), self.wrapped.clone().into());
        }
        Ok(delivery.to_string())
    }

    /// Answers a call.
    pub(crate) fn answer(&self, path: &str, body: &[u8]) -> (Call, Result<Value, Failed>) {
        match path {
            "/api/v1/security/getKey" => (Call::Keys, self.key()),
            "/api/v1/auth/getToken" => (Call::Token, self.token(body)),
            "/api/v1/account/auth/profile/initiateRequest" => (Call::Data, self.profile(body)),
            _ => (Call::Other, Err("no such call".to_owned())),
        }
    }

    fn key(&self) -> Result<Value, Failed> {
        let content = json!({"secretKey": self.wrapped, "issueAt": jose::now() * 1_000, "expiresIn": KEY_LIFE});
        Ok(json!({"txID": jose::token()?, "code": "D00000", "message": "SUCCESS", "content": content}))
    }

    fn token(&self, body: &[u8]) -> Result<Value, Failed> {
        let request = self.opened(body)?;
        let code = text(&request, "code")?;
        let person = self.codes.lock().unwrap_or_else(PoisonError::into_inner).remove(code).ok_or("unknown code")?;
        let now = jose::now() * 1_000;
        self.success(&json!({
            // The person is at its end, so that nothing has to be kept for the call that follows.
            "accessToken": format!("{}.{person}", jose::token()?), "tokenType": "Bearer",
            "issueAt": now, "expiresIn": 14_400_000, "openID": self.open_id(person),
            "lastModifiedDate": 1_700_000_000_000_u64, "userType": "default",
            "scope": "eidapi_auth eidapi_profiles eidapi_fr",
        }))
    }

    fn profile(&self, body: &[u8]) -> Result<Value, Failed> {
        let request = self.opened(body)?;
        let person = text(&request, "accessToken")?.rsplit('.').next().and_then(|person| person.parse().ok());
        let person = person.ok_or("unknown token")?;
        let open =
            Open { business_id: text(&request, "businessID")?.to_owned(), state: text(&request, "state")?.to_owned() };
        self.open.lock().unwrap_or_else(PoisonError::into_inner).insert(person, open);
        self.success(&json!({"authByQR": true, "ticketID": jose::token()?}))
    }

    /// A tokenised identifier as the samples show one: 32 bytes in base64, URL-encoded.
    fn open_id(&self, person: u64) -> String {
        let bytes = digest(&SHA256, format!("{}{person}", self.realm).as_bytes());
        form_urlencoded::byte_serialize(STANDARD.encode(bytes).as_bytes()).collect()
    }

    fn success(&self, content: &Value) -> Result<Value, Failed> {
        // A counter never repeats, and costs no randomness.
        let number = self.vectors.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let mut vector = [0; NONCE_LEN];
        vector.iter_mut().rev().zip(number.iter().rev()).for_each(|(to, from)| *to = *from);
        let mut sealed = content.to_string().into_bytes();
        let done = self.cek.seal_in_place_append_tag(Nonce::assume_unique_for_key(vector), Aad::empty(), &mut sealed);
        done.map_err(|error| error.to_string())?;
        let frame = STANDARD.encode([PREFIX.as_slice(), &vector, &sealed].concat());
        Ok(json!({"txID": jose::token()?, "code": "D00000", "message": "SUCCESS", "content": frame}))
    }

    /// The content of a call.
    fn opened(&self, body: &[u8]) -> Result<Value, Failed> {
        let body: Value = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        let frame = STANDARD.decode(text(&body, "content")?).map_err(|error| error.to_string())?;
        let rest = frame.strip_prefix(PREFIX.as_slice()).and_then(|rest| rest.split_first_chunk::<NONCE_LEN>());
        let (vector, sealed) = rest.ok_or("no frame")?;
        let mut sealed = sealed.to_vec();
        let plain = self.cek.open_in_place(Nonce::assume_unique_for_key(*vector), Aad::empty(), &mut sealed);
        serde_json::from_slice(plain.map_err(|error| error.to_string())?).map_err(|error| error.to_string())
    }
}

fn text<'a>(members: &'a Value, name: &str) -> Result<&'a str, Failed> {
    members.get(name).and_then(Value::as_str).ok_or_else(|| format!("a call without {name}"))
}
