"""As much of MLflow as the logger and its tests ask, without a server.

It lies in ``sys.modules`` under the names that MLflow's modules have.
"""

import itertools
import types
from dataclasses import dataclass


@dataclass
class Metric:
    key: str
    value: float
    timestamp: int
    step: int


class Server:
    """Experiments by their ids, and runs by theirs."""

    def __init__(self):
        self.experiments, self.runs = {"0": "Default"}, {}
        self.ids = map(str, itertools.count(1))
        self.active = None


class MlflowClient:
    server: Server  # Set by `modules`.

    def get_experiment_by_name(self, name):
        for key, known in self.server.experiments.items():
            if known == name:
                return types.SimpleNamespace(experiment_id=key, name=name)
        return None

    def create_experiment(self, name):
        made = next(self.server.ids)
        self.server.experiments[made] = name
        return made

    def create_run(self, experiment_id, run_name=None, tags=None):
        assert experiment_id in self.server.experiments
        made = types.SimpleNamespace(
            info=types.SimpleNamespace(
                run_id=next(self.server.ids),
                run_name=run_name,
                experiment_id=experiment_id,
                status="RUNNING",
                lifecycle_stage="active",
            ),
            data=types.SimpleNamespace(tags=dict(tags or {})),
            metrics=[],
        )
        self.server.runs[made.info.run_id] = made
        return made

    def get_run(self, run_id):
        return self.server.runs[run_id]

    def search_runs(self, experiment_ids, filter_string=""):
        key, _, value = filter_string.removeprefix("tags.").partition(" = ")
        return [
            run
            for run in self.server.runs.values()
            if run.info.experiment_id in experiment_ids
            and (not key or f"'{run.data.tags.get(key)}'" == value)
        ]

    def update_run(self, run_id, status):
        self.get_run(run_id).info.status = status

    def set_terminated(self, run_id):
        self.get_run(run_id).info.status = "FINISHED"

    def set_tag(self, run_id, key, value):
        self.get_run(run_id).data.tags[key] = value

    def log_batch(self, run_id, metrics):
        self.get_run(run_id).metrics += metrics

    def get_metric_history(self, run_id, key):
        return [one for one in self.get_run(run_id).metrics if one.key == key]


def modules():
    """MLflow's modules with a new server, by their names."""
    server = Server()
    client = type("MlflowClient", (MlflowClient,), {"server": server})

    def start_run():
        server.active = client().create_run("0")
        return server.active

    mlflow = types.ModuleType("mlflow")
    mlflow.MlflowClient = client
    mlflow.active_run = lambda: server.active
    mlflow.start_run = start_run
    entities = types.ModuleType("mlflow.entities")
    entities.Metric = Metric
    registry = types.ModuleType("mlflow.tracking.context.registry")
    registry.resolve_tags = lambda tags: {"mlflow.user": "somebody", **tags}
    return {
        "mlflow": mlflow,
        "mlflow.entities": entities,
        "mlflow.tracking": types.ModuleType("mlflow.tracking"),
        "mlflow.tracking.context": types.ModuleType("mlflow.tracking.context"),
        "mlflow.tracking.context.registry": registry,
    }
