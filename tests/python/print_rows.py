"""Prints the rows of an output, part after part.

    print_rows.py OUTPUT
"""

import os
import sys

import pyarrow.parquet as pq

folder = sys.argv[1]
for name in sorted(os.listdir(folder)):
    if name.endswith(".parquet") and name[0] != "_":
        for row in pq.read_table(os.path.join(folder, name)).to_pylist():
            print(tuple(row.values()))
