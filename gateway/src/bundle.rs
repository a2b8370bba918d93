//! Bundles: everything an administrator may change, as documents, and as one signed and dated archive of them.
//!
//! A version is a digest of every document, so that equal bundles have equal versions. An archive carries a manifest, a
//! compact JWS that names the version, a sequence number that only grows, and the time from which it may take effect. What
//! is not signed by a configured signer is never looked into.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use certs::claims::{self, ClaimError};
use certs::jws::{JwsError, Unverified};
use certs::key::{Algorithm, KeyError, KeySet, SigningKey};
use gateway_core::digest::sha256;
use gateway_core::document::{Problem, Problems, nearest};
use gateway_core::ids::base64url;
use gateway_core::locale::is_readable;
use gateway_core::time::Timestamp;
use policies::set::Document;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// The sub-folders of a bundle: one kind of document each.
pub const KINDS: [&str; 9] = [
    "authorities",
    "clients",
    "federations",
    "groups",
    "instruments",
    "providers",
    "services",
    "subordinates",
    "vocabulary",
];

/// The documents of a bundle, as they were found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bundle {
    /// Every document: its kind, its name within the bundle, and the document itself.
    documents: Vec<(&'static str, String, Document)>,
}

impl Bundle {
    /// Reads every document of a folder, in name order. A sub-folder that is not there is empty.
    ///
    /// # Errors
    /// Every file that cannot be read.
    pub fn read(folder: &Path) -> Result<Self, Problems> {
        let mut problems = Problems::new();
        let mut bundle = Self::default();
        for kind in KINDS {
            read_folder(kind, &folder.join(kind), &mut bundle.documents, &mut problems);
        }
        problems.extend(strangers(folder));
        if !folder.is_dir() {
            let file = folder.display().to_string();
            problems.push(Problem { file, line: 1, reason: "is not a folder".to_owned() });
        }
        if problems.is_empty() { Ok(bundle) } else { Err(problems) }
    }

    /// What no bundle that takes effect can be without: a folder above or beside the right one looks like an empty policy.
    #[must_use]
    pub fn lacks(&self) -> Problems {
        let missing = ["clients", "providers", "services"].into_iter().filter(|kind| self.of(kind).is_empty());
        let reason = |kind| format!("there is none: is this the folder that has the folder {kind} in it?");
        missing.map(|kind| Problem { file: kind.to_owned(), line: 1, reason: reason(kind) }).collect()
    }

    /// The names of its documents, by kind.
    fn names(&self, kind: &str) -> BTreeSet<&str> {
        self.documents.iter().filter(|(of, ..)| *of == kind).map(|(_, name, _)| name.as_str()).collect()
    }

    /// What is there and was not before, and what was before and is not any more.
    #[must_use]
    pub fn since(&self, before: &Self) -> (Vec<String>, Vec<String>) {
        let only = |of: &Self, than: &Self| -> Vec<String> {
            let named = |kind: &&'static str| {
                of.names(kind).difference(&than.names(kind)).map(|name| format!("{kind}/{name}")).collect::<Vec<_>>()
            };
            KINDS.iter().flat_map(named).collect()
        };
        (only(self, before), only(before, self))
    }

    /// The kinds of which more than a tenth, and more than one, is gone since `before`: whatever their files are called.
    #[must_use]
    pub fn loses_much(&self, before: &Self) -> Vec<String> {
        let lost = |(kind, id): &(&str, &str)| {
            let (had, has) = (before.ids(kind, id), self.ids(kind, id));
            let gone = had.difference(&has).count();
            (gone > 1 && gone * 10 > had.len()).then(|| format!("{gone} of {} {kind}", had.len()))
        };
        [("clients", "client_id"), ("providers", "id"), ("services", "service")].iter().filter_map(lost).collect()
    }

    /// What the documents of one kind are about, by the field that says so.
    fn ids(&self, kind: &str, field: &str) -> BTreeSet<String> {
        let about = |text: &str| Some(text.parse::<toml::Table>().ok()?.get(field)?.as_str()?.to_owned());
        self.documents
            .iter()
            .filter(|(of, ..)| *of == kind)
            .filter_map(|(.., document)| about(&document.text))
            .collect()
    }

    /// The documents of one kind, in name order.
    #[must_use]
    pub fn of(&self, kind: &str) -> Vec<Document> {
        self.documents.iter().filter(|(of, ..)| *of == kind).map(|(.., document)| document.clone()).collect()
    }

    /// The documents of these kinds that the two bundles do not have alike, by kind and name.
    #[must_use]
    pub fn unlike(&self, other: &Self, kinds: &[&str]) -> Vec<String> {
        let of = |bundle: &Self| -> BTreeMap<String, String> {
            let chosen = bundle.documents.iter().filter(|(kind, ..)| kinds.contains(kind));
            chosen.map(|(kind, name, document)| (format!("{kind}/{name}"), document.text.clone())).collect()
        };
        let (ours, theirs) = (of(self), of(other));
        let names: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
        names.into_iter().filter(|name| ours.get(*name) != theirs.get(*name)).cloned().collect()
    }

    /// The bundle's version: the beginning of its digest.
    #[must_use]
    pub fn version(&self) -> String {
        self.digest().chars().take(16).collect()
    }

    /// SHA-256 of every document and its place, base64url: what a signature is about.
    fn digest(&self) -> String {
        let mut all = Vec::new();
        for (kind, name, document) in &self.documents {
            for part in [kind.as_bytes(), name.as_bytes(), document.text.as_bytes()] {
                all.extend(sha256(part));
            }
        }
        base64url(&sha256(&all))
    }
}

/// What is in a bundle's folder and is no document of a known kind: it would be passed over without a word. What begins with a dot
/// is not looked at; in the folder of providers lie the secrets of a development bundle.
fn strangers(folder: &Path) -> Problems {
    let entries = |folder: &Path| {
        let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path());
        let shown = |path: &std::path::PathBuf| !name_of(path).starts_with('.');
        entries.filter(shown).collect::<Vec<_>>()
    };
    let problem = |path: &Path, reason: String| Problem { file: path.display().to_string(), line: 1, reason };
    let mut problems = Problems::new();
    for path in entries(folder).into_iter().filter(|path| !(path.is_dir() && KINDS.contains(&name_of(path).as_str()))) {
        let hint = nearest(&name_of(&path), &KINDS).map(|near| format!("; did you mean {near}?")).unwrap_or_default();
        problems.push(problem(&path, format!("is no folder of documents: one of {}{hint}", KINDS.join(", "))));
    }
    for kind in KINDS {
        let foreign = |path: &std::path::PathBuf| {
            path.is_dir() || kind != "providers" && path.extension().is_none_or(|extension| extension != "toml")
        };
        let foreign = entries(&folder.join(kind)).into_iter().filter(foreign);
        problems.extend(foreign.map(|path| problem(&path, "is no document: their names end in .toml".to_owned())));
    }
    problems.sort();
    problems
}

/// Why a file's name is none of a document.
const NO_NAME: &str = "is no name of a document that people can read";

/// Whether a document can have this name: it is shown wherever bundles are compared.
fn is_name(name: &str) -> bool {
    name.ends_with(".toml") && !name.contains('/') && is_readable(name)
}

fn name_of(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn read_folder(
    kind: &'static str,
    folder: &Path,
    documents: &mut Vec<(&'static str, String, Document)>,
    problems: &mut Problems,
) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut paths: Vec<_> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    paths.sort();
    for path in paths {
        let file = path.display().to_string();
        let name = name_of(&path);
        match fs::read_to_string(&path) {
            Ok(_) if !is_name(&name) => {
                problems.push(Problem { file: format!("{file:?}"), line: 1, reason: NO_NAME.to_owned() });
            }
            Ok(text) => documents.push((kind, name, Document { file, text })),
            Err(error) => problems.push(Problem { file, line: 1, reason: error.to_string() }),
        }
    }
}

/// What a signer says of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The version of the documents that it signs.
    pub version: String,
    /// Greater than that of every bundle before it.
    pub sequence: u64,
    /// Who signed.
    pub signer: String,
    /// When.
    pub signed_at: Timestamp,
    /// From when it may take effect.
    pub effective_from: Timestamp,
    /// Until when it may be put into effect.
    pub valid_until: Option<Timestamp>,
    /// The version that it was made from: what was in effect, or waited for its time, when its author began. Empty for the first.
    pub based_on: Option<String>,
    /// The key that signed it, by its `kid`.
    pub key: String,
}

/// Why an archive is not taken.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It is no archive.
    #[error("not a bundle archive: {0}")]
    Format(#[from] serde_json::Error),
    /// Its signature.
    #[error("the bundle is not signed by a signer of this gateway: {0}")]
    Signature(#[from] JwsError),
    /// Its manifest.
    #[error("the bundle's manifest: {0}")]
    Manifest(#[from] ClaimError),
    /// A document is not what was signed.
    #[error("the documents are not those that were signed")]
    Documents,
    /// A document has a name that people cannot read, or that another has.
    #[error("{0:?}: two documents have this name, or it {NO_NAME}")]
    Name(String),
    /// The key cannot sign.
    #[error(transparent)]
    Key(#[from] KeyError),
}

#[derive(Serialize, Deserialize)]
struct Archive {
    manifest: String,
    documents: Vec<Archived>,
}

#[derive(Serialize, Deserialize)]
struct Archived {
    kind: String,
    name: String,
    text: String,
}

/// The `typ` of a manifest: it is a token of no other kind.
const TYP: &str = "cbid-bundle+jwt";

/// Signs a bundle: the bytes of its archive.
///
/// # Errors
/// [`ArchiveError::Key`].
pub fn sign(bundle: &Bundle, manifest: &Manifest, key: &SigningKey) -> Result<Vec<u8>, ArchiveError> {
    let mut claims = serde_json::Map::new();
    let mut set = |name: &str, value: serde_json::Value| claims.insert(name.to_owned(), value);
    set("digest", json!(bundle.digest()));
    set("sequence", json!(manifest.sequence));
    set("sub", json!(manifest.signer));
    set("iat", json!(manifest.signed_at.0));
    set("nbf", json!(manifest.effective_from.0));
    if let Some(until) = manifest.valid_until {
        set("exp", json!(until.0));
    }
    if let Some(base) = &manifest.based_on {
        set("based_on", json!(base));
    }
    let documents = bundle.documents.iter().map(|(kind, name, document)| Archived {
        kind: (*kind).to_owned(),
        name: name.clone(),
        text: document.text.clone(),
    });
    let archive = Archive { manifest: certs::jws::sign(key, TYP, &claims)?, documents: documents.collect() };
    Ok(serde_json::to_vec(&archive)?)
}

/// Opens an archive that one of `signers` signed.
///
/// # Errors
/// [`ArchiveError`] for the first thing that is wrong.
pub fn open(bytes: &[u8], signers: &KeySet) -> Result<(Manifest, Bundle), ArchiveError> {
    let archive: Archive = serde_json::from_slice(bytes)?;
    let manifest = Unverified::parse(&archive.manifest)?;
    if manifest.typ() != Some(TYP) {
        return Err(ArchiveError::Signature(JwsError::Header));
    }
    let key = manifest.kid().unwrap_or_default().to_owned();
    let claims = manifest.verify(signers, &Algorithm::ALL)?;
    let manifest = manifest_of(&claims, key)?;
    let bundle = documents(archive.documents)?;
    if bundle.digest() == claims::text(&claims, "digest")? {
        Ok((manifest, bundle))
    } else {
        Err(ArchiveError::Documents)
    }
}

/// Opens an archive whose version somebody else vouches for, whoever signed it.
///
/// # Errors
/// [`ArchiveError::Documents`] when the documents are not those of this version.
pub fn open_version(bytes: &[u8], version: &str) -> Result<Bundle, ArchiveError> {
    let archive: Archive = serde_json::from_slice(bytes)?;
    let bundle = documents(archive.documents)?;
    if bundle.version() == version { Ok(bundle) } else { Err(ArchiveError::Documents) }
}

fn manifest_of(claims: &serde_json::Map<String, serde_json::Value>, key: String) -> Result<Manifest, ArchiveError> {
    let digest = claims::text(claims, "digest")?;
    let number = |name| claims::time(claims, name).and_then(|number| number.ok_or(ClaimError::Missing(name)));
    Ok(Manifest {
        version: digest.chars().take(16).collect(),
        sequence: number("sequence")?,
        signer: claims::text(claims, "sub")?.to_owned(),
        signed_at: Timestamp(number("iat")?),
        effective_from: Timestamp(number("nbf")?),
        valid_until: claims::time(claims, "exp")?.map(Timestamp),
        based_on: claims.get("based_on").and_then(serde_json::Value::as_str).map(str::to_owned),
        key,
    })
}

fn documents(archived: Vec<Archived>) -> Result<Bundle, ArchiveError> {
    let mut bundle = Bundle::default();
    let mut named = BTreeSet::new();
    for archived in archived {
        let kind = KINDS.into_iter().find(|kind| *kind == archived.kind).ok_or(ArchiveError::Documents)?;
        // Two bundles are compared by the names of their documents: a second document of the same name would not be seen.
        if !is_name(&archived.name) || !named.insert((kind, archived.name.clone())) {
            return Err(ArchiveError::Name(format!("{kind}/{}", archived.name)));
        }
        let document = Document { file: format!("{kind}/{}", archived.name), text: archived.text };
        bundle.documents.push((kind, archived.name, document));
    }
    Ok(bundle)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rig() -> (SigningKey, KeySet, Bundle, Manifest) {
        let key = SigningKey::generate(Algorithm::ES256).unwrap();
        let signers = KeySet::parse(json!({"keys": [key.public_jwk()]}).to_string().as_bytes()).unwrap();
        let document = Document { file: "services/a.toml".into(), text: "service = \"a\"\n".into() };
        let bundle = Bundle { documents: vec![("services", "a.toml".into(), document)] };
        let manifest = Manifest {
            version: bundle.version(),
            sequence: 7,
            signer: "officer".into(),
            signed_at: Timestamp(1),
            effective_from: Timestamp(2),
            valid_until: Some(Timestamp(3)),
            based_on: Some("v0".into()),
            key: key.kid().to_owned(),
        };
        (key, signers, bundle, manifest)
    }

    #[test]
    fn a_signed_bundle_comes_back_as_it_was() {
        let (key, signers, bundle, manifest) = rig();
        let (opened, documents) = open(&sign(&bundle, &manifest, &key).unwrap(), &signers).unwrap();
        assert_eq!((opened, documents), (manifest, bundle));
    }

    fn bundle(documents: &[(&'static str, &str, &str)]) -> Bundle {
        let read = |(kind, name, text): &(&'static str, &str, &str)| {
            let document = Document { file: format!("{kind}/{name}"), text: (*text).to_owned() };
            (*kind, (*name).to_owned(), document)
        };
        Bundle { documents: documents.iter().map(read).collect() }
    }

    /// Of two documents of one name a review showed one.
    #[test]
    fn every_document_has_a_name_of_its_own_that_people_can_read() {
        let (key, signers, _, manifest) = rig();
        let authority = ("authorities", "a.toml", "id = \"a\"");
        for documents in [
            &[authority, ("authorities", "a.toml", "id = \"b\"")][..],
            &[("authorities", "a\u{1b}[2K.toml", "id = \"a\"")],
            &[("authorities", "a\u{202e}lmot.toml", "id = \"a\"")],
            &[("authorities", "../a.toml", "id = \"a\"")],
            &[("authorities", "a", "id = \"a\"")],
        ] {
            let signed = sign(&bundle(documents), &manifest, &key).unwrap();
            assert!(matches!(open(&signed, &signers), Err(ArchiveError::Name(_))), "{documents:?}");
        }
        let sound = bundle(&[authority, ("clients", "a.toml", "x"), ("clients", "\u{529e}\u{4e8b}.toml", "y")]);
        assert!(open(&sign(&sound, &manifest, &key).unwrap(), &signers).is_ok());
    }

    /// Under the same names of files, all clients could be others.
    #[test]
    fn what_is_lost_is_told_by_what_documents_are_about() {
        let of = |ids: [&str; 3]| {
            let texts = ids.map(|id| format!("client_id = \"{id}\""));
            bundle(&[
                ("clients", "1.toml", &texts[0]),
                ("clients", "2.toml", &texts[1]),
                ("clients", "3.toml", &texts[2]),
            ])
        };
        let before = of(["a", "b", "c"]);
        assert_eq!(of(["d", "e", "f"]).loses_much(&before), ["3 of 3 clients"]);
        assert!(
            of(["a", "b", "f"]).loses_much(&before).is_empty() && of(["c", "a", "b"]).loses_much(&before).is_empty()
        );
    }

    #[test]
    fn nothing_unsigned_or_changed_is_taken() {
        let (key, signers, bundle, manifest) = rig();
        let (other, ..) = rig();
        assert!(matches!(open(&sign(&bundle, &manifest, &other).unwrap(), &signers), Err(ArchiveError::Signature(_))));
        let text = String::from_utf8(sign(&bundle, &manifest, &key).unwrap()).unwrap();
        for changed in [
            text.replace("service = \\\"a\\\"", "service = \\\"b\\\""),
            text.replace("a.toml", "b.toml"),
            text.replace("\"services\"", "\"groups\""),
            text.replace("\"services\"", "\"elsewhere\""),
        ] {
            assert_ne!(changed, text);
            assert!(matches!(open(changed.as_bytes(), &signers), Err(ArchiveError::Documents)), "{changed}");
        }
        for bad in ["", "{}", "{\"manifest\":\"\",\"documents\":[]}", "{\"manifest\":\"a.b.c\",\"documents\":[]}"] {
            assert!(open(bad.as_bytes(), &signers).is_err(), "{bad}");
        }
        // A token of another kind, signed by the same key, is no manifest.
        let claims = json!({"iss": "x", "exp": 9}).as_object().unwrap().clone();
        let token = certs::jws::sign(&key, "JWT", &claims).unwrap();
        assert!(open(json!({"manifest": token, "documents": []}).to_string().as_bytes(), &signers).is_err());
    }

    #[test]
    fn a_version_is_told_by_every_document_and_its_place() {
        let (.., bundle, _) = rig();
        let mut moved = bundle.clone();
        moved.documents[0].0 = "groups";
        let mut renamed = bundle.clone();
        renamed.documents[0].1 = "b.toml".into();
        let mut rewritten = bundle.clone();
        rewritten.documents[0].2.text.push('\n');
        let versions = [&bundle, &moved, &renamed, &rewritten].map(Bundle::version);
        assert!((1..4).all(|at| versions[at] != versions[0]));
    }
}
