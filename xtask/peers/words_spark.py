"""Counts words in PySpark, with DataFrames: split, explode, groupBy.

    words_spark.py --threads N --input FOLDER --output FOLDER
"""

import argparse

from pyspark.sql import SparkSession
from pyspark.sql.functions import col, explode, split


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
        .config("spark.sql.shuffle.partitions", args.threads)
        .getOrCreate()
    )
    words = spark.read.text(args.input).select(explode(split(col("value"), " ")).alias("word"))
    counts = words.filter(col("word") != "").groupBy("word").count()
    counts.write.mode("overwrite").parquet(args.output)
    spark.stop()


main()
