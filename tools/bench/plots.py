"""SVG plots under docs/bench/. The same figures give the same bytes: identifiers are hashed with a
fixed salt and the file says neither when nor by what it was made."""
import os

import matplotlib

from servers import FLOOR_NAME, OURO_EPOLL, OURO_URING, ROOT

matplotlib.use("svg")
matplotlib.rcParams.update({
    "svg.hashsalt": "ouro", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 10,
    "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True,
    "axes.grid": True, "grid.color": "#dddddd", "figure.facecolor": "white",
})
from matplotlib import pyplot  # noqa: E402  (after the backend is chosen)

FOLDER = os.path.join(ROOT, "docs/bench")
COLORS = {FLOOR_NAME: "#8c8c8c", OURO_URING: "#0b6e4f", OURO_EPOLL: "#6cc4a1"}
LOG_BOTTOM = 0.05  # Less than this is noise, in microseconds per operation as in milliseconds.
OTHERS = ["#b5523b", "#3f6fb0", "#c79a2b", "#7d5ba6", "#4a4a4a"]


def colors(names):
    others = [name for name in names if name not in COLORS]
    return {name: COLORS.get(name) or OTHERS[others.index(name) % len(OTHERS)] for name in names}


def save(chart, name):
    os.makedirs(FOLDER, exist_ok=True)
    path = os.path.join(FOLDER, name + ".svg")
    chart.savefig(path, metadata={"Date": None, "Creator": None}, bbox_inches="tight")
    pyplot.close(chart)
    with open(path, encoding="utf-8") as file:
        lines = [line.rstrip() for line in file]
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")


def mark_target(axes, middle, width, target):
    axes.hlines(target, middle - width / 2, middle + width / 2, colors="black", linewidth=1.6,
                linestyles=(0, (3, 1.5)))


def bars(name, title, unit, groups, series, targets=None, digits=2, is_log=False):
    """Grouped bars with their figures: series is {server: [a value or None per group]}. Targets,
    one per group or None, are dashed lines."""
    wide = min(12, max(6.4, 0.45 * len(groups) * (len(series) + 1)))
    chart, axes = pyplot.subplots(figsize=(wide, 4))
    width = 0.84 / max(1, len(series))
    shades = colors(list(series))
    for index, (server, values) in enumerate(series.items()):
        places = [group + (index - (len(series) - 1) / 2) * width for group in range(len(groups))]
        shown = [(place, value) for place, value in zip(places, values) if value is not None]
        axes.bar([place for place, _ in shown], [value for _, value in shown], width * 0.94,
                 color=shades[server], label=server)
        for place, value in shown:
            axes.annotate("%.*f" % (digits, value), (place, max(value, 0)), ha="center",
                          va="bottom", fontsize=7 if wide < 12 else 5, xytext=(0, 1),
                          textcoords="offset points")
    for group, target in enumerate(targets or []):
        if target is not None:
            mark_target(axes, group, 0.92, target)
    if any(target is not None for target in targets or []):
        axes.plot([], [], color="black", linewidth=1.6, linestyle=(0, (3, 1.5)), label="target")
    axes.set_xticks(range(len(groups)))
    axes.set_xticklabels(groups)
    axes.grid(axis="x", visible=False)
    if is_log:
        axes.set_yscale("log")
        axes.set_ylim(bottom=LOG_BOTTOM)
    axes.set_ylabel(unit)
    axes.set_title(title, loc="left", fontsize=11, pad=30)
    axes.legend(frameon=False, ncol=min(6, len(series) + 1), loc="lower left", fontsize=8,
                bbox_to_anchor=(-0.02, 1.0), columnspacing=1.2, handlelength=1.4)
    save(chart, name)
