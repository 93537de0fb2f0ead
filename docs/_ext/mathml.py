"""Formulas as MathML, by docutils: browsers draw it without a script or a download.

A formula that docutils can't translate is a warning, hence an error in CI.
"""

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.util import logging

logger = logging.getLogger(__name__)


def _translated(node, as_block):
    try:
        return tex2mathml(node.astext(), as_block=as_block)
    except MathError as error:
        logger.warning("formula %r: %s", node.astext(), error, location=node)
        return node.astext()


def inline(writer, node):
    writer.body.append(_translated(node, as_block=False))
    raise nodes.SkipNode


def block(writer, node):
    formula = _translated(node, as_block=True)
    writer.body.append(f'<div class="formula">{formula}</div>\n')
    raise nodes.SkipNode


def setup(app):
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
