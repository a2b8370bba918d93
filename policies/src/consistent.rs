//! What a service's document says has to fit the rest of its bundle.

use gateway_core::client::SigningAlg;
use gateway_core::consent::Mode;
use gateway_core::ids::{ClientId, ProviderId, ServiceId};

use crate::service::{Row, Service, TokenFormat};
use crate::set::PolicySet;
use crate::vocabulary::unknown;

impl PolicySet {
    /// What a service names that the bundle does not have.
    pub(crate) fn unknown_names(&self, service: &Service) -> Vec<String> {
        let named = service.rows.iter().flat_map(Row::providers);
        let named = named.chain(service.link.iter().map(|link| &link.provider));
        let providers = named.filter(|id| !self.providers.contains_key(*id));
        let known = || self.providers.keys().map(ProviderId::as_str);
        let mut reasons: Vec<String> =
            providers.map(|id| format!("provider {}", unknown(id.as_str(), known()))).collect();
        let back_ends = service.back_ends.iter().map(|back_end| &back_end.client);
        let named = service.clients.iter().chain(&service.resource_servers).chain(back_ends);
        let clients = named.chain(service.rows.iter().flat_map(Row::clients));
        let known = || self.recipients.keys().map(ClientId::as_str);
        let clients = clients.filter(|id| !self.recipients.contains_key(*id));
        reasons.extend(clients.map(|id| format!("client {}", unknown(id.as_str(), known()))));
        let known = || self.instruments.keys().map(String::as_str);
        let instruments = service.instruments.iter().filter(|id| !self.instruments.contains_key(*id));
        reasons.extend(instruments.map(|id| format!("instrument {}", unknown(id, known()))));
        reasons.dedup();
        reasons.extend(self.joined_sectors(service));
        reasons.extend(self.public_subjects(service));
        reasons.extend(self.weak_tokens(service));
        reasons
    }

    /// FAPI 2.0 Security Profile section 5.4.1: nothing that is signed with RS256.
    fn weak_tokens(&self, service: &Service) -> Option<String> {
        let fapi = |id: &&ClientId| self.recipients.get(*id).is_some_and(|known| known.client.profile.is_fapi());
        let weak = service.access_token == TokenFormat::Jwt(SigningAlg::RS256);
        let back_ends = service.back_ends.iter().map(|back_end| &back_end.client);
        let told = service.clients.iter().chain(&service.resource_servers).chain(back_ends);
        let client = told.into_iter().find(fapi).filter(|_| weak)?;
        Some(format!("access_token_signing_alg: {client} is held to FAPI and takes nothing that is signed with RS256"))
    }

    /// A client whose `sub` others know is let near a service's people only where the service says so.
    fn public_subjects(&self, service: &Service) -> Option<String> {
        let public = |id: &&ClientId| self.recipients.get(*id).is_some_and(|known| known.client.sector.is_public());
        // Whoever asks about its tokens hears their own name of the person.
        let mut told = service.clients.iter().chain(&service.resource_servers);
        let client = told.find(public).filter(|_| !service.public_subjects)?;
        Some(format!("clients: {client} has public subjects, and this service does not say public_subjects = true"))
    }

    /// A token that resource servers read names the person as its client's sector does, so theirs has to be the same one.
    fn joined_sectors(&self, service: &Service) -> Option<String> {
        let sector = |id: &ClientId| self.recipients.get(id).map(|recipient| &recipient.client.sector);
        let readers = service.resource_servers.iter().filter(|_| service.access_token != TokenFormat::Opaque);
        let mut pairs = readers.flat_map(|server| service.clients.iter().map(move |client| (server, client)));
        let own = |id: &ClientId| {
            let terms = self.recipients.get(id).and_then(|recipient| recipient.client.registration.as_ref());
            terms.is_some_and(|terms| terms.own_sectors || terms.federation.is_some())
        };
        let apart = |(server, client): &(&ClientId, &ClientId)| sector(server) != sector(client) || own(client);
        let (server, client) = pairs.find(apart)?;
        Some(format!(
            "access_token: {server} would read a `sub` of {client}'s sector: they share a sector, or tokens are opaque"
        ))
    }

    /// A service that another's tokens may be exchanged from, or that shows who helps, and that is not there or knows nobody.
    pub(crate) fn unknown_source(&self, service: &Service) -> Option<String> {
        let known = |id: &ServiceId| self.service(id).is_some_and(|from| from.consent != Mode::Anonymous);
        let anonymous = service.consent == Mode::Anonymous;
        let wrong = |from: &&ServiceId| anonymous || !known(from) || **from == service.id;
        for (field, listed) in [("exchange_from", &service.exchange_from), ("helpers_from", &service.helpers_from)] {
            if let Some(from) = listed.iter().find(wrong) {
                return Some(format!("{field}: {from} is not another service, or one of the two knows nobody"));
            }
        }
        None
    }
}
