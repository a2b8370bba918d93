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
    /// Why this person is in the catalogue, for the demonstration page.
    pub note: String,
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
        assert_eq!(sizes, [8, 6, 8]);
        let outside_bmp = |text: &String| text.chars().any(|c| u32::from(c) > 0xFFFF);
        assert!(people.iter().any(|p| p.name_zh.as_ref().is_some_and(outside_bmp)));
        assert!(people.iter().any(|p| p.name_zh.is_none()));
        assert!(people.iter().any(|p| p.hkid.is_some() && !p.name.contains(',')));
        let mut subjects: Vec<_> = people.iter().map(|p| &p.sub).collect();
        subjects.sort();
        subjects.dedup();
        assert_eq!(subjects.len(), people.len());
    }

    #[test]
    fn claims_follow_scopes_and_single_requests() {
        let chan = catalogue(Place::HongKong).unwrap().remove(0);
        assert!(chan.claims(&["openid"], &[]).is_empty());
        assert!(!chan.claims(&["profile"], &[]).contains_key("hkid"));
        let single = chan.claims(&["openid"], &["hkid".to_owned()]);
        assert_eq!(single.keys().collect::<Vec<_>>(), ["hkid"]);
    }
}
