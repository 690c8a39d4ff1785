//! Which room imports which, by `cargo metadata`, against the page. Dependencies for a room's own tests are not looked at,
//! except that no room may import `tests`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::Complaint;
use super::house::{House, Imports, matches};

/// Packages and what they depend on, dependencies for tests apart.
#[derive(Default)]
pub struct Graph {
    packages: BTreeMap<String, Package>,
}

#[derive(Default)]
struct Package {
    name: String,
    /// The folder, for a package of the workspace.
    room: Option<String>,
    /// Ids of what it is linked with, and of what its build script uses.
    imports: Vec<String>,
    builds_with: Vec<String>,
    tests_with: Vec<String>,
}

impl Graph {
    pub fn parse(metadata: &str, root: &Path) -> Result<Self> {
        let metadata: Value = serde_json::from_str(metadata).context("reading cargo metadata")?;
        let mut graph = Self::default();
        let members: BTreeSet<_> = array(&metadata["workspace_members"])?.iter().filter_map(Value::as_str).collect();
        for package in array(&metadata["packages"])? {
            let (id, name) = (text(&package["id"])?, text(&package["name"])?);
            let manifest = Path::new(text(&package["manifest_path"])?);
            let folder = manifest.parent().and_then(|folder| folder.strip_prefix(root).ok());
            let room = folder.filter(|_| members.contains(id)).map(|folder| folder.display().to_string());
            graph.packages.insert(id.to_owned(), Package { name: name.to_owned(), room, ..Package::default() });
        }
        for node in array(&metadata["resolve"]["nodes"])? {
            let package = graph.packages.get_mut(text(&node["id"])?).context("a node without a package")?;
            for dependency in array(&node["deps"])? {
                let id = text(&dependency["pkg"])?;
                for kind in array(&dependency["dep_kinds"])? {
                    match kind["kind"].as_str() {
                        None => package.imports.push(id.to_owned()),
                        Some("build") => package.builds_with.push(id.to_owned()),
                        Some(_) => package.tests_with.push(id.to_owned()),
                    }
                }
            }
        }
        ensure!(graph.rooms().next().is_some(), "cargo metadata names no package under {}", root.display());
        Ok(graph)
    }

    pub fn rooms(&self) -> impl Iterator<Item = &str> {
        self.packages.values().filter_map(|package| package.room.as_deref())
    }

    /// The shortest way from a package to an outside crate that matches, as names.
    fn way(&self, from: &Package, pattern: &str) -> Option<Vec<&str>> {
        let mut ways = VecDeque::from([(from, vec![])]);
        let mut seen = BTreeSet::new();
        while let Some((package, way)) = ways.pop_front() {
            for id in &package.imports {
                let next = &self.packages[id];
                if !seen.insert(id) {
                    continue;
                }
                let mut way = way.clone();
                way.push(next.name.as_str());
                if next.room.is_none() && matches(pattern, &next.name) {
                    return Some(way);
                }
                ways.push_back((next, way));
            }
        }
        None
    }
}

pub fn check(house: &House, graph: &Graph) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    let in_workspace: BTreeSet<_> = graph.rooms().collect();
    for missing in house.rooms.keys().filter(|name| !in_workspace.contains(name.as_str())) {
        let text = format!("room {missing} is in the table but not in the workspace: take its row out");
        complaints.push(Complaint::about("ARCHITECTURE.md", "| ", text));
    }
    for package in graph.packages.values() {
        if let Some(name) = &package.room {
            complaints.extend(check_room(house, graph, name, package));
        }
    }
    complaints
}

fn check_room(house: &House, graph: &Graph, name: &str, package: &Package) -> Vec<Complaint> {
    let manifest = format!("{name}/Cargo.toml");
    let Some(room) = house.rooms.get(name) else {
        let text = format!("room {name} is not in the table of ARCHITECTURE.md: give it a row");
        return vec![Complaint::at(manifest, 1, text)];
    };
    let mut complaints = Vec::new();
    let mut complain = |word: &str, text: String| complaints.push(Complaint::about(manifest.clone(), word, text));
    let own: BTreeSet<_> = package.imports.iter().chain(&package.builds_with).collect();
    for import in own.into_iter().map(|id| &graph.packages[id]) {
        match (&import.room, &room.may_import) {
            (Some(_), Imports::All) => {}
            (Some(other), Imports::These(allowed)) if allowed.contains(other) => {}
            (Some(other), Imports::These(_)) => complain(
                &import.name,
                format!("{name} may not import {other}: remove it, or open the door in ARCHITECTURE.md and say why"),
            ),
            (None, Imports::All) => {}
            (None, Imports::These(_)) => {
                let guest = house.guests.iter().find(|guest| guest.patterns.iter().any(|p| matches(p, &import.name)));
                if let Some(guest) = guest.filter(|guest| !guest.rooms.iter().any(|room| room == name)) {
                    let hosts = guest.rooms.join(", ");
                    let guest = &import.name;
                    complain(
                        guest,
                        format!(
                            "{name} may not name {guest}: leave it to {hosts}, or change the guests of ARCHITECTURE.md"
                        ),
                    );
                }
            }
        }
    }
    for import in package.tests_with.iter().map(|id| &graph.packages[id]) {
        if import.room.as_deref() == Some("tests") {
            complain(&import.name, format!("{name} may not import tests, not even for its own: tests come last"));
        }
    }
    for pattern in &room.never {
        if let Some(way) = graph.way(package, pattern) {
            let first = way[0].to_owned();
            complain(
                &first,
                format!("{name} must never be linked with `{pattern}`, and is, by way of {}", way.join(" > ")),
            );
        }
    }
    complaints
}

fn array(value: &Value) -> Result<&Vec<Value>> {
    value.as_array().context("cargo metadata has another shape than expected: a list is missing")
}

fn text(value: &Value) -> Result<&str> {
    value.as_str().context("cargo metadata has another shape than expected: a string is missing")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Graph, check};
    use crate::tidy::house::House;

    const PAGE: &str = "\
| room | what | may import | never |
| --- | --- | --- | --- |
| `core` | | – | `tokio` |
| `jobs` | | `core` | – |
| `tests` | | all | – |

| guest | named by |
| --- | --- |
| `tonic*` | `core` |

### Unsafe
";

    /// Each line is `room: imports`, with `test ` or `build ` before those of that kind; other names are outside crates.
    fn complaints(edges: &str) -> Vec<String> {
        let (mut packages, mut nodes, mut members) = (vec![], vec![], vec![]);
        for line in edges.lines() {
            let (name, imports) = line.split_once(':').unwrap();
            let ours = ["core", "jobs", "tests", "cellar"].contains(&name);
            let folder = if ours { "/house" } else { "/registry" };
            packages.push(serde_json::json!({"id": name, "name": format!("p-{name}").trim_start_matches(if ours { "" } else { "p-" }),
                "manifest_path": format!("{folder}/{name}/Cargo.toml")}));
            if ours {
                members.push(name);
            }
            let deps = imports.split(',').map(str::trim).filter(|import| !import.is_empty()).map(|import| {
                let (kind, name) = match import.split_once(' ') {
                    Some(("test", name)) => (Some("dev"), name),
                    Some(("build", name)) => (Some("build"), name),
                    _ => (None, import),
                };
                serde_json::json!({"pkg": name, "dep_kinds": [{"kind": kind}]})
            });
            nodes.push(serde_json::json!({"id": name, "deps": deps.collect::<Vec<_>>()}));
        }
        let metadata =
            serde_json::json!({"packages": packages, "workspace_members": members, "resolve": {"nodes": nodes}});
        let graph = Graph::parse(&metadata.to_string(), Path::new("/house")).unwrap();
        check(&House::parse(PAGE).unwrap(), &graph).iter().map(ToString::to_string).collect()
    }

    fn one(edges: &str, expected: &str) {
        let complaints = complaints(edges);
        assert!(complaints.len() == 1 && complaints[0].contains(expected), "{complaints:#?}");
    }

    #[test]
    fn a_tidy_house_has_no_complaints() {
        assert_eq!(
            complaints("core: serde\njobs: core, test tokio\ntests: core, jobs, tonic\nserde:\ntokio:\ntonic:"),
            [""; 0]
        );
    }

    #[test]
    fn a_closed_door_is_named() {
        one("core:\njobs: core, tests\ntests:", "jobs/Cargo.toml:1: jobs may not import tests");
        one("core: build jobs\njobs:\ntests:", "core may not import jobs");
        one("core: test tests\njobs:\ntests:", "core may not import tests");
    }

    #[test]
    fn a_guest_is_named_by_its_hosts_only() {
        one("core: tonic\njobs: tonic-build\ntests: tonic\ntonic:\ntonic-build:", "jobs may not name tonic-build");
    }

    #[test]
    fn what_is_forbidden_is_found_behind_others() {
        one("core: a\njobs:\ntests:\na: b\nb: tokio\ntokio:", "by way of a > b > tokio");
    }

    #[test]
    fn page_and_workspace_have_the_same_rooms() {
        one("core:\njobs:\ntests:\ncellar:", "cellar is not in the table");
        one("core:\ntests:", "jobs is in the table but not in the workspace");
    }
}
