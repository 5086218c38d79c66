"""A Hugging Face model card of a weights folder (Mitchell 2019, arXiv 1810.03993), made offline.

What the weights say of themselves, and with a run what it measured. No patient is named and no path.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from medaug.audits.findings import kept_findings
from medaug.config.files import load_config
from medaug.data.atomic import check_free, read_json, write_text
from medaug.errors import ConfigError
from medaug.experiment.records import Evaluation
from medaug.models.weights import Weights, load_weights
from medaug.report.sections import limit_text, value_text
from medaug.report.verdicts import interval_text, verdict_of
from medaug.runs.folder import RunDir
from medaug.volumes import Domain, Window

INTENDED = """\
Research on data augmentation: training images for segmentation or classification networks, whose benefit has to be
measured on real held-out patients. **Not for diagnosis**, nor for any decision about a patient: what the images show
was never there."""
LIMITS = """\
- Trained on the patients counted above and on nobody else: it does not know other scanners, sequences or diseases.
- Whoever is among its training patients must not be in a test set; `model.json` has their names, or in a bundle hashes
  of them, so that medaug can refuse it.
- A network trained on synthetic images can learn what gives them away. Compare with training without them.
- Weights that insert tumors hold crops of real lesions: treat them like the scans themselves."""


def write_model_card(weights: Path, out: Path, run: Path | None = None) -> Path:
    """Writes the card as Markdown with a YAML head; returns `out`.

    Args:
        run: the run that trained these weights, for its split, scores and audits.

    Raises:
        ConfigError: if huggingface_hub is not installed, or the run is of other weights.
        RunError: if `out` is there already.
        WeightsError: if the weights cannot be used.
    """
    check_free(out)
    card_library()  # a missing one is told before anything is read
    write_text(out, model_card(load_weights(weights), run))
    return out


def model_card(weights: Weights, run: Path | None = None) -> str:
    """The card's text; arguments and errors as in `write_model_card`."""
    hub, facts, translator = card_library(), weights.facts, weights.translator
    found = None if run is None else RunDir(run)
    if found is not None:
        trained = found.weights / "model.json"
        made = read_json(trained)["sha256"] if trained.exists() else "none"
        if made != facts.sha256:
            raise ConfigError(
                f"--run {run}: found a run with weights {made[:12]}; expected the one that trained "
                f"{facts.sha256[:12]}. Give its folder, or leave --run out."
            )
    head = hub.ModelCardData(
        license="other",
        license_name="as-the-training-data",
        library_name="medaug",
        pipeline_tag="image-to-image",
        tags=["medical-imaging", "data-augmentation", "gan", translator.name, f"{translator.spatial_dims}d"],
    )
    if weights.translator.mask_guided:
        what = "inserts tumors into scans and removes them"
    else:
        what = "translates scans between two kinds of image"
    transform = "RandInsertTumord" if facts.domain == "tumor" else "TranslateDomaind"
    usage = f'from medaug.transforms import {transform}\n\ntransform = {transform}("image", weights="weights/")'
    sections = {
        "Model": f"A `{weights.translator.name}` generator that {what}.\n\n{_model(weights)}",
        "How to load": f"```python\n{usage}\n```",
        "Training data": _data(weights, found),
        "Results": "Not measured: the card was made without a run." if found is None else _results(found),
        "Audits": "Not asked." if found is None else _audits(found),
        "Intended use": INTENDED,
        "Limits": "\n".join([LIMITS, *(f"- {warning}" for warning in facts.warnings)]),
        "Licence": "The code is medaug's (Apache-2.0). The weights derive from the training data: whoever passes them "
        "on states their licence here.",
    }
    title = f"{weights.translator.domain_a.name} and {weights.translator.domain_b.name}: {weights.translator.name}"
    body = "\n\n".join(f"## {heading}\n\n{text}" for heading, text in sections.items())
    return str(hub.ModelCard(f"---\n{head.to_yaml()}\n---\n\n# {title}\n\n{body}\n"))


def card_library() -> Any:
    """The library of the extra `export`.

    Raises:
        ConfigError: if it is not installed.
    """
    try:
        import huggingface_hub
    except ImportError:
        raise ConfigError(
            'a model card needs huggingface_hub, which is not installed: pip install "medaug[export]"'
        ) from None
    return huggingface_hub


def _model(weights: Weights) -> str:
    facts, translator = weights.facts, weights.translator
    rows = [
        ["dimensions", f"{translator.spatial_dims}-D"],
        *(["domain A", _domain_text(channel)] for channel in translator.domain_a.channels),
        *(["domain B", _domain_text(channel)] for channel in translator.domain_b.channels),
        ["voxel size", " × ".join(f"{size:.3g}" for size in weights.spacing_mm) + f" {weights.length_unit}"],
        ["steps", str(facts.steps)],
        ["medaug", facts.medaug],
        ["SHA-256", f"`{facts.sha256}`"],
    ]
    return _table(["", ""], rows)


def _domain_text(domain: Domain) -> str:
    if isinstance(domain.window, Window):
        bounds = f"{domain.window.low:g} to {domain.window.high:g} {domain.window.unit}"
    else:
        bounds = f"percentiles {domain.window.lower:g} to {domain.window.upper:g} of each scan"
    return f"{domain.name} ({domain.modality}), window {bounds}"


def _data(weights: Weights, run: RunDir | None) -> str:
    facts = weights.facts
    rows = [["training patients", str(len(facts.training_patients))], ["split hash", f"`{facts.split_hash}`"]]
    if weights.prior is not None:
        rows.append(["reference lesions", str(len(weights.prior.references))])
    if facts.sequences or facts.sequence is not None:
        rows.append(["sequences", ", ".join(facts.sequences)] if facts.sequences else ["sequence", str(facts.sequence)])
    if facts.parts:
        rows.append(["parts of a tumor", "; ".join(f"{name} {list(v)}" for name, v in facts.parts.items())])
    if run is not None:
        split, data = run.read_split(), load_config(run.config, []).data
        rows += [["validation patients", str(len(split.validation))], ["test patients", str(len(split.test))]]
        rows.append(["source", f"built-in {data.phantoms.anatomy} phantoms" if data.root is None else "the user's own"])
    return _table(["", ""], rows)


def _results(run: RunDir) -> str:
    evaluation, texts = Evaluation.of_run(run), []
    if evaluation is None:
        return "Not measured: the run has no finished evaluation."
    for name, test in evaluation.tests.items():
        verdict, title = verdict_of(test), test.title
        scores = [[arm, interval_text(values[test.main])] for arm, values in test.arms.items()]
        about = f"{len(test.patients)} held-out patients, {len(test.seeds)} seed(s), 95 % intervals."
        texts.append(
            f"{f'### {name}' if name else ''}\n\n**{verdict.headline}.** {verdict.sentence}\n\n"
            f"{_table(['arm', f'{title} (interval)'], scores)}\n\n{about}"
        )
    return "\n\n".join(text.strip() for text in texts)


def _audits(run: RunDir) -> str:
    findings = kept_findings(run)
    if not findings:
        return "Not asked (`medaug audit`)."
    rows = [[f.name, f.question, value_text(f), limit_text(f), f.verdict] for f in findings]
    return _table(["audit", "question", "figure", "limits", "verdict"], rows)


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)
