"""Pixels that we decoded against Pillow's, which are libjpeg-turbo's.

    check_pixels.py LIST

Each line of LIST has a photo and the file with our RGB, a tab between. Photos that Pillow refuses are left out: what we
make of those that are cut short is ours.
"""

import sys

import numpy as np
from PIL import Image, features


def main():
    compared, refused, worst = 0, 0, 0
    for line in open(sys.argv[1]):
        photo, pixels = line.rstrip("\n").split("\t")
        try:
            theirs = np.asarray(Image.open(photo).convert("RGB"), dtype=np.int16)
        except OSError:
            refused += 1
            continue
        ours = np.fromfile(pixels, dtype=np.uint8).reshape(theirs.shape)
        difference = int(np.abs(ours - theirs).max())
        assert difference <= 1, f"{photo} is {difference} grey levels off"
        worst = max(worst, difference)
        compared += 1
    assert compared > 500 and refused < 10, (compared, refused)
    version = features.version("libjpeg_turbo")
    print(f"  pixels: {compared} photos at most {worst} levels from libjpeg-turbo {version}; {refused} it refuses")


main()
