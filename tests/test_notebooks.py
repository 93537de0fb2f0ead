"""What a notebook shows: progress bars with and without ipywidgets, and the estimator as HTML."""

import re
from html.parser import HTMLParser

import nbformat
import pytest
import sklearn
from conftest import small
from nbclient import NotebookClient
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler
from sklearn.utils.fixes import parse_version

IMPORT = """
import sys
{before}
import slidelearn
from slidelearn.datasets import make_extreme_classification
X, Y = make_extreme_classification(2000, 200, 100, random_state=0)
"""
FIT = "slidelearn.SlideClassifier((16,), max_iter=2, verbose={}, random_state=0).fit(X, Y);"

LINES = r"(epoch \d/2: loss \d+\.\d+\n){2}training linear rankers\n"


def run_cells(*sources):
    """Outputs of each cell, from a kernel of its own."""
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    notebook = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    return [cell.outputs for cell in notebook.cells], notebook.metadata


def text_of(outputs, stream):
    return "".join(part.text for part in outputs
                   if part.output_type == "stream" and part.name == stream)


def widgets_of(outputs):
    kind = "application/vnd.jupyter.widget-view+json"
    return [part.data[kind]["model_id"] for part in outputs
            if part.output_type == "display_data" and kind in part.data]


def test_progress_bar():
    outputs, metadata = run_cells(IMPORT.format(before=""), *(FIT.format(v) for v in (0, 1, 2)))
    states = metadata["widgets"]["application/vnd.jupyter.widget-state+json"]["state"]
    assert outputs[0] == outputs[1] == []
    for shown in outputs[2:]:
        assert text_of(shown, "stderr") == ""
        assert re.fullmatch(LINES, text_of(shown, "stdout"))
        (bar,) = widgets_of(shown)
    # The last bar stays and shows the end.
    left, middle, right = (states[child.removeprefix("IPY_MODEL_")]["state"]
                           for child in states[bar]["state"]["children"])
    assert left["value"] == "100%"
    assert middle["value"] == middle["max"] == 2 * 1900  # 100 are held out
    assert re.search(r"sample/s,\sepoch\s2/2,\sloss\s\d+\.\d+", right["value"])


def test_lines_without_ipywidgets():
    hidden = IMPORT.format(before='sys.modules["ipywidgets"] = None')
    outputs, _ = run_cells(hidden, *(FIT.format(verbose) for verbose in (0, 2)))
    assert outputs[0] == outputs[1] == []
    assert text_of(outputs[2], "stderr") == ""
    assert re.fullmatch(LINES, text_of(outputs[2], "stdout"))
    assert len(outputs[2]) == 1


class Links(HTMLParser):
    """Collects where the links of a page go."""

    def __init__(self, page):
        super().__init__()
        self.links = []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.links += [value for name, value in attributes if name == "href"]


def test_html_representation(tiny):
    for model in (small(n_jobs=2), small(n_jobs=2).fit(*tiny)):
        page = model._repr_html_()
        assert "SlideClassifier" in page
        # scikit-learn has no page about it.
        assert Links(page).links == []
        pipeline = make_pipeline(MaxAbsScaler(), model)._repr_html_()
        assert not [link for link in Links(pipeline).links if "Slide" in link]


@pytest.mark.skipif(parse_version(sklearn.__version__) < parse_version("1.9"),
                    reason="older ones list less")
def test_html_representation_lists_what_was_set_and_learnt(tiny):
    page = small(n_jobs=2).fit(*tiny)._repr_html_()
    rows = re.findall(r'<tr class="user-set">.*?<td class="param">(\w+)</td>', page, re.S)
    assert sorted(rows) == ["hidden_layer_sizes", "max_iter", "n_jobs", "random_state"]
    for name in ("classes_", "coefs_", "history_", "n_features_in_"):
        assert re.search(rf'<td class="param"><a [^>]*>{name}</a>', page), name
