//! The replica: its disk measured, its files opened, and Raft built over them but not running.

use std::io;

use quorate_attest::key::CosignSigner;
use quorate_proto::key_file;
use quorate_store::{
    Disk, FaultCell, OpenOptions, Quota, SignOnce, SnapshotReceiver, Store, StoreGuard, WriterMode,
};

use super::{Files, StartError, io_error};
use crate::{
    clock::Clock,
    config::Config,
    handle::{self, Handle},
    leader::ClockRefusals,
    raft::{
        self, Raft,
        envelope::Desk,
        network::Network,
        peers::Peers,
        rollback::{self, OwnRecord},
    },
    serve,
};

/// Fsyncs measured at start.
const FSYNC_ROUNDS: usize = 40;

/// What Raft and the services stand on.
pub(super) struct Replica {
    pub(super) handle: Handle,
    /// What this disk says of itself, to compare with what peers remember.
    pub(super) own: OwnRecord,
    pub(super) is_pristine: bool,
    pub(super) sign_once: SignOnce,
    pub(super) snapshots: SnapshotReceiver,
    pub(super) quota: Quota,
    pub(super) fault: FaultCell,
    pub(super) guard: StoreGuard,
    pub(super) clock_refusals: ClockRefusals,
}

impl Replica {
    /// Opens the files, never creates them, and builds Raft.
    pub(super) async fn build(
        config: &Config,
        clock: Clock,
        files: &Files,
    ) -> Result<Self, StartError> {
        measure(config).await?;
        let mut store = open(config, files)?;
        let own = rollback::own_record(&mut store.log, &store.sign_once).await;
        let own = own.map_err(|error| StartError::Raft(error.to_string()))?;
        let desk = Desk::new(files.charter.statement.origin.clone(), config.id);
        let peers = Peers::new(desk, &config.peers, files.tls.client_config()?);
        let clock_refusals = ClockRefusals::default();
        let network =
            Network::new(peers.clone(), config.raft.election_max() * 2, clock_refusals.clone());
        let raft_config = raft::config(files.identity.network().as_str(), &config.raft)
            .map_err(|error| StartError::Raft(error.to_string()))?;
        let raft = Raft::build(config.id, raft_config, network, store.log, store.state_machine)
            .await
            .map_err(|error| StartError::Raft(error.to_string()))?;
        let handle = Handle::new(handle::Parts {
            raft,
            machine: store.machine,
            leaves: store.leaves,
            peers,
            clock,
            fault: store.fault.watch(),
            network: files.identity.network().clone(),
            clients: config.clients.clone(),
            queue_max: usize::try_from(config.limits.queued_writes).unwrap_or(usize::MAX),
        });
        Ok(Self {
            handle,
            own,
            is_pristine: store.is_pristine,
            sign_once: store.sign_once,
            snapshots: store.snapshots,
            quota: store.quota,
            fault: store.fault,
            guard: store.guard,
            clock_refusals,
        })
    }
}

/// A disk that is slower than elections is refused at once: it would only fail later, under load.
async fn measure(config: &Config) -> Result<(), StartError> {
    let directory = config.data_dir.clone();
    let measured = {
        let directory = directory.clone();
        tokio::task::spawn_blocking(move || quorate_store::fsync::measure(&directory, FSYNC_ROUNDS))
    };
    let times = measured
        .await
        .map_err(io::Error::other)
        .and_then(|times| times)
        .map_err(|source| io_error(format!("{}", directory.display()), source))?;
    // The slowest of a few may be a hiccup of a busy machine: that is a warning, the half is not.
    let (median, slow) = (times.percentile(50) * 3, times.percentile(99) * 3);
    let have_ms = config.raft.election_min_ms;
    if median.as_millis() > u128::from(have_ms) {
        return Err(StartError::SlowDisk {
            path: directory,
            fsync_ms: times.percentile(50).as_millis(),
            have_ms,
            want_ms: median.as_millis(),
        });
    }
    if slow.as_millis() > u128::from(have_ms) {
        tracing::warn!(
            fsync_p99_ms = %times.percentile(99).as_millis(),
            election_min_ms = have_ms,
            "the slowest fsyncs come near the election timeout: elections may fail under load"
        );
    }
    Ok(())
}

fn open(config: &Config, files: &Files) -> Result<Store, StartError> {
    let key = key_file::load(&config.cosign_key)?;
    let options = OpenOptions {
        origin: files.charter.statement.origin.clone(),
        node_id: config.id,
        signer: CosignSigner::new(files.identity.key_name(), key),
        quota_bytes: Some(config.store.quota_bytes),
        mode: WriterMode::Thread,
        observer: Some(serve::commit_observer()),
    };
    Ok(Store::open(&Disk::Directory(config.data_dir.clone()), options)?)
}
