"""What nnU-Net imports while it searches: it forgets the modules of this folder again, and not those of the package."""

from medaug.nnunet.trainer import nnUNetTrainerMedaug, nnUNetTrainerMedaug_carvemix, nnUNetTrainerMedaug_copypaste

__all__ = ["nnUNetTrainerMedaug", "nnUNetTrainerMedaug_carvemix", "nnUNetTrainerMedaug_copypaste"]
