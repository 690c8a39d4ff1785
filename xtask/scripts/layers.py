"""Draws where the network's time goes: a bar for each layer, with the part of it that the multiply-add units need.

    cargo run --release --package mr-vision --example layers | python3 xtask/scripts/layers.py docs/kernel-layers.svg
"""

import re
import sys

ROW, TOP, LEFT, WIDTH = 15, 64, 190, 560
COLOURS = {"stem": "#7a5195", "expand": "#2f6db3", "depthwise": "#d1495b", "project": "#2a9d6f", "head": "#7a5195"}


def main():
    text = sys.stdin.read().splitlines()
    kernels, peak = re.match(r"(\S+): ([\d.]+) GFLOP/s", text[0]).groups()
    peak = float(peak)
    rows = []
    for line in text[2:]:
        name, mflop, us = re.match(r"(.+?)\s+([\d.]+)\s+([\d.]+)\s", line).groups()
        rows.append((name, float(us), float(mflop) / peak * 1e3))
    *rows, (_, total, limit) = rows
    scale = WIDTH / max(us for _, us, _ in rows)
    height = TOP + ROW * len(rows) + 30
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + 110}" height="{height}" '
        'font-family="sans-serif" font-size="11" fill="#222">',
        '<rect width="100%" height="100%" fill="#fff"/>',
        f'<text x="12" y="22" font-size="15">Each layer of MobileNetV2 on one core ({kernels}): microseconds</text>',
        f'<text x="12" y="42" fill="#555">solid: what the multiply-add units need at {peak:.0f} GFLOP/s; pale: everything else. '
        f"All: {total:.0f} of which {limit:.0f}, {limit / total:.0%}.</text>",
    ]
    for index, (name, us, least) in enumerate(rows):
        y = TOP + index * ROW
        colour = COLOURS[name.split()[0]]
        out.append(f'<text x="{LEFT - 8}" y="{y + 10}" text-anchor="end">{name}</text>')
        for length, opacity in [(us, 0.35), (min(least, us), 1)]:
            width = length * scale
            out.append(
                f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" height="{ROW - 4}" fill="{colour}" fill-opacity="{opacity}"/>'
            )
        out.append(f'<text x="{LEFT + us * scale + 6:.1f}" y="{y + 10}" fill="#555">{us:.0f}, {min(least / us, 1):.0%}</text>')
    out.append("</svg>")
    with open(sys.argv[1], "w", encoding="utf-8") as file:
        file.write("\n".join(out) + "\n")


main()
