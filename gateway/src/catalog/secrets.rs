//! The secret files that the providers' documents name.

use std::fs;
use std::path::Path;

use adapters::registry::{Secrets, Settings};
use gateway_core::document::Problems;
use gateway_core::secret::Secret;
use policies::set::Document;

/// Whether a document may name a file like this: it is in the folder of secrets, and nowhere else. Whoever signs a bundle names
/// secrets and does not learn any.
pub(super) fn is_plain(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    !name.is_empty() && name.len() <= 128 && !name.starts_with('.') && name.bytes().all(plain)
}

/// The secret files that a provider's document names.
pub(super) fn read(document: &Document, folder: &Path, settings: &Settings, problems: &mut Problems) -> Secrets {
    let mut secrets = Secrets::new();
    for name in settings.secret_files().into_iter().filter(|name| is_plain(name)) {
        let path = folder.join(name);
        let reason = match fs::read_to_string(&path) {
            Ok(text) if !text.trim().is_empty() => {
                secrets.insert(name.to_owned(), Secret::new(text.trim().to_owned()));
                continue;
            }
            Ok(_) => format!("{} is empty", path.display()),
            Err(error) => format!("{}: {error}", path.display()),
        };
        problems.push(document.problem(&reason));
    }
    secrets
}
