"""GAN augmentation for medical images; every command of the command line is a function here (see `medaug.api`)."""

__version__ = "0.1.0"

PACKAGES = ("phantoms", "report")
"""Commands whose names are also packages: their functions are `medaug.api.phantoms` and `medaug.api.report`."""


def __getattr__(name: str) -> object:
    """The functions of `medaug.api`, imported when one is asked for."""
    import medaug.api as api

    if name in api.__all__ and name not in PACKAGES:
        return getattr(api, name)
    raise AttributeError(f"module 'medaug' has no attribute '{name}'")


def __dir__() -> list[str]:
    import medaug.api as api

    return sorted({*globals(), *api.__all__})
