//! A map that forgets by log time, so that what is remembered stays bounded however long the log.

use std::collections::{BTreeMap, BTreeSet};

use borsh::{BorshDeserialize, BorshSerialize};

use crate::log_time::LogTime;

/// Entries that each have a last log time at which they matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Until<K: Ord, V> {
    entries: BTreeMap<K, (LogTime, V)>,
    /// The same keys by time: forgetting does not look at what stays.
    by_time: BTreeSet<(LogTime, K)>,
}

impl<K: Ord, V> Default for Until<K, V> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), by_time: BTreeSet::new() }
    }
}

impl<K: Ord + Clone, V> Until<K, V> {
    /// Remembers `value` through `until`, or longer if it is already remembered longer.
    pub(super) fn insert(&mut self, key: K, until: LogTime, value: V) {
        let until = match self.entries.get(&key) {
            Some((old, _)) => until.max(*old),
            None => until,
        };
        if let Some((old, _)) = self.entries.insert(key.clone(), (until, value)) {
            self.by_time.remove(&(old, key.clone()));
        }
        self.by_time.insert((until, key));
    }

    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key).map(|(_, value)| value)
    }

    pub(super) fn contains(&self, key: &K) -> bool {
        self.entries.contains_key(key)
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        self.entries.values().map(|(_, value)| value)
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Forgets what no longer matters at `now`.
    pub(super) fn forget(&mut self, now: LogTime) {
        while self.by_time.first().is_some_and(|(until, _)| *until < now) {
            if let Some((_, key)) = self.by_time.pop_first() {
                self.entries.remove(&key);
            }
        }
    }
}

impl<K: Ord + BorshSerialize, V: BorshSerialize> BorshSerialize for Until<K, V> {
    fn serialize<W: borsh::io::Write>(&self, writer: &mut W) -> borsh::io::Result<()> {
        self.entries.serialize(writer)
    }
}

impl<K, V> BorshDeserialize for Until<K, V>
where
    K: Ord + Clone + BorshDeserialize,
    V: BorshDeserialize,
{
    fn deserialize_reader<R: borsh::io::Read>(reader: &mut R) -> borsh::io::Result<Self> {
        let entries = BTreeMap::<K, (LogTime, V)>::deserialize_reader(reader)?;
        let by_time = entries.iter().map(|(key, (until, _))| (*until, key.clone())).collect();
        Ok(Self { entries, by_time })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> LogTime {
        LogTime::new(1_790_000_000_000 + seconds * 1_000).unwrap()
    }

    #[test]
    fn an_entry_lives_through_its_last_moment_and_no_longer() {
        let mut until = Until::default();
        until.insert(1_u32, at(10), "ten");
        until.insert(2_u32, at(20), "twenty");
        until.forget(at(10));
        assert_eq!(until.get(&1), Some(&"ten"));
        until.forget(at(11));
        assert!(!until.contains(&1));
        assert!(until.contains(&2));
    }

    #[test]
    fn an_entry_made_anew_never_lives_shorter() {
        let mut until = Until::default();
        until.insert(1_u32, at(20), 1);
        until.insert(1_u32, at(10), 2);
        until.forget(at(15));
        assert_eq!(until.get(&1), Some(&2));
        until.forget(at(21));
        assert_eq!(until.len(), 0);
        assert!(until.by_time.is_empty());
    }

    #[test]
    fn it_reads_back_with_its_order_by_time() {
        let mut until = Until::default();
        until.insert(7_u32, at(10), 1_u32);
        let bytes = borsh::to_vec(&until).unwrap();
        let mut read: Until<u32, u32> = borsh::from_slice(&bytes).unwrap();
        assert_eq!(read, until);
        read.forget(at(11));
        assert_eq!(read.len(), 0);
    }
}
