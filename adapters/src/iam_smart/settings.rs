//! The `[iam_smart]` table of a provider document.

use gateway_core::document::Section;
use serde_json::{Map, Value};
use url::Url;

/// How a delivery shows that it comes from the provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeliveryTrust {
    /// Its content is sealed under the content key that we fetched ourselves.
    ContentKey,
    /// The connection's client certificate is for this name, from an authority configured for deliveries.
    MutualTls(String),
}

/// A stronger method that the provider can demand after a login.
#[derive(Debug, Clone, PartialEq)]
pub struct StepUp {
    /// Its name, as assurance rows write it.
    pub method: String,
    /// The members that ask for it. Nothing public says what they are called.
    pub members: Map<String, Value>,
}

/// How to reach iAM Smart.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The base of its interface, `https://…/api/v1/`.
    pub api: Url,
    /// Our client identifier.
    pub client_id: String,
    /// The file that holds our client secret.
    pub client_secret_file: String,
    /// The file that holds our key-encryption key, PKCS#8 PEM.
    pub key_encryption_key_file: String,
    /// The scopes that were approved for us.
    pub scopes: Vec<String>,
    /// What opens its app: a scheme with `://`, or a link, to which `profile?…` is appended.
    pub app: String,
    /// Below `api`: the page where a login begins; another one for logins joined with corporate identities.
    pub qr_path: String,
    /// Why deliveries are believed.
    pub deliveries: DeliveryTrust,
    /// What it can demand after a login.
    pub step_up: Vec<StepUp>,
}

impl Settings {
    /// Reads the table.
    #[must_use]
    pub fn read(table: &Section<'_>) -> Option<Self> {
        let api = table.require::<Url>("api").map(with_final_slash);
        if api.as_ref().is_some_and(|url| url.scheme() != "https" || url.query().is_some()) {
            table.refuse_field("api", "must use https and have no query");
        }
        let (client_id, app) = (table.require("client_id"), table.require("app"));
        let (secret, kek) = (table.require("client_secret_file"), table.require("key_encryption_key_file"));
        let mut scopes: Vec<String> = table.list("scopes");
        if scopes.is_empty() {
            scopes = ["eidapi_auth", "eidapi_profiles"].map(str::to_owned).to_vec();
        }
        let qr_path = table.optional("qr_path").unwrap_or_else(|| "auth/getQR".to_owned());
        let deliveries = read_deliveries(table);
        let step_up = table.sections("step_up").iter().filter_map(read_step_up).collect();
        Some(Self {
            api: api?,
            client_id: client_id?,
            client_secret_file: secret?,
            key_encryption_key_file: kek?,
            scopes,
            app: app?,
            qr_path,
            deliveries: deliveries?,
            step_up,
        })
    }
}

/// A base to which relative paths are joined needs a final slash.
pub(crate) fn with_final_slash(mut url: Url) -> Url {
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    url
}

fn read_deliveries(table: &Section<'_>) -> Option<DeliveryTrust> {
    match table.require::<String>("deliveries")?.as_str() {
        "content-key" => Some(DeliveryTrust::ContentKey),
        "mutual-tls" => table.require("delivery_name").map(DeliveryTrust::MutualTls),
        _ => {
            table.refuse_field("deliveries", "must be content-key or mutual-tls");
            None
        }
    }
}

fn read_step_up(row: &Section<'_>) -> Option<StepUp> {
    let (method, members) = (row.require("method"), row.require::<String>("members"));
    match serde_json::from_str(&members?) {
        Ok(Value::Object(members)) => Some(StepUp { method: method?, members }),
        _ => {
            row.refuse_field("members", "must be a JSON object");
            None
        }
    }
}
