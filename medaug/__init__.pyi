from medaug import api as api
from medaug.api import anomaly as anomaly
from medaug.api import audit as audit
from medaug.api import benchmark as benchmark
from medaug.api import compare as compare
from medaug.api import compare_runs as compare_runs
from medaug.api import doctor as doctor
from medaug.api import export as export
from medaug.api import export_bundle as export_bundle
from medaug.api import export_onnx as export_onnx
from medaug.api import export_results as export_results
from medaug.api import grow as grow
from medaug.api import init as init
from medaug.api import insert as insert
from medaug.api import model_card as model_card
from medaug.api import nnunet_path as nnunet_path
from medaug.api import remove as remove
from medaug.api import replace as replace
from medaug.api import reproduce as reproduce
from medaug.api import run as run
from medaug.api import sample as sample
from medaug.api import styles as styles
from medaug.api import synth_ct as synth_ct
from medaug.api import synthesize as synthesize
from medaug.api import train_cycle as train_cycle
from medaug.api import train_gan as train_gan

__version__: str
