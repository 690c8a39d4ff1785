//! What ARCHITECTURE.md says, as data: rooms and their doors, guests and who may name them, where `unsafe` may stand.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};

#[derive(Debug, PartialEq)]
pub struct House {
    pub rooms: BTreeMap<String, Room>,
    pub guests: Vec<Guest>,
    /// Files, or folders with a slash at the end.
    pub unsafe_paths: Vec<String>,
}

#[derive(Debug, PartialEq)]
pub struct Room {
    pub may_import: Imports,
    /// Patterns of outside crates that must not be linked in, however indirectly.
    pub never: Vec<String>,
}

#[derive(Debug, PartialEq)]
pub enum Imports {
    All,
    These(Vec<String>),
}

#[derive(Debug, PartialEq)]
pub struct Guest {
    pub patterns: Vec<String>,
    pub rooms: Vec<String>,
}

impl House {
    pub fn parse(page: &str) -> Result<Self> {
        let mut rooms = BTreeMap::new();
        for row in table(page, "| room |")? {
            let [room, _, may_import, never] = cells(row)?;
            let name = one_code(room).with_context(|| format!("the first cell of {row:?} is no room"))?;
            let may_import = match may_import {
                "all" => Imports::All,
                these => Imports::These(codes(these)),
            };
            let doubled = rooms.insert(name.clone(), Room { may_import, never: codes(never) });
            ensure!(doubled.is_none(), "room {name} stands in ARCHITECTURE.md twice");
        }
        let mut guests = Vec::new();
        for row in table(page, "| guest |")? {
            let [patterns, named_by] = cells(row)?;
            guests.push(Guest { patterns: codes(patterns), rooms: codes(named_by) });
        }
        let house = Self { rooms, guests, unsafe_paths: list(page, "### Unsafe")? };
        house.check_names()?;
        Ok(house)
    }

    /// A misspelt room in the page would be a rule that never holds anyone back.
    fn check_names(&self) -> Result<()> {
        let imports = self.rooms.values().filter_map(|room| match &room.may_import {
            Imports::These(rooms) => Some(rooms),
            Imports::All => None,
        });
        for name in imports.chain(self.guests.iter().map(|guest| &guest.rooms)).flatten() {
            ensure!(
                self.rooms.contains_key(name),
                "ARCHITECTURE.md speaks of a room {name:?} that its table does not have"
            );
        }
        Ok(())
    }
}

/// `aws-*` means all that start so.
pub fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == pattern,
    }
}

/// The rows under the heading row that starts so.
fn table<'a>(page: &'a str, heading: &str) -> Result<Vec<&'a str>> {
    let mut lines = page.lines().skip_while(|line| !line.starts_with(heading));
    lines.next().with_context(|| format!("ARCHITECTURE.md has no table that starts with {heading:?}"))?;
    let rows: Vec<_> = lines.skip(1).take_while(|line| line.starts_with('|')).collect();
    ensure!(!rows.is_empty(), "the table {heading:?} of ARCHITECTURE.md is empty");
    Ok(rows)
}

fn cells<const N: usize>(row: &str) -> Result<[&str; N]> {
    let inner = row.trim().trim_start_matches('|').trim_end_matches('|');
    let cells: Vec<_> = inner.split('|').map(str::trim).collect();
    match cells.try_into() {
        Ok(cells) => Ok(cells),
        Err(_) => bail!("ARCHITECTURE.md: this row should have {N} cells: {row}"),
    }
}

/// The paths that the items of the list under a heading start with.
fn list(page: &str, heading: &str) -> Result<Vec<String>> {
    let mut lines = page.lines().skip_while(|line| *line != heading);
    lines.next().with_context(|| format!("ARCHITECTURE.md has no heading {heading:?}"))?;
    let section = lines.take_while(|line| !line.starts_with('#'));
    let items = section.filter_map(|line| line.strip_prefix("- "));
    items.map(|item| codes(item).into_iter().next().with_context(|| format!("no `path` in {item:?}"))).collect()
}

/// What stands between backticks.
fn codes(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn one_code(cell: &str) -> Option<String> {
    codes(cell).into_iter().next()
}

#[cfg(test)]
mod tests {
    use super::{House, Imports, matches};

    const PAGE: &str = "\
# A page
| room | what | may import | never |
| --- | --- | --- | --- |
| `core` | words | – | `tokio*`, `prost` |
| `tests` | `all` of it | all | – |

| guest | named by |
| --- | --- |
| `aws-*`, `hyper` | `core` |

### Unsafe
Text with `code` in it.
- `core/src/fast/`: because `x`.
- `core/src/one.rs`: because.
### Next
- `elsewhere`
";

    #[test]
    fn a_page_becomes_rules() {
        let house = House::parse(PAGE).unwrap();
        assert_eq!(house.rooms.keys().collect::<Vec<_>>(), ["core", "tests"]);
        assert_eq!(house.rooms["core"].may_import, Imports::These(vec![]));
        assert_eq!(house.rooms["core"].never, ["tokio*", "prost"]);
        assert_eq!(house.rooms["tests"].may_import, Imports::All);
        assert_eq!(house.guests[0].patterns, ["aws-*", "hyper"]);
        assert_eq!(house.unsafe_paths, ["core/src/fast/", "core/src/one.rs"]);
    }

    #[test]
    fn a_misspelt_room_or_a_missing_table_is_an_error() {
        let misspelt = PAGE.replace("| `core` |\n\n", "| `cor` |\n\n").replace("`hyper` | `core`", "`hyper` | `cor`");
        assert!(House::parse(&misspelt).unwrap_err().to_string().contains("\"cor\""));
        assert!(House::parse("# Nothing").unwrap_err().to_string().contains("no table"));
        let short = PAGE.replace("| `core` | words |", "| `core` |");
        assert!(House::parse(&short).unwrap_err().to_string().contains("4 cells"));
    }

    #[test]
    fn a_star_stands_for_any_end() {
        assert!(matches("aws-*", "aws-sdk-s3") && matches("tokio*", "tokio"));
        assert!(!matches("aws-*", "laws-sdk") && !matches("prost", "prost-types"));
    }

    #[test]
    fn the_real_page_can_be_read() {
        let page = std::fs::read_to_string(crate::shell::root().join("ARCHITECTURE.md")).unwrap();
        let house = House::parse(&page).unwrap();
        assert!(house.rooms.len() > 10 && !house.guests.is_empty());
    }
}
