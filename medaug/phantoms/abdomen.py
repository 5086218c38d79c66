from medaug.phantoms.base import Phantom


def abdomen_phantom(index, **k) -> Phantom: ...
