"""What pyproject.toml cannot say: with the native engine in it a wheel is for one platform.

`make install` builds the engine (native/install); whoever installs or packs from that tree then
takes it along, else what is packed is pure Python.
"""

from pathlib import Path

from setuptools import Distribution, setup

NATIVE = Path(__file__).with_name("turnd").joinpath("_native.abi3.so").exists()


class WithEngine(Distribution):
    """A distribution with machine code, which setuptools has not built itself."""

    def has_ext_modules(self) -> bool:
        """Whether the wheel is for one platform."""
        return NATIVE


setup(
    distclass=WithEngine,
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if NATIVE else {},
)
