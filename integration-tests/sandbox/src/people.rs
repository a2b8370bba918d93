//! The synthetic people who can log in at the simulated providers.
//!
//! The catalogue is data (`people/*.toml`), so that an awkward name or number can be added without
//! touching code. Each person is there for a reason, told in [`Person::note`].

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::SandboxError;

const HONG_KONG: &str = include_str!("../people/hong-kong.toml");
const MACAO: &str = include_str!("../people/macao.toml");
const GUANGDONG: &str = include_str!("../people/guangdong.toml");

/// Which side of the border a provider and its people belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// Hong Kong Special Administrative Region.
    HongKong,
    /// Macao Special Administrative Region.
    Macao,
    /// Guangdong Province.
    Guangdong,
}

/// One synthetic person and what a login of theirs asserts.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Person {
    /// Name of the account at the provider: what the login form posts and `login_hint` may carry.
    pub id: String,
    /// Opaque subject the provider asserts; carries no name and no number.
    pub sub: String,
    /// Name as the provider displays it: romanised in Hong Kong and Macao, Chinese in Guangdong.
    pub name: String,
    /// Name in Chinese characters, when the person has one.
    pub name_zh: Option<String>,
    /// `YYYY-MM-DD`, or `YYYY` for people whose day of birth was never registered.
    pub birthdate: String,
    /// `male` or `female`, in the words of OpenID Connect.
    pub gender: String,
    /// Hong Kong identity card number with its check character in brackets.
    pub hkid: Option<String>,
    /// Macao resident identity card number; only its shape means something.
    pub bir: Option<String>,
    /// Mainland resident number of 18 characters.
    pub resident_id: Option<String>,
    /// Mainland travel permit of Hong Kong and Macao residents.
    pub home_return_permit: Option<String>,
    /// Address in a reserved example domain.
    pub email: String,
    /// Telephone number that no operator assigns.
    pub phone_number: String,
    /// Assurance of this person's logins, in the provider's own words.
    pub acr: String,
    /// Methods of this person's logins.
    pub amr: Vec<String>,
    /// Further facts under the provider's own claim names.
    #[serde(default)]
    pub facts: BTreeMap<String, Value>,
    /// The account at iAM Smart, for people who can log in there.
    #[serde(default)]
    pub iam_smart: Option<IamSmartAccount>,
    /// Why this person is in the catalogue, for the demonstration page.
    pub note: String,
    /// The account at Guangdong's unified platform, when there is one.
    #[serde(default)]
    pub guangdong: Option<GuangdongAccount>,
    /// The account at Macao's One Account, when there is one.
    #[serde(default)]
    pub macao: Option<MacaoAccount>,
}

/// What Guangdong's platform says of an account, besides what every [`Person`] has: the subject is
/// [`Person::sub`] and the name is [`Person::name`]. Codes are kept in the platform's own spelling.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuangdongAccount {
    /// Login name, which the platform does not promise to keep.
    pub uid: String,
    /// `1` person, `2` legal person.
    pub usertype: String,
    /// Kind of document; `90` and `91` are codes of this simulator for the permits of Hong Kong and Macao
    /// residents, because the platform's own are not public.
    pub idcardtype: String,
    /// Number of that document.
    pub idcardnumber: String,
    /// Highest level the account was proofed to, `L0` to `L3`.
    pub level: String,
    /// How the holder logs in when the form says nothing: 1 password, 2 certificate, 3 Yueshengshi, 4 Weijing.
    pub method: String,
    /// Whether the account is real-named, which it is from `L1`.
    pub isreal: bool,
    /// Register or app that made it real-named.
    #[serde(default)]
    pub realtype: Option<String>,
    /// Every proof the account went through.
    #[serde(default)]
    pub ways: Vec<ProofingWay>,
    /// City in pinyin.
    #[serde(default)]
    pub area: Option<String>,
    /// Postal address.
    #[serde(default)]
    pub address: Option<String>,
    /// When the account was opened, `YYYYMMDDhhmmss`.
    pub createtime: String,
    /// Who handles matters for a legal person.
    #[serde(default)]
    pub link_person_name: Option<String>,
    /// Catalogue id of the organisation whose sub-account this is.
    #[serde(default)]
    pub parent: Option<String>,
    /// Further `key=value` entries of `extproperties`; a later one replaces an earlier one of that key.
    #[serde(default)]
    pub extproperties: Vec<String>,
}

/// One proof of a Guangdong account.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProofingWay {
    /// Level this proof gave.
    pub level: String,
    /// Who or what proofed it, such as `YSS`.
    pub way: String,
    /// When, as `YYYY-MM-DD hh:mm:ss` in China Standard Time; absent when the platform did not record it.
    #[serde(default)]
    pub proofed: Option<String>,
    /// Number it was proofed with, when that is not the account's present one.
    #[serde(default)]
    pub number: Option<String>,
}

/// What the stand-in for Macao's One Account says of an account, besides what every [`Person`] has.
/// All words here are made up.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MacaoAccount {
    /// `personal` or `entity`.
    pub kind: String,
    /// How the holder was proofed: `dsi-face`, `counter` or `kiosk`.
    pub proofing: String,
    /// What kind of resident, worker or visitor the holder is.
    pub holder: String,
    /// How the holder logs in when the form says nothing, such as `password+otp`.
    pub factor: String,
    /// The document the account was opened with.
    pub document: MacaoDocument,
    /// The organisation of an entity account, whose staff member the person is.
    #[serde(default)]
    pub entity: Option<MacaoEntity>,
}

/// An identity document as the Macao stand-in reports it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MacaoDocument {
    /// Kind of document, such as `BIR`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Number as printed; only that of a BIR has a known shape.
    pub number: String,
}

/// The organisation behind an entity account.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MacaoEntity {
    /// Opaque identifier, the same for all its staff.
    pub id: String,
    /// `private` or `public`.
    pub kind: String,
    /// Name in Portuguese.
    pub latin: String,
    /// Name in Chinese.
    pub chinese: String,
    /// What the staff member may do: `administrator` or `staff`.
    pub role: String,
}

/// What iAM Smart knows of a person beyond the facts every provider keeps.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IamSmartAccount {
    /// `default`, or `sign` for an account that can also sign.
    pub user_type: String,
    /// Whether the Chinese name was checked against the identity card register.
    #[serde(default)]
    pub chinese_name_verified: bool,
    /// `YYYYMMDD` or shorter, when it is not [`Person::birthdate`] without its dashes.
    pub birth: Option<String>,
}

impl Person {
    /// The personal claims that `scopes` and individually requested names entitle a client to.
    #[must_use]
    pub fn claims(&self, scopes: &[&str], requested: &[String]) -> Map<String, Value> {
        let mut claims = Map::new();
        let mut give = |scope: &str, name: &str, value: Option<Value>| {
            let wanted = scopes.contains(&scope) || requested.iter().any(|asked| asked == name);
            if let (true, Some(value)) = (wanted, value) {
                claims.insert(name.to_owned(), value);
            }
        };
        give("profile", "name", Some(self.name.clone().into()));
        give("profile", "name_zh", self.name_zh.clone().map(Value::from));
        give("profile", "birthdate", Some(self.birthdate.clone().into()));
        give("profile", "gender", Some(self.gender.clone().into()));
        for (name, value) in &self.facts {
            give("profile", name, Some(value.clone()));
        }
        give("document", "hkid", self.hkid.clone().map(Value::from));
        give("document", "bir", self.bir.clone().map(Value::from));
        give("document", "resident_id", self.resident_id.clone().map(Value::from));
        give("document", "home_return_permit", self.home_return_permit.clone().map(Value::from));
        give("email", "email", Some(self.email.clone().into()));
        give("phone", "phone_number", Some(self.phone_number.clone().into()));
        claims
    }
}

/// Shape of a catalogue file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Catalogue {
    person: Vec<Person>,
}

/// Everybody who has an account at the provider of `place`.
///
/// # Errors
/// When the embedded catalogue cannot be read, which the tests of this crate rule out.
pub fn catalogue(place: Place) -> Result<Vec<Person>, SandboxError> {
    let text = match place {
        Place::HongKong => HONG_KONG,
        Place::Macao => MACAO,
        Place::Guangdong => GUANGDONG,
    };
    let catalogue: Catalogue = toml::from_str(text)?;
    Ok(catalogue.person)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn everybody() -> Vec<Person> {
        [Place::HongKong, Place::Macao, Place::Guangdong]
            .into_iter()
            .flat_map(|place| catalogue(place).unwrap())
            .collect()
    }

    /// Check character of a Hong Kong identity card number without its bracketed end.
    fn hkid_check(body: &str) -> char {
        let padded = format!("{body:>8}");
        let sum: u32 = padded
            .chars()
            .zip((2..=9).rev())
            .map(|(c, weight)| weight * if c == ' ' { 36 } else { c.to_digit(36).unwrap() })
            .sum();
        match (11 - sum % 11) % 11 {
            10 => 'A',
            rest => char::from_digit(rest, 10).unwrap(),
        }
    }

    /// Check character of an 18-character mainland number, by the ISO 7064 MOD 11-2 recursion.
    fn resident_check(first_17: &str) -> char {
        let product = first_17.chars().fold(0, |product, c| (product + c.to_digit(10).unwrap()) * 2 % 11);
        match (12 - product) % 11 {
            10 => 'X',
            rest => char::from_digit(rest, 10).unwrap(),
        }
    }

    #[test]
    fn known_numbers_have_known_check_characters() {
        assert_eq!(hkid_check("A123456"), '3');
        assert_eq!(hkid_check("AB987654"), '3');
        assert_eq!(hkid_check("G123456"), 'A');
        assert_eq!(resident_check("11010519491231002"), 'X');
        assert_eq!(resident_check("44052418800101001"), '4');
    }

    #[test]
    fn document_numbers_are_well_formed() {
        for person in everybody() {
            if let Some(hkid) = &person.hkid {
                let (body, check) = hkid.strip_suffix(')').unwrap().split_once('(').unwrap();
                assert_eq!(check, hkid_check(body).to_string(), "{}", person.id);
            }
            if let Some(number) = &person.resident_id {
                assert_eq!(number.len(), 18, "{}", person.id);
                let (body, check) = number.split_at(17);
                assert_eq!(check, resident_check(body).to_string(), "{}", person.id);
                assert!(body.contains(&person.birthdate.replace('-', "")), "{}", person.id);
                let odd = body.chars().last().unwrap().to_digit(10).unwrap() % 2 == 1;
                assert_eq!(odd, person.gender == "male", "{}", person.id);
            }
            if let Some(bir) = &person.bir {
                assert_eq!(bir.len(), 10, "{}", person.id);
                assert!(bir.starts_with(['1', '5', '7']), "{}", person.id);
            }
            if let Some(permit) = &person.home_return_permit {
                let digits = permit.strip_prefix(['H', 'M']).unwrap();
                assert!(matches!(digits.len(), 8 | 10), "{}", person.id);
                assert!(digits.chars().all(|c| c.is_ascii_digit()), "{}", person.id);
            }
        }
    }

    #[test]
    fn the_awkward_people_are_there() {
        let people = everybody();
        let sizes = [Place::HongKong, Place::Macao, Place::Guangdong].map(|p| catalogue(p).unwrap().len());
        assert_eq!(sizes, [11, 15, 18]);
        let outside_bmp = |text: &String| text.chars().any(|c| u32::from(c) > 0xFFFF);
        assert!(people.iter().any(|p| p.name_zh.as_ref().is_some_and(outside_bmp)));
        assert!(people.iter().any(|p| p.name_zh.is_none()));
        assert!(people.iter().any(|p| p.hkid.is_some() && !p.name.contains(',')));
        let mut subjects: Vec<_> = people.iter().map(|p| &p.sub).collect();
        subjects.sort();
        subjects.dedup();
        // Two entries are one account, before and after its holder's permit was renewed.
        assert_eq!(subjects.len(), people.len() - 1);
    }

    #[test]
    fn iam_smart_accounts_cover_the_awkward_cases() {
        let people = catalogue(Place::HongKong).unwrap();
        let has = |wanted: &dyn Fn(&Person, &IamSmartAccount) -> bool| {
            people.iter().any(|person| person.iam_smart.as_ref().is_some_and(|account| wanted(person, account)))
        };
        assert!(has(&|_, account| account.user_type == "default"));
        assert!(has(&|_, account| account.user_type == "sign"));
        assert!(has(&|person, account| person.name_zh.is_some() && !account.chinese_name_verified));
        assert!(has(&|person, account| person.name_zh.is_none() && !account.chinese_name_verified));
        assert!(has(&|person, _| person.birthdate.len() == 4));
        assert!(has(&|person, _| person.birthdate.starts_with("2012")), "fourteen years old in 2026");
    }

    #[test]
    fn claims_follow_scopes_and_single_requests() {
        let chan = catalogue(Place::HongKong).unwrap().remove(0);
        assert!(chan.claims(&["openid"], &[]).is_empty());
        assert!(!chan.claims(&["profile"], &[]).contains_key("hkid"));
        let single = chan.claims(&["openid"], &["hkid".to_owned()]);
        assert_eq!(single.keys().collect::<Vec<_>>(), ["hkid"]);
    }

    /// Check character of a unified social credit code (GB 32100-2015).
    fn credit_code_check(first_17: &str) -> char {
        const ALPHABET: &str = "0123456789ABCDEFGHJKLMNPQRTUWXY";
        let (mut sum, mut weight) = (0, 1);
        for c in first_17.chars() {
            sum += ALPHABET.find(c).unwrap() * weight;
            weight = weight * 3 % 31;
        }
        ALPHABET.chars().nth((31 - sum % 31) % 31).unwrap()
    }

    #[test]
    fn guangdong_accounts_agree_with_their_people() {
        assert_eq!(credit_code_check("91350100M000100Y4"), '3');
        assert_eq!(credit_code_check("91440300MA5F00008"), '0');
        let people = catalogue(Place::Guangdong).unwrap();
        for person in &people {
            let account = person.guangdong.as_ref().unwrap();
            let number = Some(account.idcardnumber.clone());
            match account.idcardtype.as_str() {
                "10" | "91" => assert_eq!(person.resident_id, number, "{}", person.id),
                "90" => assert_eq!(person.home_return_permit, number, "{}", person.id),
                "49" => {
                    let (body, check) = account.idcardnumber.split_at(17);
                    assert_eq!(check, credit_code_check(body).to_string(), "{}", person.id);
                }
                other => panic!("{}: {other}", person.id),
            }
            assert!(["L0", "L1", "L2", "L3"].contains(&&*account.level), "{}", person.id);
            assert!(["1", "2", "3", "4"].contains(&&*account.method), "{}", person.id);
            assert_eq!(account.isreal, account.level != "L0", "{}", person.id);
            assert!(account.ways.iter().all(|way| way.level <= account.level), "{}", person.id);
            let parent = |id: &String| people.iter().any(|organisation| organisation.id == *id);
            assert!(account.parent.as_ref().is_none_or(parent), "{}", person.id);
        }
        let renewed: Vec<_> = people.iter().filter(|p| p.sub == "gd.4e8d20b6f93a17c5").collect();
        let numbers: Vec<_> = renewed.iter().filter_map(|p| p.home_return_permit.as_deref()).collect();
        assert_eq!(numbers, ["H1234567800", "H1234567801"]);
    }

    #[test]
    fn macao_accounts_agree_with_their_people() {
        for person in catalogue(Place::Macao).unwrap() {
            let account = person.macao.unwrap();
            assert_eq!(account.kind == "entity", account.entity.is_some(), "{}", person.id);
            let bir = (account.document.kind == "BIR").then_some(account.document.number);
            assert_eq!(bir, person.bir, "{}", person.id);
            assert!(["dsi-face", "counter", "kiosk"].contains(&&*account.proofing), "{}", person.id);
            // Only residents of full age can open an account without coming in person.
            assert!(account.proofing != "dsi-face" || account.holder.starts_with("resident-"), "{}", person.id);
        }
    }
}
