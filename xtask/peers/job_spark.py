"""The job as it used to be done, in PySpark with TensorFlow: what `cargo xtask bench peers` holds the whole job against.

    job_spark.py --input FOLDER --output FOLDER --threads N --components K

Spark reads the photos as binary files, a pandas UDF decodes and embeds them with Keras's MobileNetV2 (its weights broadcast),
MLlib fits the PCA, and Parquet is written. The weights are drawn: Keras would download them, and they change no time.
"""

import argparse
import io
import os
import sys
from typing import Iterator

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("PYSPARK_PYTHON", sys.executable)

import numpy as np
import pandas as pd
from PIL import Image
from pyspark.ml.feature import PCA
from pyspark.ml.functions import array_to_vector, vector_to_array
from pyspark.sql import SparkSession
from pyspark.sql.functions import col, element_at, pandas_udf, split

SIZE = 224


def network(weights=None):
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    shape = (SIZE, SIZE, 3)
    model = tf.keras.applications.MobileNetV2(weights=None, include_top=False, pooling="avg", input_shape=shape)
    if weights is not None:
        model.set_weights(weights)
    return model


def prepared(content):
    image = Image.open(io.BytesIO(content)).convert("RGB").resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    return np.asarray(image, dtype=np.float32) / 127.5 - 1


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--input", required=True)
    args.add_argument("--output", required=True)
    args.add_argument("--threads", type=int, required=True)
    args.add_argument("--components", type=int, default=50)
    args = args.parse_args()

    spark = (
        SparkSession.builder.master(f"local[{args.threads}]")
        .config("spark.driver.memory", "6g")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.execution.arrow.maxRecordsPerBatch", "128")
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("ERROR")
    weights = spark.sparkContext.broadcast(network().get_weights())

    @pandas_udf("array<float>")
    def embed(batches: "Iterator[pd.Series]") -> "Iterator[pd.Series]":
        model = network(weights.value)
        for contents in batches:
            images = np.stack([prepared(content) for content in contents])
            yield pd.Series(list(model.predict(images, batch_size=32, verbose=0)))

    photos = spark.read.format("binaryFile").option("recursiveFileLookup", "true").option("pathGlobFilter", "*.jpg")
    photos = photos.load(args.input).repartition(args.threads * 4)
    label = element_at(split(col("path"), "/"), -2)
    features = photos.select("path", label.alias("label"), embed("content").alias("features")).cache()
    rows = features.withColumn("vector", array_to_vector("features"))
    model = PCA(k=args.components, inputCol="vector", outputCol="projected").fit(rows)
    rows = model.transform(rows).withColumn("pca", vector_to_array("projected", "float32"))
    rows.select("path", "label", "features", "pca").write.mode("overwrite").parquet(args.output)
    spark.stop()


main()
