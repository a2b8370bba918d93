//! What is being given up, and until which day: old values work until then, and no longer.

use std::collections::BTreeMap;

use gateway_core::assurance::Assurance;
use gateway_core::authorize::OldAcr;
use gateway_core::document::Section;
use gateway_core::profile::Profile;
use gateway_core::time::Date;

/// What the vocabulary says is being given up, with the last day on which it works.
#[derive(Debug, Clone, Default)]
pub struct Retiring {
    /// Names for assurances that portals still ask by.
    pub acr: BTreeMap<String, OldAcr>,
    /// Names of claims.
    pub claims: BTreeMap<String, Date>,
    /// Profiles of clients.
    pub profiles: BTreeMap<Profile, Date>,
}

impl Retiring {
    /// Reads the table `retire` of a document of words.
    pub(crate) fn read(doc: &Section<'_>) -> Self {
        let acr = |(name, row): (String, Section<'_>)| {
            if Assurance::from_acr(&name).is_some() {
                row.refuse(format_args!("{name} is how the gateway itself calls an assurance"));
            }
            let (means, until) = (row.require::<String>("means")?, row.require("until")?);
            let Some(means) = Assurance::from_acr(&means) else {
                row.refuse_field("means", "is not an acr value of the gateway");
                return None;
            };
            Some((name.clone(), OldAcr { name, means, until }))
        };
        let profile = |(name, until): (String, Date)| match name.parse() {
            Ok(profile) => Some((profile, until)),
            Err(error) => {
                doc.refuse_field("profiles", error);
                None
            }
        };
        let words = |name| doc.section(name).map(|words| words.words()).unwrap_or_default();
        let rows = doc.section("acr").map(|rows| rows.entries()).unwrap_or_default();
        Self {
            acr: rows.into_iter().filter_map(acr).collect(),
            claims: words("claims").into_iter().collect(),
            profiles: words("profiles").into_iter().filter_map(profile).collect(),
        }
    }

    /// What a name stands for, while it is good.
    #[must_use]
    pub fn acr(&self, name: &str, today: Date) -> Option<&OldAcr> {
        self.acr.get(name).filter(|old| today <= old.until)
    }

    /// Whether clients of a profile are served.
    #[must_use]
    pub fn serves(&self, profile: Profile, today: Date) -> bool {
        self.profiles.get(&profile).is_none_or(|until| today <= *until)
    }

    /// Adds what another document says.
    pub(crate) fn extend(&mut self, other: Self) {
        self.acr.extend(other.acr);
        self.claims.extend(other.claims);
        self.profiles.extend(other.profiles);
    }
}
