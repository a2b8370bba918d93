//! Verifying one audit chain, record by record: it may be long.

use gateway_core::audit::{Broken, Head};

use super::{AuditReport, Chain};

/// Follows one chain, record by record, and compares its end with the stored head.
pub(super) struct Follower<'a> {
    chain: &'a Chain,
    head: Head,
    broken: Option<Broken>,
}

impl<'a> Follower<'a> {
    pub(super) fn new(chain: &'a Chain) -> Self {
        Self { chain, head: Head::EMPTY, broken: None }
    }

    /// The next record. False when the chain is broken there, and what follows says nothing more.
    pub(super) fn follow(&mut self, record: &[u8]) -> bool {
        match self.head.follow(&self.chain.node, record) {
            Ok(next) => self.head = next,
            Err(error) => self.broken = Some(error),
        }
        self.broken.is_none()
    }

    pub(super) fn report(self, stored: Option<&[u8]>) -> AuditReport {
        let Self { chain, head, broken } = self;
        let end = stored.and_then(|stored| chain.read_head(stored)).unwrap_or(Head::EMPTY);
        let broken = broken.or_else(|| (end != head).then_some(Broken::Missing { at: head.sequence + 1 }));
        AuditReport { node: chain.node.clone(), records: head.sequence, broken }
    }
}
