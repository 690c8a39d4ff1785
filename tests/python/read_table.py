"""Reads an output as its users do.

    read_table.py count FOLDER ROWS VERSION               every reader counts ROWS rows of all columns
    read_table.py watch FOLDER READER STOP NAME=ROWS...   opens the table again and again until the file STOP is there;
                                                          each look has to be one of the NAMEs, whole: so many rows, all
                                                          from the input folder of that name
"""

import os
import sys
import time
import urllib.parse

import deltalake
import duckdb
import pandas
import polars
import pyarrow.dataset
import pyarrow.parquet

COLUMNS = ["path", "label", "width", "height", "bytes", "features", "pca"]


def main():
    command, *args = sys.argv[1:]
    {"count": count, "watch": watch}[command](*args)


def count(folder, rows, version):
    rows, version = int(rows), int(version)
    parts = f"{folder}/*.parquet"
    counted = {
        "pandas": table_of_pandas(pandas.read_parquet(folder)),
        "pyarrow.parquet": table(pyarrow.parquet.read_table(folder)),
        "pyarrow.dataset": table(pyarrow.dataset.dataset(folder, format="parquet").to_table()),
        "duckdb, parts": table(duckdb.sql(f"select * from '{parts}'").to_arrow_table()),
        "polars, parts": table(polars.read_parquet(parts).to_arrow()),
        "deltalake": table(deltalake.DeltaTable(folder).to_pyarrow_table()),
    }
    # Polars looks for files under the encoded name of the table's folder, whoever wrote it.
    if urllib.parse.quote(folder) == folder:
        counted["polars, delta"] = table(polars.read_delta(folder).to_arrow())
        assert polars.scan_delta(folder).select(polars.len()).collect().item() == rows
    first = next(iter(counted.values()))
    for reader, seen in counted.items():
        assert seen["rows"] == rows, (reader, seen["rows"], rows)
        assert seen == first, f"{reader} sees other rows than pandas"
    assert deltalake.DeltaTable(folder).version() == version
    assert duckdb.sql(f"select count(*) from '{parts}' where len(features) = 1280").fetchall() == [(rows,)]
    history = deltalake.DeltaTable(folder).history()
    assert len(history) == version + 1 and all(entry["operation"] == "WRITE" for entry in history), history
    print(f"  {rows} rows, version {version}: {'; '.join(counted)}")


def table(rows):
    """What is compared between readers: the columns, how many rows, and what is in them."""
    return table_of_pandas(rows.to_pandas())


def table_of_pandas(frame):
    assert list(frame.columns) == COLUMNS, list(frame.columns)
    frame = frame.sort_values("path", kind="stable")
    numbers = {name: [int(value) for value in frame[name]] for name in ("width", "height", "bytes")}
    lists = {name: [[float(value) for value in values] for values in frame[name]] for name in ("features", "pca")}
    texts = {name: [str(value) for value in frame[name]] for name in ("path", "label")}
    return {"rows": len(frame), **texts, **numbers, **lists}


def watch(folder, reader, stop, *kinds):
    kinds = {name: int(rows) for name, rows in (kind.split("=") for kind in kinds)}
    read = {
        "deltalake": lambda: deltalake.DeltaTable(folder).to_pyarrow_table(columns=["path"])["path"].to_pylist(),
        "polars": lambda: polars.read_delta(folder, columns=["path"])["path"].to_list(),
    }[reader]
    seen, changes, reopened, last = dict.fromkeys(kinds, 0), 0, 0, None
    print("watching", flush=True)
    while not os.path.exists(stop):
        try:
            paths = read()
        except Exception as error:
            # Its files went between opening and reading: one more open has to do.
            assert is_gone(error), f"{reader}: {error!r}"
            reopened += 1
            paths = read()
        kind = whole(paths, kinds)
        seen[kind] += 1
        changes += last is not None and kind != last
        last = kind
        time.sleep(0.001)
    counts = " ".join(f"{name}={looks}" for name, looks in seen.items())
    print(f"  {reader}: {counts} changes={changes} reopened={reopened}")


def is_gone(error):
    return isinstance(error, FileNotFoundError) or any(
        words in str(error).lower() for words in ("not found", "no such file", "does not exist")
    )


def whole(paths, kinds):
    names = {os.path.relpath(path.removeprefix("file://"), os.getcwd()).split("/")[0] for path in paths}
    assert len(names) == 1, f"rows of {sorted(names)} together"
    (name,) = names
    assert len(paths) == len(set(paths)) == kinds[name], f"{len(paths)} rows of {name}, which has {kinds[name]}"
    return name


if __name__ == "__main__":
    main()
