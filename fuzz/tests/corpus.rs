//! Every seed and every file of the corpus through its target, in each test run.

use mr_fuzz::{TARGETS, seeds::seeds};
use std::fs;
use std::path::Path;

/// One after the other: memory is counted for the whole process.
#[test]
fn nothing_that_was_found_comes_back() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for (name, target) in TARGETS {
        let seeds = seeds(name);
        seeds.iter().for_each(|seed| target(seed));
        // git keeps no empty folder.
        let files = fs::read_dir(corpus.join(name)).into_iter().flatten();
        let mut files: Vec<_> = files.map(|file| file.expect("the folder can be read").path()).collect();
        files.sort();
        for file in &files {
            println!("{name}: {}", file.display());
            target(&fs::read(file).expect("it can be read"));
        }
        println!("{name}: {} seeds, {} files", seeds.len(), files.len());
    }
}
