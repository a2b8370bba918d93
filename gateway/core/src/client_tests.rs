use super::*;

/// A document that holds no problem.
pub(crate) const SOUND: &str = r#"
client_id = "portal-a"
jurisdiction = "CN-GD"
sector = "gd-government"
redirect_uris = ["https://portal.example/cb"]
token_endpoint_auth_method = "client_secret_basic"
client_secret_sha256 = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
default_service = "sample"
[name]
zh-Hans = "样例门户"
zh-Hant-HK = "樣例門戶"
pt = "Portal de exemplo"
en = "Sample portal"
[operator]
zh-Hans = "样例机关"
zh-Hant-HK = "樣例機關"
pt = "Entidade de exemplo"
en = "Sample authority"
"#;

#[test]
fn a_sound_document_is_read() {
    let client = Client::from_document("a.toml", SOUND).unwrap();
    assert_eq!(client.id.as_str(), "portal-a");
    assert!(client.profile.requires_pkce());
    assert!(client.check_redirect("https://portal.example/cb").is_some());
    assert!(client.check_redirect("https://portal.example/cb/").is_none());
}

/// OpenID Connect Core section 8: who shares a `sub` is said once.
#[test]
fn oidc_core_8_whom_a_client_shares_its_subjects_with() {
    let with = |line: &str| {
        let read = Client::from_document("a.toml", &SOUND.replace("sector = \"gd-government\"", line));
        read.map(|client| client.sector.as_str().to_owned())
    };
    assert_eq!(with("sector = \"gd\"\nsubject_type = \"pairwise\"").unwrap(), "gd");
    assert_eq!(with("sector_identifier_uri = \"https://sector.example/uris.json\"").unwrap(), "host.sector.example");
    assert_eq!(with("subject_type = \"public\"").unwrap(), "public.CN-GD");
    for bad in [
        "",
        "subject_type = \"pairwise\"",
        "subject_type = \"shared\"",
        "sector = \"public.CN-GD\"",
        "sector = \"anonymous.x\"",
        "sector = \"host.sector.example\"",
        "sector = \"gd\"\nsubject_type = \"public\"",
        "sector = \"gd\"\nsector_identifier_uri = \"https://sector.example/\"",
        "sector_identifier_uri = \"http://sector.example/\"",
        "sector_identifier_uri = \"https://[::1]/\"",
        "sector_identifier_uri = \"https://sector.example/\"\nsubject_type = \"public\"",
    ] {
        assert!(with(bad).is_err(), "{bad}");
    }
}

/// CVE-2026-48522: whatever we are to call is called by https.
#[test]
fn cve_2026_48522_addresses_of_a_client_use_https_alone() {
    for name in ["jwks_uri", "backchannel_logout_uri", "frontchannel_logout_uri", "initiate_login_uri"] {
        for address in ["http://a.example/", "file:///etc/passwd", "data:,x", "ftp://a.example/", "HTTP://a.example/"] {
            let text = SOUND.replacen("jurisdiction", &format!("{name} = \"{address}\"\njurisdiction"), 1);
            assert!(Client::from_document("a.toml", &text).is_err(), "{name} {address}");
        }
        let text = SOUND.replacen("jurisdiction", &format!("{name} = \"https://a.example/\"\njurisdiction"), 1);
        assert!(Client::from_document("a.toml", &text).is_ok(), "{name}");
    }
}

/// CVE-2024-8883: a loopback address is as exact as any other.
#[test]
fn cve_2024_8883_a_loopback_address_is_compared_exactly() {
    let text = SOUND.replace("https://portal.example/cb", "http://127.0.0.1:8080/cb");
    let client = Client::from_document("a.toml", &text).unwrap();
    assert!(client.check_redirect("http://127.0.0.1:8080/cb").is_some());
    for other in ["http://127.0.0.1/cb", "http://127.0.0.1:8081/cb", "http://localhost:8080/cb", "http://[::1]:8080/cb"]
    {
        assert!(client.check_redirect(other).is_none(), "{other}");
    }
}

/// RFC 8252 section 7.3: registered without a port, it is the same at every port, and nothing else about it is.
#[test]
fn rfc8252_7_3_a_loopback_address_without_a_port() {
    let text = SOUND.replace("https://portal.example/cb", "http://127.0.0.1/cb");
    let confidential = Client::from_document("a.toml", &text).unwrap();
    assert!(confidential.check_redirect("http://127.0.0.1:1/cb").is_none(), "no native app");
    let text = text.replace("client_secret_basic", "none").replace("client_secret_sha256 =", "#");
    let client = Client::from_document("a.toml", &text).unwrap();
    for good in ["http://127.0.0.1/cb", "http://127.0.0.1:1/cb", "http://127.0.0.1:65535/cb"] {
        assert_eq!(client.check_redirect(good).unwrap().as_str(), good);
    }
    for bad in [
        "http://127.0.0.1:1/cb/",
        "http://127.0.0.1:1/cb?x=y",
        "http://127.0.0.2:1/cb",
        "http://localhost:1/cb",
        "http://[::1]:1/cb",
        "https://127.0.0.1:1/cb",
        "http://evil.example:1/cb",
        "http://127.0.0.1:1@evil.example/cb",
        "http://127.0.0.1:99999/cb",
        "http://0x7f.1:1/cb",
    ] {
        assert!(client.check_redirect(bad).is_none(), "{bad}");
    }
    let named = Client::from_document("a.toml", &text.replace("127.0.0.1", "localhost")).unwrap();
    assert!(named.check_redirect("http://localhost:1/cb").is_none());
    let secure = Client::from_document("a.toml", &text.replace("http://127.0.0.1", "https://a.example")).unwrap();
    assert!(secure.check_redirect("https://a.example:8443/cb").is_none());
}

#[test]
fn a_public_client_cannot_do_without_pkce() {
    let text =
        SOUND.replace("client_secret_basic", "none").replace("client_secret_sha256 =", "profile = \"legacy\"\n#");
    let problems = Client::from_document("a.toml", &text).unwrap_err();
    assert!(problems.iter().any(|p| p.reason.contains("cannot do without PKCE")), "{problems:?}");
}

/// FAPI 2.0 Security Profile sections 5.3.2.1 and 5.4.1.
#[test]
fn fapi2_5_3_2_1_a_fapi_client_has_keys_and_no_weak_algorithm() {
    let key = "private_key_jwt\"\njwks = \"{}\"\nprofile = \"fapi2-message-signing";
    let sound = SOUND.replace("client_secret_basic", key).replace("client_secret_sha256 =", "#");
    assert!(Client::from_document("a.toml", &sound).unwrap().profile.requires_signed_messages());
    for (from, to) in [
        ("private_key_jwt", "client_secret_basic"),
        ("jwks = \"{}\"", ""),
        ("profile =", "id_token_signed_response_alg = \"RS256\"\nprofile ="),
        ("profile =", "authorization_signed_response_alg = \"RS256\"\nprofile ="),
    ] {
        assert!(Client::from_document("a.toml", &sound.replace(from, to)).is_err(), "{to}");
    }
}

#[test]
fn all_problems_of_a_client_are_reported() {
    let text = SOUND.replace("CN-GD", "XX").replace("https://portal.example/cb", "http://portal.example/cb");
    assert_eq!(Client::from_document("a.toml", &text).unwrap_err().len(), 3);
}

/// A page asked people to agree to "  in Guangdong", reversed: what registration refuses, documents refuse.
#[test]
fn people_can_read_who_it_is() {
    let names = ["Sample portal", "样例机关", "Portal de exemplo"];
    for name in names {
        for wrong in ["", "  ", "\u{202e}abc", "a\u{2066}b", "\u{200b}", "\u{3164}", "a\\u0007"] {
            let text = SOUND.replacen(name, wrong, 1);
            assert!(Client::from_document("a.toml", &text).is_err(), "{name} {wrong:?}");
        }
    }
}

/// The README's own "…" passed as the number of a filing, and the recipient of data had no telephone.
#[test]
fn data_crosses_to_nobody_without_a_filing_and_a_contact() {
    let filed = |number: &str| {
        format!("{SOUND}[[filing]]\ninstrument = \"i\"\nnumber = \"{number}\"\nvalid_until = \"2030-12-31\"\n")
    };
    let with_contact = |text: String, contact: &str| {
        text.replacen("jurisdiction", &format!("contact = \"{contact}\"\njurisdiction"), 1)
    };
    assert!(Client::from_document("a.toml", &filed("1")).is_err(), "no contact");
    assert!(Client::from_document("a.toml", &with_contact(filed("1"), " ")).is_err());
    let client = Client::from_document("a.toml", &with_contact(filed("GD-1"), "+86 20 0000 0000")).unwrap();
    assert_eq!(client.contact.as_deref(), Some("+86 20 0000 0000"));
    for wrong in ["…", "", "-", "___", "?"] {
        assert!(Client::from_document("a.toml", &with_contact(filed(wrong), "+86 20 0000 0000")).is_err(), "{wrong}");
    }
}
