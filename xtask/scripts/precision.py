"""How far the features of one run are from those of another, photo by photo.

    precision.py OUTPUT REFERENCE

Prints the relative L2 distance, the cosine and the share of photos whose nearest neighbour (by cosine, over all others) is
the same, and ends with 1 if one of them is beyond the bounds below, which `params.precision = "fast"` stays well within.
"""

import glob
import sys

import numpy as np
import pyarrow.parquet as pq

L2_MOST, COSINE_LEAST, NEIGHBOUR_LEAST = 2e-3, 0.999995, 0.999


def features(folder):
    """Features in the order of paths, as f64."""
    table = pq.read_table(sorted(glob.glob(f"{glob.escape(folder)}/part-*.parquet")))
    rows = table.column("features").combine_chunks().flatten().to_numpy().reshape(len(table), -1)
    return rows[np.argsort(table.column("path").to_pylist())].astype(np.float64)


def nearest(rows):
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -np.inf)
    return cosines.argmax(axis=1)


def main():
    ours, reference = features(sys.argv[1]), features(sys.argv[2])
    assert ours.shape == reference.shape, f"{ours.shape} rows and features, and {reference.shape}"
    norm = np.linalg.norm
    far = norm(ours - reference, axis=1) / norm(reference, axis=1)
    cosine = (ours * reference).sum(axis=1) / norm(ours, axis=1) / norm(reference, axis=1)
    same = np.mean(nearest(ours) == nearest(reference))
    print(f"{len(ours)} photos")
    print(f"  relative L2          median {np.median(far):.2e}, worst {far.max():.2e}   (at most {L2_MOST:.0e})")
    print(f"  1 - cosine           worst {1 - cosine.min():.2e}   (at most {1 - COSINE_LEAST:.0e})")
    print(f"  nearest neighbour    the same for {same:.2%}   (at least {NEIGHBOUR_LEAST:.1%})")
    return int(far.max() > L2_MOST or cosine.min() < COSINE_LEAST or same < NEIGHBOUR_LEAST)


sys.exit(main())
