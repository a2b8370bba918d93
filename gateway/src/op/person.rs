//! From a provider's subject to our person, as one visit looks it up.

use gateway_core::assertion::Assertion;
use gateway_core::ids::PersonId;

use super::Visit;
use crate::links::{LinkError, Links};
use crate::ports::NoEntropy;
use crate::receipts::Receipts;
use crate::store::Write;

/// A person, and whether their provider's subject is stored already.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) person: PersonId,
    /// The write that stores the subject, when it was never seen. It rides in the commit that follows the person's act.
    pub(super) write: Option<Write>,
}

/// Why a person cannot be looked up.
#[derive(Debug, thiserror::Error)]
pub(super) enum PersonError {
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error(transparent)]
    Entropy(#[from] NoEntropy),
}

impl Visit<'_> {
    /// The links between subjects and persons.
    pub(super) fn links(&self) -> Links<'_> {
        Links::new(&self.app.store, &self.app.seals, &self.app.pairwise)
    }

    /// What people agreed to.
    pub(super) fn receipts(&self) -> Receipts<'_> {
        Receipts::new(&self.app.store, &self.app.seals, &self.app.pairwise)
    }

    /// The person behind an assertion. Providers' subjects never meet: two providers, or two spellings, are two people
    /// until they are linked.
    ///
    /// Somebody new is `new`, if this sign-in named them already, so that a form posted twice is about one person.
    pub(super) async fn person(&self, assertion: &Assertion, new: Option<PersonId>) -> Result<Known, PersonError> {
        let links = self.links();
        let account = links.account_of(assertion);
        if let Some(person) = links.person(&account, self.now).await? {
            return Ok(Known { person, write: None });
        }
        let person = match new {
            Some(person) => person,
            None => PersonId::from_random(self.app.entropy.bytes()?),
        };
        let write = Some(links.first_seen(&account, &person)?);
        Ok(Known { person, write })
    }
}
