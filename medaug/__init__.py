"""GAN augmentation for medical images; every command of the command line is a function here (see `medaug.api`)."""

from importlib import import_module

__version__ = "0.1.0"

PACKAGES = ("phantoms", "report")
"""Commands whose names are also packages: their functions are `medaug.api.phantoms` and `medaug.api.report`."""


def __getattr__(name: str) -> object:
    """The functions of `medaug.api`, imported when one is asked for."""
    api = import_module("medaug.api")
    if name == "api":
        return api
    if name in api.__all__ and name not in PACKAGES:
        return getattr(api, name)
    raise AttributeError(f"module 'medaug' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *import_module("medaug.api").__all__})
