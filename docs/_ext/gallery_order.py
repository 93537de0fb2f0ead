"""The order of the examples in the gallery: what a newcomer needs first."""

ORDER = ["python_calls", "multiclass", "grid_search", "training", "tail_labels", "explain",
         "streaming", "prediction_speed", "lsh_recall"]


def by_place(filename):
    """Sort key of ``plot_*.py``; an example that isn't in `ORDER` fails the build."""
    return ORDER.index(filename.removeprefix("plot_").removesuffix(".py"))
