//! The `[oauth]` table of a provider document.

use gateway_core::document::Section;
use url::Url;

use crate::oidc::TokenAuth;

/// A place in a JSON answer (RFC 6901): empty, or beginning with `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointer(pub(super) String);

impl std::str::FromStr for Pointer {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.starts_with('/') {
            Ok(Self(text.to_owned()))
        } else {
            Err("must be a JSON pointer such as /account/id")
        }
    }
}

/// Where one claim is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimAt {
    /// The claim, by the name that mappings use.
    pub claim: String,
    /// Its place.
    pub at: Pointer,
    /// It is there only when this place holds this text.
    pub when: Option<(Pointer, String)>,
    /// Other words for its values; a value that is not among them is none. Empty means that values stay as they are.
    pub words: Vec<(String, String)>,
}

/// Where the facts of an account are found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The person.
    pub subject: Pointer,
    /// How the account was proofed.
    pub acr: Option<Pointer>,
    /// How this login was done: a text or a list of texts.
    pub amr: Option<Pointer>,
    /// When the person authenticated, in seconds since 1970.
    pub auth_time: Option<Pointer>,
    /// Everything else.
    pub claims: Vec<ClaimAt>,
}

/// How to reach a provider that speaks OAuth 2.0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The authorisation endpoint.
    pub authorize: Url,
    /// The token endpoint.
    pub token: Url,
    /// Where the account is read with the access token.
    pub account_at: Url,
    /// Our client identifier.
    pub client_id: String,
    /// How we authenticate at the token endpoint.
    pub auth: TokenAuth,
    /// The scopes we ask for.
    pub scopes: Vec<String>,
    /// Further parameters of every authorisation request.
    pub parameters: Vec<(String, String)>,
    /// The parameter that takes the person's language.
    pub locale_parameter: Option<String>,
    /// The parameter that takes the methods of which one is needed.
    pub methods_parameter: Option<String>,
    /// Where the facts are.
    pub account: Account,
}

impl Settings {
    /// Reads the table.
    #[must_use]
    pub fn read(table: &Section<'_>) -> Option<Self> {
        let endpoint = |name| {
            let url = table.require::<Url>(name);
            if url.as_ref().is_some_and(|url| url.scheme() != "https" || url.fragment().is_some()) {
                table.refuse_field(name, "must use https and have no fragment");
            }
            url
        };
        let (authorize, token, account_at) = (endpoint("authorize"), endpoint("token"), endpoint("account_at"));
        let (client_id, auth) = (table.require("client_id"), TokenAuth::read(table));
        if auth == Some(TokenAuth::PrivateKeyJwt) {
            table.refuse_field("token_endpoint_auth_method", "must be client_secret_basic, client_secret_post or none");
        }
        let parameters = table.section("parameters").map(|names| names.words()).unwrap_or_default();
        let (locale_parameter, methods_parameter) =
            (table.optional("locale_parameter"), table.optional("methods_parameter"));
        let scopes = table.list("scopes");
        let account = table.require_section("account").and_then(|account| read_account(&account));
        Some(Self {
            authorize: authorize?,
            token: token?,
            account_at: account_at?,
            client_id: client_id?,
            auth: auth?,
            scopes,
            parameters,
            locale_parameter,
            methods_parameter,
            account: account?,
        })
    }
}

fn read_account(section: &Section<'_>) -> Option<Account> {
    let (subject, acr) = (section.require("subject"), section.optional("acr"));
    let (amr, auth_time) = (section.optional("amr"), section.optional("auth_time"));
    let claims = section.sections("claims").iter().filter_map(read_claim).collect();
    Some(Account { subject: subject?, acr, amr, auth_time, claims })
}

fn read_claim(row: &Section<'_>) -> Option<ClaimAt> {
    let (claim, at) = (row.require::<gateway_core::claims::ClaimName>("claim"), row.require("at"));
    let when = match (row.optional("when"), row.optional("is")) {
        (Some(when), Some(is)) => Some((when, is)),
        (None, None) => None,
        _ => {
            row.refuse("when and is belong together");
            None
        }
    };
    let words = row.section("words").map(|words| words.words()).unwrap_or_default();
    Some(ClaimAt { claim: claim?.as_str().to_owned(), at: at?, when, words })
}
