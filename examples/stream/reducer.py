"""Prints each key with the sum of its values. Lines of one key come together."""

import itertools
import sys

pairs = (line.rstrip("\n").split("\t", 1) for line in sys.stdin)
for word, group in itertools.groupby(pairs, key=lambda pair: pair[0]):
    print(f"{word}\t{sum(int(count) for _, count in group)}")
