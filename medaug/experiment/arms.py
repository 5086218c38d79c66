"""The arms of a downstream experiment: what the same network trains on, and through which augmentation.

A rival is an arm without a GAN. Every rival has its twins, which differ from it by a share of synthetic samples alone:
`gan` and `none`, `standard+gan` and `standard`, `gan+copy-paste` and `copy-paste` (`config.evaluation.with_gan` names
them), so that what the GAN adds to the best rival can be asked. A new rival is one entry of `BASELINES`; a user's own
is one of `evaluation.own_arms`, which names a MONAI dict transform on {"image": (C, *S) in [-1, 1], "label": (1, *S) of
class numbers}. Its random state is set from (seed, sample) alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from os.path import isfile
from pathlib import Path
from typing import Any

from monai.transforms import Compose, Transform

from medaug.config import EvaluationConfig, PipelineConfig
from medaug.config.data import DataConfig
from medaug.config.evaluation import GANS, PLAIN, REFERENCE, OwnArmConfig, Synthetic, with_gan
from medaug.data.prepared import View
from medaug.data.weights import METADATA
from medaug.errors import ConfigError
from medaug.evaluation.augmentation import standard_augmentation
from medaug.evaluation.samples import ViewFolder
from medaug.models.facts import WeightsFacts
from medaug.models.noise.weights import GanWeights
from medaug.models.weights import Weights, read_facts
from medaug.runs.folder import RunDir
from medaug.runs.provenance import refuse_known
from medaug.splits import Split
from medaug.transforms.baselines import BASELINES, NEEDS, build_baseline

ArmPair = tuple[str, str]
"""An arm, and the reference that it is compared with."""
ONLINE: tuple[Synthetic, ...] = ("online", "removed")
"""What is made while a network trains."""
RENAMED = {"strong-intensity": "strong"}
"""Names of rivals in earlier versions."""


@dataclass(frozen=True)
class Arm:
    """One way to train the downstream network.

    Attributes:
        standard: whether the standard augmentation is applied (last).
        synthetic: where the share `evaluation.synthetic_ratio` of the samples comes from, None for none: `online` (a
            training view with freshly inserted lesions, never twice the same), `written` (the cases that `synthesize`
            or `translate` wrote), `accepted` (those of them that pass the quality gate), or `removed` (a training view
            with its tumors removed online and an empty label). Where nothing is made online, arms that ask for it are
            refused (`possible_arms`); those of written cases ask the same there.
        baseline: the cheap augmentation (see `transforms.baselines`) applied first.
        target: whether it trains on the target domain with its own labels, which only a ceiling may do.
        own: builds a user's own transform, applied before the standard augmentation.
    """

    standard: bool = True
    synthetic: Synthetic | None = None
    baseline: str | None = None
    target: bool = False
    own: Callable[[], Transform] | None = None

    def pasting(self, real: ViewFolder, data: DataConfig) -> Compose | None:
        """What whole views {"image", "label", "organ"} go through before a patch is cut; lesions come from `real`.

        Where the data say where the organ is, what is pasted obeys it to the voxel, as what the GAN inserts does.
        """
        if self.baseline is None or NEEDS.get(self.baseline) != "bank":
            return None
        bank = _Read([view for view in real.views if view.tumor_voxels], real.sample)
        parts, inside = tuple(range(1, len(data.class_names) + 1)), data.organ is not None
        return Compose([build_baseline(self.baseline, bank=bank, tumor_labels=parts, strictly_inside=inside)])

    def augmentation(self, size: Sequence[int], references: ViewFolder) -> Compose:
        """What samples {"image", "label"} go through; the standard part cuts them to this size.

        Histograms of `references` (of domain B, if any) are matched.
        """
        steps: list[Any] = []
        if self.baseline is not None and NEEDS.get(self.baseline) != "bank":
            images = _Read(references.views, partial(View.normalized, folder=references.folder))
            steps.append(build_baseline(self.baseline, references=images))
        if self.own is not None:
            steps.append(self.own())
        if self.standard:
            steps.append(standard_augmentation(size))
        return Compose(steps)


def with_gans(rivals: Mapping[str, Arm]) -> dict[str, Arm]:
    """The twins of these arms: each with what a GAN inserts online, wrote, and wrote and the gate accepted."""
    return {
        with_gan(name, gan): replace(arm, synthetic=source)
        for gan, source in GANS.items()
        for name, arm in rivals.items()
    }


RIVALS = {PLAIN: Arm(standard=False), REFERENCE: Arm()} | {name: Arm(baseline=name) for name in BASELINES}
ARMS = RIVALS | with_gans(RIVALS) | {"removal": Arm(synthetic="removed"), "target-labels": Arm(target=True)}


def arms_of(settings: EvaluationConfig) -> dict[str, Arm]:
    """`ARMS`, the user's own, and the twins of these.

    Raises:
        ConfigError: if a user's arm has the name of another one.
    """
    own = {
        name: Arm(standard=own.standard, synthetic=own.synthetic, own=partial(build_own, name, own))
        for name, own in settings.own_arms.items()
    }
    others = ARMS | with_gans({name: arm for name, arm in own.items() if arm.synthetic is None})
    if taken := [name for name in own if name in others]:
        raise ConfigError(f"evaluation.own_arms: found {', '.join(taken)}, which medaug has; choose another name")
    return others | own


def possible_arms(config: PipelineConfig) -> dict[str, Arm]:
    """Those of `arms_of` that there are in this domain and for this task."""
    arms = arms_of(config.evaluation)
    if config.target is not None:
        return {name: arm for name, arm in arms.items() if arm.synthetic in (None, "written")}
    online = () if config.learns_online else ONLINE
    return {name: arm for name, arm in arms.items() if not arm.target and arm.synthetic not in online}


def check_arms(config: PipelineConfig) -> None:
    """Refuses arms that do not exist, or not here, and own ones that cannot be built.

    Raises:
        ConfigError: naming them, those that do, and what to write instead.
    """
    arms, possible = arms_of(config.evaluation), possible_arms(config)
    instead = {}
    for name in (name for name in config.evaluation.arms if name not in possible):
        now = "+".join(RENAMED.get(part, part) for part in name.split("+"))
        if now in arms and arms[now].synthetic == "online" and not config.learns_online:
            written = replace(arms[now], synthetic="written")  # an own arm may be the same with another source
            now = next((other for other, arm in possible.items() if arm == written), now)
        instead[name] = now
    if instead:
        changed = [f"{now} in place of {name}" for name, now in instead.items() if now != name]
        where = f"domain {config.domain}, task {config.evaluation.task}"
        where += "" if config.learns_online else ": nothing is inserted online here"
        raise ConfigError(
            f"evaluation.arms: found {', '.join(instead)}; expected some of: {', '.join(possible)} ({where})"
            + (f". Write {', '.join(changed)}" if changed else "")
        )
    stored = [name for name in config.evaluation.arms if arms[name].synthetic not in (None, *ONLINE)]
    if config.evaluation.gan_seeds and stored:
        raise ConfigError(
            f"evaluation.gan_seeds: found true with {', '.join(stored)}, which learn from cases that one GAN wrote; "
            "expected arms that insert or remove online. Leave these out, or set it to false."
        )
    for name in config.evaluation.arms:
        if (build := arms[name].own) is not None:
            build()


def gan_arms(arms: Iterable[str], known: Mapping[str, Arm] = ARMS) -> list[str]:
    """The arms with synthetic samples, the one of main interest first, whatever the order and the scores.

    An arm that differs from the reference by the GAN alone says what the GAN does; one with a baseline or a transform
    of its own besides, or without the standard augmentation, does not.
    """
    asked = set(arms)
    found = {name: arm for name, arm in known.items() if name in asked and arm.synthetic}
    alone = [name for name, arm in found.items() if arm.standard and arm.baseline is None and arm.own is None]
    return [*alone, *(name for name in found if name not in alone)]


def pairs_of(arms: Iterable[str], known: Mapping[str, Arm] = ARMS) -> tuple[list[ArmPair], list[ArmPair]]:
    """Which arms are compared, as (arm, reference): all with the reference, and GAN arms with their rivals.

    Rivals are all that need no GAN, but the reference, which is among the first, and ceilings, which are no method.
    """
    names = list(arms)
    to_standard = [(arm, REFERENCE) for arm in names if arm != REFERENCE and REFERENCE in names]
    gan = [arm for arm in names if arm in known and known[arm].synthetic]
    plain = [arm for arm in names if arm in known and arm not in (REFERENCE, *gan) and not is_ceiling(arm)]
    return to_standard, [(arm, rival) for arm in gan for rival in plain]


def n_asked(arms: Iterable[str], known: Mapping[str, Arm] = ARMS) -> int:
    """How many verdicts are asked, each of which is corrected for all."""
    return sum(not is_ceiling(arm) for pairs in pairs_of(arms, known) for arm, _ in pairs)


def is_ceiling(arm: str) -> bool:
    """Whether it trains on labels that no method has, and so is none."""
    return arm in ARMS and ARMS[arm].target


def build_own(name: str, settings: OwnArmConfig) -> Transform:
    """The transform of the own arm `name`.

    Raises:
        ConfigError: naming the arm, if it cannot be imported or built, or is no MONAI transform.
    """
    where, path = f"evaluation.own_arms.{name}", settings.transform
    module, _, attribute = path.rpartition(".")
    remedy = "Install its package, or put its folder on PYTHONPATH."
    try:
        found = getattr(import_module(module), attribute)
    except (ImportError, ValueError) as error:  # ValueError: a path without a dot
        raise ConfigError(
            f"{where}.transform: {path} cannot be imported: {error}; expected package.module.Name. {remedy}"
        ) from error
    except AttributeError:
        missing = f"found no {attribute} in {module}"
        raise ConfigError(f"{where}.transform: {missing}; expected a class that is there. {remedy}") from None
    try:
        built = found(**settings.args)
    except Exception as error:
        given = ", ".join(f"{key}={value!r}" for key, value in settings.args.items()) or "nothing"
        raise ConfigError(
            f"{where}.args: {path} cannot be built with {given}: {error}. Give what its constructor asks "
            "for, JSON values only; MONAI's ask for keys, such as [image, label], or [image] for intensities."
        ) from error
    if not isinstance(built, Transform):
        raise ConfigError(
            f"{where}.transform: found {path}, which makes a {type(built).__name__}; expected a MONAI "
            'dict transform on "image" and "label". Derive it from monai.transforms.MapTransform.'
        )
    return built


def refuse_own_arms(settings: EvaluationConfig, run: RunDir, split: Split) -> None:
    """Refuses own arms with weights that know whom this run validates or tests on.

    Looked at are weights that the transform holds, or one inside it, and weights folders that its arguments name.

    Raises:
        LeakageError: naming the arm and the patients.
        ConfigError: if an arm cannot be built.
    """
    for name, own in settings.own_arms.items():
        for facts in _weights_in([build_own(name, own), own.args]):
            refuse_known(facts, run, split, f"evaluation.own_arms.{name}: its weights")


class _Read(Sequence):
    """Views, read when asked for."""

    def __init__(self, views: Sequence[View], read: Callable[[View], Any]):
        self.views, self.read = views, read

    def __len__(self) -> int:
        return len(self.views)

    def __getitem__(self, index: int) -> Any:  # type: ignore[override]
        return self.read(self.views[index])


def _weights_in(*parts: Any) -> Iterator[WeightsFacts]:
    """What all weights say that are below these values: containers, transforms, weights, and paths of their folders."""
    left, seen = list(parts), set()
    while left:
        part = left.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        if isinstance(part, Weights | GanWeights):
            yield part.facts
        elif isinstance(part, dict):
            left += part.values()
        elif isinstance(part, list | tuple | set):
            left += part
        elif isinstance(part, Transform):
            left += vars(part).values()
        elif isinstance(part, str | Path) and part and isfile(Path(part) / METADATA):
            yield read_facts(Path(part))
