"""Holds outputs of `word-count` against words that Python counts.

    check_words.py [--lowercase] INPUT OUTPUT

INPUT is a folder of text, some of it packed with gzip. Rows of a part are in the byte order of their words.
"""

import argparse
import collections
import gzip
import os
import re

import pyarrow as pa
import pyarrow.parquet as pq


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--lowercase", action="store_true")
    parser.add_argument("input")
    parser.add_argument("output")
    args = parser.parse_args()

    counts = collections.Counter()
    for folder, _, names in os.walk(args.input):
        for name in names:
            if not name.lower().endswith((".txt", ".gz")):
                continue
            path = os.path.join(folder, name)
            with gzip.open(path) if name.endswith(".gz") else open(path, "rb") as file:
                text = file.read().decode("utf-8", errors="replace")
            # Python takes four more characters for white space than Unicode does.
            words = (word for word in re.split(r"[^\S\x1c-\x1f]+", text) if word)
            counts.update(word.lower() if args.lowercase else word for word in words)

    parts = sorted(name for name in os.listdir(args.output) if name.endswith(".parquet") and name[0] != "_")
    found = {}
    for name in parts:
        table = pq.read_table(os.path.join(args.output, name))
        assert table.schema.names == ["word", "count"], table.schema
        assert table.schema.types == [pa.string(), pa.int64()], table.schema
        words = table["word"].to_pylist()
        assert words == sorted(words, key=str.encode), f"{name} is in the order of its words"
        for word, count in zip(words, table["count"].to_pylist()):
            assert word not in found, f"{word!r} is there twice"
            found[word] = count
    assert found == counts, f"{len(found)} words here, {len(counts)} in Python"
    print(f"{len(counts)} words in {len(parts)} parts, {sum(counts.values())} times, are those that Python counts")


main()
