//! Pairwise subject identifiers (OpenID Connect Core section 8.1).

use crate::digest::keyed;
use crate::ids::{PersonId, Sector, base64url};
use crate::secret::Secret;

/// The `sub` that one sector sees for one person: a keyed hash, so that two sectors cannot join theirs, and a renewed
/// document or a changed name leaves it as it was.
#[must_use]
pub fn pairwise(key: &Secret<Vec<u8>>, person: &PersonId, sector: &Sector) -> String {
    base64url(&keyed(key.expose(), &[b"pairwise-subject", sector.as_str().as_bytes(), person.as_str().as_bytes()]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sectors_see_different_subjects_and_each_always_the_same() {
        let key = Secret::new(vec![7; 32]);
        let person = PersonId::from_random([1; 24]);
        let (a, b): (Sector, Sector) = ("health".parse().unwrap(), "tax".parse().unwrap());
        assert_eq!(pairwise(&key, &person, &a), pairwise(&key, &person, &a));
        assert_ne!(pairwise(&key, &person, &a), pairwise(&key, &person, &b));
        assert_ne!(pairwise(&key, &person, &a), pairwise(&key, &PersonId::from_random([2; 24]), &a));
        assert_ne!(pairwise(&Secret::new(vec![8; 32]), &person, &a), pairwise(&key, &person, &a));
    }
}
