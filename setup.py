"""Compiles the Cython kernels. All metadata stands in pyproject.toml.

Every extension, compiler directive and flag is declared here, once, as data.

Environment switches
--------------------
SLIDELEARN_REQUIRE_OPENMP=1
    A compiler without OpenMP is an error instead of a single-threaded build.
SLIDELEARN_BOUNDSCHECK=1
    Kernels check every index and None argument (slow; for tests).
"""

import os
import sys
import sysconfig
import tempfile
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

PACKAGE = Path("slidelearn")
KERNELS = PACKAGE / "_kernels"
CHECKED = os.environ.get("SLIDELEARN_BOUNDSCHECK", "0") not in ("", "0")
REQUIRE_OPENMP = os.environ.get("SLIDELEARN_REQUIRE_OPENMP", "0") not in ("", "0")

# One wheel for all versions of CPython: kernels use its stable ABI, which costs a call about half a
# microsecond (CONTRIBUTING.md). Free-threaded builds have none.
STABLE_ABI = (sys.implementation.name == "cpython"
              and not sysconfig.get_config_var("Py_GIL_DISABLED"))
OLDEST_PYTHON = (3, 11)  # as requires-python says
LIMITED_API = [("Py_LIMITED_API", "0x{:02x}{:02x}0000".format(*OLDEST_PYTHON))]
WHEEL_TAG = "cp{}{}".format(*OLDEST_PYTHON)

DIRECTIVES = {
    "language_level": 3,
    "boundscheck": CHECKED,
    "initializedcheck": CHECKED,
    "nonecheck": CHECKED,
    "wraparound": False,
    "cdivision": True,
    "embedsignature": True,
    "freethreading_compatible": True,
}

# No -ffast-math and no contraction behind our back: a fused multiply-add stands in the source
# where it is meant, so that the same seed gives the same bits on every machine.
UNIX_FLAGS = ["-O3", "-std=c11", "-ffp-contract=off", "-fno-math-errno", "-Wno-unused-function"]
MSVC_FLAGS = ["/O2", "/std:c11", "/fp:precise"]
OPENMP_CANDIDATES = {  # (compile flags, link flags), tried in order
    "unix": [(["-fopenmp"], ["-fopenmp"]), (["-Xpreprocessor", "-fopenmp"], ["-lomp"])],
    "msvc": [(["/openmp"], [])],
}
OPENMP_PROBE = """
#include <omp.h>
int main(void) { int n = 0;
#pragma omp parallel reduction(+:n)
n += 1; return n == 0 || omp_get_max_threads() < 1; }
"""


def find_openmp(compiler):
    """The first (compile, link) flags with which an OpenMP program builds, or None."""
    kind = "msvc" if compiler.compiler_type == "msvc" else "unix"
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "probe.c"
        source.write_text(OPENMP_PROBE)
        for compile_flags, link_flags in OPENMP_CANDIDATES[kind]:
            try:
                objects = compiler.compile([str(source)], output_dir=folder,
                                           extra_postargs=compile_flags)
                compiler.link_executable(objects, str(Path(folder) / "probe"),
                                         extra_postargs=link_flags)
            except (Exception, SystemExit):  # each compiler class has errors of its own
                continue
            return compile_flags, link_flags
    return None


class BuildKernels(build_ext):
    """Adds the flags of the compiler that is really used."""

    def build_extensions(self):
        openmp = find_openmp(self.compiler)
        if openmp is None:
            message = "slidelearn: this compiler has no OpenMP: kernels will run on one thread."
            if REQUIRE_OPENMP:
                raise SystemExit(f"{message} An error, as SLIDELEARN_REQUIRE_OPENMP is set.")
            print(message, file=sys.stderr)
        compile_flags, link_flags = openmp or ([], [])
        flags = MSVC_FLAGS if self.compiler.compiler_type == "msvc" else UNIX_FLAGS
        for extension in self.extensions:
            extension.extra_compile_args = flags + compile_flags
            extension.extra_link_args = link_flags
        super().build_extensions()


def extensions():
    return cythonize(
        [
            Extension(
                ".".join(source.with_suffix("").parts),
                [str(source)],
                include_dirs=[str(KERNELS)],
                define_macros=LIMITED_API if STABLE_ABI else [],
                py_limited_api=STABLE_ABI,
                depends=[str(header) for header in sorted(KERNELS.rglob("*.h"))],
            )
            for source in sorted([*PACKAGE.glob("*.pyx"), *KERNELS.glob("*.pyx")])
        ],
        compiler_directives=DIRECTIVES,
        force=CHECKED or None,
    )


setup(
    ext_modules=extensions(),
    cmdclass={"build_ext": BuildKernels},
    options={"bdist_wheel": {"py_limited_api": WHEEL_TAG}} if STABLE_ABI else {},
)
