//! The decision log of one coordinator: read whole, verified, compared.

use std::collections::BTreeMap;

use quorate_attest::certificate::Trusted;
use quorate_attest::charter::Charter;
use quorate_attest::export::{
    ExportRefused, ExportVerifier, HEADER, Root, VerifiedExport, export_leaf,
};
use quorate_attest::head::CosignedHead;
use quorate_attest::leaf::{Decision, Leaf, Outcome};
use quorate_attest::merkle::{Frontier, Hash, leaf_hash};
use quorate_attest::number::LeafIndex;
use quorate_proto::pb::v1::{Consistency, GetCheckpointRequest, ListLeavesRequest, View};

use crate::client::{Party, now};

/// Leaves and newest certified head, as one coordinator holds them.
#[derive(Debug, Clone)]
pub struct WholeLog {
    /// The exact bytes of each leaf.
    pub leaves: Vec<Vec<u8>>,
    /// The head, exact bytes.
    pub head: Vec<u8>,
}

impl WholeLog {
    /// Reads everything below the newest certified head of whom `party` asks, stale or not.
    ///
    /// # Panics
    /// It does not answer.
    pub async fn read(party: &Party) -> Self {
        let consistency = Consistency::Stale.into();
        let asked = GetCheckpointRequest { size: 0, consistency };
        let head = party.client.get_checkpoint(asked).await.expect("a head").head;
        let head = head.expect("a certified head");
        let mut request = ListLeavesRequest {
            page_size: 64,
            consistency,
            view: View::Full.into(),
            ..ListLeavesRequest::default()
        };
        let mut leaves = Vec::new();
        loop {
            let page = party.client.list_leaves(request.clone()).await.expect("leaves");
            leaves.extend(page.leaves.into_iter().map(|leaf| leaf.content));
            if page.next_page_token.is_empty() {
                break;
            }
            request.page_token = page.next_page_token;
        }
        leaves.truncate(usize::try_from(head.size).expect("a small log"));
        Self { leaves, head: head.note }
    }

    /// The file that `quorate log export` writes.
    ///
    /// # Panics
    /// The log has too many leaves for this machine.
    #[must_use]
    pub fn export(&self) -> Vec<u8> {
        let mut file = format!("{HEADER}\n").into_bytes();
        for (index, leaf) in self.leaves.iter().enumerate() {
            let index = LeafIndex::new(index as u64).expect("a small log");
            file.extend_from_slice(export_leaf(index, leaf).as_bytes());
        }
        file.extend_from_slice(&self.head);
        file
    }

    /// Verifies it against a pinned charter, every signature included.
    ///
    /// # Panics
    /// It does not verify.
    #[must_use]
    pub fn verify(&self, charter: &Charter) -> VerifiedExport {
        verify_export(&self.export(), Root::Pinned(charter.id()))
            .unwrap_or_else(|refused| panic!("the log does not verify: {refused}"))
    }

    /// Its leaves, parsed.
    ///
    /// # Panics
    /// One of them is none.
    #[must_use]
    pub fn parsed(&self) -> Vec<Leaf> {
        self.leaves.iter().map(|bytes| Leaf::parse(bytes).expect("a leaf")).collect()
    }

    /// The decisions in order, each with the index of its leaf.
    #[must_use]
    pub fn decisions(&self) -> Vec<(u64, Decision)> {
        let leaves = self.parsed().into_iter().zip(0..);
        leaves
            .filter_map(|(leaf, index)| {
                let Leaf::Decision(decision) = leaf else { return None };
                Some((index, decision))
            })
            .collect()
    }

    /// The outcomes in order.
    #[must_use]
    pub fn outcomes(&self) -> Vec<Outcome> {
        let leaves = self.parsed().into_iter();
        leaves
            .filter_map(|leaf| {
                let Leaf::Outcome(outcome) = leaf else { return None };
                Some(outcome)
            })
            .collect()
    }

    /// The root at every size from 0 on.
    #[must_use]
    pub fn roots(&self) -> Vec<Hash> {
        let mut frontier = Frontier::new();
        let mut roots = vec![frontier.root()];
        for leaf in &self.leaves {
            frontier.append(leaf_hash(leaf));
            roots.push(frontier.root());
        }
        roots
    }

    /// Whom this log makes a certificate's judge.
    #[must_use]
    pub fn trusted(charter: &Charter) -> Trusted {
        Trusted::pin(charter.clone())
    }
}

/// Verifies the bytes of an export in this process.
///
/// # Errors
/// The first thing that is wrong.
pub fn verify_export(bytes: &[u8], root: Root) -> Result<VerifiedExport, ExportRefused> {
    let mut verifier = ExportVerifier::new(root);
    verifier.push(bytes, |_, _| {})?;
    verifier.finish(now().to_cosign_time())
}

/// Every head that anybody has shown, kept to be compared (*log-append-only*).
#[derive(Debug, Default)]
pub struct Heads {
    by_size: BTreeMap<u64, Hash>,
    seen: usize,
}

impl Heads {
    /// Keeps a head.
    ///
    /// # Panics
    /// A head of the same size with another root was kept before.
    pub fn keep(&mut self, note: &[u8]) {
        let head = CosignedHead::parse(note).expect("a head");
        let (size, root) = (head.checkpoint.size.get(), head.checkpoint.root);
        let before = self.by_size.insert(size, root);
        assert!(before.is_none_or(|before| before == root), "two roots at size {size}");
        self.seen += 1;
    }

    /// All kept heads lie on one log: so every two of them are consistent.
    ///
    /// # Panics
    /// One does not.
    pub fn all_on(&self, log: &WholeLog) {
        let roots = log.roots();
        for (size, root) in &self.by_size {
            let at = usize::try_from(*size).ok().and_then(|size| roots.get(size));
            assert_eq!(at, Some(root), "the head of size {size} is no prefix of the log");
        }
    }

    /// How many were shown, and how many sizes they had.
    #[must_use]
    pub fn count(&self) -> (usize, usize) {
        (self.seen, self.by_size.len())
    }
}
