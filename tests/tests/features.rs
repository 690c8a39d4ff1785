//! The main job on real photos: every number that it writes is held against the files, against Google's network as
//! onnxruntime runs it, and against scikit-learn's PCA.

use mr_tests::{Output, Python, Scratch, Submit, drawn, need};
use std::path::Path;

fn table<'a>(output: &'a Output, input: &'a Path) -> [&'a Path; 3] {
    [Path::new("--table"), &output.folder, input]
}

#[test]
fn real_photos_get_the_features_and_the_pca_that_they_should() {
    let scratch = Scratch::enter("features: fruits and photos");
    let Some(python) = Python::ready() else { return };
    let (Some(data), Some(models)) = (need("data"), need("models")) else { return };
    let run = |name: &str, books: [u64; 4]| {
        let job = Submit::job(&scratch, data.join(name), name).weights(&models.join("mobilenet_v2_1.0_224.onnx"));
        let output = job.done();
        assert_eq!(output.books(), books, "{name}");
        output
    };
    let skipped = |name: &str| walk(&data.join(name));
    let fruits = run("fruits", [4020, 4020, 0, skipped("fruits")]);
    let photos = run("photos", [631, 631, 0, skipped("photos")]);
    let (golden, npz) = ([Path::new("--golden"), &models, &data], models.join("golden/pca_fruits.npz"));
    let pca = [Path::new("--pca"), &fruits.folder, &npz];
    let (fruits_in, photos_in) = (data.join("fruits"), data.join("photos"));
    let args = [table(&fruits, &fruits_in), table(&photos, &photos_in), golden, pca].concat();
    python.run(&scratch, "check_features.py", args);
}

/// How many files below a folder are no photos.
fn walk(folder: &Path) -> u64 {
    let is_photo = |name: &str| {
        let ending = name.rsplit('.').next().unwrap_or_default().to_lowercase();
        ["jpg", "jpeg", "png", "webp"].contains(&ending.as_str())
    };
    mr_tests::tree(folder).keys().filter(|name| !is_photo(name)).count() as u64
}

/// What a machine without `../shared` can show: the same checks with the weights that ship.
#[test]
fn drawn_photos_become_a_table_of_several_parts() {
    let scratch = Scratch::enter("features: drawn photos");
    let Some(python) = Python::ready() else { return };
    let photos = drawn(&scratch, "pho tos", 300, 5);
    scratch.write("pho tos/notes.txt", "no photo");
    scratch.write("pho tos/Training/.jpg/x", "no photo either");
    let output = Submit::job(&scratch, &photos, "out").set("split.objects_max=8").done();
    assert_eq!(output.books(), [300, 300, 0, 2]);
    // Splits of four to eight, 16 of them to a part.
    assert!((3..=5).contains(&output.parts.len()), "{:?}", output.parts);
    python.run(&scratch, "check_features.py", table(&output, &photos));
}
