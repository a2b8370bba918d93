//! Client documents under which portals register themselves (RFC 7591).

use std::collections::BTreeSet;
use std::sync::Arc;

use adapters::federation::Anchor;
use certs::claims;
use certs::jws::Unverified;
use certs::key::{Algorithm, KeySet};
use gateway_core::client::Client;
use gateway_core::credential::SecretDigest;
use gateway_core::document::Problems;
use gateway_core::error::{OAuthCode, OAuthError};
use gateway_core::ids::ClientId;
use gateway_core::registration::{self, Registration};
use gateway_core::time::{SKEW, Timestamp};
use policies::set::Document;
use serde_json::{Map, Value};

use crate::catalog::{Registered, register};
use crate::roll::Record;

/// A client document under which portals register themselves.
#[derive(Debug, Clone)]
pub struct Admission {
    /// What the document says of all of them.
    pub template: Client,
    /// The terms of their registration.
    pub terms: Registration,
    /// The document.
    pub document: Document,
    /// The keys of whoever vouches for their software.
    pub statements: Option<Arc<KeySet>>,
}

/// Claims of a statement that are about the statement itself.
const OF_THE_STATEMENT: [&str; 8] = ["iss", "aud", "sub", "exp", "nbf", "iat", "jti", "software_statement"];

impl Admission {
    /// Whether somebody who has a token registers under it.
    #[must_use]
    pub fn is_by_token(&self) -> bool {
        !self.terms.initial_access_tokens.is_empty()
    }

    /// Whether somebody who joined by a federation could do so by the terms of today; `believed` is whom we believe in it now.
    #[must_use]
    pub fn still_lets_in(&self, id: &ClientId, record: &Record, believed: Option<&Anchor>) -> bool {
        let Some(entity) = id.entity() else { return true };
        let same =
            record.vouched.as_ref().zip(believed).is_some_and(|(vouched, anchor)| vouched.anchor == anchor.version);
        if !same || !registration::is_within(entity, &self.terms.origins) {
            return false;
        }
        let terms = self.terms.federation.as_ref().zip(record.vouched.as_ref());
        terms.is_some_and(|(terms, vouched)| {
            entity.parse().is_ok_and(|entity| terms.admits(&entity, &vouched.trust_marks))
        })
    }

    pub(crate) fn digests(&self) -> impl Iterator<Item = &str> {
        self.terms.initial_access_tokens.iter().map(SecretDigest::as_str)
    }

    /// Metadata as it is registered: what is known of it, with what the document and the standards say where it says nothing.
    ///
    /// # Errors
    /// `invalid_client_metadata`.
    pub fn normalized(&self, metadata: &Map<String, Value>) -> Result<Map<String, Value>, OAuthError> {
        registration::normalized(metadata, &self.document.text, &self.template)
    }

    /// The metadata with what a software statement says of it, which counts for more (RFC 7591 section 2.3). Of a statement that
    /// was taken before, it is not asked any more when it ended: nothing is `now` then.
    ///
    /// # Errors
    /// `invalid_software_statement`, `unapproved_software_statement`.
    pub fn vouched(
        &self,
        metadata: &Map<String, Value>,
        now: Option<Timestamp>,
    ) -> Result<Map<String, Value>, OAuthError> {
        let invalid = |why: &'static str| OAuthError::new(OAuthCode::InvalidSoftwareStatement, why);
        let unapproved = |why: &'static str| OAuthError::new(OAuthCode::UnapprovedSoftwareStatement, why);
        let terms = self.terms.software_statements.as_ref();
        let Some(statement) = metadata.get("software_statement") else {
            let required = terms.is_some_and(|terms| terms.required);
            return if required { Err(invalid("software_statement is needed here")) } else { Ok(metadata.clone()) };
        };
        let (Some(terms), Some(keys)) = (terms, &self.statements) else {
            return Err(unapproved("nobody's statements are known here"));
        };
        let text = statement.as_str().ok_or_else(|| invalid("software_statement is no text"))?;
        let said = Unverified::parse(text).and_then(|statement| statement.verify(keys, &Algorithm::ALL));
        let said = said.map_err(|_| invalid("the statement's signature, or its header, is not acceptable"))?;
        if claims::text(&said, "iss") != Ok(terms.issuer.as_str()) {
            return Err(unapproved("this issuer's statements are not known here"));
        }
        let ends = claims::time(&said, "exp").map_err(|_| invalid("exp is not a time"))?;
        if ends.zip(now).is_some_and(|(ends, now)| ends.saturating_add(SKEW.as_secs()) <= now.0) {
            return Err(invalid("the statement is over"));
        }
        let about: Map<String, Value> = said.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        let base = |name: &str| name.split('#').next().unwrap_or_default().to_owned();
        let vouched: BTreeSet<String> = about.keys().map(|name| base(name)).collect();
        // A name that is vouched for is the name in every language.
        let own = metadata.iter().filter(|(name, _)| !vouched.contains(&base(name)));
        let own = own.map(|(name, value)| (name.clone(), value.clone()));
        let about = about.into_iter().filter(|(name, _)| !OF_THE_STATEMENT.contains(&name.as_str()));
        let kept = [("software_statement".to_owned(), statement.clone())];
        Ok(own.chain(about).chain(kept).collect())
    }

    /// The client that metadata makes under it, with its inline keys parsed.
    ///
    /// # Errors
    /// `invalid_redirect_uri` or `invalid_client_metadata`.
    pub fn client(
        &self,
        metadata: &Map<String, Value>,
        id: &ClientId,
        secret: Option<&SecretDigest>,
    ) -> Result<Registered, OAuthError> {
        let client = registration::client(&self.document.text, &self.terms, metadata, id, secret)?;
        let file = self.document.file.clone();
        let mut problems = Problems::new();
        let document = Document { file: file.clone(), text: String::new() };
        let registered = register(client, &document, &mut problems);
        match problems.into_iter().next() {
            None => Ok(registered),
            Some(problem) => Err(OAuthError::new(OAuthCode::InvalidClientMetadata, problem.reason)),
        }
    }
}
