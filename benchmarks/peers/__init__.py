"""The classifiers that `compare.py` knows, each behind an adapter of the same shape.

A peer runs in a process and an interpreter of its own, as ``python -m peers.ADAPTER`` with this
directory's parent on the path. An adapter needs numpy, scipy and its peer, nothing of slidelearn;
`_adapter.py` is what they share, `launch.py` the other end of the line.
"""

from typing import NamedTuple


class Peer(NamedTuple):
    """One line of the comparison."""

    adapter: str  # module in this package; also the name of the interpreter
    variant: str
    title: str


PEERS = {
    "slidelearn": Peer("slidelearn", "default", "slidelearn"),
    "omikuji-parabel": Peer("omikuji", "parabel", "omikuji, Parabel"),
    "omikuji-bonsai": Peer("omikuji", "bonsai", "omikuji, Bonsai"),
    "pecos": Peer("pecos", "xr-linear", "PECOS XR-Linear"),
    "napkinxc": Peer("napkinxc", "plt", "napkinXC PLT"),
    "fasttext": Peer("fasttext", "ova", "fastText"),
    "sklearn-sgd": Peer("sklearn", "sgd", "OneVsRest(SGD)"),
    "sklearn-mlp": Peer("sklearn", "mlp", "MLPClassifier"),
    "torch-softmax": Peer("torch", "softmax", "torch softmax"),
    "torch-bce": Peer("torch", "bce", "torch BCE"),
    "tensorflow-softmax": Peer("tensorflow", "softmax", "TF softmax"),
    "tensorflow-sampled": Peer("tensorflow", "sampled", "TF sampled softmax"),
    "numpy-softmax": Peer("numpy_dense", "softmax", "numpy softmax"),
}
