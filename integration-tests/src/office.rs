//! An officer: edits documents, signs bundles, and orders a running gateway to put them into effect.

use std::path::{Path, PathBuf};

use gateway::bundle::{Bundle, Manifest};
use gateway::control::{self, Order};
use gateway_core::time::Timestamp;
use serde_json::Value;

use crate::World;

/// What comes of an order.
pub type Answer = Result<Value, Vec<String>>;

impl World {
    /// A file of the bundle's folder.
    #[must_use]
    pub fn document(&self, path: &str) -> PathBuf {
        self.data.join("bundle").join(path)
    }

    /// Changes a document in the folder; nothing is in effect yet.
    pub fn edit(&self, path: &str, change: impl FnOnce(String) -> String) {
        let file = self.document(path);
        let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{path}: {error}"));
        let changed = change(text.clone());
        assert_ne!(changed, text, "{path} was changed");
        std::fs::write(&file, changed).expect("a document");
    }

    /// Signs what is in the folder, by this key, with this sequence.
    #[must_use]
    pub fn signed_by(&self, key: &Path, sequence: u64, change: impl FnOnce(&mut Manifest)) -> String {
        let bundle = Bundle::read(&self.data.join("bundle")).expect("a bundle");
        let now = self.now();
        let mut manifest = Manifest {
            version: bundle.version(),
            sequence,
            signer: "officer".to_owned(),
            signed_at: now,
            effective_from: Timestamp(0),
            valid_until: None,
            based_on: Some(self.version()),
            key: String::new(),
        };
        change(&mut manifest);
        let key = certs::signer::load(key).expect("a key");
        String::from_utf8(gateway::bundle::sign(&bundle, &manifest, &key).expect("an archive")).expect("text")
    }

    /// The key that this world's gateway knows.
    #[must_use]
    pub fn signer(&self) -> PathBuf {
        self.data.join("secrets/bundle-signer.key")
    }

    /// Orders something of the gateway that runs.
    pub async fn order(&self, order: &Order) -> Answer {
        control::order(&self.data.join("control.sock"), order).await.expect("a gateway that takes orders")
    }

    /// Signs what is in the folder and puts it into effect.
    pub async fn activate(&self) -> Answer {
        let status = self.order(&Order::Status).await.expect("a status");
        let changes = status["changes"].as_u64().expect("a number");
        let base =
            ["/waiting/version", "/live/version"].iter().find_map(|at| status.pointer(at)?.as_str().map(str::to_owned));
        let archive =
            self.signed_by(&self.signer(), u64::from(u32::MAX) + changes, |manifest| manifest.based_on = base);
        self.order(&Order::Activate { archive, by: "officer".to_owned(), may_lose: false }).await
    }

    /// The version that the gateway decides by.
    #[must_use]
    pub fn version(&self) -> String {
        self.demo.gateway.app().bundle().catalog.policies().version().to_owned()
    }
}
