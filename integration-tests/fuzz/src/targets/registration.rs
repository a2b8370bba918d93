//! What portals say of themselves when they register, and what requests say of their matter.

use std::sync::LazyLock;

use gateway_core::client::Client;
use gateway_core::credential::SecretDigest;
use gateway_core::details;
use gateway_core::ids::ClientId;
use gateway_core::registration::{client, is_within, normalized};
use serde_json::{Map, Value};

const TEMPLATE: &str = r#"
client_id = "joining"
jurisdiction = "CN-GD"
sector = "gd-joining"
profile = "legacy"
refresh_lifetime = "8h"
[name]
zh-Hans = "甲"
zh-Hant-HK = "甲"
pt = "A"
en = "A"
[operator]
zh-Hans = "甲"
zh-Hant-HK = "甲"
pt = "A"
en = "A"
[registration]
initial_access_token_sha256 = ["AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"]
origins = ["https://portal.example"]
trial_services = ["sandbox"]
own_sectors = true
"#;

static DOCUMENT: LazyLock<Client> = LazyLock::new(|| Client::from_document("t", TEMPLATE).expect("a document"));

/// Metadata: what is taken is taken the same again, stays on the hosts that were given, and says nothing that an officer says.
/// Details of a matter are read or refused.
pub fn registration(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = details::read(text);
    }
    let Ok(metadata) = serde_json::from_slice::<Map<String, Value>>(data) else { return };
    let Ok(taken) = normalized(&metadata, TEMPLATE, &DOCUMENT) else { return };
    assert_eq!(normalized(&taken, TEMPLATE, &DOCUMENT).ok().as_ref(), Some(&taken), "the same again is something else");
    let terms = DOCUMENT.registration.as_ref().expect("terms");
    let id = ClientId::registering_itself(&DOCUMENT.id, [7; 16]).expect("an id");
    let Ok(made) = client(TEMPLATE, terms, &taken, &id, Some(&SecretDigest::of("secret"))) else { return };
    assert_eq!((&made.id, made.jurisdiction, made.profile), (&id, DOCUMENT.jurisdiction, DOCUMENT.profile));
    assert_eq!((&made.operator, &made.default_service), (&DOCUMENT.operator, &DOCUMENT.default_service));
    assert!(made.registration.is_none() && made.filings.is_empty() && !made.staff_assisted);
    for (name, address) in made.addresses() {
        assert!(is_within(address, &terms.origins), "{name}: {address}");
    }
}
