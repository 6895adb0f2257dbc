//! A disk that loses and tears what was not synced.
//!
//! Each file has a durable image and the writes since the last sync. A crash keeps a random part
//! of those, sector by sector, and makes every old handle dead: otherwise redb's `Drop` would
//! flush after the crash.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

#[expect(
    clippy::disallowed_types,
    reason = "redb calls a backend through &self, from any thread"
)]
use std::sync::Mutex;

use quorate_store::StoreFile;
use quorate_store::disk::SimulatedDisk;
use redb::StorageBackend;

const SECTOR: usize = 512;

/// A generator from one seed; enough for choosing what a crash keeps.
#[derive(Debug, Clone)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }

    pub(crate) fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

#[derive(Debug, Clone)]
enum Pending {
    Length(usize),
    Write(usize, Vec<u8>),
}

#[derive(Debug, Clone, Default)]
struct Image {
    durable: Vec<u8>,
    live: Vec<u8>,
    pending: Vec<Pending>,
}

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<StoreFile, Image>,
    /// Handles of an earlier life fail.
    life: u64,
    /// Calls until the power fails; `None` for never.
    calls_left: Option<u64>,
    /// Every sync fails with EIO.
    syncs_fail: bool,
    syncs: u64,
    torn: u64,
}

/// A disk under test. Clones are the same disk.
#[derive(Debug, Clone, Default)]
#[expect(clippy::disallowed_types, reason = "redb calls a backend through &self, from any thread")]
pub(crate) struct CrashDisk(Arc<Mutex<State>>);

impl CrashDisk {
    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.0.lock().unwrap())
    }

    /// Everything fails after `calls` more backend calls.
    pub(crate) fn fail_after(&self, calls: u64) {
        self.with(|state| state.calls_left = Some(calls));
    }

    /// From now on each sync answers EIO.
    pub(crate) fn fail_syncs(&self) {
        self.with(|state| state.syncs_fail = true);
    }

    /// Loses power: keeps each sector that was not synced with `keep_percent`.
    pub(crate) fn crash(&self, chance: &mut Chance, keep_percent: u64) {
        self.with(|state| {
            for image in state.files.values_mut() {
                let mut after = image.durable.clone();
                for pending in std::mem::take(&mut image.pending) {
                    match pending {
                        Pending::Length(length) if length >= after.len() => after.resize(length, 0),
                        Pending::Length(length) => {
                            if chance.percent(keep_percent) {
                                after.truncate(length);
                            }
                        }
                        Pending::Write(offset, data) => {
                            let end = offset + data.len();
                            if end > after.len() {
                                after.resize(end, 0);
                            }
                            for (number, sector) in data.chunks(SECTOR).enumerate() {
                                if chance.percent(keep_percent) {
                                    let start = offset + number * SECTOR;
                                    after[start..start + sector.len()].copy_from_slice(sector);
                                } else {
                                    state.torn += 1;
                                }
                            }
                        }
                    }
                }
                image.live.clone_from(&after);
                image.durable = after;
            }
            state.life += 1;
            state.calls_left = None;
            state.syncs_fail = false;
        });
    }

    /// Syncs that happened, and sectors that were lost: proof that the test did something.
    pub(crate) fn counts(&self) -> (u64, u64) {
        self.with(|state| (state.syncs, state.torn))
    }
}

impl SimulatedDisk for CrashDisk {
    fn backend(&self, file: StoreFile) -> Box<dyn StorageBackend> {
        let life = self.with(|state| {
            state.files.entry(file).or_default();
            state.life
        });
        Box::new(Handle { disk: self.clone(), file, life })
    }

    fn exists(&self, file: StoreFile) -> bool {
        self.with(|state| state.files.contains_key(&file))
    }
}

#[derive(Debug)]
struct Handle {
    disk: CrashDisk,
    file: StoreFile,
    life: u64,
}

impl Handle {
    fn call<T>(&self, act: impl FnOnce(&mut Image, &mut u64) -> io::Result<T>) -> io::Result<T> {
        self.disk.with(|state| {
            let dead = || io::Error::from_raw_os_error(5);
            if state.life != self.life {
                return Err(dead());
            }
            if let Some(left) = &mut state.calls_left {
                *left = left.checked_sub(1).ok_or_else(dead)?;
            }
            let image = state.files.get_mut(&self.file).ok_or_else(dead)?;
            act(image, &mut state.syncs)
        })
    }
}

fn place(offset: u64) -> usize {
    usize::try_from(offset).unwrap()
}

impl StorageBackend for Handle {
    fn len(&self) -> io::Result<u64> {
        self.call(|image, _| Ok(image.live.len() as u64))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.call(|image, _| {
            let start = place(offset);
            let bytes = image.live.get(start..start + out.len());
            out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.call(|image, _| {
            image.live.resize(place(len), 0);
            image.pending.push(Pending::Length(place(len)));
            Ok(())
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.disk.with(|state| state.syncs_fail) {
            return Err(io::Error::from_raw_os_error(5));
        }
        self.call(|image, syncs| {
            image.durable.clone_from(&image.live);
            image.pending.clear();
            *syncs += 1;
            Ok(())
        })
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.call(|image, _| {
            let start = place(offset);
            let end = start + data.len();
            if end > image.live.len() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            image.live[start..end].copy_from_slice(data);
            image.pending.push(Pending::Write(start, data.to_vec()));
            Ok(())
        })
    }
}
