//! The `[guangdong]` table of a provider document.

use gateway_core::claims::ClaimName;
use gateway_core::document::Section;
use url::Url;

use crate::iam_smart::with_final_slash;

/// How a callback is bound to the login that it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binding {
    /// A value of its own in the query of the redirect URI: no client is known to send `state`.
    RedirectQuery,
    /// The `state` parameter, where the platform is known to return it.
    State,
}

/// How to reach Guangdong's unified identity platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The base below which `authorize`, `access_token` and `tokeninfo` are; it says which generation is spoken.
    pub base: Url,
    /// The path of the authorisation page below `base`: the current generation writes it with a final slash.
    pub authorize: String,
    /// Our client identifier.
    pub client_id: String,
    /// The file that holds our client secret.
    pub client_secret_file: String,
    /// How callbacks are bound.
    pub binding: Binding,
    /// Whether a new login is brought about by way of the logout. No parameter for it is known.
    pub logout_first: bool,
    /// What `idcardtype` codes stand for: code, and the claim that holds such a number.
    pub documents: Vec<(String, ClaimName)>,
}

impl Settings {
    /// Reads the table.
    #[must_use]
    pub fn read(table: &Section<'_>) -> Option<Self> {
        let base = table.require::<Url>("base").map(with_final_slash);
        if base.as_ref().is_some_and(|url| url.scheme() != "https" || url.query().is_some()) {
            table.refuse_field("base", "must use https and have no query");
        }
        let authorize = table.optional("authorize").unwrap_or_else(|| "authorize".to_owned());
        let (client_id, secret) = (table.require("client_id"), table.require("client_secret_file"));
        let binding = match table.require::<String>("binding").as_deref() {
            Some("redirect-query") => Some(Binding::RedirectQuery),
            Some("state") => Some(Binding::State),
            Some(_) => {
                table.refuse_field("binding", "must be redirect-query or state");
                None
            }
            None => None,
        };
        let documents = table.section("documents").map(|codes| codes.words()).unwrap_or_default();
        Some(Self {
            base: base?,
            authorize,
            client_id: client_id?,
            client_secret_file: secret?,
            binding: binding?,
            logout_first: table.flag("logout_first", false),
            documents,
        })
    }
}
