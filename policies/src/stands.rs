//! Whether what people agreed to still stands: a row, its recipient, a border, or the words of a matter may be another since.

use gateway_core::details::Details;
use gateway_core::ids::{ClientId, ProviderId, ServiceId};
use gateway_core::jurisdiction::Crossing;
use gateway_core::locale::Locale;
use gateway_core::time::Date;

use crate::release_row::Release;
use crate::set::PolicySet;

impl PolicySet {
    /// Whether a claim that was released by `rule` would be today: its row, its recipient and the border stand as they were, and where one
    /// is crossed something still covers it.
    #[must_use]
    pub fn still_releases(
        &self,
        parties: (&ClientId, &ServiceId, &ProviderId),
        claim: &str,
        rule: &str,
        today: Date,
    ) -> bool {
        self.row(parties, claim, today, |row| self.rule_of(parties, row).as_deref() == Some(rule)).is_some()
    }

    /// The rule by which a service releases today what another service's row stands for.
    #[must_use]
    pub fn releases_as(
        &self,
        parties: (&ClientId, &ServiceId, &ProviderId),
        other: &Release,
        today: Date,
    ) -> Option<String> {
        let row = self.row(parties, other.claim.as_str(), today, |row| row.means() == other.means())?;
        self.rule_of(parties, row)
    }

    /// The rule of a row for these parties.
    #[must_use]
    pub fn rule_of(
        &self,
        (client, _, provider): (&ClientId, &ServiceId, &ProviderId),
        row: &Release,
    ) -> Option<String> {
        let (client, provider) = (self.client(client)?, self.provider(provider)?);
        Some(row.rule(&client.operator, Crossing::between(provider.jurisdiction, client.jurisdiction)))
    }

    /// The row for a claim that `is` the one, where it serves this client today and may cross the border that lies between.
    fn row(
        &self,
        (client, service, provider): (&ClientId, &ServiceId, &ProviderId),
        claim: &str,
        today: Date,
        is: impl Fn(&Release) -> bool,
    ) -> Option<&Release> {
        let (service, client, provider) = (self.service(service)?, self.client(client)?, self.provider(provider)?);
        let row = service.release.iter().find(|row| row.claim.as_str() == claim && is(row))?;
        let crosses = Crossing::between(provider.jurisdiction, client.jurisdiction);
        let covered = crosses.is_none_or(|crossing| self.cover(service, client, crossing, row.class, today).is_some());
        (covered && row.serves(client.verification_only, today)).then_some(row)
    }

    /// What of a request's details its service still knows: a field or a word may have been dropped since the request came.
    #[must_use]
    pub fn details_known(&self, service: &ServiceId, said: Option<&Details>) -> Option<Details> {
        let (known, said) = (&self.service(service)?.details, said?);
        let takes =
            |(name, value): &&(String, String)| known.iter().any(|field| field.name == *name && field.takes(value));
        Some(Details { kind: said.kind.clone(), fields: said.fields.iter().filter(takes).cloned().collect() })
    }

    /// What people are shown of details, in every language: when any of it changes, the question is another.
    #[must_use]
    pub fn details_shown(&self, service: &ServiceId, said: &Details) -> Vec<String> {
        let known = self.service(service).map(|service| service.details.as_slice()).unwrap_or_default();
        let shown = |(name, value): &(String, String)| {
            let field = known.iter().find(|field| field.name == *name)?;
            let words =
                Locale::ALL.map(|locale| format!("{}: {}", field.label.get(locale), field.shown(value, locale)));
            Some(words.join("\n"))
        };
        said.fields.iter().filter_map(shown).collect()
    }
}
