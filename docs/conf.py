"""Sphinx configuration. One command builds the site; see CONTRIBUTING."""

import os
import sys
from pathlib import Path

import slidelearn

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))

project = "slidelearn"
author = "The slidelearn developers"
version = release = slidelearn.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
    "myst_nb",  # brings myst_parser
    "sphinx_design",
    "sphinx_copybutton",
    "mathml",
]
exclude_patterns = ["_build", "examples", "auto_examples/*.ipynb", "**.ipynb_checkpoints"]
templates_path = ["_templates"]
smartquotes = False  # quotes here are mostly those of strings

# Links to other projects need the internet while building.
if os.environ.get("SLIDELEARN_DOCS_INTERSPHINX"):
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3", None),
        "numpy": ("https://numpy.org/doc/stable", None),
        "scipy": ("https://docs.scipy.org/doc/scipy", None),
        "sklearn": ("https://scikit-learn.org/stable", None),
        "matplotlib": ("https://matplotlib.org/stable", None),
    }

# Every reference must lead somewhere. Left out: other projects, and single backticks, which become
# links where they name something of the API and code where they don't (parameters, private files).
nitpicky = True
OTHERS = sorted(sys.stdlib_module_names | {"sklearn", "scipy", "numpy", "matplotlib", "joblib",
                                           "pandas", "polars", "tqdm"})
nitpick_ignore_regex = [
    (r"py:.*", rf"({'|'.join(OTHERS)})(\..*)?"),
    (r"py:obj", r".*"),
]
default_role = "py:obj"

# -- API pages

autosummary_generate = True
autodoc_typehints = "none"  # the docstrings say more
toc_object_entries_show_parents = "hide"
numpydoc_show_class_members = False  # the templates list them
numpydoc_validation_checks = {
    "all",
    "ES01",  # no extended summary
    "EX01",  # no example
    "GL01",  # summary on the first line
    "RT02",  # names of returned values
    "RT03",  # `self : SlideClassifier` says it all
    "SA01",  # no "See Also"
    "SS05",  # takes "Scores" for a verb
}

# -- Markdown and notebooks

highlight_language = "none"  # of a code block that doesn't say
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_execution_timeout = 600
nb_merge_streams = True

# -- Gallery

sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "auto_examples",
    "backreferences_dir": "api/backreferences",
    "doc_module": ("slidelearn",),
    "reference_url": {"slidelearn": None},
    "within_subsection_order": "gallery_order.by_place",
    "show_memory": False,
    "write_computation_times": False,
    "download_all_examples": False,
    "image_scrapers": ("matplotlib",),
    "remove_config_comments": True,
}

# -- HTML

html_theme = "pydata_sphinx_theme"
html_title = f"slidelearn {release}"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_favicon = "_static/logo.svg"
html_copy_source = False
html_show_sourcelink = False
html_sidebars = {name: [] for name in  # pages without pages under them
                 ["notebooks/*", *(page.stem for page in HERE.glob("*.md"))]}
html_math_renderer = "mathml"
html_theme_options = {
    "logo": {"text": "slidelearn", "image_light": "_static/logo.svg",
             "image_dark": "_static/logo.svg", "alt_text": "slidelearn"},
    "header_links_before_dropdown": 6,
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": ["theme-version"],
}
copyright = f"{author}, BSD-3-Clause"
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
