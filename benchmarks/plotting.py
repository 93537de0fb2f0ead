"""What pictures of peers share: colours, axes, names beside points."""

import numpy as np
from peers import PEERS

COLOURS = {  # families; the greys are the dense networks
    "slidelearn": "#d1495b", "omikuji": "#00798c", "pecos": "#3a6ea5", "napkinxc": "#66a182",
    "fasttext": "#edae49", "sklearn": "#8d6a9f", "torch": "#4a5258", "tensorflow": "#868e95",
    "numpy_dense": "#b0b6bb",
}


def logarithmic_x(panel):
    """A logarithmic x axis on which 0.5, 1, 2, 5, ... are written as such."""
    from matplotlib.ticker import LogLocator, NullFormatter

    panel.set_xscale("log")
    panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panel.xaxis.set_major_formatter(lambda value, _: f"{value:,g}")
    panel.xaxis.set_minor_formatter(NullFormatter())


def place_names(panel, points, avoid=()):
    """Write each name beside its point, where it covers the least of what is there already.

    `points`: (x, y, peer); `avoid`: more (x, y) that shouldn't be covered.
    """
    panel.figure.draw_without_rendering()
    taken = [np.concatenate([place - 7, place + 7]) for place in
             map(panel.transData.transform, [(x, y) for x, y, *_ in [*points, *avoid]])]
    for x, y, peer in points:
        family = PEERS[peer].adapter
        best = None
        for dx, dy, ha, va in ((9, 0, "left", "center"), (-9, 0, "right", "center"),
                               (0, 9, "center", "bottom"), (0, -9, "center", "top"),
                               (8, 10, "left", "bottom"), (8, -10, "left", "top"),
                               (-8, 10, "right", "bottom"), (-8, -10, "right", "top"),
                               (8, 22, "left", "bottom"), (8, -22, "left", "top")):
            text = panel.annotate(PEERS[peer].title, (x, y), (dx, dy), ha=ha, va=va,
                                  textcoords="offset points", fontsize=8, color=COLOURS[family],
                                  fontweight="bold" if family == "slidelearn" else "normal")
            box = text.get_window_extent().extents
            frame = panel.get_window_extent().extents
            covered = sum(overlap(box, other) for other in taken)
            covered += 3 * (np.prod(box[2:] - box[:2]) - overlap(box, frame))
            if best is None or covered < best[0]:
                if best is not None:
                    best[1].remove()
                best = covered, text, box
            else:
                text.remove()
        taken.append(best[2])


def overlap(a, b):
    """Area that two boxes (x0, y0, x1, y1) have in common."""
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    return float(np.prod(np.maximum(sides, 0)))
