"""Counts words as DuckDB or Polars would best be asked to: the peers of `word-count`.

    words.py --with DuckDB|Polars --threads N --input FOLDER --output FOLDER

Both split at single spaces, which is all there is in the text and cheaper than at any white space.
"""

import argparse
import os


def with_duckdb(args):
    import duckdb

    lines = f"read_csv('{args.input}/*.txt', columns={{'line': 'VARCHAR'}}, delim='\\0', header=false, quote='', escape='')"
    duckdb.execute(f"set threads = {args.threads}")
    duckdb.execute(
        f"copy (select word, count(*) as count from (select unnest(string_split(line, ' ')) as word from {lines})"
        f" where word <> '' group by word order by word) to '{args.output}/words.parquet' (format parquet)"
    )


def with_polars(args):
    # Read when it is imported.
    os.environ["POLARS_MAX_THREADS"] = args.threads
    import polars

    lines = polars.scan_csv(
        f"{args.input}/*.txt", has_header=False, separator="\x01", quote_char=None, new_columns=["line"]
    )
    words = lines.select(polars.col("line").str.split(" ").alias("word")).explode("word")
    counts = words.filter(polars.col("word") != "").group_by("word").len("count").sort("word")
    counts.collect(engine="streaming").write_parquet(f"{args.output}/words.parquet")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--with", dest="peer", choices=["DuckDB", "Polars"], required=True)
    parser.add_argument("--threads", required=True)
    parser.add_argument("--input", required=True)
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    os.makedirs(args.output, exist_ok=True)
    {"DuckDB": with_duckdb, "Polars": with_polars}[args.peer](args)


main()
