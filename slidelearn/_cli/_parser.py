"""The command line's grammar and its help."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Callable
from typing import NoReturn

from .._version import __version__
from ._convert import convert
from ._data import FORMATS
from ._errors import UserError
from ._export import FORMATS as MODEL_FORMATS
from ._export import export
from ._options import add_estimator_options
from ._predict import evaluate, predict
from ._train import train

FILES = """\
data files:
  xmc       text: "n_samples n_features n_labels", then rows "label,label feature:value ..."
  svmlight  text: such rows without a header; comments (#) are allowed
  npz       features by scipy.sparse.save_npz; labels in a second file of that kind (--labels)
  The format is known by the content. Text may be compressed (.gz, .bz2). Labels and features
  count from zero (see --one-based).

Results replace files of their name, when they are complete, but never an input.
exit codes: 0 done, 1 unexpected error, 2 wrong usage or bad input, 130 Ctrl-C, 143 SIGTERM.
"""
TRUST = ("A model file by train is a pickle (by joblib), which can run any code when it is loaded: "
         "use those only that come from where you trust.")


class Parser(argparse.ArgumentParser):
    """A parser whose complaints are ordinary errors of this program."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} (see {self.prog} --help)")


def make_parser() -> Parser:
    """Return the parser; the function of the command that was called is in `command`."""
    parser = Parser(prog="slidelearn", description="Extreme classification from the command line.",
                    epilog=FILES, formatter_class=argparse.RawDescriptionHelpFormatter,
                    allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"slidelearn {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(function: Callable[[argparse.Namespace], None], description: str,
            *parents: Parser) -> argparse.ArgumentParser:
        name = function.__name__
        command = commands.add_parser(
            name, help=description.partition(".")[0], epilog=FILES,
            description=textwrap.fill(description, 80),
            formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False,
            parents=[*parents, *([] if function is export else [_common()]), _debug()])
        command.set_defaults(command=function)
        return command

    _add_train(add(train, f"Train a model. {TRUST}"))
    _add_predict(add(predict, f"Write the best labels of each row. {TRUST}", _with_model()))
    _add_evaluate(add(evaluate, "Print precision and nDCG at k. " + TRUST, _with_model()))
    _add_convert(add(convert, "Write a data set in another format. Text to text takes little "
                     "memory."))
    _add_export(add(export, "Write a model for prediction only: a safetensors file, which is no "
                    f"pickle, or an ONNX graph. {TRUST}"))
    return parser


def _common() -> Parser:
    """Options of all commands."""
    common = Parser(add_help=False)
    common.add_argument("--format", choices=FORMATS, help="format of DATA, if not by its content")
    common.add_argument("--one-based", action="store_true",
                        help="features of svmlight files, read or written, count from one")
    common.add_argument("-q", "--quiet", action="store_true", help="no progress, no summary")
    return common


def _debug() -> Parser:
    debug = Parser(add_help=False)
    debug.add_argument("--debug", action="store_true", help="show where an error came from")
    return debug


def _add_train(parser: argparse.ArgumentParser) -> None:
    _add_data(parser)
    _add_labels(parser)
    parser.add_argument("-m", "--model", required=True, metavar="FILE", help="the file to write")
    parser.add_argument("--seed", type=_natural, default=0, metavar="INT",
                        help="the same seed gives the same model (default: 0)")
    _add_threads(parser)
    parser.add_argument("--n-features", type=_positive, metavar="INT",
                        help="of svmlight files (default: as many as occur)")
    parser.add_argument("--n-labels", type=_positive, metavar="INT",
                        help="of svmlight files (default: as many as occur)")
    parser.add_argument("--stream", action="store_true",
                        help="for text larger than memory: read it once an epoch, in parts. Trains "
                        "the network only: no linear rankers, no calibration, nothing held out")
    parser.add_argument("--chunk-rows", type=_positive, default=65_536, metavar="INT",
                        help="rows in memory with --stream; for each such part the model is "
                        "copied once (default: 65536)")
    add_estimator_options(parser)


def _with_model() -> Parser:
    """Arguments of commands that use a model."""
    parser = Parser(add_help=False)
    _add_model(parser)
    _add_data(parser)
    parser.add_argument("--method", choices=("exact", "lsh"), default="exact",
                        help="how the best labels are found (default: exact)")
    _add_threads(parser)
    return parser


def _add_predict(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-k", type=_positive, metavar="INT", help="labels a row (default: 5)")
    parser.add_argument("-o", "--out", metavar="FILE", help="(default: standard output)")
    parser.add_argument("--label-names", metavar="FILE", help="a name a line, written instead of "
                        "numbers")
    parser.add_argument("--proba", action="store_true",
                        help="write probabilities instead of log-odds")


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    _add_labels(parser)
    parser.add_argument("-k", type=_positives, metavar="INT[,INT...]", help="(default: 1,3,5)")
    parser.add_argument("--json", action="store_true", help="fractions as JSON, not percents")
    parser.add_argument("--train-labels", metavar="FILE",
                        help="training data (text, or the npz file of labels): print "
                        "propensity-scored precision, too")
    parser.add_argument("--propensity-a", type=float, default=0.55, metavar="FLOAT",
                        help="A of the propensities (default: 0.55)")
    parser.add_argument("--propensity-b", type=float, default=1.5, metavar="FLOAT",
                        help="B of the propensities (default: 1.5)")


def _add_convert(parser: argparse.ArgumentParser) -> None:
    _add_data(parser)
    parser.add_argument("out", metavar="OUT", help="the file to write; see --to")
    _add_labels(parser)
    parser.add_argument("--to", choices=FORMATS,
                        help="format of OUT, if not by its name: .txt or .xmc, .svm, .svmlight or "
                        ".libsvm, .npz")
    parser.add_argument("--labels-out", metavar="FILE", help="where the labels go, for npz")


def _add_export(parser: argparse.ArgumentParser) -> None:
    _add_model(parser)
    parser.add_argument("out", metavar="OUT", help="the file to write; see --to")
    parser.add_argument("--to", choices=MODEL_FORMATS,
                        help="format of OUT, if not by its name: .safetensors, .onnx")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), help="safetensors: how the "
                        "output layer is stored (default: as it is)")
    parser.add_argument("--hash-tables", action="store_true",
                        help="safetensors: with the tables of --method lsh")
    parser.add_argument("-k", type=_positive, metavar="INT", help="onnx: labels a row (default: 5)")
    parser.add_argument("--sparse", action="store_true",
                        help="onnx: the inputs are the arrays of a CSR matrix, not a dense one")


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL",
                        help="written by train or export, or by joblib.dump")


def _add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", metavar="DATA", help="the file to read, see below")


def _add_labels(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-y", "--labels", metavar="FILE", help="labels of npz data")


def _add_threads(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--threads", type=_threads, default=-1, metavar="INT",
                        help="(default: all processors); results don't depend on it")


def _natural(text: str) -> int:
    value = int(text)
    if not 0 <= value < 2**32:
        raise argparse.ArgumentTypeError(f"{text} is not in the range 0 to {2**32 - 1}")
    return value


def _positive(text: str) -> int:
    value = int(text)
    if not 1 <= value < 2**31 - 1:
        raise argparse.ArgumentTypeError(f"{text} is not in the range 1 to {2**31 - 2}")
    return value


def _positives(text: str) -> list[int]:
    return sorted({_positive(part) for part in text.split(",")})


def _threads(text: str) -> int:
    return -1 if int(text) == -1 else _positive(text)


for _function, _name in ((_natural, "int"), (_positive, "int"), (_positives, "list of ints"),
                         (_threads, "int")):
    _function.__name__ = _name  # what argparse calls the type in its messages
