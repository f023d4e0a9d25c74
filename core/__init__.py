"""SteerLens: open a trained recommender, find the concepts it thinks in, and steer them.

from core import Edit, Steering, open_run, steer
run = open_run("data/workspaces/demo")
u = run.embedding(run.dataset.users.index("viewer-0338"))
steer(u, Steering((Edit(17, "add", 0.5),)), run.sae)
"""

from core.data.dataset import Dataset
from core.errors import UserError
from core.neurons.table import NeuronTable
from core.pipeline import BuildRequest, build
from core.runs import Run, list_runs, open_run, steer_viewer
from core.sae.model import SAE, SAEConfig
from core.steering.compare import compare
from core.steering.contributions import contributions
from core.steering.steering import Edit, Steering, steer
from core.workspace import Workspace

__all__ = [
    "SAE",
    "BuildRequest",
    "Dataset",
    "Edit",
    "NeuronTable",
    "Run",
    "SAEConfig",
    "Steering",
    "UserError",
    "Workspace",
    "build",
    "compare",
    "contributions",
    "list_runs",
    "open_run",
    "steer",
    "steer_viewer",
]
