//! Commands with more to them than a few lines.

pub(crate) mod policy;

use std::path::Path;

use gateway::app::Source;
use gateway::config::Config;
use gateway::control::{self, Office, Order};
use gateway::ports::{Clock as _, SystemClock};
use gateway::seal::Seals;
use gateway::store::Store;
use serde_json::Value;

use crate::{Failed, problems};

/// Gives an order to the gateway that runs, or carries it out on its store when none does.
pub(crate) async fn order(path: &Path, order: Order) -> Result<Value, Failed> {
    let config = Config::load(path).map_err(|found| problems(&found))?;
    if let Some(socket) = &config.control
        && let Some(answer) = control::order(socket, &order).await
    {
        return answer.map_err(Failed);
    }
    let seals = Seals::new(certs::vault::Vault::load(&config.master_key)?);
    let store = Store::open(&config.store, seals.key("audit")?).await?;
    let source = Source::open(&config.bundle)?;
    let office = Office { store: &store, seals: &seals, source: &source, usage: None, now: SystemClock.now() };
    control::carry_out(order, &office).await.map_err(Failed)
}
