"""Holds an output of `image-dedup` against hashes that Pillow makes, or one of `label-stats` against Pillow's pixels.

    check_alike.py alike DISTANCE INPUT OUTPUT
    check_alike.py labels INPUT OUTPUT
"""

import collections
import hashlib
import os
import sys

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

PHOTOS = (".jpg", ".jpeg", ".png", ".webp")


def photos(folder):
    for place, _, names in os.walk(folder):
        for name in names:
            if name.lower().endswith(PHOTOS):
                yield os.path.join(place, name)


def table(output):
    parts = sorted(name for name in os.listdir(output) if name.endswith(".parquet") and name[0] != "_")
    return [row for name in parts for row in pq.read_table(os.path.join(output, name)).to_pylist()]


def difference_hash(image):
    small = np.asarray(image.resize((9, 8), Image.BICUBIC), dtype=np.uint32)
    grey = (small * np.array([299, 587, 114], dtype=np.uint32)).sum(axis=2) // 1000
    bits = (grey[:, :-1] < grey[:, 1:]).flatten()
    return int("".join("1" if bit else "0" for bit in bits), 2)


def alike(distance, source, output):
    rows = table(output)
    paths = {row["path"].removeprefix("file://"): row for row in rows}
    assert len(paths) == len(rows), "a photo is in two groups"
    contents, hashes = collections.defaultdict(list), {}
    for path in photos(source):
        path = os.path.realpath(path)
        with open(path, "rb") as file:
            contents[hashlib.sha256(file.read()).hexdigest()].append(path)
        hashes[path] = difference_hash(Image.open(path).convert("RGB"))
    near_ours = 0
    for path, row in paths.items():
        assert path in contents[row["sha256"]] and row["bytes"] == os.path.getsize(path), path
        # The decoders may differ by a grey level, and then a bit or two.
        near_ours += bin(int(row["hash"], 16) ^ hashes[path]).count("1") <= 2
    assert near_ours >= 0.98 * len(paths), f"{near_ours} of {len(paths)} hashes are Pillow's"

    # Groups are connected: all pairs that are near by our hashes are in one, and each is linked to another of its group.
    ours = np.array([int(row["hash"], 16) for row in rows], dtype=np.uint64)
    numbers = np.array([row["group"] for row in rows])
    assert list(numbers) == sorted(numbers), "groups come in their order"
    for at, row in enumerate(rows):
        near = np.bitwise_count(ours ^ ours[at]) <= distance
        assert (numbers[near] == row["group"]).all(), row
        assert near.sum() > 1, f"{row} is alone"
    identical = [same for same in contents.values() if len(same) > 1]
    for same in identical:
        assert len({paths[path]["group"] for path in same}) == 1, same
        assert len({paths[path]["hash"] for path in same}) == 1, same
    print(f"{len(rows)} of {len(hashes)} photos in {len(set(numbers))} groups, {len(identical)} sets of identical files")


def labels(source, output):
    sums = collections.defaultdict(lambda: [0, 0, 0, 0, np.zeros(3), 0])
    for path in photos(source):
        pixels = np.asarray(Image.open(path).convert("RGB"), dtype=np.uint64).reshape(-1, 3)
        width, height = Image.open(path).size
        of = sums[os.path.basename(os.path.dirname(os.path.realpath(path)))]
        for at, more in enumerate([1, os.path.getsize(path), width, height, pixels.sum(axis=0), len(pixels)]):
            of[at] += more
    rows = table(output)
    assert [row["label"] for row in rows] == sorted(sums), "the labels are others"
    for row in rows:
        count, size, width, height, colours, pixels = sums[row["label"]]
        assert (row["photos"], row["bytes"]) == (count, size), row
        assert (row["width"], row["height"]) == (width / count, height / count), row
        mean = colours / pixels
        assert np.allclose([row["red"], row["green"], row["blue"]], mean, atol=0.05), (row, mean)


if sys.argv[1] == "alike":
    alike(int(sys.argv[2]), *sys.argv[3:])
else:
    labels(*sys.argv[2:])
