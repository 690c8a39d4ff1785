"""The job by hand, as one fast Python process: what `cargo xtask bench peers` holds the whole job against.

    job_python.py --model FILE.onnx --input FOLDER --output FOLDER --threads N --components K

Photos to features on threads (Pillow and onnxruntime both let go of the interpreter's lock), principal components from the
f64 Gram matrix with NumPy, one Parquet file with pyarrow. No listing that is kept, no quarantine, no commit: a photo that
can't be decoded ends it.
"""

import argparse
import io
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

SIZE = 224
ENDINGS = {".jpg", ".jpeg", ".png", ".webp"}


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--model", required=True)
    args.add_argument("--input", required=True)
    args.add_argument("--output", required=True)
    args.add_argument("--threads", type=int, required=True)
    args.add_argument("--components", type=int, default=50)
    args = args.parse_args()

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    own = threading.local()

    def session():
        # One a thread is a little faster than one that is shared.
        if not hasattr(own, "session"):
            own.session = ort.InferenceSession(args.model, options, providers=["CPUExecutionProvider"])
            own.name = own.session.get_inputs()[0].name
        return own

    def embed(path):
        content = path.read_bytes()
        image = Image.open(io.BytesIO(content)).convert("RGB")
        width, height = image.size
        pixels = np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BICUBIC), dtype=np.float32)
        pixels = np.ascontiguousarray((pixels / 127.5 - 1).transpose(2, 0, 1)[None])
        mine = session()
        features = mine.session.run(None, {mine.name: pixels})[0].reshape(-1)
        return path.as_posix(), path.parent.name, width, height, len(content), features

    paths = sorted(path for path in Path(args.input).rglob("*") if path.suffix.lower() in ENDINGS)
    with ThreadPoolExecutor(args.threads) as pool:
        rows = list(pool.map(embed, paths, chunksize=1))
    names, labels, widths, heights, sizes, features = zip(*rows)
    features = np.stack(features)

    wide = features.astype(np.float64)
    mean = wide.mean(axis=0)
    wide -= mean
    _, vectors = np.linalg.eigh(wide.T @ wide / (len(wide) - 1))
    components = vectors[:, ::-1][:, : args.components]
    coordinates = (wide @ components).astype(np.float32)

    def lists(matrix):
        offsets = np.arange(0, matrix.size + 1, matrix.shape[1], dtype=np.int32)
        return pa.ListArray.from_arrays(pa.array(offsets), pa.array(matrix.reshape(-1)))

    table = pa.table(
        {
            "path": names,
            "label": labels,
            "width": pa.array(widths, pa.int32()),
            "height": pa.array(heights, pa.int32()),
            "bytes": pa.array(sizes, pa.int64()),
            "features": lists(features),
            "pca": lists(coordinates),
        }
    )
    Path(args.output).mkdir(parents=True, exist_ok=True)
    pq.write_table(table, f"{args.output}/part-0.parquet")


main()
