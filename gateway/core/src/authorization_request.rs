//! What an authorization request says, once it passed every check of [`crate::authorize`].

use serde::{Deserialize, Serialize};

use crate::assurance::Assurance;
use crate::claims::ClaimsRequest;
use crate::details::Details;
use crate::error::{Failure, OAuthError};
use crate::ids::{ClientId, ServiceId};
use crate::locale::Locale;
use crate::pkce::CodeChallenge;
use crate::redirect::CheckedRedirect;
use crate::secret::Secret;
use crate::time::{Date, Timestamp};

/// How the answer travels back (OAuth 2.0 Multiple Response Types, Form Post Response Mode).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum ResponseMode {
    /// In the query of a redirect.
    #[default]
    Query,
    /// In a form that the browser posts.
    FormPost,
    /// Signed, in the query of a redirect (JARM section 2.3.1).
    QueryJwt,
    /// Signed, in a form that the browser posts (JARM section 2.3.3).
    FormPostJwt,
}

impl ResponseMode {
    /// Every mode with its registered name; `jwt` is the signed form of a code's usual mode (JARM section 2.3.4).
    pub const NAMES: [(&'static str, Self); 5] = [
        ("query", Self::Query),
        ("form_post", Self::FormPost),
        ("jwt", Self::QueryJwt),
        ("query.jwt", Self::QueryJwt),
        ("form_post.jwt", Self::FormPostJwt),
    ];

    /// Whether the answer is signed.
    #[must_use]
    pub fn is_signed(self) -> bool {
        matches!(self, Self::QueryJwt | Self::FormPostJwt)
    }
}

/// How a request came in: what vouches for its parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Arrival {
    /// The client pushed it, and proved who it is (RFC 9126).
    pub pushed: bool,
    /// The client signed it (RFC 9101).
    pub signed: bool,
}

/// The `prompt` parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Prompt {
    /// Show nothing; answer or fail.
    pub none: bool,
    /// Sign in anew.
    pub login: bool,
    /// Ask for consent anew.
    pub consent: bool,
    /// Choose the provider anew.
    pub select_account: bool,
}

/// Which assurance the client asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AcrRequest {
    /// An essential request that cannot be met is an error, never a downgrade (OpenID Connect Core section 5.5.1.1).
    pub essential: bool,
    /// Any of these satisfies the request; in the client's order. Values that are not ours were dropped.
    pub values: Vec<Assurance>,
    /// The names by which some of them were asked for, where those are being given up.
    #[serde(default)]
    pub old: Vec<OldAcr>,
}

/// A name for an assurance that works until its last day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OldAcr {
    /// The name.
    pub name: String,
    /// What it stands for.
    pub means: Assurance,
    /// Its last day.
    pub until: Date,
}

impl AcrRequest {
    /// True when nothing essential is left unmet by `reached`.
    #[must_use]
    pub fn is_satisfied_by(&self, reached: Assurance) -> bool {
        !self.essential || self.values.iter().any(|wanted| reached.meets(*wanted))
    }

    /// The `acr` to state for a login that reached `reached`: the strongest value asked for that it meets, or else what
    /// it reached.
    #[must_use]
    pub fn stated(&self, reached: Assurance) -> Assurance {
        let met = self.values.iter().filter(|wanted| reached.meets(**wanted));
        met.max_by_key(|wanted| (wanted.identity, wanted.authentication)).copied().unwrap_or(reached)
    }

    /// What an assurance is called to the client: as it asked for it.
    #[must_use]
    pub fn called(&self, stated: Assurance, today: Date) -> String {
        let old = self.old.iter().find(|old| old.means == stated && today <= old.until);
        old.map_or_else(|| stated.acr(), |old| old.name.clone())
    }
}

/// A request that passed every check.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AuthorizationRequest {
    /// Who asks.
    pub client: ClientId,
    /// How the answer reaches the client.
    pub answer: Answer,
    /// The service the login is for.
    pub service: ServiceId,
    /// What it says of the matter.
    pub details: Option<Details>,
    /// Bound into the ID token.
    pub nonce: Option<String>,
    /// What the token request must prove.
    pub code_challenge: Option<CodeChallenge>,
    /// The thumbprint of the key that the code is bound to (RFC 9449 section 10).
    pub dpop_jkt: Option<String>,
    /// The digest of the `request_uri` that it was pushed under; it serves for one code.
    pub pushed: Option<String>,
    /// What may be shown.
    pub prompt: Prompt,
    /// The oldest acceptable login, in seconds.
    pub max_age: Option<u64>,
    /// The assurance asked for.
    pub acr: AcrRequest,
    /// What is asked for.
    pub claims: ClaimsRequest,
    /// The only subject the client will accept.
    pub subject: Option<String>,
    /// A hint for the provider, passed on as it is.
    pub login_hint: Option<String>,
    /// The first language of `ui_locales` that we speak.
    pub locale: Option<Locale>,
    /// When the request came in.
    pub received_at: Timestamp,
}

impl AuthorizationRequest {
    /// True when a login already made cannot serve, however fresh.
    #[must_use]
    pub fn demands_login(&self) -> bool {
        self.prompt.login || self.prompt.select_account || self.max_age == Some(0)
    }

    /// The address to which the browser goes in the end, where it goes anywhere.
    #[must_use]
    pub fn redirect(&self) -> Option<&CheckedRedirect> {
        match &self.answer {
            Answer::Carried(to) => Some(&to.redirect),
            Answer::Collected(_) => None,
        }
    }

    /// The request that its client comes for, where it was not the person's browser that brought it.
    #[must_use]
    pub fn collection(&self) -> Option<&Collection> {
        match &self.answer {
            Answer::Carried(_) => None,
            Answer::Collected(collection) => Some(collection),
        }
    }
}

/// How an answer reaches its client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// The person's browser carries it to an address of the client.
    Carried(ReplyTo),
    /// The client comes for it: it asked from somewhere else than where the person is (RFC 8628).
    Collected(Collection),
}

/// A request whose answer waits until its client comes for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collection {
    /// The secret that both sides lead to, and that names where the answer waits.
    pub handle: Secret<String>,
    /// How long it waits.
    pub expires_at: Timestamp,
    /// Where the person is asked from.
    pub terminal: Terminal,
    /// Its place in the person's own list; empty where they come with a code.
    pub listed: String,
}

/// What a person can see of the terminal that asks.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Terminal {
    /// What it is called; empty where nobody said.
    pub name: String,
    /// Where it stands.
    pub place: String,
    /// Four digits that it shows as well.
    pub check: String,
    /// What whoever asks says and shows as well.
    pub message: String,
}

/// Everything needed to answer a client through the browser.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplyTo {
    /// Who.
    pub client: ClientId,
    /// Where.
    pub redirect: CheckedRedirect,
    /// How.
    pub mode: ResponseMode,
    /// The `state` to echo.
    pub state: Option<String>,
}

/// A request that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Client or redirect URI are not validated: only a page may say so.
    Page(Failure),
    /// The client can be told.
    Reply(ReplyTo, OAuthError),
}
