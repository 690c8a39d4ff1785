"""Prints each word of the lines on standard input, with a tab and a 1."""

import sys

for line in sys.stdin:
    for word in line.split():
        print(f"{word}\t1")
