"""Sections of `gpu_check` that ask how fast a GPU is: a step against a plain one, the loader, insertion, the networks
after it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial
from itertools import islice

import torch
from torch.utils.data import DataLoader, Dataset

from medaug.evaluation.networks import SegmentationConfig
from medaug.evaluation.predictions import predict
from medaug.evaluation.updates import train_network
from medaug.models.methods import build_translator
from medaug.models.networks.layers import doubled_conv, laid_out, pad_reflect, padded_conv
from medaug.models.weights import load_weights
from medaug.phantoms import head_phantom
from medaug.stages.tasks import task_of
from medaug.training.loop import _loader, _State, _step
from medaug.transforms import RandInsertTumord
from medaug.transforms.batch import BatchInsertTumor

from .gpu_bench import DOMAIN, Bench, Row
from .plain_cyclegan import BLOCKS, WIDTH, PlainCycleGAN

GOAL = 1.5
"""A step in bfloat16, compiled, is so many times as fast as the plain one in the same precision."""


def steps(bench: Bench) -> Iterator[Row]:
    """A step against the plain one written from the paper."""
    shapes = [(1, 16, 16), (1, 16, 16, 16)] if bench.tiny else [(8, 48, 48), (1, 256, 256), (1, 96, 96, 96)]
    settings = {"width": WIDTH, "depth": BLOCKS, "discriminator_width": WIDTH, "discriminator_layers": 3}
    if bench.tiny:
        settings["discriminator_layers"] = 2
    for shape in shapes:
        a, b = bench.drawn(shape[0], 1, *shape[1:]), bench.drawn(shape[0], 1, *shape[1:], seed=1)
        batch = {"a": a.cpu(), "b": b.cpu(), "seed": torch.arange(shape[0])}
        size = f"{'×'.join(map(str, shape[1:]))}, batch {shape[0]}"
        for precision in ("32-true", "bf16-mixed"):
            dtype = torch.bfloat16 if precision == "bf16-mixed" else torch.float32
            taken = {}
            for up in () if bench.tiny and precision != "32-true" else ("transposed",):
                plain = PlainCycleGAN(len(shape) - 1, up, 2 if bench.tiny else 3).to(bench.device)

                def theirs(plain: PlainCycleGAN = plain, a=a, b=b, dtype: torch.dtype = dtype) -> None:
                    with torch.autocast(bench.device.type, dtype) if dtype != torch.float32 else nullcontext():
                        plain.step(a, b)

                taken["plain"] = bench.seconds(theirs)
            model = build_translator("cyclegan", settings, DOMAIN, DOMAIN, len(shape) - 1)
            if bench.gpu:
                torch.cuda.reset_peak_memory_stats()
            step = bench.stepping(model, batch, precision)
            taken["medaug"] = bench.seconds(step)
            yield Row(f"{size}, {precision}: images/s", f"{shape[0] / taken['medaug']:.1f}", None, taken["medaug"])
            if "plain" in taken:
                ratio = taken["plain"] / taken["medaug"]
                yield Row(f"{size}, {precision}: times as fast as the plain step", f"{ratio:.2f}", None, ratio)
            if bench.gpu:
                peak = torch.cuda.max_memory_allocated() / 2**30
                yield Row(f"{size}, {precision}: peak memory", f"{peak:.2f} GiB", None, peak)
                busy = _busy(bench, step)
                yield Row(f"{size}, {precision}: GPU busy", f"{busy:.0%}", None, busy)


def compiled(bench: Bench) -> Iterator[Row]:
    """The generators' and discriminators' losses through torch.compile, where a GPU is worth the minutes."""
    if not bench.gpu:
        yield Row("compiled step", "asked of a GPU only")
        return
    for shape in [(8, 48, 48), (1, 96, 96, 96)]:
        settings = {"width": WIDTH, "depth": BLOCKS, "discriminator_width": WIDTH, "discriminator_layers": 3}
        model = build_translator("cyclegan", settings, DOMAIN, DOMAIN, len(shape) - 1)
        a, b = (bench.drawn(shape[0], 1, *shape[1:], seed=seed) for seed in (0, 1))
        batch = {"a": a.cpu(), "b": b.cpu(), "seed": torch.arange(shape[0])}
        for network in (*model.generators.values(), *model.discriminators.values()):
            network.compile()
        taken = bench.seconds(bench.stepping(model, batch, "bf16-mixed"))
        plain = PlainCycleGAN(len(shape) - 1, "transposed").to(bench.device)

        def theirs(plain: PlainCycleGAN = plain, a=a, b=b) -> None:
            with torch.autocast(bench.device.type, torch.bfloat16):
                plain.step(a, b)

        ratio = bench.seconds(theirs) / taken
        size = "×".join(map(str, shape[1:]))
        yield Row(f"{size}, bf16-mixed, compiled: times as fast as plain", f"{ratio:.2f}", ratio >= GOAL, ratio)


def _busy(bench: Bench, step) -> float:
    """The share of the time in which a kernel runs."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as profiled:
        bench.wait()
        started = time.perf_counter()
        for _ in range(5):
            step()
        bench.wait()
        wall = time.perf_counter() - started
    return min(1.0, sum(event.self_device_time_total for event in profiled.key_averages()) / 1e6 / wall)


def convolutions(bench: Bench) -> Iterator[Row]:
    """The layouts made for CPUs against torch's own: which of the two this device should take."""
    flat, deep = ((1, 8, 16, 16), (1, 8, 8, 8, 8)) if bench.tiny else ((8, 64, 128, 128), (1, 64, 48, 48, 48))
    for shape in (flat, deep):
        dims, channels = len(shape) - 2, shape[1]
        x = bench.drawn(*shape).requires_grad_()
        kernel = bench.drawn(channels, channels, *[3] * dims)
        single = bench.drawn(1, channels, *[7] * dims)
        calls = {
            "doubled_conv": lambda x=x, w=kernel: doubled_conv(x, w, None).sum().backward(),
            "padded_conv to one channel": lambda x=x, w=single: padded_conv(x, w, None).sum().backward(),
            "pad_reflect": lambda x=x: pad_reflect(x, 3).square().sum().backward(),
        }
        for name, call in calls.items():
            taken = {}
            for layout in ("cpu", "torch"):
                with laid_out(layout):
                    taken[layout] = bench.seconds(call)
            ratio = taken["torch"] / taken["cpu"]
            better = "torch's" if ratio < 1 else "the CPU's"
            yield Row(f"{name} {dims}-D: CPU layout", f"{ratio:.2f} times torch's speed; take {better}", None, ratio)


def loading(bench: Bench) -> Iterator[Row]:
    """The loader alone, the step alone, and both: what a training waits for."""
    for dims in (2, 3):
        config, run = bench.run(dims=dims)
        data, count = task_of(config).training_data(run, run.read_split()), 3 if bench.tiny else 30
        shape = data.settings | ({"channels": config.data.channels} if config.data.channels > 1 else {})
        model = build_translator(config.translator.method, config.translator.settings | shape, *data.domains, dims)
        settings = config.fit_config.model_copy(update={"steps": 10**6, "workers": 0 if bench.tiny else 8})
        fabric = bench.fabric()
        state = _State(fabric, model, settings, bench.folder / "no-checkpoint")
        batches = iter(_loader(state, data.samples))
        batch = fabric.to_device(next(batches))
        started = time.perf_counter()
        for _ in islice(batches, count):
            pass
        rates = {"loader": (time.perf_counter() - started) / count}
        rates["step"] = bench.seconds(partial(_step, fabric, state, batch, settings))
        started = time.perf_counter()
        for given in islice(batches, count):
            _step(fabric, state, fabric.to_device(given), settings)
        bench.wait()
        rates["both"] = (time.perf_counter() - started) / count
        for name, seconds in rates.items():
            yield Row(f"{dims}-D training, {name} alone" if name != "both" else f"{dims}-D training, both",
                      f"{1e3 * seconds:.1f} ms", None, seconds)  # fmt: skip


class _Scan(Dataset):
    """One phantom again and again, with a tumor inserted where a transform is given."""

    def __init__(self, dims: int, transform: RandInsertTumord | None = None, tiny: bool = False):
        shape = (48, 48, 24) if tiny else (96, 96, 96)
        head = head_phantom(0, shape=shape, spacing_mm=(4.0, 4.0, 6.0) if tiny else (2.0, 2.0, 2.0))
        image, label = torch.from_numpy(head.images["flair"]).float(), torch.from_numpy(head.label > 0).float()
        if dims == 2:
            level = int(label.sum(dim=(0, 1)).argmax())
            image, label = image[..., level], label[..., level]
        self.sample = {"image": image[None].contiguous(), "label": label[None].contiguous()}
        self.transform = transform

    def __len__(self) -> int:
        return 2**20

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        if self.transform is None:
            return self.sample
        return {key: torch.as_tensor(value) for key, value in self.transform(self.sample).items()}


def insertion(bench: Bench) -> Iterator[Row]:
    """Tumors inserted a second: by a loader's workers on CPUs, on the device one by one, and in batches."""
    for dims in (2, 3):
        _, run = bench.run(dims=dims)
        weights, size = load_weights(run.weights), 2 if bench.tiny else 16 if dims == 2 else 4
        keys = {"label_key": "label", "prob": 1.0}
        insert = RandInsertTumord("image", weights=weights.on("cpu"), **keys).set_random_state(seed=0)
        workers, count = (0, 2) if bench.tiny else (8, 64 if dims == 2 else 16)
        batches = iter(DataLoader(_Scan(dims, insert, bench.tiny), num_workers=workers, collate_fn=list))
        next(batches)
        started = time.perf_counter()
        for _ in islice(batches, count):
            pass
        rate = count / (time.perf_counter() - started)
        yield Row(f"{dims}-D insertions/s, {workers} worker(s) on the CPU", f"{rate:.1f}", None, rate)
        sample = _Scan(dims, tiny=bench.tiny)[0]
        together = BatchInsertTumor("image", weights=load_weights(run.weights), **keys)
        for many in (1, size):
            batch = {key: torch.stack([value] * many).to(bench.device) for key, value in sample.items()}
            rate = many / bench.seconds(partial(together, batch, range(many)), rounds=5)
            yield Row(f"{dims}-D insertions/s on the device, {many} at once", f"{rate:.1f}", None, rate)


def downstream(bench: Bench) -> Iterator[Row]:
    """Updates a second of a downstream network, with and without insertion, and its sliding window on a volume."""
    updates = 2 if bench.tiny else 40
    channels = (4, 8, 8) if bench.tiny else (32, 64, 128, 256)
    patch, window = ((24, 24, 24), (16, 16, 16)) if bench.tiny else ((96, 96, 96), (96, 96, 96))
    _, run = bench.run(dims=3)
    insert = RandInsertTumord("image", weights=load_weights(run.weights).on("cpu"), label_key="label", prob=0.5)
    config = SegmentationConfig(spatial_dims=3, channels=channels, updates=updates, batch_size=2, patch_size=window)
    for name, transform in (("without", None), ("with", insert)):
        samples = _Scan(3, transform, bench.tiny)
        started = time.perf_counter()
        network = train_network(samples, config, seed=0, fabric=bench.fabric(), workers=0 if bench.tiny else 8)
        bench.wait()
        rate = updates / (time.perf_counter() - started)
        yield Row(f"downstream updates/s {name} insertion (start included)", f"{rate:.2f}", None, rate)
    volume = bench.drawn(1, *(patch if bench.tiny else (240, 240, 155)))
    taken = bench.seconds(partial(predict, network, volume, config), rounds=3)
    yield Row(f"sliding window over {'×'.join(map(str, volume.shape[1:]))}", f"{taken:.2f} s", None, taken)
