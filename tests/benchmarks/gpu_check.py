"""Is a GPU used rightly, and how fast: `make gpu-check`, or `python -m tests.benchmarks.gpu_check --out FILE`.

Prints a table and writes the same as JSON. Every section stands by itself: one that fails is a row, the others go on,
and the exit code is 1. On a machine without a GPU all sections run on the CPU with tiny sizes; that shows that they
run, and says nothing of any GPU.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch

import medaug

from . import gpu_right, gpu_speed
from .gpu_bench import Bench, Row

Section = Callable[[Bench], Iterator[Row]]
SECTIONS: tuple[Section, ...] = (
    gpu_right.ceilings, gpu_right.agreement, gpu_right.syncs, gpu_right.precisions, gpu_right.resuming,
    gpu_right.one_rank, gpu_speed.steps, gpu_speed.convolutions, gpu_speed.loading, gpu_speed.insertion,
    gpu_speed.downstream, gpu_speed.compiled,
)  # fmt: skip
"""In order; what takes longest, and is needed least, comes last."""
MINUTES = 8
NOTHING = "no GPU here: this ran on the CPU with tiny sizes, and measured nothing about a GPU"


def check(sections: Sequence[Section], bench: Bench, minutes: float = MINUTES) -> list[tuple[str, Row]]:
    """The rows of all sections, each printed as it is found; a section that fails is a row that says so."""
    found: list[tuple[str, Row]] = []
    begun = time.monotonic()

    def note(section: str, row: Row) -> None:
        found.append((section, row))
        mark = {None: " ", True: "+", False: "!"}[row.good]
        print(f"{mark} {section:<12} {row.what:<58} {row.found}", flush=True)

    for section in sections:
        name, started = section.__name__, time.monotonic()
        if started - begun > 60 * minutes:
            note(name, Row("left out", f"FAILED: {minutes:g} minutes are over", False))
            continue
        try:
            for row in section(bench):
                note(name, row)
        except Exception as error:
            reason = (str(error).splitlines() or [""])[0]
            note(name, Row("ended", f"FAILED: {type(error).__name__}: {reason}", False))
        note(name, Row("took", f"{time.monotonic() - started:.1f} s"))
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("gpu-check.json"), help="the JSON file")
    parser.add_argument("--accelerator", default="auto", help="auto, cpu, cuda or cuda:N")
    names = [section.__name__ for section in SECTIONS]
    parser.add_argument("--sections", nargs="+", choices=names, default=names, help="by default all")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="no section is begun after that")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        accelerator = given.accelerator
        if accelerator == "auto":
            accelerator = "cuda" if torch.cuda.is_available() else "cpu"
        bench = Bench(accelerator, tiny=not accelerator.startswith("cuda"), folder=Path(folder))
        device = torch.cuda.get_device_name(bench.device) if bench.gpu else platform.processor() or "CPU"
        print(f"medaug {medaug.__version__}, torch {torch.__version__}, {device}" if bench.gpu else NOTHING, flush=True)
        rows = check([section for section in SECTIONS if section.__name__ in given.sections], bench, given.minutes)
    failed = [row for _, row in rows if row.good is False]
    report = {
        "measured_a_gpu": bench.gpu,
        "device": device,
        "torch": torch.__version__,
        "medaug": medaug.__version__,
        "rows": [{"section": section, **row.to_json()} for section, row in rows],
    }
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(report, indent=1))
    print(f"{given.out}: {len(rows)} rows, {len(failed)} not as they should be")
    if not bench.gpu:
        print(NOTHING)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
