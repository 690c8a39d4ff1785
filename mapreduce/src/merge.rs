//! Merging runs: all values of one key together, in the order of the tasks that emitted them and not in the order in
//! which these ended, so that sums of floating-point numbers come out the same every time.

use crate::job::ValueSource;
use crate::run::RunCursor;
use mr_core::Failure;
use std::cmp::Ordering;

/// Sorted runs on their way to become one, with no more in memory than a block of each.
///
/// A tree of losers (Knuth, TAOCP 3, 5.4.1): the next pair costs one comparison for each of its levels.
pub struct Merge<'a> {
    cursors: Vec<RunCursor<'a>>,
    heads: Vec<Head>,
    /// Who lost at each inner node; the first is the winner of all.
    tree: Vec<usize>,
    partition: u32,
    key: Vec<u8>,
    winner: Winner,
}

/// Where a run stands, as far as it fits into two numbers that compare.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Head {
    partition: u64,
    prefix: u64,
}

const ENDED: Head = Head { partition: u64::MAX, prefix: 0 };

/// What became of the pair that the winner stands on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Winner {
    /// It is of the key at hand, and its value was not given yet.
    Fresh,
    /// Its value was given.
    Given,
    /// It is of another key.
    Elsewhere,
}

impl<'a> Merge<'a> {
    /// # Errors
    /// When a run's first pair can't be read.
    pub fn new(cursors: Vec<RunCursor<'a>>) -> Result<Self, Failure> {
        let runs = cursors.len();
        let mut merge = Self {
            cursors,
            heads: vec![ENDED; runs],
            tree: vec![usize::MAX; runs.max(1)],
            partition: 0,
            key: Vec::new(),
            winner: Winner::Elsewhere,
        };
        for run in 0..runs {
            merge.advance(run)?;
            merge.enter(run);
        }
        Ok(merge)
    }

    /// Calls `each` with every partition's keys in ascending order, with the values of each, run by run.
    ///
    /// # Errors
    /// The first of `each`, or of reading.
    pub fn each(
        mut self,
        mut each: impl FnMut(u32, &[u8], &mut GroupValues<'_, 'a>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        while self.next_key()? {
            let key = std::mem::take(&mut self.key);
            each(self.partition, &key, &mut GroupValues { merge: &mut self, key: &key })?;
            // Values that nobody asked for.
            while (GroupValues { merge: &mut self, key: &key }).next()?.is_some() {}
            self.key = key;
        }
        Ok(())
    }

    fn next_key(&mut self) -> Result<bool, Failure> {
        let Some(head) = self.heads.get(self.tree[0]).filter(|head| **head != ENDED) else { return Ok(false) };
        self.partition = head.partition as u32;
        self.key.clear();
        self.key.extend_from_slice(self.cursors[self.tree[0]].key());
        self.winner = Winner::Fresh;
        Ok(true)
    }

    /// Goes to a run's next pair.
    fn advance(&mut self, run: usize) -> Result<(), Failure> {
        let cursor = &mut self.cursors[run];
        self.heads[run] = match cursor.advance()? {
            true => Head { partition: cursor.partition().into(), prefix: cursor.prefix() },
            false => ENDED,
        };
        Ok(())
    }

    /// Brings a run into the tree: it waits at the first node on its way up where no other has come by.
    fn enter(&mut self, run: usize) {
        let mut contender = run;
        let mut node = (run + self.cursors.len()) / 2;
        while node > 0 {
            let waiting = self.tree[node];
            if waiting == usize::MAX {
                self.tree[node] = contender;
                return;
            }
            if self.comes_first(waiting, contender) {
                (self.tree[node], contender) = (contender, waiting);
            }
            node /= 2;
        }
        self.tree[0] = contender;
    }

    /// Finds the winner anew after the last one has moved on.
    fn replay(&mut self) {
        let mut contender = self.tree[0];
        let mut node = (contender + self.cursors.len()) / 2;
        while node > 0 {
            if self.comes_first(self.tree[node], contender) {
                std::mem::swap(&mut self.tree[node], &mut contender);
            }
            node /= 2;
        }
        self.tree[0] = contender;
    }

    fn comes_first(&self, a: usize, b: usize) -> bool {
        let order = self.heads[a].cmp(&self.heads[b]);
        let order = order.then_with(|| self.cursors[a].key().cmp(self.cursors[b].key()));
        order.then(a.cmp(&b)) == Ordering::Less
    }
}

/// The values of the key at hand.
pub struct GroupValues<'m, 'a> {
    merge: &'m mut Merge<'a>,
    key: &'m [u8],
}

impl GroupValues<'_, '_> {
    /// Whether there is another value.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn more(&mut self) -> Result<bool, Failure> {
        let merge = &mut *self.merge;
        if merge.winner == Winner::Given {
            merge.advance(merge.tree[0])?;
            merge.replay();
            let now = merge.tree[0];
            let same = merge.heads[now].partition == u64::from(merge.partition) && merge.cursors[now].key() == self.key;
            merge.winner = if same { Winner::Fresh } else { Winner::Elsewhere };
        }
        Ok(merge.winner == Winner::Fresh)
    }
}

impl ValueSource for GroupValues<'_, '_> {
    fn next(&mut self) -> Result<Option<&[u8]>, Failure> {
        if !self.more()? {
            return Ok(None);
        }
        self.merge.winner = Winner::Given;
        Ok(Some(self.merge.cursors[self.merge.tree[0]].value()))
    }
}
