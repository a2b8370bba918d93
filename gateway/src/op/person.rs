//! From a provider's subject to our person: a random id, linked under a keyed name.

use gateway_core::assertion::Assertion;
use gateway_core::digest::keyed;
use gateway_core::ids::{PersonId, base64url};

use super::Visit;
use crate::ports::NoEntropy;
use crate::store::{Class, Key, StoreError, Write};

/// A person, and whether the link to their provider's subject is stored already.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) person: PersonId,
    key: Key,
    stored: bool,
}

impl Known {
    /// The write that stores the link, when it is new. It rides in the commit that follows the person's own act.
    pub(super) fn write(&self) -> Option<Write> {
        let bytes = self.person.as_str().as_bytes().to_vec();
        (!self.stored).then(|| Write::Insert(self.key.clone(), bytes, None))
    }
}

/// Why a person cannot be looked up.
#[derive(Debug, thiserror::Error)]
pub(super) enum PersonError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Entropy(#[from] NoEntropy),
}

impl Visit<'_> {
    /// The person behind an assertion. Providers' subjects never meet: two providers, or two spellings, are two people
    /// until they are linked.
    pub(super) async fn person(&self, assertion: &Assertion) -> Result<Known, PersonError> {
        let (provider, subject) = (assertion.provider.as_str().as_bytes(), assertion.subject.expose().as_bytes());
        let name = keyed(self.app.pairwise.expose(), &[b"link", provider, subject]);
        let key = Key::new("link", &base64url(&name));
        let stored = self.app.store.get(Class::Durable, &key, self.now).await?;
        let person = stored.and_then(|bytes| String::from_utf8(bytes).ok()).and_then(|text| text.parse().ok());
        match person {
            Some(person) => Ok(Known { person, key, stored: true }),
            None => Ok(Known { person: PersonId::from_random(self.app.entropy.bytes()?), key, stored: false }),
        }
    }
}
