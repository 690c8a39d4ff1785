"""Counts words, or sorts records of a hundred bytes by their first ten, in PySpark with DataFrames.

    data_spark.py words|sort --threads N --partitions N --input FOLDER --output FOLDER
"""

import argparse

from pyspark.sql import SparkSession
from pyspark.sql.functions import col, explode, split, substring


def words(spark, source):
    words = spark.read.text(source).select(explode(split(col("value"), " ")).alias("word"))
    return words.filter(col("word") != "").groupBy("word").count()


def sort(spark, source):
    records = spark.read.option("lineSep", "\r\n").text(source)
    rows = records.select(substring("value", 1, 10).alias("key"), substring("value", 11, 88).alias("value"))
    return rows.orderBy("key")


JOBS = {"words": words, "sort": sort}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("job", choices=JOBS)
    parser.add_argument("--threads", required=True)
    parser.add_argument("--partitions", required=True)
    parser.add_argument("--input", required=True)
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    spark = (
        SparkSession.builder.master(f"local[{args.threads}]")
        .config("spark.driver.memory", "8g")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.shuffle.partitions", args.partitions)
        .getOrCreate()
    )
    JOBS[args.job](spark, args.input).write.mode("overwrite").parquet(args.output)
    spark.stop()


main()
