"""Sorts records of a hundred bytes by their first ten in PySpark, with DataFrames.

    sort_spark.py --threads N --input FOLDER --output FOLDER
"""

import argparse

from pyspark.sql import SparkSession
from pyspark.sql.functions import substring


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", required=True)
    parser.add_argument("--input", required=True)
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    spark = (
        SparkSession.builder.master(f"local[{args.threads}]")
        .config("spark.driver.memory", "8g")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.shuffle.partitions", "16")
        .getOrCreate()
    )
    records = spark.read.option("lineSep", "\r\n").text(args.input)
    rows = records.select(substring("value", 1, 10).alias("key"), substring("value", 11, 88).alias("value"))
    rows.orderBy("key").write.mode("overwrite").parquet(args.output)
    spark.stop()


main()
