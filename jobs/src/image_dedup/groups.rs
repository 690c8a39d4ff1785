//! Links between photos, and the groups that they make.

use std::collections::BTreeMap;

/// What is known of a photo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub path: String,
    pub hash: u64,
    pub sha256: String,
    pub bytes: i64,
}

/// Photos that are linked to each other, over others if need be.
#[derive(Default)]
pub struct Groups {
    numbers: BTreeMap<String, usize>,
    photos: Vec<Seen>,
    /// A photo of the same group, nearer to the one that stands for it.
    up: Vec<usize>,
}

impl Groups {
    pub fn link(&mut self, one: Seen, other: Seen) {
        let (one, other) = (self.number(one), self.number(other));
        let (one, other) = (self.top(one), self.top(other));
        self.up[one.max(other)] = one.min(other);
    }

    fn number(&mut self, photo: Seen) -> usize {
        if let Some(number) = self.numbers.get(&photo.path) {
            return *number;
        }
        let number = self.photos.len();
        self.numbers.insert(photo.path.clone(), number);
        self.photos.push(photo);
        self.up.push(number);
        number
    }

    fn top(&mut self, mut photo: usize) -> usize {
        while self.up[photo] != photo {
            self.up[photo] = self.up[self.up[photo]];
            photo = self.up[photo];
        }
        photo
    }

    /// The groups in the order of their first photos, each in the order of paths: the same whatever came first.
    pub fn finish(mut self) -> Vec<Vec<Seen>> {
        let mut of_top: BTreeMap<usize, usize> = BTreeMap::new();
        let mut groups: Vec<Vec<Seen>> = Vec::new();
        for number in std::mem::take(&mut self.numbers).into_values() {
            let top = self.top(number);
            let group = *of_top.entry(top).or_insert_with(|| {
                groups.push(Vec::new());
                groups.len() - 1
            });
            groups[group].push(self.photos[number].clone());
        }
        groups
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_the_same_in_whatever_order_the_links_come() {
        let seen = |path: &str| Seen { path: path.into(), hash: 0, sha256: String::new(), bytes: 1 };
        let links = [("d", "b"), ("x", "a"), ("b", "c"), ("y", "x"), ("d", "c")];
        let groups = |order: &[usize]| {
            let mut groups = Groups::default();
            order.iter().for_each(|at| groups.link(seen(links[*at].0), seen(links[*at].1)));
            groups.finish()
        };
        let paths: Vec<Vec<_>> = groups(&[0, 1, 2, 3, 4])
            .into_iter()
            .map(|group| group.into_iter().map(|seen| seen.path).collect())
            .collect();
        assert_eq!(paths, [vec!["a", "x", "y"], vec!["b", "c", "d"]]);
        assert_eq!(groups(&[4, 3, 2, 1, 0]), groups(&[0, 1, 2, 3, 4]));
        assert_eq!(groups(&[]), Vec::<Vec<Seen>>::new());
    }
}
