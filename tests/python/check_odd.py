"""Every file of a folder is a row or a verdict, and two runs agree on which.

    check_odd.py FOLDER OUTPUT OTHER_OUTPUT
"""

import os
import sys
from collections import Counter

import pyarrow.parquet as pq

CLASSES = {"empty", "not-an-image", "unsupported", "undecodable", "too-large"}


def main():
    folder, *outputs = sys.argv[1:]
    one, other = map(verdicts, outputs)
    assert one == other, [pair for pair in zip(one, other) if pair[0] != pair[1]]
    for output in outputs:
        check(folder, output)
    counts = Counter(verdict["class"] for verdict in one)
    print(f"  odd: {len(rows(outputs[0]))} embedded; " + ", ".join(f"{n} {name}" for name, n in counts.most_common()))


def verdicts(output):
    """Without what may differ: a directory's ETags are of its making, and attempts are of the day."""
    table = pq.read_table(f"{output}/_quarantine.parquet/quarantine.parquet")
    return table.drop_columns(["etag", "attempts"]).to_pylist()


def rows(output):
    parts = [f"{output}/{name}" for name in os.listdir(output) if name.startswith("part-")]
    return [path for part in parts for path in pq.read_table(part, columns=["path"])["path"].to_pylist()]


def check(folder, output):
    embedded, refused = rows(output), verdicts(output)
    files = [f"{folder}/{name}" for name in os.listdir(folder) if not name.endswith(".csv")]
    paths = embedded + [verdict["path"] for verdict in refused]
    assert sorted(paths) == sorted(f"file://{file}" for file in files), "each file once"
    for verdict in refused:
        assert verdict["class"] in CLASSES and verdict["stage"] == "embed", verdict
        assert verdict["source"] == "content" and verdict["message"].isprintable() and verdict["message"], verdict
        assert verdict["bytes"] == os.stat(verdict["path"].removeprefix("file://")).st_size, verdict
    etags = pq.read_table(f"{output}/_quarantine.parquet/quarantine.parquet", columns=["etag"])["etag"].to_pylist()
    assert all(etags), "every verdict is on one version of its object"


if __name__ == "__main__":
    main()
