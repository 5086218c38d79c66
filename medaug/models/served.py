"""The generator on a device, for processes that must not touch it: forked data loader workers cannot use CUDA.

A process of its own holds the weights on the device. Workers plan an edit and cut its crop as ever; the crop goes over
a socket to that process, through the generator together with those that other workers have sent meanwhile, and back.
What is painted follows from the same seeds as on a CPU.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor

from medaug.devices import EXACT
from medaug.errors import TrainingError
from medaug.models.base import Chance, Direction, Translator
from medaug.models.weights import Weights, load_weights

START_S = 300.0


class _Asked(NamedTuple):
    """What is to be translated, by whom it was asked; (B, ...) each, or None, with a seed a sample."""

    x: np.ndarray
    direction: Direction
    mask: np.ndarray | None
    style: np.ndarray | None
    seeds: list[int] | None

    @property
    def kind(self) -> tuple[Any, ...]:
        """Those of one kind fit into one batch."""
        shapes = [None if array is None else array.shape[1:] for array in (self.x, self.mask, self.style)]
        return (self.direction, *shapes, self.seeds is None)


def served(folder: Path, accelerator: str, precision: str = EXACT) -> Any:
    """Starts a process that translates by these weights on this device, and ends with this one; returns its address.

    Raises:
        TrainingError: if that process does not start.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    server = context.Process(target=_serve_folder, args=(str(folder), accelerator, precision, theirs), daemon=True)
    server.start()
    theirs.close()  # so that its end is seen here
    if not ours.poll(START_S):
        raise TrainingError(
            f"{folder}: found no generator on {accelerator} after {START_S:g} s; expected one. Is the device free?"
        )
    try:
        return ours.recv()
    except EOFError:
        raise TrainingError(
            f"{folder}: the process with the generator on {accelerator} ended; expected it to serve. See above why."
        ) from None


def attach(translator: Translator, address: Any) -> None:
    """From now on the translator, which stays on the CPU, sends what it is to translate to the server there."""
    translator.translate = _Remote(address)  # type: ignore[method-assign]


def serve(weights: Weights, listener: Listener) -> None:
    """Answers every process that connects, until this process ends."""
    waiting: SimpleQueue[tuple[_Asked, Connection]] = SimpleQueue()
    threading.Thread(target=_translate_all, args=(weights, waiting), daemon=True).start()
    while True:
        threading.Thread(target=_listen, args=(listener.accept(), waiting), daemon=True).start()


def _serve_folder(folder: str, accelerator: str, precision: str, told: Connection) -> None:
    weights = load_weights(folder).on(accelerator, precision)
    with Listener(authkey=multiprocessing.current_process().authkey) as listener:
        told.send(listener.address)
        serve(weights, listener)


def _listen(asking: Connection, waiting: SimpleQueue[tuple[_Asked, Connection]]) -> None:
    while True:
        try:
            waiting.put((asking.recv(), asking))
        except EOFError:
            return


def _translate_all(weights: Weights, waiting: SimpleQueue[tuple[_Asked, Connection]]) -> None:
    """In turn, whatever has come; what is of one kind in one pass. An error goes to those who asked."""
    while True:
        came = [waiting.get()]
        while not waiting.empty():
            came.append(waiting.get())
        by_kind: dict[tuple[Any, ...], list[tuple[_Asked, Connection]]] = {}
        for asked, asking in came:
            by_kind.setdefault(asked.kind, []).append((asked, asking))
        for group in by_kind.values():
            answers = _answers(weights, [asked for asked, _ in group])
            for (_, asking), answer in zip(group, answers, strict=True):
                try:
                    asking.send(answer)
                except OSError:  # it has ended meanwhile
                    continue


def _answers(weights: Weights, asked: list[_Asked]) -> list[Any]:
    """What was made for each, or the error; what does not fit into memory together is tried in halves."""
    try:
        return _translated(weights, asked)
    except torch.OutOfMemoryError as error:
        if len(asked) > 1:
            half = len(asked) // 2
            return [*_answers(weights, asked[:half]), *_answers(weights, asked[half:])]
        return [
            TrainingError(
                f"{weights.device}: found no memory for the generator at crops of {asked[0].x.shape} ({error}); "
                "expected some beside the networks. Use --accelerator cpu, a lower evaluation.batch_size or a free GPU."
            )
        ]
    except Exception as error:
        return [error] * len(asked)


@torch.inference_mode()
def _translated(weights: Weights, asked: list[_Asked]) -> list[np.ndarray]:
    def joined(arrays: list[Any]) -> Tensor | None:
        return None if arrays[0] is None else torch.from_numpy(np.concatenate(arrays))

    seeds = None if asked[0].seeds is None else [seed for one in asked for seed in one.seeds or ()]
    made = weights.translate(
        torch.from_numpy(np.concatenate([one.x for one in asked])),
        asked[0].direction,
        mask=joined([one.mask for one in asked]),
        style=joined([one.style for one in asked]),
        generator=None if seeds is None else [Generator().manual_seed(seed) for seed in seeds],
    )
    return [part.numpy() for part in made.split([len(one.x) for one in asked])]


class _Remote:
    """`Translator.translate` by the server; each process has a connection of its own."""

    def __init__(self, address: Any):
        self.address = address
        self._connection: tuple[int, Connection] | None = None

    def __call__(
        self,
        x: Tensor,
        direction: Direction,
        *,
        mask: Tensor | None = None,
        style: Tensor | None = None,
        generator: Chance | None = None,
    ) -> Tensor:
        arrays = [None if tensor is None else tensor.numpy() for tensor in (mask, style)]
        chances = [generator] if isinstance(generator, Generator) else generator
        seeds = None if chances is None else [chance.initial_seed() for chance in chances]
        try:
            if self._connection is None or self._connection[0] != os.getpid():
                self._connection = os.getpid(), Client(self.address, authkey=multiprocessing.current_process().authkey)
            self._connection[1].send(_Asked(x.numpy(), direction, arrays[0], arrays[1], seeds))
            answer = self._connection[1].recv()
        except (EOFError, OSError) as error:
            raise TrainingError(
                f"the generator's process ended ({error or 'it closed the connection'}); expected it to answer until "
                "this one ends. Was it killed, for want of memory? The same command goes on where it was; with "
                "--accelerator cpu it needs no such process."
            ) from None
        if isinstance(answer, Exception):
            raise answer
        return torch.from_numpy(answer)
