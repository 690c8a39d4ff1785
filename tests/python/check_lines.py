"""Holds what a job prints for the readers of its rows against the rows of the same job as Parquet.

    check_lines.py PARQUET POLARS DUCKDB

PARQUET is a folder, the others are what the job prints: an expression and a query.
"""

import sys

import duckdb
import polars

parquet, of_polars, of_duckdb = sys.argv[1:]
expected = sorted(polars.read_parquet(f"{parquet}/*.parquet").rows())
assert len(expected) > 10, expected
found = {
    of_polars: eval(of_polars, {"polars": polars}).rows(),
    of_duckdb: duckdb.sql(of_duckdb).fetchall(),
}
# Text has no types.
texts = [tuple(map(str, row)) for row in expected]
for how, rows in found.items():
    wanted = texts if "read_csv" in how else expected
    assert sorted(rows) == sorted(wanted), f"{how}: {len(rows)} rows, and Parquet has {len(expected)}: {rows[:3]}"
print(f"{len(expected)} rows are the same")
