"""nnU-Net's own commands, with medaug's trainers found and nothing to export:

    python -m medaug.nnunet nnUNetv2_train 501 3d_fullres 0 -tr nnUNetTrainerMedaug

Any of nnU-Net's commands may stand there. They also run beside the CPU build of torch (see `library`): the module is
imported again in every process that nnU-Net starts.
"""

from __future__ import annotations

import sys
from importlib.metadata import entry_points

from medaug.errors import ConfigError, MedaugError
from medaug.nnunet.library import nnunet
from medaug.nnunet.trainers import export_trainers

PREFIX = "nnUNetv2_"


def main() -> None:
    """Runs the command that is named first, with the arguments after it."""
    commands = {point.name: point for point in entry_points(group="console_scripts") if point.name.startswith(PREFIX)}
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in commands:
        known = ", ".join(sorted(commands))
        raise ConfigError(f"python -m medaug.nnunet: found {name or 'no command'}; expected one of nnU-Net's: {known}")
    export_trainers()
    sys.argv = sys.argv[1:]
    commands[name].load()()


try:
    nnunet()
    if __name__ == "__main__":
        main()
except MedaugError as error:
    print(f"medaug: {error}", file=sys.stderr)
    sys.exit(error.exit_code)
