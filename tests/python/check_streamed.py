"""Holds outputs of `stream` against the same two programs, one after the other, with a sort between them.

    check_streamed.py MAPPER REDUCER INPUT OUTPUT

INPUT is a folder of text, some of it packed with gzip. Rows of a part are in the byte order of their keys.
"""

import gzip
import os
import subprocess
import sys

import pyarrow.parquet as pq


def run(program, text):
    return subprocess.run([sys.executable, program], input=text, stdout=subprocess.PIPE, check=True).stdout


def main():
    mapper, reducer, source, output = sys.argv[1:]
    lines = b""
    for folder, _, names in os.walk(source):
        for name in names:
            if name.lower().endswith((".txt", ".gz")):
                path = os.path.join(folder, name)
                with gzip.open(path) if name.endswith(".gz") else open(path, "rb") as file:
                    text = file.read().replace(b"\r\n", b"\n")
                lines += text if text.endswith(b"\n") or not text else text + b"\n"
    pairs = run(mapper, lines).splitlines(keepends=True)
    pairs.sort(key=lambda line: line.split(b"\t")[0])
    expected = run(reducer, b"".join(pairs)).decode().splitlines()

    found = []
    for name in sorted(os.listdir(output)):
        if name.endswith(".parquet") and name[0] != "_":
            table = pq.read_table(os.path.join(output, name))
            assert [str(field.type) for field in table.schema] == ["string", "string"], table.schema
            keys = [key.encode() for key in table["key"].to_pylist()]
            assert keys == sorted(keys), name
            found += [f"{row['key']}\t{row['value']}" for row in table.to_pylist()]
    assert sorted(found) == sorted(expected), f"{len(found)} rows where {len(expected)} lines were printed"


main()
