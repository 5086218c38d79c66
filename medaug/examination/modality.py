"""Whether what is read fits the modality that the settings name; read by `prepare` and `doctor`."""

from __future__ import annotations

from medaug.config.data import modality_of
from medaug.errors import ConfigError
from medaug.volumes import HU_OF_AIR


def check_modality_setting(section: str, modality: str, image: str, lowest: float, said: str | None) -> None:
    """What the file says (DICOM), else how dark the scan is, has to fit the configured modality.

    Args:
        section: "data" or "target", for the message.
        image: the path, for the message.
        lowest: intensity of the scan.
        said: the DICOM Modality; None where the file does not say it.

    Raises:
        ConfigError: naming the setting to correct.
    """
    key = f"{section}.modality"
    kind = None if said is None else modality_of(said) or "other"
    if kind is not None and kind != modality and (modality != "other" or kind == "CT"):
        raise ConfigError(f"{image}: found the DICOM Modality {said}; {key} is {modality}. Set {key}={kind}.")
    if modality not in ("CT", "other") and lowest < HU_OF_AIR:
        found = f"intensities down to {lowest:g}, as in CT (HU)"
        raise ConfigError(f"{image}: found {found}; {key} is {modality}. Set {key}=CT.")
