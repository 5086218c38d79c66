"""Whether what is read fits the modality that the settings name; read by `prepare` and `doctor`."""

from __future__ import annotations

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
    if said is not None and said != modality and "CT" in (said, modality):
        raise ConfigError(f"{image}: found the DICOM Modality {said}; {key} is {modality}. Correct {key}.")
    if modality == "MR" and lowest < HU_OF_AIR:
        found = f"intensities down to {lowest:g}, as in CT (HU)"
        raise ConfigError(f"{image}: found {found}; {key} is MR. Set {key}=CT.")
