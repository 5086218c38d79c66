"""Every method against the shared suite. A new method: one class here that names it and makes it small."""

from medaug.models.methods import TRANSLATORS

from .conformance import BrightIsLabelled, TranslatorConformance

SMALL = {"width": 4, "depth": 2, "discriminator_width": 4, "discriminator_layers": 1}


class TestCycleGAN(TranslatorConformance):
    method = "cyclegan"
    settings = SMALL
    uses_noise = False


class TestCycleGANWithUNet(TranslatorConformance):
    method = "cyclegan"
    settings = SMALL | {"generator": "unet", "identity_weight": 0.0}
    uses_noise = False


class TestCycleGANThatReadsLabels(TranslatorConformance):
    method = "cyclegan"
    settings = SMALL | {"label_input": 1, "label_discriminator": True, "round_trip_weight": 1.0}
    uses_noise = False

    def build(self, dims, seed=0):
        translator = super().build(dims, seed)
        translator.attach_segmenter(BrightIsLabelled())
        return translator


class TestMaskGuidedWithReference(TranslatorConformance):
    method = "mask-guided-cyclegan"
    settings = SMALL | {"content": "reference", "spectral": False, "identity_weight": 1.0}


class TestMaskGuidedFree(TranslatorConformance):
    method = "mask-guided-cyclegan"
    settings = SMALL | {"content": "free", "spectral": True}


class TestUNIT(TranslatorConformance):
    method = "unit"
    settings = SMALL | {"blocks": 1}


class TestMaskGuidedUNITWithReference(TranslatorConformance):
    method = "mask-guided-unit"
    settings = SMALL | {"content": "reference"}


class TestMaskGuidedUNITFree(TranslatorConformance):
    method = "mask-guided-unit"
    settings = SMALL | {"content": "free", "spectral": False}


class TestMUNIT(TranslatorConformance):
    method = "munit"
    settings = SMALL | {"blocks": 1}


class TestMaskGuidedMUNITWithReference(TranslatorConformance):
    method = "mask-guided-munit"
    settings = SMALL | {"content": "reference"}


class TestMaskGuidedMUNITFree(TranslatorConformance):
    method = "mask-guided-munit"
    settings = SMALL | {"content": "free", "spectral": False}


class TestPix2Pix(TranslatorConformance):
    method = "pix2pix"
    settings = SMALL
    uses_noise = False
    reconstruction = "l1"


class TestRegression(TranslatorConformance):
    method = "regression"
    settings = {"width": 4, "depth": 2}
    uses_noise = False
    reconstruction = "l1"
    judges = False


class TestMaskGuidedPix2Pix(TranslatorConformance):
    method = "mask-guided-pix2pix"
    settings = SMALL
    reconstruction = "l1"


def test_every_method_is_held_against_the_suite():
    assert {suite.method for suite in TranslatorConformance.__subclasses__()} == set(TRANSLATORS)
