"""The generator on a GPU, for nnU-Net's data loader, whose forked workers must not touch CUDA.

A process of its own holds the weights on the device. Workers plan an insertion and cut its crop as ever; the crop goes
over a socket to that process, through the generator, and back. What is painted follows from the same seeds as on a CPU.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor

from medaug.errors import TrainingError
from medaug.models.base import Direction, Translator
from medaug.models.weights import Weights, load_weights

START_S = 300.0


def on_device(weights: Weights, folder: Path, device: torch.device) -> Weights:
    """The same weights, whose translator translates on `device` in a process of its own, which ends with this one.

    Raises:
        TrainingError: if that process does not start.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    server = context.Process(target=_serve_folder, args=(str(folder), str(device), theirs), daemon=True)
    server.start()
    if not ours.poll(START_S):
        raise TrainingError(f"{folder}: found no generator on {device} after {START_S:g} s; expected one. Is it free?")
    try:
        attach(weights.translator, ours.recv())
    except EOFError:
        raise TrainingError(f"{folder}: the process with the generator on {device} ended; see above why") from None
    return weights


def attach(translator: Translator, address: Any) -> None:
    """From now on the translator sends what it is to translate to the server at this address."""
    translator.translate = _Remote(address)  # type: ignore[method-assign]


def serve(translator: Translator, listener: Listener) -> None:
    """Answers every process that connects, one crop after the other, until this process ends."""
    turns = threading.Lock()
    while True:
        threading.Thread(target=_answer, args=(translator, listener.accept(), turns), daemon=True).start()


def _serve_folder(folder: str, device: str, told: Connection) -> None:
    translator = load_weights(folder).translator.to(device)
    with Listener(authkey=multiprocessing.current_process().authkey) as listener:
        told.send(listener.address)
        serve(translator, listener)


def _answer(translator: Translator, asked: Connection, turns: threading.Lock) -> None:
    device = next(translator.parameters()).device
    while True:
        try:
            x, direction, mask, style, seed = asked.recv()
        except EOFError:
            return
        chance = None if seed is None else Generator().manual_seed(seed)
        with turns, torch.inference_mode():
            beside = [None if array is None else torch.from_numpy(array).to(device) for array in (mask, style)]
            start = torch.from_numpy(x).to(device)
            made = translator.translate(start, direction, mask=beside[0], style=beside[1], generator=chance)
        asked.send(made.float().cpu().numpy())


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
        generator: Generator | None = None,
    ) -> Tensor:
        if self._connection is None or self._connection[0] != os.getpid():
            self._connection = os.getpid(), Client(self.address, authkey=multiprocessing.current_process().authkey)
        asked = self._connection[1]
        arrays = [None if tensor is None else tensor.numpy() for tensor in (mask, style)]
        asked.send((x.numpy(), direction, *arrays, None if generator is None else generator.initial_seed()))
        return torch.from_numpy(asked.recv())
