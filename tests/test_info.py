"""The instruction set in use, reported and forced."""

import json
import os
import subprocess
import sys

import pytest

import slidelearn
from slidelearn._kernels import _simd


def test_levels_are_reported():
    info = slidelearn.simd_info()
    assert info == {"level": _simd.get_level(), "available": list(_simd.available_levels())}
    assert info["available"][0] == "scalar"


@pytest.mark.parametrize("level", [*_simd.available_levels(), ""])
def test_environment_forces_what_is_reported(level):
    script = "import json, slidelearn; print(json.dumps(slidelearn.simd_info()))"
    environment = {**os.environ, "SLIDELEARN_SIMD": level,
                   "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    found = json.loads(subprocess.run([sys.executable, "-c", script], env=environment, check=True,
                                      capture_output=True, text=True).stdout)
    assert found["level"] == (level or found["available"][-1])
