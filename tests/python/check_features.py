"""Holds outputs of the main job against their photos, against golden embeddings and against scikit-learn's PCA.

    check_features.py --table OUTPUT INPUT... [--golden MODELS DATA] [--pca OUTPUT PCA.npz]

Every claim is checked on what lies in the files, with NumPy and pyarrow alone.
"""

import argparse
import glob
import json
import os
import re
import socket
import struct

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

FEATURES = 1280
ENDINGS = (".jpg", ".jpeg", ".png", ".webp")
COLUMNS = [
    ("path", pa.string()),
    ("label", pa.string()),
    ("width", pa.int32()),
    ("height", pa.int32()),
    ("bytes", pa.int64()),
    ("features", pa.float32()),
    ("pca", pa.float32()),
]
FOOTER = {
    "mr.job",
    "mr.job_version",
    "mr.version",
    "mr.weights_sha256",
    "mr.kernel_family",
    "mr.params.components",
    "mr.params.decode",
    "mr.params.exif_orientation",
    "mr.params.extensions",
    "mr.params.label",
    "mr.split.bytes_max",
    "mr.split.objects_max",
}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--table", nargs=2, action="append", default=[], metavar=("OUTPUT", "INPUT"))
    parser.add_argument("--golden", nargs=2, metavar=("MODELS", "DATA"))
    parser.add_argument("--pca", nargs=2, metavar=("OUTPUT", "NPZ"))
    args = parser.parse_args()
    features_of = {}
    for output, folder in args.table:
        features_of.update(check_table(output, folder))
    if args.golden:
        check_golden(features_of, *args.golden)
    if args.pca:
        check_against_sklearn(*args.pca)


def check_table(output, folder):
    """Checks one output, and returns its features by the path of the photo."""
    report = json.load(open(f"{output}/_report.json"))
    parts = sorted(glob.glob(f"{glob.escape(output)}/part-*.parquet"))
    for number, part in enumerate(parts):
        assert os.path.basename(part) == f"part-{number:05}-{report['job_id']}.parquet", part
    check_footers(parts, report, output, folder)

    table = pq.read_table(parts)
    check_columns(table)
    paths = check_rows(table, folder)
    features = matrix(table["features"], FEATURES)
    assert np.isfinite(features).all() and features.min() >= 0 and features.max() <= 6, "means of ReLU6"
    check_pca(table, features, output, report)
    books = {name: report[name] for name in ("listed", "embedded", "quarantined")}
    assert books == {"listed": len(paths), "embedded": len(table), "quarantined": 0}, books
    print(f"  {folder}: {len(table)} rows in {len(parts)} parts, as the files are")
    return dict(zip(paths, features))


def check_footers(parts, report, output, folder):
    footers = [pq.read_metadata(part) for part in parts]
    texts = [{k.decode(): v.decode() for k, v in footer.metadata.items()} for footer in footers]
    first = texts[0]
    assert all(text == first for text in texts), "every part says the same of itself"
    ours = {name: value for name, value in first.items() if name != "ARROW:schema"}
    assert set(ours) == FOOTER, set(ours) ^ FOOTER
    assert ours["mr.job"] == "image-features" and re.fullmatch("[0-9a-f]{64}", ours["mr.weights_sha256"]), ours
    assert ours["mr.kernel_family"] == report["kernel_family"], ours
    said = json.dumps([first, footers[0].created_by])
    for secret in (report["job_id"], output, folder, socket.gethostname(), "file://", report["job_id"][:8]):
        assert secret not in said, f"{secret} shapes no row and is in the footer: {said}"
    for footer in footers:
        groups = [footer.row_group(at) for at in range(footer.num_row_groups)]
        # All but a file's last are full, so that readers find few and large ones.
        sizes = [group.num_rows for group in groups]
        assert all(size == sizes[0] for size in sizes[:-1]) and 0 < sizes[-1] <= sizes[0] <= 1 << 16, sizes
        codecs = {group.column(at).compression for group in groups for at in range(group.num_columns)}
        assert codecs <= {"ZSTD", "SNAPPY"}, codecs


def check_columns(table):
    assert table.column_names == [name for name, _ in COLUMNS], table.column_names
    for name, expected in COLUMNS:
        kind = table.schema.field(name).type
        if name in ("features", "pca"):
            assert pa.types.is_list(kind) and kind.value_type == expected, (name, kind)
        else:
            assert kind == expected, (name, kind)
        assert table[name].null_count == 0, f"{name} has nulls"


def check_rows(table, folder):
    """Rows are the files: each once, in the byte order of paths, with label and sizes of its own."""
    expected = []
    for place, _, names in os.walk(folder):
        expected += [os.path.join(place, name) for name in names if name.lower().endswith(ENDINGS)]
    expected.sort(key=os.fsencode)
    uris = table["path"].to_pylist()
    assert all(uri.startswith("file:///") for uri in uris)
    paths = [uri.removeprefix("file://") for uri in uris]
    assert paths == expected, f"{len(paths)} rows, {len(expected)} files"
    columns = [table[name].to_pylist() for name in ("label", "width", "height", "bytes")]
    for path, label, width, height, size in zip(paths, *columns):
        assert label == os.path.basename(os.path.dirname(path)), (path, label)
        assert size == os.stat(path).st_size, (path, size)
        assert (width, height) == jpeg_size(path), (path, width, height)
    return paths


def jpeg_size(path):
    """Width and height by the file's own frame header."""
    data = open(path, "rb").read()
    assert data[:2] == b"\xff\xd8", f"{path} is no JPEG"
    at = 2
    while True:
        assert data[at] == 0xFF, path
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        # Frame headers, whatever the coding; C4, C8 and CC are none.
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            return width, height
        at += 2 + struct.unpack(">H", data[at + 2 : at + 4])[0]


def matrix(column, width):
    lists = column.combine_chunks()
    lengths = np.diff(lists.offsets.to_numpy())
    assert (lengths == width).all(), f"every list has {width} numbers"
    return lists.flatten().to_numpy(zero_copy_only=False).reshape(-1, width).astype(np.float64)


def check_pca(table, features, output, report):
    arrays = {name: np.load(f"{output}/_pca/{name}.npy") for name in ("mean", "components", "singular_values")}
    arrays |= {name: np.load(f"{output}/_pca/{name}.npy") for name in ("explained_variance", "explained_variance_ratio")}
    mean, components, variance = arrays["mean"], arrays["components"], arrays["explained_variance"]
    count, samples = len(components), len(features)
    assert mean.shape == (FEATURES,) and components.shape == (count, FEATURES) and variance.shape == (count,)
    assert all(array.dtype == np.float64 for array in arrays.values())
    assert count == report["settings"]["params"]["components"]

    written = matrix(table["pca"], count)
    projected = (features - mean) @ components.T
    deviation = np.abs(written - projected).max() / np.abs(projected).max()
    assert deviation < 1e-6, f"`pca` is the projection of `features`, but for {deviation}"
    spread = np.abs(written.var(axis=0, ddof=1) / variance - 1).max()
    assert spread < 1e-6, f"variances of `pca` are the eigenvalues, but for {spread}"

    # What follows needs no trust in our own sums: everything anew from the written features.
    close(mean, features.mean(axis=0), "the mean")
    eigenvalues = np.linalg.eigvalsh(np.cov(features.T))[::-1]
    close(variance, eigenvalues[:count], "the eigenvalues")
    total = eigenvalues.sum()
    close(arrays["explained_variance_ratio"], eigenvalues[:count] / total, "the ratios")
    close(arrays["singular_values"] ** 2, eigenvalues[:count] * (samples - 1), "the singular values")
    orthogonality = np.abs(components @ components.T - np.eye(count)).max()
    assert orthogonality < 1e-9, orthogonality
    largest = components[np.arange(count), np.abs(components).argmax(axis=1)]
    assert (largest > 0).all(), "the largest entry of each component is positive"

    summary = json.load(open(f"{output}/_pca/summary.json"))
    assert summary["samples"] == samples and summary["components"] == count and summary["dim"] == FEATURES
    close(summary["residual_variance"], eigenvalues[count:].sum(), "what the components leave")
    close(summary["total_variance"], total, "the whole variance")
    gap = -np.diff(eigenvalues[: count + 1]).max() / eigenvalues[0]
    assert abs(summary["smallest_eigengap"] / gap - 1) < 1e-4, (summary, gap)
    assert summary["residual"] < 1e-9 and summary["orthogonality"] < 1e-9, summary
    print(f"  pca: projection to {deviation:.1e}, variances to {spread:.1e}, orthogonal to {orthogonality:.1e}")


def close(ours, expected, what):
    deviation = np.abs(ours - expected).max() / np.abs(expected).max()
    assert deviation < 1e-6, f"{what}: relative deviation {deviation}"


def check_golden(features_of, models, data):
    names = [line.strip() for line in open(f"{models}/golden/images.txt") if line.strip()]
    golden = np.load(f"{models}/golden/embeddings.npy").astype(np.float64)
    assert len(names) == len(golden) == 96
    cosines = []
    for name, expected in zip(names, golden):
        ours = features_of[os.path.normpath(f"{data}/{name}")]
        cosines.append(ours @ expected / np.linalg.norm(ours) / np.linalg.norm(expected))
    worst, mean = min(cosines), np.mean(cosines)
    print(f"  golden: {len(cosines)} images, cosine 1 - {1 - worst:.1e} at worst, 1 - {1 - mean:.1e} on average")
    assert worst >= 0.9999, (worst, names[int(np.argmin(cosines))])


def check_against_sklearn(output, npz):
    reference = np.load(npz)
    ratios = np.load(f"{output}/_pca/explained_variance_ratio.npy")
    assert len(ratios) == 50
    deviation = np.abs(ratios / reference["explained_variance_ratio"][:50] - 1).max()
    components = np.load(f"{output}/_pca/components.npy")
    cosines = np.linalg.svd(components[:10] @ reference["components"][:10].T, compute_uv=False)
    angle = np.degrees(np.arccos(np.clip(cosines.min(), -1, 1)))
    samples = json.load(open(f"{output}/_pca/summary.json"))["samples"]
    print(f"  scikit-learn: 50 ratios to {deviation:.1e}, 10 components to {angle:.1e} degrees")
    assert samples == reference["n_samples"]
    assert deviation < 0.001, deviation
    assert angle < 0.1, angle


if __name__ == "__main__":
    main()
