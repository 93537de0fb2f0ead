"""The Python blocks of the pages run, in order, each section by itself.

Blocks after ``<!-- needs X -->`` are code of other libraries. The front page and the quick start
run when the site is built.
"""

import re
import textwrap
from pathlib import Path

import pytest

from slidelearn import SlideClassifier
from slidelearn.datasets import dump_xmc_file, make_extreme_classification

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "docs/guide.md", "docs/install.md", "docs/migration.md",
         "docs/persistence.md")
HEADING_OR_BLOCK = re.compile(
    r"^## (?P<heading>[^\n]*)$|"
    r"^(?P<foreign><!-- needs \w+ -->\n)? *```python\n(?P<code>.*?)^ *```$",
    re.MULTILINE | re.DOTALL)

pytestmark = pytest.mark.skipif(not (ROOT / "docs/guide.md").is_file(),
                                reason="the pages aren't here")


def blocks(page):
    """(section, line, code) of each block."""
    text, section = (ROOT / page).read_text("utf-8"), ""
    for match in HEADING_OR_BLOCK.finditer(text):
        if match["heading"]:
            section = match["heading"]
        elif not match["foreign"]:
            line = text.count("\n", 0, match.start("code"))
            # Empty lines before the code: its line numbers are those of the page.
            yield section, line + 1, "\n" * line + textwrap.dedent(match["code"])


@pytest.fixture
def names(tmp_path, monkeypatch):
    """What the pages take for granted."""
    monkeypatch.chdir(tmp_path)
    X, Y = make_extreme_classification(300, 100, 40, random_state=0)
    dump_xmc_file(X, Y, "train.txt")
    texts = ["ripe red apple", "a yellow banana"] * 150
    Path("fasttext.txt").write_text(
        "".join(f"__label__{text.split()[-1]} {text}\n" for text in texts), "utf-8")
    return {"SlideClassifier": SlideClassifier, "model": SlideClassifier(random_state=0).fit(X, Y),
            "X": X, "Y": Y, "X_test": X[:50], "Y_test": Y[:50], "chunks": [(X, Y)] * 2,
            "texts": texts, "new_texts": texts[:2]}


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.filterwarnings("ignore:.*Maximum iterations")
def test_python_blocks_run(page, names):
    namespaces = {}
    for section, line, code in blocks(page):
        namespace = namespaces.setdefault(section, dict(names))
        try:
            exec(compile(code, str(ROOT / page), "exec"), namespace)
        except Exception as error:
            raise AssertionError(f"the block in line {line} of {page} doesn't run") from error


@pytest.mark.parametrize("page", PAGES)
def test_no_block_is_missed(page):
    text = (ROOT / page).read_text("utf-8")
    n_foreign = text.count("<!-- needs ")
    assert len(list(blocks(page))) == text.count("```python\n") - n_foreign > 0
