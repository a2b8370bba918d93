//! From a provider's subject to our person: a random id, linked under a keyed name.

use gateway_core::assertion::Assertion;
use gateway_core::digest::keyed;
use gateway_core::ids::{PersonId, base64url};

use super::Visit;
use crate::ports::NoEntropy;
use crate::seal::SealError;
use crate::store::{Class, Key, StoreError, Write};

/// A person, and whether the link to their provider's subject is stored already.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) person: PersonId,
    key: Key,
    /// The sealed link, when it is not stored yet.
    fresh: Option<Vec<u8>>,
}

impl Known {
    /// The write that stores the link, when it is new. It rides in the commit that follows the person's own act.
    pub(super) fn write(&self) -> Option<Write> {
        self.fresh.clone().map(|sealed| Write::Insert(self.key.clone(), sealed, None))
    }
}

/// Why a person cannot be looked up.
#[derive(Debug, thiserror::Error)]
pub(super) enum PersonError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Entropy(#[from] NoEntropy),
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error("a stored link names no person")]
    Unreadable,
}

impl Visit<'_> {
    /// The person behind an assertion. Providers' subjects never meet: two providers, or two spellings, are two people
    /// until they are linked.
    ///
    /// Somebody new is `new`, if this sign-in named them already, so that a form posted twice is about one person.
    pub(super) async fn person(&self, assertion: &Assertion, new: Option<PersonId>) -> Result<Known, PersonError> {
        let (provider, subject) = (assertion.provider.as_str().as_bytes(), assertion.subject.expose().as_bytes());
        let name = keyed(self.app.pairwise.expose(), &[b"link", provider, subject]);
        let key = Key::new("link", &base64url(&name));
        let stored = self.app.store.get(Class::Durable, &key, self.now).await?;
        // Sealed and bound to its name: whoever can write to the store still cannot make one subject another's person.
        let Some(sealed) = stored else {
            let person = match new {
                Some(person) => person,
                None => PersonId::from_random(self.app.entropy.bytes()?),
            };
            let fresh = Some(self.app.seals.at_rest(key.as_str(), person.as_str().as_bytes())?);
            return Ok(Known { person, key, fresh });
        };
        let opened = self.app.seals.open_at_rest(key.as_str(), &sealed)?;
        let person =
            String::from_utf8(opened).ok().and_then(|text| text.parse().ok()).ok_or(PersonError::Unreadable)?;
        Ok(Known { person, key, fresh: None })
    }
}
