//! Which crates are linked into our programs, and which of them each one names: what `cargo tree` says of the build
//! that we make, macros and build scripts left out. And what a program says of itself.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};

use crate::setup::host;
use crate::shell::{cargo, output};

/// A crate in one version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Crate {
    pub name: String,
    pub version: String,
}

/// Each crate with those that it names; the first is the room that all of them come by.
#[derive(Debug)]
pub struct Linked {
    pub room: Crate,
    pub crates: BTreeMap<Crate, BTreeSet<Crate>>,
}

impl Linked {
    /// What comes into a room's programs, when all rooms are built together.
    pub fn into(room: &str) -> Result<Self> {
        let host = host()?;
        let tree = ["tree", "--locked", "--workspace", "--edges", "normal,no-proc-macro", "--target", &host];
        let tree = output(cargo(&tree).args(["--prefix", "depth", "--format", " {p}"]))?;
        Self::parse(&tree, room)
    }

    /// Lines of a depth and a crate. What a crate names stands below it where it comes first, and nowhere else.
    fn parse(tree: &str, room: &str) -> Result<Self> {
        let mut all: BTreeMap<Crate, BTreeSet<Crate>> = BTreeMap::new();
        let mut path: Vec<Crate> = Vec::new();
        for line in tree.lines().filter(|line| !line.is_empty()) {
            let mut words = line.split(' ');
            let mut word = || words.next().with_context(|| format!("cargo tree says {line:?}"));
            let depth: usize = word()?.parse().with_context(|| format!("cargo tree says {line:?}"))?;
            let (name, version) = (word()?.to_owned(), word()?.trim_start_matches('v').to_owned());
            let this = Crate { name, version };
            ensure!(depth <= path.len(), "cargo tree leaves out what is above {line:?}");
            path.truncate(depth);
            if let Some(above) = path.last() {
                all.entry(above.clone()).or_default().insert(this.clone());
            }
            all.entry(this.clone()).or_default();
            path.push(this);
        }
        let room = all.keys().find(|one| one.name == room).cloned().with_context(|| format!("no {room} is there"))?;
        let mut crates = BTreeMap::new();
        let mut todo = vec![room.clone()];
        while let Some(one) = todo.pop() {
            crates.entry(one).or_insert_with_key(|one| {
                todo.extend(all[one].iter().cloned());
                all[one].clone()
            });
        }
        Ok(Self { room, crates })
    }
}

/// Crates whose sources a program names, as `NAME-VERSION`: where a panic happens is part of it even when it is
/// stripped. By far not all that are linked name themselves, but all that do are linked.
pub fn named(program: &[u8]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    // ~/.cargo/registry/src/REGISTRY/NAME-VERSION/src/lib.rs
    for after in after_each(program, b"/registry/src/") {
        let text = &after[..after.len().min(200)];
        let mut folders = text.split(|&byte| byte == b'/');
        let (_registry, one, _inside) = (folders.next(), folders.next(), folders.next());
        if let Some(one) = one.and_then(|one| std::str::from_utf8(one).ok()).filter(|one| one.contains('-')) {
            found.insert(one.to_owned());
        }
    }
    found
}

/// The newest version of glibc that a program asks for.
pub fn glibc(program: &[u8]) -> Option<(u32, u32)> {
    let versions = after_each(program, b"\0GLIBC_").filter_map(|after| {
        let end = after.iter().take(16).position(|&byte| byte == 0)?;
        let mut numbers = std::str::from_utf8(&after[..end]).ok()?.split('.').map(str::parse);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    });
    versions.max()
}

/// What follows each place where these bytes stand.
fn after_each<'a>(bytes: &'a [u8], start: &'static [u8]) -> impl Iterator<Item = &'a [u8]> {
    let places = bytes.windows(start.len()).enumerate().filter(move |(_, window)| *window == start);
    places.map(move |(at, _)| &bytes[at + start.len()..])
}

#[cfg(test)]
mod tests {
    use super::{Crate, Linked, glibc, named};

    const TREE: &str = "\
0 autoscaler v0.1.0 (/a/b)
1 serde v1.0.0
2 serde_core v1.0.0

0 mr-bin v0.1.0 (/a/b c)
1 mr v0.1.0 (/a)
2 libc v0.2.1+x
1 serde v1.0.0 (*)
0 other v0.1.0 (/a)
1 tester v3.0.0
";

    #[test]
    fn all_that_comes_by_the_room_is_linked_and_nothing_else() {
        let linked = Linked::parse(TREE, "mr-bin").unwrap();
        let names: Vec<_> = linked.crates.keys().map(|one| format!("{} {}", one.name, one.version)).collect();
        assert_eq!(names, ["libc 0.2.1+x", "mr 0.1.0", "mr-bin 0.1.0", "serde 1.0.0", "serde_core 1.0.0"]);
        let serde = Crate { name: "serde".to_owned(), version: "1.0.0".to_owned() };
        assert!(linked.crates[&linked.room].contains(&serde) && linked.crates[&serde].len() == 1);
        assert!(Linked::parse(TREE, "mr-bon").is_err() && Linked::parse("x y", "mr-bin").is_err());
        assert!(Linked::parse("2 a v1\n", "a").is_err(), "what is above is missing");
    }

    #[test]
    fn a_program_says_what_it_is_of() {
        let program = b"\0GLIBC_2.4\0GLIBC_2.34\0GLIBC_2.9\0GLIBC_PRIVATE\0/x/registry/src/index-1/h2-0.4.1/src/a.rs\
            /registry/src/index-1/tokio-1.0.0+a/src/b.rs/registry/src/cut";
        assert_eq!(glibc(program), Some((2, 34)));
        assert_eq!(glibc(b"nothing"), None);
        assert_eq!(named(program).into_iter().collect::<Vec<_>>(), ["h2-0.4.1", "tokio-1.0.0+a"]);
    }
}
