//! What an account of Guangdong's platform comes to: levels, ways to log in, flags, documents, organisations.

use integration_tests::World;
use sandbox::guangdong::Misbehaviour;
use serde_json::{Value, json};

use crate::guangdong::{PROVIDER, world_with};
use crate::outcome::{answered, login, refused, service_of};

/// A service that releases what the platform says, under names that the vocabulary has.
async fn everything() -> World {
    let rows = [
        ("name", "claims.name"),
        ("name_zh", "claims.name_zh"),
        ("birthdate", "claims.birthdate"),
        ("gender", "claims.gender"),
        ("resident_id", "claims.resident_id"),
        ("home_return_permit", "claims.home_return_permit"),
        ("credit_code", "claims.credit_code"),
        ("organisation", "claims.organisation"),
        ("account_capacity", "claims.account_kind"),
    ];
    let all = service_of("everything", &[PROVIDER], (1, 1), &rows);
    World::own(&[("services/everything.toml", &all)]).await
}

async fn told(world: &World, person: &str) -> (Value, Value) {
    login(world, "everything", PROVIDER, &[("person", person)]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn level_and_method_are_two_axes_in_the_id_token() {
    let world = World::own(&[]).await;
    for (person, identity) in [("gd-su", 1), ("gd-chen", 1), ("gd-zeng", 2), ("gd-li", 2)] {
        for (method, authentication) in [("1", 1), ("2", 2), ("3", 2), ("4", 2)] {
            let (id, _) = login(&world, "ratings", PROVIDER, &[("person", person), ("method", method)]).await;
            assert_eq!(id["acr"], format!("urn:cbid:acr:i{identity}a{authentication}"), "{person} {method}: {id}");
            // None of the platform's words is a registered method, and none is made up.
            let methods = id.get("amr").cloned().unwrap_or_else(|| json!([]));
            for word in ["password", "certificate", "yueshengshi-scan", "weijing", "1", "2", "3", "4"] {
                assert!(!methods.as_array().unwrap().contains(&json!(word)), "{id}");
            }
            assert!(id.get("auth_time").is_none(), "it does not say when: {id}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_is_not_real_named_is_level_zero_however_the_flag_is_written() {
    let world = World::own(&[]).await;
    for misbehaviour in [Misbehaviour::None, Misbehaviour::BooleanFlags, Misbehaviour::IsRealAlias] {
        world.guangdong().set(misbehaviour.clone());
        for (person, identity) in [("gd-su", 1), ("gd-li", 2)] {
            let (id, _) = login(&world, "ratings", PROVIDER, &[("person", person)]).await;
            assert!(id["acr"].as_str().unwrap().contains(&format!("i{identity}")), "{misbehaviour:?} {person}: {id}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_level_that_nobody_knows_is_none() {
    let world = World::own(&[]).await;
    world.guangdong().set(Misbehaviour::UnknownLevel);
    let mut browser = world.browser();
    let page = answered(&world, &mut browser, &world.rp(), "ratings", PROVIDER, &[("person", "gd-li")]).await;
    refused(&world, &mut browser, &page, "CB-402").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_of_an_unknown_type_is_not_released() {
    let world = everything().await;
    let (_, known) = told(&world, "gd-li").await;
    assert_eq!((&known["resident_id"], &known["birthdate"]), (&json!("440099197903140019"), &json!("1979-03-14")));
    world.guangdong().set(Misbehaviour::UnknownDocumentType);
    let (_, unknown) = told(&world, "gd-li").await;
    assert_eq!(unknown["name"], "李伟强");
    for claim in ["resident_id", "birthdate", "home_return_permit", "credit_code"] {
        assert!(unknown.get(claim).is_none(), "{unknown}");
    }
    world.guangdong().set(Misbehaviour::None);
    // Without the simulator's own codes in the table, permits are not taken either.
    let shipped = world_with(&[("90 = \"home_return_permit\"\n91 = \"residence_permit\"\n", "")]).await;
    let (_, permit) = login(&shipped, "e-invoice", PROVIDER, &[("person", "gd-chan-tai-man")]).await;
    assert_eq!(permit["name"], "陈大文");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_numbers_arrive_byte_for_byte() {
    let world = everything().await;
    for (person, name, number, gender) in [
        ("gd-lin", "林㼆", "440099197605200167", "female"),
        ("gd-lu", "陆𫖯", "", "male"),
        ("gd-adili", "阿迪力·买买提", "440098199511300493", "male"),
        ("gd-zeng", "曾宪", "44009819880816079X", "male"),
        // Her address and two of her extended properties hold further equals signs.
        ("gd-ye", "叶桂香", "440099195307080225", "female"),
    ] {
        let (_, told) = told(&world, person).await;
        assert_eq!((&told["name"], &told["name_zh"], &told["gender"]), (&json!(name), &json!(name), &json!(gender)));
        assert!(number.is_empty() || told["resident_id"] == number, "{told}");
        assert_eq!(told["account_capacity"], "person");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn staff_of_an_organisation_are_themselves_and_act_for_it() {
    let world = everything().await;
    let (staff, told_staff) = told(&world, "gd-staff-liang").await;
    assert_eq!(told_staff["name"], "梁敏仪");
    assert_eq!(told_staff["resident_id"], "440098199306120362");
    assert_eq!(told_staff["birthdate"], "1993-06-12");
    assert_eq!(
        (&told_staff["organisation"], &told_staff["account_capacity"]),
        (&json!("岭南模拟贸易有限公司"), &json!("staff"))
    );
    assert_eq!(told_staff["credit_code"], "91440099MA00000075");
    let (company, told_company) = told(&world, "gd-co-lingnan").await;
    assert_eq!(
        (&told_company["organisation"], &told_company["account_capacity"]),
        (&json!("岭南模拟贸易有限公司"), &json!("legal-person"))
    );
    assert!(told_company.get("resident_id").is_none() && told_company.get("birthdate").is_none(), "{told_company}");
    assert_ne!(staff["sub"], company["sub"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_permit_and_a_name_in_another_form_keep_the_subject() {
    let world = everything().await;
    let (first, told_first) = told(&world, "gd-chan-tai-man").await;
    let (renewed, told_renewed) = told(&world, "gd-chan-tai-man-renewed").await;
    assert_eq!(first["sub"], renewed["sub"]);
    assert_eq!(told_first["home_return_permit"], "H1234567800");
    assert_eq!(told_renewed["home_return_permit"], "H1234567801");
    assert!(told_first.get("birthdate").is_none(), "a permit says nothing about a birth");
    let (wing, told_wing) = told(&world, "gd-chan-siu-wing").await;
    assert_eq!(told_wing["name"], "陈咏诗", "as it is printed, and in no other form");
    assert_ne!(wing["sub"], first["sub"]);
    // The same number elsewhere, and a like name, are other people until they are linked.
    let (ho, _) = told(&world, "gd-ho-ka-man").await;
    assert_ne!(ho["sub"], wing["sub"]);
}

/// The same subject said by another provider is another person.
#[tokio::test(flavor = "multi_thread")]
async fn people_of_different_providers_never_meet_by_themselves() {
    let world = World::own(&[]).await;
    let mut subjects = Vec::new();
    for (provider, person) in
        [(PROVIDER, "gd-chan-siu-wing"), ("hk-iam-smart", "hk-chan-siu-wing"), ("mo-one-account", "mo-vong")]
    {
        subjects.push(login(&world, "ratings", provider, &[("person", person)]).await.0["sub"].to_string());
    }
    subjects.sort();
    subjects.dedup();
    assert_eq!(subjects.len(), 3);
}

/// CVE-2026-82968: a missing, empty or numeric identifier joins everybody who has one.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2026_82968_nobody_is_nobody() {
    let world = World::own(&[]).await;
    for misbehaviour in [Misbehaviour::NoSubject, Misbehaviour::EmptySubject, Misbehaviour::NumericSubject] {
        world.guangdong().set(misbehaviour.clone());
        for person in ["gd-li", "gd-huang"] {
            let mut browser = world.browser();
            let page = answered(&world, &mut browser, &world.rp(), "ratings", PROVIDER, &[("person", person)]).await;
            refused(&world, &mut browser, &page, "CB-302").await;
        }
    }
}
